"""Bybit's kline rows: seven decimal strings, judged one by one, and then candles of whole steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MAX_DECIMALS, MINUTE_MS, Candles, Problem

NO_VOLUME = "0"  # mark prices have none


def row_problem(symbol: str, row: Sequence[Any]) -> Problem | None:
    """Why a kline row (open time, four prices, volume) cannot be a candle; None for a good one."""
    try:
        opened = int(row[0])
        prices = [Decimal(str(text)) for text in row[1:5]]
        volume = Decimal(str(row[5]))
    except (InvalidOperation, ValueError, IndexError, TypeError):
        return Problem("CANDLE_UNREADABLE", f"{symbol}: a candle is unreadable ({str(row)[:80]})")
    at = f"{symbol}: the candle of {iso(from_ms(opened))}"
    if not all(value.is_finite() for value in (*prices, volume)):
        return Problem("CANDLE_NOT_FINITE", f"{at} has a value that is not finite ({row[1:6]})")
    if min(prices) <= 0 or volume < 0:
        return Problem("CANDLE_NOT_POSITIVE", f"{at} has a price that is not positive ({row[1:6]})")
    first, high, low, close = prices
    if high < max(first, close) or low > min(first, close):
        return Problem("CANDLE_CONTRADICTS", f"{at} has a high or low inside its body ({row[1:5]})")
    if opened % MINUTE_MS:
        return Problem("CANDLE_OFF_GRID", f"{at} does not open on a whole minute")
    return None


def order_problem(symbol: str, times: Sequence[int]) -> Problem | None:
    """Why open times (ms) are not newest first, each once; None when they are."""
    for newer, older in pairwise(times):
        if newer <= older:
            what = "stands twice" if newer == older else "is not in its place"
            at = iso(from_ms(older))
            return Problem("CANDLES_DISORDERED", f"{symbol}: the candle of {at} {what}")
    return None


def to_candles(
    symbol: str, market: str, rows: Mapping[int, Sequence[str]], decimals: int = 0
) -> Candles:
    """Valid kline rows by open time as candles, oldest first, in the fewest decimals that hold every price.

    `decimals` is the least number of them.
    """
    times = sorted(rows)
    prices = [[Decimal(text) for text in rows[t][1:5]] for t in times]
    finest = max((-p.normalize().as_tuple().exponent for row in prices for p in row), default=0)
    decimals = min(max(decimals, finest), MAX_DECIMALS)
    steps = [[round(price.scaleb(decimals)) for price in row] for row in prices]
    table = np.array(steps, dtype=np.int64).reshape(len(times), 4)
    volume = [int(Decimal(rows[t][5]).scaleb(6)) for t in times]
    return Candles(
        symbol,
        decimals,
        np.array(times, dtype=np.int64),
        *table.T,
        np.array(volume, dtype=np.int64),
        market=market,
    )
