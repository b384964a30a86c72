"""What the lake and an import say of their work: sentences for people, plain dicts for `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tgtqr_lib.canonical import plain
from tgtqr_lib.domain import Problem
from tgtqr_lib.market.series_id import INTERVALS, SeriesId

LISTED = 10  # of a kind, in the text; the JSON has all


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
    interval: str
    mark: bool
    added: int
    kept: int
    revised: int
    months: tuple[str, ...]

    def __str__(self) -> str:
        revised = f", {self.revised:,} revised" if self.revised else ""
        series = SeriesId(self.symbol, self.market, self.interval, self.mark)
        return (
            f"{series}: {self.added:,} {series.steps} added, {self.kept:,} were there"
            f"{revised}; {_count(len(self.months), 'month')} written."
        )

    def as_dict(self) -> dict[str, Any]:
        return plain(self)


@dataclass(frozen=True, slots=True)
class FundingWrite:
    """What a write did to one series of funding rates, in settlements; see `WriteReport`."""

    market: str
    symbol: str
    added: int
    kept: int
    revised: int

    def __str__(self) -> str:
        revised = f", {self.revised:,} revised" if self.revised else ""
        return (
            f"{self.symbol} {self.market} funding: {self.added:,} settlements added, "
            f"{self.kept:,} were there{revised}."
        )


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
    writes: tuple[WriteReport | FundingWrite, ...]
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
class FetchReport:
    """What came of fetching one series; counts are minutes, or settlements.

    kind      "candles", "mark" or "funding"
    asked     how many were missing and asked for
    added     how many came; `revised` of them replaced those of another venue
    gaps      stretches that the exchange does not have, new on record; `gap_rows` in all
    odd       rows that came and could not be, each as a sentence
    absent    how many of the span are on record as those that the exchange does not have
    """

    market: str
    symbol: str
    kind: str
    asked: int
    added: int
    revised: int
    gaps: tuple[str, ...]
    gap_rows: int
    odd: tuple[str, ...]
    absent: int = 0

    def __str__(self) -> str:
        things = "settlements" if self.kind == "funding" else "minutes"
        kind = "" if self.kind == "candles" else f" {self.kind}"
        lines = [f"{self.symbol} {self.market}{kind}: {self.added:,} {things} added."]
        if self.asked == 0:
            lines = [f"{self.symbol} {self.market}{kind}: nothing was missing."]
            if self.absent:
                lines = [
                    f"{self.symbol} {self.market}{kind}: nothing new; {self.absent:,} {things} are on record "
                    "as those the exchange does not have (--retry asks again)."
                ]
        if self.revised:
            lines.append(f"  {self.revised:,} of another venue replaced")
        if self.gaps:
            lines.append(f"  {self.gap_rows:,} {things} the exchange does not have, now on record:")
            lines += [f"  {text}" for text in _some(self.gaps)]
        lines += [f"  left out: {text}" for text in _some(self.odd)]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return plain(self)


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of one series in the lake, from its files without a problem.

    interval, mark   which candles: "1m", "5m" ...; of the mark price or of trades
    first, last      open times; None when there is no candle
    gaps             runs of missing candles between first and last, `missing` in all
    known            stretches that the exchange itself did not have when it was asked, as text
    known_missing    how many of all its missing candles lie in them
    rounded          prices that need more than 6 decimals and are rounded when read
    wild             candles whose high is more than 1.2 times their low
    jumps            closes more than 20 % from the close of the candle just before
    oddest           the first of those, as text
    sources          where its candles came from
    """

    market: str
    symbol: str
    interval: str
    mark: bool
    months: int
    rows: int
    first: datetime | None
    last: datetime | None
    gaps: int
    missing: int
    known: tuple[str, ...]
    known_missing: int
    rounded: int
    wild: int
    jumps: int
    oddest: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def missing_minutes(self) -> int:
        """`missing` in minutes."""
        return self.missing * INTERVALS[self.interval]

    def __str__(self) -> str:
        series = SeriesId(self.symbol, self.market, self.interval, self.mark)
        lines = [f"{series}: no candles."]
        if self.first is not None and self.last is not None:
            lines = [
                f"{series}: {self.rows:,} candles in {_count(self.months, 'month')}, "
                f"{self.first:%Y-%m-%d %H:%M} to {self.last:%Y-%m-%d %H:%M} UTC, "
                f"{self.missing:,} {series.steps} missing in {_count(self.gaps, 'gap')}."
            ]
        lines += [f"  the exchange has none from {text}" for text in _some(self.known)]
        if self.wild or self.jumps:
            lines.append(
                f"  worth a look: {_count(self.wild, 'candle')} with the high above 1.2 x the low, "
                f"{_count(self.jumps, 'close')} over 20 % from the one before"
            )
            lines += [f"  {text}" for text in _some(self.oddest)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class FundingSeries:
    """The figures of one series of funding rates.

    gaps            runs of settlements that are missing between first and last, `missing` in all
    known           stretches that the exchange itself did not have when it was asked, as text
    """

    market: str
    symbol: str
    rows: int
    first: datetime | None
    last: datetime | None
    gaps: int
    missing: int
    known: tuple[str, ...]
    sources: tuple[str, ...]

    def __str__(self) -> str:
        name = f"{self.symbol} {self.market} funding"
        if self.first is None or self.last is None:
            return f"{name}: no settlements."
        lines = [
            f"{name}: {self.rows:,} settlements, {self.first:%Y-%m-%d %H:%M} to "
            f"{self.last:%Y-%m-%d %H:%M} UTC, {self.missing:,} missing in {_count(self.gaps, 'gap')}."
        ]
        lines += [f"  the exchange has none from {text}" for text in _some(self.known)]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class BookSeries:
    """The figures of the recorded looks at one order book; `ticks` of them were taken by ticks."""

    market: str
    symbol: str
    rows: int
    first: datetime
    last: datetime
    missing: int
    ticks: int

    def __str__(self) -> str:
        return (
            f"{self.symbol} {self.market} book: {self.rows:,} looks, {self.first:%Y-%m-%d %H:%M} to "
            f"{self.last:%Y-%m-%d %H:%M} UTC, {self.missing:,} minutes without one, "
            f"{_count(self.ticks, 'look')} by ticks."
        )


@dataclass(frozen=True, slots=True)
class LakeReport:
    """What a look at every file of the lake found: problems, and the figures of each series."""

    problems: tuple[Problem, ...]
    series: tuple[Series | FundingSeries | BookSeries, ...]

    def __add__(self, other: LakeReport) -> LakeReport:
        return LakeReport(self.problems + other.problems, self.series + other.series)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        lines = [str(series) for series in self.series] or ["The lake is empty."]
        lines += [f"{problem.code}: {problem.text}" for problem in self.problems]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **plain(self)}


def _some(texts: tuple[str, ...]) -> list[str]:
    """The first of `texts`, and how many more there are."""
    more = len(texts) - LISTED
    return [*texts[:LISTED], *([f"... and {more:,} more"] if more > 0 else [])]


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
