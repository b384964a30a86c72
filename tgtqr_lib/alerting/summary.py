"""The words of the daily summary: what the day came to, in one sentence.

The same figures as the daily report's, without looking through the whole ledger for them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal

from tgtqr_lib import books, latch, ledger
from tgtqr_lib.alerts.messages import SUMMARY, body, title
from tgtqr_lib.alerts.state import Message
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import Account
from tgtqr_lib.home import Home
from tgtqr_lib.limits import tightest
from tgtqr_lib.portfolio import equity, fold
from tgtqr_lib.risk.budget import total_floor

ONE_DAY = timedelta(days=1)


def words(home: Home, message: Message) -> tuple[str, str]:
    """Title and body of the summary `message`; when the figures cannot be read, why. Raises nothing."""
    try:
        with ledger.reading(home.ledger) as con:
            head, parts = _money(con, message.day)
            parts += [_ticks(con, message.day)]
        if latch.stopped_because(home) is not None:
            parts.append("now STOPPED")
    except Exception as error:  # a summary that says so is better than none
        head, parts = message.day, [f"no figures: {error}"]
    text = "; ".join(parts)
    return title(head), body(text[0].upper() + text[1:], SUMMARY, home.root.name, message.at_ms)


def _ticks(con: sqlite3.Connection, day: str) -> str:
    rows = ledger.with_prefix(con, f"tick/{day.replace('-', '')}")
    found = Counter(row.body["state"] for row in rows if row.key.endswith("/final"))
    told = [
        f"{found[state]} {state}"
        for state in (books.DONE, books.MISSED, books.FAILED, books.REFUSED)
        if found[state] or state != books.REFUSED
    ]
    return f"ticks {', '.join(told)}"


def _money(con: sqlite3.Connection, day: str) -> tuple[str, list[str]]:
    """The title, and the sentence's parts about money; of the newest account that was open on the day."""
    start = parse_time(day)
    end = start + ONE_DAY
    account = _account(con, end)
    if account is None:
        return day, ["no account was open"]
    known = [fill for fill in books.fills(con, account) if fill.at < end]
    held = fold(account.initial_equity, known)
    marks = [m for m in ledger.marks(con, account.id, to_ms(start)) if m.minute_ms < to_ms(end)]
    closes = {s: Decimal(close) for s, close in marks[-1].closes.items()} if marks else {}
    whole = all(position.symbol in closes for position in held.held)
    worth = equity(held, closes) if whole else None
    opened = books.day(con, account, day)
    change = worth - opened.start_equity if opened and worth is not None else None
    runway = None
    if opened is not None and worth is not None:
        met = books.limits_of(con, account, opened)
        floor = total_floor(account, tightest(*met, ceiling=met[0]))
        runway = books.runway_days(account, worth, known, end, floor)
    positions = " and ".join(f"{p.quantity:f} {p.symbol}" for p in held.held) or "nothing"
    money = f"equity {_usdt(worth)}, day {_usdt(change, '+')}, fees {_usdt(books.fees_paid(known, start))} USDT"
    left = "unknown" if runway is None else f"{runway:.0f} days"
    return f"{day}, {_usdt(change, '+')} USDT", [money, f"holds {positions}", f"runway {left}"]


def _account(con: sqlite3.Connection, end: datetime) -> Account | None:
    rows = [restore(Account, r.body["account"], r.key) for r in ledger.of_kind(con, "account")]
    return next((one for one in reversed(rows) if one.opened_at < end), None)


def _usdt(amount: Decimal | None, sign: str = "") -> str:
    return "unknown" if amount is None else f"{amount:{sign}.4f}"
