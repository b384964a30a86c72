"""History as a backtest reads it: opens and closes in whole steps, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tgtqr_lib.backtest.exact import rows_before_gaps
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, BookHistory, Candles, DomainError, Funding, History
from tgtqr_lib.limits import SYMBOLS


@dataclass(frozen=True, slots=True)
class Gap:
    """Minutes that a series does not have: how many, and the open of the first (ms, UTC)."""

    symbol: str
    first_ms: int
    minutes: int

    def plain(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "from": iso(from_ms(self.first_ms)),
            "minutes": self.minutes,
        }


@dataclass(frozen=True, eq=False)
class Bars:
    """Minute candles of one symbol without what a backtest does not need, oldest first.

    funding and book are there for strategies that read them; see `History`.

    decimals     prices are whole steps of 10**-decimals quote per base
    open_ms      (n,) int64, ms since the epoch, UTC, strictly increasing whole minutes
    open, close  (n,) int64, price steps, > 0
    """

    symbol: str
    decimals: int
    open_ms: np.ndarray
    open: np.ndarray
    close: np.ndarray
    market: str = "spot"
    funding: Funding | None = None
    book: BookHistory | None = None

    def __len__(self) -> int:
        return len(self.open_ms)

    @classmethod
    def of(cls, seen: Any) -> Bars:
        """From `Candles`, a `History`, `Bars`, or columns of the candle lake (`series`, `decimals`, `open_ms`)."""
        if isinstance(seen, Bars):
            return seen
        if isinstance(seen, History):
            return replace(cls.of(seen.candles), funding=seen.funding, book=seen.book)
        if isinstance(seen, Candles):
            columns = seen.open_ms, seen.open, seen.close
            return cls(seen.symbol, seen.decimals, *columns, seen.market)
        series = seen.series
        return cls(
            series.symbol, seen.decimals, seen.open_ms, seen["open"], seen["close"], series.market
        )

    def candles(self) -> Candles:
        """As candles, whose high and low are those of open and close, for strategies and rules."""
        return Candles(
            symbol=self.symbol,
            decimals=self.decimals,
            open_ms=self.open_ms,
            open=self.open,
            high=np.maximum(self.open, self.close),
            low=np.minimum(self.open, self.close),
            close=self.close,
            volume=np.zeros(len(self), dtype=np.int64),
            market=self.market,
        )

    def history(self) -> History:
        """As a strategy sees it."""
        return History(self.candles(), self.funding, self.book)

    def gaps(self) -> tuple[Gap, ...]:
        """The runs of missing minutes between the first candle and the last."""
        times = self.open_ms
        return tuple(
            Gap(
                self.symbol,
                int(times[i]) + MINUTE_MS,
                int(times[i + 1] - times[i]) // MINUTE_MS - 1,
            )
            for i in rows_before_gaps(times, MINUTE_MS).tolist()
        )


def series_of(seen: Any) -> tuple[Bars, ...]:
    """One series or a mapping of them as bars, in the order in which symbols are considered.

    Raises `DomainError` for no candles, two markets, or a series under another symbol's name.
    """
    named = seen if isinstance(seen, Mapping) else {Bars.of(seen).symbol: seen}
    found = {symbol: Bars.of(one) for symbol, one in named.items()}
    for symbol, bars in found.items():
        if bars.symbol != symbol:
            raise DomainError(f"candles of {bars.symbol} were given as those of {symbol}")
        if symbol not in SYMBOLS:
            raise DomainError(f"{symbol} is not one of {', '.join(SYMBOLS)}")
        if not len(bars):
            raise DomainError(f"{symbol}: there is no candle to test on")
    if len({bars.market for bars in found.values()}) != 1:
        raise DomainError("a backtest needs candles of one market")
    return tuple(found[symbol] for symbol in SYMBOLS if symbol in found)
