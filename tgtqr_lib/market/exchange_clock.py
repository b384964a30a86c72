"""The exchange's clock between two questions: the last answer, carried on by the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock

ASK_EVERY_S = 20.0
FIRST_LOOK_S = 0.5
JUMP_S = 3.0  # further off than this, and the clock was set or this machine slept


class ExchangeClock:
    """Exchange time without a question each time, for looking at it every second.

    The rate (1 for a real exchange, a multiple for a simulator, 0 for one that stands) is measured from
    the answers. Safe to use from several threads.
    """

    def __init__(self, ask: Callable[[], datetime]) -> None:
        """`ask` returns the exchange's time; it is called twice here, half a second apart.

        `jumps` counts how often the clock was found elsewhere than it should have been.
        """
        self._ask = ask
        self.jumps = 0
        self._lock = Lock()
        first, before = ask(), time.monotonic()
        time.sleep(FIRST_LOOK_S)
        self._shown, self._since = ask(), time.monotonic()
        self.rate = self._measure(self._shown - first, self._since - before)

    def now(self) -> datetime:
        """The exchange's time, asked again when the last answer is 20 s old.

        Raises what the question raises; the last answer then stays.
        """
        with self._lock:
            elapsed = time.monotonic() - self._since
            if elapsed > ASK_EVERY_S:
                shown, since = self._ask(), time.monotonic()
                expected = self._shown + timedelta(seconds=(since - self._since) * self.rate)
                if abs(shown - expected) > timedelta(seconds=JUMP_S * max(self.rate, 1.0)):
                    self.jumps += 1  # set, asleep, or at another rate: only a new measurement tells
                    time.sleep(FIRST_LOOK_S)
                    self._shown, self._since = shown, since
                    shown, since = self._ask(), time.monotonic()
                self.rate = self._measure(shown - self._shown, since - self._since)
                self._shown, self._since = shown, since
                elapsed = 0.0
            return self._shown + timedelta(seconds=elapsed * self.rate)

    def seconds_until(self, moment: datetime) -> float | None:
        """Seconds of this machine's time until `moment` on the exchange's clock; None when it stands."""
        left = (moment - self.now()).total_seconds()
        return left / self.rate if self.rate > 0 else None

    @staticmethod
    def _measure(there: timedelta, here: float) -> float:
        rate = there.total_seconds() / here
        return 1.0 if abs(rate - 1) < 0.2 else max(round(rate, 1), 0.0)
