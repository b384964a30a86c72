"""After a day its report is written by itself: at 00:05 of the exchange's clock, beside the work, never in its way.

`tgtqr report --day D` runs as a process of its own with low priority. The day that was reported last stands in
`data/control/reported.day`: after a restart it is not written again, and one that was left out is made up for.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tgtqr_lib import daily, journal
from tgtqr_lib.clock import utc_day
from tgtqr_lib.credentials import without_secrets
from tgtqr_lib.domain import DataError, TgtqrError
from tgtqr_lib.home import Home

AFTER = timedelta(minutes=5)  # of the day: its last mark and act are booked long before
MARKER = "reported.day"
LOWEST = 19  # nice
TIMEOUT_S = 1800


def command(home: Home, day: str) -> list[str]:
    """The words that write the report of `day`."""
    own = [sys.executable, "-m", "tgtqr_lib.cli", "report"]
    return [*own, "--day", day, "--home", str(home.root)]


def due(at: datetime) -> str:
    """The newest day whose report is due at exchange time `at`."""
    return utc_day(at - AFTER - timedelta(days=1))


class DayReports:
    """Writes the reports of a home that is up, one at a time; `told` hears of each, and why there is none."""

    def __init__(self, home: Home, told: Callable[[str], None]) -> None:
        self._home = home
        self._told = told
        self._tried = _read(home)
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()
        self._ended = False

    def look(self, at: datetime) -> None:
        """Write the report that is due at exchange time `at`, unless it was tried; returns when it is there."""
        day = due(at)
        if self._tried is not None and day <= self._tried:
            return
        self._tried = day
        try:
            daily.check_day(self._home, day)
        except DataError:
            return  # nothing happened that day
        except TgtqrError as error:
            self._trouble(day, str(error))
            return
        self._write(day)

    def end(self) -> None:
        """End a report that is being written; none is begun after."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.terminate()

    def _write(self, day: str) -> None:
        with self._lock:
            if self._ended:
                return
            try:
                self._process = subprocess.Popen(
                    command(self._home, day), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, text=True, start_new_session=True,
                    env=without_secrets(os.environ),
                )  # fmt: skip
            except OSError as error:
                self._trouble(day, f"it cannot be started ({error.strerror})")
                return
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, LOWEST)
        try:
            out, err = self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            self._trouble(day, f"it took longer than {TIMEOUT_S} s")
            return
        if self._process.returncode != 0:
            if not self._ended:
                said = err.strip().splitlines() or [f"it ended with {self._process.returncode}"]
                self._trouble(day, said[-1].removeprefix("tgtqr report: "))
            return
        page = (out.strip().splitlines() or ["-"])[-1]
        journal.event("report", day=day, page=page)
        self._told(f"report of {day}: {page}")
        with contextlib.suppress(OSError):
            _write(self._home, day)

    def _trouble(self, day: str, text: str) -> None:
        journal.event("trouble", what="report", day=day, text=text)
        self._told(f"no report of {day}: {text}")


def _read(home: Home) -> str | None:
    """The day that was reported last; None when it is not known."""
    with contextlib.suppress(OSError, ValueError):
        text = (home.control / MARKER).read_text("ascii").strip()
        return text if daily.DAY.fullmatch(text) else None
    return None


def _write(home: Home, day: str) -> None:
    path: Path = home.control / MARKER
    fresh = path.with_name(f".{MARKER}.{os.getpid()}")
    fresh.write_text(f"{day}\n", "ascii")
    os.replace(fresh, path)
