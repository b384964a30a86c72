"""Funding rates of perpetuals: made of the premium as Bybit makes them.

Bybit's formula: rate = P + clamp(I - P, -0.05 %, 0.05 %), where P is the average premium of the interval, each
minute weighing one more than the one before it, and I = 0.01 % is the interest; held inside the symbol's bounds.
Rates are whole numbers of 1e-8, as Bybit shows eight decimals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation.linear import Premium

INTERVAL_MIN = 480
INTERVAL_MS = INTERVAL_MIN * MINUTE_MS

_ONE = 10**12  # premiums become whole numbers of 1e-12: sums of those are the same everywhere
_INTEREST = _ONE // 10_000
_DEAD_ZONE = _ONE // 2_000
_BOUND = 3_750_000_000  # 0.375 %
_RATE = _ONE // 10**8


class Funding(Protocol):
    """What has been paid at settlements, and what the coming one looks like."""

    def settled(
        self, symbol: str, first_ms: int, last_ms: int, limit: int
    ) -> list[tuple[int, int]]:
        """The newest `limit` of (settlement time, rate in 1e-8) in [first_ms, last_ms], newest first."""

    def coming(self, symbol: str, now_ms: int) -> int:
        """The rate, in 1e-8, that the next settlement would have by what is known at `now_ms`."""


class PremiumFunding:
    """A settlement every `INTERVAL_MIN` minutes since there is a price, its rate made of the premium."""

    def __init__(self, premiums: Mapping[str, Premium], priced: Callable[[str, int], bool]) -> None:
        """`priced` says whether a symbol has a price at a time."""
        self._premiums, self._priced = premiums, priced
        self._rate = lru_cache(maxsize=4096)(self._make_rate)

    def settled(
        self, symbol: str, first_ms: int, last_ms: int, limit: int
    ) -> list[tuple[int, int]]:
        """See `Funding`."""
        newest = last_ms // INTERVAL_MS
        oldest = max(-(-first_ms // INTERVAL_MS), newest - limit + 1, 1)
        times = [n * INTERVAL_MS for n in range(oldest, newest + 1)]
        times = times[bisect_left(times, True, key=lambda t: self._priced(symbol, t)) :]
        return [(t, self._rate(symbol, t, INTERVAL_MIN)) for t in reversed(times)]

    def coming(self, symbol: str, now_ms: int) -> int:
        """See `Funding`: the average of the minutes since the last settlement, with the running one."""
        minute = now_ms // MINUTE_MS
        return self._rate(symbol, (minute + 1) * MINUTE_MS, minute % INTERVAL_MIN + 1)

    def _make_rate(self, symbol: str, end_ms: int, count: int) -> int:
        """By the premiums of `count` minutes before `end_ms`."""
        end = end_ms // MINUTE_MS
        return rate_of(self._premiums[symbol](np.arange(end - count, end)))


def rate_of(premiums: np.ndarray) -> int:
    """The funding rate in 1e-8, half up, of an interval's premiums (n,), oldest first, fractions of the price."""
    exact = np.rint(premiums * _ONE).astype(np.int64)
    weights = np.arange(1, len(exact) + 1)
    average = int(exact @ weights) // int(weights.sum())
    rate = average + min(max(_INTEREST - average, -_DEAD_ZONE), _DEAD_ZONE)
    return (min(max(rate, -_BOUND), _BOUND) + _RATE // 2) // _RATE
