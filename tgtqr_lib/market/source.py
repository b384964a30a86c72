"""What every source of candles promises, whatever made its candles."""

from typing import Protocol

import numpy as np

from tgtqr_lib.domain import MINUTE_MS

DAY_MS = 1440 * MINUTE_MS

# Prices count steps of 10**-decimals, volume counts millionths of the base coin; times are ms UTC.
CANDLE = np.dtype([(name, "<i8") for name in ("open_ms", "open", "high", "low", "close", "volume")])
PRICES = ("open", "high", "low", "close")


class CandleSource(Protocol):
    """One-minute candles as integers.

    name      one line for people: where the candles come from
    symbols   Bybit's names, such as ("BTCUSDT", "ETHUSDT")
    """

    name: str
    symbols: tuple[str, ...]

    def price_decimals(self, symbol: str) -> int:
        """The number of decimals of a price step; DataError when the symbol is unknown."""

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        """The minutes that open in [start_ms, end_ms), oldest first, as a read-only (n,) of CANDLE.

        A minute the source does not have is absent, so n may be anything down to 0.
        DataError when the symbol is unknown.
        """
