"""ORDERS_DAY: at most 192 orders a UTC day."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import MAX_ORDERS_A_DAY
from tgtqr_lib.risk.verdict import verdict

CODE = "ORDERS_DAY"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry that would be the 193rd order of its UTC day. Exits count, and pass."""
    nth = inputs.orders_today + inputs.orders_this_tick + (0 if isinstance(order, NoOrder) else 1)
    text = f"{nth} orders today, at most {MAX_ORDERS_A_DAY}"
    return verdict(CODE, nth, MAX_ORDERS_A_DAY, text, applies=order.is_entry)
