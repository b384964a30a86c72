"""The funding rate in sight: what the premiums since the last settlement come to by the exchange's formula.

The basis at each minute's close stands for the premium index, which Bybit makes of the prices at which a
larger order would be filled; the figure is a forecast of the coming settlement at an interval of 8 hours.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.basis import basis
from tgtqr_lib.signals.indicator import Indicator, nothing
from tgtqr_lib.signals.predicted_funding import along


def _compute(history: History) -> np.ndarray:
    if history.perpetual is None:
        return nothing(history)
    return along(history.candles.open_ms, basis(history)) * 1e4


INDICATORS = (
    Indicator(
        name="funding_predicted",
        text="rate of the coming settlement by the premiums so far",
        unit="basis points",
        source="Bybit, introduction to funding rate; the basis in place of the premium index",
        needs=("perpetual",),
        compute=_compute,
    ),
)
