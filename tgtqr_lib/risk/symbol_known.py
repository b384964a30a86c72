"""SYMBOL_UNKNOWN: only the symbols of the hard limits are traded."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.risk.verdict import fact

CODE = "SYMBOL_UNKNOWN"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry into a symbol that is not on the list or was not seen. Exits pass."""
    view = inputs.market(order.symbol)
    known = order.symbol in SYMBOLS and view is not None and view.instrument is not None
    text = f"{order.symbol} is {'one' if known else 'not one'} of {', '.join(SYMBOLS)} with known rules"
    return fact(CODE, known, text, applies=not order.is_exit)
