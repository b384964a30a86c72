"""DATA_TICKER: candles and ticker must tell the same story."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import TICKER_FRACTION
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "DATA_TICKER"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse when the last close is over 2 % off the ticker's last price. Exits pass."""
    view = inputs.market(order.symbol)
    if view is None or view.quote is None or not len(view.candles):
        return fact(CODE, True, f"{order.symbol}: there is no ticker and close to compare")
    close, last = view.candles.last_close, view.quote.last
    off = abs(close - last) / last
    text = (
        f"{order.symbol}: the close {close:f} is {off:.3%} off the ticker's {last:f}, "
        f"at most {TICKER_FRACTION:.0%}"
    )
    return verdict(CODE, off, TICKER_FRACTION, text, applies=not order.is_exit)
