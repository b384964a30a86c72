"""The nouns of the kit and its error tree. Every value is frozen and refuses to be born wrong.

Money and quantities are `Decimal`; history is numpy integers in price steps; times are aware UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np

ZERO = Decimal(0)
UNIT = Decimal("0.00000001")  # the smallest amount of money or coin that is booked
MINUTE_MS = 60_000
SCHEMA = 1  # of the frozen inputs
MAX_DECIMALS = 6  # five years of minute sums in steps of 1e-6 fit int64; of 1e-8 they do not


class TgtqrError(Exception):
    """The root of every error this kit raises on purpose; its text is a sentence for a person."""


class DomainError(TgtqrError):
    """A value that cannot be: wrong usage, wrong settings, a nonsensical order."""


class DataError(TgtqrError):
    """Market data that is missing, odd or unreadable; the next tick may find it well."""


class StaleData(DataError):
    """Market data that is older than it should be."""


class BrokerError(TgtqrError):
    """The exchange or broker did not do what was asked."""


class OrderRejected(BrokerError):
    """The order was refused and will be refused again: stop."""


class VenueUnavailable(BrokerError):
    """The exchange could not be reached in time; the next tick tries again."""


class StoreError(TgtqrError):
    """Ledger, lake or archive could not be read or written, or disagree with themselves."""


class Damaged(StoreError):
    """A file is not what was written: altered, lost, or without its checksum."""


class LedgerConflict(StoreError):
    """The same key was appended with another body."""


class GateRefused(TgtqrError):
    """The gate stays shut; the text says what must be done first."""


class Busy(TgtqrError):
    """Another run holds the lock."""


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class SignalState(StrEnum):
    LONG = "LONG"
    FLAT = "FLAT"
    HOLD = "HOLD"


class GateState(StrEnum):
    """ACTIVE trades; REDUCING refuses entries while a cause lasts; STOPPED is latched."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the exchange allows for one symbol.

    price_step    quote per base, > 0
    lot           base units, > 0; every quantity is a whole number of lots
    min_notional  quote units; the smallest order that could exist on the exchange
    """

    symbol: str
    price_step: Decimal
    lot: Decimal
    min_notional: Decimal
    market: str = "spot"

    def __post_init__(self) -> None:
        for name in ("price_step", "lot"):
            value = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise DomainError(f"{self.symbol}: {name} {value} is not positive")


@dataclass(frozen=True, eq=False)
class Candles:
    """Minute candles of one symbol and market, oldest first; a missing minute has no row.

    open_ms                 (n,) int64, open times in ms since the epoch, UTC, strictly increasing
    open, high, low, close  (n,) int64, price steps of 10**-decimals quote per base
    volume                  (n,) int64, units of 1e-6 base
    """

    symbol: str
    decimals: int
    open_ms: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    market: str = "spot"

    COLUMNS = ("open", "high", "low", "close", "volume")

    def __post_init__(self) -> None:
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise DomainError(
                f"{self.symbol}: {self.decimals} decimals; expected 0 to {MAX_DECIMALS}"
            )
        for name in ("open_ms", *self.COLUMNS):
            given = np.asarray(getattr(self, name))
            if given.size and given.dtype.kind not in "iu":
                raise DomainError(
                    f"{self.symbol}: {name} holds {given.dtype} values, expected whole numbers"
                )
            column = np.ascontiguousarray(given, dtype=np.int64)
            if column.shape != (len(self.open_ms),):
                raise DomainError(
                    f"{self.symbol}: {name} has shape {column.shape}, expected ({len(self.open_ms)},)"
                )
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        if (np.diff(self.open_ms) <= 0).any() or (self.open_ms % MINUTE_MS).any():
            raise DomainError(f"{self.symbol}: candle times are not increasing whole minutes")
        prices = (self.open, self.high, self.low, self.close)
        if len(self) and min(column.min() for column in prices) <= 0:
            raise DomainError(f"{self.symbol}: a candle has a price that is not positive")

    def __len__(self) -> int:
        return len(self.open_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candles):
            return NotImplemented
        alike = (self.symbol, self.market, self.decimals) == (
            other.symbol,
            other.market,
            other.decimals,
        )
        names = ("open_ms", *self.COLUMNS)
        return alike and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)

    def __getitem__(self, rows: slice) -> Candles:
        """The candles of a slice of rows."""
        columns = {name: getattr(self, name)[rows] for name in ("open_ms", *self.COLUMNS)}
        return replace(self, **columns)

    def head(self, n: int) -> Candles:
        """The first `n` candles."""
        return self[:n]

    def tail(self, n: int) -> Candles:
        """The last `n` candles."""
        return self[max(len(self) - n, 0) :]

    def price(self, steps: int) -> Decimal:
        """`steps` as an exact price in quote per base."""
        return Decimal(int(steps)).scaleb(-self.decimals)

    @property
    def last_close(self) -> Decimal:
        """The newest close, quote per base. Raises `DataError` when there is no candle."""
        if not len(self):
            raise DataError(f"{self.symbol}: there is no closed candle")
        return self.price(self.close[-1])


@dataclass(frozen=True, eq=False)
class Funding:
    """Settlements of a perpetual that are over, oldest first.

    at_ms    (m,) int64, ms since the epoch, UTC, strictly increasing
    units    (m,) int64, the rate in units of 10**-10 of the position's worth; positive: longs pay shorts
    minutes  (m,) int64, the interval that ended with each settlement
    """

    at_ms: np.ndarray
    units: np.ndarray
    minutes: np.ndarray

    COLUMNS = ("at_ms", "units", "minutes")

    def __post_init__(self) -> None:
        for name in self.COLUMNS:
            column = np.ascontiguousarray(getattr(self, name), dtype=np.int64)
            if column.shape != (len(self.at_ms),):
                raise DomainError(
                    f"funding: {name} has shape {column.shape}, expected ({len(self.at_ms)},)"
                )
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        if (np.diff(self.at_ms) <= 0).any():
            raise DomainError(
                "funding: the settlements are not in order of time, or one came twice"
            )
        if len(self) and self.minutes.min() <= 0:
            raise DomainError("funding: an interval is not positive")

    def __len__(self) -> int:
        return len(self.at_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Funding):
            return NotImplemented
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in self.COLUMNS)

    def __getitem__(self, rows: Any) -> Funding:
        """The settlements of a slice or mask of rows."""
        return Funding(*(getattr(self, name)[rows] for name in self.COLUMNS))


@dataclass(frozen=True, slots=True)
class BookFeatures:
    """One look at an order book in whole numbers; what the book is too thin for is None.

    at            exchange time of the book
    levels        price levels seen on the thinner side
    spread        best ask less best bid, in 1e-8 of the mid
    micro         micro-price less mid, in 1e-8 of the mid
    imbalance_1, imbalance_5, imbalance_25
                  bids less asks over both, by base quantity of so many levels a side, in 1e-6
    depth         what the first 25 levels of both sides are worth, whole quote units
    """

    at: datetime
    levels: int
    spread: int
    micro: int
    imbalance_1: int | None
    imbalance_5: int | None
    imbalance_25: int | None
    depth: int | None


ABSENT = int(np.iinfo(np.int64).min)  # in a column of whole numbers: nothing is known here


@dataclass(frozen=True, eq=False)
class BookHistory:
    """Looks at an order book, at most one a minute, oldest first.

    at_ms    (b,) int64, the whole minute in which each was taken; the candle that closed then is its own
    columns  name of a figure of `BookFeatures` -> (b,) int64, ABSENT where it is not known
    """

    at_ms: np.ndarray
    columns: Mapping[str, np.ndarray]

    NAMES = ("levels", "spread", "micro", "imbalance_1", "imbalance_5", "imbalance_25", "depth")

    def __post_init__(self) -> None:
        if sorted(self.columns) != sorted(self.NAMES):
            raise DomainError(
                f"book: columns {sorted(self.columns)}; expected {sorted(self.NAMES)}"
            )
        if any(len(column) != len(self.at_ms) for column in self.columns.values()):
            raise DomainError("book: the columns are not of one length")
        if (np.diff(self.at_ms) <= 0).any() or (np.asarray(self.at_ms) % MINUTE_MS).any():
            raise DomainError("book: the times are not increasing whole minutes")

    @classmethod
    def of(cls, looks: Iterable[tuple[int, BookFeatures]]) -> BookHistory:
        """From (whole minute in ms, features), in order of time."""
        looks = list(looks)
        columns = {
            name: np.array(
                [ABSENT if (n := getattr(seen, name)) is None else n for _, seen in looks],
                dtype=np.int64,
            )
            for name in cls.NAMES
        }
        return cls(np.array([at for at, _ in looks], dtype=np.int64), columns)

    def __len__(self) -> int:
        return len(self.at_ms)

    def row(self, at_ms: int) -> int | None:
        """The row of the minute at `at_ms`, or None."""
        row = int(np.searchsorted(self.at_ms, at_ms))
        return row if row < len(self) and self.at_ms[row] == at_ms else None


@dataclass(frozen=True, eq=False)
class History:
    """What a strategy sees of one symbol: closed candles, oldest first, and what it asked for beside them.

    funding    settlements of its perpetual, or None; a row knows those before its candle's close
    book       looks at its order book, or None; a row knows the one taken when its candle closed
    perpetual  candles of its perpetual, or None
    """

    candles: Candles
    funding: Funding | None = None
    book: BookHistory | None = None
    perpetual: Candles | None = None

    def __len__(self) -> int:
        return len(self.candles)

    @property
    def close_steps(self) -> np.ndarray:
        """(n,) int64 closes in price steps."""
        return self.candles.close

    @property
    def closed_ms(self) -> np.ndarray:
        """(n,) int64 when each candle closed, ms."""
        return self.candles.open_ms + MINUTE_MS

    @cached_property
    def run_length(self) -> np.ndarray:
        """(n,) how many contiguous minutes end at each row."""
        rows = np.arange(len(self))
        starts = np.ones(len(self), dtype=bool)
        starts[1:] = np.diff(self.candles.open_ms) != MINUTE_MS
        return rows - np.maximum.accumulate(np.where(starts, rows, 0)) + 1

    def contiguous(self, window: int) -> np.ndarray:
        """(n,) bool: the last `window` minutes up to and including this row are all there."""
        return self.run_length >= window

    def head(self, n: int) -> History:
        """The first `n` rows, as a strategy would have seen them then."""
        return replace(self, candles=self.candles.head(n))


@dataclass(frozen=True, slots=True)
class Level:
    """One price of an order book: quote per base, and the base units offered there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """The order book and last price of a symbol at one moment of exchange time.

    bids, asks  best price first; prices in quote per base, quantities in base units
    """

    symbol: str
    at: datetime
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    last: Decimal

    def __post_init__(self) -> None:
        if not self.bids or not self.asks:
            raise DataError(f"{self.symbol}: the order book has an empty side")
        levels = (*self.bids, *self.asks)
        figures = [self.last, *(n for level in levels for n in (level.price, level.quantity))]
        # first of all, because a NaN cannot even be compared
        if not all(n.is_finite() and n > 0 for n in figures):
            raise DataError(f"{self.symbol}: the quote has a figure that is not positive")
        if self.bids[0].price >= self.asks[0].price:
            raise DataError(
                f"{self.symbol}: best bid {self.bids[0].price} is not below best ask "
                f"{self.asks[0].price}"
            )
        falling = all(a.price > b.price for a, b in zip(self.bids, self.bids[1:], strict=False))
        rising = all(a.price < b.price for a, b in zip(self.asks, self.asks[1:], strict=False))
        if not (falling and rising):
            raise DataError(f"{self.symbol}: the order book is not sorted by price")

    @property
    def bid(self) -> Decimal:
        return self.bids[0].price

    @property
    def ask(self) -> Decimal:
        return self.asks[0].price

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


QUOTE_UNREADABLE = "QUOTE_UNREADABLE"  # the code of a problem that concerns the quote alone
FUNDING_UNREADABLE = "FUNDING_UNREADABLE"  # of one that concerns the funding alone
# Canonical JSON leaves such a field out while it is None, so that older values keep their hashes.
UNLESS_NONE: Mapping[str, Any] = {"unless_none": True}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with what was seen, as a stable code and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class MarketView:
    """All that was seen of one symbol when the inputs were frozen; what was not seen is None.

    funding, book  only for a strategy that needs them
    """

    symbol: str
    instrument: Instrument | None
    candles: Candles
    quote: Quote | None
    problems: tuple[Problem, ...] = ()
    funding: Funding | None = field(default=None, metadata=UNLESS_NONE)
    book: BookFeatures | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, slots=True)
class Fees:
    """What the exchange takes of the notional, in basis points, by a dated table."""

    bps: Decimal
    since: str
    source: str
    currency: str = "USDT"


@dataclass(frozen=True, slots=True)
class Order:
    """An instruction to trade; a Fill says what came of it.

    quantity   base units, > 0, a whole number of lots
    limit      quote per base; a buy pays at most this, a sale gets at least this
    placed_at  UTC, the boundary of the tick (or minute of the beat) that caused it
    feasible   whether an order of this size could exist on the exchange, in words
    """

    id: str
    symbol: str
    side: Side
    quantity: Decimal
    limit: Decimal
    placed_at: datetime
    feasible: str = ""

    def __post_init__(self) -> None:
        if not (self.quantity.is_finite() and self.quantity > 0):
            raise DomainError(f"order {self.id}: quantity {self.quantity} is not positive")
        if not (self.limit.is_finite() and self.limit > 0):
            raise DomainError(f"order {self.id}: limit {self.limit} is not positive")
        if self.placed_at.tzinfo is None:
            raise DomainError(f"order {self.id}: placed_at {self.placed_at} has no time zone")
        if len(self.id) > 36:
            raise DomainError(f"order {self.id}: the id has {len(self.id)} characters, at most 36")

    @property
    def is_entry(self) -> bool:
        return self.side is Side.BUY

    @property
    def is_exit(self) -> bool:
        return self.side is Side.SELL

    @property
    def notional(self) -> Decimal:
        """quantity x limit in quote units, exact."""
        return self.quantity * self.limit


@dataclass(frozen=True, slots=True)
class NoOrder:
    """The wish to do nothing for a symbol, with the signal's own reason; rules see it too."""

    symbol: str
    code: str
    text: str
    is_entry: bool = field(default=False, init=False)
    is_exit: bool = field(default=False, init=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says: `distance` is how far `value` stays on the allowed side of `limit`."""

    code: str
    allowed: bool
    value: Decimal | None
    limit: Decimal | None
    distance: Decimal | None
    text: str


@dataclass(frozen=True, slots=True)
class Signal:
    """What the strategy says of one symbol at the last close.

    close, mean   quote per base; `mean` is the price the close is compared with, rounded to 1e-8
    distance_bps  close over mean in basis points, rounded to 0.01
    """

    symbol: str
    state: SignalState
    close: Decimal | None
    mean: Decimal | None
    distance_bps: Decimal | None
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One symbol's part of a decision: signal, order or none, every verdict, the one reason."""

    symbol: str
    signal: Signal
    order: Order | None
    verdicts: tuple[Verdict, ...]
    approved: bool
    reason: str
    reason_text: str

    @property
    def order_text(self) -> str | None:
        """The order in words, `BUY 0.000009 at most 105364.9`, or None."""
        if self.order is None:
            return None
        bound = "at most" if self.order.is_entry else "at least"
        return f"{self.order.side} {self.order.quantity:f} {bound} {self.order.limit:f}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What `decide` makes of frozen inputs: one choice a symbol, exits before entries in `orders`."""

    tick_id: str
    inputs_sha256: str
    choices: tuple[Choice, ...]

    @property
    def orders(self) -> tuple[Order, ...]:
        """The approved orders in the sequence in which they are acted on."""
        approved = [c.order for c in self.choices if c.order is not None and c.approved]
        return tuple(
            sorted(approved, key=lambda order: order.is_entry)
        )  # stable: symbols keep order

    def choice(self, symbol: str) -> Choice:
        """The choice for `symbol`. Raises `DomainError` when there is none."""
        for choice in self.choices:
            if choice.symbol == symbol:
                return choice
        raise DomainError(f"decision {self.tick_id} says nothing of {symbol}")

    def _repr_markdown_(self) -> str:
        """The page's headline: per symbol signal, order and the one reason."""
        lines = []
        for c in self.choices:
            what = c.order_text if c.order is not None and c.approved else "no order"
            lines.append(
                f"**{c.symbol}: {c.signal.state}, {what}** - `{c.reason}`: {c.reason_text}"
            )
        return "\n\n".join(lines)


@dataclass(frozen=True, slots=True)
class Fill:
    """What came of an order.

    quantity  base units; at most the order's
    notional  quote units, the cost of a buy rounded up to 1e-8, the proceeds of a sale rounded down
    fee       units of `fee_currency`; on paper quote units, rounded up to 1e-8
    levels    the book prices taken, best first; their quantities add up to `quantity`
    mid       quote per base in the middle of the book just before, for the cost of the spread
    """

    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    notional: Decimal
    fee: Decimal
    at: datetime
    levels: tuple[Level, ...]
    mid: Decimal
    fee_currency: str = "USDT"

    @property
    def price(self) -> Decimal:
        """The average price, quote per base; exact when one level was enough."""
        if len(self.levels) == 1:
            return self.levels[0].price
        paid = sum((level.price * level.quantity for level in self.levels), ZERO)
        return (paid / self.quantity).quantize(UNIT)

    @property
    def in_coin(self) -> bool:
        """Whether the fee was taken in the coin that was bought, as an exchange may do."""
        return self.symbol.removesuffix("USDT") == self.fee_currency

    @property
    def received(self) -> Decimal:
        """Base units that came in with a buy: less its fee when that was taken in the coin."""
        return self.quantity - self.fee if self.in_coin else self.quantity

    @property
    def fee_cash(self) -> Decimal:
        """What of the fee was taken from cash, quote units; nothing when it was taken in a coin."""
        return self.fee if self.fee_currency == "USDT" else ZERO

    @property
    def fee_usdt(self) -> Decimal:
        """The fee in quote units; one in the coin at the fill's price, rounded up to 1e-8, and one in a third coin,
        whose price is not known here, as 0."""
        if not self.in_coin:
            return self.fee_cash
        return (self.fee * self.price).quantize(UNIT, ROUND_CEILING)


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of a symbol: base units, and what they cost with fees in quote units."""

    symbol: str
    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Cash and positions; `reserved` and `pending` belong to orders whose fills are not known.

    cash, reserved  quote units
    pending         symbol -> quote units at cost, for entries not filled yet
    """

    cash: Decimal
    positions: tuple[Position, ...] = ()
    reserved: Decimal = ZERO
    pending: Mapping[str, Decimal] = field(default_factory=dict)

    def position(self, symbol: str) -> Position:
        """What is held of `symbol`; nothing is a position of quantity 0."""
        for position in self.positions:
            if position.symbol == symbol:
                return position
        return Position(symbol, ZERO, ZERO)

    def cost_of(self, symbol: str) -> Decimal:
        """What is held or pending of `symbol`, at cost with fees, in quote units."""
        return self.position(symbol).cost + self.pending.get(symbol, ZERO)

    @property
    def held(self) -> tuple[Position, ...]:
        return tuple(p for p in self.positions if p.quantity > 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Effective limits in USDT: what entries must respect, and the value above which a holding is trimmed."""

    position_usdt: Decimal
    daily_loss_usdt: Decimal
    total_loss_usdt: Decimal
    trim_usdt: Decimal


@dataclass(frozen=True, slots=True)
class Account:
    """An account: where its money started.

    venue  "demo" or "testnet" when its orders go to the exchange; None on paper
    scale  by which the limits of an exchange account are multiplied; None on paper
    """

    id: str
    initial_equity: Decimal
    opened_at: datetime
    venue: str | None = field(default=None, metadata=UNLESS_NONE)
    scale: Decimal | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, slots=True)
class Day:
    """A UTC day of an account, opened once.

    start_equity  cash plus what was held at its 23:59 close, quote units
    start_cash    cash alone at that moment
    """

    date: str
    start_equity: Decimal
    start_cash: Decimal
    limits: Limits


@dataclass(frozen=True, slots=True)
class Health:
    """The facts that close the gate when they are not well; None means not known.

    last_beat_at       exchange time of the newest watch beat
    clock_offset_ms    this machine's clock minus the exchange's; None with a simulator
    disk_free_mb       on the volume of the ledger
    ledger_problem     what ledger and witness disagree about
    stopped            why the gate is latched, or None when it is armed
    unknown_orders     ids of orders at the exchange whose outcome is not known; None on paper
    account_problem    what ledger and exchange account disagree about, or why it cannot be read; None when well
    """

    last_beat_at: datetime | None
    clock_offset_ms: int | None
    disk_free_mb: int
    ledger_problem: str | None
    stopped: str | None
    unknown_orders: tuple[str, ...] | None = field(default=None, metadata=UNLESS_NONE)
    account_problem: str | None = field(default=None, metadata=UNLESS_NONE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was to be done: strategy, its parameters, and the terms of an order."""

    strategy: str
    parameters: Mapping[str, int]
    order_target_usdt: Decimal
    collar_bps: int


@dataclass(frozen=True)
class Inputs:
    """Everything `decide` may see, frozen; its canonical JSON is the archive's evidence."""

    tick_id: str
    boundary: datetime
    exchange_time: datetime
    markets: tuple[MarketView, ...]
    fees: Fees
    account: Account
    days: tuple[Day, ...]
    portfolio: Portfolio
    orders_today: int
    used_ids: tuple[str, ...]
    health: Health
    limits: Limits
    plan: Plan
    orders_this_tick: int = 0
    schema: int = SCHEMA

    def market(self, symbol: str) -> MarketView | None:
        """What was seen of `symbol`, or None when the inputs do not know it."""
        for view in self.markets:
            if view.symbol == symbol:
                return view
        return None
