"""What an order costs: the walk through the book, the fee, the rounding.

What we pay is rounded up to 1e-8, what we get is rounded down, each once, on the fill.
"""

from __future__ import annotations

from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from tgtqr_lib.domain import UNIT, ZERO, DomainError, Fees, Fill, Level, Order, Quote, Side

BPS = Decimal(10_000)

# Bybit's VIP 0 schedule, taker, by the date from which it holds. ccxt's built-in figures are wrong.
FEE_TABLE: dict[str, list[tuple[date, Decimal]]] = {
    "spot": [(date(2022, 6, 1), Decimal(10))],
}
FEE_SOURCE = "Bybit VIP 0 spot taker"


def round_up(amount: Decimal) -> Decimal:
    """`amount` rounded up to 1e-8: what we pay."""
    return amount.quantize(UNIT, ROUND_CEILING)


def round_down(amount: Decimal) -> Decimal:
    """`amount` rounded down to 1e-8: what we get."""
    return amount.quantize(UNIT, ROUND_FLOOR)


def fees_on(day: date, market: str = "spot") -> Fees:
    """The fees of `market` on `day`; before the first known date, the first known ones.

    Raises `DomainError` for a market without a table.
    """
    if market not in FEE_TABLE:
        raise DomainError(f"market {market!r} has no fee table; expected {sorted(FEE_TABLE)}")
    rows = FEE_TABLE[market]
    since, bps = max((row for row in rows if row[0] <= day), default=rows[0])
    return Fees(bps=bps, since=since.isoformat(), source=FEE_SOURCE)


def fee_on(notional: Decimal, fees: Fees) -> Decimal:
    """The fee on `notional` in quote units, rounded up to 1e-8."""
    return round_up(notional * fees.bps / BPS)


def worst_cost(order: Order, fees: Fees) -> Decimal:
    """The most an entry can cost: quantity x limit, rounded up, plus its fee, in quote units."""
    return round_up(order.notional) + fee_on(order.notional, fees)


def mark_value(quantity: Decimal, price: Decimal) -> Decimal:
    """What `quantity` is worth at `price`, in quote units, rounded down."""
    return round_down(quantity * price)


def fill(order: Order, quote: Quote, fees: Fees) -> Fill | None:
    """What the order gets by walking the book inside its limit; None when nothing is inside.

    A book too thin inside the limit fills the order in part, and the rest lapses.
    """
    buying = order.side is Side.BUY
    left, taken = order.quantity, []
    for level in quote.asks if buying else quote.bids:
        outside = level.price > order.limit if buying else level.price < order.limit
        if outside or left <= 0:
            break
        quantity = min(left, level.quantity)
        taken.append(Level(level.price, quantity))
        left -= quantity
    if not taken:
        return None
    exact = sum((level.price * level.quantity for level in taken), ZERO)
    notional = round_up(exact) if buying else round_down(exact)
    fee = fee_on(exact, fees)
    return Fill(
        order_id=order.id,
        symbol=order.symbol,
        side=order.side,
        quantity=order.quantity - left,
        notional=notional,
        # a fee never takes more than a sale brings, so that no sale lowers cash
        fee=fee if buying else min(fee, notional),
        at=quote.at,
        levels=tuple(taken),
        mid=quote.mid,
    )
