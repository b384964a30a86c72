"""Run one tick: freeze, decide in a notebook, act on paper, seal the notebook in outputs/ticks/.

With the embedded simulator time passes only when a command lets it: the tick moves the clock to its
boundary + 3 s, with a watch beat in each minute on the way. Without --at it is the next quarter hour.
"""

from __future__ import annotations

import argparse
import sys

from tgtqr_lib.clock import check_boundary, parse_time
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.home import Home

EXIT = {"done": 0, "already_done": 0, "refused": 3, "missed": 4, "failed": 1}
SENDER_S = 30.0  # a service manager ends what a command leaves behind
TROUBLE = ("EXCHANGE_UNREACHABLE", "DATA_TROUBLE")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at", metavar="ISO", help="the quarter hour, 2026-11-22T10:15Z; default now"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    at = check_boundary(parse_time(options.at)) if options.at else None
    home.outputs.mkdir(parents=True, exist_ok=True)
    from tgtqr_lib.kernel import kernels

    with kernels(home.outputs) as pool:
        pool.prepare()  # the kernel starts while the rest is imported and the exchange is asked
        from tgtqr_lib import alerting, journal, settings
        from tgtqr_lib.desk import open_desk
        from tgtqr_lib.tick import run_tick

        chosen = settings.load(home)
        with open_desk(home, chosen) as desk:
            journal.start(home)
            result = run_tick(desk, pool, at)
            alerting.after_tick(desk, wait_s=SENDER_S)
    if options.json:
        print_json(result.plain())
    else:
        _print(result, home)
    return 4 if result.reason in TROUBLE else EXIT[result.state]


def _print(result, home: Home) -> None:
    print(f"tick {result.tick_id}: {result.state}")
    for sale in result.sales:
        print(f"  safety sale {sale.result}: {sale.text}")
    for note in result.safety.notes if result.safety else ():
        print(f"  {note}")
    acts = {one.order.symbol: one for one in result.acts}
    for choice in result.decision.choices if result.decision else ():
        line = f"  {choice.symbol} {choice.signal.state}: {choice.reason} - {choice.reason_text}"
        print(line)
        if choice.symbol in acts:
            one = acts[choice.symbol]
            print(f"    {one.result}: {one.text} (feasible on Bybit: {one.order.feasible})")
    if result.decision is None or result.state != "done":
        stream = sys.stdout if result.state == "already_done" else sys.stderr
        print(f"  {result.text}", file=stream)
    if result.notebook:
        print(f"  notebook {home.root / result.notebook}")
