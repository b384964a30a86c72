"""What a UTC day came to, read from the ledger as values: ticks, money, trades, reasons, refusals, changes.

Nothing here writes. A day is the exchange's, 00:00 to 24:00 UTC; figures are those of its end, or of the
last moment that the ledger knows.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tgtqr_lib import audit, books, ledger, twin
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import TICK, from_ms, parse_time, to_ms, utc_day
from tgtqr_lib.domain import (
    MINUTE_MS,
    UNIT,
    ZERO,
    Account,
    DataError,
    Day,
    DomainError,
    Fill,
    Limits,
    Position,
    Side,
    StoreError,
    TgtqrError,
)
from tgtqr_lib.execution import mark_value
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Row
from tgtqr_lib.limits import SYMBOLS, tightest
from tgtqr_lib.portfolio import equity, fold
from tgtqr_lib.risk import RULES
from tgtqr_lib.risk.budget import daily_floor, total_floor
from tgtqr_lib.sizing import SAFETY
from tgtqr_lib.twin import Twin

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
ONE_DAY = timedelta(days=1)
TICKS_A_DAY = ONE_DAY // TICK
UNFINISHED = "unfinished"
FILLS = ("FILLED", "PARTIAL")  # results of an order that traded
STATES = (*books.FINAL_STATES, UNFINISHED)
FACTS = 2  # of the evidence for a difference that are told
NEIGHBOURS = 50  # events among which a stop's time is looked for
NO_SYMBOL = "-"  # of a reason that concerns the whole tick

# what a reason that is no rule's means
MEANINGS = {
    "SIGNAL_LONG": "the strategy wants to hold it, so it was bought",
    "SIGNAL_FLAT": "the strategy wants none, so what was held was sold",
    "SIGNAL_HOLD": "in doubt, so nothing changes",
    "SIGNAL_TIE": "the close is exactly on its mean, so nothing changes",
    "SIGNAL_FILTERED": "above its mean, but funding or order book do not agree, so nothing changes",
    "SIGNAL_NO_FUNDING": "the last 7 days of funding are not all there, so nothing changes",
    "SIGNAL_FUNDING_BAND": "the mean of funding is between both of its bounds, so nothing changes",
    "SIGNAL_IN_BAND": "the close is inside the band around its mean, so nothing changes",
    "ALREADY_LONG": "the strategy wants to hold it, and it is held: no top-ups",
    "ALREADY_FLAT": "the strategy wants none, and none is held",
    "POSITION_TRIM": "the holding was worth more than its limit, so the excess was sold",
    "BELOW_ONE_LOT": "the amount to spend does not buy the smallest lot",
    "OUTSIDE_COLLAR": "the best price lay outside the order's limit, so nothing filled",
    "MISSED": "the tick was not started within a minute of its time",
    "CRASHED": "the kit ended in the middle of the tick",
    "TICK_FAILED": "an error ended the tick; it changed nothing more",
    "NOTEBOOK_FAILED": "the tick's notebook did not run to its end",
    "EXCHANGE_UNREACHABLE": "the exchange gave no usable answer",
    "DATA_TROUBLE": "the exchange's data could not be used",
    "UNFINISHED": "the tick has not ended, or a crash left it",
}


@dataclass(frozen=True, slots=True)
class Trip:
    """A sale together with what was paid for the same quantity before; money in USDT.

    gross   what the prices did, from the middle of the book to the middle of the book
    fees    of both fills, and `spread` what both paid to cross half of it (with the rounding of a unit)
    """

    symbol: str
    quantity: Decimal
    entry_at: datetime
    exit_at: datetime
    entry_price: Decimal
    exit_price: Decimal
    gross: Decimal
    fees: Decimal
    spread: Decimal

    @property
    def net(self) -> Decimal:
        """What it added to the cash."""
        return self.gross - self.fees - self.spread


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held at the end; `mark` and `worth` are None when no close of it is known. USDT."""

    symbol: str
    quantity: Decimal
    cost: Decimal
    since: datetime
    mark: Decimal | None
    worth: Decimal | None


@dataclass(frozen=True, slots=True)
class Book:
    """The day of one paper account; money in USDT, None where it is not known.

    start     equity when the day opened, `end` when it ended (or at the ledger's last moment)
    cash      at the end: what equity would be if every price went to zero
    fees      of the day's fills, and `spread` what they paid to cross half of it
    marks     (close time in ms, equity) of each minute, oldest first; `marked` is when the last one closed
    floor     of the day, `total` of the account: equity must not fall below either
    limits    the tightest that the day has met
    runway    days that the equity over the total floor lasts at the costs of the last 24 hours
    twins     the same decisions at the smallest size that the exchange takes: of the day, and since the
              account was opened; None for an account at the exchange
    """

    account: Account
    start: Decimal | None
    end: Decimal | None
    cash: Decimal
    fees: Decimal
    spread: Decimal
    fills: tuple[Fill, ...]
    trips: tuple[Trip, ...]
    held: tuple[Holding, ...]
    marks: tuple[tuple[int, Decimal], ...]
    marked: datetime | None
    floor: Decimal | None
    total: Decimal
    limits: Limits | None
    runway: Decimal | None
    twins: tuple[Twin, Twin] | None = None

    @property
    def change(self) -> Decimal | None:
        """Equity at the end less that at the start."""
        return None if self.start is None or self.end is None else self.end - self.start

    @property
    def earned(self) -> Decimal | None:
        """What the prices did to what was held: the change before fees and spread."""
        return None if self.change is None else self.change + self.fees + self.spread

    @property
    def distances(self) -> list[tuple[str, Decimal | None, Decimal, Decimal | None]]:
        """Each limit as (name, value, limit, distance left)."""
        rows = []
        if self.limits is not None:
            for symbol in SYMBOLS:
                cost = sum((h.cost for h in self.held if h.symbol == symbol), ZERO)
                most = self.limits.position_usdt
                rows.append((f"position {symbol}", cost, most, most - cost))
        for name, floor in (("day's floor", self.floor), ("account's floor", self.total)):
            if floor is not None:
                left = None if self.end is None else self.end - floor
                rows.append((name, self.end, floor, left))
        return rows


@dataclass(frozen=True, slots=True)
class Tick:
    """One quarter hour: its state (final, or `unfinished`), why, its fills, and where its notebook lies.

    notebook  a path from the folder of the reports; None when there is none
    """

    tick_id: str
    state: str
    reason: str
    text: str
    fills: int
    notebook: str | None

    @property
    def at(self) -> datetime:
        return parse_time(self.tick_id)


@dataclass(frozen=True, slots=True)
class Reason:
    """How often a symbol had this one reason, and what it means."""

    symbol: str
    code: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a rule kept from being done, with the sentence of the last time.

    ordered  how many of the `count` times there was an order; else the signal could not be trusted
    """

    symbol: str
    code: str
    count: int
    ordered: int
    first: str
    last: str
    text: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate was `armed` or `stopped`.

    at     None for a stop, which asks nobody for the time; `until` is then the next time that the ledger has
    """

    what: str
    at: datetime | None
    by: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A setting with its value before and after; `since` says from when it holds."""

    at: datetime | None
    name: str
    old: str
    new: str
    by: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chain:
    """The ledger as it was when the report was written, and a sentence for all that is wrong with it."""

    events: int
    head: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Daily:
    """The whole day.

    until       the end of the day, or the last moment that the ledger knows
    over        whether the ledger goes on after the day
    gate_before the newest gate event before the day
    endings     sentences about accounts that a total stop ended
    """

    day: str
    until: datetime
    over: bool
    ticks: tuple[Tick, ...]
    books: tuple[Book, ...]
    reasons: tuple[Reason, ...]
    refusals: tuple[Refusal, ...]
    gates: tuple[Gate, ...]
    gate_before: Gate | None
    changes: tuple[Change, ...]
    endings: tuple[str, ...]
    chain: Chain

    @property
    def counts(self) -> dict[str, int]:
        """How many ticks ended in each state; states that none has are left out, but for `done`."""
        found = Counter(tick.state for tick in self.ticks)
        return {state: found[state] for state in STATES if found[state] or state == books.DONE}

    @property
    def missed(self) -> tuple[Tick, ...]:
        return tuple(tick for tick in self.ticks if tick.state == books.MISSED)

    @property
    def unrecorded(self) -> int:
        """Quarter hours of the day that the ledger does not know."""
        return TICKS_A_DAY - len(self.ticks)

    @property
    def fills(self) -> tuple[Fill, ...]:
        return tuple(fill for book in self.books for fill in book.fills)


# --- which day ---


def check_day(home: Home, day: str) -> None:
    """Raise `DomainError` for what is no day, `DataError` for one that has no ticks."""
    start_of(day)
    with _reading(home) as con:
        if ledger.first_key(con, f"tick/{_compact(day)}") is None:
            raise DataError(f"{day}: no tick of that day is in the ledger; {_span(con)}")


def latest_day(home: Home) -> tuple[str, str]:
    """The day before that of the ledger's newest record, or the newest day with ticks; and why that one."""
    with _reading(home) as con:
        newest = _newest(con)
        last = ledger.last_key(con, "tick/")
        if newest is None or last is None:
            raise DataError(f"the ledger of {home.root} has no tick yet")
        yesterday = day_before(utc_day(newest))
        if ledger.first_key(con, f"tick/{_compact(yesterday)}") is not None:
            return yesterday, ""
        found = utc_day(parse_time(last.split("/")[1]))
        return found, f"the newest day with ticks, for {yesterday} has none"


def day_before(day: str) -> str:
    """The UTC day before `day`."""
    return utc_day(start_of(day) - ONE_DAY)


def start_of(day: str) -> datetime:
    """00:00 UTC of `day`. Raises `DomainError` unless it is written like 2026-11-22."""
    try:
        if not DAY.fullmatch(day):
            raise ValueError
        return parse_time(date.fromisoformat(day).isoformat())
    except ValueError:
        raise DomainError(f"day {day!r} is no day; expected something like 2026-11-22") from None


def _compact(day: str) -> str:
    return day.replace("-", "")


def _span(con: sqlite3.Connection) -> str:
    first, last = ledger.first_key(con, "tick/"), ledger.last_key(con, "tick/")
    if first is None or last is None:
        return "it has no tick yet"
    days = [utc_day(parse_time(key.split("/")[1])) for key in (first, last)]
    return f"its ticks go from {days[0]} to {days[1]}"


def _reading(home: Home):
    if not home.ledger.is_file():
        raise DataError(f"home {home.root}: it has no ledger, so no tick has run in it")
    return ledger.reading(home.ledger)


def _newest(con: sqlite3.Connection) -> datetime | None:
    """The last moment that beats and ticks tell of."""
    mark, last = ledger.newest_mark(con), ledger.last_key(con, "tick/")
    seen = [from_ms(mark.beat_ms)] if mark else []
    seen += [parse_time(last.split("/")[1])] if last else []
    return max(seen, default=None)


# --- the day ---


def of(home: Home | str, day: str = "") -> Daily:
    """The day `day` of `home`; without one that of `latest_day`, and without a home the usual one.

    Raises as `check_day`, and `StoreError` for a ledger that cannot be read.
    """
    home = home if isinstance(home, Home) else Home.find(home or None)
    day = day or latest_day(home)[0]
    check_day(home, day)
    start = start_of(day)
    with _reading(home) as con:
        newest = _newest(con)
        over = newest >= start + ONE_DAY
        ticks = _ticks(con, home, day)
        choices = list(_choices(con, ticks))
        first, end = _sequence(con, start)
        gates = [row for row in ledger.of_kind(con, "gate")]
        today = [row for row in gates if _is_of(row, start, first, end)]
        before = [row for row in gates if row.seq < (today[0].seq if today else end)]
        before = [row for row in before if row not in today]
        events, problems = audit.verify(con, home)
        return Daily(
            day=day,
            until=start + ONE_DAY if over else newest,
            over=over,
            ticks=ticks,
            books=tuple(_books(con, day, start + ONE_DAY if over else newest)),
            reasons=_reasons(ticks, choices),
            refusals=_refusals([*choices, *_safety(con, day)]),
            gates=tuple(_gate(con, row) for row in today),
            gate_before=_gate(con, before[-1]) if before else None,
            changes=tuple(_changes(con, start, first, end)),
            endings=tuple(
                row.body["text"]
                for row in ledger.of_kind(con, "ended")
                if _is_of(row, start, first, end)
            ),
            chain=Chain(events, ledger.head(con)[1], tuple(problems)),
        )


def _sequence(con: sqlite3.Connection, start: datetime) -> tuple[int, int]:
    """The sequence numbers between which the day's events lie: its first one, and that after its last."""
    rows = ledger.of_kind(con, "day", "claim", "tick")
    moments = [(row.seq, _moment(row)) for row in rows]
    first = min(
        (seq for seq, at in moments if at is not None and start <= at < start + ONE_DAY), default=1
    )
    later = (seq for seq, at in moments if at is not None and at >= start + ONE_DAY)
    return first, min(later, default=ledger.head(con)[0] + 1)


def _moment(row: Row) -> datetime | None:
    """The exchange's time of an event; of a tick its boundary."""
    if "tick_id" in row.body:
        return parse_time(row.body["tick_id"])
    at = row.body.get("at")
    return parse_time(at) if at else None


def _is_of(row: Row, start: datetime, first: int, end: int) -> bool:
    """Whether an event is the day's: by its time, or by its neighbours when it has none."""
    at = _moment(row)
    return first <= row.seq < end if at is None else start <= at < start + ONE_DAY


def _ticks(con: sqlite3.Connection, home: Home, day: str) -> tuple[Tick, ...]:
    steps: dict[str, dict[str, Any]] = {}
    for row in ledger.with_prefix(con, f"tick/{_compact(day)}"):
        _, name, step = row.key.split("/")
        steps.setdefault(name, {})[step] = row.body
    booked = Counter(
        row.key.removeprefix("order/").split("-")[0]
        for row in ledger.with_prefix(con, f"order/{_compact(day)}")
        if row.body["result"] in FILLS
    )
    return tuple(
        Tick(
            tick_id=name,
            state=final["state"],
            reason=final.get("reason") or "",
            text=final.get("text") or "",
            fills=booked[name],
            notebook=_link(home, found.get("sealed", {}).get("notebook")),
        )
        for name, found in sorted(steps.items())
        for final in [found.get("final") or _unfinished()]
    )


def _unfinished() -> dict[str, str]:
    return {"state": UNFINISHED, "reason": "UNFINISHED", "text": MEANINGS["UNFINISHED"]}


def _link(home: Home, notebook: str | None) -> str | None:
    """The sealed notebook as seen from outputs/reports/, packed or not; None when it is gone."""
    if notebook is None:
        return None
    found = next((p for p in (notebook, f"{notebook}.gz") if (home.root / p).is_file()), None)
    return found and f"../{found.removeprefix('outputs/')}"


@dataclass(frozen=True, slots=True)
class _Choice:
    """A symbol's part of a tick after the act: the one reason, and whether a rule refused."""

    tick_id: str
    symbol: str
    code: str
    text: str
    ordered: bool
    refused: bool


def _choices(con: sqlite3.Connection, ticks: Iterable[Tick]) -> Iterable[_Choice]:
    for tick in ticks:
        decision = books.tick_event(con, tick.tick_id, "decision") or {"choices": ()}
        for choice in decision["choices"]:
            order, code, text = choice["order"], choice["reason"], choice["reason_text"]
            refused = any(not verdict["allowed"] for verdict in choice["verdicts"])
            booked = ledger.get(con, f"order/{order['id']}") if order else None
            if booked is not None and booked.body["result"] not in FILLS:
                code, text, refused = booked.body["reason"], booked.body["text"], True
            yield _Choice(tick.tick_id, choice["symbol"], code, text, order is not None, refused)


def _safety(con: sqlite3.Connection, day: str) -> Iterable[_Choice]:
    """Sales after a stop that did not fill."""
    for row in ledger.with_prefix(con, f"order/{_compact(day)}"):
        body, name = row.body, row.key.removeprefix("order/")
        if name.endswith(f"-{SAFETY}") and body["result"] not in FILLS:
            symbol = body["order"]["symbol"]
            yield _Choice(name.split("-")[0], symbol, body["reason"], body["text"], True, True)


def _reasons(ticks: Iterable[Tick], choices: Iterable[_Choice]) -> tuple[Reason, ...]:
    """Those of each symbol, most frequent first; last those of ticks that decided nothing."""
    decided = {choice.tick_id for choice in choices}
    found = Counter((choice.symbol, choice.code) for choice in choices)
    found.update((NO_SYMBOL, tick.reason) for tick in ticks if tick.tick_id not in decided)
    order = {symbol: place for place, symbol in enumerate((*SYMBOLS, NO_SYMBOL))}
    rows = sorted(
        found.items(), key=lambda row: (order.get(row[0][0], 99), row[0][0], -row[1], row[0][1])
    )
    return tuple(Reason(symbol, code, count, meaning(code)) for (symbol, code), count in rows)


def meaning(code: str) -> str:
    """What a reason's code means, in words; a rule says it of itself."""
    if code in RULES:
        said = (RULES[code].__doc__ or "").strip().splitlines()[0]
        return said.replace("Refuse", "the rule refuses", 1)
    return MEANINGS.get(code, "")


def _refusals(choices: Iterable[_Choice]) -> tuple[Refusal, ...]:
    found: dict[tuple[str, str], Refusal] = {}
    for one in choices:
        if not one.refused:
            continue
        known = found.get((one.symbol, one.code))
        fresh = known or Refusal(one.symbol, one.code, 0, 0, one.tick_id, one.tick_id, "")
        found[one.symbol, one.code] = replace(
            fresh,
            count=fresh.count + 1,
            ordered=fresh.ordered + one.ordered,
            last=one.tick_id,
            text=one.text,
        )
    return tuple(found.values())


def _gate(con: sqlite3.Connection, row: Row) -> Gate:
    body, at = row.body, _moment(row)
    until = None
    if at is None:
        after = ledger.between(con, row.seq + 1, row.seq + NEIGHBOURS)
        until = next((seen for seen in map(_booked_at, after) if seen is not None), None)
    return Gate(body["what"], at, body.get("by") or "", body.get("reason") or "", until)


def _booked_at(row: Row) -> datetime | None:
    """The exchange's time that an event names, which for a tick is not its boundary."""
    at = row.body.get("at")
    return parse_time(at) if at else None


def _changes(con: sqlite3.Connection, start: datetime, first: int, end: int) -> Iterable[Change]:
    """What the owner changed, and what ticks found changed beside that: in the settings file."""
    controlled: set[tuple[str, str]] = set()
    for row in ledger.of_kind(con, "control", "settings"):
        body, at, today = row.body, _moment(row), _is_of(row, start, first, end)
        if row.kind == "control":
            by = f"{body.get('who') or 'somebody'}, {body.get('by') or 'unknown'}"
            for name, one in body["changes"].items():
                controlled.add((name, one["new"]))
                new = f"{one['new']} (as the settings file)" if one.get("reset") else one["new"]
                why = body.get("reason") or ""
                if today:
                    yield Change(at, name, one["old"], new, by, body.get("from") or "", why)
        elif body["old"] is not None and today:
            old, new = _flat(body["old"]), _flat(body["new"])
            for name in sorted(old.keys() | new.keys()):
                was, now = old.get(name, "-"), new.get(name, "-")
                if was != now and (name, now) not in controlled:
                    yield Change(at, name, was, now, "found in force by a tick", "", "")


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Nested values by dotted name as controls call them, as text."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[f"{above}{name}".removeprefix("plan.")] = str(value)
    return found


# --- money ---


def _books(con: sqlite3.Connection, day: str, until: datetime) -> Iterable[Book]:
    """Of each account that had the day open; of the newest one opened before its end when none had."""
    accounts = [
        restore(Account, row.body["account"], row.key)
        for row in ledger.of_kind(con, "account")
        if parse_time(row.body["account"]["opened_at"]) < start_of(day) + ONE_DAY
    ]
    opened = {account.id: books.day(con, account, day) for account in accounts}
    for account in accounts:
        if opened[account.id] is not None or account is accounts[-1]:
            yield _book(con, account, opened[account.id], day, until)


def _book(
    con: sqlite3.Connection, account: Account, opened: Day | None, day: str, until: datetime
) -> Book:
    start = start_of(day)
    end = start + ONE_DAY
    known = [fill for fill in books.fills(con, account) if fill.at < end]
    fills = tuple(fill for fill in known if fill.at >= start)
    portfolio = fold(account.initial_equity, known)
    seen = ledger.marks(con, account.id, to_ms(start - ONE_DAY))
    marks = [m for m in seen if to_ms(start) <= m.minute_ms < to_ms(end)]
    closes = _closes(marks)
    whole = all(position.symbol in closes for position in portfolio.held)
    worth = equity(portfolio, closes) if whole else None
    limits = _limits(con, account, opened, end)
    lowest = total_floor(account, limits) if limits else account.initial_equity
    trips, since = trips_of(known)
    runway = None
    if worth is not None and limits is not None:
        runway = books.runway_days(account, worth, known, until, lowest)
    return Book(
        account=account,
        start=opened.start_equity if opened else None,
        end=worth,
        cash=portfolio.cash,
        fees=books.fees_paid(list(fills)),
        spread=sum(map(spread_of, fills), ZERO),
        fills=fills,
        trips=tuple(trip for trip in trips if trip.exit_at >= start),
        held=tuple(_holding(p, closes, since[p.symbol]) for p in portfolio.held),
        marks=_curve(marks, worth),
        marked=from_ms(marks[-1].minute_ms + MINUTE_MS) if marks else None,
        floor=daily_floor(opened, limits) if opened else None,
        total=lowest,
        limits=limits,
        runway=runway,
        twins=_twins(
            con, account, day, _closes([m for m in seen if m.minute_ms < to_ms(start)]), closes
        ),
    )


def _closes(marks: Sequence[ledger.Mark]) -> dict[str, Decimal]:
    """Those of the newest mark."""
    return {s: Decimal(close) for s, close in marks[-1].closes.items()} if marks else {}


def _twins(
    con: sqlite3.Connection,
    account: Account,
    day: str,
    before: Mapping[str, Decimal],
    closes: Mapping[str, Decimal],
) -> tuple[Twin, Twin] | None:
    """Of the day, and from the account's first day to its end; `before` are the closes when it began."""
    found = twin.read(con, account)
    if found is None:
        return None
    today = found.book.span(closes, first=day, last=day, prices_before=before)
    return today, found.book.span(closes, last=day)


def _limits(
    con: sqlite3.Connection, account: Account, opened: Day | None, end: datetime
) -> Limits | None:
    """The tightest limits that the day met: those it opened with, and those of its ticks."""
    if opened is None:
        return None
    row = ledger.get(con, f"day/{account.id}/{opened.date}")
    met = [r for r in ledger.of_kind(con, "settings", after=row.seq) if _moment(r) < end]
    limits = [restore(Limits, r.body["new"]["limits"], r.key) for r in met]
    # the day's own are the ceiling: those of an account at the exchange are scaled
    return tightest(*limits, ceiling=opened.limits)


def _curve(marks: Sequence[ledger.Mark], worth: Decimal | None) -> tuple[tuple[int, Decimal], ...]:
    """(close time in ms, equity); the last is `worth`: its beat may have seen fills of the next day."""
    points = [(mark.minute_ms + MINUTE_MS, mark.equity) for mark in marks]
    if points and worth is not None:
        points[-1] = (points[-1][0], worth)
    return tuple(points)


def _holding(position: Position, closes: Mapping[str, Decimal], since: datetime) -> Holding:
    mark = closes.get(position.symbol)
    worth = None if mark is None else mark_value(position.quantity, mark)
    return Holding(position.symbol, position.quantity, position.cost, since, mark, worth)


def spread_of(fill: Fill) -> Decimal:
    """What a fill paid, or got less, than the middle of the book, USDT, its rounding included."""
    middle = fill.mid * fill.quantity
    return fill.notional - middle if fill.side is Side.BUY else middle - fill.notional


@dataclass(slots=True)
class _Bought:
    """What is held of a symbol while fills are gone through, and what it cost."""

    since: datetime
    quantity: Decimal = ZERO
    notional: Decimal = ZERO
    fees: Decimal = ZERO
    spread: Decimal = ZERO

    def take(self, quantity: Decimal) -> _Bought:
        """The share of `quantity`, taken out; the parts of all sales add up to the whole."""
        share = quantity / self.quantity
        part = _Bought(self.since, quantity)
        for name in ("notional", "fees", "spread"):
            value = getattr(self, name)
            taken = value if share == 1 else (value * share).quantize(UNIT)
            setattr(part, name, taken)
            setattr(self, name, value - taken)
        self.quantity -= quantity
        return part


def trips_of(fills: Iterable[Fill]) -> tuple[list[Trip], dict[str, datetime]]:
    """Every sale with the share of the purchases it closes, and since when the rest is held.

    A sale of a part closes its share of cost, fees and spread. Raises `StoreError` for a sale of more
    than is held.
    """
    held: dict[str, _Bought] = {}
    trips = []
    for fill in fills:
        if fill.side is Side.BUY:
            one = held.setdefault(fill.symbol, _Bought(fill.at))
            one.quantity += fill.received
            # a fee taken in the coin is part of what was paid
            one.notional += fill.notional - (fill.fee_usdt if fill.in_coin else ZERO)
            one.fees += fill.fee_usdt
            one.spread += spread_of(fill)
            continue
        one = held.get(fill.symbol)
        if one is None or one.quantity < fill.quantity:
            raise StoreError(f"fill of {fill.order_id} sells more {fill.symbol} than is held")
        part = one.take(fill.quantity)
        spread = part.spread + spread_of(fill)
        trips.append(
            Trip(
                symbol=fill.symbol,
                quantity=fill.quantity,
                entry_at=part.since,
                exit_at=fill.at,
                entry_price=(part.notional / part.quantity).quantize(UNIT),
                exit_price=fill.price,
                gross=fill.notional - part.notional + spread,
                fees=part.fees + fill.fee_usdt,
                spread=spread,
            )
        )
        if not one.quantity:
            del held[fill.symbol]
    return trips, {symbol: one.since for symbol, one in held.items()}


# --- parity ---


@dataclass(frozen=True, slots=True)
class Parity:
    """Whether the ticks of the day equal a backtest of it, in words.

    equal    also when every difference has a proven cause; None when it is not known
    rows     (tick, cause, what differs) of the ticks that differ
    applies  whether there is anything to compare: no backtest fills the orders of an account at the exchange
    """

    equal: bool | None
    text: str
    rows: tuple[tuple[str, str, str], ...] = ()
    applies: bool = True


def parity(home: Home | str, day: str) -> Parity:
    """The day's ticks against the backtest of the same minutes; trouble is told, never raised."""
    home = home if isinstance(home, Home) else Home.find(home or None)
    try:
        from tgtqr_lib.parity import NotPaper
        from tgtqr_lib.parity import parity as compared

        with _reading(home) as con:
            found = compared(home, con, date.fromisoformat(day))
    except NotPaper as error:
        return Parity(None, f"not compared: {error}", applies=False)
    except TgtqrError as error:
        return Parity(None, f"could not be compared: {error}")
    except Exception as error:  # a report of the rest is worth more
        return Parity(None, f"could not be compared: {type(error).__name__}: {error}")
    causes = Counter(str(one.cause) for tick in found.explained for one in tick.findings)
    text = (
        f"{found.equal} of {len(found.ticks)} ticks are equal "
        f"({found.decisions} decisions and {found.fills} fills compared)"
    )
    if causes:
        named = ", ".join(f"{cause} {count}" for cause, count in causes.most_common())
        text += f"; {len(found.explained)} differ for a proven cause: {named}"
    if found.unexplained:
        text += f"; {len(found.unexplained)} differ without an explanation"
    return Parity(not found.unexplained, text, tuple(_differences(found)))


def _differences(found: Any) -> Iterable[tuple[str, str, str]]:
    for tick in found.ticks:
        for one in tick.findings:
            yield tick.tick_id, str(one.cause), "; ".join(map(str, one.evidence[:FACTS]))
        for text in tick.unexplained:
            yield tick.tick_id, "UNEXPLAINED", text
