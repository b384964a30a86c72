"""What lies in the lake, and what a candle must be to lie there: for import, write and verify alike."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from tgtqr_lib.market.source import PRICES

MONTH_FILE = re.compile(r"(\d{4}-(?:0[1-9]|1[0-2]))\.parquet")
VALUES = (*PRICES, "volume")
COLUMNS = ("ts", *VALUES, "source")
MINUTE_US = 60_000_000
END_US = 253_402_300_800_000_000  # year 10,000: a month's file name has four digits for the year
NO_PRICE = 5e-7  # this or less is nothing in steps of 1e-6
LARGEST = 1e9  # up to here steps of 1e-6 have at most 15 digits, and those are exact

WILD_RATIO = (
    1.2  # a candle whose high is further above its low is a bad print, or a crash to look at
)
JUMP_FRACTION = 0.2  # a close this far from the one before it, likewise

MISSING = 1
OFF_GRID = 8
REPEATED = 10
UNREADABLE = 11
OTHER_UNIT = 12
NOT_CLOSED = 13
REASONS = (
    "nothing is wrong",
    "a value is missing",
    "a price or the volume is not finite",
    "a price is not positive in steps of 0.000001",
    "a price or the volume is above 1,000,000,000",
    "the volume is negative",
    "the high is below another price of the candle",
    "the low is above another price of the candle",
    "the time is not a whole minute",
    "the time is outside the years 1970 to 9999",
    "an earlier row has the same time",
    "a value is not readable",
    "the time is in another unit than the file's other times",
    "the candle is not closed yet, by this machine's clock",
)


def faults(
    open_us: np.ndarray, values: Mapping[str, np.ndarray], step_us: int = MINUTE_US
) -> np.ndarray:
    """(n,) int8: for each candle 0, or the index in `REASONS` of the first thing wrong with it.

    open_us  (n,) int64, open times in microseconds since the epoch, UTC
    values   the columns of `VALUES`, (n,) float64 each
    step_us  the interval, on whose grid a candle opens
    Each row is judged alone; missing values and repeated times are for the caller to see.
    """
    result = np.zeros(len(open_us), dtype=np.int8)
    odd = np.flatnonzero(~_sound(open_us, values, step_us))
    if not len(odd):
        return result
    opened, high, low, close, volume = columns = [values[name][odd] for name in VALUES]
    open_us = open_us[odd]
    with np.errstate(invalid="ignore"):
        rules = (
            ~np.logical_and.reduce([np.isfinite(column) for column in columns]),
            np.minimum.reduce([opened, high, low, close]) <= NO_PRICE,
            np.maximum.reduce(columns) > LARGEST,
            volume < 0,
            high < np.maximum.reduce([opened, low, close]),
            low > np.minimum(opened, close),
            open_us % step_us != 0,
            (open_us < 0) | (open_us >= END_US),
        )
    for reason, broken in reversed(list(enumerate(rules, start=MISSING + 1))):
        result[odd[broken]] = reason
    return result


def _sound(open_us: np.ndarray, values: Mapping[str, np.ndarray], step_us: int) -> np.ndarray:
    """(n,) bool: no rule is broken, by as few passes as that takes; a NaN breaks every comparison."""
    opened, high, low, close, volume = (values[name] for name in VALUES)
    sound = low > NO_PRICE
    for held in (
        low <= opened, low <= close, high >= opened, high >= close, high <= LARGEST,
        volume >= 0, volume <= LARGEST, open_us % step_us == 0, open_us >= 0, open_us < END_US,
    ):  # fmt: skip
        sound &= held
    return sound


def reason(code: int, interval: str = "1m") -> str:
    """The sentence of a reason for candles of `interval`."""
    if code == OFF_GRID and interval != "1m":
        return f"the time is not a whole {interval}"
    return REASONS[code]


def when(open_us: int) -> str:
    """`2025-06-01T00:16:00Z`: an open time in microseconds, whatever it is, for a message."""
    text = str(np.datetime64(int(open_us), "us"))
    return text.removesuffix(".000000") + "Z"


def numbers(values: Mapping[str, np.ndarray], row: int) -> str:
    """`open 1.5, high 2.0, ...`: the candle of one row, for a message."""
    return ", ".join(f"{name} {float(values[name][row])!r}" for name in VALUES)
