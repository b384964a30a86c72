"""The folder that backups go to: one writer at a time, and nothing that a killed one left."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tgtqr_lib.backup import placing
from tgtqr_lib.domain import Busy, DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.limits import DISK_FREE_MB

FOLDER = "backups"
RESTORING = "restoring.json"  # in data/ while a restore is under way
PARTIAL, REMOVING, SCRATCH = ".partial-", ".removing-", ".restoring-"
SCRATCH_S = 86_400.0  # a drill takes no longer
MB = 1_000_000


def check_home(home: Home) -> None:
    """Raises `StoreError` when `home` has no ledger, or a restore in it was cut short."""
    if (home.data / RESTORING).exists():
        raise StoreError(
            f"home {home.root}: a restore was cut short; run it again before a backup, or delete "
            f"data/{RESTORING} to leave the home as it is"
        )
    if not home.ledger.is_file():
        raise StoreError(f"ledger {home.ledger}: there is none, so there is nothing to back up")


@contextmanager
def folder_of(home: Home, to: Path | None) -> Iterator[Path]:
    """The folder that backups of `home` go to, made if need be, with nobody else writing in it.

    Raises `DomainError` for a folder inside what is backed up, `Busy` while another backup is made there.
    """
    folder = (to or home.root / FOLDER).expanduser().absolute()
    for inside in (home.data, home.ticks):
        if folder.resolve().is_relative_to(inside.resolve()):
            raise DomainError(f"{folder} lies inside {inside} and would be lost with it")
    with placing.disk_errors(f"backups {folder}: cannot be written"):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():  # a home may lie in a repository
            (folder / ".gitignore").write_text("*\n", "ascii")
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - held to the end of the block
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{folder}: another backup is being made or removed there") from None
        with placing.disk_errors(f"backups {folder}: cannot be tidied"):
            for path in folder.iterdir():  # what a killed one left
                left = path.name.startswith((PARTIAL, REMOVING))
                if left or (path.name.startswith(SCRATCH) and _is_old(path)):
                    placing.remove(path)
        yield folder


def need(folder: Path, size: float) -> None:
    """Raises `StoreError` when `size` more bytes in `folder` would leave less free than trading needs."""
    free = shutil.disk_usage(folder).free
    if free - size < DISK_FREE_MB * MB:
        raise StoreError(
            f"{folder}: a backup needs {size / MB:.0f} MB and {free / MB:.0f} MB are free; "
            f"{DISK_FREE_MB} MB must stay free, or entries are refused"
        )


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > SCRATCH_S
