"""Notebook 04: a strategy of one's own beside others and beside buying once and holding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tgtqr_lib.backtest import Result
from tgtqr_lib.backtest.probes import Findings
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import Plan
from tgtqr_lib.research.heatmap import Neighbours
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import SUMMARY, Answer, counted, money, plan, summary, tested


@dataclass(frozen=True, eq=False)
class Compared:
    """Results of several plans over one history, the first one in question, the last one holding."""

    past: Past
    results: Mapping[str, Result]

    @classmethod
    def of(cls, past: Past, *plans: Plan) -> Compared:
        """The backtests of `plans`, and of buying once and holding; loss limits are off."""
        every = [*plans, plan("buy_and_hold")]
        return cls(past, {one.strategy: tested(past, one) for one in every})

    @property
    def table(self) -> Table:
        rows = [(_named(name), *summary(result)) for name, result in self.results.items()]
        return Table(("", *SUMMARY), tuple(rows), frozenset({0}))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def answer(compared: Compared, findings: Findings, near: Neighbours) -> Answer:
    """What the new strategy is worth beside the others, from their figures."""
    (name, own), *others = compared.results.items()
    worse = [other for other, result in others if result.pnl < own.pnl]
    better = [other for other, result in others if result.pnl >= own.pnl]
    probes = "passed every probe" if findings.passed else f"FAILED {', '.join(findings.failed)}"
    beats = f"more than {_list(worse)}" if worse else ""
    loses = f"no more than {_list(better)}" if better else ""
    lines = [
        f"{_named(name)} {probes} and made {money(own.pnl)} after costs ({money(own.gross)} before them) "
        f"in {counted(len(own.table), 'trade')}: {' and '.join(filter(None, (beats, loses)))}."
    ]
    net = near.net
    gains = int((net > 0).sum())
    lines.append(
        f"Of {net.size:,} neighbours {gains:,} gain anything after costs, the best {money(net.max())}; "
        + (
            "that one was found with hindsight."
            if gains
            else "no setting nearby would have saved it."
        )
    )
    if own.pnl > 0:
        lines.append(
            "A gain in one history is a question, not an answer: take it to notebooks 02 and 03."
        )
    if compared.past.made_up:
        lines.append("The prices are made up: this shows how to ask, not what a market pays.")
    return Answer(" ".join(lines))


def _named(strategy: str) -> str:
    return strategy.replace("_", " ")


def _list(names: list[str]) -> str:
    return " and ".join(_named(name) for name in names)
