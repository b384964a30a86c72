"""NOT_SPOT: spot has no leverage; nothing else is traded."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import MARKET
from tgtqr_lib.risk.verdict import fact

CODE = "NOT_SPOT"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry whose candles or rules come from another market than spot. Exits pass."""
    view = inputs.market(order.symbol)
    seen = {view.candles.market, view.instrument.market} if view and view.instrument else set()
    text = f"{order.symbol} is seen on {', '.join(sorted(seen)) or 'no market'}, expected {MARKET}"
    return fact(CODE, seen == {MARKET}, text, applies=order.is_entry)
