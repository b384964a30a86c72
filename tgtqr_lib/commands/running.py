"""What `tgtqr up`, `watch` and `demo` share: jobs in the background, the page, one line, a clean end."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tgtqr_lib import journal, settings
from tgtqr_lib.desk import make_folders
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.market.embedded import running_market
from tgtqr_lib.up import running, status_line

LINE_S = 1.0
PAGE_END_S = 20.0


class Screen:
    """Messages scroll by, and in a terminal the last line shows how things stand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._terminal = sys.stdout.isatty()

    def tell(self, text: str) -> None:
        """Print a message above the status line."""
        with self._lock:
            print(("\r\033[K" if self._terminal else "") + text, flush=True)

    def show(self, line: str) -> None:
        """Replace the status line."""
        if self._terminal:
            with self._lock:
                print(f"\r\033[K{line}", end="", flush=True)


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the process as usual."""
    ended = threading.Event()

    def end(number: int, _: object) -> None:
        ended.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def page_beside(home: Home, port: int | None, told: Callable[[str], None]) -> Iterator[None]:
    """Serve the dashboard of `home` beside the block; `told` hears its link, or why there is none.

    It starts in its own time, and one that does not start harms nothing. Without a port there is no page.
    """
    if port is None:
        yield
        return
    from tgtqr_lib.dashboard.child import start

    ended = threading.Event()

    def serve() -> None:
        try:
            with start(home, port) as link:
                told(f"dashboard: {link}")
                ended.wait()
        except TgtqrError as error:
            told(f"no dashboard: {error}")

    server = threading.Thread(target=serve, name="dashboard", daemon=True)
    server.start()
    try:
        yield
    finally:
        ended.set()
        server.join(PAGE_END_S)


def port_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--port` and `--no-page`."""
    parser.add_argument("--port", type=int, default=5000, help="of the page (5000)")
    parser.add_argument(
        "--no-page", dest="port", action="store_const", const=None, help="serve no page"
    )


def run_until_stopped(home: Home, *, ticks: bool, rate: float, port: int | None = None) -> int:
    """Run the jobs of `home` in the foreground until a signal; a tick under way ends first.

    port  of the dashboard, None for none
    """
    if not 0 < rate <= 3600:
        raise DomainError(f"--rate {rate:g}: expected more than 0, at most 3600")
    make_folders(home)
    chosen, screen = settings.load(home), Screen()
    journal.start(home)
    with (
        ended_by_signals() as ended,
        running_market(home, chosen, rate) as chosen,
        running(home, chosen, ticks=ticks, told=screen.tell) as jobs,
        page_beside(home, port, screen.tell),
    ):
        what = "scheduler and watch" if ticks else "watch"
        screen.tell(f"{what} for {home.root}; Ctrl-C ends it")
        journal.event("up", what=what)
        while not ended.wait(LINE_S):
            screen.show(status_line(jobs))
        screen.tell("ending; a tick under way is finished first")
    journal.event("down", what=what)
    screen.tell("ended")
    return 0
