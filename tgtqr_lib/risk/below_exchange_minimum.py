"""BELOW_EXCHANGE_MINIMUM: an order that the exchange would not take is not sent."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "BELOW_EXCHANGE_MINIMUM"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse a buy or sale whose quantity x limit is below the exchange's smallest; never rounded up to it."""
    view = inputs.market(order.symbol)
    instrument = view.instrument if view is not None else None
    if instrument is None or isinstance(order, NoOrder):
        return fact(CODE, True, "no order, or no rules of the exchange to hold it against")
    least = instrument.min_notional
    text = f"the order is worth {order.notional:f} USDT at its limit, the exchange needs {least:f}"
    return verdict(CODE, order.notional, least, text, at_least=True)
