"""Two plain values compared field by field; a candle that differs is named by its minute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from tgtqr_lib.clock import MINUTE, iso, parse_time
from tgtqr_lib.domain import Candles, TgtqrError

ABSENT = "nothing"
LONGEST = 80  # characters of a value that are told
LEAD = 30  # of them before the first that differs
LABELS = ("symbol", "code", "id", "date")  # keys that name an item of a list


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs: where it stands, and both values as text."""

    where: str
    before: str
    after: str

    def plain(self) -> dict[str, str]:
        """As `--json` tells it."""
        return {"where": self.where, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        return f"{self.where}: {self.before} -> {self.after}"


def differences(before: Any, after: Any, where: str = "") -> list[Difference]:
    """Every field in which two plain values differ, in their order."""
    return list(_walk(before, after, where))


def _walk(before: Any, after: Any, where: str) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if _are_candles(before) and _are_candles(after):
            yield from _candles(before, after, where) if before != after else ()
            return
        for key in [*before, *(key for key in after if key not in before)]:
            at = f"{where}.{key}" if where else str(key)
            yield from _walk(before.get(key, ABSENT), after.get(key, ABSENT), at)
    elif isinstance(before, list) and isinstance(after, list):
        for i, (one, two) in enumerate(zip_longest(before, after, fillvalue=ABSENT)):
            yield from _walk(one, two, f"{where}[{_label(one, two, i)}]")
    elif before != after or type(before) is not type(after):  # True is no 1
        yield Difference(where, *around(_text(before), _text(after)))


def _label(one: Any, two: Any, place: int) -> str:
    """The name of an item when both have the same, else its place."""
    for key in LABELS:
        names = {item.get(key) for item in (one, two) if isinstance(item, Mapping)}
        if len(names) == 1 and None not in names:
            return str(names.pop())
    return str(place)


def _are_candles(value: Mapping[str, Any]) -> bool:
    return {"start", "minutes", *Candles.COLUMNS} <= set(value)


def _candles(
    before: Mapping[str, Any], after: Mapping[str, Any], where: str
) -> Iterator[Difference]:
    """Minute by minute where both can be read so, else as they stand."""
    tables = _by_minute(before), _by_minute(after)
    if None in tables:
        for key in sorted({*before, *after}):
            yield from _walk(before.get(key, ABSENT), after.get(key, ABSENT), f"{where}.{key}")
        return
    for minute in sorted({*tables[0], *tables[1]}):
        one, two = (table.get(minute) for table in tables)
        if one is None or two is None:
            yield Difference(f"{where} {minute}", _text(one or ABSENT), _text(two or ABSENT))
            continue
        for name, x, y in zip(Candles.COLUMNS, one, two, strict=True):
            if x != y:
                yield Difference(f"{where} {minute} {name}", x, y)
    for key in ("symbol", "market", "decimals"):
        yield from _walk(before.get(key, ABSENT), after.get(key, ABSENT), f"{where}.{key}")


def _by_minute(candles: Mapping[str, Any]) -> dict[str, tuple[str, ...]] | None:
    """Minute -> its figures as written; None when the columns do not fit each other."""
    try:
        start = parse_time(candles["start"])
        runs = [run.split("-") for run in candles["minutes"].split()]
        minutes = [m for first, last in runs for m in range(int(first), int(last) + 1)]
        columns = [candles[name].split() for name in Candles.COLUMNS]
        rows = zip(*columns, strict=True)
        times = [iso(start + m * MINUTE) for m in minutes]
        return dict(zip(times, rows, strict=True))
    except (TgtqrError, ValueError, AttributeError, OverflowError):
        return None


def _text(value: Any) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def around(before: str, after: str) -> tuple[str, str]:
    """Both texts, long ones cut to what stands around the first place in which they differ."""
    pairs = zip(before, after, strict=False)
    shared = next((i for i, (x, y) in enumerate(pairs) if x != y), min(len(before), len(after)))
    start = max(0, shared - LEAD) if max(len(before), len(after)) > LONGEST else 0

    def cut(text: str) -> str:
        end = start + LONGEST
        return ("…" if start else "") + text[start:end] + ("…" if len(text) > end else "")

    return cut(before), cut(after)
