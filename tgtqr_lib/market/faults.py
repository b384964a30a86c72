"""Things that go wrong at an exchange, switched on and off while the simulator runs.

A fault is one function and one line in `FAULTS`. It is given its parameters and the call, changes the call, and
says whether it did anything; `uses` counts only the calls it changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from tgtqr_lib.domain import DomainError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.bybit_v5 import ENDPOINTS, INTERVALS
from tgtqr_lib.market.simulator_clock import instant_ms

KLINE = "/v5/market/kline"
TICKERS = "/v5/market/tickers"
BOOK = "/v5/market/orderbook"
TIME = "/v5/market/time"


@dataclass
class Call:
    """One request on its way: faults of the request change the first part, faults of the reply `result`.

    at_ms     the moment whose data is shown; starts as the clock's time
    delay_s   how long the reply is held back
    status    the HTTP status
    """

    path: str
    asked: Mapping[str, str]
    at_ms: int
    delay_s: float = 0.0
    status: int = 200
    result: dict[str, Any] = field(default_factory=dict)


Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    apply       changes a call; True when it did
    on_reply    whether it changes the result, else what comes before
    parameters  name -> default
    endpoints   those it concerns when none is named
    others      further ones that may be named
    """

    apply: Callable[[Parameters, Call], bool]
    on_reply: bool
    parameters: Mapping[str, Any]
    endpoints: tuple[str, ...]
    others: tuple[str, ...] = ()


@dataclass
class Fault:
    """A fault switched on; `uses` is how many more calls it may change, None for all."""

    number: int
    kind: str
    endpoints: tuple[str, ...]
    symbol: str | None
    uses: int | None
    parameters: Parameters

    def concerns(self, call: Call) -> bool:
        """A fault of one symbol concerns only calls that name it."""
        named = self.symbol is None or call.asked.get("symbol") == self.symbol
        return named and call.path in self.endpoints and self.uses != 0


class Faults:
    """The faults of one simulator; safe to use from several threads."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """`now_ms` is exchange time, at which a `stale` fault freezes the data."""
        self._now_ms = now_ms
        self._lock = Lock()
        self._active: list[Fault] = []
        self._count = 0

    def add(
        self,
        kind: str,
        /,
        *,
        endpoint: str | None = None,
        symbol: str | None = None,
        uses: int | None = None,
        **parameters: Any,
    ) -> int:
        """Switch a fault on and return its number; DomainError when it could never do anything.

        endpoint  such as /v5/market/kline; else all that the kind concerns
        symbol    such as BTCUSDT; else all
        uses      how many calls it changes before it switches itself off; else until cleared
        """
        if not isinstance(kind, str) or kind not in FAULTS:
            raise DomainError(f"fault {kind!r}: unknown, expected one of {', '.join(FAULTS)}")
        known = FAULTS[kind]
        if strange := sorted(set(parameters) - set(known.parameters)):
            expected = ", ".join(("endpoint", "symbol", "uses", *known.parameters))
            raise DomainError(f"fault {kind}: unknown {', '.join(strange)}, expected {expected}")
        possible = (*known.endpoints, *known.others)
        if endpoint is not None and endpoint not in possible:
            expected = ", ".join(possible)
            raise DomainError(f"fault {kind}: endpoint {endpoint!r}, expected one of {expected}")
        if symbol is not None and symbol not in SYMBOLS:
            raise DomainError(
                f"fault {kind}: symbol {symbol!r}, expected one of {', '.join(SYMBOLS)}"
            )
        if uses is not None:
            _number("uses", uses, least=1, most=10**9, whole=True)
        chosen = {**known.parameters, **parameters}
        checked = {
            name: _CHECKS[name](value) for name, value in chosen.items() if value is not None
        }
        if kind == "stale" and len(checked) != 1:
            if checked:
                raise DomainError("fault stale: expected at or age_s, not both")
            checked = {"at": self._now_ms()}
        with self._lock:
            self._count += 1
            endpoints = known.endpoints if endpoint is None else (endpoint,)
            self._active.append(Fault(self._count, kind, endpoints, symbol, uses, checked))
            return self._count

    def clear(self, number: int | None = None) -> None:
        """Switch off one fault, or all; one that is off already stays off."""
        with self._lock:
            self._active = [f for f in self._active if number is not None and f.number != number]

    def active(self) -> list[dict[str, Any]]:
        """The faults that are on, oldest first, as plain values."""
        with self._lock:
            return [
                {
                    "number": fault.number,
                    "kind": fault.kind,
                    "endpoints": list(fault.endpoints),
                    "symbol": fault.symbol,
                    "uses": fault.uses,
                    **fault.parameters,
                }
                for fault in self._active
            ]

    def on_request(self, call: Call) -> None:
        """Let the faults of the request change the call."""
        self._apply(call, on_reply=False)

    def on_reply(self, call: Call) -> None:
        """Let the faults of the reply change the call's result."""
        self._apply(call, on_reply=True)

    def _apply(self, call: Call, *, on_reply: bool) -> None:
        with self._lock:
            for fault in self._active:
                kind = FAULTS[fault.kind]
                if kind.on_reply is not on_reply or not fault.concerns(call):
                    continue
                if kind.apply(fault.parameters, call) and fault.uses is not None:
                    fault.uses -= 1
            self._active = [fault for fault in self._active if fault.uses != 0]


def delay(parameters: Parameters, call: Call) -> bool:
    """Hold the reply back for `seconds` of real time."""
    call.delay_s += parameters["seconds"]
    return True


def http_error(parameters: Parameters, call: Call) -> bool:
    """Answer with an HTTP `status` of 500 to 599 and no data."""
    call.status = parameters["status"]
    return True


def stale(parameters: Parameters, call: Call) -> bool:
    """Show the data of the moment `at` (else that of switching on), or always that of `age_s` ago."""
    age_ms = round(parameters.get("age_s", 0) * 1000)
    then = max(min(parameters.get("at", call.at_ms), call.at_ms) - age_ms, 0)
    changed = then < call.at_ms
    call.at_ms = then
    return changed


def missing_minute(parameters: Parameters, call: Call) -> bool:
    """Leave `minute`, or the last closed one, out of the one-minute candles."""
    row = _candle(parameters, call) if call.asked["interval"] == "1" else None
    if row is not None:
        call.result["list"].remove(row)
    return row is not None


def not_a_number(parameters: Parameters, call: Call) -> bool:
    """Write NaN for the close of `minute`, or of the last closed candle; elsewhere for the price."""
    return _write_price(parameters, call, "NaN")


def zero(parameters: Parameters, call: Call) -> bool:
    """Write 0 for the close of `minute`, or of the last closed candle; elsewhere for the price."""
    return _write_price(parameters, call, "0")


def _write_price(parameters: Parameters, call: Call, price: str) -> bool:
    if call.path == KLINE:
        row = _candle(parameters, call)
        if row is not None:
            row[4] = price
        return row is not None
    if call.path == TICKERS:
        for ticker in call.result["list"]:
            ticker |= {"lastPrice": price, "bid1Price": price, "ask1Price": price}
        return True
    for side in ("a", "b"):
        call.result[side][0][0] = price
    return True


def _candle(parameters: Parameters, call: Call) -> list[str] | None:
    """The reply's candle of the fault's minute, or its last closed one when no minute is named."""
    interval_ms = INTERVALS[call.asked["interval"]]
    last_closed = call.at_ms // interval_ms * interval_ms - interval_ms
    wanted = parameters.get("minute", last_closed) // interval_ms * interval_ms
    return next((row for row in call.result["list"] if row[0] == str(wanted)), None)


FAULTS: dict[str, Kind] = {
    "delay": Kind(delay, False, {"seconds": 1.0}, tuple(ENDPOINTS)),
    "5xx": Kind(http_error, False, {"status": 503}, tuple(ENDPOINTS)),
    "stale": Kind(stale, False, {"at": None, "age_s": None}, (KLINE, TICKERS, BOOK), (TIME,)),
    "missing_minute": Kind(missing_minute, True, {"minute": None}, (KLINE,)),
    "nan": Kind(not_a_number, True, {"minute": None}, (KLINE,), (TICKERS, BOOK)),
    "zero": Kind(zero, True, {"minute": None}, (KLINE,), (TICKERS, BOOK)),
}


def _number(name: str, value: Any, least: float, most: float, whole: bool = False) -> Any:
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise DomainError(f"{name} {value!r}: expected a {kind} from {least} to {most}")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "seconds": partial(_number, "seconds", least=0, most=3600),
    "status": partial(_number, "status", least=500, most=599, whole=True),
    "age_s": partial(_number, "age_s", least=0, most=10**9),
    "at": instant_ms,
    "minute": instant_ms,
}
