"""DECISION_LATE: no entry on a decision whose quarter hour is over."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.clock import LAST_START_S, TICK
from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import verdict

CODE = "DECISION_LATE"
LATEST_S = int(TICK.total_seconds()) + LAST_START_S  # a quarter hour after the latest start


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry more than 960 s of exchange time after its tick's boundary. Exits pass.

    A machine that slept in the middle of a tick would else buy on what it decided long before; the next
    tick decides anew.
    """
    age = Decimal(str((inputs.exchange_time - inputs.boundary).total_seconds()))
    text = f"it is {age:f} s after the tick's quarter hour, at most {LATEST_S} s"
    return verdict(CODE, age, LATEST_S, text, applies=order.is_entry)
