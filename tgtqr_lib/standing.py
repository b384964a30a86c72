"""How a home stands: gate, money, positions, limits, last tick and health as plain JSON values."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tgtqr_lib import books, gate, ledger
from tgtqr_lib.canonical import plain
from tgtqr_lib.clock import from_ms, iso, tick_id
from tgtqr_lib.desk import TICK_LOCK, Desk, is_running, situation
from tgtqr_lib.domain import Account, BrokerError, DataError, Day, Fees, Inputs, Position
from tgtqr_lib.execution import BPS, mark_value, round_up
from tgtqr_lib.limits import LEASE_S, MAX_ORDERS_A_DAY, SYMBOLS
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import daily_floor, total_floor


def gather(desk: Desk) -> dict[str, Any]:
    """The standing at the exchange's time, or at the last beat's when it does not answer."""
    newest, trouble = ledger.newest_mark(desk.con), None
    try:
        at = desk.exchange.time()
    except (DataError, BrokerError) as error:
        at, trouble = from_ms(newest.beat_ms) if newest else datetime.now(UTC), str(error)
        desk.assume_clock_offset(None)  # not worth asking for again
    return standing(desk, at) | {"exchange_problem": trouble}


def standing(
    desk: Desk, at: datetime, opened: tuple[Account, Day | None] | None = None
) -> dict[str, Any]:
    """The standing at exchange time `at`; what is not known is None.

    With `opened`, the account and the day of `at` as far as they are open, it only reads.
    """
    con = desk.con
    newest = ledger.newest_mark(con)
    inputs = situation(desk, at, opened=opened)
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
        "orders": ledger.count(con, "order", "account", inputs.account.id),
        "runway_days": None if runway is None else round(float(runway), 1),
        "positions": [_position(p, marks, inputs.fees) for p in held],
        "limits": _limits(inputs, worth),
        "guards": _guards(inputs, at),
        "plan": plain(inputs.plan),
        "last_tick": _last_tick(con, is_running(desk.home.control / TICK_LOCK)),
        "missed_ticks": ledger.count(con, "tick", "state", books.MISSED),
        "ledger": {"seq": seq, "head": head, "problem": inputs.health.ledger_problem},
        "data_age_s": _age(at, newest),
        "last_beat": iso(from_ms(newest.beat_ms)) if newest else None,
        "disk_free_mb": inputs.health.disk_free_mb,
        "clock_offset_ms": inputs.health.clock_offset_ms,
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _age(at: datetime, newest: ledger.Mark | None) -> float | None:
    """Seconds since the newest marked minute closed."""
    if newest is None:
        return None
    return (at - from_ms(newest.minute_ms + 60_000)).total_seconds()


def _position(position: Position, marks: dict[str, Decimal], fees: Fees) -> dict[str, str | None]:
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
        "sold_now": _text(None if value is None else value - round_up(value * fees.bps / BPS)),
    }


def _limits(inputs: Inputs, worth: Decimal | None) -> list[dict[str, str | None]]:
    limits, rows = inputs.limits, []
    for symbol in SYMBOLS:
        cost = inputs.portfolio.cost_of(symbol)
        left = limits.position_usdt - cost
        rows.append(_row(f"position {symbol}", cost, limits.position_usdt, left))
    floors = [("day floor", daily_floor(day, limits), day.start_equity) for day in inputs.days]
    floors.append(
        ("total floor", total_floor(inputs.account, limits), inputs.account.initial_equity)
    )
    for name, floor, start in floors:
        row = _row(name, worth, floor, None if worth is None else worth - floor)
        lost = None if worth is None else start - worth
        rows.append(row | {"lost": _text(lost), "allowed": _text(start - floor)})
    return rows


def _guards(inputs: Inputs, at: datetime) -> list[dict[str, str | None]]:
    """Limits that are not in the money list: exposure, orders of the day, the watch's lease."""
    held = sum((p.cost for p in inputs.portfolio.held), Decimal(0))
    most = inputs.limits.position_usdt * len(SYMBOLS)
    beat = inputs.health.last_beat_at
    age = None if beat is None else Decimal(str((at - beat).total_seconds()))
    rows = (
        ("exposure", held, most, "USDT"),
        ("orders today", Decimal(inputs.orders_today), Decimal(MAX_ORDERS_A_DAY), "orders"),
        ("watch lease", age, Decimal(LEASE_S), "s"),
    )
    return [
        _row(name, value, limit, None if value is None else limit - value) | {"unit": unit}
        for name, value, limit, unit in rows
    ]


def _row(name: str, value, limit, distance) -> dict[str, str | None]:
    return {
        "name": name,
        "value": _text(value),
        "limit": _text(limit),
        "distance": _text(distance),
    }


def _last_tick(con, running: bool) -> dict[str, Any] | None:
    last = books.last_boundary(con)
    if last is None:
        return None
    name = tick_id(last)
    final = books.tick_event(con, name, "final")
    if final is None and running:
        final = {"state": "running", "text": ""}
    elif final is None:
        text = "it did not end; the next tick settles what became of it"
        final = {"state": "interrupted", "text": text}
    return {
        "tick_id": name,
        "state": final["state"],
        "reason": final.get("reason"),
        "text": final["text"],
        "duration_s": final.get("duration_s"),
    }
