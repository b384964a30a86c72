"""Targets are one float64 a row, each 1 (long), 0 (flat) or NaN (hold), and not all of them hold."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest.probes.case import Case, counted, named
from tgtqr_lib.backtest.probes.findings import Failed


def probe(case: Case) -> str:
    for params in case.sets:
        for candles in (case.candles, case.candles.head(1), case.candles.head(0)):
            _check(case, case.targets(candles, params), len(candles), named(params))
    said = case.targets(case.candles, case.params)
    long, flat = int((said == 1).sum()), int((said == 0).sum())
    if long and case.strategy.never_long:
        raise Failed(f"it says LONG at {long:,} minutes, though it is declared never to")
    if long == 0 and not case.strategy.never_long:
        raise Failed(
            f"it says LONG at none of {len(said):,} minutes{named(case.params)}, so nothing is ever "
            "bought and nothing can be checked; another stretch of history may help"
        )
    hold = len(said) - long - flat
    sets = counted(len(case.sets), "parameter set")
    return f"{len(said):,} minutes × {sets}; LONG {long:,}, FLAT {flat:,}, HOLD {hold:,}"


def _check(case: Case, said: np.ndarray, rows: int, params: str) -> None:
    if not isinstance(said, np.ndarray):
        raise Failed(f"targets gives a {type(said).__name__}{params}; expected a numpy array")
    if said.shape != (rows,) or said.dtype != np.float64:
        raise Failed(
            f"targets of {rows:,} minutes have shape {said.shape} and type {said.dtype}{params}; "
            f"expected ({rows},) float64"
        )
    odd = np.flatnonzero(~(np.isnan(said) | (said == 0) | (said == 1)))
    if len(odd):
        row = int(odd[0])
        raise Failed(
            f"at {case.minute(row)} the target is {said[row]}{params}; "
            "expected 1 (long), 0 (flat) or NaN (hold)"
        )
