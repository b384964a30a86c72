"""The simulator as a process of its own: options, readiness, and an end that is clean."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DataError, DomainError, StoreError
from tgtqr_lib.market.faults import read_script
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulation.described import read_accounts
from tgtqr_lib.market.simulation.keys import ENVIRONMENTS
from tgtqr_lib.market.simulation.venue import MINIMUM_USDT
from tgtqr_lib.market.simulator import Simulator
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.source import CandleSource
from tgtqr_lib.market.synthetic import SyntheticSource


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `opened` reads."""
    prices = parser.add_mutually_exclusive_group()
    prices.add_argument("--seed", type=int, default=7, help="of the made-up market (default: 7)")
    prices.add_argument("--candles", nargs="+", metavar="FILE", help="Parquet of 1-minute candles")
    parser.add_argument(
        "--funding", nargs="+", metavar="FILE", help="Parquet of funding rates (ts, symbol, rate)"
    )
    parser.add_argument(
        "--rate", type=float, help="seconds of it a second (default: 0, with now 1)"
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes any free one")
    parser.add_argument("--spread-bps", default="1", help="best ask over best bid (default: 1)")
    parser.add_argument("--faults", metavar="SCRIPT.json", help="faults, each with its times")
    parser.add_argument(
        "--rate-limit",
        action="store_true",
        help="refuse more than 600 requests in 5 s, and more a second of a key than Bybit does",
    )
    trading = parser.add_argument_group("accounts, for signed requests")
    trading.add_argument(
        "--account-file",
        metavar="FILE.json",
        help="accounts to open: an object, or a list of them, with key, secret, balances and more; mode 0600",
    )
    trading.add_argument(
        "--journal",
        metavar="FILE.jsonl",
        help="where accounts outlive the simulator; made if not there",
    )
    trading.add_argument(
        "--environment",
        choices=ENVIRONMENTS,
        default="demo",
        help="whose keys are good here (default: demo)",
    )
    trading.add_argument(
        "--minimum",
        default=MINIMUM_USDT,
        metavar="USDT",
        help="least value of a spot order (default: 5; before October 2025 it was 1)",
    )


def opened(options: argparse.Namespace) -> Simulator:
    """The simulator that the options describe; it has its port and does not answer yet.

    DomainError for an option that makes no sense, DataError for a file or a time without data, StoreError for a
    journal that cannot be used.
    """
    source = _source(options)
    clock = _clock(options)
    funding = None
    if options.funding:
        from tgtqr_lib.market.simulation.recorded_funding import RecordedFunding

        funding = RecordedFunding(*options.funding)
    script = read_script(options.faults) if options.faults else []
    accounts = Accounts(options.journal)
    if options.account_file:
        read_accounts(accounts, options.account_file)
    try:
        simulator = Simulator(
            source,
            clock,
            port=options.port,
            spread_bps=options.spread_bps,
            funding=funding,
            rate_limit=options.rate_limit,
            accounts=accounts,
            minimum_usdt=options.minimum,
            environment=options.environment,
        )
    except (OSError, OverflowError) as error:
        raise DomainError(f"port {options.port}: {error}") from None
    try:
        simulator.faults.play(script)
        now_ms, venue = clock.now_ms(), simulator.venue
        if all(venue.spot.mid(symbol, now_ms) is None for symbol in venue.symbols):
            raise DataError(f"{source.name}: no candle at or before {iso(from_ms(now_ms))}")
    except (DataError, DomainError):
        simulator.stop()
        raise
    return simulator


def serve(simulator: Simulator, ready: Callable[[], None], with_parent: bool = False) -> None:
    """Answer until Ctrl-C or SIGTERM, or the end of standard input; `ready` is called once it answers."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    simulator.start()
    ready()
    if with_parent:
        Thread(target=_when_parent_ends, args=(stop,), daemon=True).start()
    stop.wait()
    simulator.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; prints {"url": ..., "pid": ...} when ready. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tgtqr_lib.market.simulator",
        description="Serve a made-up or recorded market by Bybit's v5 protocol on this machine.",
    )
    arguments(parser)
    parser.add_argument(
        "--at", required=True, help="exchange time, ISO 8601, or now for this machine's UTC"
    )
    parser.add_argument(
        "--with-parent", action="store_true", help="stop when standard input closes"
    )
    options = parser.parse_args(argv)
    try:
        simulator = opened(options)
    except (DataError, DomainError, StoreError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return {DataError: 4, DomainError: 2}.get(type(error), 1)

    def ready() -> None:
        print(json.dumps({"url": simulator.url, "pid": os.getpid()}), flush=True)

    serve(simulator, ready, options.with_parent)
    return 0


def _when_parent_ends(stop: Event) -> None:
    """Set `stop` once standard input closes, as the pipe from a parent does even when that is killed."""
    # Not sys.stdin.read: a thread that waits in it holds a lock that Python aborts on at its exit.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop.set()


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
