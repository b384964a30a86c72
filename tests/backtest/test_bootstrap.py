"""Block bootstrap: block lengths of a library, coverage on known processes, and exact repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.backtest.bootstrap import STATISTICS, block_lengths, interval, resampled
from tgtqr_lib.backtest.metrics import sharpe
from tgtqr_lib.domain import DomainError

WAVE = np.sin(0.7 * np.arange(400) ** 2)
SMOOTH = np.convolve(WAVE, np.ones(6) / 6, "valid")  # a moving average: depends on six values


def chance(seed):
    return np.random.Generator(np.random.PCG64(seed))


def autoregressive(noise, phi):
    out = np.zeros_like(noise)
    for t in range(1, noise.shape[-1]):
        out[..., t] = phi * out[..., t - 1] + noise[..., t]
    return out


# optimal_block_length of arch 8.0.0: (stationary, circular)
@pytest.mark.parametrize(
    "x, expected",
    [
        (0.001 + 0.02 * np.sin(0.7 * np.arange(1, 501) ** 2), (1.33038532, 1.52291103)),
        (SMOOTH, (9.864841657233939, 11.292424745569102)),
        (
            autoregressive(chance(7).standard_normal(1000), 0.3),
            (7.281534496973545, 8.335276246329029),
        ),
        (
            autoregressive(chance(7).standard_normal(1000), 0.9),
            (42.500412686523894, 48.65082771665822),
        ),
    ],
    ids=["independent", "smooth", "weak", "strong"],
)
def test_block_lengths_equal_those_of_a_library(x, expected):
    found = block_lengths(x)
    assert (found.stationary, found.circular) == pytest.approx(expected, rel=1e-7)


def test_a_series_too_short_or_still_is_taken_value_by_value():
    assert block_lengths(np.arange(5.0)).stationary == 1
    assert block_lengths(np.full(100, 0.1)).circular == 1


def coverage(phi, block):
    """How often a 95 % interval for the mean holds the true mean, 0, of 300 autoregressive series."""
    series = autoregressive(chance(3).standard_normal((300, 400)), phi)
    found = [interval(x, "mean", resamples=400, block=block, seed=i) for i, x in enumerate(series)]
    return np.mean([each.low <= 0 <= each.high for each in found])


@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_intervals_hold_the_truth_as_often_as_they_say(phi):
    # the binomial error of 300 is 1.3 %; percentile intervals of dependent data fall a little short
    assert 0.89 <= coverage(phi, None) <= 0.985


def test_without_blocks_dependence_is_missed():
    # independent resampling sees a third of the variance, so 95 % becomes about 74 %
    assert coverage(0.5, 1.0) < 0.82


def test_the_spread_of_the_mean_is_that_of_theory():
    x = chance(5).standard_normal(500)
    found = interval(x, "mean", block=1.0, resamples=20_000)
    # 2 x 1.96 standard errors of the mean with the deviation of the sample itself
    assert found.high - found.low == pytest.approx(2 * 1.96 * x.std() / np.sqrt(500), rel=0.03)


def test_the_variance_of_the_stationary_bootstrap_is_its_closed_form():
    # Politis and Romano (1994), lemma 1: sum of (1 - |k|/n)-weighted circular autocovariances with
    # b(k) = (1 - k/n)(1 - p)^k + k/n (1 - p)^(n - k)
    x, n, p = SMOOTH, len(SMOOTH), 1 / 8
    eps = x - x.mean()
    circular = np.array([eps @ np.roll(eps, -k) for k in range(n)]) / n
    k = np.arange(1, n)
    closed = (circular[0] + 2 * np.sum((1 - k / n) * (1 - p) ** k * circular[1:])) / n
    means = np.concatenate([r.mean(axis=1) for r in resampled(x, 8.0, 40_000)])
    assert means.var() == pytest.approx(closed, rel=0.04)


@pytest.mark.parametrize("kind", ["stationary", "circular"])
def test_the_same_seed_gives_the_same_interval(kind):
    first, again, other = (
        interval(WAVE, "sharpe", kind=kind, seed=s, resamples=500) for s in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_draws_are_the_same_on_every_platform():
    # drawn once with numpy 2.4.6 on x86-64; a change here means old reports cannot be repeated
    rows = np.concatenate(list(resampled(np.arange(6.0), 3.0, 2, seed=11)))
    assert rows.astype(int).tolist() == [[3, 0, 1, 2, 3, 4], [3, 0, 1, 4, 5, 0]]


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=50),
    st.sampled_from(["stationary", "circular"]),
    st.integers(1, 2**32 - 1),
    st.data(),
)
def test_resamples_are_blocks_of_the_data(x, kind, seed, data):
    block = data.draw(st.integers(1, len(x)))
    rows = np.concatenate(list(resampled(np.array(x), block, 7, kind=kind, seed=seed)))
    assert rows.shape == (7, len(x))
    assert set(rows.ravel().tolist()) <= set(x)


def test_circular_blocks_are_whole_and_run_over_the_end():
    x = np.arange(10.0)
    rows = np.concatenate(list(resampled(x, 5, 200, kind="circular")))
    steps = np.diff(rows.reshape(200, 2, 5), axis=2) % 10
    assert (steps == 1).all()
    assert (np.diff(rows[:, :5], axis=1) < 0).any()


def test_stationary_blocks_have_their_mean_length():
    rows = np.concatenate(list(resampled(np.arange(1000.0), 20.0, 200, seed=4)))
    breaks = (np.diff(rows, axis=1) % 1000 != 1).mean()
    assert 1 / breaks == pytest.approx(20, rel=0.05)


def test_statistics_agree_with_the_metrics():
    x = 0.01 * WAVE + 0.001
    values = {name: float(compute(x[None, :])[0]) for name, compute in STATISTICS.items()}
    assert values["sharpe"] == pytest.approx(sharpe(x), rel=1e-9)
    assert values["total_return"] == pytest.approx(np.prod(1 + x) - 1)
    assert values["mean"] == pytest.approx(x.mean())
    # by hand: 1.1, 0.55, 0.66 falls by half
    assert STATISTICS["max_drawdown"](np.array([[0.1, -0.5, 0.2]]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "x, block, resamples",
    [
        ([1.0], 1, 10),
        ([1.0, 2.0], 3, 10),
        ([1.0, 2.0], 0.5, 10),
        ([1.0, np.nan], 1, 10),
        ([1.0, 2.0], 1, 0),
    ],
)
def test_what_cannot_be_resampled_is_refused(x, block, resamples):
    with pytest.raises(DomainError):
        list(resampled(np.array(x), block, resamples))


def test_an_unknown_kind_is_refused():
    with pytest.raises(DomainError, match="moving"):
        list(resampled(WAVE, 2, 10, kind="moving"))
