"""The replies of Bybit's v5 API for public spot data: field names, types and texts as Bybit has them.

Each endpoint is a function of a market, what the request asked, and exchange time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.source import DAY_MS
from tgtqr_lib.market.spot import LISTINGS, SpotMarket

PARAMETER_ERROR = 10001
ROUTE_NOT_FOUND = 10017

INTERVALS = {str(m): m * MINUTE_MS for m in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)}
INTERVALS["D"] = DAY_MS

Result = dict[str, Any]
Endpoint = Callable[[SpotMarket, Mapping[str, str], int], Result]

# What Bybit says of a spot symbol beside its name and price step (by its documentation of 2026).
_ALIKE = {
    "quoteCoin": "USDT",
    "innovation": "0",
    "status": "Trading",
    "marginTrading": "utaOnly",
    "stTag": "0",
    "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
    "symbolType": "",
}
_LOTS_ALIKE = {
    "quotePrecision": "0.0000001",
    "minOrderAmt": "5",
    "maxOrderAmt": "8000000",
    "postOnlyMaxLimitOrderSize": "60000",
}
_INSTRUMENTS = {
    "BTCUSDT": {
        "symbolId": 9,
        "baseCoin": "BTC",
        "lotSizeFilter": {
            "basePrecision": "0.000001",
            "minOrderQty": "0.000011",
            "maxOrderQty": "83",
            "maxLimitOrderQty": "83",
            "maxMarketOrderQty": "41.5",
            **_LOTS_ALIKE,
        },
    },
    "ETHUSDT": {
        "symbolId": 10,
        "baseCoin": "ETH",
        "lotSizeFilter": {
            "basePrecision": "0.00001",
            "minOrderQty": "0.00023",
            "maxOrderQty": "2250",
            "maxLimitOrderQty": "2250",
            "maxMarketOrderQty": "1125",
            **_LOTS_ALIKE,
        },
    },
}


class Refused(Exception):
    """Bybit's answer to a request it will not serve."""

    def __init__(self, message: str, code: int = PARAMETER_ERROR) -> None:
        super().__init__(message)
        self.code = code


def envelope(result: Result, now_ms: int, code: int = 0, message: str = "OK") -> Result:
    """The form every v5 reply has."""
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}


def text(units: int, decimals: int) -> str:
    """`units` of 10**-decimals as Bybit writes numbers: no exponent, no trailing zeros."""
    scale = 10**decimals
    whole, part = divmod(units, scale)
    return f"{whole}.{str(scale + part)[1:]}".rstrip("0") if part else str(whole)


def server_time(market: SpotMarket, asked: Mapping[str, str], at_ms: int) -> Result:
    """What /v5/market/time says."""
    return {"timeSecond": str(at_ms // 1000), "timeNano": str(at_ms * 1_000_000)}


def instruments(market: SpotMarket, asked: Mapping[str, str], at_ms: int) -> Result:
    """The listing of one spot symbol or of all."""
    listed = [
        {
            "symbol": symbol,
            **_INSTRUMENTS[symbol],
            **_ALIKE,
            "priceFilter": {"tickSize": text(1, market.decimals(symbol))},
        }
        for symbol in _symbols(market, asked)
    ]
    return {"category": "spot", "list": listed}


def kline(market: SpotMarket, asked: Mapping[str, str], at_ms: int) -> Result:
    """Candles, newest first; the newest is still running.

    As at Bybit, `start` means the candle it lies in. With `start` alone the page begins there, otherwise it
    ends at `end`, or now.
    """
    symbol = _symbol(market, asked)
    interval_ms = INTERVALS.get(asked.get("interval", ""))
    if interval_ms is None:
        raise Refused("params error: intervalTime is invalid")
    limit = _integer(asked, "limit", default=200, most=1000)
    start, end = _integer(asked, "start"), _integer(asked, "end")
    if start is not None and end is not None and start > end:
        raise Refused("params error: start is later than end")
    newest = at_ms if end is None else min(end, at_ms)
    rows, turnover = market.candles(
        symbol,
        interval_ms,
        limit,
        at_ms,
        start_ms=(start or 0) // interval_ms * interval_ms,
        end_ms=newest // interval_ms * interval_ms + interval_ms,
        from_start=start is not None and end is None,
    )
    decimals = market.decimals(symbol)
    listed = [
        list(_row(candle, paid, decimals))
        for candle, paid in zip(rows.tolist(), turnover.tolist(), strict=True)
    ]
    return {"category": "spot", "symbol": symbol, "list": listed[::-1]}


def tickers(market: SpotMarket, asked: Mapping[str, str], at_ms: int) -> Result:
    """Last price, best bid and ask, and the last 24 hours, of one symbol or of all."""
    listed = [
        _ticker(market, symbol, at_ms)
        for symbol in _symbols(market, asked)
        if market.mid(symbol, at_ms) is not None
    ]
    if not listed:
        raise Refused("Not supported symbols")
    return {"category": "spot", "list": listed}


def orderbook(market: SpotMarket, asked: Mapping[str, str], at_ms: int) -> Result:
    """The book, best level first; one level a side unless `limit` says more."""
    symbol = _symbol(market, asked)
    limit = _integer(asked, "limit", default=1, most=200)
    book = market.book(symbol, at_ms, limit)
    if book is None:
        raise Refused("Not supported symbols")
    bids, asks = ([_level(market, symbol, level) for level in side] for side in book)
    # Update numbers grow with time, 10 a second as in Bybit's 100 ms pushes.
    number = at_ms // 100
    return {
        "s": symbol,
        "a": asks,
        "b": bids,
        "ts": at_ms,
        "u": number,
        "seq": number,
        "cts": at_ms,
    }


ENDPOINTS: dict[str, Endpoint] = {
    "/v5/market/time": server_time,
    "/v5/market/instruments-info": instruments,
    "/v5/market/kline": kline,
    "/v5/market/tickers": tickers,
    "/v5/market/orderbook": orderbook,
}


def reply(market: SpotMarket, path: str, asked: Mapping[str, str], at_ms: int) -> Result:
    """The result of one endpoint at exchange time `at_ms`; raises `Refused`."""
    if path != "/v5/market/time" and asked.get("category", "linear") != "spot":
        raise Refused("params error: Category is invalid")
    return ENDPOINTS[path](market, asked, at_ms)


@lru_cache(maxsize=8192)  # a client asks for nearly the same candles every minute
def _row(candle: tuple[int, ...], turnover: float, decimals: int) -> tuple[str, ...]:
    opened, *prices, volume = candle
    written = (text(price, decimals) for price in prices)
    return str(opened), *written, text(volume, 6), _amount(turnover)


def _ticker(market: SpotMarket, symbol: str, at_ms: int) -> dict[str, str]:
    decimals = market.decimals(symbol)
    day, last = market.last_day(symbol, at_ms), market.mid(symbol, at_ms)
    (bid,), (ask,) = market.book(symbol, at_ms, 1)
    bid_price, bid_size = _level(market, symbol, bid)
    ask_price, ask_size = _level(market, symbol, ask)
    return {
        "symbol": symbol,
        "bid1Price": bid_price,
        "bid1Size": bid_size,
        "ask1Price": ask_price,
        "ask1Size": ask_size,
        "lastPrice": text(last, decimals),
        "prevPrice24h": text(day.before, decimals),
        "price24hPcnt": f"{round((last - day.before) / day.before, 4) + 0.0:.4f}",  # never -0.0000
        "highPrice24h": text(day.high, decimals),
        "lowPrice24h": text(day.low, decimals),
        "turnover24h": _amount(day.turnover),
        "volume24h": text(day.volume, 6),
        "usdIndexPrice": text(last, decimals),
    }


def _level(market: SpotMarket, symbol: str, level: tuple[int, int]) -> list[str]:
    price, lots = level
    return [text(price, market.decimals(symbol)), text(lots, LISTINGS[symbol].lot_decimals)]


def _amount(value: float) -> str:
    return f"{value:.8f}".rstrip("0").rstrip(".")


def _symbol(market: SpotMarket, asked: Mapping[str, str]) -> str:
    if asked.get("symbol") not in market.symbols:
        raise Refused("Not supported symbols")
    return asked["symbol"]


def _symbols(market: SpotMarket, asked: Mapping[str, str]) -> tuple[str, ...]:
    return (_symbol(market, asked),) if asked.get("symbol") else market.symbols


def _integer(
    asked: Mapping[str, str], name: str, default: int | None = None, most: int | None = None
) -> int | None:
    """A parameter as an integer: from 1 to `most` where that is given, else from 0 to a far future."""
    given = asked.get(name, "")
    if not given:
        return default
    least, most = (0, 10**14) if most is None else (1, most)
    if not (
        given.isascii() and given.isdigit() and len(given) < 20 and least <= int(given) <= most
    ):
        raise Refused(f"params error: {name} is invalid")
    return int(given)
