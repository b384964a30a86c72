"""CLOCK_OFFSET: a machine whose clock is off cannot tell which minute it is in."""

from __future__ import annotations

from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import CLOCK_OFFSET_MS
from tgtqr_lib.risk.verdict import fact, verdict

CODE = "CLOCK_OFFSET"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry while this machine's clock is over 500 ms off the real exchange's. Exits pass."""
    offset = inputs.health.clock_offset_ms
    if offset is None:
        return fact(CODE, True, "the simulator's clock is the only clock")
    text = f"this machine's clock is {offset} ms off the exchange's, at most {CLOCK_OFFSET_MS} either way"
    return verdict(CODE, abs(offset), CLOCK_OFFSET_MS, text, applies=order.is_entry)
