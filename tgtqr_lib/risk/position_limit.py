"""POSITION_LIMIT: what a symbol costs, fees in, stays within 1.00 USDT."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.execution import worst_cost
from tgtqr_lib.risk.verdict import verdict

CODE = "POSITION_LIMIT"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry whose symbol would cost more than `limits.position_usdt`, fees in. Exits pass."""
    cost = inputs.portfolio.cost_of(order.symbol)
    if order.is_entry:
        cost += worst_cost(order, inputs.fees)
    text = f"{order.symbol} would cost {cost:f} USDT, at most {limits.position_usdt:f}"
    return verdict(CODE, cost, limits.position_usdt, text, applies=order.is_entry)
