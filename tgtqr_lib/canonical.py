"""One spelling for every value: canonical JSON, and the hashes made of it.

Canonical JSON is UTF-8 with sorted keys and no spaces; decimals are plain strings, times end in `Z`,
and there are no floats, so two machines that agree on a value agree on its bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib.clock import from_ms, iso, parse_time, to_ms
from tgtqr_lib.domain import MINUTE_MS, SCHEMA, Candles, DomainError, Funding, Inputs, Level
from tgtqr_lib.home import PROJECT


def plain(value: Any) -> Any:
    """`value` as dicts, lists, strings, integers, booleans and None.

    Candles are columns of space-separated decimals, book levels `price:quantity` pairs: short enough
    to be read, and to be archived with every tick. Raises `DomainError` for a float or any type
    without a spelling.
    """
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise DomainError(f"canonical JSON: {value} is not a finite decimal")
        return format(value, "f")
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Candles):
        return _plain_candles(value)
    if isinstance(value, Funding):
        return _plain_funding(value)
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Level):
        return " ".join(f"{level.price:f}:{level.quantity:f}" for level in value)
    if dataclasses.is_dataclass(value):
        return {name: plain(getattr(value, name)) for name in _spelt(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise DomainError(
        f"canonical JSON: {value!r} is a {type(value).__name__}, which has no spelling"
    )


def _spelt(value: Any) -> list[str]:
    """The fields of a dataclass that have a spelling: those of the constructor that are not left out."""
    return [
        f.name
        for f in dataclasses.fields(value)
        if f.init and not ("unless_none" in f.metadata and getattr(value, f.name) is None)
    ]


def dumps(value: Any) -> str:
    """Canonical JSON text of `value`."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(value: Any) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of `value`."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


def restore(kind: Any, value: Any, where: str = "value") -> Any:
    """The value of type `kind` whose `plain` form is `value`.

    `kind` is a dataclass, Decimal, datetime, an Enum, a plain type, or tuple, Mapping and Optional
    of these. Raises `DomainError` naming `where` for a missing key, an unknown key or a wrong type.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        present = [a for a in arguments if a is not type(None)]
        return restore(present[0], value, where) if len(present) == 1 else value
    if origin is tuple and arguments[0] is Level:
        return _levels(value, where)
    if origin is tuple:
        items = _expect(list, value, where)
        return tuple(restore(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is not None and issubclass(origin, Mapping):
        items = _expect(dict, value, where)
        return {key: restore(arguments[1], item, f"{where}.{key}") for key, item in items.items()}
    if kind is Decimal:
        return _decimal(value, where)
    if kind is datetime:
        return _time(value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        if value not in list(kind):
            raise DomainError(f"{where}: {value!r} is not one of {', '.join(kind)}")
        return kind(value)
    if kind is Candles:
        return _candles(_expect(dict, value, where), where)
    if kind is Funding:
        return _funding(_expect(dict, value, where), where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, _expect(dict, value, where), where)
    if kind in (str, int, bool):
        return _expect(kind, value, where)
    return value


def _dataclass(kind: type, value: dict, where: str) -> Any:
    hints = _hints(kind)
    names = {f.name for f in dataclasses.fields(kind) if f.init}
    if unknown := sorted(set(value) - names):
        raise DomainError(f"{where}: unknown key {unknown[0]!r}; expected {sorted(names)}")
    required = {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - set(value)):
        raise DomainError(f"{where}: key {missing[0]!r} is missing; expected {sorted(names)}")
    fields = {key: restore(hints[key], item, f"{where}.{key}") for key, item in value.items()}
    return kind(**fields)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _expect(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DomainError(f"{where}: {value!r} is not a {kind.__name__}")
    return value


def _decimal(value: Any, where: str) -> Decimal:
    try:
        return Decimal(_expect(str, value, where))
    except ArithmeticError:
        raise DomainError(f"{where}: {value!r} is not a decimal number") from None


def _time(value: Any, where: str) -> datetime:
    text = _expect(str, value, where)
    try:
        return parse_time(text)
    except DomainError as error:
        raise DomainError(f"{where}: {error}") from None


def _levels(value: Any, where: str) -> tuple[Level, ...]:
    try:
        pairs = [pair.split(":") for pair in _expect(str, value, where).split()]
        return tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in pairs)
    except (ArithmeticError, ValueError):
        raise DomainError(f"{where}: {value[:40]!r} is not a list of price:quantity") from None


def _plain_candles(candles: Candles) -> dict[str, Any]:
    """Columns as text; `minutes` counts from `start`, runs as `0-59`."""
    first = int(candles.open_ms[0]) if len(candles) else 0
    minutes = (candles.open_ms - first) // MINUTE_MS
    edges = np.flatnonzero(np.diff(minutes) != 1) + 1
    runs = [run for run in np.split(minutes, edges) if len(run)]
    columns = {
        name: " ".join(format(candles.price(steps), "f") for steps in getattr(candles, name))
        for name in ("open", "high", "low", "close")
    }
    columns["volume"] = " ".join(
        format(Decimal(int(units)).scaleb(-6).normalize(), "f") for units in candles.volume
    )
    return {
        "symbol": candles.symbol,
        "market": candles.market,
        "decimals": candles.decimals,
        "start": iso(from_ms(first)),
        "minutes": " ".join(f"{run[0]}-{run[-1]}" for run in runs),
        **columns,
    }


def _whole(value: Decimal) -> int:
    if value != int(value):
        raise ValueError(f"{value} is not a whole number of steps")
    return int(value)


def _candles(value: dict, where: str) -> Candles:
    names = {"symbol", "market", "decimals", "start", "minutes", *Candles.COLUMNS}
    if set(value) != names:
        odd = sorted(set(value) ^ names)[0]
        raise DomainError(f"{where}: key {odd!r} is missing or unknown; expected {sorted(names)}")
    for name in names:
        _expect(int if name == "decimals" else str, value[name], f"{where}.{name}")
    start = to_ms(_time(value["start"], f"{where}.start"))
    try:
        runs = [run.split("-") for run in value["minutes"].split()]
        minutes = [m for first, last in runs for m in range(int(first), int(last) + 1)]
        steps = {
            name: [
                _whole(Decimal(text).scaleb(6 if name == "volume" else value["decimals"]))
                for text in value[name].split()
            ]
            for name in Candles.COLUMNS
        }
        columns = {name: np.array(column, dtype=np.int64) for name, column in steps.items()}
    except (ArithmeticError, ValueError) as error:
        raise DomainError(f"{where}: the candles are not readable ({error})") from None
    return Candles(
        symbol=value["symbol"],
        market=value["market"],
        decimals=value["decimals"],
        open_ms=start + np.array(minutes, dtype=np.int64) * MINUTE_MS,
        **columns,
    )


RATE_DECIMALS = 10


def _plain_funding(funding: Funding) -> dict[str, str]:
    """Columns as text."""
    rates = (Decimal(int(units)).scaleb(-RATE_DECIMALS).normalize() for units in funding.units)
    return {
        "settled": " ".join(iso(from_ms(at)) for at in funding.at_ms),
        "rates": " ".join(format(rate, "f") for rate in rates),
        "minutes": " ".join(str(minutes) for minutes in funding.minutes),
    }


def _funding(value: dict, where: str) -> Funding:
    names = {"settled", "rates", "minutes"}
    if set(value) != names:
        odd = sorted(set(value) ^ names)[0]
        raise DomainError(f"{where}: key {odd!r} is missing or unknown; expected {sorted(names)}")
    columns = {name: _expect(str, value[name], f"{where}.{name}").split() for name in names}
    try:
        units = [_whole(Decimal(text).scaleb(RATE_DECIMALS)) for text in columns["rates"]]
        minutes = [int(text) for text in columns["minutes"]]
    except (ArithmeticError, ValueError) as error:
        raise DomainError(f"{where}: the funding is not readable ({error})") from None
    settled = [to_ms(_time(text, f"{where}.settled")) for text in columns["settled"]]
    return Funding(*(np.array(column, dtype=np.int64) for column in (settled, units, minutes)))


def load_inputs(source: str | Path) -> Inputs:
    """The frozen inputs in `source`: canonical JSON, or a path to a file of it.

    A relative path is looked for here, then in the project's own folder. Raises `DomainError` for
    anything else, and for inputs of a newer schema.
    """
    text = str(source)
    if not text.lstrip().startswith("{"):
        paths = [Path(text), PROJECT / text]
        found = next((path for path in paths if os.path.isfile(path)), None)
        if found is None:
            raise DomainError(f"inputs: {text[:80]!r} is neither canonical JSON nor a file of it")
        text = found.read_text("utf-8")
    try:
        value = json.loads(text, parse_float=_no_float)
    except json.JSONDecodeError as error:
        raise DomainError(f"inputs: not readable as JSON ({error})") from None
    if isinstance(value, dict) and value.get("schema") != SCHEMA:
        raise DomainError(f"inputs: schema {value.get('schema')!r} is unknown; expected {SCHEMA}")
    return restore(Inputs, value, "inputs")


def _no_float(text: str) -> Any:
    raise DomainError(f"inputs: {text} is a float; expected decimals as strings")
