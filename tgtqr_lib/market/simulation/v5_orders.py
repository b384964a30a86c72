"""Bybit's endpoints of orders and executions, of spot accounts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.account import Account, Execution, Order, base_of
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulation.calls import Call
from tgtqr_lib.market.simulation.keys import Key
from tgtqr_lib.market.simulation.order_rows import closed_row, execution_row, open_row
from tgtqr_lib.market.simulation.orders import Trading
from tgtqr_lib.market.simulation.v5 import Refused, Result
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.simulation.wish import Wish
from tgtqr_lib.market.source import DAY_MS

CATEGORIES = ("spot", "linear", "inverse", "option")
RECENT = 500  # closed orders that /v5/order/realtime remembers
WEEK_MS = 7 * DAY_MS
T = TypeVar("T", Order, Execution)


@dataclass(frozen=True, slots=True)
class Visit:
    """A genuine request: who asks, of which exchange, in a turn of its accounts."""

    venue: Venue
    accounts: Accounts
    account: Account
    key: Key
    call: Call

    @property
    def asked(self) -> Mapping[str, Any]:
        return self.call.asked

    @property
    def at_ms(self) -> int:
        return self.call.now_ms

    @property
    def trading(self) -> Trading:
        """The account's orders at this moment."""
        fee_rate = Decimal(self.key.fee_rate)
        return Trading(self.venue, self.accounts, self.account, fee_rate, self.at_ms)

    def category(self) -> str:
        """The category asked for."""
        return v5.category(self.asked, CATEGORIES)


def create(visit: Visit) -> Result:
    """Place a spot order; what comes back says that it was accepted, not what became of it."""
    link_id = visit.asked.get("orderLinkId")
    if visit.category() != "spot" and visit.account.find(None, link_id) is not None:
        raise Refused("OrderLinkedID is duplicate", 110072)
    _spot_only(visit)
    wish = Wish.read(visit.asked, visit.venue.symbols)
    return _ids(visit.trading.place(wish, visit.call.fraction, visit.call.rejected))


def cancel(visit: Visit) -> Result:
    """Cancel the order of an id, or else of a client's id."""
    _spot_only(visit)
    return _ids(visit.trading.cancel(visit.asked.get("orderId"), visit.asked.get("orderLinkId")))


def cancel_all(visit: Visit) -> Result:
    """Cancel every open order, or those of a symbol."""
    if visit.category() != "spot":
        return {"list": [], "success": "1"}
    gone = visit.trading.cancel_all(visit.asked.get("symbol"))
    return {"list": [_ids(order) for order in gone], "success": "1"}


def realtime(visit: Visit) -> Result:
    """Open orders, newest first; with `openOnly` 1 the latest closed ones, by an id whatever its state."""
    category, forgotten = visit.category(), len(visit.account.orders) - RECENT
    found = _asked_for(visit, category)
    if _by_id(visit):
        found = [order for order in found if order.is_open or order.serial > forgotten]
    elif visit.asked.get("openOnly") == "1":
        found = [order for order in found if not order.is_open and order.serial > forgotten]
    else:
        found = [order for order in found if order.is_open]
    page, cursor = _page(visit, found, usual=20, most=50)
    return {
        "list": [open_row(order) for order in page],
        "nextPageCursor": cursor,
        "category": category,
    }


def history(visit: Visit) -> Result:
    """Orders that are over, newest first; those without a fill for a day, the others for two years."""
    category, day_ago = visit.category(), visit.at_ms - DAY_MS
    found = [
        order
        for order in _asked_for(visit, category)
        if not order.is_open and (order.filled or order.updated_ms >= day_ago)
    ]
    if not _by_id(visit):
        first, last = _span(visit)
        found = [order for order in found if first <= order.created_ms <= last]
    if status := visit.asked.get("orderStatus"):
        found = [order for order in found if order.status == status]
    page, cursor = _page(visit, found, usual=20, most=50)
    return {
        "list": [closed_row(order) for order in page],
        "nextPageCursor": cursor,
        "category": category,
    }


def executions(visit: Visit) -> Result:
    """What was traded, newest first."""
    category, account = visit.category(), visit.account
    orders = _asked_for(visit, category)
    found = _newest_first(one for order in orders for one in account.executions_of(order))
    if not _by_id(visit):
        first, last = _span(visit)
        found = [execution for execution in found if first <= execution.at_ms <= last]
    page, cursor = _page(visit, found, usual=50, most=100)
    return {
        "nextPageCursor": cursor,
        "category": category,
        "list": [execution_row(visit.venue, one, account.orders[one.order_id]) for one in page],
    }


def _spot_only(visit: Visit) -> None:
    if visit.category() != "spot":  # the kit never trades anything else
        raise Refused("Trading is currently not allowed.", 110066)


def _ids(order: Order) -> Result:
    return {"orderId": order.order_id, "orderLinkId": order.link_id}


def _by_id(visit: Visit) -> bool:
    return bool(visit.asked.get("orderId") or visit.asked.get("orderLinkId"))


def _asked_for(visit: Visit, category: str) -> list[Order]:
    """Newest first: the order of an id, else of the client's id, else those of a symbol or coin, else all."""
    asked, account = visit.asked, visit.account
    if category != "spot":
        return []
    if _by_id(visit):
        order = account.find(asked.get("orderId"), asked.get("orderLinkId"))
        return [] if order is None else [order]
    orders = account.orders.values()
    if asked.get("symbol"):
        orders = [order for order in orders if order.symbol == asked["symbol"]]
    elif asked.get("baseCoin"):
        orders = [order for order in orders if base_of(order.symbol) == asked["baseCoin"]]
    return _newest_first(orders)


def _span(visit: Visit) -> tuple[int, int]:
    """First and last moment asked for: seven days unless both are given, and never more."""
    first, last = v5.integer(visit.asked, "startTime"), v5.integer(visit.asked, "endTime")
    if first is not None and last is not None and not 0 <= last - first <= WEEK_MS:
        raise Refused("params error: the time range must be 0 to 7 days")
    if first is None:
        last = visit.at_ms if last is None else last
        return last - WEEK_MS, last
    return first, first + WEEK_MS if last is None else last


def _moment(one: Order | Execution) -> int:
    return one.created_ms if isinstance(one, Order) else one.at_ms


def _newest_first(every: Iterable[T]) -> list[T]:
    return sorted(every, key=lambda one: (_moment(one), one.serial), reverse=True)


def _page(visit: Visit, found: list[T], usual: int, most: int) -> tuple[list[T], str]:
    """A page of what was found and the cursor of the next, which is empty at the end."""
    limit = v5.integer(visit.asked, "limit", default=usual, most=most)
    if cursor := visit.asked.get("cursor"):
        place = re.fullmatch(r"([0-9]{1,19})(?:%3A|:)([0-9]{1,19})", cursor)
        if place is None:
            raise Refused("params error: cursor is invalid")
        at_ms, serial = map(int, place.groups())
        found = [one for one in found if (_moment(one), one.serial) < (at_ms, serial)]
    page = found[:limit]
    if len(found) <= limit:
        return page, ""
    return page, f"{_moment(page[-1])}%3A{page[-1].serial}"
