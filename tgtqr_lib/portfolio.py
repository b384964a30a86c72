"""Cash and positions as a fold over fills; nothing else moves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from tgtqr_lib.domain import ZERO, DomainError, Fees, Fill, Order, Portfolio, Position, Side
from tgtqr_lib.execution import mark_value, round_up, worst_cost


def apply(portfolio: Portfolio, fill: Fill) -> Portfolio:
    """The portfolio after `fill`; a partial sale takes its share of the cost, rounded down.

    Raises `DomainError` when the fill sells more than is held.
    """
    before = portfolio.position(fill.symbol)
    if fill.side is Side.BUY:
        paid = fill.notional + fill.fee_cash
        cash = portfolio.cash - paid
        after = Position(fill.symbol, before.quantity + fill.received, before.cost + paid)
    else:
        left = before.quantity - fill.quantity
        if left < 0:
            raise DomainError(
                f"fill of {fill.order_id} sells {fill.quantity:f} {fill.symbol}, "
                f"but {before.quantity:f} is held"
            )
        cash = portfolio.cash + fill.notional - fill.fee_cash
        after = Position(fill.symbol, left, round_up(before.cost * left / before.quantity))
    others = [p for p in portfolio.positions if p.symbol != fill.symbol]
    kept = [*others, after] if after.quantity > 0 else others
    return replace(portfolio, cash=cash, positions=tuple(sorted(kept, key=lambda p: p.symbol)))


def fold(initial_cash: Decimal, fills: Iterable[Fill]) -> Portfolio:
    """The portfolio that `fills`, in their order, make of `initial_cash` (quote units)."""
    portfolio = Portfolio(cash=initial_cash)
    for fill in fills:
        portfolio = apply(portfolio, fill)
    return portfolio


def reserve(portfolio: Portfolio, order: Order, fees: Fees) -> Portfolio:
    """The portfolio with an allowed entry counted as spent at its worst; exits reserve nothing."""
    if not order.is_entry:
        return portfolio
    cost = worst_cost(order, fees)
    pending = {**portfolio.pending, order.symbol: portfolio.pending.get(order.symbol, ZERO) + cost}
    return replace(portfolio, reserved=portfolio.reserved + cost, pending=pending)


def equity(portfolio: Portfolio, marks: Mapping[str, Decimal]) -> Decimal:
    """Cash plus quantity x mark of all that is held, quote units, each value rounded down.

    Raises `DomainError` when a held symbol has no mark.
    """
    total = portfolio.cash
    for position in portfolio.held:
        if position.symbol not in marks:
            raise DomainError(f"{position.symbol} is held but has no mark")
        total += mark_value(position.quantity, marks[position.symbol])
    return total
