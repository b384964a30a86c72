"""`act`: the one function that turns an approved order into fills, for tick and watch alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from tgtqr_lib import books, journal, ledger, orders
from tgtqr_lib.brokers import BROKERS
from tgtqr_lib.brokers.bybit import Report, Sent, State
from tgtqr_lib.desk import Desk, ensure_day, today
from tgtqr_lib.domain import DataError, Fill, Inputs, Order, Quote, VenueUnavailable, Verdict
from tgtqr_lib.limits import QUOTE_MAX_AGE_S
from tgtqr_lib.risk import approved, first_refusal, review

FILLED, PARTIAL, REFUSED = "FILLED", "PARTIAL", "REFUSED"
OUTSIDE_COLLAR, NO_QUOTE = "OUTSIDE_COLLAR", "NO_QUOTE"
UNKNOWN, ORDER_UNKNOWN = "UNKNOWN", "ORDER_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Act:
    """What became of one order."""

    order: Order
    result: str
    reason: str
    text: str
    fill: Fill | None = None
    verdicts: tuple[Verdict, ...] = ()

    def plain(self) -> dict[str, str | None]:
        """As the sealed notebook, the log and `--json` tell it."""
        return {
            "order_id": self.order.id,
            "symbol": self.order.symbol,
            "side": str(self.order.side),
            "quantity": f"{self.order.quantity:f}",
            "limit": f"{self.order.limit:f}",
            "feasible": self.order.feasible,
            "result": self.result,
            "reason": self.reason,
            "text": self.text,
            "price": f"{self.fill.price:f}" if self.fill else None,
            "notional": f"{self.fill.notional:f}" if self.fill else None,
            "fee": f"{self.fill.fee:f}" if self.fill else None,
            # on paper all fees are in USDT, and the older archives do not say so
            **({"fee_currency": self.fill.fee_currency} if self.fill and self.fill.in_coin else {}),
        }


def act(desk: Desk, order: Order, frozen: Inputs) -> Act:
    """Book `order` and its fill, or book why not; an order that was booked before is only reported.

    A fresh quote is taken first. Then one transaction reads portfolio and gate again, runs every rule
    on today's state, and books the outcome; nothing of it is booked when that fails. An order for the
    exchange is booked as an intent there, sent after the commit, and its outcome booked when it is known.
    """
    con = desk.con
    if ledger.get(con, f"intent/{order.id}") is not None:  # sent before, perhaps by a run that died
        orders.look_up(desk)
        if books.booked_order(con, order) is None:
            return Act(order, UNKNOWN, ORDER_UNKNOWN, f"{order.id}: its outcome is not known yet")
    if frozen.account.venue is not None:
        desk.broker  # noqa: B018 - without keys nothing is begun
    if (known := books.booked_order(con, order)) is not None:
        return Act(order, known["result"], known["reason"], known["text"])
    try:
        quote = desk.exchange.quote(order.symbol)
        at = desk.exchange.time()
        opened = ensure_day(desk, at)  # may ask the exchange, so not inside the transaction
        desk.clock_offset_ms()
    except (DataError, VenueUnavailable) as error:
        return _book(desk, order, frozen, Act(order, NO_QUOTE, "DATA_STALE", str(error)), None)
    if (why := orders.not_ours(desk, order)) is not None:
        return _book(desk, order, frozen, Act(order, REFUSED, "ACCOUNT_TROUBLE", why), quote)
    age = Decimal(str((at - quote.at).total_seconds()))
    if order.is_exit and age > QUOTE_MAX_AGE_S:  # entries are refused for it by their rule
        text = f"{order.symbol}: the quote is {age:f} s old, at most {QUOTE_MAX_AGE_S} s"
        return _book(desk, order, frozen, Act(order, NO_QUOTE, "DATA_STALE", text), quote)
    with ledger.writing(con):
        if (known := books.booked_order(con, order)) is not None:
            return Act(order, known["result"], known["reason"], known["text"])
        now = with_quote(today(desk, frozen, at, opened), quote)
        outcome = _outcome(desk, order, now, quote, at)
        if isinstance(outcome, Act):
            _append(desk, now, outcome, quote, at)
    if isinstance(outcome, Act):
        _log(outcome)
        return outcome
    return _of_report(order, orders.send(desk, outcome))


def with_quote(inputs: Inputs, quote: Quote) -> Inputs:
    """`inputs` with the quote of its symbol replaced."""
    views = tuple(
        replace(view, quote=quote) if view.symbol == quote.symbol else view
        for view in inputs.markets
    )
    return replace(inputs, markets=views)


def _of_report(order: Order, report: Report) -> Act:
    """What the exchange told of an order, as an act."""
    if report.state is State.UNKNOWN:
        return Act(order, UNKNOWN, ORDER_UNKNOWN, report.text)
    result, reason = orders.BOOKED[report.state]
    return Act(order, result, reason, report.text, report.fill)


def _outcome(desk: Desk, order: Order, now: Inputs, quote: Quote, at: datetime) -> Act | Sent:
    """The act, or for an order that the rules allow to go to the exchange its booked intent."""
    verdicts = review(order, now)
    if not approved(verdicts):
        refusal = first_refusal(verdicts)
        return Act(order, REFUSED, refusal.code, refusal.text, None, verdicts)
    if now.account.venue is not None:
        return orders.intend(desk, now.account, order, at, quote, verdicts)
    fills = BROKERS["paper"](now.fees).submit(order, quote)
    if not fills:
        best = quote.ask if order.is_entry else quote.bid
        text = f"best price {best:f} is outside the limit {order.limit:f}"
        return Act(order, OUTSIDE_COLLAR, OUTSIDE_COLLAR, text, None, verdicts)
    (filled,) = fills
    whole = filled.quantity == order.quantity
    text = (
        f"{order.side} {filled.quantity:f} {order.symbol} at {filled.price:f}, fee {filled.fee:f}"
    )
    return Act(order, FILLED if whole else PARTIAL, "FILLED", text, filled, verdicts)


def _book(desk: Desk, order: Order, frozen: Inputs, outcome: Act, quote: Quote | None) -> Act:
    """Book an outcome that met no broker, unless the order was booked meanwhile."""
    with ledger.writing(desk.con):
        if (known := books.booked_order(desk.con, order)) is not None:
            return Act(order, known["result"], known["reason"], known["text"])
        _append(desk, frozen, outcome, quote, frozen.exchange_time)
    _log(outcome)
    return outcome


def _append(desk: Desk, now: Inputs, outcome: Act, quote: Quote | None, at: datetime) -> None:
    body = {
        "order": outcome.order,
        "at": at,
        "result": outcome.result,
        "reason": outcome.reason,
        "text": outcome.text,
        "verdicts": outcome.verdicts,
        "quote": quote and {"at": quote.at, "bid": quote.bid, "ask": quote.ask, "last": quote.last},
    }
    books.book_order(desk.con, now.account, outcome.order, body, outcome.fill)


def _log(outcome: Act) -> None:
    facts = {key: value for key, value in outcome.plain().items() if value is not None}
    journal.event("order", **facts)
