"""Micro-price: the middle of the book, weighed by what stands on the other side.

micro = (bid x ask quantity + ask x bid quantity) / (both quantities): many bids push it towards the ask.
Source: Gatheral and Oomen, "Zero-intelligence realized variance estimation" (2010); Stoikov, "The
micro-price: a high-frequency estimator of future prices" (2018), calls this first form the weighted mid.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import History, Level
from tgtqr_lib.signals.indicator import Indicator, book_column, scaled

PARTS = 10**8


def micro_price(bid: Level, ask: Level) -> Fraction:
    """Quote per base, exact."""
    below, above = Fraction(bid.quantity), Fraction(ask.quantity)
    return (Fraction(bid.price) * above + Fraction(ask.price) * below) / (below + above)


def offset(bid: Level, ask: Level) -> int:
    """Micro-price less mid in 1e-8 of the mid, rounded half to even."""
    mid = (Fraction(bid.price) + Fraction(ask.price)) / 2
    return round((micro_price(bid, ask) / mid - 1) * PARTS)


def _compute(history: History) -> np.ndarray:
    return scaled(book_column(history, "micro"), 1e-4)


INDICATORS = (
    Indicator(
        name="micro_price_offset",
        text="micro-price above the middle of the book",
        unit="basis points",
        source="Gatheral and Oomen (2010)",
        needs=("book",),
        compute=_compute,
    ),
)
