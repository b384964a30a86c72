"""Funding rates of perpetuals: made of the premium as Bybit makes them.

The formula is that of `signals.predicted_funding`, every 8 hours and held inside 0.375 %, for both symbols. Rates are
whole numbers of 1e-8, as Bybit shows eight decimals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation.linear import Premium
from tgtqr_lib.signals.predicted_funding import INTERVAL, rate_of

INTERVAL_MIN = INTERVAL
INTERVAL_MS = INTERVAL_MIN * MINUTE_MS


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
        return rate_of(self._premiums[symbol](np.arange(end - count, end)), INTERVAL_MIN)
