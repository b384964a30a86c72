"""CLIENT_ID_USED: an order id is used once, so that nothing trades twice."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "CLIENT_ID_USED"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an order whose id the ledger knows already: it was acted on before."""
    if isinstance(order, NoOrder):
        return fact(CODE, True, "there is no order")
    used = order.id in inputs.used_ids
    return fact(CODE, not used, f"order id {order.id} {'was used before' if used else 'is new'}")
