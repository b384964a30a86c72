"""`write`: all that `docs/trading_strategy.tex` reads, made from the code and from one history."""

from __future__ import annotations

import os
from pathlib import Path

from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import DataError
from tgtqr_lib.strategy_document import example, facts, figures, results
from tgtqr_lib.strategy_document.mercy import mercy
from tgtqr_lib.strategy_document.study import DAYS, Evidence, equal_engines
from tgtqr_lib.strategy_document.tex import Pages


def write(folder: Path, home: str | os.PathLike[str], days: int = DAYS) -> Evidence:
    """Write macros, tables and figures into `folder`; what they were made of comes back.

    The same history gives the same bytes. Raises `DataError` for a lake with one symbol only, or a history
    in which nothing was ever bought.
    """
    evidence = Evidence.of(home, days)
    pages = Pages()
    facts.add_limits(pages)
    facts.add_instruments(pages)
    facts.add_fees(pages, from_ms(evidence.end_s * 1000).date())
    facts.add_widths(pages)
    facts.add_parameters(pages)
    facts.add_rules(pages)
    facts.add_metrics(pages)
    past = evidence.first
    at = results.last_long(past)
    if at is None:
        raise DataError(
            f"{past.candles.symbol}: no quarter hour says LONG; expected a longer history"
        )
    example.add_example(pages, past, at)
    results.add_data(pages, evidence)
    results.add_ties(pages, evidence)
    candles = {symbol: one.candles for symbol, one in evidence.pasts.items()}
    results.add_results(pages, evidence, equal_engines(candles))
    results.add_sweep(pages, evidence)
    results.add_luck(pages, evidence)
    results.add_walk(pages, evidence)
    results.add_compared(pages, evidence)
    found = mercy()
    results.add_mercy(pages, found)
    results.add_digests(pages, evidence)
    for name, content in _drawn(evidence, found).items():
        pages.files[f"figure-{name}.pdf"] = content
    pages.save(folder)
    return evidence


def _drawn(evidence: Evidence, found: object) -> dict[str, bytes]:
    draw = figures.draw
    return {
        "signal": draw(figures.signal, evidence.first, evidence.subjects[0]),
        "equity": draw(figures.equity, evidence),
        "costs": draw(figures.costs, evidence),
        "sweep": draw(figures.sweep, evidence),
        "walk": draw(figures.walk, evidence),
        "intervals": draw(figures.intervals, evidence),
        "mercy": draw(figures.mercy, found),
    }
