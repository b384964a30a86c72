"""The signal against exact fractions: no rounding, no overflow, both edges of the band."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.signals.moving_average import long_flat_hold, trailing_sum

NAN = float("nan")


def by_fractions(closes, window, band_bps):
    """The rule of the design, row by row, in exact fractions; NaN where the window is short."""
    band = Fraction(band_bps, 10_000)
    expected = []
    for row, close in enumerate(closes):
        if row + 1 < window:
            expected.append(NAN)
            continue
        mean = Fraction(sum(closes[row + 1 - window : row + 1]), window)
        above, below = close > mean * (1 + band), close < mean * (1 - band)
        expected.append(1.0 if above else 0.0 if below else NAN)
    return expected


def signal(closes, window, band_bps=0):
    steps = np.array(closes, dtype=np.int64)
    valid = np.arange(len(steps)) + 1 >= window
    return long_flat_hold(steps, window, band_bps, valid)


closes_of_any_size = st.one_of(
    st.lists(st.integers(1, 4), max_size=40),  # so few values that ties are common
    st.lists(st.integers(99_000, 101_000), max_size=40),
    st.lists(st.integers(1, 10**12), max_size=40),
    st.lists(st.integers(10**15, 10**15 + 3), max_size=40),  # overflows int64 when scaled
)


@given(closes=closes_of_any_size, window=st.integers(1, 12), band_bps=st.integers(0, 1000))
def test_the_signal_equals_exact_fractions(closes, window, band_bps):
    np.testing.assert_array_equal(
        signal(closes, window, band_bps), by_fractions(closes, window, band_bps)
    )


@given(closes=closes_of_any_size, window=st.integers(1, 12))
def test_without_a_band_only_an_exact_tie_holds(closes, window):
    np.testing.assert_array_equal(signal(closes, window), by_fractions(closes, window, 0))


@pytest.mark.parametrize("last_but_one, expected", [(7, NAN), (6, 1.0), (8, 0.0)])
def test_a_tie_of_sixty_minutes_holds_and_one_step_in_one_minute_decides(last_but_one, expected):
    # 6 and 8 in turn for 58 minutes make 406; with 7 and 7 the sum is 420 = 60 x 7, a tie
    closes = [6, 8] * 29 + [last_but_one, 7]
    np.testing.assert_array_equal(signal(closes, 60)[-1], expected)


@pytest.mark.parametrize(
    "before, last, expected",
    [
        # upper edge: the mean is 100000 and 1.01 x 100000 = 101000, not above it
        (99_000, 101_000, NAN),
        (99_000, 101_001, 1.0),  # 1.01 x 100000.5 = 101000.505
        (99_000, 100_999, NAN),  # 1.01 x  99999.5 = 100999.495 is above 100999
        # lower edge: the mean is 100000 and 0.99 x 100000 = 99000, not below it
        (101_000, 99_000, NAN),
        (101_000, 98_999, 0.0),  # 0.99 x 99999.5 = 98999.505
        (101_000, 99_001, NAN),  # 0.99 x 100000.5 = 99000.495
    ],
)
def test_the_band_holds_on_both_its_edges(before, last, expected):
    assert signal([before, last], 2, band_bps=100)[-1] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    "before, last, expected",
    [
        # 10,000 x 1440 x 9.3e11 = 1.3e19 does not fit int64, 10,000 x the sum (8.6e18) does
        (6 * 10**11, 93 * 10**10, 1.0),
        (93 * 10**10, 6 * 10**11, 0.0),
        (10**12, 10**12 + 1, 1.0),
        (10**12, 10**12 - 1, 0.0),
        (10**12, 10**12, NAN),
    ],
)
def test_a_day_of_prices_at_six_decimals_does_not_overflow(before, last, expected):
    closes = [before] * 1439 + [last]
    np.testing.assert_array_equal(signal(closes, 1440)[-1], expected)


def test_the_band_itself_can_overflow_and_is_exact_all_the_same():
    # 11,000 x 800 x 1.1e12 = 9.7e18 does not fit, 10,000 x 800 x 1.1e12 = 8.8e18 does;
    # 799 x 1e12 + 1.1e12 = 8.001e14, mean 1.000125e12, x 1.1 = 1.1001375e12 > 1.1e12: inside the band
    closes = [10**12] * 799 + [11 * 10**11]
    assert np.isnan(signal(closes, 800, band_bps=1000)[-1])
    # the mean is (799e12 + 1.2e12)/800 = 1.00025e12, x 1.1 = 1.100275e12 < 1.2e12
    assert signal([10**12] * 799 + [12 * 10**11], 800, band_bps=1000)[-1] == 1.0


def test_rows_that_are_not_valid_hold():
    steps = np.array([1, 2, 3, 4], dtype=np.int64)
    valid = np.array([False, True, False, True])
    np.testing.assert_array_equal(long_flat_hold(steps, 2, 0, valid), [NAN, 1.0, NAN, 1.0])


def test_no_closes_give_no_targets():
    assert signal([], 60).shape == (0,)


@given(steps=st.lists(st.integers(0, 10**13), max_size=50), window=st.integers(1, 60))
def test_trailing_sums_equal_plain_sums(steps, window):
    expected = [
        sum(steps[row + 1 - window : row + 1]) if row + 1 >= window else 0
        for row in range(len(steps))
    ]
    got = trailing_sum(np.array(steps, dtype=np.int64), window)
    assert got.tolist() == expected


def test_five_years_of_minutes_at_six_decimals_are_summed_exactly():
    # 5 x 525,600 minutes at 150,000.000001 USDT: 3.9e17 steps in all, int64 ends at 9.2e18
    steps = np.full(5 * 525_600, 150_000_000_001, dtype=np.int64)
    assert trailing_sum(steps, 60)[-1] == 60 * 150_000_000_001
    assert trailing_sum(steps, 60)[59] == 60 * 150_000_000_001
