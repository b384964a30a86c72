"""Bybit's public spot data through ccxt: strings from the exchange become domain values here.

The v5 endpoints are asked directly (ccxt's implicit methods), so that prices stay the exchange's own
decimal strings; ccxt does HTTP, rate limiting and the naming of errors.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
import types
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from tgtqr_lib.clock import MINUTE, from_ms, iso, to_ms
from tgtqr_lib.domain import (
    MAX_DECIMALS,
    MINUTE_MS,
    Candles,
    DataError,
    Instrument,
    Level,
    Problem,
    Quote,
    VenueUnavailable,
)

log = logging.getLogger(__name__)

CATEGORY = "spot"  # never left out: Bybit's default is linear, which shares the symbol strings
KLINE_LIMIT = 1000
BOOK_DEPTH = 25
FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 2.0


def _ccxt() -> tuple[Any, Any]:
    """ccxt's `bybit` and `base.errors` modules alone.

    `import ccxt` loads a hundred exchanges and takes 0.6 s, these two 0.15 s.
    """
    names = ("ccxt.bybit", "ccxt.base.errors")
    if "ccxt" not in sys.modules:
        found = importlib.util.find_spec("ccxt")
        hollow = types.ModuleType("ccxt")
        hollow.__path__ = list(found.submodule_search_locations)
        sys.modules["ccxt"] = hollow
        try:
            return tuple(importlib.import_module(name) for name in names)
        finally:
            del sys.modules["ccxt"]  # whoever imports ccxt later gets the whole of it
    return tuple(importlib.import_module(name) for name in names)


class Exchange:
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
        module, errors = _ccxt()
        self.host = host.rstrip("/")
        self.simulated = simulated
        self.depth = depth
        self._budget_s = timeout_s
        self._unreachable = (errors.NetworkError,)
        self._error = errors.ExchangeError
        self._client = module.bybit(
            {
                "enableRateLimit": True,
                "timeout": int(min(timeout_s, 5.0) * 1000),
                "options": {"defaultType": CATEGORY, "fetchMarkets": {"types": [CATEGORY]}},
            }
        )
        self._client.has["fetchCurrencies"] = False
        self._client.urls["api"] = dict.fromkeys(self._client.urls["api"], self.host)
        if simulated:
            # ccxt paces 100 ms a request for Bybit's limit per address and real second; the simulator
            # has no such limit, and its clock may stand still or run at a multiple of real time
            self._client.rateLimit = 0.01
            self._client.init_rest_rate_limiter()

    def close(self) -> None:
        """Close the connection that is kept open between questions."""
        self._client.session.close()

    def time(self) -> datetime:
        """The exchange's clock."""
        result = self._ask(self._client.public_get_v5_market_time, {})
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
            result = self._ask(
                self._client.public_get_v5_market_instruments_info,
                {"category": CATEGORY, "symbol": symbol},
            )
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
            if len(page) < KLINE_LIMIT:
                break
            last_ms = min(page) - MINUTE_MS
        return _candles(symbol, rows, decimals), tuple(problems)

    def _klines(
        self, symbol: str, first_ms: int, last_ms: int, problems: list[Problem]
    ) -> dict[int, list[str]]:
        """Valid rows by open time; Bybit answers newest first, the newest of which may be open."""
        result = self._ask(
            self._client.public_get_v5_market_kline,
            {
                "category": CATEGORY,
                "symbol": symbol,
                "interval": "1",
                "start": first_ms,
                "end": last_ms,
                "limit": min(KLINE_LIMIT, (last_ms - first_ms) // MINUTE_MS + 1),
            },
        )
        if result.get("symbol") != symbol or result.get("category") != CATEGORY:
            raise DataError(
                f"{symbol}: the exchange answered candles of {result.get('category')} "
                f"{result.get('symbol')}, expected {CATEGORY} {symbol}"
            )
        good: dict[int, list[str]] = {}
        for row in result["list"]:
            problem = _row_problem(symbol, row)
            if problem is None:
                good[int(row[0])] = row
            else:
                problems.append(problem)
        return good

    def quote(self, symbol: str) -> Quote:
        """Order book and last price of `symbol` now."""
        book = self._ask(
            self._client.public_get_v5_market_orderbook,
            {"category": CATEGORY, "symbol": symbol, "limit": self.depth},
        )
        tickers = self._ask(
            self._client.public_get_v5_market_tickers, {"category": CATEGORY, "symbol": symbol}
        )
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

    def _ask(self, method: Callable[[dict], Any], params: dict[str, Any]) -> Any:
        """The `result` of one question, asked again after network trouble until the budget is spent."""
        deadline = time.monotonic() + self._budget_s
        pause = FIRST_RETRY_S
        while True:
            try:
                answer = method(dict(params))
                return self._result(answer, method)
            except self._unreachable as error:
                if time.monotonic() + pause >= deadline:
                    raise VenueUnavailable(
                        f"exchange {self.host}: no usable answer within {self._budget_s:g} s "
                        f"({_short(error)}); check the network, or whether the host is right"
                    ) from None
                log.info("exchange asked again", extra={"facts": {"error": _short(error)}})
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY_S)
            except self._error as error:
                raise DataError(f"exchange {self.host}: {_short(error)}") from None

    def _result(self, answer: Any, method: Callable) -> Any:
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            raise DataError(
                f"exchange {self.host}: the answer is not Bybit's ({str(answer)[:80]!r})"
            )
        return answer["result"]


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}"


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


def _row_problem(symbol: str, row: Sequence[Any]) -> Problem | None:
    """Why a kline row cannot be a candle; None for a good one."""
    try:
        opened = int(row[0])
        prices = [Decimal(str(text)) for text in row[1:5]]
        volume = Decimal(str(row[5]))
    except (InvalidOperation, ValueError, IndexError, TypeError):
        return Problem("CANDLE_UNREADABLE", f"{symbol}: a candle is unreadable ({str(row)[:80]})")
    at = f"{symbol}: the candle of {iso(from_ms(opened))}"
    if not all(value.is_finite() for value in (*prices, volume)):
        return Problem("CANDLE_NOT_FINITE", f"{at} has a value that is not finite ({row[1:6]})")
    if min(prices) <= 0 or volume < 0:
        return Problem("CANDLE_NOT_POSITIVE", f"{at} has a price that is not positive ({row[1:6]})")
    first, high, low, close = prices
    if high < max(first, close) or low > min(first, close):
        return Problem("CANDLE_CONTRADICTS", f"{at} has a high or low inside its body ({row[1:5]})")
    if opened % MINUTE_MS:
        return Problem("CANDLE_OFF_GRID", f"{at} does not open on a whole minute")
    return None


def _candles(symbol: str, rows: dict[int, list[str]], decimals: int) -> Candles:
    """Valid kline rows as candles, oldest first, in the fewest decimals that hold every price."""
    times = sorted(rows)
    prices = [[Decimal(text) for text in rows[t][1:5]] for t in times]
    finest = max((-p.normalize().as_tuple().exponent for row in prices for p in row), default=0)
    decimals = min(max(decimals, finest), MAX_DECIMALS)
    steps = [[round(price.scaleb(decimals)) for price in row] for row in prices]
    table = np.array(steps, dtype=np.int64).reshape(len(times), 4)
    volume = [int(Decimal(rows[t][5]).scaleb(6)) for t in times]
    return Candles(
        symbol,
        decimals,
        np.array(times, dtype=np.int64),
        *table.T,
        np.array(volume, dtype=np.int64),
        market=CATEGORY,
    )
