"""Floats as whole steps: against decimals written out, and against the kit's other way there."""

import re
from decimal import Decimal

import numpy as np
import pytest

from tgtqr_lib.backtest.exact import price_steps, rows_before_gaps, whole_minutes
from tgtqr_lib.domain import DataError
from tgtqr_lib.market.steps import to_steps

MINUTE = 60_000


@pytest.mark.parametrize("decimals", range(7))
def test_steps_are_the_digits_of_the_price(decimals):
    rng = np.random.default_rng(decimals)
    digits = rng.integers(1, 10**9, 4000)
    digits[2017] = digits[2017] // 10 * 10 + 1  # one price at least needs every decimal
    floats = np.array([float(Decimal(int(d)).scaleb(-decimals)) for d in digits])
    (first, second), found, rounded = price_steps(floats[:1000], floats[1000:])
    assert (found, rounded) == (decimals, 0)
    np.testing.assert_array_equal(np.concatenate([first, second]), digits)


def test_what_one_price_in_many_needs_is_found():
    floats = np.full(50_000, 100.5)
    floats[31_337] = 100.123456
    (steps,), decimals, rounded = price_steps(floats)
    assert (decimals, rounded) == (6, 0)
    assert (steps[0], steps[31_337]) == (100_500_000, 100_123_456)


def test_more_than_six_decimals_are_rounded_and_counted():
    floats = np.array([1.1234567, 2.5, 3.0000004])
    (steps,), decimals, rounded = price_steps(floats)
    assert (steps.tolist(), decimals, rounded) == ([1_123_457, 2_500_000, 3_000_000], 6, 2)


def test_both_ways_there_agree():
    rng = np.random.default_rng(8)
    floats = np.round(np.exp(rng.normal(5, 2, 20_000)), 5)
    expected, decimals, rounded = to_steps(floats)
    (steps,), *found = price_steps(floats)
    assert found == [decimals, rounded]
    np.testing.assert_array_equal(steps, expected)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 0.0, -1.5, 1e-9, 1e16])
def test_a_price_that_cannot_be_is_named_with_its_row(odd):
    floats = np.full(3000, 7.25)
    floats[2500] = odd
    with pytest.raises(DataError, match=re.escape(f"{odd} at row 2500")):
        price_steps(floats)


def test_pieces_are_one_column():
    floats = np.array([1.5, 2.25, 3.125, 4.0])
    whole, pieces = price_steps(floats), price_steps([floats[:1], floats[1:3], floats[3:]])
    assert whole[1:] == pieces[1:] == (3, 0)
    np.testing.assert_array_equal(pieces[0][0], [1500, 2250, 3125, 4000])


@pytest.mark.parametrize("per_ms", [1, 1000, 1_000_000])
def test_times_become_ms_and_pieces_go_on(per_ms):
    ms = np.array([0, 1, 2, 5, 6, 100], np.int64) * MINUTE
    out = np.empty_like(ms)
    assert whole_minutes(ms[:3] * per_ms, per_ms, out, 0) == (-1, MINUTE)
    assert whole_minutes(ms[3:] * per_ms, per_ms, out, 3) == (-1, MINUTE)
    np.testing.assert_array_equal(out, ms)


@pytest.mark.parametrize("minutes, least", [([0, 2, 1], -1), ([0, 1, 1], 0), ([0, 5, 15], 5)])
def test_the_least_step_is_told_also_between_pieces(minutes, least):
    times, out = np.array(minutes, np.int64) * MINUTE, np.empty(3, np.int64)
    assert whole_minutes(times, 1, out, 0) == (-1, least * MINUTE)
    parts = [whole_minutes(times[a : a + 1], 1, out, a)[1] for a in range(3)]
    assert min(parts) == least * MINUTE


@pytest.mark.parametrize("odd", [-MINUTE, 30_000, 120_001])
def test_a_time_that_is_no_minute_is_found(odd):
    times = np.array([0, MINUTE, odd, 3 * MINUTE], np.int64)
    assert whole_minutes(times, 1, np.empty(4, np.int64), 0)[0] == 2


def test_gaps_are_found_where_they_are():
    times = np.array([0, 1, 4, 5, 6, 9], np.int64) * MINUTE
    assert rows_before_gaps(times, MINUTE).tolist() == [1, 4]
    assert rows_before_gaps(times[2:5], MINUTE).tolist() == []
    assert rows_before_gaps(times[:1], MINUTE).tolist() == []
