"""A price at every moment: candles of any interval, put together from minutes, the running one included."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from itertools import pairwise

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.source import DAY_MS, PRICES

QUIET_MS = 10_000  # the price stays at the open this long, so that orders of the last close meet it
TURNS_MS = (25_000, 45_000)  # when a minute reaches its first and its second extreme
KNOTS_MS = (0, QUIET_MS, *TURNS_MS, MINUTE_MS)


class Prices(ABC):
    """Prices as integer steps of 10**-decimals(symbol), known up to a moment.

    Everything is a function of the prices' origin and the time, so asking twice gives the same answer. Whoever
    inherits says what a minute was: `decimals` and `minutes`.
    """

    def __init__(self) -> None:
        self.last_close = lru_cache(maxsize=256)(self._find_last_close)

    @abstractmethod
    def decimals(self, symbol: str) -> int:
        """The decimals of a price step."""

    @abstractmethod
    def minutes(self, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> np.ndarray:
        """The minutes known at `now_ms` that open in [start_ms, end_ms), oldest first: (n,) of CANDLE.

        Closed ones whole, the running one as far as it has come, later ones not at all.
        """

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
            rows, turnover = _joined(rows, turnovers(rows, self.decimals(symbol)), interval_ms)
            if len(rows) >= limit or (first, end) == (start_ms, end_ms):
                kept = slice(limit) if from_start else slice(max(len(rows) - limit, 0), None)
                return rows[kept], turnover[kept]
            span *= 8  # there are gaps: look further

    def mid(self, symbol: str, now_ms: int) -> int | None:
        """The price now; None before the first candle.

        Without a candle for the running minute it stays at the last known close.
        """
        running = now_ms - now_ms % MINUTE_MS
        rows = self.minutes(symbol, running, running + MINUTE_MS, now_ms)
        return int(rows["close"][0]) if len(rows) else self.last_close(symbol, running)

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
    knots = zip(KNOTS_MS, (start, start, *turns, close), strict=True)
    seen = [start]
    for (since, here), (until, there) in pairwise(knots):
        if elapsed_ms > since:
            gone = min(elapsed_ms, until) - since
            seen.append(here + (there - here) * gone // (until - since))
    return opened, start, max(seen), min(seen), seen[-1], volume * elapsed_ms // MINUTE_MS


def path(rows: np.ndarray, elapsed_ms: np.ndarray) -> np.ndarray:
    """The price inside each of (n,) whole candles after (n,) ms of its minute, by the road of `so_far`."""
    rising = rows["close"] >= rows["open"]
    first = np.where(rising, rows["low"], rows["high"])
    second = np.where(rising, rows["high"], rows["low"])
    prices = np.stack([rows["open"], rows["open"], first, second, rows["close"]])
    knots = np.array(KNOTS_MS)
    piece = np.clip(np.searchsorted(knots, elapsed_ms) - 1, 0, len(knots) - 2)
    each = np.arange(len(rows))
    here, there = prices[piece, each], prices[piece + 1, each]
    since, until = knots[piece], knots[piece + 1]
    return here + (there - here) * (elapsed_ms - since) // (until - since)


def turnovers(rows: np.ndarray, decimals: int) -> np.ndarray:
    """Each candle's volume at the average of its four prices, in quote units: (n,) float64."""
    average = sum(rows[name].astype(np.float64) for name in PRICES) / 4
    return rows["volume"] * 1e-6 * average * 10.0**-decimals


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
