"""The simulator's own clock: it stands, is set, is stepped, or runs at a multiple of real time."""

from __future__ import annotations

import time
from threading import Lock

from tgtqr_lib.clock import from_ms, iso, parse_time, to_ms
from tgtqr_lib.domain import DomainError

_END_MS = to_ms(parse_time("9999-01-01"))


def instant_ms(at: str | int) -> int:
    """Milliseconds since 1970 of `at`, an ISO 8601 time or milliseconds; DomainError for anything else."""
    try:
        ms = to_ms(parse_time(at)) if isinstance(at, str) else at
    except OverflowError:  # its zone takes it out of the years 1 to 9999
        ms = None
    if not isinstance(ms, int) or isinstance(ms, bool) or not 0 <= ms < _END_MS:
        raise DomainError(f"time {at!r}: expected ISO 8601 or milliseconds from 1970 to 9998")
    return ms


class SimulatorClock:
    """Exchange time; safe to use from several threads.

    It goes `rate` seconds for each second of the host's monotonic clock, which no one can set: 0 stands still.
    """

    def __init__(self, at: str | int, rate: float = 0) -> None:
        """Starts at `at`, ISO 8601 or milliseconds. DomainError for a time or rate that cannot be."""
        self._lock = Lock()
        self._rate = _checked(rate, "rate")
        self._shown_ns = instant_ms(at) * 1_000_000
        self._since_ns = time.monotonic_ns()

    @classmethod
    def host(cls) -> SimulatorClock:
        """A clock that shows this machine's UTC and runs with it: the only way in for host time."""
        return cls(time.time_ns() // 1_000_000, rate=1)

    @property
    def rate(self) -> float:
        return self._rate

    def now_ms(self) -> int:
        """Exchange time in whole milliseconds since 1970."""
        with self._lock:
            return self._now_ns() // 1_000_000

    def set(self, at: str | int) -> None:
        """Show `at` from now on, earlier or later; the rate stays."""
        self.change(at=at)

    def step(self, seconds: float) -> None:
        """Go forward at once; DomainError unless seconds >= 0."""
        self.change(step_s=seconds)

    def change(
        self, *, at: str | int | None = None, step_s: float = 0, rate: float | None = None
    ) -> None:
        """Set, then step, then run at `rate`, all in one; nothing changes when one of them is refused."""
        shown_ns = None if at is None else instant_ms(at) * 1_000_000
        step_ns = round(_checked(step_s, "step_s") * 1_000_000_000)
        rate = self._rate if rate is None else _checked(rate, "rate")
        with self._lock:
            shown_ns = (self._now_ns() if shown_ns is None else shown_ns) + step_ns
            instant_ms(shown_ns // 1_000_000)
            self._shown_ns, self._since_ns, self._rate = shown_ns, time.monotonic_ns(), rate

    def _now_ns(self) -> int:
        return self._shown_ns + int(self._rate * (time.monotonic_ns() - self._since_ns))

    def __repr__(self) -> str:
        return f"SimulatorClock({iso(from_ms(self.now_ms()))}, rate={self._rate})"


def _checked(value: float, name: str) -> float:
    """`value` when it is a number from 0 to a billion; DomainError otherwise."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1e9:  # NaN is not
        raise DomainError(f"{name} {value!r}: expected a number from 0 to a billion")
    return value
