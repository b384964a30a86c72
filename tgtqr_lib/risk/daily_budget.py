"""DAILY_BUDGET: the day's loss limit holds even when every price goes to zero."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.budget import cash_after, daily_floor
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "DAILY_BUDGET"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry that would leave less cash than the floor of any day it touches. Exits pass."""
    if not inputs.days:
        text = "the day is not open: what is held has no close of 23:59"
        return fact(CODE, False, text, applies=order.is_entry)
    left = cash_after(order, inputs)
    floor = max(daily_floor(day, limits) for day in inputs.days)
    text = f"{left:f} USDT of cash would be left, the day's floor is {floor:f}"
    return verdict(CODE, left, floor, text, applies=order.is_entry, at_least=True)
