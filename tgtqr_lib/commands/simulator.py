"""The simulator alone: a local exchange that speaks Bybit's v5 protocol, spot and perpetuals, until Ctrl-C.

Candles are made up from a seed, or recorded. It has a clock and faults of its own, to be turned while it runs, and
accounts of virtual money that signed requests trade with: docs/simulator.md tells how to play with it from a
notebook, with ccxt or with pybit.
"""

from __future__ import annotations

import argparse
import json
import os

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.commands.output import json_option
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation import process
from tgtqr_lib.market.simulator import Simulator


def arguments(parser: argparse.ArgumentParser) -> None:
    process.arguments(parser)
    parser.add_argument(
        "--at", help="exchange time to start at, ISO 8601 (default: now, this machine's UTC)"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    if options.candles and not options.at:
        raise DomainError("--candles needs --at, a time that the files know")
    options.at = options.at or "now"
    simulator = process.opened(options)
    facts = json.dumps({"url": simulator.url, "pid": os.getpid()})
    process.serve(simulator, lambda: print(facts if options.json else _page(simulator), flush=True))
    return 0


def _page(simulator: Simulator) -> str:
    """Where it is and how to play with it."""
    url, clock = simulator.url, simulator.clock
    pace = f"runs {clock.rate:g} s a second" if clock.rate else "stands still"
    return f"""{url}
{simulator.source.name}; it is {iso(from_ms(clock.now_ms()))}, and the clock {pace}.

candles  curl '{url}/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1&limit=3'
clock    curl {url}/simulator/clock -d '{{"step_s": 60}}'      (or "set": "2025-06-01T00:00Z", "rate": 60)
account  curl {url}/simulator/account -d @account.json      (key, secret, balances; or --account-file)
faults   curl {url}/simulator/faults -d '{{"add": {{"kind": "5xx", "uses": 2}}}}'      (or "clear": true)
state    curl {url}/simulator/state
the kit  TGTQR_SIMULATOR__URL={url} tgtqr watch --once

docs/simulator.md has more. Ctrl-C ends it."""
