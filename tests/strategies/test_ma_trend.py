"""The seed strategy: long above the mean of the last hour, flat below, and when it holds."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import candles
from tgtqr_lib.domain import History
from tgtqr_lib.strategies import STRATEGIES

ma_trend = STRATEGIES["ma_trend"]


def last_target(closes, **parameters):
    return ma_trend(History(candles(closes, decimals=0)), **parameters)[-1]


def test_the_seed_strategy_is_a_one_hour_average_without_a_band():
    assert ma_trend.checked({}) == {"window": 60, "band_bps": 0}
    assert ma_trend.lookback(**ma_trend.checked({})) == 60


@pytest.mark.parametrize(
    "closes, expected",
    [
        ([100] * 59 + [101], 1.0),
        ([100] * 59 + [99], 0.0),
        ([100] * 60, np.nan),
        ([100] * 58 + [101], np.nan),  # 59 minutes are not an hour
        # the 61st minute back is not in the mean: 1,000,000 there would make anything flat
        ([1_000_000] + [100] * 59 + [101], 1.0),
        # the 60th minute back is: mean (700 + 58 x 100 + 101) / 60 = 110.02
        ([700] + [100] * 58 + [101], 0.0),
        # the current close is in the mean too: (59 x 100 + 160) / 60 = 101
        ([100] * 59 + [160], 1.0),
    ],
)
def test_the_last_hour_and_nothing_else_decides(closes, expected):
    np.testing.assert_array_equal(last_target(closes), expected)


@pytest.mark.parametrize("last, expected", [(100_000, np.nan), (100_050, np.nan), (100_060, 1.0)])
def test_inside_the_band_it_holds(last, expected):
    # mean of 59 x 100000 and 100060 is 100001, 5 bps above it is 100051.0005
    closes = [100_000] * 59 + [last]
    np.testing.assert_array_equal(last_target(closes, band_bps=5), expected)


@pytest.mark.parametrize("ago, expected", [(60, 1.0), (59, np.nan), (30, np.nan), (1, np.nan)])
def test_one_missing_minute_in_the_window_holds(ago, expected):
    # given 90 minutes, of which the one `ago` minutes before the last is missing
    seen = candles([100] * 89 + [101], decimals=0, missing=[-1 - ago])
    # then only a gap outside the last 60 minutes leaves the signal alone
    np.testing.assert_array_equal(ma_trend(History(seen))[-1], expected)


@settings(max_examples=60)
@given(
    closes=st.lists(st.integers(995, 1005), min_size=1, max_size=80),
    holes=st.sets(st.integers(0, 78), max_size=3),
    window=st.integers(2, 20),
    band_bps=st.sampled_from([0, 1, 25, 1000]),
)
def test_every_row_equals_fractions_over_the_minutes_that_are_there(
    closes, holes, window, band_bps
):
    seen = candles(closes, decimals=0, missing=[h for h in holes if h < len(closes) - 1])
    by_minute = {int(t) // 60_000: int(c) for t, c in zip(seen.open_ms, seen.close, strict=True)}
    expected = []
    for minute, close in by_minute.items():
        window_closes = [by_minute.get(minute - back) for back in range(window)]
        if None in window_closes:
            expected.append(np.nan)
            continue
        mean, band = Fraction(sum(window_closes), window), Fraction(band_bps, 10_000)
        up, down = close > mean * (1 + band), close < mean * (1 - band)
        expected.append(1.0 if up else 0.0 if down else np.nan)
    got = ma_trend(History(seen), window=window, band_bps=band_bps)
    np.testing.assert_array_equal(got, expected)


def test_the_reference_is_the_mean_of_the_last_window_as_a_fraction():
    history = History(candles([1, 10, 11, 13], decimals=0))
    assert ma_trend.reference(history, window=3, band_bps=0) == Fraction(34, 3)
    assert ma_trend.reference(history, window=5, band_bps=0) is None
    gapped = History(candles([1, 10, 11, 13], decimals=0, missing=[2]))
    assert ma_trend.reference(gapped, window=3, band_bps=0) is None
    assert ma_trend.reference(History(candles([], decimals=0)), window=3, band_bps=0) is None
