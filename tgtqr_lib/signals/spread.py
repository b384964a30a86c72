"""Quoted spread: best ask less best bid, as a part of the mid. Half of it is what a market order pays."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import History, Level
from tgtqr_lib.signals.indicator import Indicator, book_column, scaled

PARTS = 10**8


def relative(bid: Level, ask: Level) -> int:
    """In 1e-8 of the mid, rounded half to even."""
    below, above = Fraction(bid.price), Fraction(ask.price)
    return round((above - below) / ((above + below) / 2) * PARTS)


def _compute(history: History) -> np.ndarray:
    return scaled(book_column(history, "spread"), 1e-4)


INDICATORS = (
    Indicator(
        name="spread",
        text="best ask less best bid, over the mid",
        unit="basis points",
        source="Harris, Trading and Exchanges (2003), chapter 14: quoted spread",
        needs=("book",),
        compute=_compute,
    ),
)
