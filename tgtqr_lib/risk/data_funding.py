"""DATA_FUNDING: a strategy that reads funding buys nothing without the last week of settlements."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import FUNDING_UNREADABLE, History, Inputs, Limits, NoOrder, Order, Verdict
from tgtqr_lib.risk.verdict import fact
from tgtqr_lib.signals.settled import known, weeks

CODE = "DATA_FUNDING"


def check(order: Order | NoOrder, inputs: Inputs, limits: Limits) -> Verdict:
    """Refuse an entry unless the settlements of 7 days are there, up to the latest one. Exits pass."""
    whole, text = _seen(order.symbol, inputs)
    return fact(CODE, whole, f"{order.symbol}: {text}", applies=order.is_entry)


def _seen(symbol: str, inputs: Inputs) -> tuple[bool, str]:
    view = inputs.market(symbol)
    funding = view.funding if view else None
    if funding is None or not len(funding):
        why = [p.text for p in view.problems if p.code == FUNDING_UNREADABLE] if view else []
        return False, "; ".join(["there is no funding", *why])
    if not len(view.candles):
        return False, "there is no closed candle, so no funding is known"
    place, latest = known(History(view.candles.tail(1), funding))
    found, row = weeks(funding), int(place[-1])
    last = f"the last settlement is of {iso(from_ms(int(funding.at_ms[row])))}"
    if not latest[-1]:
        return False, f"{last}, and the one after it is missing"
    if not found.whole[row]:
        joins = np.diff(funding.at_ms) == funding.minutes[1:] * 60_000
        missing = f", {int((~joins).sum())} gaps in them" if not joins.all() else ""
        return False, f"{len(funding)} settlements do not make 7 days{missing}; {last}"
    changed = len(set(funding.minutes.tolist())) > 1
    return True, f"7 days of settlements{', their interval changed' if changed else ''}; {last}"
