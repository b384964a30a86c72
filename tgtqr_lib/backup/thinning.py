"""Old backups go: the newest few stay, and one a day for thirty days."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from tgtqr_lib.backup import placing
from tgtqr_lib.backup.folders import REMOVING
from tgtqr_lib.backup.layout import backups_in
from tgtqr_lib.domain import DomainError

DAYS = 30


def chosen(names: list[str], keep: int, now: datetime) -> list[str]:
    """Of backups called `names`, those to remove: neither of the `keep` newest nor the last of one of `DAYS` days."""
    newest = sorted(names, reverse=True)
    stay = set(newest[:keep])
    since = f"{now - timedelta(days=DAYS):%Y%m%d}"
    days: set[str] = set()
    for name in newest:
        if name[:8] not in days and name[:8] > since:
            days.add(name[:8])
            stay.add(name)
    return [name for name in names if name not in stay]


def thin(folder: Path, keep: int, now: datetime) -> list[str]:
    """Remove what `chosen` says from `folder`; the names of what went. Inside `folders.folder_of`."""
    if keep < 1:
        raise DomainError(f"--keep {keep}: expected at least 1")
    gone = chosen([path.name for path in backups_in(folder)], keep, now)
    with placing.disk_errors(f"backups {folder}: an old one cannot be removed"):
        for name in gone:
            aside = folder / f"{REMOVING}{name}"  # half removed it must not look like a backup
            os.rename(folder / name, aside)
            placing.remove(aside)
    return gone
