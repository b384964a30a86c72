"""Order book imbalance: bids less asks over both, by the base quantity of so many levels a side.

Source: Cartea, Jaimungal and Penalva, "Algorithmic and High-Frequency Trading" (2015), on order imbalance. Its flow
instead of its state: Cont, Kukanov and Stoikov, "The Price Impact of Order Book Events" (2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import numpy as np

from tgtqr_lib.domain import ZERO, History, Level
from tgtqr_lib.signals.indicator import Indicator, book_column, scaled

DEPTHS = (1, 5, 25)  # levels a side
MILLION = 10**6


def imbalance(bids: Sequence[Level], asks: Sequence[Level], depth: int) -> int | None:
    """From -1,000,000 (asks alone) to 1,000,000, rounded half to even; None when a side has fewer levels."""
    if min(len(bids), len(asks)) < depth:
        return None
    below = sum((level.quantity for level in bids[:depth]), ZERO)
    above = sum((level.quantity for level in asks[:depth]), ZERO)
    return round(Decimal(MILLION) * (below - above) / (below + above))


def _compute(depth: int, history: History) -> np.ndarray:
    return scaled(book_column(history, f"imbalance_{depth}"), 1e-6)


INDICATORS = tuple(
    Indicator(
        name=f"book_imbalance_{depth}",
        text=f"bids less asks over both, {depth} level{'s' if depth > 1 else ''} a side",
        unit="fraction, -1 to 1",
        source="Cartea, Jaimungal and Penalva (2015)",
        needs=("book",),
        compute=partial(_compute, depth),
    )
    for depth in DEPTHS
)
