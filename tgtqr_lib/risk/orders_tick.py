"""ORDERS_TICK: at most two orders a tick."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import MAX_ORDERS_A_TICK
from tgtqr_lib.risk.verdict import verdict

CODE = "ORDERS_TICK"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry that would be the third order of its tick. Exits count, and pass."""
    nth = inputs.orders_this_tick + (0 if isinstance(order, NoOrder) else 1)
    text = f"{nth} orders in this tick, at most {MAX_ORDERS_A_TICK}"
    return verdict(CODE, nth, MAX_ORDERS_A_TICK, text, applies=order.is_entry)
