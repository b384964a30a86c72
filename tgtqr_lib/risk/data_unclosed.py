"""DATA_UNCLOSED: a candle counts only when its minute is over on the exchange's clock."""

from __future__ import annotations

from tgtqr_lib.clock import MINUTE, from_ms, iso
from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "DATA_UNCLOSED"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse when open time + 60 s of any candle lies after the exchange's time. Exits pass."""
    view = inputs.market(order.symbol)
    if view is None or not len(view.candles):
        return fact(CODE, True, f"{order.symbol}: there is no candle that could be open")
    closed_at = from_ms(view.candles.open_ms[-1]) + MINUTE
    text = f"{order.symbol}: newest candle closed {iso(closed_at)}, exchange time {iso(inputs.exchange_time)}"
    return fact(CODE, closed_at <= inputs.exchange_time, text, applies=not order.is_exit)
