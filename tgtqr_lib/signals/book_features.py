"""All figures of one look at an order book, in whole numbers, so that they are the same wherever computed."""

from __future__ import annotations

from tgtqr_lib.domain import ZERO, BookFeatures, Quote
from tgtqr_lib.signals import book_imbalance, micro_price, spread

DEEPEST = max(book_imbalance.DEPTHS)


def features(quote: Quote) -> BookFeatures:
    """What the book of `quote` says; None for depths that it does not have on both sides.

    A one-sided or crossed book never becomes a `Quote`, so there is always a best level a side.
    """
    bids, asks = quote.bids, quote.asks
    levels = min(len(bids), len(asks))
    seen = (*bids[:DEEPEST], *asks[:DEEPEST])
    worth = sum((level.price * level.quantity for level in seen), ZERO)
    imbalances = {
        f"imbalance_{depth}": book_imbalance.imbalance(bids, asks, depth)
        for depth in book_imbalance.DEPTHS
    }
    return BookFeatures(
        at=quote.at,
        levels=levels,
        spread=spread.relative(bids[0], asks[0]),
        micro=micro_price.offset(bids[0], asks[0]),
        depth=round(worth) if levels >= DEEPEST else None,
        **imbalances,
    )
