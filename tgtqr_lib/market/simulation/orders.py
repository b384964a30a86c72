"""Placing, cancelling and filling spot orders of an account, by Bybit's rules and in Bybit's words."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation import matching
from tgtqr_lib.market.simulation.account import QUOTE, ZERO, Account, Execution, Order, base_of
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulation.listed import key_of
from tgtqr_lib.market.simulation.matching import Level
from tgtqr_lib.market.simulation.v5 import DUPLICATE, Refused
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.simulation.wish import Rules, Wish

BOOK_LEVELS = 200
MOST_OPEN = 500


class Trading:
    """Orders of one account at one moment; used inside a turn of `accounts`."""

    def __init__(
        self, venue: Venue, accounts: Accounts, account: Account, fee_rate: Decimal, at_ms: int
    ) -> None:
        self._venue, self._accounts, self._account = venue, accounts, account
        self._fee_rate, self._at_ms = fee_rate, at_ms

    def place(self, wish: Wish, fraction: Decimal | None = None, rejected: bool = False) -> Order:
        """The order, filled as far as the book allows; `Refused` when a rule or the balance forbids it.

        `fraction` and `rejected` are faults: so much of it is filled at most and the rest cancelled, or it is
        accepted and then rejected.
        """
        if wish.link_id and self._account.find(None, wish.link_id) is not None:
            raise Refused("Duplicate clientOrderId.", DUPLICATE)
        rules = Rules.of(self._venue, wish.symbol)
        side = self._side(wish.symbol, wish.is_buy)
        self._check(wish, rules, side)
        account, serial = self._account, len(self._account.orders) + 1
        number = 10**6 + key_of(account.environment, account.name) % (8 * 10**6)
        order = Order(
            serial=serial,
            order_id=f"{number}{serial:012d}",
            link_id=wish.link_id,
            symbol=wish.symbol,
            side=wish.side,
            kind=wish.kind,
            in_force=wish.in_force,
            quantity=wish.quantity,
            by_value=wish.by_value,
            price=wish.price,
            status="New",
            cancel_type="UNKNOWN",
            reject_reason="EC_NoError",
            filled=ZERO,
            value=ZERO,
            fee=ZERO,
            last_price=self._last(wish.symbol),
            created_ms=self._at_ms,
            updated_ms=self._at_ms,
        )
        if rejected:
            order = replace(order, status="Rejected", reject_reason="EC_Others")
            self._accounts.commit(account, [order])
            return order
        taken, crosses = self._taken(wish, rules, side, fraction), False
        if wish.in_force == "PostOnly":
            taken, crosses = [], bool(taken)
        executions = self._executions(order, taken, maker=False)
        filled = order.with_fills(executions)
        order = _after(filled, cut_short=fraction is not None, crosses=crosses)
        self._accounts.commit(account, [order], executions)
        return order

    def cancel(self, order_id: str | None, link_id: str | None) -> Order:
        """The order, cancelled; `Refused` when it is unknown or over."""
        order = self._account.find(order_id, link_id)
        if order is None or not order.is_open:
            raise Refused("Order does not exist.", 170213)
        order = self._cancelled(order)
        self._accounts.commit(self._account, [order])
        return order

    def cancel_all(self, symbol: str | None) -> list[Order]:
        """Every open order, or those of `symbol`, cancelled."""
        gone = [
            self._cancelled(order)
            for order in self._account.open_orders()
            if symbol in (None, "", order.symbol)
        ]
        if gone:
            self._accounts.commit(self._account, gone)
        return gone

    def settle(self) -> None:
        """Fill resting orders that the book has come to by now, each at its own price."""
        for order in self._account.open_orders():
            side = self._side(order.symbol, order.is_buy)
            taken = self._taken_this_minute(order)
            reached = matching.rest(side, order.is_buy, order.price, order.left + taken)
            coins = min(reached - taken, order.left)
            if coins <= 0:
                continue
            executions = self._executions(order, [(order.price, coins)], maker=True)
            done = order.with_fills(executions)
            status = "Filled" if done.filled == done.quantity else "PartiallyFilled"
            done = replace(done, status=status, updated_ms=self._at_ms)
            self._accounts.commit(self._account, [done], executions)

    def _taken_this_minute(self, order: Order) -> Decimal:
        """What the order had of the levels that stand now: a level holds the same for a minute."""
        taken = ZERO
        for execution in reversed(self._account.executions):
            if execution.at_ms // MINUTE_MS != self._at_ms // MINUTE_MS:
                break
            if execution.order_id == order.order_id:
                taken += execution.quantity
        return taken

    def _check(self, wish: Wish, rules: Rules, side: list[Level]) -> None:
        """`Refused` unless the order keeps the symbol's rules and is covered."""
        if wish.by_value:
            if wish.quantity != round(wish.quantity, 7):
                raise Refused("Market order amount decimal too long.", 170148)
        elif wish.quantity % rules.lot:
            raise Refused("Order quantity has too many decimals.", 170137)
        if wish.quantity <= 0:
            raise Refused("Order quantity exceeded lower limit.", 170136)
        most = rules.most_market if wish.kind == "Market" else rules.most_limit
        if not wish.by_value and wish.quantity > most:
            raise Refused("Order quantity exceeded upper limit.", 170135)
        if wish.kind == "Limit":
            self._check_price(wish, rules)
        price = wish.price or (side[0][0] if side else self._last(wish.symbol))
        value = wish.quantity if wish.by_value else wish.quantity * price
        if value < rules.least_value:
            raise Refused("Order value exceeded lower limit.", 170140)
        if value > rules.most_value:
            raise Refused("Order amount too large.", 170124)
        if len(self._account.open_orders()) >= MOST_OPEN:
            raise Refused("Too many new orders; current limit is 500 orders.", 170005)
        if wish.is_buy and wish.kind == "Market" and not wish.by_value:
            taken = matching.take(side, True, None, coins=wish.quantity)
            value = sum((p * part for p, part in taken), ZERO)
        coin, needed = (QUOTE, value) if wish.is_buy else (base_of(wish.symbol), wish.quantity)
        if needed > self._account.free(coin):
            raise Refused("Insufficient balance.", 170131)

    def _check_price(self, wish: Wish, rules: Rules) -> None:
        """Bybit's bounds of a spot limit: max(index, index x (1 + x%) + premium) for a purchase.

        Index and last price are one here, so the premium is 0 and the wider bound of y% is never reached.
        """
        if wish.price <= 0:
            raise Refused("Order price lower than the minimum.", 170133)
        if wish.price % rules.tick:
            raise Refused("Order price has too many decimals.", 170134)
        index = self._last(wish.symbol)
        highest, lowest = index * (1 + rules.ratio), index * (1 - rules.ratio)
        if wish.is_buy and wish.price > highest:
            raise Refused(f"Buy order price cannot be higher than {_shown(highest)}USDT.", 170193)
        if not wish.is_buy and wish.price < lowest:
            raise Refused(f"Sell order price cannot be lower than {_shown(lowest)}USDT.", 170194)

    def _taken(
        self, wish: Wish, rules: Rules, side: list[Level], fraction: Decimal | None
    ) -> list[Level]:
        """What an order trades at once."""
        limit = wish.price if wish.kind == "Limit" else None
        wanted = wish.quantity * (1 if fraction is None else fraction)
        if wish.by_value:
            return matching.take(side, wish.is_buy, limit, value=wanted, lot=rules.lot)
        coins = matching.whole_lots(wanted, rules.lot)
        taken = matching.take(side, wish.is_buy, limit, coins=coins)
        whole = sum((part for _, part in taken), ZERO) == wish.quantity
        return [] if wish.in_force == "FOK" and not whole else taken

    def _executions(self, order: Order, taken: list[Level], maker: bool) -> list[Execution]:
        made, left = [], order.left
        for price, coins in taken:
            serial, value = len(self._account.executions) + len(made) + 1, coins * price
            left -= value if order.by_value else coins
            made.append(
                Execution(
                    serial=serial,
                    exec_id=f"2{order.order_id[:7]}{serial:012d}",
                    order_id=order.order_id,
                    price=price,
                    quantity=coins,
                    value=value,
                    fee=(coins if order.is_buy else value) * self._fee_rate,
                    fee_rate=self._fee_rate,
                    maker=maker,
                    left=left,
                    at_ms=self._at_ms,
                )
            )
        return made

    def _cancelled(self, order: Order) -> Order:
        return replace(
            order,
            status="PartiallyFilledCanceled" if order.filled else "Cancelled",
            cancel_type="CancelByUser",
            updated_ms=self._at_ms,
        )

    def _side(self, symbol: str, is_buy: bool) -> list[Level]:
        """What an order can trade with, best first; nothing before the first candle."""
        market = self._venue.spot
        book = market.book(symbol, self._at_ms, BOOK_LEVELS) or ((), ())
        step = Decimal(1).scaleb(-market.decimals(symbol))
        lot = Decimal(1).scaleb(-market.listings[symbol].lot_decimals)
        return [(int(price) * step, int(lots) * lot) for price, lots in book[1 if is_buy else 0]]

    def _last(self, symbol: str) -> Decimal:
        market = self._venue.spot
        steps = market.mid(symbol, self._at_ms)
        if steps is None:
            raise Refused("The trading pair is not open yet.", 170151)
        return Decimal(int(steps)).scaleb(-market.decimals(symbol))


def _after(order: Order, *, cut_short: bool, crosses: bool) -> Order:
    """An order that was just placed and filled as far as it goes, in the state that leaves it in."""
    if order.quantity == (order.value if order.by_value else order.filled):
        return replace(order, status="Filled")
    if order.in_force == "PostOnly":
        if crosses:
            return replace(order, status="Cancelled", reject_reason="EC_PostOnlyWillTakeLiquidity")
        return order
    if order.in_force == "GTC" and not cut_short:
        return replace(order, status="PartiallyFilled") if order.filled else order
    if order.filled:
        return replace(
            order, status="PartiallyFilledCanceled", reject_reason="EC_CancelForNoFullFill"
        )
    return replace(order, status="Cancelled", reject_reason="EC_NoImmediateQtyToFill")


def _shown(price: Decimal) -> str:
    text = f"{price:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
