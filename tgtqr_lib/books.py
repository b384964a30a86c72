"""What the ledger's events mean: account, day, portfolio, orders, ticks, read and written as values."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tgtqr_lib import ledger
from tgtqr_lib.canonical import plain, restore
from tgtqr_lib.clock import TICK, parse_time, tick_id, utc_day
from tgtqr_lib.domain import (
    Account,
    Day,
    DomainError,
    Fill,
    Limits,
    Order,
    Portfolio,
    StoreError,
)
from tgtqr_lib.ledger import Event, Row
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.portfolio import apply, equity, fold
from tgtqr_lib.sizing import SAFETY

DONE, REFUSED, FAILED, MISSED = "done", "refused", "failed", "missed"
FINAL_STATES = (DONE, REFUSED, FAILED, MISSED)
MISSED_TEXT = "it was not started within a minute of its time"
LOOK_BACK = 200  # events; what a crash left is settled at the very next start


def account(con: sqlite3.Connection) -> Account | None:
    """The present account, or None before the first one."""
    rows = ledger.of_kind(con, "account", newest=1)
    return restore(Account, rows[0].body["account"], "account") if rows else None


def open_account(
    con: sqlite3.Connection,
    at: datetime,
    reason: str,
    by: str = "the kit",
    *,
    venue: str | None = None,
    scale: Decimal = Decimal(1),
    wallet: Mapping[str, Decimal] | None = None,
) -> Account:
    """Open the next account with fresh cash, as asked by `by`. Inside `writing`.

    venue   "demo" or "testnet" for one at the exchange; None for a paper account
    scale   multiplies the cash of an account at the exchange
    wallet  what an account at the exchange holds at this moment: later ones are compared with it
    """
    number = len(ledger.of_kind(con, "account")) + 1
    body: dict[str, Any] = {"reason": reason, "by": by}
    if venue is None:
        fresh = Account(f"paper-{number}", INITIAL_EQUITY, at)
    else:
        fresh = Account(f"{venue}-{number}", INITIAL_EQUITY * scale, at, venue, scale)
        body["wallet"] = dict(sorted((wallet or {}).items()))
    body["account"] = fresh
    ledger.append(con, Event("account", f"account/{fresh.id}", body))
    return fresh


def fills(con: sqlite3.Connection, account: Account) -> list[Fill]:
    """Every fill of `account`, in the order they were booked.

    What a connection has read before it does not read again: an account of months has thousands.
    """
    place = (id(con), account.id)
    known = _read_before.get(place)
    if known is not None and not (known.con is con and known.still_there):
        known = None  # another connection at the same address, or a transaction that was taken back
    rows = ledger.with_prefix(con, f"fill/{account.id}/", after=known.last.seq if known else 0)
    found = list(known.fills) if known else []
    found += [restore(Fill, row.body, f"event {row.seq}") for row in rows]
    if rows:
        _read_before.pop(place, None)
        _read_before[place] = _Read(con, rows[-1], tuple(found))
        while len(_read_before) > MOST_READ:
            _read_before.pop(next(iter(_read_before)), None)
    return found


@dataclass(frozen=True, slots=True)
class _Read:
    """Fills that a connection has read, up to the event `last`."""

    con: sqlite3.Connection
    last: Row
    fills: tuple[Fill, ...]

    @property
    def still_there(self) -> bool:
        (row,) = ledger.between(self.con, self.last.seq, self.last.seq) or (None,)
        return row is not None and row.hash == self.last.hash


MOST_READ = 8  # connections times accounts
_read_before: dict[tuple[int, str], _Read] = {}


def portfolio(con: sqlite3.Connection, account: Account) -> Portfolio:
    """What `account` holds: the fold over its fills."""
    return fold(account.initial_equity, fills(con, account))


def day(con: sqlite3.Connection, account: Account, date: str) -> Day | None:
    """The UTC day `date` of `account`, or None while it is not open."""
    row = ledger.get(con, f"day/{account.id}/{date}")
    return restore(Day, row.body["day"], f"event {row.seq}") if row else None


def open_day(
    con: sqlite3.Connection,
    account: Account,
    at: datetime,
    closes: Mapping[str, Decimal],
    limits: Limits,
) -> Day:
    """Open the UTC day of `at` at cash plus what is held at `closes` (of 23:59). Inside `writing`.

    A day that is open stays as it is. Raises `StoreError` when a later day is open already: the
    exchange's clock went back over midnight.
    """
    date = utc_day(at)
    known = day(con, account, date)
    if known is not None:
        return known
    days = ledger.with_prefix(con, f"day/{account.id}/")
    if days and days[-1].body["day"]["date"] > date:
        raise StoreError(
            f"day {date} cannot open: {days[-1].body['day']['date']} is open already; "
            "the exchange's clock went back"
        )
    held = portfolio(con, account)
    opened = Day(date, equity(held, closes), held.cash, limits)
    body = {"day": opened, "at": at, "closes": {s: closes[s] for s in sorted(closes)}}
    ledger.append(con, Event("day", f"day/{account.id}/{date}", body))
    return opened


def limits_of(con: sqlite3.Connection, account: Account, day: Day) -> list[Limits]:
    """The limits that `day` opened with and those that a tick has met since: none is loosened that day."""
    opened = ledger.get(con, f"day/{account.id}/{day.date}")
    met = ledger.of_kind(con, "settings", after=opened.seq)
    return [day.limits, *(restore(Limits, row.body["new"]["limits"]) for row in met)]


def orders_on(con: sqlite3.Connection, date: str) -> int:
    """How many orders reached the broker's door on the UTC day `date`, filled or not."""
    return len(ledger.keys(con, f"order/{date.replace('-', '')}"))


def order_ids(con: sqlite3.Connection, tick: str) -> tuple[str, ...]:
    """The ids of the orders that the tick or minute `tick` has booked."""
    return tuple(key.removeprefix("order/") for key in ledger.keys(con, f"order/{tick}"))


def own_order_ids(con: sqlite3.Connection, tick: str) -> tuple[str, ...]:
    """Those of `order_ids` that the tick itself decided: a safety sale of its minute is not among them."""
    return tuple(name for name in order_ids(con, tick) if not name.endswith(f"-{SAFETY}"))


def own_intent_ids(con: sqlite3.Connection, tick: str) -> tuple[str, ...]:
    """The orders of the tick that were about to be sent to the exchange, whatever came of them."""
    names = (key.removeprefix("intent/") for key in ledger.keys(con, f"intent/{tick}"))
    return tuple(name for name in names if not name.endswith(f"-{SAFETY}"))


def booked_order(con: sqlite3.Connection, order: Order) -> dict[str, Any] | None:
    """What was booked of `order` before, or None."""
    row = ledger.get(con, f"order/{order.id}")
    return row.body if row else None


def book_order(
    con: sqlite3.Connection,
    account: Account,
    order: Order,
    body: Mapping[str, Any],
    fill: Fill | None,
) -> None:
    """Book what became of an order, and its fill. Inside `writing`."""
    ledger.append(con, Event("order", f"order/{order.id}", {"account": account.id, **body}))
    if fill is not None:
        apply(portfolio(con, account), fill)  # refuses a sale of more than is held
        ledger.append(con, Event("fill", f"fill/{account.id}/{order.id}", fill))


def book_intent(con: sqlite3.Connection, order: Order, body: Mapping[str, Any]) -> None:
    """Book that an order is about to be sent to the exchange. Inside `writing`; before it is sent."""
    ledger.append(con, Event("intent", f"intent/{order.id}", body))


def open_intents(con: sqlite3.Connection) -> list[Row]:
    """Intents whose outcome is not booked, oldest first."""
    return ledger.unanswered(con, "intent", "order")


def opening_wallet(con: sqlite3.Connection, account: Account) -> dict[str, Decimal]:
    """What an account at the exchange held before anything was traded here, coin -> balance.

    That is what it held when it was opened, and whatever else moved since and was accepted.
    """
    accepted = [r for r in ledger.of_kind(con, "accepted") if r.body["account"] == account.id]
    row = accepted[-1] if accepted else ledger.get(con, f"account/{account.id}")
    return {coin: Decimal(text) for coin, text in row.body["wallet"].items()}


def accept_wallet(
    con: sqlite3.Connection,
    account: Account,
    at: datetime,
    opening: Mapping[str, Decimal],
    reason: str,
    by: str,
) -> None:
    """Count from `opening` on, because somebody answers for what moved on the account. Inside `writing`."""
    body = {"account": account.id, "at": at, "wallet": dict(sorted(opening.items()))}
    key = f"accepted/{ledger.head(con)[0] + 1}"
    ledger.append(con, Event("accepted", key, {**body, "reason": reason, "by": by}))


def account_look(con: sqlite3.Connection, account: Account) -> dict[str, Any] | None:
    """What the newest look at the exchange account found, `problem` and `wallet`; None before the first."""
    rows = ledger.of_kind(con, "look", newest=1)
    return rows[0].body if rows and rows[0].body["account"] == account.id else None


def book_account_look(
    con: sqlite3.Connection,
    account: Account,
    at: datetime,
    problem: str | None,
    wallet: Mapping[str, Decimal] | None,
) -> bool:
    """Book a look at the exchange account when its `problem` is not the last one's. Inside `writing`.

    True when it was booked.
    """
    last = account_look(con, account)
    if last is not None and last["problem"] == problem:
        return False
    held = None if wallet is None else dict(sorted(wallet.items()))
    body = {"account": account.id, "at": at, "problem": problem, "wallet": held}
    ledger.append(con, Event("look", f"look/{ledger.head(con)[0] + 1}", body))
    return True


def tick_event(con: sqlite3.Connection, tick: str, step: str) -> dict[str, Any] | None:
    """The body of one step (`claim`, `decision`, `acted`, `final`, `sealed`) of a tick, or None."""
    row = ledger.get(con, f"tick/{tick}/{step}")
    return row.body if row else None


def book_tick(con: sqlite3.Connection, tick: str, step: str, body: Mapping[str, Any]) -> int:
    """Book one step of a tick. Inside `writing`."""
    kind = "tick" if step == "final" else step
    return ledger.append(con, Event(kind, f"tick/{tick}/{step}", {"tick_id": tick, **body}))


def last_boundary(con: sqlite3.Connection) -> datetime | None:
    """The boundary of the newest tick that was claimed or ended, or None."""
    key = ledger.last_key(con, "tick/")  # ids sort by time
    return parse_time(key.split("/")[1]) if key else None


def open_claims(con: sqlite3.Connection) -> list[str]:
    """Ticks that were claimed and have no final state: a crash left them, or they run now."""
    names = [row.body["tick_id"] for row in ledger.of_kind(con, "claim", newest=LOOK_BACK)]
    return [name for name in names if tick_event(con, name, "final") is None]


def unsealed(con: sqlite3.Connection) -> list[str]:
    """Ticks that were acted on but whose notebook is not sealed."""
    acted = {row.body["tick_id"] for row in ledger.of_kind(con, "acted", newest=LOOK_BACK)}
    sealed = {row.body["tick_id"] for row in ledger.of_kind(con, "sealed", newest=2 * LOOK_BACK)}
    return sorted(acted - sealed)


def record_missed(con: sqlite3.Connection, until: datetime, why: str) -> list[str]:
    """Give every quarter hour after the last tick and before `until` the state missed.

    Inside `writing`. Returns their ids; none before the first tick of the ledger.
    """
    last, missed = last_boundary(con), []
    while last is not None and last + TICK < until:
        last += TICK
        missed.append(tick_id(last))
        book_tick(con, missed[-1], "final", {"state": MISSED, "reason": "MISSED", "text": why})
    return missed


def book_gate(
    con: sqlite3.Connection, what: str, at: datetime | None, reason: str, by: str
) -> None:
    """Book that the gate was `armed` or `stopped`. Inside `writing`."""
    key = f"gate/{ledger.head(con)[0] + 1}"
    ledger.append(con, Event("gate", key, {"what": what, "at": at, "reason": reason, "by": by}))


def last_gate(con: sqlite3.Connection) -> dict[str, Any] | None:
    """The newest gate event's body, or None."""
    rows = ledger.of_kind(con, "gate", newest=1)
    return rows[0].body if rows else None


def last_stop_cause(con: sqlite3.Connection) -> str | None:
    """`BREACH` or `SPENT` when the present account was ended by one, else None."""
    present = account(con)
    for row in reversed(ledger.of_kind(con, "ended")):
        if present is not None and row.body["account"] == present.id:
            return row.body["cause"]
    return None


def book_end(
    con: sqlite3.Connection, account: Account, cause: str, at: datetime, text: str
) -> None:
    """Book that a total stop ended `account`. Inside `writing`; once per account."""
    if ledger.get(con, f"ended/{account.id}") is None:
        body = {"account": account.id, "cause": cause, "at": at, "text": text}
        ledger.append(con, Event("ended", f"ended/{account.id}", body))


def settings_in_force(con: sqlite3.Connection, at: datetime, values: Mapping[str, Any]) -> None:
    """Book the settings when they differ from those booked last. Inside `writing`."""
    rows = ledger.of_kind(con, "settings", newest=1)
    now = plain(values)
    before = rows[0].body["new"] if rows else None
    if before != now:
        key = f"settings/{ledger.head(con)[0] + 1}"
        ledger.append(con, Event("settings", key, {"at": at, "old": before, "new": now}))


def fees_paid(found: list[Fill], since: datetime | None = None) -> Decimal:
    """Fees of `found` from `since` on, in quote units."""
    return sum((f.fee_usdt for f in found if since is None or f.at >= since), Decimal(0))


def runway_days(
    account: Account, worth: Decimal, found: list[Fill], now: datetime, total_floor: Decimal
) -> Decimal | None:
    """For how many days equity `worth` stays over the total floor at the cost of the last 24 h (or less).

    Cost is fees plus half the spread paid at each fill. None while nothing was paid.
    """
    since = max(now - timedelta(days=1), account.opened_at)
    recent = [f for f in found if f.at >= since]
    cost = sum((f.fee_usdt + abs(f.price - f.mid) * f.quantity for f in recent), Decimal(0))
    hours = Decimal(str((now - since).total_seconds())) / 3600
    if cost <= 0 or hours <= 0:
        return None
    return (worth - total_floor) / (cost * 24 / hours)


def check_reason(reason: str | None, command: str) -> str:
    """`reason` without surrounding blanks. Raises `DomainError` when there is none."""
    if not reason or not reason.strip():
        raise DomainError(f"{command} needs a reason; expected {command} --reason 'why'")
    return reason.strip()
