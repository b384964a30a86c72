"""Prices of a file, which are floats, as whole steps: one compiled pass instead of several."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest.money import compiled
from tgtqr_lib.domain import MAX_DECIMALS, DataError

LARGEST = 10**15  # every decimal of 15 digits has a float of its own; longer ones may share one
SAMPLE_STRIDE = 1009  # prime, so that a sample is not all full hours


def price_steps(*columns: np.ndarray) -> tuple[list[np.ndarray], int, int]:
    """Float columns as int64 steps of one power of ten: (columns, decimals, rounded).

    columns   (n,) float64 each, prices in quote per base
    decimals  the fewest that hold every price exactly, at most `MAX_DECIMALS`
    rounded   how many prices have more decimals than that and were rounded to the nearest step

    Raises `DataError` for a price that is not finite, not positive, or has more than 15 digits in such steps.
    """
    steps = [np.empty(len(column), np.int64) for column in columns]
    decimals = _sampled(columns)
    while True:
        rounded = 0
        for column, out in zip(columns, steps, strict=True):
            inexact, odd = to_whole(column, 10.0**decimals, out)
            if odd >= 0:
                raise DataError(
                    f"price {column[odd]!s} at row {odd} does not fit steps of 1e-{decimals}; "
                    "expected a finite, positive number of at most 15 digits in them"
                )
            rounded += inexact
        if not rounded or decimals == MAX_DECIMALS:
            return steps, decimals, rounded
        decimals += 1


def _sampled(columns: tuple[np.ndarray, ...]) -> int:
    """The decimals that a part of the prices needs, which the whole needs too."""
    sample = np.concatenate([column[::SAMPLE_STRIDE] for column in columns])
    out = np.empty(len(sample), np.int64)
    for decimals in range(MAX_DECIMALS):
        if to_whole(sample, 10.0**decimals, out)[0] == 0:
            return decimals
    return MAX_DECIMALS


@compiled
def to_whole(values, scale, out):
    """Fill `out` with the nearest whole multiples; how many are not exact, and the first odd row or -1."""
    inexact, odd = 0, 0
    for i in range(len(values)):
        whole = np.rint(values[i] * scale)
        inexact += whole / scale != values[i]
        sound = (whole >= 1) & (whole <= LARGEST)  # neither holds for nan
        odd += not sound
        out[i] = np.int64(whole) if sound else 0
    if odd:
        for i in range(len(values)):
            if not 1 <= np.rint(values[i] * scale) <= LARGEST:
                return inexact, i
    return inexact, -1


@compiled
def whole_minutes(times, per_ms, out):
    """Fill `out` with ms of `times`, `per_ms` units to each; the first odd row or -1, and whether they rise.

    A time is odd that is not a whole minute after 1970.
    """
    minute, rises = per_ms * 60_000, True
    for i in range(len(times)):
        if i > 0 and times[i] == times[i - 1] + minute:  # nearly always, and without a division
            out[i] = out[i - 1] + 60_000
            continue
        if times[i] < 0 or times[i] % minute != 0:
            return i, rises
        out[i] = times[i] // per_ms
        if i > 0 and out[i] <= out[i - 1]:
            rises = False
    return -1, rises
