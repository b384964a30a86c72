"""The market that a command talks to: Bybit, a running simulator, or one started inside the command.

The embedded simulator has no time of its own. Its clock is kept in `data/simulator.json` and stands still
between commands; a tick or a beat moves it forward, so a day can be played at any pace.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tgtqr_lib.clock import FIRST_START_S, boundary_of, from_ms, iso, parse_time
from tgtqr_lib.credentials import Credentials, Secret
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.hosts import public_host
from tgtqr_lib.market.bybit import Exchange

if TYPE_CHECKING:
    from tgtqr_lib.market.simulator import Simulator
    from tgtqr_lib.market.simulator_clock import SimulatorClock
    from tgtqr_lib.settings import Settings


KEEP_EVERY_S = 1.0
# what the embedded simulator's account begins with: virtual money, many times what the limits can lose
BALANCES = {"USDT": "100000"}
_keys: dict[str, Credentials] = {}  # of simulators that run in this process, by their URL


def embedded_keys(url: str) -> Credentials | None:
    """Key and secret of the account at a simulator of this process, made for it; None for any other host."""
    return _keys.get(url)


@dataclass
class StandingClock:
    """The embedded simulator's clock; it only goes forward, and survives the command."""

    home: Home
    simulator: Simulator

    @property
    def started(self) -> bool:
        """Whether a command has moved the clock of this home before."""
        return _path(self.home).is_file()

    def now(self) -> datetime:
        """The exchange time that the simulator shows."""
        return _shown(self.home)

    def move_to(self, moment: datetime) -> None:
        """Show `moment`. Raises `DomainError` when that would be going back."""
        if self.started and moment < (now := self.now()):
            raise DomainError(
                f"the simulator's clock is at {iso(now)}; it cannot go back to {iso(moment)}"
            )
        _write(self.home, moment)
        self.simulator.clock.set(iso(moment))


@contextmanager
def open_market(home: Home, settings: Settings) -> Iterator[tuple[Exchange, StandingClock | None]]:
    """The exchange of the settings, and the clock to move when it is the embedded simulator."""
    options = {"timeout_s": settings.exchange_timeout_s}
    if settings.market == "bybit":
        with _closing(Exchange(public_host(settings), **options)) as exchange:
            yield exchange, None
        return
    chosen = settings.simulator
    if chosen.url is not None:
        with _closing(Exchange(chosen.url, simulated=True, **options)) as exchange:
            yield exchange, None
        return
    from tgtqr_lib.market.simulator_clock import SimulatorClock  # another exchange needs none of it

    clock = SimulatorClock(iso(_shown(home)))
    with (
        _running(home, settings, clock) as simulator,
        _closing(Exchange(simulator.url, simulated=True, **options)) as exchange,
    ):
        yield exchange, StandingClock(home, simulator)


@contextmanager
def running_market(home: Home, settings: Settings, rate: float) -> Iterator[Settings]:
    """The settings of a market whose clock runs: those given, or with a simulator of this process.

    The embedded simulator then goes on from where its clock stood, at `rate` times real time, and where
    it is gets kept every second, so that after a crash it never goes back by more than that.
    """
    chosen = settings.simulator
    if settings.market != "simulator" or chosen.url is not None:
        yield settings
        return
    from tgtqr_lib.market.simulator_clock import SimulatorClock

    clock, ended = SimulatorClock(iso(_shown(home)), rate=rate), threading.Event()

    def keep() -> None:
        while not ended.wait(KEEP_EVERY_S):
            _write(home, from_ms(clock.now_ms()))

    keeper = threading.Thread(target=keep, name="simulator's clock", daemon=True)
    with _running(home, settings, clock) as simulator:
        keeper.start()
        try:
            yield settings.model_copy(
                update={"simulator": chosen.model_copy(update={"url": simulator.url})}
            )
        finally:
            ended.set()
            keeper.join()
            _write(home, from_ms(clock.now_ms()))


@contextmanager
def _running(home: Home, settings: Settings, clock: SimulatorClock) -> Iterator[Simulator]:
    """The embedded simulator of `settings`.

    Unless they trade on paper it has an account, which outlives the command as the clock does, and a key that is good
    as long as the simulator runs.
    """
    from tgtqr_lib.market.simulator import running

    venue = None if settings.account == "paper" else settings.account
    options = {"spread_bps": str(settings.simulator.spread_bps)}
    if venue is None:
        with running(_source(settings), clock, **options) as simulator:
            yield simulator
        return
    from tgtqr_lib.market.simulation.accounts import Accounts

    accounts = Accounts(home.data / "simulator_account.jsonl")
    keys = Credentials(Secret(secrets.token_hex(9)), Secret(secrets.token_hex(18)))
    accounts.open(keys.key.reveal(), keys.secret.reveal(), balances=BALANCES, environment=venue)
    options |= {"accounts": accounts, "environment": venue}
    with running(_source(settings), clock, **options) as simulator:
        _keys[simulator.url] = keys
        try:
            yield simulator
        finally:
            del _keys[simulator.url]


@contextmanager
def _closing(exchange: Exchange) -> Iterator[Exchange]:
    try:
        yield exchange
    finally:
        exchange.close()


def _source(settings: Settings):
    if settings.simulator.candles is not None:
        from tgtqr_lib.market.recorded import RecordedSource

        return RecordedSource(settings.simulator.candles)
    from tgtqr_lib.market.synthetic import SyntheticSource

    return SyntheticSource(settings.simulator.seed)


def _shown(home: Home) -> datetime:
    """Where the clock stands; that of a new home starts just after this machine's latest quarter hour."""
    if _path(home).is_file():
        return _read(home)
    return boundary_of(datetime.now(UTC)) + timedelta(seconds=FIRST_START_S)


def _path(home: Home):
    return home.data / "simulator.json"


def _read(home: Home) -> datetime:
    try:
        return parse_time(str(json.loads(_path(home).read_text("utf-8"))["time"]))
    except (OSError, ValueError, KeyError, TypeError, DomainError) as error:
        raise StoreError(
            f"{_path(home)}: the simulator's clock is not readable ({error}); "
            "delete the file to start it anew"
        ) from None


def _write(home: Home, moment: datetime) -> None:
    fresh = _path(home).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps({"time": iso(moment)}) + "\n", "utf-8")
    os.replace(fresh, _path(home))
