"""What /v5/market/instruments-info says of the symbols of spot and of the USDT perpetuals.

The values are those of Bybit's documentation of 2026; the price step follows the candles where they are finer.
"""

from __future__ import annotations

from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.funding import INTERVAL_MIN
from tgtqr_lib.market.simulation.v5 import Asked, Result
from tgtqr_lib.market.simulation.venue import Venue

FUNDING_BOUND = "0.00375"

_SPOT = {
    "quoteCoin": "USDT",
    "innovation": "0",
    "status": "Trading",
    "marginTrading": "utaOnly",
    "stTag": "0",
    "riskParameters": {"priceLimitRatioX": "0.005", "priceLimitRatioY": "0.01"},
    "symbolType": "",
}
_SPOT_LOTS = {
    "quotePrecision": "0.0000001",
    "maxOrderAmt": "8000000",
    "postOnlyMaxLimitOrderSize": "60000",
}
_SPOT_SYMBOLS = {
    "BTCUSDT": {
        "symbolId": 9,
        "baseCoin": "BTC",
        "lotSizeFilter": {
            "basePrecision": "0.000001",
            "minOrderQty": "0.000011",
            "maxOrderQty": "83",
            "maxLimitOrderQty": "83",
            "maxMarketOrderQty": "41.5",
            **_SPOT_LOTS,
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
            **_SPOT_LOTS,
        },
    },
}

_LINEAR = {
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "deliveryTime": "0",
    "deliveryFeeRate": "",
    "priceScale": "2",
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
    "unifiedMarginTrade": True,
    "fundingInterval": INTERVAL_MIN,
    "copyTrading": "both",
    "upperFundingRate": FUNDING_BOUND,
    "lowerFundingRate": f"-{FUNDING_BOUND}",
    "isPreListing": False,
    "preListingInfo": None,
    "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    "symbolType": "",
}
_LINEAR_SYMBOLS = {
    "BTCUSDT": {
        "symbolId": 5,
        "baseCoin": "BTC",
        "launchTime": "1585526400000",
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1190.000",
            "minOrderQty": "0.001",
            "qtyStep": "0.001",
            "postOnlyMaxOrderQty": "1190.000",
            "maxMktOrderQty": "500.000",
            "minNotionalValue": "5",
        },
    },
    "ETHUSDT": {
        "symbolId": 6,
        "baseCoin": "ETH",
        "launchTime": "1603152000000",
        "priceFilter": {"minPrice": "0.01", "maxPrice": "199999.98", "tickSize": "0.01"},
        "lotSizeFilter": {
            "maxOrderQty": "7240.00",
            "minOrderQty": "0.01",
            "qtyStep": "0.01",
            "postOnlyMaxOrderQty": "7240.00",
            "maxMktOrderQty": "1500.00",
            "minNotionalValue": "5",
        },
    },
}


def instruments(venue: Venue, asked: Asked, at_ms: int) -> Result:
    """The listing of one symbol or of all that have the status and coin asked for; always one page."""
    category = v5.category(asked)
    v5.integer(asked, "limit", default=500, most=1000)
    if category == "spot" and asked.get("symbol") not in ("", None, *venue.symbols):
        return {"category": category, "list": []}  # linear refuses it, as at Bybit
    entry = {"spot": spot_listing, "linear": _linear}[category]
    listed = [entry(venue, symbol) for symbol in v5.symbols(asked, venue.symbols)]
    listed = [
        one
        for one in listed
        if (asked.get("status") or one["status"]) == one["status"]
        and (asked.get("baseCoin") or one["baseCoin"]) == one["baseCoin"]
        and not asked.get("cursor")
    ]
    page = {"nextPageCursor": ""} if category == "linear" else {}
    return {"category": category, "list": listed, **page}


def spot_listing(venue: Venue, symbol: str) -> Result:
    """What a spot symbol is, and the rules that its orders keep to."""
    tick, listed = v5.text(1, venue.spot.decimals(symbol)), _SPOT_SYMBOLS[symbol]
    lots = {**listed["lotSizeFilter"], "minOrderAmt": venue.minimum_usdt}
    changed = {"lotSizeFilter": lots, "priceFilter": {"tickSize": tick}}
    return {"symbol": symbol, **listed, **_SPOT, **changed}


def _linear(venue: Venue, symbol: str) -> Result:
    return {"symbol": symbol, **_LINEAR_SYMBOLS[symbol], **_LINEAR}
