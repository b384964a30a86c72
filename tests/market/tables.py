"""A source of a few candles written out by hand, for tests that need to know every price."""

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.source import CANDLE

MINUTE = 60_000
NOON = to_ms(parse_time("2025-06-01T12:00Z"))


def at(minutes: float, seconds: float = 0) -> int:
    """Milliseconds of the time so long after noon."""
    return NOON + round(minutes * MINUTE + seconds * 1000)


class Table:
    """Candles of BTCUSDT from rows of (minutes after noon, open, high, low, close, volume in 1e-6)."""

    name = "a table"
    symbols = ("BTCUSDT",)

    def __init__(self, *rows: tuple[int, ...], decimals: int = 1) -> None:
        self._decimals = decimals
        self._rows = np.array([(at(minutes), *rest) for minutes, *rest in rows], CANDLE)

    def price_decimals(self, symbol: str) -> int:
        return self._decimals

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        opened = self._rows["open_ms"]
        return self._rows[(opened >= start_ms) & (opened < end_ms)]


def flat(minutes: int, price: int, volume: int = 1_000_000) -> tuple[int, ...]:
    """A row in which the price does not move."""
    return minutes, price, price, price, price, volume


def ask(url: str, body: Any = None) -> tuple[int, Any]:
    """HTTP status and JSON (or else text) of a GET, or of a POST when there is a body."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text.startswith("{") else text


def kline(url: str, **asked: Any) -> list[list[str]]:
    """The rows of a page of BTCUSDT's one-minute spot candles, newest first."""
    query = {"category": "spot", "symbol": "BTCUSDT", "interval": "1", **asked}
    text = "&".join(f"{name}={value}" for name, value in query.items())
    status, reply = ask(f"{url}/v5/market/kline?{text}")
    assert (status, reply["retCode"]) == (200, 0), reply
    return reply["result"]["list"]
