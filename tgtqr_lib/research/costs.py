"""Notebook 01: what the costs do to a strategy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tgtqr_lib.backtest import Result, SweepResult
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import Plan
from tgtqr_lib.limits import HARD
from tgtqr_lib.research.drawing import number
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, counted, money, swept, tested


@dataclass(frozen=True, eq=False)
class Along:
    """A strategy at several values of one parameter."""

    name: str
    values: tuple[int, ...]
    found: SweepResult

    @classmethod
    def of(cls, past: Past, plan: Plan, name: str, values: Sequence[int]) -> Along:
        """The backtest of `plan` over `past` at each of `values`."""
        return cls(name, tuple(values), swept(past, plan, {name: tuple(values)}))

    @property
    def best(self) -> int:
        """Place of the value with the highest net result; of equals the first."""
        return int(np.argmax(self.found.pnl))

    @property
    def table(self) -> Table:
        found = self.found
        rows = tuple(
            (
                str(value),
                f"{found.trades[i]:,}",
                number(found.gross[i] / 1e8, 4, sign=True),
                number((found.gross[i] - found.pnl[i]) / 1e8, 4),
                number(found.pnl[i] / 1e8, 4, sign=True),
            )
            for i, value in enumerate(self.values)
        )
        head = (self.name, "trades", "gross, USDT", "costs, USDT", "net, USDT")
        return Table(head, rows, frozenset({self.best}))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def answer(past: Past, plan: Plan, along: Along) -> Answer:
    """What the costs do, from the figures of the same history; the best of `along` is one with hindsight."""
    result = tested(past, plan)
    lines = [verdict(result), *_break_even(result), _stopped(past, plan)]
    best = along.best
    net, value = along.found.pnl[best] / 1e8, along.values[best]
    still = "and still loses" if net < 0 else "but only with hindsight"
    lines.append(
        f"Of the {len(along.values)} values of {along.name} tried, {value} does best with "
        f"{money(net)} in {counted(along.found.trades[best], 'trade')}, {still}."
    )
    if past.made_up:
        lines.append("The prices are made up: costs are the lesson here, not the gross result.")
    return Answer(" ".join(lines))


def verdict(result: Result) -> str:
    """Whether it loses, and whether to the costs."""
    gross, net, trades = result.gross, result.pnl, len(result.table)
    costs = gross - net
    figures = (
        f"{money(gross)} before costs, {money(-costs)} of costs, {money(net)} after them in "
        f"{counted(trades, 'trade')}"
    )
    if not costs:
        return f"It never traded, so there was nothing to pay: {figures}."
    if net >= 0:
        return (
            f"It earns more than its costs in this history: {figures}; notebook 02 asks about luck."
        )
    if gross <= 0 and -gross >= costs:
        return f"It loses before any cost, and more after them: {figures}."
    more = result.fees > -net
    part = "more than the whole loss" if more else f"{float(result.fees / -net):.0%} of the loss"
    return f"It loses to its costs: {figures}. The fees alone are {part}."


def _break_even(result: Result) -> list[str]:
    """The share of its fees that gross would just pay for, once the other costs are paid."""
    left = result.gross - result.spread - result.funding
    if left <= 0 or not result.fees:
        return ["No fee above zero would let it break even."] if result.fees else []
    return [f"It would break even at {float(left / result.fees):.1%} of the fee it pays."]


def _stopped(past: Past, plan: Plan) -> str:
    """What the loss limits do."""
    result = tested(past, plan, HARD)
    if result.stop is None:
        return f"With the loss limits on it comes to {money(result.pnl)} and is not stopped."
    days = (result.stop.at.timestamp() * 1000 - int(result.times_ms[0])) / 86_400_000
    return (
        f"With the loss limits on it is stopped ({result.stop.cause}) after {days:.0f} days, at "
        f"{money(result.pnl)}."
    )
