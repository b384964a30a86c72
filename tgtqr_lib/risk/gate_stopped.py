"""GATE_STOPPED: while the gate is latched nothing adds exposure; exits pass."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact

CODE = "GATE_STOPPED"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse all but exits while the kit is stopped; a quiet symbol is told so too."""
    stopped = inputs.health.stopped
    text = "the gate is armed" if stopped is None else f"stopped: {stopped}"
    return fact(CODE, stopped is None, text, applies=not order.is_exit)
