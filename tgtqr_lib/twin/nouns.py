"""The twin's nouns: what was seen, what a book holds, what it came to. Every value is frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from tgtqr_lib.domain import ZERO, Fill, Portfolio, Position, Side
from tgtqr_lib.execution import BPS
from tgtqr_lib.portfolio import apply

NOTHING = Portfolio(ZERO)


@dataclass(frozen=True, slots=True)
class Hand:
    """What one of the two books has done since its start; money in quote units.

    portfolio     what is held, and what sales brought less what purchases took
    bought, sold  at the fills' prices, without fees
    fees          those taken in the coin at the fill's price
    realised      what sales brought over the cost of what they sold, fees off
    """

    portfolio: Portfolio = NOTHING
    buys: int = 0
    sales: int = 0
    bought: Decimal = ZERO
    sold: Decimal = ZERO
    fees: Decimal = ZERO
    realised: Decimal = ZERO

    def after(self, fill: Fill) -> Hand:
        """The hand after `fill`."""
        before, now = self.portfolio, apply(self.portfolio, fill)
        fees = self.fees + fill.fee_usdt
        if fill.side is Side.BUY:
            bought = self.bought + fill.notional
            return replace(self, portfolio=now, fees=fees, buys=self.buys + 1, bought=bought)
        cost = before.position(fill.symbol).cost - now.position(fill.symbol).cost
        return replace(
            self,
            portfolio=now,
            fees=fees,
            sales=self.sales + 1,
            sold=self.sold + fill.notional,
            realised=self.realised + now.cash - before.cash - cost,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one book came to in a span of time; money in quote units.

    result  cash earned and what is held at the end, less what was held at the beginning
    held    at the end, dust included, and `worth` its value
    """

    buys: int
    sales: int
    bought: Decimal
    sold: Decimal
    fees: Decimal
    realised: Decimal
    result: Decimal
    worth: Decimal
    held: tuple[Position, ...]

    @property
    def traded(self) -> Decimal:
        return self.bought + self.sold

    @property
    def purchase(self) -> Decimal | None:
        """What a purchase was worth on average, or None without one."""
        return self.bought / self.buys if self.buys else None

    @property
    def bps(self) -> Decimal | None:
        """The result in basis points of what was traded, or None when nothing was."""
        return self.result / self.traded * BPS if self.traded else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A sale that the exchange would have refused: worth less than its smallest order, at its limit.

    until  when what was held was sold after all; None while it is held
    """

    at: datetime
    symbol: str
    quantity: Decimal
    worth: Decimal
    minimum: Decimal
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Twin:
    """Both books over one span of time.

    minimum  the exchange's smallest order as last recorded, quote units
    legal    how many of the paper account's `orders` that traded the exchange would have taken
    trims    sales of a part, which are about the paper account's own limit: the twin leaves them out
    unmade   purchases that the twin did not make, for it still held what a refused sale had left
    """

    minimum: Decimal
    paper: Outcome
    twin: Outcome
    refusals: tuple[Refusal, ...]
    orders: int
    legal: int
    trims: int
    unmade: int


@dataclass(frozen=True, slots=True)
class Seen:
    """One fill of the paper account with what was recorded of its order and beside it.

    quantity, limit  of the order
    bid, ask, last   quote per base
    minimum          the exchange's smallest order, quote units
    legal            whether it would have taken this one
    """

    fill: Fill
    quantity: Decimal
    limit: Decimal
    bid: Decimal
    ask: Decimal
    last: Decimal
    minimum: Decimal
    legal: bool

    @property
    def lot(self) -> Decimal:
        """Quantities are recorded with the decimals of their lot, which is a power of ten."""
        return Decimal(1).scaleb(self.quantity.as_tuple().exponent)
