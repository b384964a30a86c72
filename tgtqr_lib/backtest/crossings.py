"""What the strategy says at every quarter hour of a series, gaps and jumps taken out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.money import compiled
from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.strategies import Strategy

TICK_MS = 15 * MINUTE_MS
BPS = 10_000
INT64_MAX = int(np.iinfo(np.int64).max)

LONG, FLAT, HOLD, DOUBT, INCOMPLETE, NO_DECISION = 1, 0, -1, -2, -3, -4
NEVER = 1 << 40  # rows since a jump when there was none
NO_MINUTE = -(1 << 60)  # the minute before the first


def signals(bars: Bars, strategy: Strategy, params: Mapping[str, int]) -> np.ndarray:
    """(n,) int8: LONG, FLAT or HOLD at the rows that close on a quarter hour, else NO_DECISION.

    INCOMPLETE where a minute of the lookback is missing, DOUBT where a close jumped (DATA_JUMP). The
    quick way is taken when the strategy declares one and its products fit 64 bits; the other way is the
    strategy's own `targets` over the whole series.
    """
    need = strategy.lookback(**params)
    mean = strategy.fast
    if mean is not None:
        window, band_bps = params[mean.window], params[mean.band_bps]
        if fits(bars.close, window, band_bps):
            return mean_signals(bars.open_ms, bars.close, need, window, band_bps)
    clean = decision_state(bars.open_ms, bars.close, need)
    targets = strategy.targets(bars.history(), **params)
    said = np.where(np.isnan(targets), HOLD, np.where(targets > 0, LONG, FLAT)).astype(np.int8)
    return np.where(clean == HOLD, said, clean)


def fits(close: np.ndarray, window: int, band_bps: int) -> bool:
    """Whether every product of a comparison with the mean fits 64 bits."""
    return (BPS + band_bps) * (window + 1) * int(close.max()) < INT64_MAX


@compiled
def decision_state(open_ms, close, need):
    """(n,) int8: HOLD at rows that can be decided, else INCOMPLETE, DOUBT or NO_DECISION."""
    out = np.empty(len(open_ms), np.int8)
    run, since_jump, phase, before, last = 0, NEVER, 0, NO_MINUTE, close[0]
    for i in range(len(open_ms)):
        run, since_jump, phase = follow(run, since_jump, phase, before, open_ms[i], last, close[i])
        out[i] = state(run, since_jump, phase, need)
        before, last = open_ms[i], close[i]
    return out


@compiled
def mean_signals(open_ms, close, need, window, band_bps):
    """(n,) int8: as `decision_state`, and where it says HOLD the close against the mean of `window` closes.

    Sums are over rows; where they are read, rows are minutes.
    """
    out = np.empty(len(open_ms), np.int8)
    run, since_jump, phase, before, last = 0, NEVER, 0, NO_MINUTE, close[0]
    total = 0
    for i in range(len(open_ms)):
        run, since_jump, phase = follow(run, since_jump, phase, before, open_ms[i], last, close[i])
        before, last = open_ms[i], close[i]
        said = state(run, since_jump, phase, need)
        total += close[i]
        if i >= window:
            total -= close[i - window]
        if said == HOLD:
            scaled = BPS * window * close[i]
            if scaled > (BPS + band_bps) * total:
                said = LONG
            elif scaled < (BPS - band_bps) * total:
                said = FLAT
        out[i] = said
    return out


@compiled
def follow(run, since_jump, phase, before, now, last, close):
    """Minutes without a gap, rows since a jump, and minute of the quarter hour, one row on.

    Figures go in and out, not arrays, which numba would count references to in every row.
    """
    follows = now - before == MINUTE_MS
    jumped = 5 * abs(close - last) >= last  # 20 % or more
    phase = phase + 1 if follows else (now + MINUTE_MS) % TICK_MS // MINUTE_MS
    return run + 1 if follows else 1, 0 if jumped else since_jump + 1, 0 if phase == 15 else phase


@compiled
def state(run, since_jump, phase, need):
    """What these figures of `follow` allow."""
    if phase != 0:
        return NO_DECISION
    if run < need:
        return INCOMPLETE
    return DOUBT if since_jump < need else HOLD
