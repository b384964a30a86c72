"""TOTAL_BUDGET: the total loss limit holds even when every price goes to zero."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.budget import cash_after, total_floor
from tgtqr_lib.risk.verdict import verdict

CODE = "TOTAL_BUDGET"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry that would leave less cash than the account's floor. Exits pass."""
    left = cash_after(order, inputs)
    floor = total_floor(inputs.account, limits)
    text = f"{left:f} USDT of cash would be left, the account's floor is {floor:f}"
    return verdict(CODE, left, floor, text, applies=order.is_entry, at_least=True)
