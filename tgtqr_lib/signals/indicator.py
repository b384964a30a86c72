"""What an indicator is: a pure function of what a strategy sees, with its unit, source and needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tgtqr_lib.domain import ABSENT, History


@dataclass(frozen=True, slots=True)
class Indicator:
    """A named indicator.

    needs    parts of a `History` beside closes: "volume", "funding", "book", "perpetual"
    compute  history -> (n,) float64 in `unit`; NaN where it is absent, which is not zero
    """

    name: str
    text: str
    unit: str
    source: str
    needs: tuple[str, ...]
    compute: Callable[[History], np.ndarray]

    def __call__(self, history: History) -> np.ndarray:
        """(n,) float64, a value for each candle of `history`, NaN where it is absent."""
        return self.compute(history)


def nothing(history: History) -> np.ndarray:
    """(n,) NaN: the data are not there at all."""
    return np.full(len(history), np.nan)


def book_column(history: History, name: str) -> np.ndarray:
    """(n,) int64: a figure of the book as it was when each candle closed, ABSENT where there is none."""
    found = np.full(len(history), ABSENT, dtype=np.int64)
    book = history.book
    if book is None or not len(book):
        return found
    rows = np.searchsorted(book.at_ms, history.closed_ms)
    inside = np.minimum(rows, len(book) - 1)
    there = (rows < len(book)) & (book.at_ms[inside] == history.closed_ms)
    found[there] = book.columns[name][inside[there]]
    return found


def scaled(column: np.ndarray, unit: float) -> np.ndarray:
    """(n,) float64: whole numbers times `unit`, NaN where they are ABSENT."""
    return np.where(column == ABSENT, np.nan, column * unit)
