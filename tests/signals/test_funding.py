"""Funding indicators: which settlements a minute knows, whole weeks, changed intervals, gaps."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from statistics import pstdev

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import DomainError, Funding, History
from tgtqr_lib.signals import SIGNALS, funding_mean
from tgtqr_lib.signals.settled import frozen_funding, weeks

HOUR_MS = 3_600_000
NOON = datetime(2025, 6, 10, 12, tzinfo=UTC)
EIGHT = to_ms(datetime(2025, 6, 10, 8, tzinfo=UTC))


def every(hours: int, count: int, last_ms: int = EIGHT, rate=lambda i: 100 + i) -> Funding:
    """`count` settlements up to `last_ms`; rates in hundredths of a basis point, oldest first."""
    at = last_ms - np.arange(count)[::-1] * hours * HOUR_MS
    units = np.array([rate(i) * 10_000 for i in range(count)], dtype=np.int64)
    return Funding(at, units, np.full(count, hours * 60))


def joined(*parts: Funding) -> Funding:
    columns = zip(*((p.at_ms, p.units, p.minutes) for p in parts), strict=True)
    return Funding(*(np.concatenate(column) for column in columns))


def seen(funding: Funding | None, until: datetime = NOON, rows: int = 5) -> History:
    return History(candles([100] * rows, until=until, decimals=0), funding)


def test_the_rate_of_a_settlement_is_known_from_the_next_minute_on():
    # candles that close at 07:58, 07:59, 08:00, 08:01, 08:02
    until = datetime(2025, 6, 10, 8, 2, tzinfo=UTC)
    found = SIGNALS["funding_rate"](seen(every(8, 30), until))
    # the rate of 08:00 is 1.29 bps, the one before 1.28; at its own boundary it is not known yet
    np.testing.assert_allclose(found, [1.28, 1.28, 1.28, 1.29, 1.29], rtol=1e-12)


def test_the_week_is_twenty_one_settlements_of_eight_hours():
    found = SIGNALS["funding_mean_7d"](seen(every(8, 30)))[-1]
    # rates 1.09 to 1.29 bps: the mean of an even row is its middle
    assert found == pytest.approx(1.19, rel=1e-12)
    assert np.isnan(SIGNALS["funding_mean_7d"](seen(every(8, 20)))[-1])  # a settlement short
    assert not np.isnan(SIGNALS["funding_mean_7d"](seen(every(8, 21)))[-1])


def test_the_z_score_is_that_of_the_last_rate_in_its_week():
    rates = [100 + i for i in range(9, 30)]
    expected = (129 - sum(rates) / 21) / pstdev(rates)
    assert SIGNALS["funding_zscore_7d"](seen(every(8, 30)))[-1] == pytest.approx(expected)


def test_a_week_without_a_change_has_no_z_score():
    assert np.isnan(SIGNALS["funding_zscore_7d"](seen(every(8, 30, rate=lambda i: 100)))[-1])


def test_rates_of_a_shorter_interval_are_told_per_eight_hours():
    funding = every(4, 60)
    # 0.0159 % for 4 hours is twice that for 8
    assert SIGNALS["funding_rate"](seen(funding))[-1] == pytest.approx(2 * 1.59)
    # 42 settlements of 1.18 to 1.59 bps, each for 4 hours
    assert SIGNALS["funding_mean_7d"](seen(funding))[-1] == pytest.approx(2 * 1.385)


def test_a_changed_interval_is_weighed_by_its_time():
    # 60 settlements of 8 hours at 1 bp up to 2 days before, then 48 of one hour at 0.5 bps
    change = EIGHT - 48 * HOUR_MS
    old = every(8, 60, change, lambda i: 100)
    new = every(1, 48, EIGHT, lambda i: 50)
    nine = datetime(2025, 6, 10, 9, tzinfo=UTC)
    found = SIGNALS["funding_mean_7d"](seen(joined(old, new), nine))[-1]
    # the week: 2 days at 0.5 bps an hour, which is 4 bps for 8, and 5 days at 1 bp
    assert found == pytest.approx((2 * 4 + 5 * 1) / 7, rel=1e-12)


def test_a_missing_settlement_makes_the_week_absent_until_it_has_passed():
    whole = every(8, 60)
    lacking = whole[np.arange(60) != 50]  # ten settlements ago
    assert np.isnan(SIGNALS["funding_mean_7d"](seen(lacking))[-1])
    older = whole[np.arange(60) != 30]  # thirty ago: beyond the week
    assert not np.isnan(SIGNALS["funding_mean_7d"](seen(older))[-1])


def test_when_the_last_settlement_did_not_come_nothing_is_known():
    # at 12:00 the settlement of 08:00 is missing, the one of 00:00 is 12 hours old
    late = every(8, 30, EIGHT - 8 * HOUR_MS)
    assert np.isnan(SIGNALS["funding_rate"](seen(late))[-1])
    # at 08:00 itself the one of 00:00 is the latest there can be
    at_eight = seen(late, datetime(2025, 6, 10, 8, tzinfo=UTC))
    assert SIGNALS["funding_rate"](at_eight)[-1] == pytest.approx(1.29)


def test_a_lengthened_interval_is_absent_until_its_first_settlement():
    # every hour up to 08:00, then none: at 09:01 nobody knows whether one is missing
    hourly = every(1, 200)
    assert not np.isnan(
        SIGNALS["funding_rate"](seen(hourly, datetime(2025, 6, 10, 9, tzinfo=UTC)))[-1]
    )
    assert np.isnan(SIGNALS["funding_rate"](seen(hourly))[-1])


def test_without_settlements_every_row_is_absent():
    empty = Funding(*(np.zeros(0, dtype=np.int64),) * 3)
    for name in ("funding_rate", "funding_mean_7d", "funding_zscore_7d"):
        assert np.isnan(SIGNALS[name](seen(None))).all()
        assert np.isnan(SIGNALS[name](seen(empty))).all()


@pytest.mark.parametrize("millionths, side", [(118, 1), (119, 0), (120, -1)])
def test_the_mean_is_compared_exactly(millionths, side):
    # the mean of 1.09 to 1.29 bps is 1.19 exactly: 119 millionths
    assert funding_mean.compare(seen(every(8, 30)), millionths)[-1] == side


def test_sums_of_the_week_are_those_of_a_plain_loop():
    rng = np.random.default_rng(5)
    hours = rng.choice([1, 4, 8], 200)
    at = to_ms(NOON) // (8 * HOUR_MS) * 8 * HOUR_MS + np.cumsum(hours) * HOUR_MS
    keep = rng.random(200) > 0.02
    units = rng.integers(-(10**6), 10**6, 200)
    funding = Funding(at[keep], units[keep], hours[keep] * 60)
    found = weeks(funding)
    for row in range(len(funding)):
        chosen = [
            i for i in range(row + 1) if funding.at_ms[i] > funding.at_ms[row] - 7 * 24 * HOUR_MS
        ]
        gap = any(
            funding.at_ms[i] - funding.minutes[i] * 60_000 != funding.at_ms[i - 1]
            for i in chosen[1:]
        )
        minutes = sum(int(funding.minutes[i]) for i in chosen)
        assert found.total[row] == sum(int(funding.units[i]) for i in chosen)
        assert found.minutes[row] == minutes
        assert found.whole[row] == (not gap and minutes >= 7 * 1440)
        rates = [Fraction(int(funding.units[i]) * 480, int(funding.minutes[i])) for i in chosen]
        assert found.mean[row] == pytest.approx(float(sum(rates) / len(rates)), abs=1e-3)


def test_a_tick_freezes_all_that_its_week_needs():
    funding = every(8, 90)
    frozen = frozen_funding(funding, to_ms(NOON))
    assert len(frozen) == 22  # the week, and one more to be whole at its edge
    for name in ("funding_rate", "funding_mean_7d", "funding_zscore_7d"):
        np.testing.assert_array_equal(
            SIGNALS[name](seen(frozen, rows=1)), SIGNALS[name](seen(funding, rows=1))
        )
    # the settlement of the boundary itself is not frozen
    assert frozen_funding(funding, EIGHT).at_ms[-1] == EIGHT - 8 * HOUR_MS


def test_settlements_refuse_to_be_born_wrong():
    with pytest.raises(DomainError, match="not in order of time"):
        Funding([2, 1], [0, 0], [480, 480])
    with pytest.raises(DomainError, match="an interval is not positive"):
        Funding([1, 2], [0, 0], [480, 0])
    with pytest.raises(DomainError, match="units has shape"):
        Funding([1, 2], [0], [480, 480])
