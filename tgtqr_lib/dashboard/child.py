"""The dashboard's server as a child process: for commands that run it beside their own work."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tgtqr_lib.credentials import PASSWORD_HASH, without_secrets
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.home import Home

START_TIMEOUT_S = 90.0
END_TIMEOUT_S = 15.0
LINK = "dashboard: "


@contextmanager
def start(
    home: Home, port: int = 5000, *, host: str = "127.0.0.1", timeout_s: float = START_TIMEOUT_S
) -> Iterator[str]:
    """Serve the dashboard of `home` beside the block; yields its link.

    The server ends with the block, and with this process however that ends. Raises `TgtqrError` with the
    server's own sentence when it does not start.
    """
    process = subprocess.Popen(
        [
            sys.executable, "-m", "tgtqr_lib.cli", "dashboard", "--with-parent",
            "--home", str(home.root), "--host", host, "--port", str(port),
        ],
        env=without_secrets(os.environ, keep=PASSWORD_HASH),
        stdin=subprocess.PIPE,  # never written: that it closes tells the child of this process's end
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the parent, which ends the child in its own time
    )  # fmt: skip
    try:
        yield _link(process, timeout_s)
    finally:
        process.terminate()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


def _link(process: subprocess.Popen, timeout_s: float) -> str:
    """The link that the server prints. Its output is read to the end, so that it never waits for us."""
    lines: queue.Queue[str | None] = queue.Queue()
    words: list[str] = []

    def read() -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in process.stdout:
                lines.put(line)
        lines.put(None)

    def read_trouble() -> None:
        with contextlib.suppress(ValueError, OSError):
            for line in process.stderr:
                words[:] = [*words[-20:], line]

    trouble = threading.Thread(target=read_trouble, daemon=True)
    threading.Thread(target=read, daemon=True).start()
    trouble.start()
    while True:
        try:
            line = lines.get(timeout=timeout_s)
        except queue.Empty:
            raise TgtqrError(f"the dashboard did not start within {timeout_s:.0f} s") from None
        if line is None:
            trouble.join(2)
            said = "".join(words).strip().removeprefix("tgtqr dashboard: ")
            raise TgtqrError(f"the dashboard did not start: {said or 'it ended without a word'}")
        if line.startswith(LINK):
            return line.removeprefix(LINK).strip()


def end_with_parent() -> None:
    """End this process as SIGTERM would when its standard input closes: its parent has ended."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="parent").start()
