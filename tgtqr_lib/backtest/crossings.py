"""What the strategy says at every quarter hour of a series, gaps and jumps taken out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.money import compiled
from tgtqr_lib.domain import MINUTE_MS, History
from tgtqr_lib.strategies import Strategy

TICK_MS = 15 * MINUTE_MS
BPS = 10_000
INT64_MAX = int(np.iinfo(np.int64).max)

LONG, FLAT, HOLD, DOUBT, INCOMPLETE, NO_DECISION = 1, 0, -1, -2, -3, -4
NEVER = 1 << 40  # rows since a jump when there was none


def signals(bars: Bars, strategy: Strategy, params: Mapping[str, int]) -> np.ndarray:
    """(n,) int8: LONG, FLAT or HOLD at the rows that close on a quarter hour, else NO_DECISION.

    INCOMPLETE where a minute of the lookback is missing, DOUBT where a close jumped (DATA_JUMP). The
    quick way is taken when the strategy declares one and its products fit 64 bits; the other way is the
    strategy's own `targets` over the whole series.
    """
    need = strategy.lookback(**params)
    clean = decision_state(bars.open_ms, bars.close, need)
    mean = strategy.fast
    if mean is not None:
        window, band_bps = params[mean.window], params[mean.band_bps]
        if fits(bars.close, window, band_bps):
            return mean_signals(bars.close, window, band_bps, clean)
    targets = strategy.targets(History(bars.candles()), **params)
    said = np.where(np.isnan(targets), HOLD, np.where(targets > 0, LONG, FLAT)).astype(np.int8)
    return np.where(clean == HOLD, said, clean)


def fits(close: np.ndarray, window: int, band_bps: int) -> bool:
    """Whether every product of a comparison with the mean fits 64 bits."""
    return (BPS + band_bps) * (window + 1) * int(close.max()) < INT64_MAX


@compiled
def decision_state(open_ms, close, need):
    """(n,) int8: HOLD at rows that can be decided, else INCOMPLETE, DOUBT or NO_DECISION."""
    out = np.empty(len(open_ms), np.int8)
    run, since_jump, phase = 0, NEVER, 0
    for i in range(len(open_ms)):
        if i > 0:
            follows = open_ms[i] - open_ms[i - 1] == MINUTE_MS
            jumped = 5 * abs(close[i] - close[i - 1]) >= close[i - 1]  # 20 % or more
            since_jump = 0 if jumped else since_jump + 1
        else:
            follows = False
        run = run + 1 if follows else 1
        phase = phase + 1 if follows else (open_ms[i] + MINUTE_MS) % TICK_MS // MINUTE_MS
        phase = 0 if phase == 15 else phase
        if phase != 0:
            out[i] = NO_DECISION
        elif run < need:
            out[i] = INCOMPLETE
        else:
            out[i] = DOUBT if since_jump < need else HOLD
    return out


@compiled
def mean_signals(close, window, band_bps, clean):
    """(n,) int8: `clean`, and where it says HOLD the close against the mean of `window` closes.

    Sums are over rows; where `clean` lets them be read, rows are minutes.
    """
    out = clean.copy()
    total = 0
    for i in range(len(close)):
        total += close[i]
        if i >= window:
            total -= close[i - window]
        if clean[i] == HOLD:
            scaled = BPS * window * close[i]
            if scaled > (BPS + band_bps) * total:
                out[i] = LONG
            elif scaled < (BPS - band_bps) * total:
                out[i] = FLAT
    return out
