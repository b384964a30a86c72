"""Bybit's public spot data through ccxt: strings from the exchange become domain values here.

The v5 endpoints are asked directly (ccxt's implicit methods), so that prices stay the exchange's own
decimal strings; `client.py` asks, and asks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from tgtqr_lib.clock import MINUTE, from_ms, to_ms
from tgtqr_lib.domain import (
    MINUTE_MS,
    Candles,
    DataError,
    Funding,
    Instrument,
    Level,
    Problem,
    Quote,
)
from tgtqr_lib.market.client import Client
from tgtqr_lib.market.funding_lake import RATE_DECIMALS, intervals_of
from tgtqr_lib.market.history import ExchangeHistory
from tgtqr_lib.market.klines import order_problem, row_problem, to_candles
from tgtqr_lib.signals.settled import EIGHT_HOURS, WEEK_MS, frozen_funding

CATEGORY = "spot"  # never left out: Bybit's default is linear, which shares the symbol strings
KLINE_LIMIT = 1000
BOOK_DEPTH = 25


class Exchange(Client):
    """The public spot market at one host. Methods raise `VenueUnavailable` when it does not answer
    within the time budget, and `DataError` when what it answers cannot be."""

    def __init__(
        self,
        host: str,
        *,
        timeout_s: float = 10.0,
        simulated: bool = False,
        depth: int = BOOK_DEPTH,
    ) -> None:
        super().__init__(host, timeout_s=timeout_s, simulated=simulated)
        self.depth = depth

    def time(self) -> datetime:
        """The exchange's clock."""
        result = self.ask("market_time")
        return from_ms(int(result["timeNano"]) // 1_000_000)

    def clock_offset_ms(self) -> int | None:
        """This machine's clock minus the exchange's, half the way there allowed for.

        None with the simulator, whose clock is the only one.
        """
        if self.simulated:
            return None
        before = datetime.now(UTC)
        there = self.time()
        after = datetime.now(UTC)
        return int((before + (after - before) / 2 - there) / timedelta(milliseconds=1))

    def instruments(self, symbols: Sequence[str]) -> dict[str, Instrument]:
        """The exchange's rules for each of `symbols` that it lists."""
        found = {}
        for symbol in symbols:
            result = self.ask("market_instruments_info", category=CATEGORY, symbol=symbol)
            for entry in result["list"]:
                if entry["symbol"] == symbol:
                    found[symbol] = _instrument(entry)
        return found

    def candles(
        self, symbol: str, count: int, now: datetime, decimals: int
    ) -> tuple[Candles, tuple[Problem, ...]]:
        """The last `count` minutes closed at `now`, and what was wrong with any of them.

        A row that cannot be is left out, which makes a gap, and named in the problems. `decimals` are
        those of the price step; finer prices raise them.
        """
        end_ms = to_ms(now)
        first_ms = (end_ms // MINUTE_MS - count) * MINUTE_MS
        rows: dict[int, list[str]] = {}
        problems: list[Problem] = []
        last_ms = end_ms
        while last_ms >= first_ms:
            page = self._klines(symbol, first_ms, last_ms, problems)
            rows |= {t: row for t, row in page.items() if t + MINUTE_MS <= end_ms}
            if (
                not page or min(page) <= first_ms
            ):  # not by its length: rows that cannot be are left out
                break
            last_ms = min(page) - MINUTE_MS
        return to_candles(symbol, CATEGORY, rows, decimals), tuple(problems)

    def _klines(
        self, symbol: str, first_ms: int, last_ms: int, problems: list[Problem]
    ) -> dict[int, list[str]]:
        """Valid rows by open time; Bybit answers newest first, the newest of which may be open."""
        result = self.ask(
            "market_kline",
            category=CATEGORY,
            symbol=symbol,
            interval="1",
            start=first_ms,
            end=last_ms,
            limit=min(KLINE_LIMIT, (last_ms - first_ms) // MINUTE_MS + 1),
        )
        if result.get("symbol") != symbol or result.get("category") != CATEGORY:
            raise DataError(
                f"{symbol}: the exchange answered candles of {result.get('category')} "
                f"{result.get('symbol')}, expected {CATEGORY} {symbol}"
            )
        good: list[list[str]] = []
        for row in result["list"]:
            problem = row_problem(symbol, row)
            if problem is None:
                good.append(row)
            else:
                problems.append(problem)
        if disorder := order_problem(symbol, [int(row[0]) for row in good]):
            problems.append(disorder)
        return {int(row[0]): row for row in good}

    def quote(self, symbol: str) -> Quote:
        """Order book and last price of `symbol` now."""
        book = self.ask("market_orderbook", category=CATEGORY, symbol=symbol, limit=self.depth)
        tickers = self.ask("market_tickers", category=CATEGORY, symbol=symbol)
        if book.get("s") != symbol:
            raise DataError(f"{symbol}: the exchange answered the book of {book.get('s')}")
        last = next((t["lastPrice"] for t in tickers["list"] if t["symbol"] == symbol), None)
        if last is None:
            raise DataError(f"{symbol}: the exchange answered no ticker")
        return Quote(
            symbol=symbol,
            at=from_ms(int(book["ts"])),
            bids=_levels(symbol, book["b"]),
            asks=_levels(symbol, book["a"]),
            last=_decimal(symbol, "last price", last),
        )

    def funding(self, symbol: str, boundary: datetime) -> Funding:
        """The settlements of its perpetual that a tick at `boundary` knows: those before it, of a week and
        one interval. None of them is an empty `Funding`."""
        history = ExchangeHistory(self, "linear")
        minutes = history.funding_interval(symbol)
        end_ms = to_ms(boundary)
        start_ms = (
            end_ms - WEEK_MS - 2 * EIGHT_HOURS * MINUTE_MS
        )  # one more, to tell the first interval
        seen = history.funding(symbol, start_ms, end_ms)
        times = [one.at_ms for one in seen]
        columns = (
            times,
            [round(one.rate.scaleb(RATE_DECIMALS)) for one in seen],
            intervals_of(times, np.empty(0, dtype=np.int64), minutes),
        )
        return frozen_funding(Funding(*(np.array(c, dtype=np.int64) for c in columns)), end_ms)

    def close_at(self, symbol: str, minute: datetime) -> Decimal | None:
        """The close of the minute that opened at `minute`, which must be over; None when missing."""
        rows = self._klines(symbol, to_ms(minute), to_ms(minute), [])
        row = rows.get(to_ms(minute))
        return Decimal(row[4]) if row else None

    def last_closes(self, symbols: Sequence[str], now: datetime) -> dict[str, Decimal]:
        """The close of the newest closed minute of each symbol; a missing minute is left out."""
        minute = from_ms(to_ms(now) // MINUTE_MS * MINUTE_MS) - MINUTE
        closes = {symbol: self.close_at(symbol, minute) for symbol in symbols}
        return {symbol: close for symbol, close in closes.items() if close is not None}


def _decimal(symbol: str, name: str, text: Any) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise DataError(f"{symbol}: {name} {text!r} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise DataError(f"{symbol}: {name} {text!r} is not finite and positive")
    return value


def _instrument(entry: dict[str, Any]) -> Instrument:
    symbol, lot = entry["symbol"], entry["lotSizeFilter"]
    return Instrument(
        symbol=symbol,
        price_step=_decimal(symbol, "tickSize", entry["priceFilter"]["tickSize"]),
        lot=_decimal(symbol, "basePrecision", lot["basePrecision"]),
        min_notional=_decimal(symbol, "minOrderAmt", lot["minOrderAmt"]),
    )


def _levels(symbol: str, pairs: Sequence[Sequence[str]]) -> tuple[Level, ...]:
    return tuple(
        Level(_decimal(symbol, "book price", price), _decimal(symbol, "book quantity", quantity))
        for price, quantity in pairs
    )
