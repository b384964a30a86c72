"""The minute monitor: mark what is held, hold the limits, sell after a stop, renew the lease.

Runs until Ctrl-C and looks at the gate every second; --once gives one beat, as cron wants it. With the
embedded simulator that beat lets the next minute pass (--at ISO: up to that minute).
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from tgtqr_lib import after_stop, alerting, journal, settings
from tgtqr_lib.clock import FIRST_START_S, MINUTE, TICK, floor_minute, iso, parse_time
from tgtqr_lib.commands.output import json_option, money, print_json
from tgtqr_lib.desk import Desk, one_at_a_time, open_desk
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.watch import beat


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--once", action="store_true", help="one beat, as cron wants it")
    parser.add_argument(
        "--at", metavar="ISO", help="move the embedded simulator's clock here first"
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="speed of the embedded simulator's clock (1)"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    if not options.once:
        return _run_on(home, options)
    try:
        with open_desk(home, settings.load(home)) as desk:
            journal.start(home)
            with one_at_a_time(home.control / "watch.lock", "beat"):
                _move_clock(desk, options.at)
                seen = beat(desk)
            after_stop.look(desk, seen.stopped)
            alerting.after_beat(desk, seen)
    except TgtqrError as error:
        journal.start(home)  # it may have ended before the log was open
        alerting.after_failed_beat(home, error)
        raise
    if options.json:
        print_json(seen.plain())
        return 0
    print(f"beat {iso(seen.at)}: equity {money(seen.equity)}, cash {money(seen.cash)}")
    for sale in seen.sales:
        print(f"  safety sale {sale.result}: {sale.text}")
    for note in seen.notes:
        print(f"  {note}")
    if seen.missed:
        others = f" and {len(seen.missed) - 1} before it" if len(seen.missed) > 1 else ""
        print(f"  missed: tick {seen.missed[-1]}{others}")
    if seen.looks is not None:
        print("  looks at the order books: " + "\n    ".join(seen.looks.lines))
    if seen.stopped:
        print(f"  STOPPED: {seen.stopped}")
    return 0


def _run_on(home: Home, options: argparse.Namespace) -> int:
    if options.at or options.json:
        raise DomainError("tgtqr watch: --at and --json go with --once")
    from tgtqr_lib.commands.running import run_until_stopped  # a single beat needs no scheduler

    return run_until_stopped(home, ticks=False, rate=options.rate)


def _move_clock(desk: Desk, at: str | None) -> None:
    if desk.clock is None:
        if at:
            raise DomainError(
                "--at moves the embedded simulator's clock; this exchange has its own"
            )
    elif at:
        moment, shown = parse_time(at), desk.clock.now()
        if moment > max(datetime.now(UTC), shown + TICK):
            raise DomainError(
                f"beat {iso(moment)} is in the future; the simulator's clock shows {iso(shown)}"
            )
        desk.clock.move_to(moment)
    elif desk.clock.started:
        minute = floor_minute(desk.clock.now()) + MINUTE
        desk.clock.move_to(minute + timedelta(seconds=FIRST_START_S))
    else:
        desk.clock.move_to(desk.clock.now())
