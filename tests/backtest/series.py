"""Candles for the tests of backtests: random walks, and minutes written by hand."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from tests.builders import PLAN
from tgtqr_lib.domain import Candles, Plan

START = 1_763_769_600_000  # 2025-11-22T00:00Z
MINUTE = 60_000
PRICE = {"BTCUSDT": 1_043_217, "ETHUSDT": 251_103}  # steps
DECIMALS = {"BTCUSDT": 1, "ETHUSDT": 2}


def by_hand(opens, closes, symbol="BTCUSDT", start=START, missing=(), market="spot") -> Candles:
    """Candles with these opens and closes in steps, a minute apart; `missing` rows are left out."""
    opens, closes = np.array(opens, dtype=np.int64), np.array(closes, dtype=np.int64)
    times = start + MINUTE * np.arange(len(closes), dtype=np.int64)
    keep = np.ones(len(closes), dtype=bool)
    keep[list(missing)] = False
    opens, closes, times = opens[keep], closes[keep], times[keep]
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    volume = np.ones(len(closes), dtype=np.int64)
    return Candles(symbol, DECIMALS[symbol], times, opens, high, low, closes, volume, market)


def random_walk(
    rows, seed, symbol="BTCUSDT", price=None, swing=0.001, missing=0.0, start=START, market="spot"
) -> Candles:
    """A walk of `rows` minutes with steps of `swing`; a share `missing` of them is left out."""
    rng = np.random.default_rng(seed)
    path = np.exp(np.cumsum(rng.standard_normal(rows) * swing))
    closes = np.maximum(np.rint((price or PRICE[symbol]) * path), 1).astype(np.int64)
    opens = np.concatenate((closes[:1], closes[:-1])) + rng.integers(-2, 3, rows)
    gone = np.flatnonzero(rng.random(rows) < missing)
    gone = gone[gone < rows - 1]
    return by_hand(np.maximum(opens, 1), closes, symbol, start, gone, market)


def a_plan(target="0.95", collar_bps=100, **parameters) -> Plan:
    return Plan(PLAN.strategy, parameters, Decimal(target), collar_bps)
