"""The twin's fills, read from the ledger: each with the quote and the limits recorded beside it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tgtqr_lib import ledger
from tgtqr_lib.canonical import restore
from tgtqr_lib.domain import Account, DomainError, Fill
from tgtqr_lib.twin.book import Book
from tgtqr_lib.twin.nouns import Seen, Twin

# USDT, of Bybit's spot market since 2025-10-09; for orders that recorded none
MINIMUM = Decimal("5.00")
NEEDS = re.compile(r"no, needs (\d+(?:\.\d+)?)")


@dataclass(slots=True)
class Reading:
    """A twin's book and the fill up to which the ledger has been read into it, by its event."""

    account: str
    book: Book = field(default_factory=Book)
    seq: int = 0
    head: str = ledger.GENESIS


def read(con: sqlite3.Connection, account: Account, known: Reading | None = None) -> Reading | None:
    """The twin of `account`; None for an account whose orders the exchange itself gets.

    With `known`, an earlier reading, only what came after it is read; another account or another ledger
    begins anew. Raises `DomainError` for an order or a fill that is no such thing.
    """
    if account.venue is not None:
        return None
    found = known if known is not None and _goes_on(con, account, known) else Reading(account.id)
    prefix = f"fill/{account.id}/"
    for row in ledger.of_kind(con, "fill", after=found.seq):
        if row.key.startswith(prefix):
            fill = restore(Fill, row.body, f"event {row.seq}")
            # one at a time: an order carries every verdict, and a year of them would fill the memory
            order = ledger.get(con, f"order/{fill.order_id}")
            found.book.take(seen(fill, order.body if order else {}))
            found.seq, found.head = row.seq, row.hash
    return found


def whole(con: sqlite3.Connection, reading: Reading) -> Twin:
    """The twin since the account was opened, at the closes of the newest mark."""
    newest = ledger.newest_mark(con)
    closes = {s: Decimal(close) for s, close in newest.closes.items()} if newest else {}
    return reading.book.span(closes)


def _goes_on(con: sqlite3.Connection, account: Account, known: Reading) -> bool:
    if known.account != account.id:
        return False
    last = ledger.between(con, known.seq, known.seq)
    return not known.seq or bool(last and last[0].hash == known.head)


def seen(fill: Fill, body: Mapping[str, Any]) -> Seen:
    """`fill` with what its `order` event recorded.

    Without a quote the fill's own best price counts, and all that is left of an order that the ledger has
    lost is its fill: the audit tells of that.
    """
    try:
        return _seen(fill, body)
    except DomainError:
        return _seen(fill, {})


def _seen(fill: Fill, body: Mapping[str, Any]) -> Seen:
    best = fill.levels[0].price
    order, quote = body.get("order") or {}, body.get("quote") or {}
    quantity, limit = order.get("quantity", fill.quantity), order.get("limit", best)
    bid, ask, last = (quote.get(name, best) for name in ("bid", "ask", "last"))
    try:
        numbers = [Decimal(one) for one in (quantity, limit, bid, ask, last)]
    except (ArithmeticError, TypeError, ValueError):
        raise DomainError(f"order {fill.order_id}: a figure of it is not a number") from None
    if not all(one.is_finite() and one > 0 for one in numbers):
        raise DomainError(f"order {fill.order_id}: a figure of it is not positive")
    quantity, limit, bid, ask, last = numbers
    said = str(order.get("feasible", ""))
    needs, legal = NEEDS.fullmatch(said), said == "yes"
    # an order that the exchange would take tells only that its smallest one is not larger
    unknown = min(MINIMUM, quantity * limit) if legal else MINIMUM
    minimum = Decimal(needs[1]) if needs else unknown
    return Seen(fill, quantity, limit, bid, ask, last, minimum, legal)
