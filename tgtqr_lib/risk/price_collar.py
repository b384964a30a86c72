"""PRICE_COLLAR: an entry never offers more than the collar above the last close."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.execution import BPS
from tgtqr_lib.limits import COLLAR_BPS
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "PRICE_COLLAR"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry limit above last close x (1 + collar), at most 1 %. Exits pass."""
    if not order.is_entry:
        return fact(CODE, True, "concerns entries")
    view = inputs.market(order.symbol)
    if view is None or not len(view.candles):
        return fact(CODE, False, f"{order.symbol}: there is no close to hold the limit against")
    collar = min(inputs.plan.collar_bps, COLLAR_BPS)
    highest = view.candles.last_close * (BPS + collar) / BPS
    text = f"limit {order.limit:f}, at most {highest:f} ({collar} bps over the last close)"
    return verdict(CODE, order.limit, highest, text)
