"""Floats of a file or a wire as whole steps of a power of ten, and back, without losing a digit.

A stored price is the float nearest to a short decimal. Up to 15 significant digits the way there and
back is exact: `rint(x * 10**d)` is the decimal's integer, and dividing it by `10**d` gives `x` again.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import MAX_DECIMALS, DataError

EXACT_STEPS = 10**15  # every decimal of 15 digits has a float of its own; longer ones may share one
SAMPLE_STRIDE = 1009  # prime, so that a sample is not all full hours


def to_steps(values: np.ndarray, max_decimals: int = MAX_DECIMALS) -> tuple[np.ndarray, int, int]:
    """`values` as whole steps of 10**-decimals: (steps, decimals, rounded_count).

    values         any shape, finite; a price series is best passed as one array of all four columns
    steps          int64, the same shape
    decimals       the smallest number, 0 to `max_decimals`, that holds every value exactly
    rounded_count  how many values need more decimals than that and were rounded to the nearest step

    Raises `DataError` for a value that is not finite or has more than 15 digits in such steps.
    """
    values = np.asarray(values, dtype=np.float64)
    sample = values.reshape(-1)[::SAMPLE_STRIDE]
    fewest = _decimals(sample, 0, max_decimals)  # what a part needs, the whole needs
    decimals = _decimals(values, fewest, max_decimals)
    steps, rounded_count = to_units(values, decimals)
    return steps, decimals, rounded_count


def to_units(values: np.ndarray, decimals: int) -> tuple[np.ndarray, int]:
    """`values` (any shape, finite) as int64 units of 10**-decimals, and how many were rounded to it.

    Raises `DataError` as `to_steps` does.
    """
    values = np.asarray(values, dtype=np.float64)
    scale = 10.0**decimals
    with np.errstate(invalid="ignore", over="ignore"):
        units = np.rint(values * scale)
        largest = np.abs(units).max(initial=0.0)
        if not largest <= EXACT_STEPS:  # also when it is nan
            odd = values[~(np.abs(units) <= EXACT_STEPS)].flat[0]
            raise DataError(
                f"value {odd!s} does not fit steps of 1e-{decimals}; expected a finite number of at "
                f"most 15 digits in them"
            )
    return units.astype(np.int64), int(np.count_nonzero(units / scale != values))


def from_steps(steps: np.ndarray, decimals: int) -> np.ndarray:
    """`steps` of 10**-decimals as float64, each the one nearest to its decimal."""
    return np.asarray(steps, dtype=np.int64) / 10.0**decimals


def rounded_to(values: np.ndarray, decimals: int) -> tuple[np.ndarray, int]:
    """`values` (finite, at most 15 digits in such steps) rounded to `decimals`, and how many changed.

    The same floats as `from_steps` of `to_units`, in fewer passes.
    """
    rounded = values * 10.0**decimals
    np.rint(rounded, out=rounded)
    rounded /= 10.0**decimals
    rounded += 0.0  # never -0.0
    return rounded, int(np.count_nonzero(rounded != values))


def _decimals(values: np.ndarray, fewest: int, most: int) -> int:
    """The smallest number of decimals from `fewest` up that holds all `values`, else `most`."""
    for decimals in range(fewest, most):
        scale = 10.0**decimals
        with np.errstate(invalid="ignore", over="ignore"):
            if np.array_equal(np.rint(values * scale) / scale, values):
                return decimals
    return most
