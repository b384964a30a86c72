"""Basis, realised volatility, volume and predicted funding; and what every entry of SIGNALS promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib.domain import Funding, History
from tgtqr_lib.signals import FILES, SIGNALS
from tgtqr_lib.signals.predicted_funding import rate_of

NEEDS = {"volume", "funding", "book", "perpetual"}


def test_every_indicator_says_what_it_is_and_stands_under_its_own_name():
    assert sum(len(file.INDICATORS) for file in FILES) == len(SIGNALS)  # no name twice
    for name, indicator in SIGNALS.items():
        assert indicator.name == name and indicator.text and indicator.unit and indicator.source
        assert set(indicator.needs) <= NEEDS


@pytest.mark.parametrize("name", SIGNALS)
def test_it_gives_a_float_a_row_and_is_absent_where_its_data_are(name):
    seen = candles([100_000 + (i * 7919) % 101 for i in range(1500)], decimals=1)
    bare = History(replace(seen, volume=np.zeros(1500, dtype=np.int64)))
    found = SIGNALS[name](bare)
    assert found.shape == (1500,) and found.dtype == np.float64
    assert np.isnan(found).all() or not SIGNALS[name].needs


def test_basis_is_perpetual_over_spot_in_basis_points():
    spot, perpetual = candles([10_000, 20_000, 30_000]), candles([10_001, 20_002, 29_991])
    found = SIGNALS["basis"](History(spot, perpetual=perpetual))
    np.testing.assert_allclose(found, [1.0, 1.0, -3.0], rtol=1e-9)


def test_a_minute_that_the_perpetual_lacks_has_no_basis():
    spot = candles([10_000] * 4)
    found = SIGNALS["basis"](History(spot, perpetual=candles([10_000] * 4, missing=[1])))
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, False])


def test_prices_in_other_steps_are_the_same_prices():
    spot, perpetual = candles([10_000] * 2, decimals=0), candles([10_001] * 2, decimals=1)
    assert SIGNALS["basis"](History(spot, perpetual=perpetual))[-1] == pytest.approx(1.0)


def test_realised_volatility_is_the_root_of_squared_returns_a_year():
    # up and down by the same factor: sixty equal squares
    history = History(candles([100_000, 101_000] * 31, decimals=0))
    step = math.log(101_000 / 100_000)
    found = SIGNALS["realised_volatility_1h"](history)
    assert np.isnan(found[:60]).all()
    assert found[60] == pytest.approx(math.sqrt(step**2 * 365 * 24 * 60))


def test_a_gap_takes_the_hours_volatility_away():
    history = History(candles([100 + i % 3 for i in range(200)], decimals=0, missing=[100]))
    found = SIGNALS["realised_volatility_1h"](history)
    # the 60 minutes after the gap begin a new hour of 61 closes
    assert not np.isnan(found[99]) and np.isnan(found[100:160]).all() and not np.isnan(found[160])


def test_volume_of_the_hour_and_against_the_day():
    seen = candles([100] * 1500, decimals=0)
    volume = np.full(1500, 1_000_000, dtype=np.int64)
    volume[-60:] = 3_000_000
    history = History(replace(seen, volume=volume))
    assert SIGNALS["volume_1h"](history)[-1] == pytest.approx(180.0)
    # the day: 1380 minutes of 1 and 60 of 3, 65 an hour
    assert SIGNALS["relative_volume_1h"](history)[-1] == pytest.approx(180 / 65)
    assert np.isnan(SIGNALS["relative_volume_1h"](history)[1438])


def test_the_funding_in_sight_is_that_of_the_premiums_since_the_last_settlement():
    # candles up to 10:15: the interval began at 08:00, 135 minutes ago
    spot = candles([1_000_000] * 200, decimals=0)
    steps = [1_000_000 + (i * 131) % 2000 for i in range(200)]
    found = SIGNALS["funding_predicted"](History(spot, perpetual=candles(steps, decimals=0)))
    premiums = np.array([step / 1_000_000 - 1 for step in steps[-135:]])
    assert found[-1] == pytest.approx(rate_of(premiums) / 1e8 * 1e4)


def test_an_indicator_does_not_know_what_comes_after_its_row():
    closes = [100_000 + (i * 7919) % 101 for i in range(1500)]
    seen, other = candles(closes), candles([close + 7 for close in closes])
    at = int(seen.open_ms[0]) // 28_800_000 * 28_800_000 + np.arange(-25, 4) * 28_800_000
    funding = Funding(at, np.arange(29) * 10_000, np.full(29, 480))
    whole = History(seen, funding, None, other)
    for name, indicator in SIGNALS.items():
        cut = History(
            seen.head(1400), funding[at < int(seen.open_ms[1400])], None, other.head(1400)
        )
        np.testing.assert_array_equal(indicator(cut), indicator(whole)[:1400], err_msg=name)
