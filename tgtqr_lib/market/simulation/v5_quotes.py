"""Bybit's tickers, order book, recent trades and funding history."""

from __future__ import annotations

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.noise import words
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.funding import INTERVAL_MIN, INTERVAL_MS
from tgtqr_lib.market.simulation.listed import ListedMarket, key_of
from tgtqr_lib.market.simulation.v5 import Asked, Refused, Result
from tgtqr_lib.market.simulation.v5_instruments import FUNDING_BOUND
from tgtqr_lib.market.simulation.venue import Venue

HOUR_MS = 60 * MINUTE_MS
BOOK_LIMITS = {"spot": (1, 200), "linear": (25, 500)}  # default and most levels a side
TRADE_LIMITS = {"spot": (60, 60), "linear": (500, 1000)}


def tickers(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """Last price, best bid and ask, and the last 24 hours, of one symbol or of all."""
    category = v5.category(asked)
    market = venue.market(category)
    listed = [
        _linear_ticker(venue, symbol, at_ms)
        if category == "linear"
        else _spot_ticker(market, symbol, at_ms)
        for symbol in v5.symbols(asked, venue.symbols)
        if market.mid(symbol, at_ms) is not None
    ]
    if not listed:
        raise Refused("Not supported symbols")
    return {"category": category, "list": listed}


def orderbook(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """The book, best level first."""
    category = v5.category(asked)
    market, symbol = venue.market(category), v5.symbol(asked, venue.symbols)
    usual, most = BOOK_LIMITS[category]
    book = market.book(symbol, at_ms, v5.integer(asked, "limit", default=usual, most=most))
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


def recent_trades(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """The newest trades, newest first."""
    category = v5.category(asked)
    market, symbol = venue.market(category), v5.symbol(asked, venue.symbols)
    usual, most = TRADE_LIMITS[category]
    limit = v5.integer(asked, "limit", default=usual, most=most)
    decimals, lot_decimals = market.decimals(symbol), market.listings[symbol].lot_decimals
    trades = market.trades(symbol, at_ms, limit)
    names = _execution_ids if category == "spot" else _unique_ids
    listed = [
        {
            "execId": name,
            "symbol": symbol,
            "price": v5.text(trade.price, decimals),
            "size": v5.text(trade.lots, lot_decimals),
            "side": "Buy" if trade.buy else "Sell",
            "time": str(trade.at_ms),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(trade.serial),
        }
        for trade, name in zip(trades, names(symbol, [t.serial for t in trades]), strict=True)
    ]
    return {"category": category, "list": listed}


def funding_history(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """Settled rates, newest first; `startTime` alone is an error, as at Bybit."""
    category = v5.category(asked, ("linear",), refusal="Illegal category")
    symbol = v5.symbol(asked, venue.symbols)
    limit = v5.integer(asked, "limit", default=200, most=200)
    start, end = v5.integer(asked, "startTime"), v5.integer(asked, "endTime")
    if start is not None and end is None:
        raise Refused("params error: endTime is invalid")
    if start is not None and start > end:
        raise Refused("params error: startTime is later than endTime")
    last_ms = at_ms if end is None else min(end, at_ms)
    listed = [
        {
            "symbol": symbol,
            "fundingRate": v5.text(rate, 8),
            "fundingRateTimestamp": str(settled_ms),
        }
        for settled_ms, rate in venue.funding(symbol).settled(symbol, start or 0, last_ms, limit)
    ]
    return {"category": category, "list": listed}


def _spot_ticker(market: ListedMarket, symbol: str, at_ms: int) -> dict[str, str]:
    common = _ticker(market, symbol, at_ms, percent_decimals=4)
    return {**common, "usdIndexPrice": common["lastPrice"]}


def _linear_ticker(venue: Venue, symbol: str, at_ms: int) -> dict[str, str]:
    market = venue.linear
    decimals, listing = market.decimals(symbol), market.listings[symbol]
    mark, mark_decimals = market.mark.mid(symbol, at_ms), market.mark.decimals(symbol)
    hour_ago = market.mid(symbol, at_ms - HOUR_MS)
    interest = market.open_interest(symbol, at_ms)
    value = interest * 10.0**-listing.lot_decimals * mark * 10.0**-mark_decimals
    common = _ticker(market, symbol, at_ms, percent_decimals=6)
    return {
        **common,
        "indexPrice": v5.text(venue.spot.mid(symbol, at_ms), venue.spot.decimals(symbol)),
        "markPrice": v5.text(mark, mark_decimals),
        "prevPrice1h": common["prevPrice24h"] if hour_ago is None else v5.text(hour_ago, decimals),
        "openInterest": v5.text(interest, listing.lot_decimals),
        "openInterestValue": v5.amount(value, 2),
        "fundingRate": v5.text(venue.funding(symbol).coming(symbol, at_ms), 8),
        "nextFundingTime": str((at_ms // INTERVAL_MS + 1) * INTERVAL_MS),
        "fundingIntervalHour": str(INTERVAL_MIN // 60),
        "fundingCap": FUNDING_BOUND,
        "deliveryTime": "0",
        **dict.fromkeys(_NOT_OF_PERPETUALS, ""),
    }


_NOT_OF_PERPETUALS = (
    "predictedDeliveryPrice",
    "deliveryFeeRate",
    "basis",
    "basisRate",
    "basisRateYear",
    "preOpenPrice",
    "preQty",
    "curPreListingPhase",
)


def _ticker(market: ListedMarket, symbol: str, at_ms: int, percent_decimals: int) -> dict[str, str]:
    decimals = market.decimals(symbol)
    day, last = market.last_day(symbol, at_ms), market.mid(symbol, at_ms)
    (bid,), (ask,) = market.book(symbol, at_ms, 1)
    bid_price, bid_size = _level(market, symbol, bid)
    ask_price, ask_size = _level(market, symbol, ask)
    change = round((last - day.before) / day.before, percent_decimals) + 0.0  # never -0.0000
    return {
        "symbol": symbol,
        "bid1Price": bid_price,
        "bid1Size": bid_size,
        "ask1Price": ask_price,
        "ask1Size": ask_size,
        "lastPrice": v5.text(last, decimals),
        "prevPrice24h": v5.text(day.before, decimals),
        "price24hPcnt": f"{change:.{percent_decimals}f}",
        "highPrice24h": v5.text(day.high, decimals),
        "lowPrice24h": v5.text(day.low, decimals),
        "turnover24h": v5.amount(day.turnover),
        "volume24h": v5.text(day.volume, 6),
    }


def _level(market: ListedMarket, symbol: str, level: tuple[int, int]) -> list[str]:
    price, lots = level
    lot_decimals = market.listings[symbol].lot_decimals
    return [v5.text(price, market.decimals(symbol)), v5.text(lots, lot_decimals)]


def _execution_ids(symbol: str, serials: list[int]) -> list[str]:
    """Digits, as spot has them; no two symbols share one."""
    return [str(2 * 10**18 + serial * 10 + (symbol == "ETHUSDT")) for serial in serials]


def _unique_ids(symbol: str, serials: list[int]) -> list[str]:
    """In the form of a UUID, as linear has them."""
    if not serials:
        return []
    first = min(serials)
    raw = words(key_of("trade", symbol), 2 * first, 2 * (max(serials) - first + 1)).tolist()
    found = []
    for serial in serials:
        high, low = raw[2 * (serial - first) : 2 * (serial - first) + 2]
        digits = f"{high:016x}{low:016x}"
        parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
        found.append("-".join(parts))
    return found
