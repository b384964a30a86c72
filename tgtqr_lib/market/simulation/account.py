"""An account of the simulated exchange: its wallet, orders and executions, all exact.

The wallet is the opening balances and what every execution moved, so that it can be added up again from them.
Nothing is rounded: a fee of 0.1 % on 0.000009 BTC is 0.000000009 BTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any

QUOTE = "USDT"
OPEN = ("New", "PartiallyFilled")
ZERO = Decimal(0)


def base_of(symbol: str) -> str:
    """The coin that `symbol` trades: BTC of BTCUSDT."""
    return symbol.removesuffix(QUOTE)


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the exchange knows it.

    serial       counts the account's orders from 1
    quantity     coins; of a market purchase by value, USDT
    by_value     whether `quantity` is USDT
    price        the limit; 0 of a market order
    filled       coins bought or sold; `value` is what they cost or brought, `fee` what was kept
    last_price   of the market when it was placed
    """

    serial: int
    order_id: str
    link_id: str
    symbol: str
    side: str
    kind: str
    in_force: str
    quantity: Decimal
    by_value: bool
    price: Decimal
    status: str
    cancel_type: str
    reject_reason: str
    filled: Decimal
    value: Decimal
    fee: Decimal
    last_price: Decimal
    created_ms: int
    updated_ms: int

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_buy(self) -> bool:
        return self.side == "Buy"

    @property
    def left(self) -> Decimal:
        """What may still be filled, in the unit of `quantity`; 0 once it is over."""
        if not self.is_open:
            return ZERO
        return self.quantity - (self.value if self.by_value else self.filled)

    @property
    def fee_coin(self) -> str:
        """Fees are taken from what comes in: the coin of a purchase, the USDT of a sale."""
        return base_of(self.symbol) if self.is_buy else QUOTE

    def with_fills(self, fills: Iterable[Execution]) -> Order:
        """The order after `fills`; its status stays."""
        done = list(fills)
        return replace(
            self,
            filled=self.filled + sum((f.quantity for f in done), ZERO),
            value=self.value + sum((f.value for f in done), ZERO),
            fee=self.fee + sum((f.fee for f in done), ZERO),
        )


@dataclass(frozen=True, slots=True)
class Execution:
    """A part of an order that was traded at one price; `left` is what it left of the order."""

    serial: int
    exec_id: str
    order_id: str
    price: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal
    fee_rate: Decimal
    maker: bool
    left: Decimal
    at_ms: int


@dataclass
class Account:
    """What one account has and did; changed by `apply` alone.

    opening     coin -> the balance it was opened with
    wallet      coin -> the balance now, what is locked in orders included
    orders      by order id, oldest first
    executions  oldest first
    """

    environment: str
    name: str
    opening: Mapping[str, Decimal]
    orders: dict[str, Order] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wallet: dict[str, Decimal] = dict(self.opening)
        self._by_link: dict[str, str] = {}
        self._open: dict[str, Order] = {}
        self._executed: dict[str, list[Execution]] = {}
        self.asked: dict[
            tuple[str, str], int
        ] = {}  # how often a fault hid an order from a question

    def apply(self, orders: Iterable[Order], executions: Iterable[Execution]) -> None:
        """Take in new and changed orders, and what was executed of them."""
        for order in orders:
            self.orders[order.order_id] = order
            self._open.pop(order.order_id, None)
            if order.is_open:
                self._open[order.order_id] = order
            if order.link_id:
                self._by_link[order.link_id] = order.order_id
        for execution in executions:
            self.executions.append(execution)
            self._executed.setdefault(execution.order_id, []).append(execution)
            order = self.orders[execution.order_id]
            base, sign = base_of(order.symbol), 1 if order.is_buy else -1
            self._add(base, sign * execution.quantity)
            self._add(QUOTE, -sign * execution.value)
            self._add(order.fee_coin, -execution.fee)

    def find(self, order_id: str | None, link_id: str | None) -> Order | None:
        """The order with the id, else with the client's id; the first goes before the second."""
        if order_id:
            return self.orders.get(order_id)
        return self.orders.get(self._by_link.get(link_id or "", ""))

    def executions_of(self, order: Order) -> list[Execution]:
        """What was traded of an order, oldest first."""
        return list(self._executed.get(order.order_id, ()))

    def open_orders(self) -> list[Order]:
        """Orders that rest in the book, oldest first."""
        return sorted(self._open.values(), key=lambda order: order.serial)

    def locked(self, coin: str) -> Decimal:
        """What resting orders keep of `coin`."""
        return sum(
            (
                order.left * order.price if order.is_buy else order.left
                for order in self._open.values()
                if coin == (QUOTE if order.is_buy else base_of(order.symbol))
            ),
            ZERO,
        )

    def free(self, coin: str) -> Decimal:
        """What can be spent of `coin`."""
        return self.wallet.get(coin, ZERO) - self.locked(coin)

    def _add(self, coin: str, amount: Decimal) -> None:
        self.wallet[coin] = self.wallet.get(coin, ZERO) + amount


def plain(value: Order | Execution) -> dict[str, Any]:
    """As JSON can hold it: decimals as text."""
    members = ((f.name, getattr(value, f.name)) for f in fields(value))
    return {
        name: format(member, "f") if isinstance(member, Decimal) else member
        for name, member in members
    }


def order_from(plain: Mapping[str, Any]) -> Order:
    """The order that `plain` made of it."""
    return Order(**_read(Order, plain))


def execution_from(plain: Mapping[str, Any]) -> Execution:
    """The execution that `plain` made of it."""
    return Execution(**_read(Execution, plain))


def _read(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f.name: Decimal(plain[f.name]) if f.type == "Decimal" else plain[f.name]
        for f in fields(kind)
    }
