"""Random entries of equal exposure: exact p-values, uniform under the null, small for a rule that knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backtest.test_metrics import T0, a_study
from tgtqr_lib.backtest.significance import (
    METHODS,
    _placed,
    against_random_entries,
    of_study,
    p_value,
)
from tgtqr_lib.domain import MINUTE_MS, Candles, DomainError


def chance(seed):
    return np.random.Generator(np.random.PCG64(seed))


def walk(rows, seed):
    """(rows + 1,) log prices of a random walk."""
    return np.concatenate([[0.0], np.cumsum(chance(seed).normal(0, 0.01, rows))])


def holds(rows, count, seed):
    """`count` random holds that do not overlap, as entries and exits."""
    places = np.sort(chance(seed).choice(rows, 2 * count, replace=False))
    return places[::2], places[1::2]


@pytest.mark.parametrize(
    "observed, random, expected",
    [
        (1.0, [0.0, 0.5, 0.9], 1 / 4),
        (0.5, [0.0, 0.5, 0.9], 3 / 4),  # a tie is as good
        (-1.0, [0.0, 0.5, 0.9], 1.0),
    ],
)
def test_the_rule_itself_is_counted(observed, random, expected):
    assert p_value(observed, np.array(random)) == expected


@pytest.mark.parametrize("method", METHODS)
def test_p_values_are_uniform_when_entries_are_random(method):
    found = np.array(
        [
            against_random_entries(
                walk(300, i), *holds(300, 8, 1000 + i), method=method, draws=199, seed=i
            ).p_value
            for i in range(400)
        ]
    )
    # Kolmogorov-Smirnov: 1.63 / sqrt(400) is passed by one in a hundred; the seed is fixed
    at = np.sort(found)
    distance = np.max(np.abs(at - np.arange(1, 401) / 400))
    assert distance < 1.63 / np.sqrt(400)
    assert 0.02 <= (found <= 0.05).mean() <= 0.085


@pytest.mark.parametrize("method", METHODS)
def test_a_rule_that_knows_the_future_stands_out(method):
    price = walk(400, 1)
    rises = np.flatnonzero(np.diff(price) > 0)
    starts = rises[np.diff(rises, prepend=-9) > 1]
    ends = np.array([np.flatnonzero(np.diff(price)[s:] <= 0)[0] + s for s in starts[:40]])
    found = against_random_entries(price, starts[:40], ends, method=method, draws=499)
    assert found.p_value == 1 / 500


@pytest.mark.parametrize("method", METHODS)
def test_a_rule_that_is_always_wrong_is_beaten_by_all(method):
    price = walk(400, 1)
    falls = np.flatnonzero(np.diff(price) < -0.01)[::3]
    assert against_random_entries(price, falls, falls + 1, method=method, draws=199).p_value == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_steady_rise_rewards_exposure_not_timing(method):
    # every hold of so many rows earns the same, so all random rules tie
    price = 0.001 * np.arange(201.0)
    found = against_random_entries(price, [10, 50], [20, 80], method=method, draws=99)
    assert found.observed == pytest.approx(0.04)
    assert found.mean == pytest.approx(0.04) and found.spread == pytest.approx(0, abs=1e-12)
    assert found.p_value == 1
    assert found.exposure == 0.2


def test_shifts_of_a_known_series_are_those_by_hand():
    # returns 1, 0, 0, 0 around a circle, held for one row: of the shifts by 1, 2 and 3 none earns it
    price = np.array([0.0, 1.0, 1.0, 1.0, 1.0])
    found = against_random_entries(price, [0], [1], method="shift", draws=300)
    assert found.observed == 1 and found.mean == 0 and found.p_value == 1 / 301
    # held before the rise, one shift in three earns it
    found = against_random_entries(price, [3], [4], method="shift", draws=3000)
    assert found.mean == pytest.approx(1 / 3, abs=0.04)


@given(st.integers(1, 8), st.integers(0, 30), st.integers(0, 2**32 - 1), st.data())
def test_placements_keep_every_hold_and_never_overlap(count, free, seed, data):
    length = np.array(data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count)))
    rows = int(length.sum()) + free
    begin = _placed(np.broadcast_to(length, (50, count)), rows, chance(seed))
    assert (begin >= 0).all() and (begin + length <= rows).all()
    assert (begin[:, 1:] >= (begin + length)[:, :-1]).all()


def test_one_hold_is_placed_everywhere_alike():
    begin = _placed(np.full((20_000, 1), 3), 12, chance(2))
    counts = np.bincount(begin[:, 0], minlength=10)
    assert len(counts) == 10
    # chi-squared with 9 degrees of freedom: 21.7 is passed by one in a hundred
    assert np.sum((counts - 2000) ** 2 / 2000) < 21.7


def test_the_same_seed_gives_the_same_answer():
    price, (entries, exits) = walk(300, 3), holds(300, 10, 4)
    first, again, other = (
        against_random_entries(price, entries, exits, draws=99, seed=s) for s in (1, 1, 2)
    )
    assert first == again and first != other


@pytest.mark.parametrize(
    "entries, exits, why",
    [
        ([], [], "nothing to test"),
        ([5], [5], "not after its entry"),
        ([5], [101], "outside"),
        ([5, 8], [9, 12], "overlap"),
        ([0], [100], "always holds"),
    ],
)
def test_what_cannot_be_tested_is_refused(entries, exits, why):
    with pytest.raises(DomainError, match=why):
        against_random_entries(walk(100, 1), entries, exits)


def test_a_study_is_tested_on_the_opens_at_which_it_traded():
    steps = np.arange(100, 150, dtype=np.int64)
    at = T0 + MINUTE_MS * np.arange(50)
    candles = Candles("BTCUSDT", 1, at, steps, steps, steps, steps, steps)
    first, last, end = at[10], at[20], at[30]
    # a trim at row 20 and the rest at row 30 are one position
    trades = [(first, last, 1.0, 11.0, 12.0, 0.0), (first, end, 1.0, 11.0, 13.0, 0.0)]
    found = of_study(a_study(np.full(50, 10.0), trades, at_ms=at + MINUTE_MS), candles, draws=99)
    assert found.trades == 1
    assert found.observed == pytest.approx(np.log(130 / 110))
    assert found.text.startswith("Before costs its 1 holds earned +18.18%")


def test_the_words_count_the_rules_that_did_worse():
    # 400 random rules at least as good of 1,000, and the rule itself: p = 401 / 1001, better than 600
    one = against_random_entries(walk(100, 1), [10], [20], draws=9)
    text = replace(one, draws=1000, p_value=401 / 1001).text
    assert "did better than 600 of them (p = 0.4006, which counts it among them)" in text
