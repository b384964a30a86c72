"""A local exchange: an HTTP server that speaks Bybit's v5 protocol, with its own clock and faults.

    with running(SyntheticSource(7), SimulatorClock("2025-06-01T00:00:03Z")) as simulator:
        ...  # point a client at simulator.url, turn simulator.clock, add to simulator.faults

or as a process of its own, `tgtqr simulator --seed 7 --at 2025-06-01T00:00:03Z`, where POST /simulator/clock,
/simulator/faults, /simulator/limit and /simulator/account and GET /simulator/state do the same. It listens on the
loopback interface only. Signed requests trade with the accounts given to it. docs/simulator.md tells more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from threading import Event, Lock, Thread
from typing import Any

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market import bybit_v5
from tgtqr_lib.market.faults import Faults
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulation.calls import Call, Page
from tgtqr_lib.market.simulation.described import open_account
from tgtqr_lib.market.simulation.http_server import Reply, Server, json_reply
from tgtqr_lib.market.simulation.keys import ENVIRONMENTS, Signed
from tgtqr_lib.market.simulation.private import PrivateDesk, not_found
from tgtqr_lib.market.simulation.rate_limit import SPENT, Allowance, RateLimit
from tgtqr_lib.market.simulation.recorded_funding import RecordedFunding
from tgtqr_lib.market.simulation.venue import MINIMUM_USDT, Venue
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.source import CandleSource

_TOO_FREQUENT = Page(HTTPStatus.FORBIDDEN, "text/plain", b"403, access too frequent")


class Simulator:
    """A source of candles served as an exchange at the time of a clock.

    url       http://127.0.0.1:PORT
    clock     the only time its market data knows
    faults    what is wrong with it at present
    limit     Bybit's limits of requests per address and per key; off unless asked for
    accounts  those that signed requests can trade with; none unless opened
    """

    private_paths = frozenset(bybit_v5.PRIVATE)

    def __init__(
        self,
        source: CandleSource,
        clock: SimulatorClock,
        *,
        port: int = 0,
        spread_bps: float | str = 1,
        funding: RecordedFunding | None = None,
        rate_limit: bool = False,
        accounts: Accounts | None = None,
        minimum_usdt: str = MINIMUM_USDT,
        environment: str = "demo",
    ) -> None:
        """Takes the port (0: any free one) but does not answer before `start`; OSError when it is taken.

        `minimum_usdt` is the least value of a spot order, `environment` (demo or testnet) the one whose keys are
        good here. DomainError for values that cannot be.
        """
        if environment not in ENVIRONMENTS:
            expected = " or ".join(ENVIRONMENTS)
            raise DomainError(f"environment {environment!r}: expected {expected}")
        self.source = source
        self.venue = Venue(source, spread_bps, funding, minimum_usdt)
        self.environment = environment
        self.accounts = Accounts() if accounts is None else accounts
        self.clock = clock
        self.faults = Faults(clock.now_ms)
        self.limit = RateLimit(rate_limit)
        self._requests: Counter[str] = Counter()
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None
        wait = self._stopping.wait
        self._desk = PrivateDesk(
            self.venue, self.accounts, environment, self.faults, self.limit, wait
        )
        self._server = Server(self, port)
        self.url = self._server.url

    def start(self) -> None:
        """Answer requests from a thread of its own."""
        serve = self._server.serve_forever
        self._thread = Thread(target=serve, args=(0.05,), name="simulator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, close every connection and give the port back."""
        self._stopping.set()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def get(self, path: str, asked: Mapping[str, str], address: str) -> Reply:
        """The reply to a GET."""
        if path == "/simulator/state":
            return json_reply(HTTPStatus.OK, self.state())
        now_ms = self.clock.now_ms()
        if path not in bybit_v5.ENDPOINTS:
            return not_found(now_ms)
        allowance = self._counted(path, address)
        if not allowance.allowed:
            return Reply(_TOO_FREQUENT, allowance.headers(now_ms))
        call = Call(path, asked, now_ms)
        self.faults.on_request(call)
        body = self._body(call)
        if isinstance(call.refusal, v5.Refused) and call.refusal.code == v5.RATE_LIMIT:
            allowance = SPENT
        self._stopping.wait(call.delay_s)
        headers = allowance.headers(call.shown_ms)
        if call.page is not None:
            return Reply(call.page, {}, call.cut)
        return json_reply(HTTPStatus.OK, body, headers, call.cut)

    def private(
        self, method: str, path: str, payload: str, headers: Mapping[str, str], address: str
    ) -> Reply:
        """The reply to a request of the owner of a key; `payload` is its query string or body."""
        now_ms = self.clock.now_ms()
        allowance = self._counted(path, address)
        if not allowance.allowed:
            return Reply(_TOO_FREQUENT, allowance.headers(now_ms))
        signed = Signed.of(headers, payload, address)
        return self._desk.reply(method, path, signed, now_ms, allowance)

    def post(self, path: str, body: Any) -> Reply:
        """The reply to a POST of a JSON object to one of the controls; DomainError when it makes no sense."""
        if path.startswith("/v5/"):
            return not_found(self.clock.now_ms())
        if not isinstance(body, dict):
            raise DomainError("expected a JSON object")
        if path == "/simulator/clock":
            _only(body, "set", "step_s", "rate")
            changes = {"at" if name == "set" else name: value for name, value in body.items()}
            self.clock.change(**changes)
        elif path == "/simulator/faults":
            _only(body, "add", "script", "clear")
            self._change_faults(body)
        elif path == "/simulator/account":
            open_account(self.accounts, body)
        elif path == "/simulator/limit":
            _only(body, "enforce")
            if not isinstance(body["enforce"], bool):
                raise DomainError(f"enforce {body['enforce']!r}: expected true or false")
            self.limit.enforced = body["enforce"]
        else:
            return json_reply(HTTPStatus.NOT_FOUND, {"error": f"{path}: nothing here takes a POST"})
        return json_reply(HTTPStatus.OK, self.state())

    def state(self) -> dict[str, Any]:
        """Clock, source, faults, limit and how often each endpoint was asked, as plain values."""
        now_ms = self.clock.now_ms()
        with self._lock:
            requests = dict(sorted(self._requests.items()))
        return {
            "clock": {"now": iso(from_ms(now_ms)), "now_ms": now_ms, "rate": self.clock.rate},
            "source": {"name": self.source.name, "symbols": list(self.venue.symbols)},
            "spread_bps": float(self.venue.spot.spread_bps),
            "faults": self.faults.active(),
            "rate_limit": self.limit.enforced,
            "minimum_usdt": self.venue.minimum_usdt,
            "environment": self.environment,
            "accounts": self.accounts.state(),
            "requests": requests,
        }

    def _counted(self, path: str, address: str) -> Allowance:
        """What is left to `address`, after one more request for `path`."""
        with self._lock:
            self._requests[path] += 1
        return self.limit.take(address)

    def _body(self, call: Call) -> v5.Result | None:
        """The JSON of a reply; None when a page goes out instead."""
        if call.page is not None:
            return None
        try:
            if call.refusal is not None:
                raise call.refusal
            call.result = bybit_v5.reply(self.venue, call.path, call.asked, call.at_ms)
        except v5.Refused as refused:
            return v5.envelope({}, call.shown_ms, refused.code, str(refused))
        self.faults.on_reply(call)
        return v5.envelope(call.result, call.shown_ms)

    def _change_faults(self, body: Mapping[str, Any]) -> None:
        """Check first what to add, then clear, then add: a refused request changes nothing."""
        clear, script = body.get("clear"), body.get("script", [])
        number = isinstance(clear, int) and not isinstance(clear, bool)
        if "clear" in body and clear is not True and not number:
            raise DomainError(f"clear {clear!r}: expected true, or the number of a fault")
        if not isinstance(script, list):
            raise DomainError("script: expected a list of faults")
        added = self.faults.play([*script, *([body["add"]] if "add" in body else [])])
        for fault in self.faults.active() if clear is True else []:
            if fault["number"] not in added:
                self.faults.clear(fault["number"])
        if number:
            self.faults.clear(clear)


@contextmanager
def running(
    source: CandleSource,
    clock: SimulatorClock,
    port: int = 0,
    spread_bps: float | str = 1,
    *,
    funding: RecordedFunding | None = None,
    rate_limit: bool = False,
    accounts: Accounts | None = None,
    minimum_usdt: str = MINIMUM_USDT,
    environment: str = "demo",
) -> Iterator[Simulator]:
    """A simulator that answers inside the `with` block, from threads of this process."""
    simulator = Simulator(
        source,
        clock,
        port=port,
        spread_bps=spread_bps,
        funding=funding,
        rate_limit=rate_limit,
        accounts=accounts,
        minimum_usdt=minimum_usdt,
        environment=environment,
    )
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def _only(body: Mapping[str, Any], *names: str) -> None:
    strange = sorted(set(body) - set(names))
    if strange or not body:
        what = f"unknown {', '.join(strange)}" if strange else "nothing to do"
        raise DomainError(f"{what}, expected {', '.join(names)}")


if __name__ == "__main__":
    import sys

    from tgtqr_lib.market.simulation.process import main

    sys.exit(main())
