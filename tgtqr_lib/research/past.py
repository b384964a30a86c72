"""`history`: candles to study, real ones when the lake holds some, made-up ones otherwise; it says which."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tgtqr_lib.clock import from_ms, to_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, Candles, DataError, DomainError, History
from tgtqr_lib.home import Home
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market import beside, made_up
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.market.series_id import MARKETS, SeriesId
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.source import DAY_MS, PRICES
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.strategies import Strategy
from tgtqr_lib.strategies.strategy import NEEDS

SEED = 1  # of the made-up history, as of the demo's market
SYNTHETIC_END = datetime(2026, 1, 1, tzinfo=UTC)  # so that a notebook gives the same figures always
MOST_DAYS = 3650


@dataclass(frozen=True, eq=False)
class Past:
    """Candles, and where they are from.

    source   in words, such as the lake's sources or the made-up market's seed
    made_up  whether no market ever traded at these prices
    funding  symbol -> settlements, of a perpetual; for `run` and `sweep`
    """

    candles: Candles
    source: str
    made_up: bool
    funding: Mapping[str, FundingRates] = field(default_factory=dict)
    home: Home | None = None
    _beside: dict[str, Any] = field(
        default_factory=dict, repr=False
    )  # need -> its span, and itself

    @property
    def days(self) -> float:
        """From the first candle to the end of the last."""
        at = self.candles.open_ms
        return (int(at[-1]) - int(at[0]) + MINUTE_MS) / DAY_MS

    @property
    def label(self) -> str:
        """Symbol, length, span and origin, in a line."""
        candles = self.candles
        first, last = (utc_day(from_ms(candles.open_ms[row])) for row in (0, -1))
        kind = "made-up" if self.made_up else "recorded"
        return (
            f"{candles.symbol} {candles.market}, {len(candles):,} {kind} minutes, "
            f"{first} to {last} UTC ({self.source})"
        )

    def seen(self, strategy: Strategy) -> History | Candles:
        """What `strategy` sees: the candles, with the funding and the books that it reads.

        Of a made-up market those of its simulator, a look a quarter hour, which takes some seconds for a
        year; else the lake's. Raises `DataError` when the lake has none in this span.
        """
        if not strategy.needs:
            return self.candles
        beside = [self._part(need) if need in strategy.needs else None for need in NEEDS]
        return History(self.candles, **dict(zip(NEEDS, beside, strict=True)))

    def _part(self, need: str) -> Any:
        symbol, closed = self.candles.symbol, self.candles.open_ms + MINUTE_MS
        span = int(closed[0]), int(closed[-1])
        known = self._beside.get(need)
        if known is not None and known[0] <= span[0] and span[1] <= known[1]:
            return known[2]
        if self.made_up:
            venue = Venue(SyntheticSource(SEED))
            asked = closed[closed % (15 * MINUTE_MS) == 0] if need == "book" else closed
            found = getattr(made_up, need)(venue, symbol, asked)
        else:
            found = beside.read(self.home, symbol, need, closed)
        self._beside[need] = (*span, found)
        return found

    def last(self, days: float) -> Past:
        """Only the last `days` of it."""
        first = int(self.candles.open_ms[-1]) + MINUTE_MS - round(days * DAY_MS)
        row = int(np.searchsorted(self.candles.open_ms, first))
        return replace(self, candles=self.candles[row:])

    def _repr_markdown_(self) -> str:
        if not self.made_up:
            return f"**{self.label}.**"
        return (
            f"**{self.label}.** No market traded at these prices, so nothing here says what one would "
            "pay; `tgtqr data fetch` brings real candles."
        )


def history(
    symbol: str = SYMBOLS[0],
    home: Home | str | os.PathLike[str] | None = None,
    days: int = 365,
    market: str = "spot",
) -> Past:
    """The last `days` of one-minute candles in the home's lake; without any, made-up ones of 2025.

    The same made-up days come every time. Raises `DomainError` for a symbol, market or number of days
    that cannot be, `DataError` when a perpetual has no candles (made-up history is spot),
    `StoreError` for a damaged lake.
    """
    if symbol not in SYMBOLS:
        raise DomainError(f"symbol {symbol!r} is unknown; expected one of {', '.join(SYMBOLS)}")
    if market not in MARKETS:
        raise DomainError(f"market {market!r} is unknown; expected one of {', '.join(MARKETS)}")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise DomainError(
            f"days {days!r} is out of range; expected a whole number, 1 to {MOST_DAYS}"
        )
    home = home if isinstance(home, Home) else Home.find(home)
    lake = Lake(home.candles)
    newest = lake.last(symbol, 1, datetime(9999, 1, 1, tzinfo=UTC), market)
    if len(newest):
        return _recorded(lake, home, newest, days)
    if market != "spot":
        raise DataError(
            f"the lake has no candle of {symbol} {market}, and made-up history is spot; "
            "`tgtqr data fetch` or `data import` brings some"
        )
    return _made_up(symbol, days)


def _recorded(lake: Lake, home: Home, newest: Candles, days: int) -> Past:
    symbol, market = newest.symbol, newest.market
    end = from_ms(int(newest.open_ms[-1]) + MINUTE_MS)
    start = end - timedelta(days=days)
    candles = lake.read(symbol, start, end, market)
    origins = lake.origins(SeriesId(symbol, market), to_ms(start), to_ms(end))
    source = "from " + ", ".join(name for name, _ in origins)
    funding: dict[str, Any] = {}
    if market == "linear":
        rates = FundingLake(home.funding).read(symbol, start, end)
        funding = {symbol: rates} if len(rates) else {}
        source += "" if funding else "; no funding is in the lake, so none is paid"
    return Past(candles, source, False, funding, home)


def _made_up(symbol: str, days: int) -> Past:
    source = SyntheticSource(SEED)
    end = to_ms(SYNTHETIC_END)
    rows = source.candles(symbol, end - days * DAY_MS, end)
    columns = {name: np.ascontiguousarray(rows[name]) for name in ("open_ms", *PRICES, "volume")}
    return Past(Candles(symbol, source.price_decimals(symbol), **columns), source.name, True)
