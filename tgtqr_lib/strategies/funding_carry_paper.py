"""Long while the perpetual's funding is low, flat while it is high: a tilt by what others pay to be long.

It trades spot, which pays no funding. High funding says that longs are crowded and pay for it; the idea, of the
carry literature, is to be out of the market then. Whether it holds is asked in notebooks/learn/07_alternative_data.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals import funding_mean
from tgtqr_lib.strategies.strategy import Parameter, Strategy, Told

SIGNAL = funding_mean.INDICATORS[0]


def targets(history: History, *, long_below: int = 75, flat_above: int = 150) -> np.ndarray:
    """(n,): 1 where the 7-day mean rate is below `long_below`, 0 above `flat_above`, NaN between or absent.

    Both are millionths of the position per 8 hours, compared exactly; the usual rate is 100.
    """
    below = funding_mean.compare(history, long_below) < 0
    above = funding_mean.compare(history, flat_above) > 0
    return np.where(above, 0.0, np.where(below, 1.0, np.nan))


def lookback(*, long_below: int = 75, flat_above: int = 150) -> int:
    """One closed minute; the week of settlements comes beside the candles."""
    return 1


def explain(history: History, *, long_below: int = 75, flat_above: int = 150) -> Told:
    mean = SIGNAL(history)[-1]
    if np.isnan(mean):
        return Told("SIGNAL_NO_FUNDING", "the last 7 days of funding are not all there: HOLD")
    rate = f"the mean funding of 7 days is {mean:.4f} bps for 8 hours"
    low, high = long_below / 100, flat_above / 100
    target = targets(history, long_below=long_below, flat_above=flat_above)[-1]
    if np.isnan(target):
        return Told("SIGNAL_FUNDING_BAND", f"{rate}, from {low:g} to {high:g}: HOLD")
    if target > 0:
        return Told("SIGNAL_LONG", f"{rate}, below {low:g}: LONG")
    return Told("SIGNAL_FLAT", f"{rate}, above {high:g}: FLAT")


STRATEGY = Strategy(
    name="funding_carry_paper",
    text="long while the 7-day mean of funding is low, flat while it is high",
    targets=targets,
    lookback=lookback,
    reference=None,
    parameters={
        "long_below": Parameter(
            75, -4000, 4000, "millionths per 8 hours", "long below this mean rate"
        ),
        "flat_above": Parameter(
            150, -4000, 4000, "millionths per 8 hours", "flat above this mean rate"
        ),
    },
    needs=("funding",),
    explain=explain,
)
