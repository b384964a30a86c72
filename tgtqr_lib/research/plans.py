"""What a notebook tests and how it tells it: plans, backtests of a past, tables and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Result, SweepResult
from tgtqr_lib.backtest.metrics import sharpe, study_of
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import Fees, Limits, Plan
from tgtqr_lib.limits import COLLAR_BPS, ORDER_TARGET_USDT
from tgtqr_lib.research.drawing import number
from tgtqr_lib.research.past import Past
from tgtqr_lib.strategies import Strategy, strategy_named


def plan(strategy: Strategy | str = "ma_trend", **parameters: int) -> Plan:
    """What a tick would do with `strategy`: its parameters completed, the usual order target and collar.

    Raises `DomainError` for an unknown strategy, parameter or value.
    """
    strategy = strategy_named(strategy) if isinstance(strategy, str) else strategy
    return Plan(strategy.name, strategy.checked(parameters), ORDER_TARGET_USDT, COLLAR_BPS)


def tested(past: Past, plan: Plan, limits: Limits | None = None, **terms: Any) -> Result:
    """The backtest of `plan` over `past`, its funding in; the loss limits are off unless given."""
    seen = past.seen(strategy_named(plan.strategy))
    return backtest.run(seen, plan, limits, funding=past.funding or None, **terms)


def swept(past: Past, plan: Plan, grid: Mapping[str, Sequence[int]]) -> SweepResult:
    """The backtest of every combination of `grid` over `past`, without loss limits."""
    seen = past.seen(strategy_named(plan.strategy))
    return backtest.sweep(seen, plan, grid, None, funding=past.funding or None)


@dataclass(frozen=True)
class Answer:
    """What a notebook found, in sentences made from its figures."""

    text: str

    def _repr_markdown_(self) -> str:
        return f"> **Answer.** {self.text}"

    def __str__(self) -> str:
        return self.text


def money(value: Any) -> str:
    """USDT with its sign and four digits."""
    return f"{number(float(value), 4, sign=True)} USDT"


def counted(number: int, what: str) -> str:
    """`1 trade`, `2,125 trades`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def summary(result: Result) -> tuple[str, ...]:
    """Gross, costs, net, trades, Sharpe ratio and drawdown of a result, as a table has them."""
    study = study_of(result)
    ratio = sharpe(study.returns)
    return (
        number(float(result.gross), 4, sign=True),
        number(float(result.gross - result.pnl), 4),
        number(float(result.pnl), 4, sign=True),
        f"{len(result.table):,}",
        number(ratio, 2) if np.isfinite(ratio) else "n/a",
        f"{study.drawdown.max():.2%}",
    )


SUMMARY = ("gross, USDT", "costs, USDT", "net, USDT", "trades", "Sharpe, a year", "drawdown")


def what_if_fees(past: Past, plan: Plan, bps: Sequence[str | int]) -> Table:
    """What `plan` comes to when every fill costs each of `bps` basis points."""
    results = [tested(past, plan, fees=Fees(Decimal(str(one)), "", "what if")) for one in bps]
    rows = [(f"{one} bps", *summary(each)) for one, each in zip(bps, results, strict=True)]
    return Table(("fee a fill", *SUMMARY), tuple(rows))
