"""What an exchange shows of a listed symbol at a moment: quote, book, trades, the last day."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from tgtqr_lib.domain import MINUTE_MS, DomainError
from tgtqr_lib.market.noise import words
from tgtqr_lib.market.simulation.prices import Prices, turnovers
from tgtqr_lib.market.source import DAY_MS

TRADES_A_MINUTE = 60  # one in each second


@dataclass(frozen=True, slots=True)
class Listing:
    """What the exchange fixes for a symbol.

    decimals      of its price step
    lot_decimals  of its smallest quantity
    least         lots that every level of the book holds
    beyond        lots that a level may hold on top of them
    """

    decimals: int
    lot_decimals: int
    least: int
    beyond: int

    @property
    def lot(self) -> int:
        """The smallest quantity in millionths of the coin."""
        return 10 ** (6 - self.lot_decimals)


@dataclass(frozen=True, slots=True)
class LastDay:
    """The 24 hours before the running minute, with it: prices in steps, volume in 1e-6, turnover in quote."""

    before: int
    high: int
    low: int
    volume: int
    turnover: float


class Trade(NamedTuple):
    """A trade that somebody made: price in steps, quantity in lots; `serial` counts them."""

    at_ms: int
    price: int
    lots: int
    buy: bool
    serial: int


class ListedMarket(Prices):
    """A series of prices with a book around it and trades along it.

    category  Bybit's word for the market, spot or linear
    listings  symbol -> what is fixed for it
    """

    category: str
    listings: Mapping[str, Listing]
    book_salt = 0  # the books of two categories differ by it

    def __init__(
        self, name: str, symbols: tuple[str, ...], spread_bps: float | str | Fraction
    ) -> None:
        """`name` of the candles' origin; `spread_bps` is best ask over best bid.

        DomainError unless the spread is positive and below 10,000.
        """
        super().__init__()
        self.symbols = symbols
        self._name = name
        try:
            self.spread_bps = Fraction(str(spread_bps))
        except ValueError:
            self.spread_bps = Fraction(0)
        if not 0 < self.spread_bps < 10_000:
            raise DomainError(f"spread_bps {spread_bps}: expected more than 0 and less than 10,000")

    @abstractmethod
    def prices(
        self, symbol: str, minutes: np.ndarray, elapsed_ms: np.ndarray, now_ms: int
    ) -> np.ndarray:
        """The price (n,) after `elapsed_ms` of each of `minutes`, which are known by `now_ms`."""

    def best(self, symbol: str, now_ms: int) -> tuple[int, int] | None:
        """Best bid, rounded down to the step, and best ask, rounded up; None before the first candle."""
        mid = self.mid(symbol, now_ms)
        if mid is None:
            return None
        half = self.spread_bps / 20_000
        return max(mid * (1 - half) // 1, 1), -(-mid * (1 + half) // 1)

    def book(
        self, symbol: str, now_ms: int, levels: int
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
        """Bids and asks, best first, as (price in steps, quantity in lots); None before the first candle.

        Every step has a level. What a price holds depends on price and minute alone, so the book does not
        flicker while the middle moves through it.
        """
        best = self.best(symbol, now_ms)
        if best is None:
            return None
        bid, ask = best
        below = min(levels, bid)  # no level at a price of nothing
        bids = self._levels(symbol, now_ms, bid - below + 1, below)[::-1]
        return bids, self._levels(symbol, now_ms, ask, levels)

    def last_day(self, symbol: str, now_ms: int) -> LastDay | None:
        """The last 24 hours; None before the first candle."""
        last = self.mid(symbol, now_ms)
        if last is None:
            return None
        running = now_ms - now_ms % MINUTE_MS
        rows = self.minutes(symbol, running - DAY_MS, running + MINUTE_MS, now_ms)
        before = self.last_close(symbol, running - DAY_MS)
        if before is None:
            before = int(rows["open"][0]) if len(rows) else last
        return LastDay(
            before=before,
            high=int(rows["high"].max(initial=last)),
            low=int(rows["low"].min(initial=last)),
            volume=int(rows["volume"].sum()),
            turnover=float(turnovers(rows, self.decimals(symbol)).sum()),
        )

    def trades(self, symbol: str, now_ms: int, limit: int) -> list[Trade]:
        """The newest `limit` trades up to `now_ms`, newest first; of the last day at most.

        They lie on the road of the price inside each minute, and share the minute's volume by the time that
        went by since the one before: up to the last trade they add up to the candle's volume so far.
        """
        running = now_ms - now_ms % MINUTE_MS
        span = limit // TRADES_A_MINUTE + 1
        while True:
            found = self._trades(symbol, running - span * MINUTE_MS, now_ms)
            if len(found) >= limit or span >= 1440:
                return found[: -limit - 1 : -1]
            span = min(8 * span, 1440)

    def _trades(self, symbol: str, first_ms: int, now_ms: int) -> list[Trade]:
        """The trades since the minute `first_ms`, oldest first."""
        running = now_ms - now_ms % MINUTE_MS
        whole = running + MINUTE_MS  # the running minute as it will be: volume and road are its own
        rows = self.minutes(symbol, first_ms, whole, whole)
        if not len(rows):
            return []
        minutes = rows["open_ms"] // MINUTE_MS
        key = self._key("trades", symbol)
        raw = np.stack([words(key, int(m) * TRADES_A_MINUTE, TRADES_A_MINUTE) for m in minutes])
        ten_bits = (raw & np.uint64(1023)).astype(np.int64)
        elapsed = np.arange(TRADES_A_MINUTE) * 1000 + ten_bits * 1000 // 1024
        lot = self.listings[symbol].lot
        traded = rows["volume"][:, None] * elapsed // MINUTE_MS // lot
        lots = np.diff(traded, axis=1, prepend=0)
        at = rows["open_ms"][:, None] + elapsed
        made = (lots > 0) & (at <= now_ms)
        row, second = np.nonzero(made)
        opened = rows["open_ms"][row]
        price = self.prices(symbol, opened, elapsed[made], whole)
        buys = (raw[made] >> np.uint64(20) & np.uint64(1)).astype(bool)
        serial = minutes[row] * TRADES_A_MINUTE + second
        columns = (at[made], price, lots[made], buys, serial)
        return [Trade(*trade) for trade in zip(*(c.tolist() for c in columns), strict=True)]

    def _key(self, what: str, symbol: str) -> int:
        """The name of a stream of random words for `what`, of this origin, category and symbol."""
        return key_of(self._name, self.category, what, symbol)

    def _levels(self, symbol: str, now_ms: int, lowest: int, count: int) -> list[tuple[int, int]]:
        """Levels at `count` steps from `lowest` up."""
        listing = self.listings[symbol]
        raw = words(now_ms // MINUTE_MS + self.book_salt, lowest, count)
        share = (raw >> np.uint64(44)).astype(np.int64)  # 20 bits
        lots = listing.least + listing.beyond * (share * share >> 20) // 2**20
        return list(zip(range(lowest, lowest + count), lots.tolist(), strict=True))


def key_of(*parts: str) -> int:
    """A number below 2**64 that stands for `parts`, the same on every machine."""
    return int.from_bytes(sha256("|".join(parts).encode()).digest()[:8], "big")
