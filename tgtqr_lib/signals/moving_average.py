"""The simple moving average on integer price steps, compared without rounding.

A close is above its mean exactly when n * close > sum. Both sides are integers, so sixty minutes in a
tick and five years in a backtest agree to the last bit, and prefix sums make any window O(1) a row.
Source: the arithmetic mean of the last n closes, the current one included.
"""

from __future__ import annotations

import numpy as np

BPS = 10_000
INT64_MAX = np.iinfo(np.int64).max


def trailing_sum(steps: np.ndarray, window: int) -> np.ndarray:
    """(n,) int64: the sum of the last `window` values at each row; 0 where there are fewer.

    `steps` is (n,) int64. Exact while the sum of the whole series fits int64.
    """
    out = np.zeros(len(steps), dtype=np.int64)
    if len(steps) >= window:
        prefix = np.concatenate(([0], np.cumsum(steps, dtype=np.int64)))
        out[window - 1 :] = prefix[window:] - prefix[:-window]
    return out


def long_flat_hold(
    close_steps: np.ndarray, window: int, band_bps: int, valid: np.ndarray
) -> np.ndarray:
    """(n,) float64 targets: 1 above the mean by more than the band, 0 below it, NaN between or tied.

    close_steps  (n,) int64 price steps, > 0
    window       closes in the mean, the current one included
    band_bps     half-width of the band around the mean, basis points
    valid        (n,) bool; rows that are not are NaN
    """
    total = trailing_sum(close_steps, window)
    highest = int(close_steps.max()) if len(close_steps) else 0
    if (BPS + band_bps) * window * highest > INT64_MAX:  # long windows of very fine steps
        close_steps, total = close_steps.astype(object), total.astype(object)
    scaled = BPS * window * close_steps
    above = (scaled > (BPS + band_bps) * total) & valid
    below = (scaled < (BPS - band_bps) * total) & valid
    return np.where(above, 1.0, np.where(below, 0.0, np.nan))
