"""DATA_GAP: the strategy's window must be contiguous minutes."""

from __future__ import annotations

from tgtqr_lib.domain import History, Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact
from tgtqr_lib.strategies import minutes_needed

CODE = "DATA_GAP"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse when a minute of the strategy's lookback is missing; the text names it. Exits pass."""
    need = minutes_needed(inputs.plan)
    view = inputs.market(order.symbol)
    history = History(view.candles) if view else None
    whole = bool(history) and bool(history.contiguous(need)[-1])
    run = int(history.run_length[-1]) if history else 0
    text = f"{order.symbol}: {min(run, need)} of the last {need} minutes are contiguous"
    return fact(CODE, whole, text, applies=not order.is_exit)
