"""Looks at the order books, kept for research: by the watch every minute, by each tick what it decided on.

What cannot be seen or written is told to the log, and disturbs nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tgtqr_lib import journal
from tgtqr_lib.clock import floor_minute
from tgtqr_lib.desk import Desk
from tgtqr_lib.domain import BrokerError, DataError, Inputs, StoreError
from tgtqr_lib.market.book_lake import BookLake, Look
from tgtqr_lib.signals.book_features import features


def look(desk: Desk, at: datetime) -> int:
    """Keep a look at each symbol's book in the minute of `at`; how many were new."""
    looks = []
    for symbol in desk.settings.symbols:
        try:
            quote = desk.exchange.quote(symbol)
        except (DataError, BrokerError) as error:
            journal.event("book_not_seen", symbol=symbol, text=str(error))
            continue
        if floor_minute(quote.at) == floor_minute(at):  # else it belongs to another minute
            looks.append(Look(symbol, floor_minute(at), features(quote), "watch"))
    return _keep(desk, looks)


def frozen(desk: Desk, inputs: Inputs) -> int:
    """Keep what a tick saw of the books it decided on; how many were new."""
    seen = [view for view in inputs.markets if view.book is not None]
    return _keep(desk, [Look(v.symbol, inputs.boundary, v.book, "tick") for v in seen])


def _keep(desk: Desk, looks: Iterable[Look]) -> int:
    try:
        return BookLake(desk.home.book).write(looks)
    except (StoreError, OSError) as error:
        journal.event("book_not_kept", text=str(error))
        return 0
