"""ORDER_UNKNOWN: while the outcome of an order at the exchange is not known, nothing new is bought."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "ORDER_UNKNOWN"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry while any order is open; an exit only while a sale of its symbol is: it may be sold."""
    waiting = inputs.health.unknown_orders or ()
    if order.is_exit:
        coin = order.symbol.removesuffix("USDT")
        waiting = tuple(one for one in waiting if one.endswith((f"-{coin}-S", f"-{coin}-X")))
    text = f"not known yet what came of {', '.join(waiting)}" if waiting else "no order is open"
    return fact(CODE, not waiting, text, applies=order.is_entry or order.is_exit)
