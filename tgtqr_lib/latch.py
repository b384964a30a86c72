"""The stop latch: two files in `data/control/`, and nothing else.

ARMED must be there and STOP must not, or the kit is stopped. Stopping unlinks ARMED, then creates STOP
and syncs the folder: no ledger, no page, no free space is needed. This module imports the standard
library only, so that `tgtqr stop` starts at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tgtqr_lib.home import Home

ARMED, STOP = "ARMED", "STOP"


class ArmRefused(Exception):
    """Arming was overtaken by a stop."""


def stopped_because(home: Home) -> str | None:
    """Why the kit is stopped, in words; None when it is armed. Doubt is a stop."""
    control = home.control
    try:
        if os.path.lexists(control / STOP):
            return _read(control / STOP) or "the file data/control/STOP is there"
        with open(control / ARMED, encoding="utf-8", errors="replace") as file:
            file.read(1)
        return None
    except FileNotFoundError:
        return "never armed, or disarmed: data/control/ARMED is not there"
    except OSError as error:
        return f"data/control cannot be read ({error.strerror})"


def is_armed(home: Home) -> bool:
    """Whether the file ARMED is there, whatever STOP says."""
    return os.path.lexists(home.control / ARMED)


def stop(home: Home, reason: str) -> None:
    """Latch the kit, durably, before this returns; `reason` is kept where there is room for it.

    Raises `OSError` only when ARMED could be neither removed nor overruled by STOP.
    """
    control = home.control
    with contextlib.suppress(OSError):
        control.mkdir(parents=True, exist_ok=True)
    failures = []
    for step in (lambda: _unlink(control / ARMED), lambda: _create(control / STOP)):
        try:
            step()
        except OSError as error:
            failures.append(error)
    _sync(control)
    with contextlib.suppress(OSError):  # the words are worth less than the latch
        if reason and not _read(control / STOP):
            _write(control / STOP, reason)
    if stopped_because(home) is None:
        raise failures[0] if failures else OSError("the latch did not hold")


def _unlink(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _create(path: Path) -> None:
    """Create `path`, or touch it: an arming in progress sees by its time that somebody stopped."""
    for _ in range(10):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
        except PermissionError:  # another user's, as where the page has a user of its own
            path.unlink(missing_ok=True)  # without ARMED the kit is stopped meanwhile
            continue
        with contextlib.suppress(FileNotFoundError):
            now = time.time_ns()  # finer than a file system's clock: no two stops look alike
            os.utime(path, ns=(now, now))
            return


@contextmanager
def arming(home: Home) -> Iterator[None]:
    """Arm at the end of the block; a stop that arrives meanwhile wins and raises `ArmRefused`.

    The block records what it must before the gate opens; an error in it leaves the kit stopped.
    """
    control = home.control
    control.mkdir(parents=True, exist_ok=True)
    with open(control / "arm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = _identity(control / STOP)
        yield
        aside = control / "STOP.cleared"
        if before is not None:
            os.rename(control / STOP, aside)
            if _identity(aside) != before:
                os.rename(aside, control / STOP)
                raise ArmRefused("a stop arrived while arming")
        try:
            _write(control / ARMED, "armed\n")
            _sync(control)
        except BaseException:  # a full disk, say: an ARMED without its content would count
            _unlink(control / ARMED)
            raise
        if os.path.lexists(control / STOP):
            _unlink(control / ARMED)
            raise ArmRefused("a stop arrived while arming")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")[:500].strip()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
