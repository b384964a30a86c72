"""Every fill's fee once more: quantity × price × rate, rounded up to 1e-8, from a table of the probe's own.

A sale pays at most what it brings. The fills of ticks and of `run` are asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import ceil, floor

from tgtqr_lib.backtest.probes.case import Case
from tgtqr_lib.backtest.probes.findings import Failed, NotJudged
from tgtqr_lib.backtest.probes.ticks import Ticks
from tgtqr_lib.backtest.result import Result
from tgtqr_lib.backtest.run import run
from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.domain import Side
from tgtqr_lib.limits import HARD

UNITS = 10**8
# Bybit's VIP 0 taker rates, by the day from which they hold. They stand here a second time on purpose: what
# is wrong in one table is caught by the other. A change of the exchange's fees goes into both.
TAKER = {
    "spot": [(date(2022, 6, 1), Fraction(10, 10_000))],
    "linear": [(date(2022, 6, 1), Fraction(55, 100_000))],
}


@dataclass(frozen=True, slots=True)
class Paid:
    """A fill: base units and quote per base, exact; fee in units of 1e-8, None where it is not told."""

    at_ms: int
    side: Side
    quantity: Fraction
    price: Fraction
    fee: int | None


def probe(case: Case) -> str:
    rate = rate_on(from_ms(int(case.ticked.open_ms[-1])).date(), case.ticked.market)
    ticked = [_fee_of(paid, rate, "a tick") for paid in _of_ticks(case.ticks)]
    found = run(case.history(case.ticked), case.plan, HARD)
    fees = [_fee_of(paid, rate, "run") for paid in _of_run(found)]
    if not fees and not ticked and not (case.targets(case.ticked, case.params) == 1).any():
        if found.fees_units:
            raise Failed(f"run took {_usdt(found.fees_units)} of fees, and nothing was traded")
        return f"never LONG in {len(case.ticked):,} minutes: nothing was traded, and no fee taken"
    if not fees and not ticked:
        raise NotJudged(
            f"no order was filled in {len(case.ticked):,} minutes; another stretch of history may help"
        )
    if found.fees_units != sum(fees):
        raise Failed(
            f"run took {_usdt(found.fees_units)} of fees in all; its fills make {_usdt(sum(fees))}"
        )
    return (
        f"{len(ticked):,} fills of ticks and {len(fees):,} of run at {float(rate * 10_000):g} bps, "
        f"{_usdt(sum(fees))} in all"
    )


def rate_on(day: date, market: str) -> Fraction:
    """The taker rate of `market` on `day`, a fraction; before the first known day, the first known one."""
    rows = TAKER[market]
    return max((row for row in rows if row[0] <= day), default=rows[0])[1]


def _fee_of(paid: Paid, rate: Fraction, who: str) -> int:
    """The fee that is due, units. Raises `Failed` when another was taken."""
    notional = paid.quantity * paid.price * UNITS
    due = ceil(notional * rate)
    if paid.side is Side.SELL:
        due = min(due, floor(notional))
    if paid.fee is not None and paid.fee != due:
        raise Failed(
            f"at {iso(from_ms(paid.at_ms))}: {who} took a fee of {_usdt(paid.fee)} on the {paid.side} of "
            f"{float(paid.quantity):.8f} at {float(paid.price):,.2f}; expected {_usdt(due)}, "
            f"{float(rate * 10_000):g} bps rounded up"
        )
    return due


def _of_ticks(ticks: Ticks) -> Iterator[Paid]:
    for at, filled in ticks.fills:
        quantity, price = Fraction(filled.quantity), Fraction(filled.price)
        yield Paid(to_ms(at), filled.side, quantity, price, int(filled.fee * UNITS))


def _of_run(found: Result) -> Iterator[Paid]:
    """Sales are rows of the table; an entry is what was sold of it and what is still held."""
    rows = found.table.tolist()
    entries: dict[tuple[int, int], list[list[int]]] = {}
    for row in rows:
        entries.setdefault((row[0], row[1]), []).append(row)
        price = Fraction(row[5], 10 ** found.decimals[row[0]])
        yield Paid(row[2], Side.SELL, Fraction(row[3], UNITS), price, row[7])
    held = {
        (found.symbols.index(one.symbol), to_ms(one.entry_at)): one for one in found.open_positions
    }
    for symbol, at in entries.keys() | held.keys():
        sold, left = entries.get((symbol, at), []), held.get((symbol, at))
        quantity = Fraction(sum(row[3] for row in sold), UNITS)
        fee: int | None = sum(row[6] for row in sold)
        if sold:
            price = Fraction(sold[0][4], 10 ** found.decimals[symbol])
        if left is not None:
            price, quantity = Fraction(left.entry_price), quantity + Fraction(left.quantity)
            whole = int(left.cost * UNITS) - ceil(quantity * price * UNITS)
            fee = None if sold else whole  # of a trimmed position the cost alone is told
        yield Paid(at, Side.BUY, quantity, price, fee)


def _usdt(amount_units: int) -> str:
    return f"{amount_units / UNITS:.8f} USDT"
