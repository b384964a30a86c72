"""Both markets of the exchange over one source of candles: spot, and the perpetuals that follow it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.funding import Funding, PremiumFunding
from tgtqr_lib.market.simulation.linear import LinearMarket
from tgtqr_lib.market.simulation.listed import ListedMarket
from tgtqr_lib.market.simulation.recorded_funding import RecordedFunding
from tgtqr_lib.market.source import CandleSource
from tgtqr_lib.market.spot import SpotMarket

MINIMUM_USDT = "5"  # of spot since October 2025; 1 before


class Venue:
    """What the simulator shows.

    spot, linear  the markets by Bybit's category
    symbols       those both of them list
    minimum_usdt  the least value of a spot order, as text
    """

    def __init__(
        self,
        source: CandleSource,
        spread_bps: float | str = 1,
        funding: RecordedFunding | None = None,
        minimum_usdt: str = MINIMUM_USDT,
    ) -> None:
        """`funding` holds recorded rates, which go before made-up ones for the symbols it has.

        DomainError unless the spread is positive and below 10,000, and the minimum a decimal from 0 to 1,000.
        """
        self.minimum_usdt = _minimum(minimum_usdt)
        self.spot = SpotMarket(source, spread_bps)
        self.linear = LinearMarket(self.spot, spread_bps)
        self.symbols = self.spot.symbols
        self._recorded = funding
        self._made_up = PremiumFunding(
            self.linear.premiums, lambda symbol, at_ms: self.spot.mid(symbol, at_ms) is not None
        )

    def market(self, category: str) -> ListedMarket:
        """The market of `category`, which is spot or linear."""
        return {"spot": self.spot, "linear": self.linear}[category]

    def funding(self, symbol: str) -> Funding:
        """Where the funding rates of `symbol` come from."""
        if self._recorded is not None and symbol in self._recorded.symbols:
            return self._recorded
        return self._made_up


def _minimum(given: str) -> str:
    try:
        least = Decimal(given)
    except (InvalidOperation, TypeError, ValueError):
        least = Decimal("NaN")
    if not least.is_finite() or not 0 <= least <= 1000:
        raise DomainError(f"minimum {given!r} USDT: expected a decimal number from 0 to 1,000")
    return format(least, "f")
