"""A backup is made while ticks and watch go on: one moment of the ledger, and the notebooks that it knows.

It is written under a temporary name and checked; only then it gets its own name. What did not change since the
backup before is linked, so a backup each hour costs the ledger's own size, packed, and the new notebooks.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tgtqr_lib import __version__, audit, books, ledger
from tgtqr_lib.archive.opened import NAME as NOTEBOOK
from tgtqr_lib.archive.opened import files_in
from tgtqr_lib.archive.witness import pruned_hashes
from tgtqr_lib.backup import folders, layout, placing
from tgtqr_lib.backup.carrying import Carrier, Made
from tgtqr_lib.backup.folders import PARTIAL
from tgtqr_lib.backup.layout import Backup
from tgtqr_lib.clock import iso
from tgtqr_lib.desk import TICK_LOCK, is_running
from tgtqr_lib.domain import Damaged, DomainError, StoreError, TgtqrError
from tgtqr_lib.home import Home

QUIET_WAIT_S = 20.0  # a tick under way is waited for this long
LOOK_EVERY_S = 0.5


def make(home: Home, folder: Path, now: datetime) -> Made:
    """Back `home` up into a new folder inside `folder`, named after `now`, this machine's time.

    Inside `folder_of`. Raises `StoreError` without a ledger or when the disk is full, `Damaged` when the
    ledger itself is wrong, `DomainError` when the backups there are of another ledger; then nothing is left.
    """
    name, number = f"{now:%Y%m%dT%H%M%SZ}", 1
    while (folder / name).exists():
        number += 1
        name = f"{now:%Y%m%dT%H%M%SZ}-{number:02d}"
    partial = folder / f"{PARTIAL}{name}"
    try:
        with placing.disk_errors(f"backup {folder / name}: cannot be made"):
            made = _Making(home, folder, partial).run(now)
            placing.sync_tree(partial)
            os.rename(partial, folder / name)
            placing.sync_folder(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    made.path = folder / name
    return made


class _Making:
    """One backup in the making, in the folder `partial`."""

    def __init__(self, home: Home, folder: Path, partial: Path) -> None:
        self.home = home
        self.folder = folder
        self.partial = partial
        self.copy = Home(partial)  # its parts lie where those of a home lie

    def run(self, now: datetime) -> Made:
        self.copy.data.mkdir(parents=True)
        with placing.disk_errors(f"ledger's witness {self.home.witness}: cannot be read"):
            if self.home.witness.is_file():  # before the ledger is read: it may only be ahead
                placing.copy(self.home.witness, self.copy.witness)
        seen = [path for path in files_in(self.home.ticks) if NOTEBOOK.fullmatch(path.name)]
        under_way = self._copy_ledger()
        with ledger.reading(self.copy.ledger) as con:
            self._check(con)
            seq, head = ledger.head(con)
            facts = _account(con)
            first = ledger.between(con, 1, 1)[0].hash
            expected = _expected(con)
        carrier = Carrier(self.home, self.folder, self.partial, self._backup_before(first))
        made = Made(self.partial, seq, head, under_way=under_way)
        carrier.notebooks(seen, expected, made)
        carrier.others()
        self._pack(seq, head, carrier.sums)
        self._finish(
            carrier.sums,
            {
                "layout": layout.LAYOUT,
                "kit": __version__,
                "made_at": iso(now.replace(microsecond=0)),
                "ledger": {"seq": seq, "head": head, "first": first},
                **facts,
                "notebooks": made.notebooks,
                "under_way": under_way,
                "missing": carrier.missing,
                "altered": carrier.altered,
                "unknown": made.unknown,
                "env_file": (self.home.root / ".env").is_file(),
                "left_out": layout.LEFT_OUT,
            },
        )
        return made

    # the ledger

    def _copy_ledger(self) -> list[str]:
        """Copy the ledger of a moment without a tick under way, if one comes soon; the ticks under way."""
        deadline = time.monotonic() + QUIET_WAIT_S
        while True:
            with ledger.reading(self.home.ledger) as con:
                under_way = sorted({*books.open_claims(con), *books.unsealed(con)})
                if not self._is_ticking(under_way) or time.monotonic() > deadline:
                    folders.need(self.folder, self.home.ledger.stat().st_size * 1.2)
                    self._copy_pages(con)
                    return under_way
            time.sleep(LOOK_EVERY_S)

    def _is_ticking(self, under_way: list[str]) -> bool:
        """Whether a tick may work on one of `under_way`; what a crash left is not waited for.

        The lock is not tried: a tick that begins at that moment would find it taken.
        """
        return bool(under_way) and is_running(self.home.control / TICK_LOCK)

    def _copy_pages(self, con: sqlite3.Connection) -> None:
        try:
            with closing(sqlite3.connect(self.copy.ledger, isolation_level=None)) as fresh:
                con.backup(fresh)  # in one step: the moment that `con` sees
                fresh.execute("PRAGMA journal_mode=DELETE")  # one file, without companions
        except sqlite3.Error as error:
            raise StoreError(f"{self.folder}: the ledger cannot be copied ({error})") from None

    def _check(self, con: sqlite3.Connection) -> None:
        """Raises `Damaged` when the copy is not a sound ledger, or not a past of the one in the home."""
        _, problems = audit.verify(con, self.copy)
        if problems:
            more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise Damaged(
                f"ledger {self.home.ledger}: not backed up: {problems[0]}{more}; "
                "`tgtqr ledger verify` tells all; earlier backups are left as they are"
            )
        seq, head = ledger.head(con)
        if seq == 0:
            raise StoreError(
                f"ledger {self.home.ledger}: has no events yet; there is nothing to back up"
            )
        with ledger.reading(self.home.ledger) as now:
            rows = ledger.between(now, seq, seq)
        if not rows or rows[0].hash != head:
            raise Damaged(f"ledger {self.home.ledger}: event {seq} of the copy is not in it")

    def _backup_before(self, first: str) -> Backup | None:
        """The newest backup in the folder that can be read; its files may be linked."""
        for path in reversed(layout.backups_in(self.folder)):
            try:
                found = layout.open_backup(path)
            except TgtqrError:
                continue
            if found.facts["ledger"]["first"] != first:
                raise DomainError(
                    f"{self.folder}: {path.name} is a backup of another ledger (account "
                    f"{found.facts['account']}); expected a folder for each home, see --to"
                )
            return found
        return None

    def _pack(self, seq: int, head: str, sums: dict[str, str]) -> None:
        """Pack the ledger, a tenth of its size, and write the witness that belongs to it."""
        with (
            self.copy.ledger.open("rb") as source,
            (self.partial / layout.LEDGER).open("wb") as target,
            gzip.GzipFile("", "wb", 6, target, mtime=0) as packed,
        ):
            shutil.copyfileobj(source, packed, placing.PIECE)
        self.copy.ledger.unlink()
        self.copy.witness.unlink(missing_ok=True)
        self.copy.witness.write_text(f"{seq} {head}\n", "ascii")
        for name in (layout.LEDGER, layout.WITNESS):
            sums[name] = placing.digest(self.partial / name)
            _sync(self.partial / name)

    def _finish(self, sums: dict[str, str], facts: Mapping[str, object]) -> None:
        text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
        placing.write(self.partial / layout.MANIFEST, text)
        sums[layout.MANIFEST] = placing.digest(self.partial / layout.MANIFEST)
        lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
        placing.write(self.partial / layout.SUMS, "".join(lines))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _expected(con: sqlite3.Connection) -> dict[str, tuple[str, str]]:
    """Tick -> the SHA-256 of its notebook as it was sealed, and as it was thinned."""
    thinned = pruned_hashes(con)
    return {
        row.body["tick_id"]: (row.body["sha256"], thinned.get(row.body["tick_id"], ""))
        for row in ledger.of_kind(con, "sealed")
    }


def _account(con: sqlite3.Connection) -> dict[str, object]:
    account, last = books.account(con), books.last_boundary(con)
    return {
        "account": account.id if account else None,
        "last_tick": f"{last:%Y%m%dT%H%MZ}" if last else None,
    }
