"""What the lake has beside candles for strategies that read it: a perpetual's funding, looks at the order book."""

from __future__ import annotations

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, BookHistory, DataError, Funding
from tgtqr_lib.home import Home
from tgtqr_lib.market.book_lake import BookLake
from tgtqr_lib.market.funding_lake import FundingLake
from tgtqr_lib.signals.settled import EIGHT_HOURS, WEEK_MS

BRINGS = {
    "funding": "`tgtqr data fetch --funding` or `data import` brings some",
    "book": "there are only the spot books that a home recorded itself (setting record_book)",
}


def read(home: Home, symbol: str, need: str, closed_ms: np.ndarray) -> Funding | BookHistory:
    """What candles of `symbol` that closed at `closed_ms` know of `need`, "funding" or "book".

    Raises `DataError` when the lake has none of it in that span, `StoreError` for a damaged file.
    """
    first, end = int(closed_ms[0]), int(closed_ms[-1]) + MINUTE_MS
    if need == "funding":
        first -= WEEK_MS + EIGHT_HOURS * MINUTE_MS
        found = FundingLake(home.funding).read(symbol, from_ms(first), from_ms(end)).funding
    else:
        found = BookLake(home.book).read(symbol, from_ms(first), from_ms(end))
    if not len(found):
        raise DataError(
            f"the lake has no {need} of {symbol} from {iso(from_ms(first))} to {iso(from_ms(end))}; "
            f"{BRINGS[need]}"
        )
    return found
