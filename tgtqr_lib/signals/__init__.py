"""One indicator a file: arrays of shape (n,) in, an array of shape (n,) out, exact and pure.

`SIGNALS` has all that research can ask for by name; a strategy imports the file that it uses.
"""

from __future__ import annotations

from tgtqr_lib.signals import (
    basis,
    book_imbalance,
    funding_mean,
    funding_predicted,
    funding_rate,
    funding_zscore,
    micro_price,
    realised_volatility,
    spread,
    volume,
)
from tgtqr_lib.signals.indicator import Indicator

FILES = (
    book_imbalance,
    micro_price,
    spread,
    funding_rate,
    funding_mean,
    funding_zscore,
    funding_predicted,
    basis,
    realised_volatility,
    volume,
)

SIGNALS: dict[str, Indicator] = {one.name: one for file in FILES for one in file.INDICATORS}

__all__ = ["SIGNALS", "Indicator"]
