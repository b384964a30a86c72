"""MONITOR_LEASE: no entry while nobody watches."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import LEASE_S
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "MONITOR_LEASE"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry while the last watch beat is older than 180 s of exchange time. Exits pass."""
    beat = inputs.health.last_beat_at
    if beat is None:
        text = "no watch beat yet; tgtqr watch gives one a minute"
        return fact(CODE, False, text, applies=order.is_entry)
    age = Decimal(str((inputs.exchange_time - beat).total_seconds()))
    text = f"the last watch beat is {age:f} s old, at most {LEASE_S} s"
    return verdict(CODE, age, LEASE_S, text, applies=order.is_entry)
