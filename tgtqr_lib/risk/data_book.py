"""DATA_BOOK: a strategy that reads the order book buys nothing without one."""

from __future__ import annotations

from tgtqr_lib.domain import QUOTE_UNREADABLE, Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "DATA_BOOK"
LEVELS = 5  # a side; what thinner books leave out


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry without an order book of five levels a side; the text says what was seen. Exits pass."""
    view = inputs.market(order.symbol)
    if view is None or view.book is None:
        why = [p.text for p in view.problems if p.code == QUOTE_UNREADABLE] if view else []
        text = "; ".join([f"{order.symbol}: there is no order book", *why])
        return fact(CODE, False, text, applies=order.is_entry)
    text = f"{order.symbol}: the order book has {view.book.levels} levels a side, {LEVELS} are read"
    return fact(CODE, view.book.levels >= LEVELS, text, applies=order.is_entry)
