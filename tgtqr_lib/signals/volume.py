"""Volume: what was traded in the last hour, and how that stands to the hour's usual volume of the last day."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing
from tgtqr_lib.signals.moving_average import trailing_sum

HOUR, DAY = 60, 1440  # minutes


def _told(history: History) -> bool:
    """Whether the candles have volumes; a backtest reads opens and closes alone, and fills zeros in."""
    return bool(history.candles.volume.any())


def hourly(history: History) -> np.ndarray:
    """(n,) float64 base units traded in the last 60 minutes; NaN where one is missing."""
    if not _told(history):
        return nothing(history)
    total = trailing_sum(history.candles.volume, HOUR) * 1e-6
    return np.where(history.contiguous(HOUR), total, np.nan)


def relative(history: History) -> np.ndarray:
    """(n,) float64: the last hour over the mean hour of the last 24; NaN where a minute of them is missing."""
    if not _told(history):
        return nothing(history)
    day = trailing_sum(history.candles.volume, DAY)
    there = history.contiguous(DAY) & (day > 0)
    last = trailing_sum(history.candles.volume, HOUR)
    return np.where(there, last * (DAY / HOUR) / np.where(there, day, 1), np.nan)


INDICATORS = (
    Indicator(
        name="volume_1h",
        text="traded in the last hour",
        unit="base units",
        source="sum of the candles' volumes",
        needs=("volume",),
        compute=hourly,
    ),
    Indicator(
        name="relative_volume_1h",
        text="the last hour over the mean hour of the last day",
        unit="ratio",
        source="ratio of sums",
        needs=("volume",),
        compute=relative,
    ),
)
