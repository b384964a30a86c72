"""Bybit's v5 API for public market data: which endpoints there are.

Each is a function of the venue, what the request asked, and exchange time.
"""

from __future__ import annotations

from collections.abc import Callable

from tgtqr_lib.market.simulation.v5 import Asked, Result
from tgtqr_lib.market.simulation.v5_candles import index_price_kline, kline, mark_price_kline
from tgtqr_lib.market.simulation.v5_instruments import instruments
from tgtqr_lib.market.simulation.v5_quotes import funding_history, orderbook, recent_trades, tickers
from tgtqr_lib.market.simulation.venue import Venue

Endpoint = Callable[[Venue, Asked, int], Result]


def server_time(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """What /v5/market/time says."""
    return {"timeSecond": str(at_ms // 1000), "timeNano": str(at_ms * 1_000_000)}


ENDPOINTS: dict[str, Endpoint] = {
    "/v5/market/time": server_time,
    "/v5/market/instruments-info": instruments,
    "/v5/market/kline": kline,
    "/v5/market/mark-price-kline": mark_price_kline,
    "/v5/market/index-price-kline": index_price_kline,
    "/v5/market/tickers": tickers,
    "/v5/market/orderbook": orderbook,
    "/v5/market/recent-trade": recent_trades,
    "/v5/market/funding/history": funding_history,
}


def reply(venue: Venue, path: str, asked: Asked, at_ms: int) -> Result:
    """The result of one endpoint at exchange time `at_ms`; raises `v5.Refused`."""
    return ENDPOINTS[path](venue, asked, at_ms)
