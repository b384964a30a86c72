"""Write the report of a day, or the post-mortem of a tick: a notebook, and one HTML page for a phone.

Without arguments the day before the ledger's newest event, or the newest day with ticks when that day has
none. Both files lie in outputs/reports/; the page loads nothing. A day without ticks: exit code 4.
"""

from __future__ import annotations

import argparse
import sys

from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import Busy, DomainError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", metavar="D", help="a UTC day, such as 2026-11-22")
    parser.add_argument(
        "--post-mortem",
        metavar="TICK_ID|ISO|stop",
        help="of that tick, or the newest one until then",
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib import daily, reports

    if options.day is not None and options.post_mortem is not None:
        raise DomainError("expected --day or --post-mortem, not both")
    home = Home.find(options.home)
    if options.post_mortem is not None:
        try:
            report = reports.post_mortem(home, options.post_mortem)
        except Busy:
            raise Busy(_wait(home)) from None
        facts = {"tick": report.notebook.stem.removeprefix("post-mortem-")}
    else:
        day, why = (options.day, "") if options.day is not None else daily.latest_day(home)
        if why and not options.json:
            print(f"{day}: {why}", file=sys.stderr)
        report = reports.daily(home, day)
        facts = {"day": day}
    if options.json:
        print_json(facts | report.plain())
    else:
        print(report.notebook)
        print(report.page)
    return 0


def _wait(home: Home) -> str:
    """What to do while another process writes a post-mortem."""
    from tgtqr_lib import after_stop

    tick = after_stop.under_way(home)
    if tick is None:
        return "another post-mortem is being written; wait some seconds and ask again"
    return (
        f"after the stop the post-mortem of tick {tick} is being written by itself; wait some seconds, then "
        f"it is {after_stop.page_of(home, tick)}, or ask again"
    )
