"""How unusual the last funding rate is: its distance from the 7-day mean, in standard deviations.

Every settlement of the week counts once, the last one included; the deviation is the population's (divided by m).
A week without any change has no z-score.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing
from tgtqr_lib.signals.settled import spread_over, weeks


def _compute(history: History) -> np.ndarray:
    if history.funding is None:
        return nothing(history)
    found = weeks(history.funding)
    varied = found.deviation > 0
    z = (found.rate - found.mean) / np.where(varied, found.deviation, 1.0)
    return spread_over(history, z, found.whole & varied)


INDICATORS = (
    Indicator(
        name="funding_zscore_7d",
        text="last rate less the mean of 7 days, over their standard deviation",
        unit="standard deviations",
        source="standard score",
        needs=("funding",),
        compute=_compute,
    ),
)
