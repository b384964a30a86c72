"""The spot market: a source of candles seen as an exchange at a time."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation.listed import ListedMarket, Listing
from tgtqr_lib.market.simulation.prices import path, so_far
from tgtqr_lib.market.source import PRICES, CandleSource

LISTINGS = {
    "BTCUSDT": Listing(decimals=1, lot_decimals=6, least=50_000, beyond=1_000_000),
    "ETHUSDT": Listing(decimals=2, lot_decimals=5, least=100_000, beyond=2_000_000),
}


class SpotMarket(ListedMarket):
    """A source of candles as Bybit's spot market.

    Prices are integer steps of 10**-decimals(symbol): the listing's step, or the source's where that is finer.
    """

    category = "spot"
    listings = LISTINGS

    def __init__(self, source: CandleSource, spread_bps: float | str | Fraction = 1) -> None:
        """`spread_bps` is best ask over best bid; DomainError unless it is positive and below 10,000."""
        symbols = tuple(s for s in LISTINGS if s in source.symbols)
        super().__init__(source.name, symbols, spread_bps)
        self.source = source

    def decimals(self, symbol: str) -> int:
        """The decimals of a price step."""
        return max(LISTINGS[symbol].decimals, self.source.price_decimals(symbol))

    def minutes(self, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> np.ndarray:
        """See `Prices`: the source's candles in the exchange's steps."""
        running = now_ms - now_ms % MINUTE_MS
        rows = self.source.candles(symbol, start_ms, min(end_ms, running + 1)).copy()
        scale = 10 ** (self.decimals(symbol) - self.source.price_decimals(symbol))
        if scale > 1:
            for name in PRICES:
                rows[name] *= scale
        if len(rows) and rows["open_ms"][-1] == running:
            rows[-1] = so_far(rows[-1], now_ms - running)
        return rows

    def prices(
        self, symbol: str, minutes: np.ndarray, elapsed_ms: np.ndarray, now_ms: int
    ) -> np.ndarray:
        """See `ListedMarket`; a minute without a candle is an error of the caller."""
        if not len(minutes):
            return np.empty(0, np.int64)
        first, last = int(minutes.min()), int(minutes.max())
        rows = self.minutes(symbol, first, last + 1, now_ms)
        return path(rows[np.searchsorted(rows["open_ms"], minutes)], elapsed_ms)
