"""The seed strategy, entering only when funding and order book agree; it leaves as the seed does.

Funding agrees while its 7-day mean is at most `funding_most`: nobody overpays to be long. The book agrees while
bids are not outweighed by more than `book_least` over 5 levels a side. What is absent does not agree, so without
funding or book nothing is bought, and whatever is held is sold all the same.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import ABSENT, History
from tgtqr_lib.signals import funding_mean
from tgtqr_lib.signals.indicator import book_column
from tgtqr_lib.strategies import ma_trend
from tgtqr_lib.strategies.strategy import Parameter, Strategy, Told

HUNDREDTH = 10_000  # of an imbalance of 1,000,000
BOOK = "imbalance_5"


def targets(
    history: History,
    *,
    window: int = ma_trend.LOOKBACK,
    band_bps: int = 0,
    funding_most: int = 200,
    book_least: int = -20,
) -> np.ndarray:
    """(n,): 1 above the mean where funding and book agree, 0 below the mean, else NaN.

    funding_most  millionths of the position per 8 hours, of the 7-day mean
    book_least    hundredths, of the imbalance of 5 levels a side
    """
    trend = ma_trend.targets(history, window=window, band_bps=band_bps)
    cheap = funding_mean.compare(history, funding_most) <= 0
    said = book_column(history, BOOK)
    agrees = cheap & (said != ABSENT) & (said >= book_least * HUNDREDTH)
    return np.where((trend == 1) & ~agrees, np.nan, trend)


def lookback(
    *,
    window: int = ma_trend.LOOKBACK,
    band_bps: int = 0,
    funding_most: int = 200,
    book_least: int = -20,
) -> int:
    """Minutes that one row of `targets` needs."""
    return window


def reference(
    history: History,
    *,
    window: int = ma_trend.LOOKBACK,
    band_bps: int = 0,
    funding_most: int = 200,
    book_least: int = -20,
) -> Fraction | None:
    """The seed's mean."""
    return ma_trend.reference(history, window=window, band_bps=band_bps)


def explain(
    history: History,
    *,
    window: int = ma_trend.LOOKBACK,
    band_bps: int = 0,
    funding_most: int = 200,
    book_least: int = -20,
) -> Told | None:
    """What keeps an entry back; None where close and mean say it all."""
    if ma_trend.targets(history, window=window, band_bps=band_bps)[-1] != 1:
        return None
    mean, book = funding_mean.INDICATORS[0](history)[-1], int(book_column(history, BOOK)[-1])
    doubts = []
    if np.isnan(mean):
        doubts.append("the last 7 days of funding are not all there")
    elif funding_mean.compare(history, funding_most)[-1] > 0:
        doubts.append(f"funding, {mean:.4f} bps for 8 hours, is above {funding_most / 100:g}")
    if book == ABSENT:
        doubts.append("there is no book of 5 levels a side")
    elif book < book_least * HUNDREDTH:
        doubts.append(f"the book's imbalance, {book / 1e6:.4f}, is below {book_least / 100:g}")
    if not doubts:
        return None
    return Told("SIGNAL_FILTERED", f"above its mean, but {' and '.join(doubts)}: HOLD")


STRATEGY = Strategy(
    name="ma_trend_filtered",
    text="long above the moving average when funding and order book agree, flat below",
    targets=targets,
    lookback=lookback,
    reference=reference,
    parameters={
        **ma_trend.STRATEGY.parameters,
        "funding_most": Parameter(
            200,
            -4000,
            4000,
            "millionths per 8 hours",
            "enters at this 7-day mean of funding at most",
        ),
        "book_least": Parameter(
            -20, -100, 100, "hundredths", "enters at this imbalance of 5 levels at least"
        ),
    },
    needs=("book", "funding"),
    explain=explain,
)
