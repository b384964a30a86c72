"""Compare the ticks of a day with the backtest of the same candles.

Every decision and fill is equal, or differs for a proven cause: a revised or late candle, changed settings or
code, a missed tick, the price of a fill, the gate. The backtest reads the candle lake, and what the ticks saw of
minutes that the lake does not hold (`tgtqr data fetch` brings the day). Exit code 5 when anything is unexplained.
"""

from __future__ import annotations

import argparse
import re
from datetime import date

from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.home import Home

FACTS, REMARKS = 6, 20  # lines of evidence a cause, and of remarks, that are printed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--day", metavar="DATE", help="UTC, like 2025-06-01 (default: the newest)")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    wanted = None if options.day is None else _day(options.day)
    from tgtqr_lib import ledger
    from tgtqr_lib.parity import parity
    from tgtqr_lib.parity.record import days_in

    home = Home.find(options.home)
    if wanted is None:
        days = days_in(home)
        if not days:
            raise DataError(f"{home.ticks}: holds no tick notebook")
        wanted = date.fromisoformat(days[-1])
    con = ledger.connect(home.ledger, create=False)
    try:
        found = parity(home, con, wanted)
    finally:
        con.close()
    if options.json:
        print_json(found.plain())
    else:
        print("\n".join(_lines(found)))
    return 5 if found.unexplained else 0


def _day(text: str) -> date:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise DomainError(f"--day {text!r} is no date; expected one like 2025-06-01")


def _lines(found) -> list[str]:
    lines = []
    for one in found.ticks:
        lines += [f"{one.tick_id} {fact}" for fact in one.differences]
        for cause in one.findings:
            lines += [f"  {cause.cause}: {fact}" for fact in cause.evidence[:FACTS]]
            if len(cause.evidence) > FACTS:
                lines.append(f"  {cause.cause}: and {len(cause.evidence) - FACTS} more")
        lines += [f"{one.tick_id} UNEXPLAINED {text}" for text in one.unexplained]
    lines += [f"remark: {text}" for text in found.remarks[:REMARKS]]
    if len(found.remarks) > REMARKS:
        lines.append(f"remark: and {len(found.remarks) - REMARKS} more (--json tells all)")
    facts = found.plain()
    if facts["ticks"] < facts["of_a_day"]:
        lines.append(
            f"{facts['ticks']} of {facts['of_a_day']} ticks were expected, "
            f"from {facts['first']} to {facts['last']}"
        )
    candles = found.minutes
    lines.append(
        f"{found.decisions} decisions and {found.fills} fills compared; minutes of the day: "
        f"{candles['lake']:,} from the lake, {candles['as_seen']:,} as the ticks saw them"
    )
    lines.append(
        f"{found.day}: {len(found.ticks)} ticks, {found.equal} equal, "
        f"{len(found.explained)} explained, {len(found.unexplained)} unexplained"
    )
    return lines
