"""Row t says the same whether the minutes after t are missing, as they were, or anything else."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest.probes.case import AHEAD, Case, Params, counted, joined, named, same, word
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.domain import MINUTE_MS

WHOLE_CUTS = 8


def probe(case: Case) -> str:
    cuts = 0
    for params in case.sets:
        for row in case.rows(params):
            _one(case, row, params)
            cuts += 1
        _whole(case, params)
    sets = counted(len(case.sets), "parameter set")
    return f"{cuts:,} cuts over {sets}: truncated, followed by what came, and by wild prices"


def _one(case: Case, row: int, params: Params) -> None:
    """The target of `row` with nothing after it, and with two futures of an hour."""
    begin = max(row + 1 - case.need(params) - AHEAD, 0)
    past = case.candles[begin : row + 1]
    alone = case.known(past, params)[-1]
    futures = {
        "with the minutes after it": case.longer[row + 1 : row + 1 + AHEAD],
        "when wild prices follow": case.wild[row + 1 : row + 1 + AHEAD],
    }
    if case.strategy.needs:
        ended = int(past.open_ms[-1]) + MINUTE_MS
        other = case.otherwise(past, ended, params)[-1]
        if not same(alone, other):
            raise Failed(
                f"at {case.minute(row)}: {word(other)} when other funding or books follow, {word(alone)} "
                f"without them{named(params)}"
            )
    for when, future in futures.items():
        followed = case.targets(joined(past, future), params)[len(past) - 1]
        if not same(alone, followed):
            raise Failed(
                f"at {case.minute(row)}: {word(followed)} {when}, {word(alone)} without "
                f"them{named(params)}"
            )


def _whole(case: Case, params: Params) -> None:
    """All rows before a few cuts, with the whole history and with nothing after the cut."""
    whole = case.targets(case.candles, params)
    for cut in np.linspace(1, len(whole), WHOLE_CUTS + 1).astype(int)[:-1]:
        cut_off = case.targets(case.candles.head(cut), params)
        odd = np.flatnonzero(
            ~((cut_off == whole[:cut]) | np.isnan(cut_off) & np.isnan(whole[:cut]))
        )
        if len(odd):
            row = int(odd[0])
            raise Failed(
                f"at {case.minute(row)}: {word(whole[row])} with all of the history, "
                f"{word(cut_off[row])} when it ends at {case.minute(cut - 1)}{named(params)}"
            )
