"""After a stop a post-mortem is written by itself: once for each stop, beside the work, never in its way.

A beat that finds the kit stopped, booked and flat starts `tgtqr report --post-mortem TICK` as a process of its
own with low priority. What was started stands in `data/control/post_mortem.json` before it is, so that no
restart starts it twice; one that failed is tried again, a few times.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tgtqr_lib import books, journal, ledger
from tgtqr_lib.credentials import without_secrets
from tgtqr_lib.desk import Desk, one_at_a_time
from tgtqr_lib.domain import Busy
from tgtqr_lib.home import Home

MARKER = "post_mortem.json"
TRIES = 3
LOWEST = 19  # nice


@dataclass(frozen=True, slots=True)
class Marker:
    """What was done about one stop.

    stop      sequence number of the gate's event
    tick      the tick it is about, None when there was none to look at
    tries     how often it was started
    pid, born the process of the newest try, None before it is known
    since_ns  this machine's time just before the newest try; a page older than that is another stop's
    ended     `written`, `given up`, `no tick`, or None while it is not over
    """

    stop: int
    tick: str | None = None
    tries: int = 0
    pid: int | None = None
    born: float | None = None
    since_ns: int = 0
    ended: str | None = None


def page_of(home: Home, tick: str) -> Path:
    """Where the page of a post-mortem lies."""
    return home.outputs / "reports" / f"post-mortem-{tick}.html"


def look(desk: Desk, stopped: str | None) -> None:
    """See to it that the newest stop has its post-mortem; after a beat, which said why the kit is `stopped`.

    Returns at once, and raises nothing: what goes wrong is told in the journal.
    """
    if stopped is None or not desk.settings.post_mortem_after_stop:
        return
    try:
        with one_at_a_time(desk.home.control / "post_mortem.lock", "post-mortem"):
            _look(desk)
    except Busy:
        return  # somebody else looks
    except Exception as error:  # a beat is worth more
        journal.event("post_mortem_trouble", text=f"{type(error).__name__}: {error}")


def _look(desk: Desk) -> None:
    home, con = desk.home, desk.con
    stop = ledger.of_kind(con, "gate", newest=1)
    if not stop or stop[0].body["what"] != "stopped":
        return
    known = _read(home)
    if known is None or known.stop != stop[0].seq:
        known = Marker(stop[0].seq)
    if known.ended is not None or _runs(known):
        return
    if known.tick is not None and _is_fresh(page_of(home, known.tick), known.since_ns):
        _end(home, known, "written")
        return
    if known.tries >= TRIES:
        _end(home, known, "given up")
        return
    if known.tries:
        journal.event("post_mortem", state="failed", tick=known.tick, tries=known.tries)
    account = books.account(con)
    if account is not None and desk.sellable(books.portfolio(con, account)):
        return  # a stop is over when all is sold
    tick = known.tick
    if tick is None:
        from tgtqr_lib.post_mortem.case import (
            tick_at_stop,
        )  # a beat of an armed kit needs none of it

        tick, certain = tick_at_stop(con, home, stop[0])
        if not certain:
            return  # a tick is under way
        if tick is None:
            _end(home, known, "no tick")
            return
    _start(home, known, tick)


def _start(home: Home, known: Marker, tick: str) -> None:
    marker = Marker(known.stop, tick, known.tries + 1, since_ns=time.time_ns())
    _write(home, marker)
    log = home.log.with_name("post_mortem.log")
    with open(log, "ab") as out:
        process = subprocess.Popen(
            command(home, tick), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, close_fds=True, env=without_secrets(os.environ),
        )  # fmt: skip
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
    with contextlib.suppress(psutil.Error):
        born = psutil.Process(process.pid).create_time()
        _write(home, Marker(**(asdict(marker) | {"pid": process.pid, "born": born})))
    journal.event("post_mortem", state="started", tick=tick, stop=known.stop, tries=marker.tries)


def under_way(home: Home) -> str | None:
    """The tick whose post-mortem is being written by itself just now; None when none is."""
    known = _read(home)
    return known.tick if known is not None and known.ended is None and _runs(known) else None


def command(home: Home, tick: str) -> list[str]:
    """The words that write the post-mortem of `tick`."""
    own = [sys.executable, "-m", "tgtqr_lib.cli", "report"]
    return [*own, "--post-mortem", tick, "--home", str(home.root)]


def _runs(known: Marker) -> bool:
    """Whether the newest try is under way; one that ended is a zombie until its parent asks."""
    if known.pid is None:
        return False
    try:
        process = psutil.Process(known.pid)
        return process.create_time() == known.born and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _is_fresh(page: Path, since_ns: int) -> bool:
    try:
        return page.stat().st_mtime_ns >= since_ns
    except OSError:
        return False


def _end(home: Home, known: Marker, how: str) -> None:
    _write(home, Marker(**(asdict(known) | {"ended": how})))
    journal.event("post_mortem", state=how, tick=known.tick, stop=known.stop, tries=known.tries)


def _read(home: Home) -> Marker | None:
    """The marker; None when there is none, or it cannot be read."""
    try:
        found: dict[str, Any] = json.loads((home.control / MARKER).read_text("utf-8"))
        return Marker(**found)
    except (OSError, ValueError, TypeError):
        return None


def _write(home: Home, marker: Marker) -> None:
    path = home.control / MARKER
    fresh = path.with_name(f".{MARKER}.{os.getpid()}")
    with open(fresh, "w", encoding="utf-8") as file:
        json.dump(asdict(marker), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
