"""Long from the first closed candle on, and never out: a yardstick."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.strategies.strategy import Strategy, Told


def targets(history: History) -> np.ndarray:
    """(n,) of 1: always long."""
    return np.ones(len(history))


def lookback() -> int:
    """One closed minute, to know a price."""
    return 1


def explain(history: History) -> Told:
    return Told("SIGNAL_LONG", "it is always long")


STRATEGY = Strategy(
    name="buy_and_hold",
    text="always long, to compare with",
    targets=targets,
    lookback=lookback,
    reference=None,
    parameters={},
    explain=explain,
)
