"""Targets against the strategy's own `reference`, an exact fraction, and against its declared shape.

With a `MeanBand` every target is recomputed: the close against the mean of the last `window` closes and the
band. Without one, the close must at least stand on one side of the reference whenever it is LONG, or
whenever it is FLAT: a window that is off by one breaks both.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.backtest.probes.case import Case, Params, counted, named, same, word
from tgtqr_lib.backtest.probes.findings import Failed
from tgtqr_lib.domain import Candles, History

BPS = 10_000


def probe(case: Case) -> str:
    if case.strategy.reference is None:
        return "it compares the close with no price"
    compared = 0
    for params in case.sets:
        need, said = case.need(params), case.targets(case.candles, params)
        whole = np.flatnonzero(History(case.candles).contiguous(need))
        rows = whole if params is case.params else np.intersect1d(whole, case.decisions())
        references = [_reference(case, row, need, params) for row in rows.tolist()]
        if case.strategy.fast is None:
            _on_one_side(case, rows, said, references, params)
        else:
            _recomputed(case, rows, said, references, params)
        compared += len(rows)
    how = "one side of it" if case.strategy.fast is None else "mean and band, in fractions"
    return f"{compared:,} minutes over {counted(len(case.sets), 'parameter set')} against {how}"


def _reference(case: Case, row: int, need: int, params: Params) -> Fraction:
    window = case.candles[row + 1 - need : row + 1]
    found = case.strategy.reference(case.history(window), **params)
    if isinstance(found, bool) or not isinstance(found, (int, Fraction)) or found <= 0:
        raise Failed(
            f"at {case.minute(row)} reference is {found!r}{named(params)} though all of its {need:,} "
            "minutes are there; expected a positive whole number or Fraction of price steps"
        )
    return Fraction(found)


def _recomputed(
    case: Case, rows: np.ndarray, said: np.ndarray, references: list[Fraction], params: Params
) -> None:
    shape, closes = case.strategy.fast, case.candles.close
    window, band = params[shape.window], Fraction(params[shape.band_bps], BPS)
    for row, reference in zip(rows.tolist(), references, strict=True):
        mean = Fraction(sum(closes[max(row + 1 - window, 0) : row + 1].tolist()), window)
        at = f"at {case.minute(row)}"
        if reference != mean:
            raise Failed(
                f"{at} reference is {price(case.candles, reference)}{named(params)}, the mean of the "
                f"last {window:,} closes is {price(case.candles, mean)}"
            )
        close = int(closes[row])
        up, down = close > mean * (1 + band), close < mean * (1 - band)
        expected = 1.0 if up else 0.0 if down else np.nan
        if not same(said[row], expected):
            raise Failed(
                f"{at}: {word(said[row])}, but the close {price(case.candles, close)} against the mean "
                f"{price(case.candles, mean)} of its {window:,} closes is {word(expected)}{named(params)}"
            )


def _on_one_side(
    case: Case, rows: np.ndarray, said: np.ndarray, references: list[Fraction], params: Params
) -> None:
    sides: dict[tuple[float, bool], list[int]] = {}
    closes = case.candles.close
    for row, reference in zip(rows.tolist(), references, strict=True):
        close = int(closes[row])
        if close != reference and not np.isnan(said[row]):
            sides.setdefault((float(said[row]), close > reference), []).append(row)
    mixed = [said for said in (1.0, 0.0) if (said, True) in sides and (said, False) in sides]
    if len(mixed) == 2:
        rarer = min((True, False), key=lambda side: len(sides[1.0, side]))
        row = sides[1.0, rarer][0]
        place = dict(zip(rows.tolist(), references, strict=True))[row]
        raise Failed(
            f"at {case.minute(row)}: LONG at the close {price(case.candles, int(closes[row]))} against "
            f"the reference {price(case.candles, place)}{named(params)}; it is LONG and FLAT on both "
            "sides of its reference, so that is not what the close is compared with"
        )


def price(candles: Candles, steps: Fraction | int) -> str:
    """A price in steps as text in quote per base, two digits finer than a step."""
    exact = Fraction(steps) / 10**candles.decimals
    return f"{float(exact):,.{candles.decimals + 2}f}"
