"""What the lake and an import say of their work: sentences for people, plain dicts for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tgtqr_lib.canonical import plain
from tgtqr_lib.domain import Problem


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What a write did to one series, in candles.

    added    minutes the lake did not have
    kept     minutes it had with the same values
    revised  minutes it had with other values, replaced because the caller said so
    months   the months whose files were written, such as ("2025-05", "2025-06")
    """

    market: str
    symbol: str
    added: int
    kept: int
    revised: int
    months: tuple[str, ...]

    def __str__(self) -> str:
        revised = f", {self.revised:,} revised" if self.revised else ""
        return (
            f"{self.symbol} {self.market}: {self.added:,} minutes added, {self.kept:,} were there"
            f"{revised}; {_count(len(self.months), 'month')} written."
        )

    def as_dict(self) -> dict[str, Any]:
        return plain(self)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that was not imported: its number in the file, counted from 1, and why."""

    row: int
    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of importing one file.

    file             its name
    rows             how many it has
    writes           one report a symbol
    refused          how many rows were refused, and `refusals` the first of them
    reasons          reason -> rows refused for it
    rounded_prices   prices with more than 6 decimals, rounded to 6; likewise `rounded_volumes`
    notes            what a person should know besides
    """

    file: str
    rows: int
    writes: tuple[WriteReport, ...]
    refused: int
    reasons: Mapping[str, int]
    refusals: tuple[Refusal, ...]
    rounded_prices: int
    rounded_volumes: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.file}: {_count(self.rows, 'row')} read, {self.refused:,} refused."]
        lines += [str(write) for write in self.writes]
        if self.rounded_prices or self.rounded_volumes:
            lines.append(
                f"Rounded to 6 decimals: {_count(self.rounded_prices, 'price')}, "
                f"{_count(self.rounded_volumes, 'volume')}."
            )
        lines += self.notes
        lines += [f"Refused {rows:,}: {reason}." for reason, rows in self.reasons.items()]
        lines += [f"  row {r.row:,}, {r.symbol}: {r.reason}" for r in self.refusals]
        if self.refused > len(self.refusals):
            lines.append(f"  and {self.refused - len(self.refusals):,} more")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return plain(self)


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one series in the lake, from its files without a problem.

    first, last      open times; None when there is no candle
    gaps             runs of missing minutes between first and last, `missing_minutes` in all
    rounded          prices that need more than 6 decimals and are rounded when read
    sources          where its candles came from
    """

    market: str
    symbol: str
    months: int
    rows: int
    first: datetime | None
    last: datetime | None
    gaps: int
    missing_minutes: int
    rounded: int
    sources: tuple[str, ...]

    def __str__(self) -> str:
        if self.first is None or self.last is None:
            return f"{self.symbol} {self.market}: no candles."
        return (
            f"{self.symbol} {self.market}: {self.rows:,} candles in {_count(self.months, 'month')}, "
            f"{self.first:%Y-%m-%d %H:%M} to {self.last:%Y-%m-%d %H:%M} UTC, "
            f"{self.missing_minutes:,} minutes missing in {_count(self.gaps, 'gap')}."
        )


@dataclass(frozen=True, slots=True)
class LakeReport:
    """What a look at every file of the lake found: problems, and the figures of each series."""

    problems: tuple[Problem, ...]
    series: tuple[Series, ...]

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        lines = [str(series) for series in self.series] or ["The lake is empty."]
        lines += [f"{problem.code}: {problem.text}" for problem in self.problems]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **plain(self)}


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
