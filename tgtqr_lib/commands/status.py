"""Gate, positions, limits, last tick and health on one page."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tgtqr_lib import books, gate, ledger, settings
from tgtqr_lib.clock import from_ms, iso, tick_id
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.desk import Desk, open_desk, situation
from tgtqr_lib.domain import BrokerError, DataError, Inputs
from tgtqr_lib.execution import mark_value
from tgtqr_lib.home import Home
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import daily_floor, total_floor


def arguments(parser: argparse.ArgumentParser) -> None:
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    chosen = settings.load(home)
    ledger.connect(home.ledger, create=False).close()
    with open_desk(home, chosen) as desk:
        facts = gather(desk)
    if options.json:
        print_json(facts)
    else:
        print("\n".join(page(facts)))
    return 0


def gather(desk: Desk) -> dict[str, Any]:
    """The status as plain JSON values; what is not known is None."""
    con = desk.con
    newest = ledger.newest_mark(con)
    trouble = None
    try:
        at = desk.exchange.time()
    except (DataError, BrokerError) as error:
        at, trouble = from_ms(newest.beat_ms) if newest else datetime.now(UTC), str(error)
        desk.assume_clock_offset(None)  # not worth asking for again
    inputs = situation(desk, at)
    state, code, text = gate.state_of(inputs)
    marks = {s: Decimal(close) for s, close in newest.closes.items()} if newest else {}
    held = inputs.portfolio.held
    known = all(p.symbol in marks for p in held)
    worth = equity(inputs.portfolio, marks) if known else None
    fills = books.fills(con, inputs.account)
    floor = total_floor(inputs.account, inputs.limits)
    budget = inputs.portfolio.cash if worth is None else worth
    runway = books.runway_days(inputs.account, budget, fills, at, floor)
    day = inputs.days[0] if inputs.days else None
    seq, head = ledger.head(con)
    return {
        "gate": str(state),
        "gate_reason": f"{code}: {text}" if code else text,
        "exchange_time": iso(at),
        "market": desk.settings.market,
        "account": inputs.account.id,
        "equity": _text(worth),
        "cash": _text(inputs.portfolio.cash),
        "day_pnl": _text(worth - day.start_equity if day and worth is not None else None),
        "total_pnl": _text(None if worth is None else worth - inputs.account.initial_equity),
        "fees": _text(books.fees_paid(fills)),
        "fills": len(fills),
        "runway_days": None if runway is None else round(float(runway), 1),
        "positions": [_position(p, marks) for p in held],
        "limits": _limits(inputs, worth),
        "last_tick": _last_tick(con),
        "missed_ticks": sum(
            1 for row in ledger.of_kind(con, "tick") if row.body.get("state") == books.MISSED
        ),
        "ledger": {"seq": seq, "head": head, "problem": inputs.health.ledger_problem},
        "data_age_s": _age(at, newest),
        "last_beat": iso(from_ms(newest.beat_ms)) if newest else None,
        "disk_free_mb": inputs.health.disk_free_mb,
        "clock_offset_ms": inputs.health.clock_offset_ms,
        "exchange_problem": trouble,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _age(at: datetime, newest: ledger.Mark | None) -> float | None:
    """Seconds since the newest marked minute closed."""
    if newest is None:
        return None
    return (at - from_ms(newest.minute_ms + 60_000)).total_seconds()


def _position(position, marks: dict[str, Decimal]) -> dict[str, str | None]:
    mark = marks.get(position.symbol)
    value = None if mark is None else mark_value(position.quantity, mark)
    return {
        "symbol": position.symbol,
        "quantity": _text(position.quantity),
        "entry": _text((position.cost / position.quantity).quantize(Decimal("0.01"))),
        "mark": _text(mark),
        "value": _text(value),
        "cost": _text(position.cost),
        "unrealised_pnl": _text(None if value is None else value - position.cost),
    }


def _limits(inputs: Inputs, worth: Decimal | None) -> list[dict[str, str | None]]:
    limits, rows = inputs.limits, []
    for symbol in SYMBOLS:
        cost = inputs.portfolio.cost_of(symbol)
        left = limits.position_usdt - cost
        rows.append(_row(f"position {symbol}", cost, limits.position_usdt, left))
    for day in inputs.days:
        floor = daily_floor(day, limits)
        rows.append(_row("day floor", worth, floor, None if worth is None else worth - floor))
    floor = total_floor(inputs.account, limits)
    rows.append(_row("total floor", worth, floor, None if worth is None else worth - floor))
    return rows


def _row(name: str, value, limit, distance) -> dict[str, str | None]:
    return {
        "name": name,
        "value": _text(value),
        "limit": _text(limit),
        "distance": _text(distance),
    }


def _last_tick(con) -> dict[str, Any] | None:
    last = books.last_boundary(con)
    if last is None:
        return None
    name = tick_id(last)
    final = books.tick_event(con, name, "final") or {"state": "running", "text": ""}
    return {
        "tick_id": name,
        "state": final["state"],
        "reason": final.get("reason"),
        "text": final["text"],
        "duration_s": final.get("duration_s"),
    }


def page(facts: dict[str, Any]) -> list[str]:
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
    if facts["exchange_problem"]:
        lines.append(f"exchange   {facts['exchange_problem']}")
    return lines
