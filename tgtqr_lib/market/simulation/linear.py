"""The perpetual market: the spot price moved by a small premium that comes and goes.

The premium is a fraction of the spot price, some hundredths of a percent, and a function of the source's name, the
symbol and the time. What the funding rate is made of is the same premium.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.market.simulation.listed import ListedMarket, Listing, key_of
from tgtqr_lib.market.simulation.prices import QUIET_MS, Prices
from tgtqr_lib.market.simulation.waves import Waves
from tgtqr_lib.market.spot import SpotMarket

LISTINGS = {
    "BTCUSDT": Listing(decimals=1, lot_decimals=3, least=100, beyond=5_000),
    "ETHUSDT": Listing(decimals=2, lot_decimals=2, least=200, beyond=10_000),
}
BUSIER = 3  # perpetuals trade so many times what spot does
OPEN_INTEREST = {"BTCUSDT": 55_000, "ETHUSDT": 900_000}  # coins, about

# (minutes from node to node, spread): two days, eight hours, one hour; what the mark price does not follow.
SLOW = ((2880, 3e-4), (480, 3e-4), (60, 1e-4))
FAST = ((5, 4e-5),)

Premium = Callable[
    [np.ndarray], np.ndarray
]  # minutes since 1970 (n,) -> fractions of the spot price (n,)


class ShiftedPrices(Prices):
    """The spot market's prices times one plus a premium, in steps of `decimals`."""

    def __init__(
        self, spot: SpotMarket, premiums: dict[str, Premium], decimals: dict[str, int]
    ) -> None:
        super().__init__()
        self._spot, self._premiums, self._decimals = spot, premiums, decimals

    def decimals(self, symbol: str) -> int:
        """The decimals of a price step, whatever those of spot are."""
        return self._decimals[symbol]

    def minutes(self, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> np.ndarray:
        """See `Prices`; volume is spot's."""
        rows = self._spot.minutes(symbol, start_ms, end_ms, now_ms)
        minute = rows["open_ms"] // MINUTE_MS
        before = self._premiums[symbol](minute)
        after = self._premiums[symbol](minute + 1)
        if len(rows) and (elapsed_ms := now_ms - int(rows["open_ms"][-1])) < MINUTE_MS:
            after[-1] = _between(before[-1], after[-1], elapsed_ms)
        # The premium goes straight from one to the other, so no price of the minute leaves these bounds.
        for name, premium in (
            ("open", before),
            ("high", np.maximum(before, after)),
            ("low", np.minimum(before, after)),
            ("close", after),
        ):
            rows[name] = self._moved(symbol, rows[name], premium)
        return rows

    def prices(
        self, symbol: str, minutes: np.ndarray, elapsed_ms: np.ndarray, now_ms: int
    ) -> np.ndarray:
        """The price (n,) after `elapsed_ms` of each of `minutes`, which are known by `now_ms`."""
        spot = self._spot.prices(symbol, minutes, elapsed_ms, now_ms)
        here, there = (self._premiums[symbol](minutes // MINUTE_MS + n) for n in (0, 1))
        return self._moved(symbol, spot, _between(here, there, elapsed_ms))

    def _moved(self, symbol: str, steps: np.ndarray, premium: np.ndarray) -> np.ndarray:
        scale = 10.0 ** (self._decimals[symbol] - self._spot.decimals(symbol))
        return np.maximum(np.rint(steps * scale * (1 + premium)), 1).astype(np.int64)


def _between(here: np.ndarray, there: np.ndarray, elapsed_ms: np.ndarray | int) -> np.ndarray:
    """The premium inside a minute: like the price it stands still at first, then goes straight on."""
    gone = np.maximum(elapsed_ms - QUIET_MS, 0) / (MINUTE_MS - QUIET_MS)
    return here * (1 - gone) + there * gone


class LinearMarket(ListedMarket):
    """Bybit's USDT perpetuals of the same symbols as spot, another series of prices.

    mark   the mark price: moved by the slow part of the premium
    index  the index price: spot's own
    """

    category = "linear"
    listings = LISTINGS
    book_salt = 1 << 40

    def __init__(self, spot: SpotMarket, spread_bps: float | str | Fraction = 1) -> None:
        """`spread_bps` is best ask over best bid; DomainError unless it is positive and below 10,000."""
        super().__init__(spot.source.name, spot.symbols, spread_bps)
        waves = {s: Waves(self._key("premium", s), SLOW + FAST) for s in spot.symbols}
        slow = {s: Waves(self._key("premium", s), SLOW) for s in spot.symbols}
        self.premiums: dict[str, Premium] = {s: w.at for s, w in waves.items()}
        steps = {s: listing.decimals for s, listing in LISTINGS.items()}
        self._prices = ShiftedPrices(spot, self.premiums, steps)
        self.mark = ShiftedPrices(
            spot, {s: w.at for s, w in slow.items()}, dict.fromkeys(LISTINGS, 2)
        )
        self.index = spot
        self._interest = Waves(
            key_of(spot.source.name, "open interest"), ((1440, 0.05), (60, 5e-3))
        )

    def decimals(self, symbol: str) -> int:
        """The decimals of a price step."""
        return self._prices.decimals(symbol)

    def minutes(self, symbol: str, start_ms: int, end_ms: int, now_ms: int) -> np.ndarray:
        """See `Prices`."""
        rows = self._prices.minutes(symbol, start_ms, end_ms, now_ms)
        lot = LISTINGS[symbol].lot
        rows["volume"] = rows["volume"] * BUSIER // lot * lot
        return rows

    def prices(
        self, symbol: str, minutes: np.ndarray, elapsed_ms: np.ndarray, now_ms: int
    ) -> np.ndarray:
        """See `ListedMarket`."""
        return self._prices.prices(symbol, minutes, elapsed_ms, now_ms)

    def open_interest(self, symbol: str, now_ms: int) -> int:
        """Lots that are held open, by a made-up process that depends on the time alone."""
        wave = self._interest.at(np.array([now_ms // MINUTE_MS]))[0]
        return round(OPEN_INTEREST[symbol] * 10 ** LISTINGS[symbol].lot_decimals * (1 + wave))
