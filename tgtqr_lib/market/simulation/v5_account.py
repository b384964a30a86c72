"""Bybit's endpoints of an account: wallet, mode, fees, positions, and the key that asks."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.account import QUOTE, ZERO
from tgtqr_lib.market.simulation.keys import GROUPS, Key
from tgtqr_lib.market.simulation.listed import key_of
from tgtqr_lib.market.simulation.order_rows import shown
from tgtqr_lib.market.simulation.v5 import Refused, Result
from tgtqr_lib.market.simulation.v5_orders import Visit
from tgtqr_lib.market.source import DAY_MS

CENT = Decimal("0.00000001")  # the digits of sums in USD
LINEAR_FEES = {"takerFeeRate": "0.00055", "makerFeeRate": "0.0002"}
UNIFIED = 5  # Bybit's number for a unified account 2.0; 1 is a classic one


def wallet_balance(visit: Visit) -> Result:
    """What the unified account holds: the coins asked for, else those that are not nought."""
    if visit.asked.get("accountType") != "UNIFIED":
        raise Refused("params error: accountType only supports UNIFIED")
    if visit.key.account_type != "UNIFIED":
        raise Refused("The API can only be accessed by unified account users.", 10028)
    wallet = visit.account.wallet
    coins = [coin for coin in (visit.asked.get("coin") or "").split(",") if coin]
    if strange := [coin for coin in coins if coin not in wallet]:
        raise Refused(f"params error: coin {strange[0]} is invalid")
    worth = {coin: _usd(visit, coin) for coin in wallet}
    total = shown(sum(worth.values(), ZERO).quantize(CENT))
    locked = sum(
        (
            worth[coin] / wallet[coin] * visit.account.locked(coin)
            for coin in wallet
            if wallet[coin]
        ),
        ZERO,
    )
    free = shown((sum(worth.values(), ZERO) - locked).quantize(CENT))
    return {
        "list": [
            {
                "totalEquity": total,
                "accountIMRate": "0",
                "accountIMRateByMp": "0",
                "totalMarginBalance": total,
                "totalInitialMargin": "0",
                "totalInitialMarginByMp": "0",
                "accountType": "UNIFIED",
                "totalAvailableBalance": free,
                "accountMMRate": "0",
                "accountMMRateByMp": "0",
                "totalPerpUPL": "0",
                "totalWalletBalance": total,
                "accountLTV": "0",
                "totalMaintenanceMargin": "0",
                "totalMaintenanceMarginByMp": "0",
                "coin": [
                    _coin(visit, coin, worth[coin])
                    for coin in wallet
                    if coin in coins or (not coins and wallet[coin])
                ],
            }
        ]
    }


def info(visit: Visit) -> Result:
    """The mode of the account."""
    unified = visit.key.account_type == "UNIFIED"
    return {
        "marginMode": "REGULAR_MARGIN",
        "updatedTime": str(visit.key.created_ms),
        "unifiedMarginStatus": UNIFIED if unified else 1,
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
    }


def fee_rate(visit: Visit) -> Result:
    """What the account pays, of one symbol or of all."""
    category = v5.category(visit.asked)
    rate = shown(Decimal(visit.key.fee_rate))
    fees = {"takerFeeRate": rate, "makerFeeRate": rate} if category == "spot" else LINEAR_FEES
    symbols = v5.symbols(visit.asked, visit.venue.symbols)
    return {"list": [{"symbol": symbol, **fees} for symbol in symbols]}


def positions(visit: Visit) -> Result:
    """Positions in derivatives: there are none, which Bybit says with an empty one when a symbol is named."""
    category = v5.category(visit.asked, ("linear", "inverse", "option"))
    if not visit.asked.get("symbol"):
        if category == "linear" and not visit.asked.get("settleCoin"):
            raise Refused("params error: symbol or settleCoin is required")
        return {"list": [], "nextPageCursor": "", "category": category}
    symbol = v5.symbol(visit.asked, visit.venue.symbols)
    mark = visit.venue.linear.mark
    steps = mark.mid(symbol, visit.at_ms)
    price = "" if steps is None else v5.text(int(steps), mark.decimals(symbol))
    flat = {**_FLAT, "symbol": symbol, "markPrice": price}
    return {"list": [flat], "nextPageCursor": "", "category": category}


def query_api(visit: Visit) -> Result:
    """The key that asks: what it may do, from where and until when."""
    key = visit.key
    granted = {
        group: [name for name in names if name in key.permissions]
        for group, names in GROUPS.items()
    }
    ends = "1970-01-01T00:00:00Z" if key.expires_ms is None else iso(from_ms(key.expires_ms))
    user = 10**6 + key_of("user", key.environment, key.account) % (9 * 10**6)
    return {
        "id": str(10**6 + int(key.fingerprint, 16) % (9 * 10**6)),
        "note": key.account,
        "apiKey": key.text,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": granted,
        "ips": list(key.ips),
        "type": 1,
        "deadlineDay": -2 if key.expires_ms is None else _days(key, visit.at_ms),
        "expiredAt": ends,
        "createdAt": iso(from_ms(key.created_ms)),
        "unified": 0,
        "uta": int(key.account_type == "UNIFIED"),
        "userID": user,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_1",
        "kycRegion": "",
        "userIDInt64": str(user),
        "inviterIDInt64": "0",
        "affiliateIDInt64": "0",
    }


def _usd(visit: Visit, coin: str) -> Decimal:
    """What the account's balance of `coin` is worth; USDT counts as USD."""
    held = visit.account.wallet[coin]
    if coin == QUOTE:
        return held
    market, symbol = visit.venue.spot, f"{coin}{QUOTE}"
    price = market.mid(symbol, visit.at_ms) if symbol in market.symbols else None
    if price is None:
        return ZERO
    return held * Decimal(int(price)).scaleb(-market.decimals(symbol))


def _coin(visit: Visit, coin: str, worth: Decimal) -> Result:
    held = shown(visit.account.wallet[coin])
    return {
        "availableToBorrow": "",
        "bonus": "0",
        "accruedInterest": "0",
        "availableToWithdraw": "",
        "totalOrderIM": "0",
        "equity": held,
        "totalPositionMM": "0",
        "usdValue": shown(worth.quantize(CENT)),
        "spotHedgingQty": "0",
        "unrealisedPnl": "0",
        "collateralSwitch": True,
        "borrowAmount": "0",
        "totalPositionIM": "0",
        "walletBalance": held,
        "cumRealisedPnl": "0",
        "locked": shown(visit.account.locked(coin)),
        "marginCollateral": True,
        "coin": coin,
        "spotBorrow": "0",
    }


def _days(key: Key, now_ms: int) -> int:
    return max((key.expires_ms - now_ms) // DAY_MS, 0)


_FLAT: Result = {
    "positionIdx": 0,
    "riskId": 1,
    "riskLimitValue": "2000000",
    "symbol": "",
    "side": "",
    "size": "0",
    "avgPrice": "0",
    "positionValue": "",
    "tradeMode": 0,
    "positionStatus": "Normal",
    "autoAddMargin": 0,
    "adlRankIndicator": 0,
    "leverage": "10",
    "breakEvenPrice": "0",
    "positionBalance": "0",
    "markPrice": "",
    "liqPrice": "",
    "bustPrice": "",
    "positionMM": "",
    "positionMMByMp": "",
    "positionIM": "",
    "positionIMByMp": "",
    "tpslMode": "Full",
    "takeProfit": "",
    "stopLoss": "",
    "trailingStop": "0",
    "unrealisedPnl": "",
    "curRealisedPnl": "0",
    "cumRealisedPnl": "0",
    "seq": -1,
    "isReduceOnly": False,
    "mmrSysUpdateTime": "",
    "leverageSysUpdatedTime": "",
    "sessionAvgPrice": "",
    "createdTime": "0",
    "updatedTime": "0",
}
