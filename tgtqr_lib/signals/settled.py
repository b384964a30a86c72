"""Which settlements a minute knows, and what the last week of them comes to, in whole numbers.

A candle knows the settlements strictly before its close: the rate of 08:00 is there from the candle that
closes at 08:01, because at 08:00:03 the exchange may not tell it yet. A rate is compared per 8 hours,
whatever its interval. A week is 7 days up to the last settlement, whole only when each settlement begins where
the one before it ended; nothing is known once the last one is older than its own interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgtqr_lib.domain import MINUTE_MS, Funding, History

EIGHT_HOURS = 480  # minutes
WEEK_MS = 7 * 24 * 60 * MINUTE_MS
UNIT = 1e-10  # of the position's worth


@dataclass(frozen=True, eq=False)
class Weeks:
    """For each of (m,) settlements: itself and the week that ended with it.

    rate     (m,) int64, 1e-10 per 8 hours
    whole    (m,) bool, the week is there without a gap
    total    (m,) int64, sum of the week's rates as settled, 1e-10
    minutes  (m,) int64, which those rates are for
    mean, deviation  (m,) float64, of the week's rates per 8 hours, each settlement counting once; 1e-10
    """

    rate: np.ndarray
    whole: np.ndarray
    total: np.ndarray
    minutes: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def weeks(funding: Funding) -> Weeks:
    """The weeks of all settlements; exact sums, so that a tick's week and a backtest's are equal."""
    m, at = len(funding), funding.at_ms
    rate = funding.units * EIGHT_HOURS // funding.minutes
    first = np.searchsorted(at, at - WEEK_MS, side="right")
    joins = np.append(True, at[1:] - funding.minutes[1:] * MINUTE_MS == at[:-1])[:m]
    broken = np.concatenate([[0], np.cumsum(~joins)])
    total, minutes = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    mean, deviation = np.full(m, np.nan), np.full(m, np.nan)
    for row in range(m):
        week = slice(int(first[row]), row + 1)
        total[row], minutes[row] = funding.units[week].sum(), funding.minutes[week].sum()
        mean[row], deviation[row] = rate[week].mean(), rate[week].std()
    # the first settlement of a week may join an older one or none
    gaps = broken[1:] - broken[np.minimum(first + 1, m)]
    whole = (gaps <= 0) & (minutes * MINUTE_MS >= WEEK_MS)
    return Weeks(rate, whole, total, minutes, mean, deviation)


def known(history: History) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64 the last settlement that each candle knows, and (n,) bool whether it is the latest there was."""
    n, funding = len(history), history.funding
    if funding is None or not len(funding):
        return np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    row = np.searchsorted(funding.at_ms, history.closed_ms, side="left") - 1
    place = np.maximum(row, 0)
    age = history.closed_ms - funding.at_ms[place]
    return place, (row >= 0) & (age <= funding.minutes[place] * MINUTE_MS)


def frozen_funding(funding: Funding, boundary_ms: int) -> Funding:
    """The settlements that a tick freezes: those before its boundary, of the last week and one interval."""
    last = int(np.searchsorted(funding.at_ms, boundary_ms, side="left"))
    first = int(np.searchsorted(funding.at_ms, boundary_ms - WEEK_MS - EIGHT_HOURS * MINUTE_MS))
    return funding[first:last]


def spread_over(history: History, values: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """(n,) float64: (m,) values of settlements as candles know them; NaN where not, or not `fine`."""
    place, there = known(history)
    if not len(values):
        return np.full(len(history), np.nan)
    return np.where(there & fine[place], values[place], np.nan)
