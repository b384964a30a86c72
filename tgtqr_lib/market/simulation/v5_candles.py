"""Bybit's candles: those of trades, of the mark price and of the index price."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.prices import Prices
from tgtqr_lib.market.simulation.v5 import Asked, Refused, Result
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.source import DAY_MS

INTERVALS = {str(m): m * MINUTE_MS for m in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}
INTERVALS["D"] = DAY_MS


def kline(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """Candles of trades, newest first; the newest is still running. The category defaults to linear."""
    category = v5.category(asked, default="linear")
    market = venue.market(category)
    rows, turnover = _page(market, v5.symbol(asked, venue.symbols), asked, at_ms)
    decimals = market.decimals(asked["symbol"])
    listed = [
        list(_row(candle, paid, decimals))
        for candle, paid in zip(rows.tolist(), turnover.tolist(), strict=True)
    ]
    return {"category": category, "symbol": asked["symbol"], "list": listed[::-1]}


def mark_price_kline(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """Candles of the mark price: no volume, no turnover."""
    return _derived(venue, venue.linear.mark, asked, at_ms)


def index_price_kline(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """Candles of the index price, which is the spot price."""
    return _derived(venue, venue.spot, asked, at_ms)


def _derived(venue: Venue, prices: Prices, asked: Asked, at_ms: int) -> Result:
    category = v5.category(asked, ("linear",), default="linear")
    rows, _ = _page(prices, v5.symbol(asked, venue.symbols), asked, at_ms)
    decimals = prices.decimals(asked["symbol"])
    listed = [list(_row(candle, 0.0, decimals))[:5] for candle in rows.tolist()]
    return {"category": category, "symbol": asked["symbol"], "list": listed[::-1]}


def _page(prices: Prices, symbol: str, asked: Asked, at_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """The candles asked for, oldest first, and their turnover.

    As at Bybit, `start` means the candle it lies in. With `start` alone the page begins there, otherwise it
    ends at `end`, or now.
    """
    interval_ms = INTERVALS.get(asked.get("interval", ""))
    if interval_ms is None:
        raise Refused("params error: intervalTime is invalid")
    limit = v5.integer(asked, "limit", default=200, most=1000)
    start, end = v5.integer(asked, "start"), v5.integer(asked, "end")
    if start is not None and end is not None and start > end:
        raise Refused("params error: start is later than end")
    newest = at_ms if end is None else min(end, at_ms)
    return prices.candles(
        symbol,
        interval_ms,
        limit,
        at_ms,
        start_ms=(start or 0) // interval_ms * interval_ms,
        end_ms=newest // interval_ms * interval_ms + interval_ms,
        from_start=start is not None and end is None,
    )


@lru_cache(maxsize=8192)  # a client asks for nearly the same candles every minute
def _row(candle: tuple[int, ...], turnover: float, decimals: int) -> tuple[str, ...]:
    opened, *prices, volume = candle
    written = (v5.text(price, decimals) for price in prices)
    return str(opened), *written, v5.text(volume, 6), v5.amount(turnover)
