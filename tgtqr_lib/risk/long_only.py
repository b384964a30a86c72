"""LONG_ONLY: a sale is at most what is held."""

from __future__ import annotations

from tgtqr_lib.domain import ZERO, Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "LONG_ONLY"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse a sale of more than is held: there are no short positions. Entries pass."""
    held = inputs.portfolio.position(order.symbol).quantity
    if isinstance(order, NoOrder):
        return fact(CODE, held >= ZERO, f"{held:f} {order.symbol} is held")
    text = f"{order.side} {order.quantity:f} {order.symbol}, {held:f} is held"
    return verdict(CODE, order.quantity, held, text, applies=order.is_exit)
