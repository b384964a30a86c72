"""DATA_INVALID: what the exchange sent could not be taken as a price."""

from __future__ import annotations

from tgtqr_lib.domain import (
    FUNDING_UNREADABLE,
    QUOTE_UNREADABLE,
    Inputs,
    Limits,
    NoOrder,
    Order,
    Verdict,
)
from tgtqr_lib.risk.verdict import fact

CODE = "DATA_INVALID"
BESIDE = (QUOTE_UNREADABLE, FUNDING_UNREADABLE)  # not of the candles


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse on a value that is not finite and positive, or that could not be read. Exits pass.

    A quote that could not be read is no quote, which is for DATA_STALE, and funding is for DATA_FUNDING: the
    candles may be fine.
    """
    view = inputs.market(order.symbol)
    seen = [p for p in view.problems if p.code not in BESIDE] if view else []
    problems = [p.text for p in seen] if view else [f"{order.symbol} was not seen"]
    text = "; ".join(problems) or "every value is finite, positive and in order"
    return fact(CODE, not problems, text, applies=not order.is_exit)
