"""A local exchange: an HTTP server that speaks Bybit's v5 protocol for spot, with its own clock and faults.

    with running(SyntheticSource(7), SimulatorClock("2025-06-01T00:00:03Z")) as simulator:
        ...  # point a client at simulator.url, turn simulator.clock, add to simulator.faults

or as a process of its own, `python -m tgtqr_lib.market.simulator --seed 7 --at 2025-06-01T00:00:03Z`, where
POST /simulator/clock, POST /simulator/faults and GET /simulator/state do the same. It listens on the loopback
interface only and has no private endpoint: nothing can be ordered here.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.market import bybit_v5
from tgtqr_lib.market.faults import Call, Faults
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.source import CandleSource
from tgtqr_lib.market.spot import SpotMarket
from tgtqr_lib.market.synthetic import SyntheticSource

HOST = "127.0.0.1"
MAX_BODY = 100_000

Reply = tuple[int, dict[str, Any] | str]  # HTTP status, and what becomes JSON or is plain text


class Simulator:
    """A source of candles served as an exchange at the time of a clock.

    url     http://127.0.0.1:PORT
    clock   the only time its market data knows
    faults  what is wrong with it at present
    """

    def __init__(
        self,
        source: CandleSource,
        clock: SimulatorClock,
        *,
        port: int = 0,
        spread_bps: float | str = 1,
    ) -> None:
        """Takes the port (0: any free one) but does not answer before `start`; OSError when it is taken."""
        self.market = SpotMarket(source, spread_bps)
        self.clock = clock
        self.faults = Faults(clock.now_ms)
        self._requests: Counter[str] = Counter()
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None
        self._server = _Server(self, port)
        self.url = f"http://{HOST}:{self._server.server_address[1]}"

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

    def get(self, path: str, asked: Mapping[str, str]) -> Reply:
        """The reply to a GET."""
        if path == "/simulator/state":
            return HTTPStatus.OK, self.state()
        now_ms = self.clock.now_ms()
        if path not in bybit_v5.ENDPOINTS:
            nowhere = bybit_v5.envelope({}, now_ms, bybit_v5.ROUTE_NOT_FOUND, "Route not found.")
            return HTTPStatus.NOT_FOUND, nowhere
        with self._lock:
            self._requests[path] += 1
        call = Call(path, asked, now_ms)
        self.faults.on_request(call)
        reply = self._market_reply(call, now_ms)
        self._stopping.wait(call.delay_s)
        return reply

    def post(self, path: str, body: Any) -> Reply:
        """The reply to a POST of a JSON object to one of the controls; DomainError when it makes no sense."""
        if not isinstance(body, dict):
            raise DomainError("expected a JSON object")
        if path == "/simulator/clock":
            _only(body, "set", "step_s", "rate")
            changes = {"at" if name == "set" else name: value for name, value in body.items()}
            self.clock.change(**changes)
        elif path == "/simulator/faults":
            _only(body, "add", "clear")
            self._change_faults(body)
        else:
            return HTTPStatus.NOT_FOUND, {"error": f"{path}: nothing here takes a POST"}
        return HTTPStatus.OK, self.state()

    def state(self) -> dict[str, Any]:
        """Clock, source, faults and how often each endpoint was asked, as plain values."""
        now_ms = self.clock.now_ms()
        with self._lock:
            requests = dict(sorted(self._requests.items()))
        return {
            "clock": {"now": iso(from_ms(now_ms)), "now_ms": now_ms, "rate": self.clock.rate},
            "source": {"name": self.market.source.name, "symbols": list(self.market.symbols)},
            "spread_bps": float(self.market.spread_bps),
            "faults": self.faults.active(),
            "requests": requests,
        }

    def _market_reply(self, call: Call, now_ms: int) -> Reply:
        if call.status != HTTPStatus.OK:
            # Not JSON: these come from the gateways before an exchange, and clients tell by that.
            return call.status, f"HTTP {call.status}, by a fault of the simulator"
        try:
            call.result = bybit_v5.reply(self.market, call.path, call.asked, call.at_ms)
        except bybit_v5.Refused as refused:
            return HTTPStatus.OK, bybit_v5.envelope({}, now_ms, refused.code, str(refused))
        self.faults.on_reply(call)
        return HTTPStatus.OK, bybit_v5.envelope(call.result, now_ms)

    def _change_faults(self, body: Mapping[str, Any]) -> None:
        if "clear" in body:
            if body["clear"] is not True:
                raise DomainError(f"clear {body['clear']!r}: expected true")
            self.faults.clear()
        if "add" in body:
            if not isinstance(body["add"], dict):
                raise DomainError('add: expected an object such as {"kind": "delay", "seconds": 2}')
            fault = dict(body["add"])
            self.faults.add(fault.pop("kind", None), **fault)


@contextmanager
def running(
    source: CandleSource, clock: SimulatorClock, port: int = 0, spread_bps: float | str = 1
) -> Iterator[Simulator]:
    """A simulator that answers inside the `with` block, from threads of this process."""
    simulator = Simulator(source, clock, port=port, spread_bps=spread_bps)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


# http.server, though aiohttp and Starlette are pleasanter: importing one of them takes longer than a command
# that asks this server for prices may take in all.
class _Server(ThreadingHTTPServer):
    """One thread a connection; knows its connections, so that stopping ends them too."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator, port: int) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the name service for this host's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        super().server_close()
        for connection in list(self._open):
            with suppress(OSError):  # the client may have been faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into calls of the simulator: JSON in, JSON out, connections kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a client's delayed ACK can hold a reply back for 40 ms
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._send(*self.server.simulator.get(url.path, dict(parse_qsl(url.query))))

    def do_POST(self) -> None:
        try:
            self._send(*self.server.simulator.post(urlsplit(self.path).path, self._body()))
        except DomainError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def log_message(self, *args: Any) -> None:
        """Nothing: a day of a demo is thousands of requests, and /simulator/state counts them."""

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True  # what follows on it cannot be told from this body
            raise DomainError(f"expected a JSON body with a Content-Length up to {MAX_BODY}")
        try:
            return json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise DomainError(f"the body is not JSON: {error}") from None

    def _send(self, status: int, body: dict[str, Any] | str) -> None:
        """One write a reply. Without a Date: this machine's time is no business of a simulated exchange."""
        kind, content = "text/plain", body
        if not isinstance(body, str):
            kind, content = "application/json", json.dumps(body, separators=(",", ":"))
        connection = "close" if self.close_connection else "keep-alive"
        head = (
            f"HTTP/1.1 {int(status)} {self.responses.get(status, ('',))[0]}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(content.encode())}\r\n"
            f"Connection: {connection}\r\n\r\n"
        )
        self.wfile.write((head + content).encode())


def _only(body: Mapping[str, Any], *names: str) -> None:
    strange = sorted(set(body) - set(names))
    if strange or not body:
        what = f"unknown {', '.join(strange)}" if strange else "nothing to do"
        raise DomainError(f"{what}, expected {', '.join(names)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; prints {"url": ..., "pid": ...} when ready. Returns the exit code."""
    options = _options(argv)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        source = _source(options)
        clock = _clock(options)
        simulator = Simulator(source, clock, port=options.port, spread_bps=options.spread_bps)
        if all(simulator.market.mid(s, clock.now_ms()) is None for s in simulator.market.symbols):
            raise DataError(f"{source.name}: no candle at or before {iso(from_ms(clock.now_ms()))}")
    except (DataError, DomainError, OSError, OverflowError) as error:  # the last two: its port
        print(f"simulator: {error}", file=sys.stderr)
        return 4 if isinstance(error, DataError) else 2
    simulator.start()
    print(json.dumps({"url": simulator.url, "pid": os.getpid()}), flush=True)
    if options.with_parent:
        Thread(target=_when_parent_ends, args=(stop,), daemon=True).start()
    stop.wait()
    simulator.stop()
    return 0


def _when_parent_ends(stop: Event) -> None:
    """Set `stop` once standard input closes, as the pipe from a parent does even when that is killed."""
    # Not sys.stdin.read: a thread that waits in it holds a lock that Python aborts on at its exit.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tgtqr_lib.market.simulator",
        description="Serve a made-up or recorded spot market by Bybit's v5 protocol on this machine.",
    )
    prices = parser.add_mutually_exclusive_group()
    prices.add_argument("--seed", type=int, default=7, help="of the made-up market (default: 7)")
    prices.add_argument("--candles", nargs="+", metavar="FILE", help="Parquet of 1-minute candles")
    parser.add_argument(
        "--at", required=True, help="exchange time, ISO 8601, or now for this machine's UTC"
    )
    parser.add_argument(
        "--rate", type=float, help="seconds of it a second (default: 0, with now 1)"
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free one")
    parser.add_argument("--spread-bps", default="1", help="best ask over best bid (default: 1)")
    parser.add_argument(
        "--with-parent", action="store_true", help="stop when standard input closes"
    )
    return parser.parse_args(argv)


def _source(options: argparse.Namespace) -> CandleSource:
    if not options.candles:
        return SyntheticSource(options.seed)
    from tgtqr_lib.market.recorded import RecordedSource

    return RecordedSource(*options.candles)


def _clock(options: argparse.Namespace) -> SimulatorClock:
    if options.at != "now":
        return SimulatorClock(options.at, options.rate or 0)
    clock = SimulatorClock.host()
    clock.change(rate=options.rate)
    return clock


if __name__ == "__main__":
    sys.exit(main())
