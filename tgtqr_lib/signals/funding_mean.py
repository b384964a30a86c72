"""The mean funding rate of the last 7 days, per 8 hours: all that was paid, over the time it was paid for."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing
from tgtqr_lib.signals.settled import EIGHT_HOURS, UNIT, known, spread_over, weeks


def compare(history: History, millionths: int) -> np.ndarray:
    """(n,) float64: 1 where the mean is above `millionths` of a position per 8 hours, -1 below, 0 on it.

    Exact, in whole numbers; NaN where the mean is absent.
    """
    if history.funding is None or not len(history.funding):
        return nothing(history)
    found = weeks(history.funding)
    place, there = known(history)
    side = np.sign(found.total * EIGHT_HOURS - millionths * 10_000 * found.minutes)
    return np.where(there & found.whole[place], side[place].astype(np.float64), np.nan)


def _compute(history: History) -> np.ndarray:
    if history.funding is None:
        return nothing(history)
    found = weeks(history.funding)
    mean = found.total * EIGHT_HOURS / np.maximum(found.minutes, 1) * UNIT * 1e4
    return spread_over(history, mean, found.whole)


INDICATORS = (
    Indicator(
        name="funding_mean_7d",
        text="mean rate of the last 7 days of settlements, per 8 hours",
        unit="basis points",
        source="arithmetic mean, by time",
        needs=("funding",),
        compute=_compute,
    ),
)
