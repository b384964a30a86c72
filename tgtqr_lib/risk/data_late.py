"""DATA_LATE: the minute before the boundary must be there."""

from __future__ import annotations

from tgtqr_lib.clock import MINUTE, from_ms, iso
from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "DATA_LATE"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse while the newest candle is not the last minute before the boundary. Exits pass."""
    view = inputs.market(order.symbol)
    expected = inputs.boundary - MINUTE
    last = from_ms(view.candles.open_ms[-1]) if view and len(view.candles) else None
    seen = "there is no closed candle" if last is None else f"last candle opened {iso(last)}"
    text = f"{order.symbol}: {seen}, expected {iso(expected)}"
    return fact(CODE, last == expected, text, applies=not order.is_exit)
