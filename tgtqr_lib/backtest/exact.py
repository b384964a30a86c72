"""Prices of a file, which are floats, as whole steps: one compiled pass instead of several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tgtqr_lib.backtest.money import compiled
from tgtqr_lib.domain import MAX_DECIMALS, DataError

LARGEST = 10**15  # every decimal of 15 digits has a float of its own; longer ones may share one
SAMPLE_STRIDE = 1009  # prime, so that a sample is not all full hours
NO_STEP = 1 << 62


def price_steps(
    *columns: np.ndarray | Sequence[np.ndarray],
) -> tuple[list[np.ndarray], int, int]:
    """Float columns as int64 steps of one power of ten: (columns, decimals, rounded).

    columns   prices in quote per base, each column (n,) float64 or the pieces of one, in order
    decimals  the fewest that hold every price exactly, at most `MAX_DECIMALS`
    rounded   how many prices have more decimals than that and were rounded to the nearest step

    Raises `DataError` for a price that is not finite, not positive, or has more than 15 digits in such steps.
    """
    pieces = [[one] if isinstance(one, np.ndarray) else list(one) for one in columns]
    steps = [np.empty(sum(map(len, column)), np.int64) for column in pieces]
    decimals = _sampled(pieces)
    while True:
        rounded = 0
        for column, out in zip(pieces, steps, strict=True):
            at = 0
            for piece in column:
                inexact, odd = to_whole(piece, 10.0**decimals, out[at : at + len(piece)])
                if odd >= 0:
                    raise DataError(
                        f"price {piece[odd]!s} at row {at + odd} does not fit steps of 1e-{decimals}; "
                        "expected a finite, positive number of at most 15 digits in them"
                    )
                rounded += inexact
                at += len(piece)
        if not rounded or decimals == MAX_DECIMALS:
            return steps, decimals, rounded
        decimals += 1


def _sampled(columns: Sequence[Sequence[np.ndarray]]) -> int:
    """The decimals that a part of the prices needs, which the whole needs too."""
    parts = [piece[::SAMPLE_STRIDE] for column in columns for piece in column]
    sample = np.concatenate(parts) if parts else np.empty(0)
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
def whole_minutes(times, per_ms, out, start):
    """Fill `out` from row `start` on with ms of `times`, `per_ms` units to each.

    Returns the first odd row of `times` or -1, and the least step to the row before, in ms. A time is odd that
    is not a whole minute after 1970.
    """
    minute, least = per_ms * 60_000, NO_STEP
    for i in range(len(times)):
        row = start + i
        if i > 0 and times[i] == times[i - 1] + minute:  # nearly always, and without a division
            out[row] = out[row - 1] + 60_000
            least = min(least, 60_000)
            continue
        if times[i] < 0 or times[i] % minute != 0:
            return i, least
        out[row] = times[i] // per_ms
        if row > 0:
            least = min(least, out[row] - out[row - 1])
    return -1, least


@compiled
def rows_before_gaps(times, step):
    """The rows after which the next time is not `step` later; without an array as long as the series."""
    count = 0
    for i in range(len(times) - 1):
        count += times[i + 1] - times[i] != step
    out = np.empty(count, np.int64)
    count = 0
    for i in range(len(times) - 1 if len(out) else 0):
        if times[i + 1] - times[i] != step:
            out[count] = i
            count += 1
    return out


@compiled
def extremes(first, second):
    """The lowest and the highest value of two arrays of one length, in one pass."""
    lowest, highest = first[0], first[0]
    for i in range(len(first)):
        lowest = min(lowest, first[i], second[i])
        highest = max(highest, first[i], second[i])
    return lowest, highest
