"""What ledger and archive hold of a day's ticks, each checked against the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from tgtqr_lib import books, ledger
from tgtqr_lib.archive.opened import Archived, moment_of, notebooks_in, open_archived, tick_of
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import TICK, parse_time, tick_id, to_ms
from tgtqr_lib.domain import Account, DataError, Decision, Fill, Inputs, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Row
from tgtqr_lib.sizing import SAFETY

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Booked:
    """An order as the ledger has it: its event, and its fill when it had one."""

    id: str
    row: Row
    fill: Fill | None

    @property
    def body(self) -> dict[str, Any]:
        return self.row.body

    @property
    def at(self) -> datetime:
        """Exchange time at which it was booked."""
        return parse_time(self.row.body["at"])

    @property
    def is_safety_sale(self) -> bool:
        return self.id.endswith(f"-{SAFETY}")


@dataclass(slots=True)
class Ticked:
    """A quarter hour in which a decision was expected, and what is there of it.

    steps    step -> the ledger's event (`claim`, `decision`, `acted`, `final`, `sealed`)
    orders   those the tick itself placed, by id
    problem  why its notebook is no evidence, or None
    """

    boundary: datetime
    steps: dict[str, Row]
    orders: dict[str, Booked]
    sealed: Archived | None = None
    inputs: Inputs | None = None
    decision: Decision | None = None
    problem: str | None = None

    @property
    def tick_id(self) -> str:
        return tick_id(self.boundary)

    @property
    def counts(self) -> bool:
        """Whether it can be compared, and be the first of a backtest."""
        return self.decided and self.problem is None

    @property
    def decided(self) -> bool:
        """Whether its decision was booked, so that it was to be acted on."""
        return "decision" in self.steps

    @property
    def ended(self) -> str:
        """How it ended, in the ledger's words."""
        if final := self.steps.get("final"):
            return f"{final.body['state']}: {final.body['text']}"
        return "begun, and not ended" if self.steps else "the ledger knows nothing of it"

    @property
    def failed(self) -> bool:
        final = self.steps.get("final")
        return final is None or final.body["state"] in (books.FAILED, books.MISSED)


@dataclass(slots=True)
class Record:
    """The ticks of a day, oldest first, and what else moved the account.

    later  inputs of the next tick after the day, which saw its last minutes; None without one
    """

    ticks: list[Ticked]
    sales: list[Booked]
    accounts: list[tuple[Row, Account]]
    later: Inputs | None = None

    @property
    def seen(self) -> list[Inputs]:
        """What each tick saw whose notebook is evidence, oldest first."""
        found = [tick.inputs for tick in self.ticks if tick.inputs and not tick.problem]
        return [*found, self.later] if self.later else found


def day_of(when: date) -> tuple[datetime, datetime]:
    """The first moment of a UTC day, and of the next one."""
    start = datetime.combine(when, time(), UTC)
    return start, start + DAY


def read(home: Home, con: sqlite3.Connection, when: date) -> Record:
    """The ticks of the UTC day `when`.

    Raises `DataError` when it has none, naming the days that there are.
    """
    start, end = day_of(when)
    paths = {tick_of(path): path for path in notebooks_in(home.ticks, start, end - TICK)}
    if not paths:
        raise DataError(f"{when}: no tick of this day is archived; {_days(home)}")
    steps = _steps(con, start)
    orders = {one.id: one for one in _orders(con, start)}
    record = Record([], [one for one in orders.values() if one.is_safety_sale], _accounts(con))
    for boundary in _expected({*steps, *paths}):
        name = tick_id(boundary)
        own = {i: o for i, o in orders.items() if i.startswith(name) and not o.is_safety_sale}
        tick = Ticked(boundary, steps.get(name, {}), own)
        if name in paths:
            _open(tick, paths[name])
        elif tick.decided:
            tick.problem = "its notebook is missing, and the ledger has its decision"
        record.ticks.append(tick)
    record.later = _seen_next(home, end)
    return record


def days_in(home: Home) -> list[str]:
    """The days that have an archived tick, oldest first."""
    return sorted({f"{moment_of(path):%Y-%m-%d}" for path in notebooks_in(home.ticks)})


def _days(home: Home) -> str:
    days = days_in(home)
    if not days:
        return f"{home.ticks} holds no tick at all"
    if len(days) <= 7:
        return f"there are ticks of {', '.join(days)}"
    return f"there are ticks of {len(days):,} days from {days[0]} to {days[-1]}"


def _steps(con: sqlite3.Connection, start: datetime) -> dict[str, dict[str, Row]]:
    found: dict[str, dict[str, Row]] = {}
    for row in ledger.with_prefix(con, f"tick/{start:%Y%m%d}"):
        _, name, step = row.key.split("/")
        found.setdefault(name, {})[step] = row
    return found


def _orders(con: sqlite3.Connection, start: datetime) -> Iterator[Booked]:
    for row in ledger.with_prefix(con, f"order/{start:%Y%m%d}"):
        name = row.key.removeprefix("order/")
        fill = ledger.get(con, f"fill/{row.body['account']}/{name}")
        restored = restore(Fill, fill.body, f"event {fill.seq}") if fill else None
        yield Booked(name, row, restored)


def _accounts(con: sqlite3.Connection) -> list[tuple[Row, Account]]:
    rows = ledger.of_kind(con, "account")
    return [(row, restore(Account, row.body["account"], f"event {row.seq}")) for row in rows]


def _expected(names: set[str]) -> Iterator[datetime]:
    """The quarter hours from the first of `names` to the last.

    Those that the kit slept over between two ticks, the ledger has as missed; before its first tick and after
    its newest none was expected.
    """
    first, last = parse_time(min(names)), parse_time(max(names))
    while first <= last:
        yield first
        first += TICK


def _open(tick: Ticked, path: Path) -> None:
    """Read the notebook of `tick`, and say when it is no evidence."""
    try:
        sealed = open_archived(path)
        if altered := sealed.altered():
            raise DataError(f"its notebook was altered: {altered[0]}")
        tick.inputs = sealed.inputs() if sealed.facts["inputs"] or sealed.cell_inputs else None
        if sealed.decision is not None:
            tick.decision = restore(Decision, sealed.decision, "decision")
    except (TgtqrError, AttributeError, KeyError, TypeError, ValueError) as error:
        tick.inputs = tick.decision = None
        plain_words = isinstance(error, TgtqrError)
        tick.problem = str(error) if plain_words else f"its notebook cannot be read ({error!r})"
        return
    tick.sealed = sealed
    tick.problem = _against_ledger(tick, sealed)


def _against_ledger(tick: Ticked, sealed: Archived) -> str | None:
    if sealed.tick_id != tick.tick_id:
        return f"its file holds the notebook of tick {sealed.tick_id}"
    if not tick.steps:
        return "the ledger knows nothing of its notebook"
    booked = tick.steps.get("decision")
    for kind in ("inputs_sha256", "decision_sha256") if booked else ():
        now, then = str(sealed.facts["digests"].get(kind)), str(booked.body.get(kind))
        if now != then:
            return f"its {kind} is {now[:12]}, the ledger's decision has {then[:12]}"
    if booked and (tick.inputs is None or tick.decision is None):
        return "the ledger has its decision, its notebook has none"
    return None


def _seen_next(home: Home, end: datetime) -> Inputs | None:
    for path in notebooks_in(home.ticks, end, end + 4 * TICK):
        try:
            return open_archived(path).inputs()
        except TgtqrError:
            continue
    return None


def minutes_of(when: date) -> tuple[int, int]:
    """The opens of a day's minutes, [first, end) in ms."""
    start, end = day_of(when)
    return to_ms(start), to_ms(end)
