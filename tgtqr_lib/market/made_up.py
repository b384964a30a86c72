"""What lies beside a made-up market's candles: the funding and the books that the simulator would serve."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from tgtqr_lib.clock import FIRST_START_S, from_ms
from tgtqr_lib.domain import MINUTE_MS, BookHistory, Candles, Funding, History, Level, Quote
from tgtqr_lib.market.simulation.funding import INTERVAL_MIN, INTERVAL_MS
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.source import CandleSource
from tgtqr_lib.signals.book_features import DEEPEST, features
from tgtqr_lib.signals.settled import WEEK_MS

TO_UNITS = 100  # the simulator's rates are 1e-8, ours 1e-10


def history(
    source: CandleSource, candles: Candles, needs: tuple[str, ...], every: int = 1
) -> History:
    """`candles` of `source` with what `needs` asks for; a look at the book `every` so many minutes."""
    venue = Venue(source)
    closed = candles.open_ms + MINUTE_MS
    asked = closed[closed % (every * MINUTE_MS) == 0]
    return History(
        candles,
        funding(venue, candles.symbol, closed) if "funding" in needs else None,
        book(venue, candles.symbol, asked) if "book" in needs else None,
    )


def funding(venue: Venue, symbol: str, closed_ms: np.ndarray) -> Funding:
    """The settlements that candles closed at these times know, the week before the first included."""
    first, last = int(closed_ms[0]) - WEEK_MS - 2 * INTERVAL_MS, int(closed_ms[-1])
    count = (last - first) // INTERVAL_MS + 1
    rows = venue.funding(symbol).settled(symbol, first, last, count)[::-1]
    at, rate = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    return Funding(at, rate * TO_UNITS, np.full(len(at), INTERVAL_MIN))


def book(venue: Venue, symbol: str, minutes_ms: np.ndarray) -> BookHistory:
    """A look in each of these minutes, when a tick would start; about half a millisecond each."""
    return BookHistory.of(
        (at_ms, features(quote))
        for at_ms in minutes_ms.tolist()
        if (quote := _quote(venue, symbol, at_ms + FIRST_START_S * 1000)) is not None
    )


def _quote(venue: Venue, symbol: str, at_ms: int) -> Quote | None:
    spot = venue.spot
    sides = spot.book(symbol, at_ms, DEEPEST)
    if sides is None:
        return None
    price, lots = -spot.decimals(symbol), -spot.listings[symbol].lot_decimals
    bids, asks = (
        tuple(Level(Decimal(p).scaleb(price), Decimal(q).scaleb(lots)) for p, q in side)
        for side in sides
    )
    return Quote(symbol, from_ms(at_ms), bids, asks, bids[0].price)
