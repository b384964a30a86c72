"""research.history(): the lake's candles when it has some, made-up ones otherwise, and it says which."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib import research
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.market.synthetic import SyntheticSource

JUNE_2 = datetime(2025, 6, 2, tzinfo=UTC)
DAY_MS = 86_400_000


def three_days(market="spot", symbol="BTCUSDT"):
    return candles([100 + i % 7 for i in range(3 * 1440)], symbol, until=JUNE_2, market=market)


def test_an_empty_lake_gives_made_up_minutes_and_says_so(home):
    past = research.history("ETHUSDT", home, days=2)

    rows = SyntheticSource(1).candles("ETHUSDT", 1_767_052_800_000, 1_767_225_600_000)  # 30, 31 Dec
    np.testing.assert_array_equal(past.candles.close, rows["close"])
    np.testing.assert_array_equal(past.candles.open_ms, rows["open_ms"])
    assert past.made_up
    assert past.label == (
        "ETHUSDT spot, 2,880 made-up minutes, 2025-12-30 to 2025-12-31 UTC "
        "(synthetic market, seed 1)"
    )
    assert "No market traded at these prices" in past._repr_markdown_()


def test_a_lake_gives_its_own_last_days_and_says_where_they_came_from(home):
    whole = three_days()
    Lake(home.candles).write(whole, "an exchange")

    past = research.history("BTCUSDT", home, days=2)

    assert not past.made_up
    np.testing.assert_array_equal(past.candles.open_ms, whole.open_ms[1440:])
    np.testing.assert_array_equal(
        past.candles.close * 10 ** (1 - past.candles.decimals), whole.close[1440:]
    )
    assert past.label == (
        "BTCUSDT spot, 2,880 recorded minutes, 2025-05-31 to 2025-06-01 UTC (from an exchange)"
    )
    assert "made" not in past._repr_markdown_()
    assert past.days == 2


def test_a_lake_with_less_than_was_asked_for_gives_what_it_has(home):
    Lake(home.candles).write(three_days(), "an exchange")

    assert len(research.history("BTCUSDT", home, days=365).candles) == 3 * 1440
    assert research.history("ETHUSDT", home, days=1).made_up  # the other symbol has none


def test_the_last_days_of_a_past_are_its_last_days(home):
    past = research.history("BTCUSDT", home, days=3)

    assert len(past.last(1).candles) == 1440
    assert past.last(1).candles.open_ms[-1] == past.candles.open_ms[-1]
    assert len(past.last(99).candles) == 3 * 1440


def test_a_perpetual_comes_with_its_funding_or_a_word_about_it(home):
    Lake(home.candles).write(three_days("linear"), "an exchange")

    without = research.history("BTCUSDT", home, 3, "linear")
    at = int(JUNE_2.timestamp() * 1000) - np.array([2, 1]) * DAY_MS
    rates = FundingRates.of("BTCUSDT", at, [1_000_000, 2_000_000], 480, "an exchange")
    FundingLake(home.funding).write(rates)
    funded = research.history("BTCUSDT", home, 3, "linear")

    assert without.funding == {} and "no funding is in the lake" in without.label
    assert funded.funding["BTCUSDT"].units.tolist() == [1_000_000, 2_000_000]
    assert "no funding" not in funded.label


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"symbol": "DOGEUSDT"}, "symbol 'DOGEUSDT' is unknown; expected one of BTCUSDT, ETHUSDT"),
        ({"market": "moon"}, "market 'moon' is unknown; expected one of spot, linear"),
        ({"days": 0}, "days 0 is out of range; expected a whole number, 1 to 3650"),
        ({"days": 1.5}, "days 1.5 is out of range"),
    ],
)
def test_what_cannot_be_asked_for_is_told_in_a_sentence(home, asked, words):
    with pytest.raises(DomainError) as error:
        research.history(home=home, **asked)

    assert words in str(error.value)


def test_there_is_no_made_up_perpetual(home):
    with pytest.raises(DataError, match="no candle of BTCUSDT linear, and made-up history is spot"):
        research.history(home=home, market="linear")
