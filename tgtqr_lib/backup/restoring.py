"""A backup becomes the home's ledger and archive again.

The kit is stopped first, and stays so. Notebooks come next, the ledger last and by rename; what was there moves to
`data/replaced-<time>/` and is never deleted. `data/restoring.json` says that a restore is under way: killed at
any moment, it is completed by running it again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tgtqr_lib import audit, books, gate, latch, ledger
from tgtqr_lib.archive import witness
from tgtqr_lib.archive.sealing import write_whole
from tgtqr_lib.backup import layout, placing
from tgtqr_lib.backup.checking import Checked, scratch, ticks_of, unexpected
from tgtqr_lib.backup.folders import RESTORING
from tgtqr_lib.backup.layout import Backup
from tgtqr_lib.backup.planning import Plan, plan
from tgtqr_lib.clock import LAST_START_S, iso, parse_time
from tgtqr_lib.desk import TICK_LOCK, make_folders, one_at_a_time
from tgtqr_lib.domain import Busy, StoreError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Event

STAGE = ".restoring"
COMPANIONS = ("-wal", "-shm")
LOCKS = {
    TICK_LOCK: "a tick",
    "watch.lock": "a beat of the watch",
    "watching.lock": "`tgtqr watch`",
    "up.lock": "`tgtqr up`",
}
GONE_ON = timedelta(seconds=LAST_START_S + 1)  # after which a tick of that quarter hour is too late


@dataclass(frozen=True)
class Restored:
    """What a restore did: its plan, the new head, and where the files that were replaced lie (None: none)."""

    plan: Plan
    seq: int
    head: str
    replaced: Path | None


@contextmanager
def nothing_runs(home: Home) -> Iterator[None]:
    """Keep ticks, beats and schedulers of `home` out. Raises `Busy` naming the one that runs."""
    make_folders(home)
    with ExitStack() as held:
        for name, what in LOCKS.items():
            try:
                held.enter_context(one_at_a_time(home.control / name, what))
            except Busy:
                raise Busy(
                    f"{what} of this home runs; end it, and whatever starts it (cron, systemd), "
                    "before a restore"
                ) from None
        yield


def restore(
    home: Home, found: Checked, reason: str, by: str, now: datetime, *, linked: bool = False
) -> Restored:
    """Make `found` the ledger and archive of `home`, which is stopped then.

    Inside `nothing_runs`. Run again after a crash it completes what was begun. `linked` lets notebooks be
    the backup's own files. Raises `DomainError` for the backup of another home, `StoreError` when the disk
    does not take it.
    """
    backup, wanted = found.backup, plan(home, found)
    with placing.disk_errors(f"home {home.root}: cannot be restored; run the restore again"):
        begun = _begun(home, backup) or {
            "backup": backup.name,
            "head": backup.head,
            "id": f"{backup.name}/{now:%Y%m%dT%H%M%S%fZ}",
            "replaced": _free(home.data, f"replaced-{now:%Y%m%dT%H%M%SZ}"),
            "was": wanted.ledger,
        }
        if wanted.ledger is None or _is_in_place(
            home, begun
        ):  # what there was before the first try
            wanted.ledger = begun["was"]
        _stop(home, backup, reason)
        placing.write(home.data / RESTORING, json.dumps(begun) + "\n")
        aside = home.data / begun["replaced"]
        for path in wanted.aside:
            placing.move(path, aside / path.relative_to(home.root))
        for name in wanted.bring:
            _place(backup, name, home.root / name, linked)
        for tick in wanted.later:  # a tick that ran again would write over them
            for path in ticks_of(home).get(tick, ()):
                kept = aside / path.relative_to(home.root)
                if not kept.exists() and not placing.link(path, kept):
                    placing.copy(path, kept)
        _clock_goes_on(home, wanted, now)
        if not _is_in_place(home, begun):
            _stage(home, found, begun, wanted, reason, by, now)
            _swap(home, aside)
        _fresh_witness(home, backup, aside)
        con = ledger.connect(home.ledger, create=False)
        try:
            gate.bear_witness(con, home)
            seq, head = ledger.head(con)
        finally:
            con.close()
        placing.remove(home.data / STAGE)
        (home.data / RESTORING).unlink()
        placing.sync_folder(home.data)
    return Restored(wanted, seq, head, aside if aside.is_dir() else None)


@dataclass(frozen=True)
class Drilled:
    """What a drill found: what a restore would do, and what was wrong in the home it restored into."""

    plan: Plan
    problems: tuple[str, ...]
    gate: str | None


def drill(home: Home, found: Checked, now: datetime) -> Drilled:
    """Restore `found` into a temporary home, verify that, and remove it; `home` is only looked at."""
    wanted = plan(home, found)
    with scratch(found.backup) as folder:
        there = Home(folder / "home")
        with nothing_runs(there):
            restore(there, found, "a drill", "a drill", now, linked=True)
        con = ledger.connect(there.ledger, create=False)
        try:
            _, problems = audit.verify(con, there)
            _, told = witness.check(con, there)
        finally:
            con.close()
        stopped = latch.stopped_because(there)
    return Drilled(wanted, (*problems, *unexpected(found.backup, told)), stopped)


def _begun(home: Home, backup: Backup) -> dict[str, Any] | None:
    """The restore of this very backup that was killed, or None."""
    try:
        marker = json.loads((home.data / RESTORING).read_text("utf-8"))
        same = (marker["backup"], marker["head"]) == (backup.name, backup.head)
        return marker if same and {"id", "replaced", "was"} <= set(marker) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _free(folder: Path, name: str) -> str:
    free, number = name, 1
    while (folder / free).exists():
        number += 1
        free = f"{name}-{number}"
    return free


def _stop(home: Home, backup: Backup, reason: str) -> None:
    """Latch the kit with the restore as its reason; an older reason is kept behind it."""
    path = home.control / latch.STOP
    before = latch.stopped_because(home) if path.exists() else None
    text = f"restored from backup {backup.name}: {reason}"
    latch.stop(home, text)
    if before and not before.startswith(text):
        write_whole(path, f"{text} (it was stopped before: {before})".encode())


def _place(backup: Backup, name: str, target: Path, linked: bool) -> None:
    if linked and placing.link(backup.path / name, target):
        return
    if placing.copy(backup.path / name, target) != backup.sums[name]:
        target.unlink()
        raise StoreError(f"backup {backup.path}: {name} changed while it was restored")
    placing.sync_folder(target.parent)


def _clock_goes_on(home: Home, wanted: Plan, now: datetime) -> None:
    """Let the embedded simulator's clock pass the newest notebook that stays.

    It would play those quarter hours again, and write over what they left.
    """
    path = home.data / "simulator.json"
    if not wanted.later or not path.is_file():
        return
    try:
        facts = json.loads(path.read_text("utf-8"))
        passed = parse_time(wanted.later[-1]) + GONE_ON
        if parse_time(str(facts["time"])) < passed < now:
            placing.write(path, json.dumps({**facts, "time": iso(passed)}) + "\n")
    except (ValueError, KeyError, TypeError, TgtqrError):
        return  # the next command says what is wrong with it


def _is_in_place(home: Home, begun: dict[str, Any]) -> bool:
    try:
        with ledger.reading(home.ledger) as con:
            return ledger.get(con, f"restored/{begun['id']}") is not None
    except TgtqrError:
        return False


def _stage(
    home: Home,
    found: Checked,
    begun: dict[str, Any],
    wanted: Plan,
    reason: str,
    by: str,
    now: datetime,
) -> None:
    """Make the ledger that will take its place: the backup's, and that it was restored."""
    placing.remove(home.data / STAGE)
    staged = home.data / STAGE / home.ledger.name
    placing.copy(found.ledger, staged)
    con = ledger.connect(staged, create=False)
    try:
        with ledger.writing(con):
            last = books.last_gate(con)
            body = {
                "at": None,  # the exchange is not asked
                "restored_at": iso(now.replace(microsecond=0)),
                "backup": found.backup.name,
                "seq": found.backup.seq,
                "head": found.backup.head,
                "replaced": wanted.ledger,
                "later": wanted.later,
                "reason": reason,
                "by": by,
            }
            ledger.append(con, Event("restored", f"restored/{begun['id']}", body))
            if last is not None and last["what"] != "stopped":
                why = f"restored from backup {found.backup.name}: {reason}"
                books.book_gate(con, "stopped", None, why, by)
        con.execute("PRAGMA journal_mode=DELETE")  # one file, moved in one step
    finally:
        con.close()
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    placing.sync_folder(staged.parent)


def _swap(home: Home, aside: Path) -> None:
    """Move the present ledger aside with all that belongs to it, and the staged one in.

    The -wal goes first: a ledger must never meet the -wal of another.
    """
    old = [home.ledger.with_name(home.ledger.name + end) for end in COMPANIONS] + [home.ledger]
    for path in old:
        if os.path.lexists(path):
            placing.move(path, aside / "data" / path.name)
    if aside.is_dir():
        placing.sync_folder(aside)
    os.rename(home.data / STAGE / home.ledger.name, home.ledger)
    placing.sync_folder(home.data)


def _fresh_witness(home: Home, backup: Backup, aside: Path) -> None:
    """The witness of the backup; one that has seen another ledger moves aside."""
    source = backup.path / layout.WITNESS
    if home.witness.exists():
        with ledger.reading(home.ledger) as con:
            if gate.witness_problem(con, home) is None:
                return
        placing.move(home.witness, aside / "data" / home.witness.name)
    placing.copy(source, home.witness)
    placing.sync_folder(home.data)
