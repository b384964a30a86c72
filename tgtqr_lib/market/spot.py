"""What a spot exchange shows of candles at a moment: running candle, quote, book, the last day.

Everything here is a function of the source and the time, so asking twice gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tgtqr_lib.domain import MINUTE_MS, DomainError
from tgtqr_lib.market.noise import words
from tgtqr_lib.market.source import DAY_MS, PRICES, CandleSource

QUIET_MS = 10_000  # the price stays at the open this long, so that orders of the last close meet it
TURNS_MS = (25_000, 45_000)  # when a minute reaches its first and its second extreme


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


LISTINGS = {
    "BTCUSDT": Listing(decimals=1, lot_decimals=6, least=50_000, beyond=1_000_000),
    "ETHUSDT": Listing(decimals=2, lot_decimals=5, least=100_000, beyond=2_000_000),
}


@dataclass(frozen=True, slots=True)
class LastDay:
    """The 24 hours before the running minute, with it: prices in steps, volume in 1e-6, turnover in quote."""

    before: int
    high: int
    low: int
    volume: int
    turnover: float


class SpotMarket:
    """A source of candles seen as an exchange at a time.

    Prices are integer steps of 10**-decimals(symbol): the listing's step, or the source's where that is finer.
    """

    def __init__(self, source: CandleSource, spread_bps: float | str = 1) -> None:
        """`spread_bps` is best ask over best bid; DomainError unless it is positive and below 10,000."""
        self.source = source
        self.symbols = tuple(s for s in LISTINGS if s in source.symbols)
        try:
            self.spread_bps = Fraction(str(spread_bps))
        except ValueError:
            self.spread_bps = Fraction(0)
        if not 0 < self.spread_bps < 10_000:
            raise DomainError(f"spread_bps {spread_bps}: expected more than 0 and less than 10,000")
        self._last_close = lru_cache(maxsize=256)(self._find_last_close)

    def decimals(self, symbol: str) -> int:
        """The decimals of a price step."""
        return max(LISTINGS[symbol].decimals, self.source.price_decimals(symbol))

    def minutes(self, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> np.ndarray:
        """The minutes known at `now_ms` that open in [start_ms, end_ms), oldest first: (n,) of CANDLE.

        Closed ones whole, the running one as far as it has come, later ones not at all.
        """
        running = now_ms - now_ms % MINUTE_MS
        rows = self.source.candles(symbol, start_ms, min(end_ms, running + 1)).copy()
        scale = 10 ** (self.decimals(symbol) - self.source.price_decimals(symbol))
        if scale > 1:
            for name in PRICES:
                rows[name] *= scale
        if len(rows) and rows["open_ms"][-1] == running:
            rows[-1] = so_far(rows[-1], now_ms - running)
        return rows

    def candles(
        self,
        symbol: str,
        interval_ms: int,
        limit: int,
        now_ms: int,
        *,
        start_ms: int = 0,
        end_ms: int,
        from_start: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Candles of `interval_ms`, put together from minutes, that open in [start_ms, end_ms).

        Returns the newest `limit` of them, or the oldest when `from_start`, as (n,) of CANDLE, oldest first, and
        their turnover in quote units, (n,) float64. Both bounds lie on the interval's grid.
        """
        span = limit * interval_ms
        while True:
            first, end = max(end_ms - span, start_ms), end_ms
            if from_start:
                first, end = start_ms, min(start_ms + span, end_ms)
            rows = self.minutes(symbol, first, end, now_ms)
            rows, turnover = _joined(rows, _turnover(rows, self.decimals(symbol)), interval_ms)
            if len(rows) >= limit or (first, end) == (start_ms, end_ms):
                kept = slice(limit) if from_start else slice(max(len(rows) - limit, 0), None)
                return rows[kept], turnover[kept]
            span *= 8  # there are gaps: look further

    def mid(self, symbol: str, now_ms: int) -> int | None:
        """The last price, which is also the middle of the book; None before the first candle.

        Without a candle for the running minute it stays at the last known close.
        """
        running = now_ms - now_ms % MINUTE_MS
        rows = self.minutes(symbol, running, running + MINUTE_MS, now_ms)
        return int(rows["close"][0]) if len(rows) else self._last_close(symbol, running)

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
        before = self._last_close(symbol, running - DAY_MS)
        if before is None:
            before = int(rows["open"][0]) if len(rows) else last
        return LastDay(
            before=before,
            high=int(rows["high"].max(initial=last)),
            low=int(rows["low"].min(initial=last)),
            volume=int(rows["volume"].sum()),
            turnover=float(_turnover(rows, self.decimals(symbol)).sum()),
        )

    def _levels(self, symbol: str, now_ms: int, lowest: int, count: int) -> list[tuple[int, int]]:
        """Levels at `count` steps from `lowest` up."""
        listing = LISTINGS[symbol]
        twenty_bits = words(now_ms // MINUTE_MS, lowest, count) >> np.uint64(44)
        share = twenty_bits.astype(np.int64)
        lots = listing.least + listing.beyond * (share * share >> 20) // 2**20
        return list(zip(range(lowest, lowest + count), lots.tolist(), strict=True))

    def _find_last_close(self, symbol: str, before_ms: int) -> int | None:
        """The close of the last candle that opens before `before_ms`, at most three years back."""
        end = before_ms
        for back in (MINUTE_MS, DAY_MS, *range(30 * DAY_MS, 1110 * DAY_MS, 30 * DAY_MS)):
            rows = self.minutes(symbol, before_ms - back, end, before_ms)
            if len(rows):
                return int(rows["close"][-1])
            end = before_ms - back
        return None


def so_far(candle: np.void, elapsed_ms: int) -> tuple[int, ...]:
    """The running candle after `elapsed_ms` of its minute, as a row of CANDLE; its close is the price now.

    The price stays at the open for 10 s, goes straight to the extreme behind it, to the other one, and
    to the close at 60 s: low first when the minute rises, high first when it falls.
    """
    opened, start, high, low, close, volume = candle.item()
    turns = (low, high) if close >= start else (high, low)
    knots = zip((0, QUIET_MS, *TURNS_MS, MINUTE_MS), (start, start, *turns, close), strict=True)
    seen = [start]
    for (since, here), (until, there) in pairwise(knots):
        if elapsed_ms > since:
            gone = min(elapsed_ms, until) - since
            seen.append(here + (there - here) * gone // (until - since))
    return opened, start, max(seen), min(seen), seen[-1], volume * elapsed_ms // MINUTE_MS


def _joined(
    rows: np.ndarray, turnover: np.ndarray, interval_ms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Minutes put together to candles of whole intervals."""
    if interval_ms == MINUTE_MS or not len(rows):
        return rows, turnover
    opened = rows["open_ms"] // interval_ms * interval_ms
    first = np.flatnonzero(np.diff(opened, prepend=-1))
    joined = rows[first]
    joined["open_ms"] = opened[first]
    joined["high"] = np.maximum.reduceat(rows["high"], first)
    joined["low"] = np.minimum.reduceat(rows["low"], first)
    joined["close"] = rows["close"][np.append(first[1:], len(rows)) - 1]
    joined["volume"] = np.add.reduceat(rows["volume"], first)
    return joined, np.add.reduceat(turnover, first)


def _turnover(rows: np.ndarray, decimals: int) -> np.ndarray:
    """Each candle's volume at the average of its four prices, in quote units: (n,) float64."""
    average = sum(rows[name].astype(np.float64) for name in PRICES) / 4
    return rows["volume"] * 1e-6 * average * 10.0**-decimals
