"""Bybit's v5 API: which endpoints there are, public ones for everybody and private ones for the owner of a key.

A public endpoint is a function of the venue, what the request asked, and exchange time; a private one of a visit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tgtqr_lib.market.simulation import v5_account, v5_orders
from tgtqr_lib.market.simulation.v5 import Asked, Result
from tgtqr_lib.market.simulation.v5_candles import index_price_kline, kline, mark_price_kline
from tgtqr_lib.market.simulation.v5_instruments import instruments
from tgtqr_lib.market.simulation.v5_orders import Visit
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


@dataclass(frozen=True, slots=True)
class PrivateEndpoint:
    """An endpoint that needs a key.

    permission   that the key must have; empty: any key may ask
    a_second     requests that Bybit allows a key in a second
    """

    method: str
    answer: Callable[[Visit], Result]
    permission: str
    a_second: int

    @property
    def writes(self) -> bool:
        """Whether it changes the account."""
        return self.method == "POST"


PRIVATE: dict[str, PrivateEndpoint] = {
    "/v5/order/create": PrivateEndpoint("POST", v5_orders.create, "SpotTrade", 20),
    "/v5/order/cancel": PrivateEndpoint("POST", v5_orders.cancel, "SpotTrade", 20),
    "/v5/order/cancel-all": PrivateEndpoint("POST", v5_orders.cancel_all, "SpotTrade", 20),
    "/v5/order/realtime": PrivateEndpoint("GET", v5_orders.realtime, "SpotTrade", 50),
    "/v5/order/history": PrivateEndpoint("GET", v5_orders.history, "SpotTrade", 50),
    "/v5/execution/list": PrivateEndpoint("GET", v5_orders.executions, "SpotTrade", 50),
    "/v5/account/wallet-balance": PrivateEndpoint("GET", v5_account.wallet_balance, "", 50),
    "/v5/account/info": PrivateEndpoint("GET", v5_account.info, "", 50),
    "/v5/account/fee-rate": PrivateEndpoint("GET", v5_account.fee_rate, "", 5),
    "/v5/user/query-api": PrivateEndpoint("GET", v5_account.query_api, "", 10),
    "/v5/position/list": PrivateEndpoint("GET", v5_account.positions, "", 50),
}


def reply(venue: Venue, path: str, asked: Asked, at_ms: int) -> Result:
    """The result of one public endpoint at exchange time `at_ms`; raises `v5.Refused`."""
    return ENDPOINTS[path](venue, asked, at_ms)
