"""DATA_STALE: a quote older than 5 s is no quote."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.domain import QUOTE_UNREADABLE, Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import QUOTE_MAX_AGE_S
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "DATA_STALE"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse without a quote, or with one older than 5 s of exchange time. Exits pass."""
    view = inputs.market(order.symbol)
    if view is None or view.quote is None:
        why = [p.text for p in view.problems if p.code == QUOTE_UNREADABLE] if view else []
        text = "; ".join([f"{order.symbol}: there is no quote", *why])
        return fact(CODE, False, text, applies=not order.is_exit)
    age = Decimal(str((inputs.exchange_time - view.quote.at).total_seconds()))
    text = f"{order.symbol}: the quote is {age:f} s old, at most {QUOTE_MAX_AGE_S} s"
    return verdict(CODE, age, QUOTE_MAX_AGE_S, text, applies=not order.is_exit)
