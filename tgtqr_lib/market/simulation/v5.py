"""The grammar of Bybit's v5 replies: envelope, numbers as text, and how a request is read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SERVER_TIMEOUT = 10000
PARAMETER_ERROR = 10001
RATE_LIMIT = 10006
SERVER_ERROR = 10016
ROUTE_NOT_FOUND = 10017
DUPLICATE = 170141

Result = dict[str, Any]
Asked = Mapping[str, str]


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
    sign = "-" if units < 0 else ""
    scale = 10**decimals
    whole, part = divmod(abs(units), scale)
    shown = f"{whole}.{str(scale + part)[1:]}".rstrip("0") if part else str(whole)
    return sign + shown


def amount(value: float, decimals: int = 8) -> str:
    """A float as Bybit writes amounts of money."""
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def category(
    asked: Asked,
    known: tuple[str, ...] = ("spot", "linear"),
    default: str = "",
    refusal: str = "params error: Category is invalid",
) -> str:
    """The category asked for, one of `known`."""
    chosen = asked.get("category") or default
    if chosen not in known:
        raise Refused(refusal)
    return chosen


def symbol(asked: Asked, known: tuple[str, ...]) -> str:
    """The symbol asked for, one of `known`; Bybit's categories refuse another one in words of their own."""
    if asked.get("symbol") not in known:
        spot = asked.get("category") == "spot"
        raise Refused("Not supported symbols" if spot else "params error: symbol invalid")
    return asked["symbol"]


def symbols(asked: Asked, known: tuple[str, ...]) -> tuple[str, ...]:
    """The symbol asked for, or all when none is."""
    return (symbol(asked, known),) if asked.get("symbol") else known


def integer(
    asked: Asked, name: str, default: int | None = None, most: int | None = None
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
