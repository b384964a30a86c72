"""Never long: a yardstick, and a way to let everything run without a trade."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.domain import History
from tgtqr_lib.strategies.strategy import Strategy, Told


def targets(history: History) -> np.ndarray:
    """(n,) of 0: always flat."""
    return np.zeros(len(history))


def lookback() -> int:
    """One closed minute, to know a price."""
    return 1


def explain(history: History) -> Told:
    return Told("SIGNAL_FLAT", "it is always flat")


STRATEGY = Strategy(
    name="flat",
    text="always flat, to compare with",
    targets=targets,
    lookback=lookback,
    reference=None,
    parameters={},
    explain=explain,
    never_long=True,
)
