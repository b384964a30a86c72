"""What comes of an order in a book: levels are walked from the best on, at their own prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal

from tgtqr_lib.market.simulation.account import ZERO

Level = tuple[Decimal, Decimal]  # price, coins


def take(
    side: Sequence[Level],
    is_buy: bool,
    limit: Decimal | None,
    *,
    coins: Decimal | None = None,
    value: Decimal | None = None,
    lot: Decimal = ZERO,
) -> list[Level]:
    """What of `side`, best level first, is traded: for `coins`, or by a purchase for `value` in whole lots.

    No level beyond `limit` is touched; None is no limit.
    """
    taken: list[Level] = []
    left = coins if value is None else value
    for price, held in side:
        if limit is not None and (price > limit if is_buy else price < limit):
            break
        wanted = left if value is None else whole_lots(left / price, lot)
        part = min(held, wanted)
        if part <= 0:
            break
        taken.append((price, part))
        left -= part if value is None else part * price
    return taken


def rest(side: Sequence[Level], is_buy: bool, limit: Decimal, coins: Decimal) -> Decimal:
    """How much of a resting order is filled, at its own price, now that `side` stands where it does."""
    return sum((part for _, part in take(side, is_buy, limit, coins=coins)), ZERO)


def whole_lots(coins: Decimal, lot: Decimal) -> Decimal:
    """`coins` rounded down to a whole number of lots."""
    return (coins / lot).to_integral_value(ROUND_FLOOR) * lot
