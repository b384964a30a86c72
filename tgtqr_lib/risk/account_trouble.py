"""ACCOUNT_TROUBLE: while ledger and account disagree, it cannot be read, or its key is unfit, nothing is bought."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "ACCOUNT_TROUBLE"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry for what the last look at the account found. Exits pass."""
    problem = inputs.health.account_problem
    text = "ledger and account agree" if problem is None else problem
    return fact(CODE, problem is None, text, applies=order.is_entry)
