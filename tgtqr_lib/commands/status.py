"""Gate, positions, limits, last tick and health on one page."""

from __future__ import annotations

import argparse
from typing import Any

from tgtqr_lib import books, ledger, recording, settings, twin
from tgtqr_lib.clock import parse_time
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.desk import open_desk
from tgtqr_lib.home import Home
from tgtqr_lib.standing import gather
from tgtqr_lib.twin import words


def arguments(parser: argparse.ArgumentParser) -> None:
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    chosen = settings.load(home)
    ledger.connect(home.ledger, create=False).close()
    with open_desk(home, chosen) as desk:
        facts = gather(desk)
        beside = twin.read(desk.con, books.account(desk.con))
        told = None if beside is None else twin.whole(desk.con, beside)
        facts["twin"] = None if told is None else words.plain(told)
        if chosen.record_book:
            facts["looks"] = recording.standing(desk, parse_time(facts["exchange_time"]))
    if options.json:
        print_json(facts)
    else:
        print("\n".join(page(facts, told)))
    return 0


def page(facts: dict[str, Any], told: twin.Twin | None = None) -> list[str]:
    """The status as lines for a person."""
    day = f"day {facts['day_pnl'] or '-'}, total {facts['total_pnl'] or '-'}"
    lines = [
        f"{facts['gate']}  {facts['gate_reason']}",
        f"{facts['exchange_time']} exchange time ({facts['market']}), account {facts['account']}",
        "",
        f"equity  {facts['equity'] or '-':>14} USDT   PnL {day} USDT",
        f"cash    {facts['cash']:>14} USDT   fees {facts['fees']} USDT in {facts['fills']} fills",
    ]
    if facts["runway_days"] is not None:
        lines.append(
            f"runway  {facts['runway_days']:>14} days   at the cost since the start, of 24 h at most"
        )
    if told is not None:
        lines.append(f"twin    {words.line(told)}")
    lines += ["", "positions"]
    for p in facts["positions"]:
        lines.append(
            f"  {p['symbol']}  {p['quantity']} cost {p['cost']}, mark {p['mark'] or '-'}, "
            f"value {p['value'] or '-'}, unrealised {p['unrealised_pnl'] or '-'} USDT"
        )
    if not facts["positions"]:
        lines.append("  nothing is held")
    lines += ["", f"{'limits':<18}{'value':>14}{'limit':>14}{'distance':>14}  USDT"]
    for row in facts["limits"]:
        cells = "".join(f"{row[key] or '-':>14}" for key in ("value", "limit", "distance"))
        lines.append(f"  {row['name']:<16}{cells}")
    tick = facts["last_tick"]
    lines += [
        "",
        f"last tick  {tick['tick_id']} {tick['state']}: {tick['text']}" if tick else "no tick yet",
        f"missed     {facts['missed_ticks']} ticks",
        f"last beat  {facts['last_beat'] or 'none yet'}; "
        + ("no data yet" if facts["data_age_s"] is None else f"data {facts['data_age_s']:g} s old"),
        f"ledger     {facts['ledger']['seq']} events, head {facts['ledger']['head'][:12]}"
        + (f"; {facts['ledger']['problem']}" if facts["ledger"]["problem"] else ""),
        f"disk       {facts['disk_free_mb']:,} MB free",
    ]
    if looks := facts.get("looks"):
        lines += [f"looks      {_look(one)}" for one in looks]
    if facts["exchange_problem"]:
        lines.append(f"exchange   {facts['exchange_problem']}")
    return lines


def _look(one: dict[str, Any]) -> str:
    """The newest look at a symbol's order book, or what keeps it from being read."""
    age = "none yet" if one["age_s"] is None else f"the newest is {one['age_s']:.0f} s old"
    return f"at the order book of {one['symbol']}: {one['problem'] or age}"
