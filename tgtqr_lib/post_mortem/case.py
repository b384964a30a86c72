"""A case: one sealed tick, what it knew, decided and did, and the stop that came after it, if one did."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tgtqr_lib import books, ledger
from tgtqr_lib.archive.opened import NAME as TICK_FILE
from tgtqr_lib.archive.opened import Archived, find_sealed, notebooks_in, open_archived
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import parse_time, tick_id
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.domain import Decision, DomainError, Inputs, StoreError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Row
from tgtqr_lib.sizing import SAFETY

STOP = "stop"  # asks for the newest stop
LOOK_BACK = 500  # orders among which the newest one of a tick is looked for


@dataclass(frozen=True, eq=False)
class Case:
    """What a post-mortem is about.

    home     where it happened
    sealed   the tick's notebook
    inputs   what was known then
    decision what was decided then, as sealed
    stop     the gate's event that stopped the kit between this tick and the next, or None
    asked    the moment that was asked for, None when a tick was
    """

    home: Home
    sealed: Archived
    inputs: Inputs
    decision: Decision
    stop: Row | None = None
    asked: datetime | None = None

    @property
    def tick_id(self) -> str:
        return self.inputs.tick_id

    @property
    def outcome(self) -> dict[str, Any]:
        """What was done, as sealed."""
        return self.sealed.facts["outcome"]

    @property
    def decided_alike(self) -> bool:
        """Whether the present code decides the same from the same inputs."""
        return decision_sha256(decide(self.inputs)) == decision_sha256(self.decision)


def open_case(home: Home | str | os.PathLike[str] | None = None, which: str = "") -> Case | None:
    """The case that `which` means; None when the home has no tick that decided.

    which  the id of a tick; a time, which means the newest tick at or before it; `stop`, the newest tick at
           the newest stop; nothing, the newest tick with an order, or else the newest

    Raises `DomainError` when there is no such tick, or it ended without a decision.
    """
    home = home if isinstance(home, Home) else Home.find(home or None)
    which = which.strip()
    if not which:
        return _newest(home)
    if which == STOP:
        return _at_newest_stop(home)
    moment = parse_time(which)
    if TICK_FILE.fullmatch(f"{which}.ipynb"):
        path = find_sealed(home, tick_id(moment))
        if path is None:
            raise DomainError(f"tick {which} has no notebook in {home.ticks}")
        return _opened(home, path)
    found = notebooks_in(home.ticks, until=moment)
    if not found:
        raise DomainError(f"{home.ticks} holds no tick at or before {which}")
    return _opened(home, found[-1], asked=moment)


@contextmanager
def reading(home: Home) -> Iterator[sqlite3.Connection | None]:
    """A connection to the ledger of `home`; None where there is none, or it cannot be read."""
    try:
        con = ledger.connect(home.ledger, create=False, timeout_s=2.0)
    except StoreError:
        con = None
    try:
        yield con
    finally:
        if con is not None:
            con.close()


def tick_at_stop(con: sqlite3.Connection, home: Home, stop: Row) -> tuple[str | None, bool]:
    """The newest tick claimed before `stop` whose notebook has a decision, and whether that is certain.

    It is not while a tick that was claimed before the stop is still under way.
    """
    certain = True
    for row in reversed(ledger.of_kind(con, "claim")):
        if row.seq > stop.seq:
            continue
        name = row.body["tick_id"]
        if books.tick_event(con, name, "final") is None:
            certain = False
            continue
        path = find_sealed(home, name)
        if path is not None and _decided(path):
            return name, certain
    return None, certain


def newest_stop(con: sqlite3.Connection) -> Row | None:
    """The gate's newest event that stopped the kit, whether or not it was armed since."""
    stops = [row for row in ledger.of_kind(con, "gate") if row.body["what"] == "stopped"]
    return stops[-1] if stops else None


def _newest(home: Home) -> Case | None:
    names = []
    with reading(home) as con:
        if con is not None:
            rows = ledger.of_kind(con, "order", newest=LOOK_BACK)
            keys = [row.key.removeprefix("order/") for row in reversed(rows)]
            names = [key.split("-")[0] for key in keys if not key.endswith(f"-{SAFETY}")]
    paths = [find_sealed(home, name) for name in dict.fromkeys(names)]
    for path in [*paths, *reversed(notebooks_in(home.ticks))]:
        if path is not None and _decided(path):
            return _opened(home, path)
    return None


def _at_newest_stop(home: Home) -> Case | None:
    with reading(home) as con:
        stop = None if con is None else newest_stop(con)
        if stop is None:
            raise DomainError("the ledger knows of no stop")
        name, _ = tick_at_stop(con, home, stop)
    return None if name is None else _opened(home, find_sealed(home, name))


def _decided(path: Path) -> bool:
    try:
        found = open_archived(path)
        return found.decision is not None and bool(found.facts["inputs"] or found.cell_inputs)
    except TgtqrError:
        return False


def _opened(home: Home, path: Path, asked: datetime | None = None) -> Case:
    sealed = open_archived(path)
    if sealed.decision is None:
        raise DomainError(f"tick {sealed.tick_id}: it ended without a decision")
    inputs = sealed.inputs()
    decision = restore(Decision, sealed.decision, "decision")
    with reading(home) as con:
        stop = None if con is None else _stop_after(con, sealed.tick_id)
    return Case(home, sealed, inputs, decision, stop, asked)


def _stop_after(con: sqlite3.Connection, name: str) -> Row | None:
    """The first stop between the claims of this tick and of the next."""
    claim = ledger.get(con, f"tick/{name}/claim")
    if claim is None:
        return None
    later = ledger.of_kind(con, "claim", "gate", after=claim.seq)
    for row in later:
        if row.kind == "claim":
            return None
        if row.body["what"] == "stopped":
            return row
    return None
