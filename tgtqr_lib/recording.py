"""Looks at the order books, kept for research: by the watch every minute, by each tick what it decided on.

What cannot be seen or written is told to the caller and the log, and ends nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tgtqr_lib import journal
from tgtqr_lib.clock import floor_minute, iso
from tgtqr_lib.desk import Desk
from tgtqr_lib.domain import Damaged, Inputs, TgtqrError
from tgtqr_lib.market.book_lake import BookLake, Look
from tgtqr_lib.signals.book_features import features

PATIENCE_S = 1.0  # for another writer; a look is not worth more of a beat


@dataclass(frozen=True, slots=True)
class Looks:
    """What became of the looks of a minute.

    kept      how many were new; one that the minute has already is not
    problems  what kept a look from being taken or written, a sentence each
    """

    kept: int
    problems: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As `--json` tells it."""
        return {"kept": self.kept, "problems": list(self.problems)}

    @property
    def lines(self) -> tuple[str, ...]:
        """For a person: how many were kept, then each problem."""
        there = "" if self.kept or self.problems else ", this minute has them already"
        return f"{self.kept} kept{there}", *self.problems


def look(desk: Desk, at: datetime) -> Looks:
    """Keep a look at each symbol's book in the minute of `at`. Raises nothing: a beat is worth more."""
    looks, problems, minute = [], [], floor_minute(at)
    for symbol in desk.settings.symbols:
        try:
            quote = desk.exchange.quote(symbol)
            if floor_minute(quote.at) == minute:
                looks.append(Look(symbol, minute, features(quote), "watch"))
                continue
            text = f"{symbol}: the book is of {iso(quote.at)}, not of the minute {iso(minute)}"
        except Exception as error:
            text = _text(error)
        journal.event("book_not_seen", symbol=symbol, text=text)
        problems.append(text)
    return _keep(desk, looks, problems)


def frozen(desk: Desk, inputs: Inputs) -> Looks:
    """Keep what a tick saw of the books it decided on. Raises nothing."""
    seen = [view for view in inputs.markets if view.book is not None]
    return _keep(desk, [Look(v.symbol, inputs.boundary, v.book, "tick") for v in seen], [])


def standing(desk: Desk, at: datetime) -> list[dict[str, Any]]:
    """For each symbol the newest look at its book and its age at exchange time `at`, or the problem with it."""
    lake, rows = BookLake(desk.home.book), []
    for symbol in desk.settings.symbols:
        newest = problem = None
        try:
            newest = lake.newest(symbol)
        except Exception as error:
            problem = _text(error)
        # a beat looks at the books after it asked for the time
        age = None if newest is None else max(0.0, (at - newest).total_seconds())
        rows.append(
            {
                "symbol": symbol,
                "newest": None if newest is None else iso(newest),
                "age_s": age,
                "problem": problem,
            }
        )
    return rows


def _keep(desk: Desk, looks: Iterable[Look], problems: list[str]) -> Looks:
    lake, kept = BookLake(desk.home.book), 0
    batches = [list(looks)]
    while batches:
        batch = batches.pop(0)
        try:
            kept += lake.write(batch, PATIENCE_S)
        except Damaged as error:
            if len(batch) > 1:  # the file of one symbol, which is no matter of the others
                batches += [[one] for one in batch]
                continue
            problems.append(_not_kept(error))
        except Exception as error:
            problems.append(_not_kept(error))
    return Looks(kept, tuple(problems))


def _not_kept(error: Exception) -> str:
    text = _text(error)
    journal.event("book_not_kept", level=logging.WARNING, text=text)
    return text


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, TgtqrError) else f"{type(error).__name__}: {error}"
