"""Long while the close is above its 1-hour mean, flat while below: the seed strategy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.moving_average import long_flat_hold
from tgtqr_lib.strategies.strategy import MeanBand, Parameter, Strategy

LOOKBACK = 60  # minutes


def targets(history: History, *, window: int = LOOKBACK, band_bps: int = 0) -> np.ndarray:
    """Long while the close is above its mean, flat while below; NaN holds.

    Returns (n,) float64 in {0, 1, NaN}; NaN where the window is short, gapped, tied or inside the band.
    Row t uses rows t-window+1..t only, so a tick with `window` rows equals a backtest with years.
    """
    return long_flat_hold(history.close_steps, window, band_bps, valid=history.contiguous(window))


def lookback(*, window: int = LOOKBACK, band_bps: int = 0) -> int:
    """Minutes that one row of `targets` needs."""
    return window


def reference(history: History, *, window: int = LOOKBACK, band_bps: int = 0) -> Fraction | None:
    """The mean of the last `window` closes in price steps, exact; None when minutes are missing."""
    if not len(history) or not history.contiguous(window)[-1]:
        return None
    return Fraction(sum(int(steps) for steps in history.close_steps[-window:]), window)


STRATEGY = Strategy(
    name="ma_trend",
    text="long above the moving average of the last closes, flat below",
    targets=targets,
    lookback=lookback,
    reference=reference,
    parameters={
        "window": Parameter(LOOKBACK, 2, 1440, "minutes", "closes in the mean"),
        "band_bps": Parameter(0, 0, 1000, "basis points", "half-width of the band that holds"),
    },
    fast=MeanBand(window="window", band_bps="band_bps"),
)
