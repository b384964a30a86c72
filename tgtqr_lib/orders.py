"""An order's way to an account at the exchange and back: intent, sending, looking up, booking.

The intent is durable before the order leaves. An intent without an outcome is an order whose fate is not
known: it is looked up by every tick and beat until the exchange tells, and while it is open nothing new is
bought. Nothing is ever sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tgtqr_lib import books, gate, journal, ledger
from tgtqr_lib.brokers.bybit import Report, Sent, State
from tgtqr_lib.canonical import restore
from tgtqr_lib.domain import (
    ZERO,
    Account,
    BrokerError,
    DataError,
    DomainError,
    Order,
    Quote,
    Verdict,
)
from tgtqr_lib.ledger import Row

if TYPE_CHECKING:
    from tgtqr_lib.desk import Desk

OUTSIDE_COLLAR = "OUTSIDE_COLLAR"
REJECTED, EXCHANGE_REFUSED = "REJECTED", "EXCHANGE_REFUSED"
NEVER_ARRIVED, FOREIGN = "NEVER_ARRIVED", "FOREIGN"
CASH = "USDT"
# how far the exchange's own rounding may lead ledger and wallet apart; an order is a hundred times larger
TOLERANCE = {CASH: Decimal("0.0001")}
COIN_TOLERANCE = Decimal("0.00000001")
GIVE_UP_AFTER = timedelta(hours=1)  # when a person answers for what the wallet shows

# state of a report -> result and reason as they are booked
BOOKED = {
    State.FILLED: ("FILLED", "FILLED"),
    State.PARTIAL: ("PARTIAL", "FILLED"),
    State.CANCELLED: (OUTSIDE_COLLAR, OUTSIDE_COLLAR),
    State.REJECTED: (REJECTED, EXCHANGE_REFUSED),
    State.NEVER_ARRIVED: (NEVER_ARRIVED, NEVER_ARRIVED),
    State.FOREIGN: (FOREIGN, FOREIGN),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ledger and exchange account side by side, coin -> balance; both count from the opening."""

    expected: dict[str, Decimal]
    wallet: dict[str, Decimal]

    @property
    def differences(self) -> dict[str, Decimal]:
        """Coin -> how much more the account holds than the ledger says, where it is not exactly equal."""
        return {
            coin: self.wallet[coin] - due
            for coin, due in self.expected.items()
            if self.wallet[coin] != due
        }

    @property
    def problem(self) -> str | None:
        """What they disagree about beyond the exchange's rounding, in a sentence; None when they agree."""
        beyond = {
            coin: off
            for coin, off in self.differences.items()
            if abs(off) > TOLERANCE.get(coin, COIN_TOLERANCE)
        }
        if not beyond:
            return None
        told = ", ".join(
            f"{coin} {self.wallet[coin]:f} instead of {self.expected[coin]:f}" for coin in beyond
        )
        return (
            f"the account holds {told}; somebody else trades or moves money on it, the keys are another "
            "account's, or this ledger is an older copy: see `tgtqr preflight`"
        )


def intend(
    desk: Desk,
    account: Account,
    order: Order,
    at: datetime,
    quote: Quote,
    verdicts: tuple[Verdict, ...],
) -> Sent:
    """Book the intent of `order` at exchange time `at`. Inside `writing`; send it after the commit."""
    body = {
        "account": account.id,
        "order": order,
        "at": at,
        "mid": quote.mid,
        "verdicts": verdicts,
        "quote": {"at": quote.at, "bid": quote.bid, "ask": quote.ask, "last": quote.last},
    }
    books.book_intent(desk.con, order, body)
    return Sent(order, at, quote.mid)


def send(desk: Desk, sent: Sent) -> Report:
    """Send an order whose intent is booked, and book what came of it unless that is not known yet."""
    row = ledger.get(desk.con, f"intent/{sent.order.id}")
    return _book(desk, row, sent, desk.broker.submit(sent))


def attend(desk: Desk, at: datetime) -> None:
    """Look up every open order of the present account, then compare it with the ledger at time `at`.

    Nothing to do on paper. Trouble of the exchange is booked as a problem of the account, never raised.
    """
    account = books.account(desk.con)
    if account is None or account.venue is None:
        return
    desk.follow(account)
    look_up(desk)
    if books.open_intents(desk.con):
        return  # the wallet cannot agree while an order may have moved it
    wallet: dict[str, Decimal] | None = None
    before = ledger.head(desk.con)
    try:
        key_problem = desk.broker.key_problem()
        found = compare(desk, account)
        wallet, problem = found.wallet, key_problem or found.problem
        if ledger.head(desk.con) != before:
            return  # a tick booked something while the wallet was read; the next beat compares
    except (BrokerError, DataError, DomainError) as error:
        problem = f"the account cannot be read: {error}"
    _note(desk, account, at, problem, wallet)


def not_ours(desk: Desk, order: Order) -> str | None:
    """Why a sale would sell what is not the ledger's, or None: the account holds too little beside what it had before.

    Somebody else has sold it then. An account that cannot be read holds up no exit.
    """
    account = books.account(desk.con)
    if account is None or account.venue is None or order.is_entry:
        return None
    if books.open_intents(desk.con):
        return None  # an open order may have moved the wallet; its own rule judges
    coin = order.symbol.removesuffix(CASH)
    try:
        there = desk.broker.wallet((coin,))[coin]
    except (BrokerError, DataError, DomainError):
        return None
    before = books.opening_wallet(desk.con, account)[coin]
    if there - before + COIN_TOLERANCE >= order.quantity:
        return None
    return (
        f"the account holds {there:f} {coin}, of which {before:f} are not the ledger's: "
        f"{order.quantity:f} cannot be sold; somebody else sold them"
    )


def look_up(desk: Desk, *, answered_for: bool = False) -> None:
    """Ask what came of every open order, and book what is known now; there is none on paper.

    While the wallet has moved, an order that is in no list is not given up; after an hour it is when a person
    answers for the wallet (`answered_for`).
    """
    for row in books.open_intents(desk.con):
        sent = _sent(row)
        try:
            report = desk.broker.find(sent)
            alone = answered_for and desk.exchange.time() - sent.at > GIVE_UP_AFTER
            gone = report.state is State.NEVER_ARRIVED
            if gone and not alone and (moved := _moved(desk, row)) is not None:
                report = Report(State.UNKNOWN, f"{sent.order.id} is in no list, and yet {moved}")
        except (BrokerError, DataError, DomainError) as error:  # no keys any more, say
            report = Report(State.UNKNOWN, f"{sent.order.id}: not known yet ({error})")
        _book(desk, row, sent, report)


def compare(desk: Desk, account: Account) -> Comparison:
    """What the ledger expects on the account and what is there.

    Raises `BrokerError` or `DataError` when the account cannot be read.
    """
    opening = books.opening_wallet(desk.con, account)
    wallet = desk.broker.wallet(tuple(opening))
    held = books.portfolio(desk.con, account)
    expected = {
        coin: before + (held.cash - account.initial_equity if coin == CASH else ZERO)
        for coin, before in opening.items()
    }
    for position in held.positions:
        expected[position.symbol.removesuffix(CASH)] += position.quantity
    return Comparison(expected, wallet)


def _moved(desk: Desk, row: Row) -> str | None:
    """What the wallet says against an order that is in no list: the second witness of a fill."""
    return compare(desk, _account_of(desk, row)).problem


def _note(
    desk: Desk,
    account: Account,
    at: datetime,
    problem: str | None,
    wallet: dict[str, Decimal] | None,
) -> None:
    with ledger.writing(desk.con):
        fresh = books.book_account_look(desk.con, account, at, problem, wallet)
    if fresh:
        journal.event("account_look", account=account.id, problem=problem or "none")


def _book(desk: Desk, row: Row, sent: Sent, report: Report) -> Report:
    """Book a report that is the end of an order, and stop the kit for one that should not have been."""
    order = sent.order
    if report.state is State.UNKNOWN:
        journal.event("order_unknown", order_id=order.id, text=report.text)
        return report
    result, reason = BOOKED[report.state]
    body = {name: row.body[name] for name in ("order", "at", "verdicts", "quote")}
    body |= {"result": result, "reason": reason, "text": report.text}
    account = _account_of(desk, row)
    if books.booked_order(desk.con, order) is None:
        # first: after a crash behind it the order is still open, is found again, and stops the kit again
        _answer(desk, account, sent, report)
    with ledger.writing(desk.con):
        if books.booked_order(desk.con, order) is not None:  # by the watch, or by the tick
            return report
        books.book_order(desk.con, account, order, body, report.fill)
    journal.event("order", order_id=order.id, result=result, reason=reason, text=report.text)
    return report


def _answer(desk: Desk, account: Account, sent: Sent, report: Report) -> None:
    """What a refusal means beyond its order: a latched stop, a problem of the account, or nothing."""
    if report.state is State.FOREIGN:
        gate.stop(desk.home, f"FOREIGN_ORDER: {report.text}", "the orders")
    elif report.state is State.REJECTED:
        refusal = report.refusal
        if refusal is not None and refusal.of_the_key:
            desk.broker.forget_key()
            _note(desk, account, sent.at, report.text, None)
        elif refusal is None or not refusal.passes:
            # every rule of ours had allowed it: the account is not what the ledger thinks
            gate.stop(desk.home, f"{EXCHANGE_REFUSED}: {report.text}", "the orders")


def _sent(row: Row) -> Sent:
    where = f"event {row.seq}"
    return Sent(
        restore(Order, row.body["order"], where),
        restore(datetime, row.body["at"], where),
        restore(Decimal, row.body["mid"], where),
    )


def _account_of(desk: Desk, row: Row) -> Account:
    """The account an intent was booked for, which need not be the present one."""
    body: dict[str, Any] = ledger.get(desk.con, f"account/{row.body['account']}").body
    return restore(Account, body["account"], "account")
