"""What an exchange remembers, page by page: closed candles, mark prices, recent trades, funding.

Spot and linear share their symbol strings, so every answer must name the market it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DataError, DomainError, Problem, Side
from tgtqr_lib.market.client import Client
from tgtqr_lib.market.klines import NO_VOLUME, row_problem
from tgtqr_lib.market.series_id import MARKETS
from tgtqr_lib.market.source import DAY_MS

PAGE = 1000  # candles of an answer, at most
FUNDING_PAGE = 200
TRADES_PAGE = {"spot": 60, "linear": 1000}


@dataclass(frozen=True, slots=True)
class Page:
    """The one-minute candles of [start_ms, end_ms) that the exchange has.

    rows      open time in ms -> Bybit's strings: open time, four prices, volume
    problems  what was wrong with rows that are left out
    damaged   their open times, where those can be read: such a minute exists
    """

    start_ms: int
    end_ms: int
    rows: dict[int, Sequence[str]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    damaged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade that the exchange reported: price in quote per base, quantity in base units."""

    id: str
    symbol: str
    at: datetime
    side: Side
    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Settlement:
    """One funding settlement; at a positive rate, a fraction of the position's worth, longs pay shorts."""

    symbol: str
    at_ms: int
    rate: Decimal


class ExchangeHistory:
    """The past of one market, `spot` or `linear`, at the exchange that `client` asks.

    Methods raise what `Client.ask` raises, and `DataError` for an answer that cannot be.
    """

    def __init__(self, client: Client, market: str = "spot") -> None:
        if market not in MARKETS:
            raise DomainError(f"market {market!r} is unknown; expected one of {', '.join(MARKETS)}")
        self.client = client
        self.market = market

    def pages(
        self,
        symbol: str,
        start_ms: int,
        end_ms: int,
        *,
        mark: bool = False,
        newest_first: bool = False,
    ) -> Iterator[Page]:
        """Pages that cover the minutes of [start_ms, end_ms) without a hole, oldest or newest first.

        The caller sees to it that all those minutes are closed. Where a page is empty, candles of a
        day tell how far nothing is, so years before a listing cost a question or two.
        """
        low, high = start_ms, end_ms
        while low < high:
            span = min(PAGE * MINUTE_MS, high - low)
            first = high - span if newest_first else low
            page = self._page(symbol, first, first + span, mark)
            yield page
            low, high = (low, page.start_ms) if newest_first else (page.end_ms, high)
            if page.rows or page.problems or low >= high:
                continue
            nothing = self._empty_stretch(symbol, low, high, mark, newest_first)
            if nothing.start_ms < nothing.end_ms:
                yield nothing
                low, high = (low, nothing.start_ms) if newest_first else (nothing.end_ms, high)

    def trades(self, symbol: str) -> tuple[Trade, ...]:
        """The latest trades, oldest first: at most 60 of spot, 1000 of linear."""
        result = self.client.ask(
            "market_recent_trade",
            category=self.market,
            symbol=symbol,
            limit=TRADES_PAGE[self.market],
        )
        self._expect_market(result, symbol)
        trades = [_trade(symbol, entry) for entry in _listed(result, symbol)]
        return tuple(sorted(trades, key=lambda trade: trade.at))

    def funding_interval(self, symbol: str) -> int:
        """Minutes from one funding settlement to the next, at present; it differs by symbol and may change."""
        return self._perpetual(symbol, "fundingInterval")

    def launched(self, symbol: str) -> datetime:
        """When the perpetual began to trade, by the exchange's word."""
        return from_ms(self._perpetual(symbol, "launchTime"))

    def _perpetual(self, symbol: str, name: str) -> int:
        """A whole number among the exchange's rules for a perpetual."""
        self._expect_linear(symbol)
        result = self.client.ask("market_instruments_info", category=self.market, symbol=symbol)
        self._expect_market(result, symbol)
        for entry in _listed(result, symbol):
            if entry.get("symbol") == symbol:
                return _whole(symbol, name, entry.get(name))
        raise DataError(f"{symbol}: the exchange does not list it in {self.market}")

    def funding(self, symbol: str, start_ms: int, end_ms: int) -> tuple[Settlement, ...]:
        """The settlements of [start_ms, end_ms), oldest first."""
        self._expect_linear(symbol)
        found: dict[int, Settlement] = {}
        newest = end_ms - 1
        while start_ms <= newest:  # an answer holds the newest 200 up to its end
            result = self.client.ask(
                "market_funding_history",
                category=self.market,
                symbol=symbol,
                startTime=start_ms,
                endTime=newest,
                limit=FUNDING_PAGE,
            )
            self._expect_market(result, symbol)
            page = [_settlement(symbol, entry) for entry in _listed(result, symbol)]
            for one in page:
                _expect_within(symbol, one.at_ms, start_ms, newest + 1)
                found[one.at_ms] = one
            if len(page) < FUNDING_PAGE:
                break
            newest = min(one.at_ms for one in page) - 1
        return tuple(found[at_ms] for at_ms in sorted(found))

    def _page(self, symbol: str, start_ms: int, end_ms: int, mark: bool) -> Page:
        rows: dict[int, Sequence[str]] = {}
        problems: list[Problem] = []
        damaged: set[int] = set()
        for row in self._klines(symbol, "1", start_ms, end_ms, MINUTE_MS, mark):
            problem = row_problem(symbol, row)
            if problem is None and rows.get(int(row[0]), row) != row:
                at = iso(from_ms(int(row[0])))
                problem = Problem("CANDLE_TWICE", f"{symbol}: two candles of {at} differ")
            if problem is None:
                _expect_within(symbol, int(row[0]), start_ms, end_ms)
                rows[int(row[0])] = row
            else:
                problems.append(problem)
                if str(row[0]).isdecimal():
                    damaged.add(int(row[0]))
        return Page(start_ms, end_ms, rows, tuple(problems), frozenset(damaged))

    def _empty_stretch(
        self, symbol: str, low: int, high: int, mark: bool, newest_first: bool
    ) -> Page:
        """The minutes from one end of [low, high) to the nearest day that has any candle."""
        at, span = (high if newest_first else low), PAGE * DAY_MS
        while low < high:
            first = max(high - span, low) if newest_first else low
            rows = self._klines(symbol, "D", first, min(first + span, high), DAY_MS, mark)
            days = [_whole(symbol, "time", row[0]) for row in rows]
            if newest_first:
                if days:
                    return Page(min(max(days) + DAY_MS, at), at)
                high = first
            else:
                if days:
                    return Page(at, max(min(days), at))
                low = min(first + span, high)
        return Page(low, at) if newest_first else Page(at, high)

    def _klines(
        self, symbol: str, interval: str, start_ms: int, end_ms: int, step_ms: int, mark: bool
    ) -> list[list[str]]:
        """Rows of the candles that overlap [start_ms, end_ms), as they came; mark prices with volume 0."""
        first = start_ms // step_ms * step_ms
        result = self.client.ask(
            "market_mark_price_kline" if mark else "market_kline",
            category=self.market,
            symbol=symbol,
            interval=interval,
            start=first,
            end=end_ms - 1,
            limit=min(PAGE, (end_ms - 1 - first) // step_ms + 1),
        )
        self._expect_market(result, symbol)
        if result.get("symbol") != symbol:
            raise DataError(
                f"{symbol}: the exchange answered candles of {result.get('symbol')}, expected {symbol}"
            )
        rows = result.get("list")
        if not isinstance(rows, list) or not all(isinstance(row, list) and row for row in rows):
            raise DataError(
                f"{symbol}: the exchange answered no rows of candles ({str(rows)[:80]})"
            )
        return [[*row[:5], NO_VOLUME] for row in rows] if mark else [row[:6] for row in rows]

    def _expect_market(self, result: dict[str, Any], symbol: str) -> None:
        if result.get("category") != self.market:
            raise DataError(
                f"{symbol}: the exchange answered of {result.get('category')}, expected {self.market}"
            )

    def _expect_linear(self, symbol: str) -> None:
        if self.market != "linear":
            raise DomainError(f"{symbol}: {self.market} has no funding; expected linear")


def _listed(result: dict[str, Any], symbol: str) -> list[dict[str, Any]]:
    entries = result.get("list")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{symbol}: the exchange answered no list ({str(entries)[:80]})")
    if strange := {entry.get("symbol") for entry in entries} - {symbol}:
        raise DataError(f"{symbol}: the exchange answered of {strange.pop()}, expected {symbol}")
    return entries


def _trade(symbol: str, entry: dict[str, Any]) -> Trade:
    sides = {"Buy": Side.BUY, "Sell": Side.SELL}
    if entry.get("side") not in sides:
        raise DataError(f"{symbol}: a trade's side is {entry.get('side')!r}, expected Buy or Sell")
    price, quantity = (_number(symbol, name, entry.get(name)) for name in ("price", "size"))
    if price <= 0 or quantity <= 0:
        raise DataError(f"{symbol}: a trade of {quantity} at {price}, expected more than nothing")
    at = from_ms(_whole(symbol, "time", entry.get("time")))
    return Trade(str(entry.get("execId")), symbol, at, sides[entry["side"]], price, quantity)


def _settlement(symbol: str, entry: dict[str, Any]) -> Settlement:
    rate = _number(symbol, "fundingRate", entry.get("fundingRate"))
    if abs(rate) >= 1:
        raise DataError(f"{symbol}: fundingRate {rate} is no rate; expected a fraction below 1")
    at_ms = _whole(symbol, "fundingRateTimestamp", entry.get("fundingRateTimestamp"))
    return Settlement(symbol, at_ms, rate)


def _expect_within(symbol: str, at_ms: int, start_ms: int, end_ms: int) -> None:
    if not start_ms <= at_ms < end_ms:
        raise DataError(
            f"{symbol}: the exchange answered {iso(from_ms(at_ms))}, expected times from "
            f"{iso(from_ms(start_ms))} to before {iso(from_ms(end_ms))}"
        )


def _number(symbol: str, name: str, text: Any) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise DataError(f"{symbol}: {name} {text!r} is not a number") from None
    if not value.is_finite():
        raise DataError(f"{symbol}: {name} {text!r} is not finite")
    return value


def _whole(symbol: str, name: str, text: Any) -> int:
    """A positive whole number, as Bybit writes times and intervals."""
    digits = str(text)
    if not (digits.isascii() and digits.isdigit() and 0 < len(digits) < 16 and int(digits)):
        raise DataError(f"{symbol}: {name} {text!r} is not a positive whole number")
    return int(digits)
