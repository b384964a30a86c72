"""UTC time as values: boundaries, tick ids, text. Nothing here reads a clock.

"Now" is the exchange's time and is always passed in; see `market/` for where it comes from.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tgtqr_lib.domain import DomainError

MINUTE = timedelta(minutes=1)
TICK = timedelta(minutes=15)
FIRST_START_S = 3  # a tick waits this long after its boundary, so that the last minute can close
LAST_START_S = 60  # later than this a tick is recorded as missed


def in_utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises `DomainError` without a zone, which would mean this machine's own."""
    if moment.tzinfo is None:
        raise DomainError(f"time {moment} has no time zone; expected UTC")
    return moment.astimezone(UTC)


def iso(moment: datetime) -> str:
    """`moment` as ISO 8601 in UTC with `Z`; milli- or microseconds only when there are any."""
    utc = in_utc(moment)
    below_a_second = "microseconds" if utc.microsecond % 1000 else "milliseconds"
    spec = below_a_second if utc.microsecond else "seconds"
    return utc.replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_time(text: str) -> datetime:
    """The aware UTC time that `text` (ISO 8601, or a tick id) names; no zone means UTC.

    Raises `DomainError` for anything else.
    """
    compact = text.strip()
    if len(compact) == 14 and compact[8] == "T" and compact.endswith("Z"):  # a tick id
        compact = f"{compact[:4]}-{compact[4:6]}-{compact[6:8]}T{compact[9:11]}:{compact[11:13]}Z"
    try:
        moment = datetime.fromisoformat(compact)
    except ValueError:
        raise DomainError(
            f"time {text!r} is not ISO 8601; expected something like 2026-11-22T10:15Z"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970-01-01T00:00Z, exactly."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """The aware UTC time `ms` milliseconds after 1970-01-01T00:00Z, exactly."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(ms))


def floor_minute(moment: datetime) -> datetime:
    """The minute that `moment` lies in."""
    return moment.replace(second=0, microsecond=0)


def boundary_of(moment: datetime) -> datetime:
    """The latest quarter hour at or before `moment`."""
    return moment.replace(minute=moment.minute - moment.minute % 15, second=0, microsecond=0)


def check_boundary(moment: datetime) -> datetime:
    """`moment` itself when it is a quarter hour in UTC; raises `DomainError` otherwise."""
    if moment != boundary_of(moment):
        raise DomainError(
            f"tick time {iso(moment)} is not a quarter hour; expected minute 00, 15, 30 or 45"
        )
    return moment


def tick_id(boundary: datetime) -> str:
    """`20261122T1015Z`: the name of the tick (or of a watch minute) at `boundary`."""
    return in_utc(boundary).strftime("%Y%m%dT%H%MZ")


def utc_day(moment: datetime) -> str:
    """The UTC date of `moment`, `2026-11-22`."""
    return in_utc(moment).strftime("%Y-%m-%d")
