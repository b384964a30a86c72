"""The exchange's time for a page that only looks: asked lightly, without the exchange's client."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime

from tgtqr_lib.clock import from_ms, parse_time
from tgtqr_lib.domain import StoreError, TgtqrError, VenueUnavailable
from tgtqr_lib.home import Home
from tgtqr_lib.hosts import public_host
from tgtqr_lib.market.exchange_clock import ExchangeClock
from tgtqr_lib.settings import Settings

TIMEOUT_S = 3.0


def page_clock(home: Home, settings: Settings) -> ExchangeClock | EmbeddedClock:
    """A clock with `now()` and `rate`. Raises `VenueUnavailable` when the exchange does not answer."""
    if settings.market == "bybit":
        return ExchangeClock(lambda: _asked(public_host(settings)))
    if settings.simulator.url is not None:
        return ExchangeClock(lambda: _asked(settings.simulator.url))
    return EmbeddedClock(home)


class EmbeddedClock:
    """The clock of the embedded simulator, read from where the commands keep it, at least once a second."""

    rate = 0.0  # it goes in steps, so between two looks it stands

    def __init__(self, home: Home) -> None:
        self._path = home.data / "simulator.json"

    def now(self) -> datetime:
        """Where the clock stands. Raises `StoreError` while no command has set it."""
        try:
            return parse_time(json.loads(self._path.read_text("utf-8"))["time"])
        except (OSError, ValueError, KeyError, TypeError, TgtqrError):
            raise StoreError("the simulator's clock was not set yet") from None


def _asked(host: str) -> datetime:
    """The exchange's time by its public endpoint."""
    try:
        with urllib.request.urlopen(
            f"{host.rstrip('/')}/v5/market/time", timeout=TIMEOUT_S
        ) as reply:
            return from_ms(json.load(reply)["time"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VenueUnavailable(f"{host}: does not tell its time ({error})") from None
