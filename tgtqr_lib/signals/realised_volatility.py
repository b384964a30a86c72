"""Realised volatility: the root of the sum of squared one-minute log returns of the last hour, a year.

Source: Andersen, Bollerslev, Diebold and Labys, "Modeling and Forecasting Realized Volatility" (2003).
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing

WINDOW = 60  # returns, which take one close more
A_YEAR = 365 * 24 * 60  # minutes


def realised_volatility(history: History, window: int = WINDOW) -> np.ndarray:
    """(n,) float64, fraction a year; NaN where one of the last `window` + 1 minutes is missing."""
    n = len(history)
    if n <= window:
        return nothing(history)
    squares = np.diff(np.log(history.close_steps.astype(np.float64))) ** 2
    sums = np.lib.stride_tricks.sliding_window_view(squares, window).sum(axis=1)
    out = nothing(history)
    out[window:] = np.sqrt(sums * (A_YEAR / window))
    return np.where(history.contiguous(window + 1), out, np.nan)


INDICATORS = (
    Indicator(
        name="realised_volatility_1h",
        text="root of the squared one-minute log returns of the last hour",
        unit="fraction a year",
        source="Andersen, Bollerslev, Diebold and Labys (2003)",
        needs=(),
        compute=realised_volatility,
    ),
)
