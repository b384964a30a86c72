"""DATA_JUMP: a close far from the close before it is doubted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.limits import MAX_JUMP_FRACTION
from tgtqr_lib.risk.verdict import fact, verdict
from tgtqr_lib.strategies import minutes_needed

CODE = "DATA_JUMP"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse when any close of the lookback is 20 % or more off the close before it. Exits pass."""
    need = minutes_needed(inputs.plan)
    view = inputs.market(order.symbol)
    candles = view.candles.tail(need + 1) if view else None
    if candles is None or len(candles) < 2:
        return fact(CODE, True, f"{order.symbol}: there are no two closes to compare")
    closes = [int(steps) for steps in candles.close]
    jumps = [Decimal(abs(b - a)) / a for a, b in pairwise(closes)]
    largest = max(jumps)
    at = iso(from_ms(candles.open_ms[1 + jumps.index(largest)]))
    text = (
        f"{order.symbol}: the largest step between closes is {largest:.2%} at {at}, "
        f"must be under {MAX_JUMP_FRACTION:.0%}"
    )
    answer = verdict(CODE, largest, MAX_JUMP_FRACTION, text, applies=not order.is_exit)
    if largest == MAX_JUMP_FRACTION and not order.is_exit:  # here the limit itself is refused
        return replace(answer, allowed=False)
    return answer
