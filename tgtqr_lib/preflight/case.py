"""What the checks look at: settings, keys, hosts and market, each had once."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tgtqr_lib import credentials, settings
from tgtqr_lib.clock import parse_time
from tgtqr_lib.credentials import Credentials
from tgtqr_lib.domain import (
    BrokerError,
    DataError,
    DomainError,
    Instrument,
    TgtqrError,
    VenueUnavailable,
)
from tgtqr_lib.home import Home
from tgtqr_lib.hosts import public_host, trading_host
from tgtqr_lib.market import client
from tgtqr_lib.market.bybit import CATEGORY, Exchange
from tgtqr_lib.market.embedded import open_market
from tgtqr_lib.preflight.finding import NotKnown
from tgtqr_lib.preflight.once import Once
from tgtqr_lib.settings import Settings

# for one question to the exchange, retries included; shorter when the settings say so
TIMEOUT_S = 4.0
STATE_TIMEOUT_S = 2.0
# a simulator whose clock is this machine's is taken for an exchange; any other plays a time of its own
SAME_TIME = timedelta(seconds=5)


@dataclass
class Case:
    """One look at a home, its exchange and its machine; `close` it at the end.

    port         of the dashboard
    disk_mb      free space below which the disk fails; the gate's own limit unless a test wants another
    memory_mb    available memory below which there is a warning
    doors        what is wrong with this environment's Jupyter, in a sentence, or None; asked of a floor above
    once         keeps every fact, so that a host that is dead is asked once
    """

    home: Home
    port: int
    disk_mb: int
    memory_mb: int
    doors: Callable[[], str | None]
    once: Once = field(default_factory=Once)
    _stack: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        """Close every connection."""
        self._stack.close()

    def at_the_end(self, close: Callable[[], object]) -> None:
        """Have `close` called when the look is over."""
        self._stack.callback(close)

    # ---- settings and keys

    def settings(self) -> Settings:
        """The settings of the home, which `.env` is a part of."""
        self.env_file()
        return self.once("settings", lambda: settings.load(self.home), "settings")

    def env_file(self) -> dict[str, str]:
        """The variables of `.env`, or {}."""
        path = self.home.root / ".env"
        return self.once("env", lambda: credentials.read_env_file(path), "env_file")

    def credentials(self) -> Credentials:
        """The account's keys. Raises `DomainError` when there are none, or no good ones."""

        def found() -> Credentials:
            keys = credentials.find(self.home)
            if keys is None:
                raise DomainError(
                    f"{credentials.KEY} and {credentials.SECRET} are neither in the environment nor in "
                    f"{self.home.root / '.env'}"
                )
            return keys

        self.needs_account()
        return self.once("credentials", found, "key")

    @property
    def embedded(self) -> bool:
        """Whether the market is the simulator that each command starts for itself."""
        chosen = self.settings()
        return chosen.market == "simulator" and chosen.simulator.url is None

    def needs_account(self) -> Settings:
        """The settings, when they name an account of an exchange. Raises `NotKnown` otherwise."""
        chosen = self.settings()
        if chosen.account == "paper":
            raise NotKnown("no account is set")
        if self.embedded:
            raise NotKnown("the embedded simulator opens its account by itself; no key is needed")
        return chosen

    # ---- hosts

    def hosts(self) -> dict[str, str]:
        """What is asked of which host: `prices`, and `account` when there is one elsewhere."""
        chosen = self.settings()
        prices = public_host(chosen) if chosen.market == "bybit" else chosen.simulator.url
        found = {} if prices is None else {"prices": prices.rstrip("/")}
        if chosen.account != "paper" and not self.embedded:
            host = trading_host(chosen)
            if host not in found.values():
                found["account"] = host
        return found

    def knock(self) -> dict[str, TgtqrError | None]:
        """`reached` of all hosts at once, by what is asked of them: each may take its time to say nothing."""
        hosts = self.hosts()
        for host in hosts.values():
            self._client(host)  # ccxt is loaded by one thread alone
        with ThreadPoolExecutor() as pool:
            return dict(zip(hosts, pool.map(self.reached, hosts.values()), strict=True))

    def reached(self, host: str) -> TgtqrError | None:
        """Why `host` gives no usable answer, or None when it tells the time."""

        def knock() -> TgtqrError | None:
            try:
                self._client(host).time()
            except (BrokerError, DataError) as error:
                return error
            except (KeyError, TypeError, ValueError) as error:
                return DataError(f"exchange {host}: its time is not readable ({error!r})")
            return None

        return self.once(f"reached {host}", knock, "exchange")

    def _client(self, host: str, *, simulated: bool = False) -> Exchange:
        """A client of `host`; one that is not `simulated` takes a simulator's clock for an exchange's."""

        def made() -> Exchange:
            exchange = Exchange(host, timeout_s=self.timeout_s, simulated=simulated)
            self.at_the_end(exchange.close)
            return exchange

        return self.once(f"client {host} {simulated}", made, "exchange")

    @property
    def timeout_s(self) -> float:
        return min(self.settings().exchange_timeout_s, TIMEOUT_S)

    def exchange(self) -> Exchange:
        """The market that prices come from."""
        chosen = self.settings()
        if self.embedded:
            paper = chosen.model_copy(update={"account": "paper"})
            market = open_market(self.home, paper)
            return self.once("market", lambda: self._stack.enter_context(market)[0], "exchange")
        host = self.hosts()["prices"]
        self._expect(host)
        return self._client(host, simulated=chosen.market == "simulator")

    def account_host(self) -> str:
        """The host that answers and takes orders; without an account the one that prices come from."""
        hosts = self.hosts()
        host = hosts.get("account", hosts["prices"])
        self._expect(host)
        return host

    def _expect(self, host: str) -> None:
        problem = self.reached(host)
        if problem is not None:
            where = "region" if refuses_address(problem) else "exchange"
            raise NotKnown(f"not asked: {host} gives no usable answer; see {where}")

    def clock_offset_ms(self) -> int:
        """This machine's clock minus the exchange's."""
        host = self.account_host()
        return self.once("offset", lambda: self._client(host).clock_offset_ms(), "exchange")

    def simulator_keeps_real_time(self) -> bool:
        """Whether the running simulator of the settings shows this machine's time at its pace."""
        url = self.hosts()["prices"]
        open_it = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        try:
            with open_it(f"{url}/simulator/state", timeout=STATE_TIMEOUT_S) as reply:
                clock = json.load(reply)["clock"]
            apart = abs(parse_time(clock["now"]) - datetime.now(UTC))
            return clock["rate"] == 1 and apart < SAME_TIME
        except (OSError, ValueError, KeyError, TypeError, DomainError):
            return False

    def instruments(self) -> dict[str, Instrument]:
        """The exchange's rules of the symbols that it lists."""
        exchange, symbols = self.exchange(), self.settings().symbols
        return self.once("instruments", lambda: exchange.instruments(symbols), "instruments")

    def status_of(self, symbol: str) -> str:
        """The exchange's word for whether a listed symbol can be traded; `Trading` when it can."""
        answer = self.exchange().ask("market_instruments_info", category=CATEGORY, symbol=symbol)
        states = {one["symbol"]: str(one.get("status")) for one in answer["list"]}
        return states.get(symbol, "not listed")


def refuses_address(error: Exception) -> bool:
    """Whether the exchange answered that it does not serve this address."""
    return isinstance(error, VenueUnavailable) and client.ADDRESS in str(error)
