"""What a request for a spot order asks for, and the rules of its symbol."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tgtqr_lib.market.simulation.account import ZERO
from tgtqr_lib.market.simulation.v5 import Refused
from tgtqr_lib.market.simulation.v5_instruments import spot_listing
from tgtqr_lib.market.simulation.venue import Venue

IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly")
NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,18})?")
LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What an order of a symbol must keep to, as instruments-info shows it; prices in USDT, the rest in coins."""

    lot: Decimal
    tick: Decimal
    least_value: Decimal
    most_value: Decimal
    most_limit: Decimal
    most_market: Decimal
    ratio: Decimal  # a limit may be so far from the index

    @classmethod
    def of(cls, venue: Venue, symbol: str) -> Rules:
        listing = spot_listing(venue, symbol)
        lots = {name: Decimal(text) for name, text in listing["lotSizeFilter"].items()}
        return cls(
            lot=lots["basePrecision"],
            tick=Decimal(listing["priceFilter"]["tickSize"]),
            least_value=lots["minOrderAmt"],
            most_value=lots["maxOrderAmt"],
            most_limit=lots["maxLimitOrderQty"],
            most_market=lots["maxMarketOrderQty"],
            ratio=Decimal(listing["riskParameters"]["priceLimitRatioX"]),
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """A request for an order, read and in the right form."""

    symbol: str
    side: str
    kind: str
    in_force: str
    quantity: Decimal
    by_value: bool
    price: Decimal
    link_id: str

    @property
    def is_buy(self) -> bool:
        return self.side == "Buy"

    @classmethod
    def read(cls, asked: Mapping[str, Any], symbols: tuple[str, ...]) -> Wish:
        """What a request asks for; `Refused` when it cannot be understood."""
        if asked.get("symbol") not in symbols:
            raise Refused("Invalid symbol.", 170121)
        side, kind = asked.get("side"), asked.get("orderType")
        if side not in ("Buy", "Sell"):
            raise Refused("Invalid side.", 170117)
        if kind not in ("Limit", "Market"):
            raise Refused("Invalid orderType.", 170116)
        in_force = "IOC" if kind == "Market" else asked.get("timeInForce") or "GTC"
        if in_force not in IN_FORCE:
            raise Refused("Invalid timeInForce.", 170115)
        if asked.get("triggerPrice") or asked.get("orderFilter", "Order") not in ("", "Order"):
            raise Refused("Invalid orderFilter parameter.", 170202)
        link_id = asked.get("orderLinkId") or ""
        if link_id and not (isinstance(link_id, str) and LINK_ID.fullmatch(link_id)):
            raise Refused("params error: orderLinkId is invalid")
        unit = asked.get("marketUnit") or ("quoteCoin" if side == "Buy" else "baseCoin")
        if unit not in ("baseCoin", "quoteCoin") or (unit, side) == ("quoteCoin", "Sell"):
            raise Refused("Data sent for parameter 'marketUnit' is not valid.", 170130)
        return cls(
            symbol=asked["symbol"],
            side=side,
            kind=kind,
            in_force=in_force,
            quantity=_number(asked, "qty"),
            by_value=kind == "Market" and unit == "quoteCoin",
            price=ZERO if kind == "Market" else _number(asked, "price"),
            link_id=link_id,
        )


def _number(asked: Mapping[str, Any], name: str) -> Decimal:
    given = asked.get(name)
    if given in (None, ""):
        raise Refused(f"Parameter '{name}' was empty.", 170105)
    if not (isinstance(given, str) and NUMBER.fullmatch(given)):
        raise Refused(f"Data sent for parameter '{name}' is not valid.", 170130)
    number = Decimal(given)
    return number
