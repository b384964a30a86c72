"""Basis: the perpetual's close over the spot close of the same minute, less one."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.signals.indicator import Indicator, nothing


def basis(history: History) -> np.ndarray:
    """(n,) float64 fraction; positive: the perpetual is dearer. NaN in minutes that either lacks."""
    other, seen = history.perpetual, history.candles
    if other is None or not len(other):
        return nothing(history)
    rows = np.minimum(np.searchsorted(other.open_ms, seen.open_ms), len(other) - 1)
    there = other.open_ms[rows] == seen.open_ms
    ratio = other.close[rows] * 10.0**-other.decimals / (seen.close * 10.0**-seen.decimals)
    return np.where(there, ratio - 1, np.nan)


def _compute(history: History) -> np.ndarray:
    return basis(history) * 1e4


INDICATORS = (
    Indicator(
        name="basis",
        text="perpetual over spot, less one",
        unit="basis points",
        source="Hull, Options, Futures, and Other Derivatives, chapter 3, with the sign of crypto markets",
        needs=("perpetual",),
        compute=_compute,
    ),
)
