"""The funding formula: by hand at every edge, by fractions everywhere, minute by minute as at the settlement."""

from fractions import Fraction as F
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.signals.predicted_funding import INTERVALS, along, interest_of, made_of, rate_of

MINUTE = 60_000
MIDNIGHT = 1_748_736_000_000  # 2025-06-01T00:00Z


def by_hand(units, minutes, cap=375_000):
    """The formula as Bybit writes it, with fractions; `units` are premiums in 1e-12."""
    weights = range(1, len(units) + 1)
    average = F(sum(w * u for w, u in zip(weights, units, strict=True)), 10**12 * sum(weights))
    interest = F(3, 10_000) / F(1440, minutes)
    rate = average + min(max(interest - average, F(-5, 10_000)), F(5, 10_000))
    return min(max(floor(rate * 10**8 + F(1, 2)), -cap), cap)


def flat(premium, count=480):
    return np.full(count, premium)


@pytest.mark.parametrize(
    "minutes, interest",
    [(480, 100_000_000), (240, 50_000_000), (120, 25_000_000), (60, 12_500_000)],
)
def test_the_interest_is_three_hundredths_of_a_percent_a_day(minutes, interest):
    assert interest_of(minutes) == interest  # in 1e-12: 0.01 %, 0.005 %, 0.0025 % and 0.00125 %


@pytest.mark.parametrize(
    "premium, rate",
    [
        (0.0, 10_000),  # 0 + clamp(0.01 %)
        (0.0006, 10_000),  # the upper edge of the dead zone: 0.01 % + 0.05 %
        (0.000600004999, 10_000),  # 10000.4999 units
        (0.000600005, 10_001),  # 10000.5, half up
        (-0.0004, 10_000),  # the lower edge
        (-0.000400005, 10_000),  # 9999.5, half up
        (-0.000400005001, 9_999),
        (-0.0005, 0),  # -0.05 % + 0.05 %
        (-0.000500005, 0),  # -0.5 units, half up
        (-0.000500005001, -1),
        (0.00425, 375_000),  # 0.425 % - 0.05 %: at the limit, not beyond it
        (0.005, 375_000),
        (-0.00425, -375_000),
        (-0.5, -375_000),
    ],
)
def test_the_rate_of_a_steady_premium_is_what_the_formula_says(premium, rate):
    assert rate_of(flat(premium)) == rate


@pytest.mark.parametrize("minutes", INTERVALS)
@pytest.mark.parametrize("side, rate_beyond", [(1, 1), (-1, -1)])
def test_the_dead_zone_lies_around_the_interest_of_the_interval(minutes, side, rate_beyond):
    edge = minutes / 480 * 0.0001 + side * 0.0005
    interest = minutes * 10_000 // 480  # 1e-8
    made = made_of(flat(edge, minutes), minutes)
    assert (made.rate, made.at_interest) == (interest, True)
    beyond = made_of(flat(edge + side * 1e-8, minutes), minutes)
    assert (beyond.rate, beyond.at_interest) == (interest + rate_beyond, False)


def test_later_minutes_weigh_more():
    # weights 1 and 2 of 3: 0.1 % - 0.05 %, and 0.2 % - 0.05 %
    assert rate_of(np.array([0.003, 0.0])) == 50_000
    assert rate_of(np.array([0.0, 0.003])) == 150_000


def test_the_limits_are_the_symbols_own():
    assert rate_of(flat(0.03), upper=2_000_000) == 2_000_000
    assert rate_of(flat(0.01), upper=2_000_000) == 950_000  # 1 % - 0.05 %
    assert rate_of(flat(-0.03), upper=2_000_000, lower=-1_000_000) == -1_000_000
    assert rate_of(flat(-0.03), upper=2_000_000) == -2_000_000
    made = made_of(flat(0.01))
    assert (made.rate, made.free, made.held) == (375_000, 9_500_000_000, True)
    assert not made_of(flat(0.00425)).held


def test_every_step_is_told():
    made = made_of(np.array([0.0003, 0.0009]))
    # (1 x 0.0003 + 2 x 0.0009) / 3 = 0.0007; 0.0001 - 0.0007 = -0.0006, pulled by -0.0005 to 0.0002
    assert (made.minutes, made.count) == (480, 2)
    assert (made.average, made.interest) == (700_000_000, 100_000_000)
    assert (made.pulled, made.free, made.rate) == (-500_000_000, 200_000_000, 20_000)
    assert not made.at_interest and not made.held


@settings(max_examples=200)
@given(
    minutes=st.sampled_from(INTERVALS),
    centre=st.sampled_from(
        [-(10**10), -400_000_000, 0, 600_000_000, 4_250_000_000, 10**12 - 10**9]
    ),
    spread=st.sampled_from([0, 1, 10**4, 10**9]),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_it_equals_the_formula_in_fractions(minutes, centre, spread, seed, data):
    count = data.draw(st.integers(1, minutes))
    draw = np.random.default_rng(seed)
    units = centre + draw.integers(-spread, spread, count, endpoint=True)
    assert rate_of(units / 10**12, minutes) == by_hand(units.tolist(), minutes)


@pytest.mark.parametrize(
    "premiums, minutes, kind, sentence",
    [
        ([], 480, DataError, "no premium was given; expected one a minute"),
        (
            [0.0, float("nan")],
            480,
            DataError,
            "premium nan of minute 2 is no fraction of the price",
        ),
        ([float("inf")], 480, DataError, "premium inf of minute 1"),
        ([-1.5], 480, DataError, "premium -1.5 of minute 1"),
        ([0.0], 90, DomainError, "interval of 90 minutes; expected one of"),
        ([0.0], 8, DomainError, "interval of 8 minutes"),
        ([0.0], True, DomainError, "interval of True minutes"),
        ([0.0], None, DomainError, "interval of None minutes"),
        ([0.0] * 61, 60, DomainError, "61 premiums were given for an interval of 60 minutes"),
        ([[0.0]], 480, DomainError, r"shape \(1, 1\); expected \(n,\)"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(premiums, minutes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        made_of(np.array(premiums), minutes)


def test_limits_the_wrong_way_round_are_refused():
    with pytest.raises(DomainError, match="lower limit of the rate is 10 and the upper one -10"):
        rate_of(flat(0.0), upper=-10)


# minute by minute


def walk(count, start=MIDNIGHT, seed=1, spread=0.001):
    at = start + MINUTE * np.arange(count)
    return at, np.random.default_rng(seed).normal(0.0004, spread, count)


@pytest.mark.parametrize("minutes", INTERVALS)
def test_after_each_minute_it_is_the_rate_of_the_minutes_so_far(minutes):
    at, premiums = walk(3 * 480)
    found = along(at, premiums, minutes)
    for row in range(len(at)):
        first = row // minutes * minutes
        assert found[row] == rate_of(premiums[first : row + 1], minutes) / 1e8


def test_it_never_looks_ahead():
    at, premiums = walk(1000)
    whole = along(at, premiums)
    for cut in (1, 2, 479, 480, 481, 999):
        np.testing.assert_array_equal(along(at[:cut], premiums[:cut]), whole[:cut])


def test_nothing_is_known_before_the_first_settlement_in_sight():
    at, premiums = walk(600, start=MIDNIGHT + 100 * MINUTE)
    found = along(at, premiums)
    assert np.isnan(found[:380]).all()  # 01:40 to 07:59
    assert np.isfinite(found[380:]).all()
    assert found[380] == rate_of(premiums[380:381]) / 1e8


@pytest.mark.parametrize("hole", ["no row", float("nan"), float("inf"), 2.0])
def test_a_missing_minute_silences_the_rest_of_its_interval(hole):
    at, premiums = walk(1440)
    if hole == "no row":
        at, premiums = np.delete(at, 500), np.delete(premiums, 500)
        silent = slice(500, 959)  # from the minute after the missing one to 15:59
    else:
        premiums[500] = hole
        silent = slice(500, 960)
    expected = np.isfinite(along(at, premiums))
    assert not expected[silent].any()
    assert expected[: silent.start].all() and expected[silent.stop :].all()


def test_large_premiums_over_years_stay_exact():
    # 1e12 x 480 a minute: the running sum leaves 64 bits after 19,000 minutes
    at = MIDNIGHT + MINUTE * np.arange(120 * 480)
    premiums = np.where(np.arange(len(at)) % 480 < 240, 0.9, -0.9)
    premiums[-480:] = 0.0008
    found = along(at, premiums)
    assert found[-1] == 0.0003  # 0.08 % - 0.05 %
    assert (found[479:-480:480] == -0.00375).all()  # the later half weighs more


def test_none_in_none_out_and_odd_times_are_refused():
    assert along(np.array([], dtype=np.int64), np.array([])).shape == (0,)
    at, premiums = walk(3)
    with pytest.raises(DataError, match="not whole minutes in order"):
        along(at[::-1], premiums)
    with pytest.raises(DataError, match="not whole minutes in order"):
        along(at + 1, premiums)
    with pytest.raises(DataError, match="not whole minutes in order"):
        along(at[[0, 0, 1]], premiums)
    with pytest.raises(DomainError, match=r"premiums came with"):
        along(at, premiums[:2])
    with pytest.raises(DomainError, match="interval of 100 minutes"):
        along(at, premiums, 100)
