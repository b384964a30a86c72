"""Time is aware UTC, boundaries are quarter hours, and text goes there and back exactly."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.clock import (
    boundary_of,
    check_boundary,
    floor_minute,
    from_ms,
    iso,
    parse_time,
    tick_id,
    to_ms,
    utc_day,
)
from tgtqr_lib.domain import DomainError

TEN_PAST = datetime(2026, 11, 22, 10, 29, 59, 999_000, tzinfo=UTC)
PARIS = timezone(timedelta(hours=1))
moments = st.datetimes(
    datetime(1971, 1, 1), datetime(2099, 12, 31), timezones=st.sampled_from([UTC, PARIS])
)


@pytest.mark.parametrize(
    "moment, text",
    [
        (datetime(2026, 11, 22, 10, 15, tzinfo=UTC), "2026-11-22T10:15:00Z"),
        (datetime(2026, 11, 22, 10, 15, 3, 250_000, tzinfo=UTC), "2026-11-22T10:15:03.250Z"),
        (datetime(2026, 11, 22, 0, 30, tzinfo=PARIS), "2026-11-21T23:30:00Z"),
    ],
)
def test_a_time_is_written_in_utc_with_z(moment, text):
    assert iso(moment) == text
    assert parse_time(text) == moment


@given(moments)
def test_a_written_time_is_read_back_exactly(moment):
    assert parse_time(iso(moment)) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:15:00Z",
        "2026-11-22T10:15Z",
        "2026-11-22T10:15",  # no zone means UTC
        "2026-11-22 10:15",
        "2026-11-22T11:15+01:00",
        "20261122T1015Z",  # a tick id
        " 20261122T1015Z\n",
    ],
)
def test_the_same_time_can_be_given_in_several_spellings(text):
    assert parse_time(text) == datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "20261122T2515Z", "22.11.2026", "1"])
def test_anything_else_is_no_time(text):
    with pytest.raises(DomainError, match="is not ISO 8601; expected something like"):
        parse_time(text)


@pytest.mark.parametrize("speller", [iso, tick_id, utc_day, to_ms])
def test_a_time_without_a_zone_is_refused_because_it_would_mean_this_machines_zone(speller):
    with pytest.raises((DomainError, TypeError)):
        speller(datetime(2026, 11, 22, 10, 15))


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_go_there_and_back(ms):
    assert to_ms(from_ms(ms)) == ms
    assert from_ms(ms).tzinfo is UTC


def test_milliseconds_count_from_1970():
    assert to_ms(datetime(1970, 1, 2, 0, 0, 0, 1_000, tzinfo=UTC)) == 86_400_001
    assert to_ms(datetime(1970, 1, 1, 1, tzinfo=PARIS)) == 0


@pytest.mark.parametrize(
    "moment, boundary",
    [
        ("10:15:00", "10:15"),
        ("10:15:00.001", "10:15"),
        ("10:29:59.999", "10:15"),
        ("10:30:00", "10:30"),
        ("00:14:59", "00:00"),
        ("23:59:59", "23:45"),
    ],
)
def test_the_boundary_is_the_latest_quarter_hour(moment, boundary):
    day = "2026-11-22T"
    assert boundary_of(parse_time(day + moment)) == parse_time(day + boundary)


@given(moments)
def test_a_boundary_is_at_most_a_quarter_hour_back(moment):
    boundary = boundary_of(moment)
    assert timedelta(0) <= moment - boundary < timedelta(minutes=15)
    assert to_ms(boundary) % (15 * 60_000) == 0
    assert boundary_of(boundary) == boundary == check_boundary(boundary)


@pytest.mark.parametrize("moment", ["10:14", "10:15:01", "10:15:00.001", "10:01"])
def test_a_tick_time_off_the_quarter_hour_is_named(moment):
    with pytest.raises(
        DomainError, match="is not a quarter hour; expected minute 00, 15, 30 or 45"
    ):
        check_boundary(parse_time("2026-11-22T" + moment))


def test_a_minute_is_floored():
    assert iso(floor_minute(TEN_PAST)) == "2026-11-22T10:29:00Z"


def test_a_tick_is_named_by_its_boundary_in_utc():
    assert tick_id(datetime(2026, 11, 22, 10, 15, tzinfo=UTC)) == "20261122T1015Z"
    assert tick_id(datetime(2026, 11, 22, 0, 15, tzinfo=PARIS)) == "20261121T2315Z"


def test_the_day_changes_at_midnight_utc():
    assert utc_day(datetime(2026, 11, 22, 23, 59, 59, 999_999, tzinfo=UTC)) == "2026-11-22"
    assert utc_day(datetime(2026, 11, 23, tzinfo=UTC)) == "2026-11-23"
    assert utc_day(datetime(2026, 11, 23, 0, 59, tzinfo=PARIS)) == "2026-11-22"
