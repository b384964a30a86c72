"""Is it luck? All answers to that question in one value, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from tgtqr_lib.backtest.bootstrap import Interval, interval
from tgtqr_lib.backtest.metrics import DAYS_A_YEAR
from tgtqr_lib.backtest.sharpe import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from tgtqr_lib.backtest.significance import Significance
from tgtqr_lib.domain import DomainError

SURE = 0.95
FEWEST_DAYS = 30  # fewer daily returns say nothing of a year


@dataclass(frozen=True, slots=True)
class Luck:
    """How far luck explains a result.

    sharpe, growth  intervals of the annualised Sharpe ratio and of the total return
    probabilistic   one minus the p-value of the Sharpe ratio, were the true one 0
    deflated        the same, were the true one what the best of `trials` shows by luck
    best_by_luck    that Sharpe ratio, annualised
    needed_days     days of such returns until `probabilistic` reaches 0.95; infinite if it never does
    timing          entries against random ones, when they were tested
    """

    seen: Moments
    sharpe: Interval
    growth: Interval
    probabilistic: float
    deflated: float
    trials: int
    best_by_luck: float
    needed_days: float
    timing: Significance | None = None

    @property
    def convincing(self) -> bool:
        """Whether every test made rejects luck at 5 %."""
        timed = self.timing is None or self.timing.p_value <= 1 - SURE
        return self.sharpe.low > 0 and self.deflated >= SURE and timed

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        if self.convincing:
            return "Luck is an unlikely explanation by every test made here."
        if self.sharpe.high < 0:
            return "It loses, and bad luck is an unlikely explanation."
        if self.sharpe.estimate <= 0:
            return "There is no gain that luck would have to explain."
        return "Luck cannot be ruled out."

    @property
    def lines(self) -> tuple[str, ...]:
        """The answers, a sentence each, the verdict first."""
        needed = (
            f"A record of {self.needed_days:,.0f} such days would make it 95 %; there are "
            f"{self.seen.observations:,}."
            if isfinite(self.needed_days)
            else "No length of such a record would make it 95 %."
        )
        many = (
            f"The best of {self.trials:,} worthless rules would show a Sharpe ratio of "
            f"{self.best_by_luck:.2f}; were that its true ratio, it would show less than it did in "
            f"{self.deflated:.1%} of histories (deflated Sharpe ratio; 95 % would be evidence)."
            if self.trials > 1
            else "One trial was counted, so nothing is deflated; trials that are not counted flatter."
        )
        return (
            self.verdict,
            f"Sharpe ratio {self.sharpe.estimate:.2f} a year, 95 % interval {self.sharpe.low:.2f} to "
            f"{self.sharpe.high:.2f}; total return {self.growth.estimate:+.2%}, interval "
            f"{self.growth.low:+.2%} to {self.growth.high:+.2%} (stationary bootstrap, "
            f"{self.sharpe.resamples:,} resamples of {self.seen.observations:,} days in blocks of "
            f"{self.sharpe.block:.1f} on average).",
            f"Were its true Sharpe ratio 0, it would show less than it did in {self.probabilistic:.1%} of "
            f"histories (probabilistic Sharpe ratio, one minus a p-value). {needed}",
            many,
            *([self.timing.text] if self.timing else []),
        )

    def _repr_markdown_(self) -> str:
        verdict, *rest = self.lines
        return "\n".join([f"**{verdict}**", "", *(f"- {line}" for line in rest)])


def assess(
    returns: np.ndarray,
    *,
    trials: int = 1,
    trial_sharpes: Sequence[float] | np.ndarray | None = None,
    timing: Significance | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Luck:
    """All tests on daily `returns`. Raises `DomainError` below 30 days, or when they have no spread.

    trials         how many combinations were tried before this one was chosen, itself counted
    trial_sharpes  their Sharpe ratios per day; they give `trials` and its spread. Without them the
                   spread is what worthless normal returns of this length have, 1 / (days - 1)
    """
    returns = np.asarray(returns, dtype=np.float64)
    if len(returns) < FEWEST_DAYS or not np.isfinite(returns).all():
        raise DomainError(
            f"{len(returns)} daily returns; expected at least {FEWEST_DAYS}, all of them finite"
        )
    seen = moments(returns)
    variance = 1 / (len(returns) - 1)
    if trial_sharpes is not None:
        sharpes = np.asarray(trial_sharpes, dtype=np.float64)
        sharpes = sharpes[np.isfinite(sharpes)]  # a combination that never traded has none
        trials = max(len(trial_sharpes), trials)
        variance = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else variance
    options = {"resamples": resamples, "seed": seed}
    return Luck(
        seen=seen,
        sharpe=interval(returns, "sharpe", **options),
        growth=interval(returns, "total_return", **options),
        probabilistic=probabilistic_sharpe(seen),
        deflated=deflated_sharpe(seen, trials, variance),
        trials=trials,
        best_by_luck=expected_maximum(trials, variance) * sqrt(DAYS_A_YEAR),
        needed_days=minimum_track_record(seen, level=SURE),
        timing=timing,
    )
