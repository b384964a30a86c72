"""The funding rate now: that of the last settlement, per 8 hours."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing
from tgtqr_lib.signals.settled import UNIT, spread_over, weeks


def _compute(history: History) -> np.ndarray:
    if history.funding is None:
        return nothing(history)
    found = weeks(history.funding)
    return spread_over(history, found.rate * UNIT * 1e4, np.ones(len(found.rate), dtype=bool))


INDICATORS = (
    Indicator(
        name="funding_rate",
        text="rate of the last settlement, per 8 hours; positive: longs pay shorts",
        unit="basis points",
        source="Bybit, introduction to funding rate",
        needs=("funding",),
        compute=_compute,
    ),
)
