"""The reserve: what cash is left, and what equity, when every price goes to zero."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.domain import ZERO, Account, Day, Inputs, Limits, NoOrder, Order
from tgtqr_lib.execution import worst_cost


def cash_after(order: Order | NoOrder, inputs: Inputs) -> Decimal:
    """Cash less all reserves and the order at its worst, in quote units: equity at price zero."""
    cost = worst_cost(order, inputs.fees) if order.is_entry else ZERO
    return inputs.portfolio.cash - inputs.portfolio.reserved - cost


def daily_floor(day: Day, limits: Limits) -> Decimal:
    """The equity that `day` must not fall below, in quote units.

    Start less the daily loss, but never above the cash at the start: what is held overnight may be
    worth more than the daily loss, and cash is all that no price path can take
    (docs/decisions/001-the-daily-floor.md).
    """
    return min(day.start_equity - limits.daily_loss_usdt, day.start_cash)


def total_floor(account: Account, limits: Limits) -> Decimal:
    """The equity that the account must not fall below, in quote units."""
    return account.initial_equity - limits.total_loss_usdt
