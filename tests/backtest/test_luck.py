"""All tests of luck in one value, and its words."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from tgtqr_lib.backtest.luck import assess
from tgtqr_lib.backtest.significance import against_random_entries
from tgtqr_lib.domain import DomainError


def chance(seed):
    return np.random.Generator(np.random.PCG64(seed))


GOOD = chance(1).normal(0.004, 0.01, 400)  # a Sharpe ratio of 7.6 a year
NONE = chance(2).normal(0.0, 0.01, 400)


def test_a_strong_rule_tried_once_convinces():
    found = assess(GOOD, resamples=500)
    assert found.convincing
    assert "unlikely" in found.lines[0]


def test_no_rule_does_not():
    assert not assess(NONE, resamples=500).convincing


def test_the_best_of_a_thousand_worthless_rules_is_seen_through():
    rules = chance(3).normal(0.0, 0.01, (1000, 400))
    sharpes = rules.mean(axis=1) / rules.std(axis=1, ddof=1)
    best = rules[sharpes.argmax()]
    alone, honest = assess(best, resamples=500), assess(best, trial_sharpes=sharpes, resamples=500)
    assert alone.convincing  # the flattery of not counting
    assert not honest.convincing
    assert honest.trials == 1000
    # what the best shows is about what luck was expected to show
    assert honest.best_by_luck == pytest.approx(sharpes.max() * sqrt(365), rel=0.15)
    # the ratios' spread is that of theory, which is used when they are not given
    assert assess(best, trials=1000, resamples=500).best_by_luck == pytest.approx(
        honest.best_by_luck, rel=0.1
    )


def test_combinations_that_never_traded_still_count_as_trials():
    sharpes = [0.1, float("nan"), 0.05, 0.0]
    assert assess(GOOD, trial_sharpes=sharpes, resamples=100).trials == 4


def test_poor_timing_takes_the_conviction_away():
    price = np.cumsum(chance(4).normal(0, 0.01, 300))
    timing = against_random_entries(price, [10, 40], [20, 60], draws=99)
    timed = assess(GOOD, timing=replace(timing, p_value=0.4), resamples=500)
    assert not timed.convincing
    assert timing.text.split("Before")[1][:10] in timed._repr_markdown_()


@pytest.mark.parametrize(
    "returns, verdict",
    [(-GOOD, "It loses"), (NONE - NONE.mean() - 1e-4, "There is no gain"), (NONE, None)],
)
def test_the_verdict_fits_the_result(returns, verdict):
    found = assess(returns, resamples=500)
    assert found.lines[0].startswith(verdict or ("Luck cannot", "There is no gain"))


def test_the_words_carry_the_numbers():
    found = assess(GOOD, trials=20, resamples=500)
    text = " ".join(found.lines)
    assert f"{found.deflated:.1%}" in text and "20 worthless rules" in text
    assert f"{found.sharpe.low:.2f} to {found.sharpe.high:.2f}" in text
    assert f"{found.needed_days:,.0f} such days" in text


def test_everything_is_the_same_again():
    assert assess(GOOD, resamples=300) == assess(GOOD, resamples=300)


@pytest.mark.parametrize("returns", [GOOD[:29], np.append(GOOD, np.nan), np.full(50, 0.01)])
def test_too_little_to_tell_is_refused(returns):
    with pytest.raises(DomainError):
        assess(returns)
