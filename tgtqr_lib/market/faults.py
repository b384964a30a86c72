"""The faults of a simulator, switched on and off while it runs, at once or by a script of times.

`uses` counts only the calls a fault changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DomainError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.simulation import fault_kinds, private_faults
from tgtqr_lib.market.simulation.calls import Call, Parameters
from tgtqr_lib.market.simulation.fault_kinds import BODIES
from tgtqr_lib.market.simulation.private_faults import ANSWERS
from tgtqr_lib.market.simulator_clock import instant_ms

FAULTS = fault_kinds.FAULTS | private_faults.FAULTS
CATEGORIES = ("spot", "linear")
FILTERS = ("endpoint", "symbol", "category", "uses", "since", "until")


@dataclass
class Fault:
    """A fault switched on; `uses` is how many more calls it may change, None for all.

    since_ms, until_ms  the exchange time in which it works, the end not included; None: no bound
    """

    number: int
    kind: str
    endpoints: tuple[str, ...]
    symbol: str | None
    category: str | None
    uses: int | None
    since_ms: int | None
    until_ms: int | None
    parameters: Parameters

    def concerns(self, call: Call) -> bool:
        """A fault of one symbol or category concerns only calls that ask for it."""
        return (
            self.uses != 0
            and call.path in self.endpoints
            and self.symbol in (None, call.symbol)
            and self.category in (None, call.category)
            and self.has_begun(call.now_ms)
            and not self.is_over(call.now_ms)
        )

    def has_begun(self, now_ms: int) -> bool:
        return self.since_ms is None or self.since_ms <= now_ms

    def is_over(self, now_ms: int) -> bool:
        return self.until_ms is not None and self.until_ms <= now_ms

    def plain(self, now_ms: int) -> dict[str, Any]:
        """The fault as plain values; `on` tells whether its time has come."""
        times = {
            name: iso(from_ms(at_ms))
            for name, at_ms in (("since", self.since_ms), ("until", self.until_ms))
            if at_ms is not None
        }
        return {
            "number": self.number,
            "kind": self.kind,
            "endpoints": list(self.endpoints),
            "symbol": self.symbol,
            "category": self.category,
            "uses": self.uses,
            "on": self.has_begun(now_ms),
            **times,
            **self.parameters,
        }


class Faults:
    """The faults of one simulator; safe to use from several threads."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """`now_ms` is exchange time, by which scripts go and at which a `stale` fault freezes the data."""
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
        category: str | None = None,
        uses: int | None = None,
        since: str | int | None = None,
        until: str | int | None = None,
        **parameters: Any,
    ) -> int:
        """Switch a fault on and return its number; DomainError when it could never do anything.

        endpoint      such as /v5/market/kline; else all that the kind concerns
        symbol        such as BTCUSDT; else all
        category      spot or linear; else both
        uses          how many calls it changes before it switches itself off; else until cleared
        since, until  the exchange time from which and up to which it works, ISO 8601 or milliseconds
        """
        asked = {"endpoint": endpoint, "symbol": symbol, "category": category, "uses": uses}
        times = {"since": since, "until": until}
        return self.play([{**parameters, **asked, **times, "kind": kind}])[0]

    def play(self, script: Sequence[Mapping[str, Any]]) -> list[int]:
        """Switch on every fault of a script, each at its time, and return their numbers.

        An entry has a `kind` and what `add` takes. DomainError, and nothing is switched on, when one of them
        makes no sense.
        """
        made = [_made(entry, self._now_ms()) for entry in script]
        with self._lock:
            for fault in made:
                self._count += 1
                fault.number = self._count
            self._active += made
            return [fault.number for fault in made]

    def clear(self, number: int | None = None) -> None:
        """Switch off one fault, or all; one that is off already stays off."""
        with self._lock:
            self._active = [f for f in self._active if number is not None and f.number != number]

    def active(self) -> list[dict[str, Any]]:
        """The faults that are not over, oldest first, as plain values."""
        now_ms = self._now_ms()
        with self._lock:
            return [fault.plain(now_ms) for fault in self._active if not fault.is_over(now_ms)]

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


def read_script(path: str | Path) -> list[Mapping[str, Any]]:
    """The script in a JSON file, a list of objects; DomainError when it is none."""
    try:
        script = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DomainError(f"script {path}: cannot be read as JSON: {error}") from None
    if not isinstance(script, list):
        raise DomainError(f"script {path}: expected a list of faults")
    return script


def _made(entry: Any, now_ms: int) -> Fault:
    """The fault that `entry` describes, still without a number."""
    if not isinstance(entry, Mapping):
        raise DomainError(f'fault {entry!r}: expected an object such as {{"kind": "delay"}}')
    given = {name: value for name, value in entry.items() if value is not None}
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in FAULTS:
        raise DomainError(f"fault {kind!r}: unknown, expected one of {', '.join(FAULTS)}")
    known = FAULTS[kind]
    chosen = {name: given.pop(name, None) for name in FILTERS}
    if strange := sorted(set(given) - set(known.parameters)):
        expected = ", ".join((*FILTERS, *known.parameters))
        raise DomainError(f"fault {kind}: unknown {', '.join(strange)}, expected {expected}")
    possible = {
        "endpoint": (*known.endpoints, *known.others),
        "symbol": SYMBOLS,
        "category": CATEGORIES,
    }
    for name, values in possible.items():
        if chosen[name] is not None and chosen[name] not in values:
            expected = ", ".join(values)
            raise DomainError(f"fault {kind}: {name} {chosen[name]!r}, expected one of {expected}")
    if chosen["uses"] is not None:
        _number("uses", chosen["uses"], least=1, most=10**9, whole=True)
    since, until = (
        None if chosen[name] is None else instant_ms(chosen[name]) for name in ("since", "until")
    )
    if until is not None and (now_ms if since is None else since) >= until:
        raise DomainError(f"fault {kind}: until {chosen['until']!r} is not after its beginning")
    return Fault(
        number=0,
        kind=kind,
        endpoints=known.endpoints if chosen["endpoint"] is None else (chosen["endpoint"],),
        symbol=chosen["symbol"],
        category=chosen["category"],
        uses=chosen["uses"],
        since_ms=since,
        until_ms=until,
        parameters=_parameters(kind, given, now_ms if since is None else since),
    )


def _parameters(kind: str, given: Mapping[str, Any], since_ms: int) -> Parameters:
    """What was given and else the kind's defaults, each checked."""
    defaults = FAULTS[kind].parameters
    if {"seconds", "count"} <= set(defaults) and "count" in given:
        if "seconds" in given:
            raise DomainError(f"fault {kind}: expected seconds or count, not both")
        defaults = {}
    chosen = {**defaults, **given}
    checked = {name: _CHECKS[name](value) for name, value in chosen.items() if value is not None}
    if kind == "stale" and len(checked) != 1:
        if checked:
            raise DomainError("fault stale: expected at or age_s, not both")
        checked = {"at": since_ms}
    return checked


def _number(name: str, value: Any, least: float, most: float, whole: bool = False) -> Any:
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not least <= value <= most:
        kind = "whole number" if whole else "number"
        raise DomainError(f"{name} {value!r}: expected a {kind} from {least} to {most}")
    return value


def _body(value: Any) -> str:
    if value not in BODIES:
        raise DomainError(f"body {value!r}: expected one of {', '.join(BODIES)}")
    return value


def _answer(value: Any) -> str:
    if value not in ANSWERS:
        raise DomainError(f"answer {value!r}: expected one of {', '.join(ANSWERS)}")
    return value


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise DomainError(f"carried_out {value!r}: expected true or false")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "seconds": partial(_number, "seconds", least=0, most=3600),
    "status": partial(_number, "status", least=500, most=599, whole=True),
    "age_s": partial(_number, "age_s", least=0, most=10**9),
    "count": partial(_number, "count", least=1, most=10_000, whole=True),
    "percent": partial(_number, "percent", least=-99, most=10_000),
    "fraction": partial(_number, "fraction", least=0, most=1),
    "answer": _answer,
    "carried_out": _yes_or_no,
    "body": _body,
    "at": instant_ms,
    "minute": instant_ms,
}
