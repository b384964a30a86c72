"""Probabilistic and deflated Sharpe ratio against the papers' own numbers."""

from __future__ import annotations

from math import inf, pi, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.backtest.sharpe import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    independent_trials,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from tgtqr_lib.domain import DomainError

# Bailey, Lopez de Prado (2014), numerical example: a yearly Sharpe ratio of 2.5 over five years of 250 days,
# the best of N trials whose yearly ratios have the variance 1/2
DAILY = 2.5 / sqrt(250)
VARIANCE = 0.5 / 250


@pytest.mark.parametrize(
    "trials, skew, kurtosis, expected",
    [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)],
)
def test_deflated_sharpe_ratio_of_the_paper(trials, skew, kurtosis, expected):
    found = deflated_sharpe(Moments(DAILY, skew, kurtosis, 1250), trials, VARIANCE)
    assert found == pytest.approx(expected, abs=5e-5)


def test_best_of_a_hundred_of_the_paper():
    assert expected_maximum(100, VARIANCE) == pytest.approx(0.1132, abs=5e-5)


# Bailey, Lopez de Prado (2012): a monthly ratio of 0.458
@pytest.mark.parametrize(
    "months, skew, kurtosis, expected",
    [(24, -2.448, 10.164, 0.913), (24, 0, 3, 0.982), (36, -2.448, 10.164, 0.953)],
)
def test_probabilistic_sharpe_ratio_of_the_paper(months, skew, kurtosis, expected):
    found = probabilistic_sharpe(Moments(0.458, skew, kurtosis, months))
    assert found == pytest.approx(expected, abs=6e-4)


# the same paper: years needed to show that a yearly ratio of 2 is above 1 with 95 %
@pytest.mark.parametrize(
    "a_year, skew, kurtosis, years",
    [(252, 0, 3, 2.73), (52, 0, 3, 2.83), (12, 0, 3, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_minimum_track_record_of_the_paper(a_year, skew, kurtosis, years):
    seen = Moments(2 / sqrt(a_year), skew, kurtosis, 100)
    assert minimum_track_record(seen, 1 / sqrt(a_year)) / a_year == pytest.approx(years, abs=5e-3)


def test_normal_returns_of_no_skill_are_a_coin_toss():
    assert probabilistic_sharpe(Moments(0.0, 0.0, 3.0, 100)) == 0.5


def test_a_ratio_below_the_benchmark_is_never_long_enough():
    assert minimum_track_record(Moments(0.05, 0, 3, 100), 0.05) == inf


@given(st.floats(0.01, 0.5), st.floats(-2, 2), st.floats(0, 5))
def test_the_track_record_is_where_the_probability_reaches_its_level(sharpe, skew, more):
    kurtosis = 1 + skew**2 + more  # what any distribution has at least
    length = minimum_track_record(Moments(sharpe, skew, kurtosis, 2))
    at = probabilistic_sharpe(Moments(sharpe, skew, kurtosis, length))
    assert at == pytest.approx(0.95, abs=1e-6)


@given(st.floats(-0.5, 0.5), st.integers(2, 2000), st.integers(1, 10_000), st.floats(1e-6, 0.1))
def test_more_trials_never_make_a_result_more_credible(sharpe, days, trials, variance):
    seen = Moments(sharpe, -0.5, 5.0, days)
    more = deflated_sharpe(seen, trials + 1, variance)
    assert more <= deflated_sharpe(seen, trials, variance) <= probabilistic_sharpe(seen)


def test_one_trial_deflates_nothing():
    seen = Moments(0.1, 0, 3, 500)
    assert deflated_sharpe(seen, 1, 0.01) == probabilistic_sharpe(seen)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_the_expected_maximum_is_that_of_normal_draws(trials):
    # simulated: the mean of the best of `trials` standard normals; the formula is an approximation
    draws = np.random.Generator(np.random.PCG64(1)).standard_normal((4000, trials))
    assert expected_maximum(trials, 1.0) == pytest.approx(draws.max(axis=1).mean(), abs=0.06)


def test_the_best_of_two_is_near_its_closed_form():
    # exactly 1 / sqrt(pi)
    assert expected_maximum(2, 1.0) == pytest.approx(1 / sqrt(pi), abs=0.06)


def test_moments_of_a_known_sample():
    # mean 2, deviations -1 -1 -1 3: population variance 3, skew 24/4/3^1.5, kurtosis 84/4/9
    found = moments(np.array([1.0, 1.0, 1.0, 5.0]))
    assert found.sharpe == pytest.approx(2 / 2)  # the sample variance is 12 / 3
    assert found.skew == pytest.approx(6 / 3**1.5)
    assert found.kurtosis == pytest.approx(21 / 9)
    assert found.observations == 4


def test_returns_without_spread_are_refused():
    with pytest.raises(DomainError, match="without spread"):
        moments(np.full(10, 0.01))


def test_correlated_trials_count_for_fewer():
    assert independent_trials(100, 0.0) == 100
    assert independent_trials(100, 1.0) == 1
    assert independent_trials(101, 0.5) == 51


@pytest.mark.parametrize("trials, variance", [(0, 1.0), (10, -1.0)])
def test_trials_that_cannot_be_are_refused(trials, variance):
    with pytest.raises(DomainError):
        expected_maximum(trials, variance)
