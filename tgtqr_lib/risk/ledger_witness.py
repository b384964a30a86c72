"""LEDGER_WITNESS: while ledger and witness disagree, entries are refused."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "LEDGER_WITNESS"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry while the ledger lacks or contradicts what its witness saw. Exits pass."""
    problem = inputs.health.ledger_problem
    text = "ledger and witness agree"
    if problem is not None:
        text = f"{problem}; look with `tgtqr ledger verify`, then stop and arm to go on"
    return fact(CODE, problem is None, text, applies=order.is_entry)
