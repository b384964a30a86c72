"""What a restore would do to a home, found out by looking alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from tgtqr_lib import ledger
from tgtqr_lib.backup import layout, placing
from tgtqr_lib.backup.checking import Checked, foreign, ticks_of
from tgtqr_lib.backup.layout import Backup
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home


@dataclass
class Plan:
    """What a restore does to a home.

    ledger   what is there now: sequence number and head, None for none, or a sentence why it cannot be read
    bring    paths of the backup that the home lacks, or has with other bytes
    aside    files of the home that make room for them
    later    ticks with a notebook in the home that the restored ledger does not know
    differ   files that stay as the home has them, though the backup's are others
    """

    ledger: tuple[int, str] | str | None
    bring: list[str] = field(default_factory=list)
    aside: list[Path] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    differ: list[str] = field(default_factory=list)

    def lost_events(self, backup: Backup) -> int:
        """How many events of the present ledger came after the backup."""
        present = self.ledger
        return max(0, present[0] - backup.seq) if present and not isinstance(present, str) else 0


def plan(home: Home, found: Checked) -> Plan:
    """What restoring `found` would do to `home`; only looks.

    Raises `DomainError` for the backup of another home.
    """
    if (why := foreign(home, found)) is not None:
        raise DomainError(
            f"backup {found.backup.path} is of another home: {why}; to take it over all the same, "
            f"move data/ and outputs/ticks/ of {home.root} elsewhere first"
        )
    made = Plan(_present(home))
    backup, here = found.backup, ticks_of(home)
    doubtful = {*backup.facts["altered"], *backup.facts["unknown"]}
    known = set()
    for name in backup.notebooks():
        path = home.root / name
        tick = path.name[:14]
        if path.name.startswith("."):  # of a tick that was under way
            if not path.exists():
                made.bring.append(name)
            continue
        known.add(tick)
        if tick in doubtful and here.get(tick):
            continue
        same = path.is_file() and placing.digest(path) == backup.sums[name]
        made.aside += [one for one in here.get(tick, ()) if one != path or not same]
        if not same:
            made.bring.append(name)
    doubted = set(backup.facts["unknown"])
    with ledger.reading(found.ledger) as con:
        known |= {row.body["tick_id"] for row in ledger.of_kind(con, "sealed")}
    made.later = sorted((set(here) - known) | doubted)
    _plan_others(home, backup, made)
    return made


def _plan_others(home: Home, backup: Backup, made: Plan) -> None:
    """Settings and the like come back only where they are gone; a lake only where it is gone wholly."""
    for name in sorted(set(backup.sums) - {layout.LEDGER, layout.WITNESS}):
        if name.startswith(layout.TICKS):
            continue
        lake = next((one for one in layout.LAKES if name.startswith(one)), None)
        path = home.root / name
        if lake is not None:
            # files and checksums of two moments would contradict each other
            if not path.exists() and _is_ours(home, backup, path.parent):
                made.bring.append(name)
        elif not path.exists():
            made.bring.append(name)
        elif placing.digest(path) != backup.sums[name]:
            made.differ.append(name)


def _is_ours(home: Home, backup: Backup, folder: Path) -> bool:
    """Whether nothing lies in a lake's `folder` but what came from this backup, by a restore that was killed."""
    for path in folder.iterdir() if folder.is_dir() else ():
        name = path.relative_to(home.root).as_posix()
        if path.name.startswith("."):
            continue
        if name not in backup.sums or placing.digest(path) != backup.sums[name]:
            return False
    return True


def _present(home: Home) -> tuple[int, str] | str | None:
    if not os.path.lexists(home.ledger):
        return None
    try:
        with ledger.reading(home.ledger) as con:
            return ledger.head(con)
    except TgtqrError as error:
        return str(error)
