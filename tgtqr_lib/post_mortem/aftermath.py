"""What came after a tick: the closes of the next minutes, its fills and what they cost, how it was closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from tgtqr_lib import ledger
from tgtqr_lib.archive.opened import notebooks_in, open_archived
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import MINUTE, TICK, from_ms, parse_time, to_ms
from tgtqr_lib.domain import MINUTE_MS, Candles, Fill, Inputs, Side, TgtqrError
from tgtqr_lib.ledger import Mark, Row
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.post_mortem.case import Case, reading
from tgtqr_lib.sizing import SAFETY

ZERO = Decimal(0)
LAKE, TICKS, BEATS = "the lake", "later ticks", "watch beats"
TOLD = ("gate", "control", "settings", "ended", "account", "day", "order", "tick")


@dataclass(frozen=True, slots=True)
class Close:
    """The price at the end of a minute; `at` is that end."""

    at: datetime
    price: Decimal


@dataclass(frozen=True, slots=True)
class Course:
    """The minutes of one symbol after the tick, as far as anybody knows them, oldest first.

    start   the close that the decision was made at, None when there was none
    source  where the closes are from, in words
    """

    symbol: str
    start: Decimal | None
    closes: tuple[Close, ...]
    source: str

    def after(self, minutes: int, boundary: datetime) -> Decimal | None:
        """The close so many minutes after the boundary, None when it is not known."""
        wanted = boundary + minutes * MINUTE
        return next((close.price for close in self.closes if close.at == wanted), None)


@dataclass(frozen=True, slots=True)
class Cost:
    """A fill and what it cost; amounts in USDT, against us when positive.

    half_spread    from the middle of the book to its best price
    against_mid    from the middle to what was paid: the half spread, and more where the book was walked
    against_close  from the close that was decided at to what was paid; None for a safety sale
    """

    fill: Fill
    close: Decimal | None

    @property
    def fee(self) -> Decimal:
        return self.fill.fee_usdt

    @property
    def half_spread(self) -> Decimal:
        return self._against(self.fill.mid, self.fill.levels[0].price * self.fill.quantity)

    @property
    def against_mid(self) -> Decimal:
        return self._against(self.fill.mid, self._taken)

    @property
    def against_close(self) -> Decimal | None:
        return None if self.close is None else self._against(self.close, self._taken)

    @property
    def _taken(self) -> Decimal:
        return sum((level.price * level.quantity for level in self.fill.levels), ZERO)

    def _against(self, price: Decimal, taken: Decimal) -> Decimal:
        worse = taken - price * self.fill.quantity
        return worse if self.fill.side is Side.BUY else -worse


@dataclass(frozen=True, slots=True)
class Stake:
    """What the tick bought or already held of a symbol, and what became of it.

    quantity, cost  right after the tick, the cost with fees
    proceeds        of its sales, fees taken off
    closed          the order that sold the last of it, None while some is held
    closed_at       exchange time of that
    mark            the last close that is known within the minutes looked at, None when there is none
    """

    symbol: str
    quantity: Decimal
    cost: Decimal
    proceeds: Decimal
    left: Decimal
    closed: str | None
    closed_at: datetime | None
    mark: Close | None

    @property
    def by_safety(self) -> bool:
        """Whether a stop's safety sale closed it, not a tick."""
        return self.closed is not None and self.closed.endswith(f"-{SAFETY}")

    @property
    def made(self) -> Decimal | None:
        """What it made: by its sales, or at the last known close; None when neither is known."""
        if self.left and self.mark is None:
            return None
        worth = self.left * self.mark.price if self.left else ZERO
        return self.proceeds + worth - self.cost


@dataclass(frozen=True)
class Happened:
    """One line of the ledger around the tick; `at` is None where the ledger has no time for it."""

    seq: int
    at: datetime | None
    kind: str
    text: str


@dataclass(frozen=True)
class After:
    """All of it.

    minutes  how many were asked for
    courses  a symbol each, in the order of the inputs
    costs    of the tick's own fills and of every fill in the minutes after it
    stakes   of what was held right after the tick, or sold by it
    events   the ledger's, from the tick's claim to the end of the minutes
    beats    the marks of the watch in the minutes
    """

    minutes: int
    courses: tuple[Course, ...]
    costs: tuple[Cost, ...] = ()
    stakes: tuple[Stake, ...] = ()
    events: tuple[Happened, ...] = ()
    beats: tuple[Mark, ...] = field(default=())

    @property
    def known_to(self) -> datetime | None:
        """The newest close that is known of any symbol."""
        return max((course.closes[-1].at for course in self.courses if course.closes), default=None)


def afterwards(case: Case, minutes: int = 60) -> After:
    """What came in the `minutes` after the tick's boundary, as far as lake, archive and ledger tell.

    Positions are followed until they are closed, however long that took; what is left is worth the last
    close that is known within the minutes.
    """
    start = case.inputs.boundary
    end = start + minutes * MINUTE
    account = case.inputs.account.id
    with reading(case.home) as con:
        beats = [] if con is None else ledger.marks(con, account, to_ms(start))
        within = tuple(mark for mark in beats if mark.minute_ms + MINUTE_MS <= to_ms(end))
        courses = tuple(
            _course(case, view.symbol, view.candles, end, within) for view in case.inputs.markets
        )
        if con is None:
            return After(minutes, courses)
        events = _events(con, case, end)
        fills = _fills(con, account, case.inputs, end)
        stakes = tuple(_stakes(con, case, account, courses))
    closes = {course.symbol: course.start for course in courses}
    costs = tuple(
        Cost(fill, closes.get(fill.symbol) if _is_own(fill, case.tick_id) else None)
        for fill in fills
    )
    return After(minutes, courses, costs, stakes, events, within)


# --- the minutes after ---


def _course(
    case: Case, symbol: str, known: Candles, end: datetime, beats: tuple[Mark, ...]
) -> Course:
    """The closes from the lake; the minutes it lacks from later ticks; then from the watch's marks."""
    start = case.inputs.boundary
    found: dict[int, Decimal] = {}
    sources = []
    for name, read in (
        (LAKE, lambda: _of_lake(case, symbol, known.market, start, end)),
        (TICKS, lambda: _of_ticks(case, symbol, start, end)),
        (BEATS, lambda: _of_beats(beats, symbol)),
    ):
        if len(found) == (end - start) // MINUTE:
            break
        more = {ms: price for ms, price in read().items() if ms not in found}
        found |= more
        sources += [name] if more else []
    step = Decimal(1).scaleb(-known.decimals)  # a mark leaves out zeros at the end
    closes = tuple(
        Close(from_ms(ms + MINUTE_MS), max(found[ms], found[ms].quantize(step), key=_digits))
        for ms in sorted(found)
    )
    last = known.last_close if len(known) else None
    return Course(symbol, last, closes, " and ".join(sources) or "nobody has seen them")


def _digits(price: Decimal) -> int:
    return -price.as_tuple().exponent


def _of_lake(
    case: Case, symbol: str, market: str, start: datetime, end: datetime
) -> Mapping[int, Decimal]:
    with suppress(TgtqrError):
        return _prices(Lake(case.home.candles).read(symbol, start, end, market), start, end)
    return {}


def _of_ticks(case: Case, symbol: str, start: datetime, end: datetime) -> Mapping[int, Decimal]:
    """What the ticks after it saw; one a quarter hour sees an hour and more."""
    found: dict[int, Decimal] = {}
    for path in notebooks_in(case.home.ticks, start + TICK, end + TICK):
        with suppress(TgtqrError):
            view = open_archived(path).inputs().market(symbol)
            if view is not None:
                found |= _prices(view.candles, start, end)
    return found


def _of_beats(beats: tuple[Mark, ...], symbol: str) -> Mapping[int, Decimal]:
    return {m.minute_ms: Decimal(m.closes[symbol]) for m in beats if symbol in m.closes}


def _prices(candles: Candles, start: datetime, end: datetime) -> dict[int, Decimal]:
    """Open time in ms -> close, of the minutes that open from `start` and close by `end`."""
    low, high = to_ms(start), to_ms(end)
    return {
        int(ms): candles.price(close)
        for ms, close in zip(candles.open_ms, candles.close, strict=True)
        if low <= ms < high
    }


# --- fills and positions ---


def _fills(con: sqlite3.Connection, account: str, inputs: Inputs, end: datetime) -> list[Fill]:
    """From the tick's own to the last before `end`, as they were booked."""
    every = [restore(Fill, row.body) for row in ledger.with_prefix(con, f"fill/{account}/")]
    return [f for f in every if _is_own(f, inputs.tick_id) or inputs.boundary <= f.at <= end]


def _is_own(fill: Fill, tick: str) -> bool:
    """Whether the tick itself decided it; a safety sale of its minute bears its name too."""
    return fill.order_id.startswith(tick) and not fill.order_id.endswith(f"-{SAFETY}")


def _stakes(
    con: sqlite3.Connection, case: Case, account: str, courses: tuple[Course, ...]
) -> Iterator[Stake]:
    """Every holding after the tick, followed to its end; and what the tick sold of what it had found."""
    every = [restore(Fill, row.body) for row in ledger.with_prefix(con, f"fill/{account}/")]
    for course in courses:
        held = case.inputs.portfolio.position(course.symbol)
        quantity, cost = held.quantity, held.cost
        proceeds, closed, closed_at = ZERO, None, None
        left = quantity
        for fill in every:
            if fill.symbol != course.symbol or fill.at < case.inputs.exchange_time:
                continue  # it is in the inputs' portfolio
            if fill.side is Side.BUY:
                if not _is_own(fill, case.tick_id):
                    break  # of another tick: a new position
                quantity, left = quantity + fill.received, left + fill.received
                cost += fill.notional + fill.fee_cash
                continue
            left -= fill.quantity
            proceeds += fill.notional - fill.fee_cash
            if not left:
                closed, closed_at = fill.order_id, fill.at
                break
        if quantity:
            mark = course.closes[-1] if course.closes else None
            yield Stake(course.symbol, quantity, cost, proceeds, left, closed, closed_at, mark)


# --- what the ledger says ---


def _events(con: sqlite3.Connection, case: Case, end: datetime) -> tuple[Happened, ...]:
    """What was booked from the tick's claim until the first tick after `end`, but no routine."""
    claim = ledger.get(con, f"tick/{case.tick_id}/claim")
    first = claim.seq - 1 if claim else case.sealed.facts["ledger"]["seq"]
    found = []
    for row in ledger.of_kind(con, "claim", *TOLD, after=first):
        at = _time_of(row)
        if row.kind == "claim":
            if parse_time(row.body["tick_id"]) > end:
                break
        elif at is None or at <= end:
            found.append(Happened(row.seq, at, row.kind, _words(row)))
    return tuple(found)


def _time_of(row: Row) -> datetime | None:
    text = row.body.get("at") or (row.body.get("tick_id") if row.kind == "tick" else None)
    return parse_time(text) if text else None


def _words(row: Row) -> str:
    """One event in a line."""
    body = row.body
    if row.kind == "gate":
        return f"{body['what']} by {body['by']}: {body['reason']}"
    if row.kind == "control":
        changes = (f"{name} {c['old']} -> {c['new']}" for name, c in body["changes"].items())
        return f"{body['by']} changed {', '.join(changes)}"
    if row.kind == "settings":
        return "the settings in force changed"
    if row.kind == "ended":
        return f"account {body['account']} was ended by {body['cause']}: {body['text']}"
    if row.kind == "account":
        return f"account {body['account']['id']} was opened: {body['reason']}"
    if row.kind == "day":
        return f"day {body['day']['date']} opened at {body['day']['start_equity']} USDT"
    if row.kind == "order":
        name = row.key.removeprefix("order/")
        what = "safety sale" if name.endswith(f"-{SAFETY}") else "order"
        return f"{what} {name}: {body['result']}, {body['text']}"
    text = body.get("text") or body.get("reason") or ""
    return f"tick {body['tick_id']} {body['state']}" + (f": {text}" if text else "")


__all__ = ["After", "Close", "Cost", "Course", "Happened", "Stake", "afterwards"]
