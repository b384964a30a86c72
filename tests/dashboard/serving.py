"""A dashboard's server in a process of its own, and a visitor who knocks on its doors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests
from websockets.sync.client import ClientConnection, connect

from tests.stage import PROJECT, TGTQR, environment
from tgtqr_lib.home import Home

PROTOCOL = "v1.kernel.websocket.jupyter.org"
PATIENCE_S = 120
# one button: a click creates the file that the notebook names, so a test sees what a kernel was told
NOTEBOOK = """
import ipywidgets, os, pathlib
from IPython.display import display
button = ipywidgets.Button(description="Click")
home = pathlib.Path(os.environ["TGTQR_HOME"])
button.on_click(lambda _: (home / "clicked").touch())
(home / "environment").write_text("\\n".join(os.environ))
display(button)
"""


def write_notebook(path: Path, source: str = NOTEBOOK) -> Path:
    """A notebook of one cell."""
    cell = {
        "cell_type": "code", "execution_count": None, "id": "only", "metadata": {},
        "outputs": [], "source": source,
    }  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    body = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(body), "utf-8")
    return path


@dataclass
class Served:
    """A running server and its home."""

    home: Home
    link: str
    process: subprocess.Popen

    @property
    def address(self) -> str:
        return self.link.split("/?")[0].rstrip("/")

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def visitor(self) -> requests.Session:
        """Somebody who opened the link."""
        session = requests.Session()
        answer = session.get(
            self.link.replace("/?", "/login?"), timeout=PATIENCE_S, allow_redirects=False
        )
        assert answer.status_code == 303, answer.text
        return session

    def open_page(self, visitor: requests.Session) -> str:
        """Open the page and return the id of its kernel."""
        answer = visitor.get(self.address + "/", timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        return kernel_of(answer.text)

    def post(self, visitor: requests.Session, path: str, **data: str) -> requests.Response:
        """POST as the page's script does, with its token against forged requests."""
        headers = {"X-XSRFToken": visitor.cookies.get("_xsrf", "")}
        return visitor.post(self.address + path, data=data, headers=headers, timeout=PATIENCE_S)

    @contextmanager
    def socket(
        self, visitor: requests.Session | None, kernel: str, protocol: str | None = PROTOCOL
    ) -> Iterator[ClientConnection]:
        """A line to a kernel, as the page's script opens it."""
        cookies = visitor.cookies.get_dict() if visitor else {}
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())} if cookies else {}
        path = f"/api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        with connect(
            f"ws://127.0.0.1:{self.port}{path}", subprotocols=[protocol] if protocol else None,
            additional_headers=headers, open_timeout=PATIENCE_S, max_size=None, proxy=None,
        ) as socket:  # fmt: skip
            yield socket


def kernel_of(page: str) -> str:
    """The kernel's id in a page."""
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found, page[-2000:]
    return json.loads(found[1])["kernelId"]


@contextmanager
def serving(
    folder: Path,
    *words: str,
    source: str = NOTEBOOK,
    program: list[str] | None = None,
    **changes: str,
) -> Iterator[Served]:
    """The server of the home `folder`, ended with the block; `program` starts it otherwise."""
    home = Home(folder)
    process = start(home, *words, source=source, program=program, **changes)
    try:
        yield Served(home, read_link(process), process)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.stdout.close()
            process.stderr.close()


def start(
    home: Home,
    *words: str,
    source: str = NOTEBOOK,
    program: list[str] | None = None,
    **changes: str,
) -> subprocess.Popen:
    """Start a server; its notebook is written into the home."""
    home.make()
    known = environment(home) | {
        "TGTQR_DASHBOARD_NOTEBOOK": str(write_notebook(home.root / "page.ipynb", source)),
        "TGTQR_PASSWORD_HASH": "",
    }
    return subprocess.Popen(
        [*(program or TGTQR), "dashboard", "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=known | changes, cwd=PROJECT,
    )  # fmt: skip


def read_link(process: subprocess.Popen) -> str:
    """The link that the server prints when it is ready."""
    timer = threading.Timer(PATIENCE_S, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            if line.startswith("dashboard: "):
                return line.removeprefix("dashboard: ").strip()
        raise AssertionError(f"no link: {process.stderr.read()}")
    finally:
        timer.cancel()


def patched(code: str) -> list[str]:
    """A program that is the command line after `code` has changed something in it."""
    return [
        sys.executable,
        "-c",
        f"{code}\nfrom tgtqr_lib.cli import main\nraise SystemExit(main())",
    ]


def until(true: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """What `true` gives, as soon as it gives something."""
    end = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return value


def kernel_process(kernel: str) -> psutil.Process | None:
    """The process of a kernel, by the name of its connection file."""
    for process in psutil.process_iter(["cmdline"]):
        if any(f"kernel-{kernel}.json" in word for word in process.info["cmdline"] or []):
            return process
    return None


def message(channel: str, kind: str, content: dict[str, Any], **header: str) -> bytes:
    """A message in the binary protocol: a count, offsets (64-bit little-endian), channel and four JSON parts."""
    head = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": kind,
        "session": "s",
        "username": "u",
        "version": "5.3",
    }
    return pieces(channel, *(json.dumps(part) for part in (head | header, {}, {}, content)))


def pieces(channel: str, *parts: str) -> bytes:
    """A message of any parts."""
    raw = [channel.encode(), *(part.encode() for part in parts)]
    offsets = [8 * (len(raw) + 2)]
    for piece in raw:
        offsets.append(offsets[-1] + len(piece))
    return b"".join([*(n.to_bytes(8, "little") for n in [len(offsets), *offsets]), *raw])


def read_message(raw: bytes) -> tuple[dict, dict, dict]:
    """Header, parent header and content of a message."""
    count = int.from_bytes(raw[:8], "little")
    at = [int.from_bytes(raw[8 * i + 8 : 8 * i + 16], "little") for i in range(count)]
    header, parent, _, content = (json.loads(raw[at[i] : at[i + 1]]) for i in range(1, 5))
    return header, parent, content


def wait_for(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The content of the next message of this kind."""
    while True:
        header, _, content = read_message(socket.recv(timeout=PATIENCE_S))
        if header["msg_type"] == kind:
            return content


def button_of(socket: ClientConnection) -> str:
    """The id of the notebook's button, asked for as a page does."""
    socket.send(message("shell", "comm_info_request", {"target_name": "jupyter.widget"}))
    for comm in wait_for(socket, "comm_info_reply")["comms"]:
        socket.send(
            message("shell", "comm_msg", {"comm_id": comm, "data": {"method": "request_state"}})
        )
        state = wait_for(socket, "comm_msg")["data"].get("state", {})
        if state.get("_model_name") == "ButtonModel":
            return comm
    raise AssertionError("the notebook's button is not there")


def click(socket: ClientConnection, button: str) -> None:
    """Click the button."""
    data = {"method": "custom", "content": {"event": "click"}}
    socket.send(message("shell", "comm_msg", {"comm_id": button, "data": data}))
