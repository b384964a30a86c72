"""Notebook 02: try many combinations, keep the best, and ask how far luck explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tgtqr_lib.backtest.luck import FEWEST_DAYS, Luck, assess
from tgtqr_lib.backtest.metrics import Study, sharpe, study_of
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.significance import of_study
from tgtqr_lib.backtest.sweep import combinations
from tgtqr_lib.domain import DomainError, Plan
from tgtqr_lib.research.drawing import number
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, money, tested

DRAWS = 1000  # random rules that the entries are compared with


@dataclass(frozen=True, eq=False)
class Trials:
    """Every combination that was tried, and the one with the best Sharpe ratio.

    params   the combinations
    net      (c,) USDT after costs
    sharpes  (c,) of net daily returns, annualised; NaN for one that never traded
    study    of the best one
    """

    past: Past
    params: tuple[Mapping[str, int], ...]
    net: np.ndarray
    sharpes: np.ndarray
    study: Study

    @classmethod
    def of(cls, past: Past, plan: Plan, grid: Mapping[str, Sequence[int]]) -> Trials:
        """Run every combination of `grid`. Raises `DomainError` when none of them ever traded."""
        points = combinations(plan, grid)
        net, ratios, best, kept = [], [], -np.inf, None
        for point in points:
            study = study_of(tested(past, replace(plan, parameters=point)))
            ratio = sharpe(study.returns)
            net.append(float(study.equity[-1] - study.start))
            ratios.append(ratio)
            if np.isfinite(ratio) and ratio > best:
                best, kept = ratio, study
        if kept is None:
            raise DomainError(
                f"none of {len(points)} combinations ever traded; try a longer history"
            )
        return cls(past, points, np.array(net), np.array(ratios), kept)

    @property
    def best(self) -> int:
        """Place of the highest Sharpe ratio; of equals the first."""
        return int(np.nanargmax(self.sharpes))

    def top(self, count: int = 5) -> Table:
        """The `count` best by Sharpe ratio."""
        order = np.argsort(-np.nan_to_num(self.sharpes, nan=-np.inf), kind="stable")[:count]
        rows = tuple(
            (
                ", ".join(f"{name} {value}" for name, value in self.params[i].items()),
                number(self.sharpes[i], 2),
                number(self.net[i], 4, sign=True),
            )
            for i in order.tolist()
        )
        return Table((f"best of {len(self.params)}", "Sharpe, a year", "net, USDT"), rows)

    def luck(self) -> Luck | Answer:
        """Every test of luck on the best one, all trials counted, its entries against random ones.

        Below 30 days nothing can be told, and the answer says so.
        """
        days = len(self.study.days)
        if days < FEWEST_DAYS:
            return Answer(
                f"{days} days are too few to tell luck from skill; expected {FEWEST_DAYS} or more."
            )
        timing = of_study(self.study, self.past.candles, draws=DRAWS)
        # tries differ most in what they pay, and that spread is no luck: worthless ones' own is used
        return assess(self.study.returns, trials=len(self.params), timing=timing)


def answer(trials: Trials, luck: Luck | Answer) -> Answer:
    """Whether the best of the trials is luck, from the figures of the tests."""
    if isinstance(luck, Answer):
        return luck
    best = trials.best
    given = ", ".join(f"{name} {value}" for name, value in trials.params[best].items())
    ratio = luck.sharpe
    lines = [
        f"{luck.verdict} The best of {luck.trials} tries ({given}) made {money(trials.net[best])} at a "
        f"Sharpe ratio of {number(ratio.estimate, 2)}, which lies between {number(ratio.low, 2)} and "
        f"{number(ratio.high, 2)} in 95 % of resampled histories; the best of as many worthless rules "
        f"would be expected to show {number(luck.best_by_luck, 2)}."
    ]
    if luck.timing is not None:
        known = (
            "is better than chance" if luck.timing.p_value <= 0.05 else "cannot be told from chance"
        )
        lines.append(f"Its timing before costs {known} (p = {luck.timing.p_value:.3f}).")
        if not trials.study.closed.all():
            lines.append("A position still open at the end is not among the holds compared there.")
    if trials.past.made_up:
        lines.append(
            "The prices are made up by chance, so anything that looks like skill here is luck."
        )
    return Answer(" ".join(lines))
