"""The Bybit broker: an order goes to a demo or testnet account, and its fate is found out by its client id.

Spot, limit, immediate or cancel. What came of an order is told by the exchange's own record of order and executions,
never by the answer to the request that sent it: an acknowledgement is not a fill, and no answer is not a refusal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from tgtqr_lib.brokers.bybit_client import (
    RECV_WINDOW_MS,
    Duplicate,
    OutcomeUnknown,
    PrivateClient,
    Refused,
)
from tgtqr_lib.clock import from_ms, to_ms
from tgtqr_lib.domain import BrokerError, DataError, Fill, Level, Order, Side, VenueUnavailable

CATEGORY = "spot"
SIDES = {Side.BUY: "Buy", Side.SELL: "Sell"}
OVER = frozenset({"Filled", "PartiallyFilledCanceled", "Cancelled", "Rejected", "Deactivated"})
LOOK_AGAIN_S = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.8,
    1.6,
)  # after sending; what is not known then the next beat asks
LOOK_AGAIN_SIMULATED_S = (0.0, 0.005, 0.02)
# An order that cannot arrive any more and is in no list by then was never there.
LOST_AFTER = timedelta(seconds=60)
# how much older than its intent our own order can look: servers disagree, and only that much is let in
CLOCKS_APART = timedelta(milliseconds=RECV_WINDOW_MS + 1000)
KEY_AGAIN_S = 3600.0
NOT_ON_DEMO = "10032"
PAGE = 100
MOST_PAGES = 20


class State(StrEnum):
    """Where an order stands. Of these only UNKNOWN is not the end."""

    FILLED = "FILLED"
    PARTIAL = "PARTIAL"
    CANCELLED = "CANCELLED"  # nothing of it was filled
    REJECTED = "REJECTED"  # the exchange would not have it
    NEVER_ARRIVED = "NEVER_ARRIVED"
    FOREIGN = "FOREIGN"  # the id was used before this order was sent: somebody else's order
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of an order.

    refusal  the exchange's refusal when it is REJECTED by an answer, whose `code` says what it means
    """

    state: State
    text: str
    fill: Fill | None = None
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An order as its intent was booked: when it was signed, and the middle of the book just before."""

    order: Order
    at: datetime
    mid: Decimal


class BybitBroker:
    """Orders on one account. Methods raise nothing for a bad day: what is not known is `UNKNOWN`."""

    def __init__(self, client: PrivateClient) -> None:
        self.client = client
        self._looks = LOOK_AGAIN_SIMULATED_S if client.simulated else LOOK_AGAIN_S
        self._key: tuple[float | None, str | None] = (
            None,
            None,
        )  # when it was asked, what was found

    def submit(self, sent: Sent) -> Report:
        """Send an order once, and look for what came of it; `sent` must be booked before."""
        order = sent.order
        try:
            self.client.tell(
                "order_create",
                at_ms=to_ms(sent.at),
                category=CATEGORY,
                symbol=order.symbol,
                side=SIDES[order.side],
                orderType="Limit",
                timeInForce="IOC",
                qty=f"{order.quantity:f}",
                price=f"{order.limit:f}",
                isLeverage=0,
                orderLinkId=order.id,
            )
        except Refused as error:
            return Report(State.REJECTED, str(error), refusal=error)
        except (Duplicate, OutcomeUnknown):
            pass
        report = self.find(sent)
        for pause in self._looks:
            if report.state is not State.UNKNOWN:
                break
            time.sleep(pause)
            report = self.find(sent)
        return report

    def find(self, sent: Sent) -> Report:
        """What the exchange knows of an order that was sent, or may have been."""
        try:
            # before the lists are read: what is not in them although it had its time never will be
            lost = self.client.now_ms() > to_ms(sent.at + LOST_AFTER) + RECV_WINDOW_MS
            found = self._order(sent.order)
            executions = self._executions(sent.order)
        except (BrokerError, DataError, ArithmeticError, KeyError, TypeError, ValueError) as error:
            return Report(State.UNKNOWN, f"{sent.order.id}: not known yet ({_words(error)})")
        if found is not None:
            try:
                return self._told(sent, found, executions)
            except (ArithmeticError, KeyError, TypeError, ValueError) as error:
                return Report(
                    State.UNKNOWN, f"{sent.order.id}: the answer is not readable ({_words(error)})"
                )
        if executions:
            return Report(
                State.UNKNOWN, f"{sent.order.id}: executions are there, the order not yet"
            )
        if lost:
            return Report(
                State.NEVER_ARRIVED,
                f"{sent.order.id} never reached the exchange: {LOST_AFTER.seconds + RECV_WINDOW_MS // 1000} s "
                "later it is in no list",
            )
        return Report(State.UNKNOWN, f"{sent.order.id}: the exchange does not show it yet")

    def wallet(self, coins: Sequence[str]) -> dict[str, Decimal]:
        """Balance of each of `coins` on the account; a coin that is not listed is 0.

        Raises `Refused` or `VenueUnavailable`; `DataError` for an answer that cannot be.
        """
        result = self.client.ask("account_wallet_balance", accountType="UNIFIED")
        try:
            (account,) = result["list"]
            listed = {
                entry["coin"]: Decimal(entry["walletBalance"] or "0") for entry in account["coin"]
            }
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"account at {self.client.host}: the wallet is not readable ({_words(error)})"
            ) from None
        return {coin: listed.get(coin, Decimal(0)) for coin in coins}

    def key_problem(self) -> str | None:
        """Why nothing should be bought with this key, in a sentence: it could move money out, or cannot trade.

        Asked once an hour. None when all is well, and for an account whose exchange does not tell (demo trading).
        Raises `Refused` or `VenueUnavailable`; `DataError` for an answer that cannot be.
        """
        asked, problem = self._key
        if asked is None or time.monotonic() - asked > KEY_AGAIN_S:
            problem = self._ask_key()
            self._key = time.monotonic(), problem
        return problem

    def forget_key(self) -> None:
        """Ask for its rights anew at the next look: an order was refused for them."""
        self._key = None, None

    def _ask_key(self) -> str | None:
        try:
            facts = self.client.ask("user_query_api")
        except Refused as error:
            if error.code == NOT_ON_DEMO:
                return None
            raise
        try:
            granted = {right for rights in facts["permissions"].values() for right in rights}
            moves = granted & {*facts["permissions"].get("Wallet", ()), "Withdraw"}
            read_only = int(facts.get("readOnly", 0)) != 0
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"account at {self.client.host}: the key's rights are not readable ({_words(error)})"
            ) from None
        if moves:
            return (
                f"the key may move money out of the account ({', '.join(sorted(moves))}); "
                "make one that may only trade spot"
            )
        if read_only:
            return "the key is read-only and cannot trade; make one that may trade spot"
        return None

    def _order(self, order: Order) -> Mapping[str, Any] | None:
        """The order as the exchange shows it, or None."""
        for question in ("order_realtime", "order_history"):
            result = self.client.ask(question, category=CATEGORY, orderLinkId=order.id)
            for entry in result["list"]:
                if entry["orderLinkId"] == order.id:
                    return entry
        return None

    def _executions(self, order: Order) -> list[Mapping[str, Any]]:
        """Its executions, each once, in order of time; the exchange may list them twice or in any order."""
        found: dict[str, Mapping[str, Any]] = {}
        cursor = ""
        for _ in range(MOST_PAGES):
            more = {"cursor": cursor} if cursor else {}
            result = self.client.ask(
                "execution_list",
                category=CATEGORY,
                symbol=order.symbol,
                orderLinkId=order.id,
                limit=PAGE,
                **more,
            )
            for entry in result["list"]:
                if entry["orderLinkId"] == order.id and entry.get("execType", "Trade") == "Trade":
                    found[entry["execId"]] = entry
            cursor = result.get("nextPageCursor") or ""
            if not cursor:
                break
        return sorted(found.values(), key=lambda e: (int(e["execTime"]), e["execId"]))

    def _told(
        self, sent: Sent, found: Mapping[str, Any], executions: list[Mapping[str, Any]]
    ) -> Report:
        """The report of an order that the exchange shows."""
        order, status = sent.order, found["orderStatus"]
        if (strange := _strange(sent, found)) is not None:
            return Report(State.FOREIGN, strange)
        if status not in OVER:
            self._cancel(order)
            return Report(State.UNKNOWN, f"{order.id} is {status}; it is to be cancelled")
        done = Decimal(found["cumExecQty"] or "0")
        here = sum((Decimal(e["execQty"]) for e in executions), Decimal(0))
        if done != here:
            return Report(
                State.UNKNOWN,
                f"{order.id} is {status} with {done:f}, of which {here:f} is listed so far",
            )
        if not executions:
            if status == "Rejected":
                why = found.get("rejectReason") or "no reason given"
                return Report(State.REJECTED, f"the exchange rejected {order.id}: {why}")
            return Report(
                State.CANCELLED, f"{order.id}: nothing was filled inside the limit {order.limit:f}"
            )
        filled = _fill(sent, executions)
        state = State.FILLED if filled.quantity == order.quantity else State.PARTIAL
        text = (
            f"{order.side} {filled.quantity:f} {order.symbol} at {filled.price:f}, "
            f"fee {filled.fee:f} {filled.fee_currency}"
        )
        return Report(state, text, filled)

    def _cancel(self, order: Order) -> None:
        """Ask for an order that should not rest to be cancelled; what came of it the next look tells."""
        try:
            self.client.tell(
                "order_cancel", category=CATEGORY, symbol=order.symbol, orderLinkId=order.id
            )
        except (BrokerError, VenueUnavailable):
            return


def _strange(sent: Sent, found: Mapping[str, Any]) -> str | None:
    """Why the order of this id is not the one that was sent, or None."""
    order, made = sent.order, from_ms(int(found["createdTime"]))
    same = (
        found["symbol"] == order.symbol
        and found["side"] == SIDES[order.side]
        and Decimal(found["qty"]) == order.quantity
        and Decimal(found["price"]) == order.limit
    )
    if same and made >= sent.at - CLOCKS_APART:
        return None
    return (
        f"{order.id} is on the account already: {found['side']} {found['qty']} {found['symbol']} at "
        f"{found['price']}, made {made.isoformat()}, and this ledger did not send it then; "
        "another machine, or an older copy of this ledger, trades the same account"
    )


def _fill(sent: Sent, executions: list[Mapping[str, Any]]) -> Fill:
    """All executions of an order as one fill, in the exchange's own figures, none of them rounded."""
    order = sent.order
    (currency,) = {e["feeCurrency"] or _fee_coin(order) for e in executions}
    figures = [
        (
            Decimal(e["execPrice"]),
            Decimal(e["execQty"]),
            Decimal(e["execValue"]),
            Decimal(e["execFee"]),
        )
        for e in executions
    ]
    if not all(n.is_finite() for row in figures for n in row):
        raise InvalidOperation("an execution has a figure that is no number")
    return Fill(
        order_id=order.id,
        symbol=order.symbol,
        side=order.side,
        quantity=sum((row[1] for row in figures), Decimal(0)),
        notional=sum((row[2] for row in figures), Decimal(0)),
        fee=sum((row[3] for row in figures), Decimal(0)),
        at=from_ms(int(executions[-1]["execTime"])),
        levels=tuple(Level(price, quantity) for price, quantity, _, _ in figures),
        mid=sent.mid,
        fee_currency=currency,
    )


def _fee_coin(order: Order) -> str:
    """In what the exchange takes the fee of a spot order: the coin that is got."""
    return order.symbol.removesuffix("USDT") if order.is_entry else "USDT"


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
