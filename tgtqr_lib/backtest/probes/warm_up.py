"""Row t needs its lookback and nothing before, and holds when a minute of it is missing.

Every comparison ends at row t, so what comes after it plays no part.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest.probes.case import AHEAD, Case, Params, counted, joined, named, same, word
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.domain import History


def probe(case: Case) -> str:
    windows = incomplete = 0
    for params in case.sets:
        need, whole = case.need(params), History(case.candles).contiguous(case.need(params))
        for row in case.rows(params):
            if whole[row]:
                _window(case, row, need, params)
                windows += 1
        incomplete += _gaps(case, whole, need, params)
    sets = counted(len(case.sets), "parameter set")
    return (
        f"{windows:,} windows over {sets}: alone, a minute short, after a longer and a wild past; "
        f"{incomplete:,} incomplete ones hold"
    )


def _window(case: Case, row: int, need: int, params: Params) -> None:
    first = row + 1 - need
    window = case.candles[first : row + 1]
    before = slice(max(first - AHEAD, 0), first)
    alone = case.targets(window, params)[-1]
    at, remark = case.minute(row), named(params)
    after = case.targets(joined(case.candles[before], window), params)[-1]
    if not same(alone, after):
        raise Failed(
            f"at {at}: {word(alone)} from its lookback of {need:,} minutes alone, {word(after)} with "
            f"more before them{remark}: the lookback is too short, or the window longer than declared"
        )
    wild = case.targets(joined(case.wild[before], window), params)[-1]
    if not same(alone, wild):
        raise Failed(
            f"at {at}: {word(alone)}, but {word(wild)} when prices before its lookback of {need:,} "
            f"minutes are others{remark}"
        )
    short = case.targets(window[1:], params)
    if len(short) and not np.isnan(short[-1]):
        raise Failed(
            f"at {at}: {word(short[-1])} from {need - 1:,} minutes, though the lookback is {need:,}"
            f"{remark}; expected HOLD: the window is shorter than declared, or nothing guards it"
        )


def _gaps(case: Case, whole: np.ndarray, need: int, params: Params) -> int:
    """How many rows lack a minute of their window; all of them hold."""
    said = case.targets(case.candles, params)
    odd = np.flatnonzero(~whole & ~np.isnan(said))
    if len(odd):
        row = int(odd[0])
        there = int(History(case.candles).run_length[row])
        raise Failed(
            f"at {case.minute(row)}: {word(said[row])}, though only {there:,} of its {need:,} minutes "
            f"are there{named(params)}; expected HOLD (`history.contiguous(lookback)` tells)"
        )
    return int((~whole).sum())
