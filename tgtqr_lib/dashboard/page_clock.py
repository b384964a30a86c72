"""The exchange's time for a page that only looks: asked lightly, without the exchange's client."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import deque
from datetime import datetime

from tgtqr_lib.clock import from_ms, parse_time
from tgtqr_lib.domain import StoreError, TgtqrError, VenueUnavailable
from tgtqr_lib.home import Home
from tgtqr_lib.market.exchange_clock import ExchangeClock
from tgtqr_lib.settings import Settings

TIMEOUT_S = 3.0
WATCHED_S = 10.0  # of the embedded clock, to see how fast it runs


def page_clock(home: Home, settings: Settings) -> ExchangeClock | EmbeddedClock:
    """A clock with `now()` and `rate`. Raises `VenueUnavailable` when the exchange does not answer."""
    if settings.market == "bybit":
        return ExchangeClock(lambda: _asked(settings.exchange_host))
    if settings.simulator.url is not None:
        return ExchangeClock(lambda: _asked(settings.simulator.url))
    return EmbeddedClock(home)


class EmbeddedClock:
    """The clock of the embedded simulator, read from where the commands keep it."""

    def __init__(self, home: Home) -> None:
        self._path = home.data / "simulator.json"
        self._seen: deque[tuple[float, datetime]] = deque()

    def now(self) -> datetime:
        """Where the clock stands. Raises `StoreError` while no command has set it."""
        try:
            shown = parse_time(json.loads(self._path.read_text("utf-8"))["time"])
        except (OSError, ValueError, KeyError, TypeError, TgtqrError):
            raise StoreError("the simulator's clock was not set yet") from None
        here = time.monotonic()
        self._seen.append((here, shown))
        while here - self._seen[0][0] > WATCHED_S:
            self._seen.popleft()
        return shown

    @property
    def rate(self) -> float:
        """Exchange seconds a second over the last ten; 0 while it stands."""
        if len(self._seen) < 2:
            return 0.0
        (then, first), (here, last) = self._seen[0], self._seen[-1]
        return round((last - first).total_seconds() / max(here - then, 1e-3), 1)


def _asked(host: str) -> datetime:
    """The exchange's time by its public endpoint."""
    try:
        with urllib.request.urlopen(
            f"{host.rstrip('/')}/v5/market/time", timeout=TIMEOUT_S
        ) as reply:
            return from_ms(json.load(reply)["time"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VenueUnavailable(f"{host}: does not tell its time ({error})") from None
