"""numba, without the package that it imports in case somebody measures the coverage of compiled code."""

from __future__ import annotations

import sys

__all__ = ["njit"]

_UNWANTED = "coverage"  # a tenth of a second of every cold backtest; numba allows for its absence

_absent = _UNWANTED not in sys.modules
if _absent:
    sys.modules[_UNWANTED] = None
try:
    from numba import njit
finally:
    if _absent:
        del sys.modules[_UNWANTED]
