"""Things that go wrong at an exchange: one function and one line in `FAULTS` each.

A fault is given its parameters and the call, changes the call, and says whether it did anything.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.bybit_v5 import ENDPOINTS, PRIVATE
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.calls import Call, Kind, Page, Parameters
from tgtqr_lib.market.simulation.v5_candles import INTERVALS

TIME = "/v5/market/time"
INSTRUMENTS = "/v5/market/instruments-info"
KLINE = "/v5/market/kline"
MARK = "/v5/market/mark-price-kline"
INDEX = "/v5/market/index-price-kline"
TICKERS = "/v5/market/tickers"
BOOK = "/v5/market/orderbook"
TRADES = "/v5/market/recent-trade"
FUNDING = "/v5/market/funding/history"

PUBLIC = tuple(ENDPOINTS)
ALL = (*PUBLIC, *PRIVATE)
CANDLES = (MARK, INDEX)  # kinds that spoil candles concern those of trades unless these are named


# --- the way there and back ---


def delay(parameters: Parameters, call: Call) -> bool:
    """Hold the reply back for `seconds` of real time."""
    call.delay_s += parameters["seconds"]
    return True


def http_error(parameters: Parameters, call: Call) -> bool:
    """Answer with an HTTP `status` of 500 to 599 and no data."""
    return _answer(call, parameters["status"])


def forbidden(parameters: Parameters, call: Call) -> bool:
    """Answer 403 with the page of Bybit's content network: an address of the USA, or too many requests."""
    call.page = Page(403, "text/html", _FORBIDDEN.encode())
    return True


def too_many(parameters: Parameters, call: Call) -> bool:
    """Answer 429, Bybit's protection of the whole system."""
    return _answer(call, 429)


def rate_limit(parameters: Parameters, call: Call) -> bool:
    """Answer retCode 10006 and headers that say when to come again."""
    call.refusal = v5.Refused("Too many visits. Exceeded the API Rate Limit.", v5.RATE_LIMIT)
    return True


def server_error(parameters: Parameters, call: Call) -> bool:
    """Answer retCode 10016."""
    call.refusal = v5.Refused("Server error.", v5.SERVER_ERROR)
    return True


def cut(parameters: Parameters, call: Call) -> bool:
    """Announce the whole body, send half of it and close the connection."""
    call.cut = True
    return True


def rubbish(parameters: Parameters, call: Call) -> bool:
    """Answer 200 with a `body` that is not JSON: html, or binary that claims to be JSON."""
    call.page = _RUBBISH[parameters["body"]]
    return True


def _answer(call: Call, status: int) -> bool:
    # Not JSON: these come from the gateways before an exchange, and clients tell by that.
    said = f"HTTP {status}, by a fault of the simulator"
    call.page = Page(status, "text/plain", said.encode())
    return True


_FORBIDDEN = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD>
<BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2>
The Amazon CloudFront distribution is configured to block access from your country.
</BODY></HTML>
"""
_RUBBISH = {
    "html": Page(
        200, "text/html", b"<!DOCTYPE html>\n<html><body>Under maintenance</body></html>\n"
    ),
    "binary": Page(200, "application/json", bytes(range(256))),
}
BODIES = tuple(_RUBBISH)

# --- whose data, and of when ---


def stale(parameters: Parameters, call: Call) -> bool:
    """Show the data of the moment `at` (else that of switching on), or always that of `age_s` ago."""
    age_ms = round(parameters.get("age_s", 0) * 1000)
    then = max(min(parameters.get("at", call.at_ms), call.at_ms) - age_ms, 0)
    changed = then < call.at_ms
    call.at_ms = then
    return changed


def clock_ahead(parameters: Parameters, call: Call) -> bool:
    """Let the server's time, in every reply, be `seconds` late in coming true; the data stays as it is."""
    return _shift(call, parameters["seconds"])


def clock_behind(parameters: Parameters, call: Call) -> bool:
    """Let the server's time, in every reply, be `seconds` old; the data stays as it is."""
    return _shift(call, -parameters["seconds"])


def wrong_symbol(parameters: Parameters, call: Call) -> bool:
    """Answer for the other symbol than the one asked for."""
    others = [symbol for symbol in SYMBOLS if symbol != call.symbol]
    if call.symbol not in SYMBOLS:
        return False
    call.asked = {**call.asked, "symbol": others[0]}
    return True


def _shift(call: Call, seconds: float) -> bool:
    call.shown_ms = max(call.shown_ms + round(seconds * 1000), 0)
    if call.path == TIME:
        call.at_ms = call.shown_ms
    return True


# --- what a reply says ---


def missing_minute(parameters: Parameters, call: Call) -> bool:
    """Leave `count` minutes, up to `minute` or the last closed one, out of the one-minute candles."""
    if call.asked["interval"] != "1":
        return False
    last = _minute(parameters, call)
    gone = {str(last - n * INTERVALS["1"]) for n in range(parameters["count"])}
    rows = call.result["list"]
    call.result["list"] = [row for row in rows if row[0] not in gone]
    return len(call.result["list"]) < len(rows)


def not_a_number(parameters: Parameters, call: Call) -> bool:
    """Write NaN for the close of `minute`, or of the last closed candle; elsewhere for the price."""
    return _rewrite(parameters, call, lambda price: "NaN")


def zero(parameters: Parameters, call: Call) -> bool:
    """Write 0 for the close of `minute`, or of the last closed candle; elsewhere for the price."""
    return _rewrite(parameters, call, lambda price: "0")


def jump(parameters: Parameters, call: Call) -> bool:
    """Move the close of `minute`, or of the last closed candle, by `percent`; elsewhere the quoted prices.

    The candle's high or low goes with it, so that the candle does not contradict itself.
    """
    factor = 1 + Decimal(str(parameters["percent"])) / 100

    def moved(price: str) -> str:
        there = Decimal(price) * factor
        finest = min(
            Decimal(price).as_tuple().exponent, -1
        )  # every symbol has steps of 0.1 at least
        return v5.text(int(there.scaleb(-finest).to_integral_value()), -finest)

    if not _rewrite(parameters, call, moved, whole_book=True):
        return False
    if call.path in _CANDLE_PATHS:
        row = _candle(parameters, call)
        row[2], row[3] = max(row[2], row[4], key=Decimal), min(row[3], row[4], key=Decimal)
    return True


def duplicate(parameters: Parameters, call: Call) -> bool:
    """Give the candle of `minute`, or the last closed one, twice; elsewhere the newest entry."""
    place = _place(parameters, call)
    if place is None:
        return False
    call.result["list"].insert(place, call.result["list"][place])
    return True


def unsorted(parameters: Parameters, call: Call) -> bool:
    """Let the candle of `minute`, or the last closed one, change places with the one before it."""
    place, rows = _place(parameters, call), call.result["list"]
    if place is None or place + 1 >= len(rows):
        return False
    rows[place], rows[place + 1] = rows[place + 1], rows[place]
    return True


def one_sided(parameters: Parameters, call: Call) -> bool:
    """Leave all asks out of the book."""
    call.result["a"] = []
    return True


def crossed(parameters: Parameters, call: Call) -> bool:
    """Let the best bid be the best ask's price, which no book of an exchange can be."""
    call.result["b"][0][0] = call.result["a"][0][0]
    return True


def thin(parameters: Parameters, call: Call) -> bool:
    """Leave `count` levels a side of the book."""
    for side in ("a", "b"):
        del call.result[side][parameters["count"] :]
    return True


def missing_settlement(parameters: Parameters, call: Call) -> bool:
    """Leave the settlement of `minute`, or the newest one, out of the funding history."""
    rows = call.result["list"]
    wanted = str(parameters.get("minute", rows[0]["fundingRateTimestamp"] if rows else ""))
    call.result["list"] = [row for row in rows if row["fundingRateTimestamp"] != wanted]
    return len(call.result["list"]) < len(rows)


def _rewrite(
    parameters: Parameters,
    call: Call,
    write: Callable[[str], str],
    whole_book: bool = False,
) -> bool:
    """Write other prices, by the present ones, into one candle, the tickers or the book."""
    if call.path in _CANDLE_PATHS:
        row = _candle(parameters, call)
        if row is not None:
            row[4] = write(row[4])
        return row is not None
    if call.path == TICKERS:
        for ticker in call.result["list"]:
            ticker |= {n: write(ticker[n]) for n in ("lastPrice", "bid1Price", "ask1Price")}
        return True
    for side in ("a", "b"):
        for level in call.result[side][: None if whole_book else 1]:
            level[0] = write(level[0])
    return True


_CANDLE_PATHS = (KLINE, *CANDLES)


def _minute(parameters: Parameters, call: Call) -> int:
    """When the candle opens that the fault means: the one of its minute, else the last closed one."""
    interval_ms = INTERVALS[call.asked["interval"]]
    last_closed = call.at_ms // interval_ms * interval_ms - interval_ms
    return parameters.get("minute", last_closed) // interval_ms * interval_ms


def _place(parameters: Parameters, call: Call) -> int | None:
    """Where the fault's candle stands in the list, elsewhere the first place; None when there is none."""
    rows = call.result["list"]
    if call.path not in _CANDLE_PATHS:
        return 0 if rows else None
    wanted = str(_minute(parameters, call))
    return next((place for place, row in enumerate(rows) if row[0] == wanted), None)


def _candle(parameters: Parameters, call: Call) -> list[str] | None:
    place = _place(parameters, call)
    return None if place is None else call.result["list"][place]


_MINUTE = {"minute": None}
_LISTS = (*CANDLES, TRADES, FUNDING)
_PRICED = (*CANDLES, TICKERS, BOOK)
_DATA = (KLINE, MARK, INDEX, TICKERS, BOOK, TRADES)
_NAMED = tuple(path for path in PUBLIC if path != TIME)

FAULTS: dict[str, Kind] = {
    "delay": Kind(delay, False, {"seconds": 1.0}, ALL),
    "5xx": Kind(http_error, False, {"status": 503}, ALL),
    "403": Kind(forbidden, False, {}, ALL),
    "429": Kind(too_many, False, {}, ALL),
    "10006": Kind(rate_limit, False, {}, ALL),
    "10016": Kind(server_error, False, {}, ALL),
    "cut": Kind(cut, False, {}, ALL),
    "rubbish": Kind(rubbish, False, {"body": "html"}, ALL),
    "stale": Kind(stale, False, {"at": None, "age_s": None}, _DATA, (TIME, FUNDING)),
    "clock_ahead": Kind(clock_ahead, False, {"seconds": 10.0}, ALL),
    "clock_behind": Kind(clock_behind, False, {"seconds": 10.0}, ALL),
    "wrong_symbol": Kind(wrong_symbol, False, {}, _NAMED),
    "missing_minute": Kind(missing_minute, True, {"minute": None, "count": 1}, (KLINE,), CANDLES),
    "nan": Kind(not_a_number, True, _MINUTE, (KLINE,), _PRICED),
    "zero": Kind(zero, True, _MINUTE, (KLINE,), _PRICED),
    "jump": Kind(jump, True, {"minute": None, "percent": 25.0}, (KLINE,), _PRICED),
    "duplicate": Kind(duplicate, True, _MINUTE, (KLINE,), _LISTS),
    "unsorted": Kind(unsorted, True, _MINUTE, (KLINE,), _LISTS),
    "one_sided": Kind(one_sided, True, {}, (BOOK,)),
    "crossed": Kind(crossed, True, {}, (BOOK,)),
    "thin": Kind(thin, True, {"count": 3}, (BOOK,)),
    "missing_settlement": Kind(missing_settlement, True, _MINUTE, (FUNDING,)),
}
