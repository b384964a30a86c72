"""DISK_SPACE: an entry needs room for the records that follow it."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import DISK_FREE_MB
from tgtqr_lib.risk.verdict import verdict

CODE = "DISK_SPACE"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry while less than 200 MB of disk is free. Exits pass."""
    free = inputs.health.disk_free_mb
    text = f"{free} MB of disk are free, at least {DISK_FREE_MB} are needed"
    return verdict(CODE, free, DISK_FREE_MB, text, applies=order.is_entry, at_least=True)
