"""Funding rates as Parquet, a file a series: `<root>/linear/BTCUSDT.parquet`, five years in 100 kB.

The columns are ts (the settlement, a UTC TIMESTAMP), rate (a fraction, the float nearest to a decimal of
at most 10 places; positive: longs pay shorts), interval_minutes (from the settlement before it to this
one, as the exchange had it then) and source. Checksums, replacing and crashes are those of `sealed.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.domain import (
    MINUTE_MS,
    Damaged,
    DataError,
    DomainError,
    Funding,
    Problem,
    StoreError,
)
from tgtqr_lib.market import duck, gaps, lake_check, sealed
from tgtqr_lib.market.gaps import Gap
from tgtqr_lib.market.reports import FundingSeries, FundingWrite, LakeReport
from tgtqr_lib.market.series_id import SYMBOL
from tgtqr_lib.market.steps import from_steps

MARKET = "linear"  # the only one with funding
RATE_DECIMALS = 10
INTERVALS = (60, 120, 240, 480)  # minutes; those that Bybit uses
COLUMNS = ("ts", "rate", "interval_minutes", "source")
TYPES = ("TIMESTAMP WITH TIME ZONE", "DOUBLE", "BIGINT", "VARCHAR")
READ_ATTEMPTS = 5
FIELDS = ("at_ms", "units", "minutes")


@dataclass(frozen=True, eq=False)
class FundingRates:
    """Funding settlements of one perpetual, oldest first.

    at_ms    (n,) int64, ms since the epoch, UTC, strictly increasing
    units    (n,) int64, the rate in units of 10**-10 of the position's worth; positive: longs pay shorts
    minutes  (n,) int64, the interval that ended with each settlement
    source   (n,) where each came from
    """

    symbol: str
    at_ms: np.ndarray
    units: np.ndarray
    minutes: np.ndarray
    source: np.ndarray

    @classmethod
    def of(
        cls, symbol: str, at_ms: Any, units: Any, minutes: Any, source: str | Iterable[str]
    ) -> FundingRates:
        """From sequences; one interval or source may stand for all."""
        at_ms = np.asarray(at_ms, dtype=np.int64)
        if isinstance(source, str):
            source = [source] * len(at_ms)
        return cls(
            symbol,
            at_ms,
            np.asarray(units, dtype=np.int64),
            np.broadcast_to(np.asarray(minutes, dtype=np.int64), at_ms.shape),
            np.array(list(source), dtype=object),
        )

    def __len__(self) -> int:
        return len(self.at_ms)

    @property
    def funding(self) -> Funding:
        """As a strategy reads it, wherever it came from."""
        return Funding(self.at_ms, self.units, self.minutes)

    def __getitem__(self, rows: Any) -> FundingRates:
        columns = (getattr(self, name)[rows] for name in (*FIELDS, "source"))
        return FundingRates(self.symbol, *columns)


class FundingLake:
    """The funding rates under `root` (`<home>/data/funding`); reading takes no lock."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def folder(self) -> Path:
        return self.root / MARKET

    def read(self, symbol: str, start: datetime, end: datetime) -> FundingRates:
        """The settlements of [start, end), oldest first; none when there are none.

        Raises `StoreError` when the file is damaged or lost.
        """
        for moment in (start, end):
            if moment.tzinfo is None:
                raise DomainError(f"time {moment.isoformat()} has no time zone; expected UTC")
        rates = self._all(symbol)
        first, last = np.searchsorted(rates.at_ms, [to_ms(start), to_ms(end)])
        return rates[first:last]

    def write(self, rates: FundingRates, *, revise: bool = False) -> FundingWrite:
        """Add settlements; writing them twice equals writing them once.

        Raises `DataError` for one that is there with another rate, unless `revise`, and for rates that
        cannot be; then nothing is written.
        """
        _expect_possible(rates)
        if not len(rates):
            return FundingWrite(MARKET, rates.symbol, 0, 0, 0)
        path = self._path(rates.symbol)
        with sealed.locked(self.folder), duck.errors(StoreError, path):
            sealed.settle(self.folder)
            old = self._all(rates.symbol)
            known, differs = _compared(old, rates, revise)
            fresh = rates[~known | differs]
            if len(fresh):
                kept = old[~np.isin(old.at_ms, fresh.at_ms)]
                sealed.replace(self.folder, _stage(path, _joined(kept, fresh)))
        added, revised = int((~known).sum()), int(differs.sum())
        return FundingWrite(MARKET, rates.symbol, added, len(rates) - added - revised, revised)

    def check(self, rates: FundingRates, *, revise: bool = False) -> None:
        """Raise what `write` would raise of these rates, and write nothing."""
        _expect_possible(rates)
        _compared(self._all(rates.symbol), rates, revise)

    def gaps(self, symbol: str) -> tuple[Gap, ...]:
        """What an exchange said it does not have of the series."""
        return gaps.read(self.folder, _gaps_name(self._path(symbol)))

    def note_gaps(self, symbol: str, found: Iterable[Gap]) -> None:
        """Keep `found` among the gaps on record."""
        found, name = list(found), _gaps_name(self._path(symbol))
        if not found:
            return
        with sealed.locked(self.folder), duck.errors(StoreError, self.folder):
            sealed.settle(self.folder)
            old = gaps.read(self.folder, name)
            if gaps.joined([*old, *found]) != list(old):
                sealed.replace(self.folder, gaps.stage(self.folder, [*old, *found], name))

    def verify(self) -> LakeReport:
        """Every problem, each a sentence, and the figures of each series."""
        problems: list[Problem] = []
        series: list[FundingSeries] = []
        strays = [path for path in _entries(self.root) if path != self.folder]
        problems += [lake_check.stray(path) for path in strays]
        if not self.folder.is_dir():
            return LakeReport(tuple(problems), ())
        with sealed.locked(self.folder, shared=True):
            lines, found = lake_check.checked_sums(self.folder)
            problems += found
            ours = (sealed.SUMS, sealed.LOCK)
            names = {path.name for path in _entries(self.folder) if path.name not in ours}
            for name in sorted(names | set(lines)):
                path = self.folder / name
                symbol, _, rest = name.partition(".")
                if name.endswith(sealed.TEMPORARY):
                    problems.append(lake_check.left_over(path))
                    continue
                if not SYMBOL.fullmatch(symbol) or rest not in ("parquet", "gaps.csv"):
                    problems.append(lake_check.stray(path))
                    continue
                found = lake_check.checked_file(path, lines.get(name, ()))
                problems += found
                damaged = {problem.code for problem in found} - {"WRITE_CUT_SHORT"}
                if damaged or rest == "gaps.csv" or not path.exists():
                    continue
                known, found = lake_check.checked_gaps(self.folder, _gaps_name(path))
                problems += found
                try:
                    rates = _content(path)
                    problems += _wrong(path, rates)
                    series.append(_figures(rates, known))
                except DataError as error:
                    problems.append(Problem("CONTENT_WRONG", str(error)))
        return LakeReport(tuple(problems), tuple(series))

    def _path(self, symbol: str) -> Path:
        if not SYMBOL.fullmatch(symbol):
            raise DomainError(f"symbol {symbol!r} is not a symbol; expected one like BTCUSDT")
        return self.folder / f"{symbol}.parquet"

    def _all(self, symbol: str) -> FundingRates:
        path = self._path(symbol)
        for attempt in range(1, READ_ATTEMPTS + 1):  # it may be replaced while it is read
            before = sealed.stamp(path)
            try:
                found, problem = sealed.look(path, sealed.sums(self.folder).get(path.name, ()))
                if problem is not None:
                    raise Damaged(problem.text)
                rates = _content(path) if found else FundingRates.of(symbol, [], [], [], [])
            except (DataError, StoreError) as error:
                if attempt == READ_ATTEMPTS:
                    kind = Damaged if isinstance(error, Damaged) else StoreError
                    raise kind(str(error)) from None
                continue
            if sealed.stamp(path) == before:
                return rates
        raise StoreError(f"{path} was replaced each of {READ_ATTEMPTS} times it was read")


def settlement_grid(start_ms: int, end_ms: int, minutes: int) -> np.ndarray:
    """The settlements of [start_ms, end_ms) at an interval: its whole multiples since midnight."""
    step = minutes * MINUTE_MS
    return np.arange(-(-start_ms // step) * step, end_ms, step, dtype=np.int64)


def intervals_of(new: Sequence[int], there: np.ndarray, minutes: int) -> list[int]:
    """The interval that ended with each settlement: its distance to the one before, where that is one.

    Elsewhere, at the first settlement and after a gap, it is today's, or the longest below it whose grid has
    the time. A missing settlement that leaves twice an interval between two others cannot be told from a
    longer interval.

    new      times to tell it for, ms; `there` others that are known
    minutes  today's
    """
    times = np.union1d(there, new).astype(np.int64)
    before = dict(zip(times[1:].tolist(), times[:-1].tolist(), strict=True))
    found = []
    for at_ms in new:
        distance = (at_ms - before.get(at_ms, at_ms)) // MINUTE_MS
        fits = distance in INTERVALS and at_ms % (distance * MINUTE_MS) == 0
        shorter = [m for m in INTERVALS if at_ms % (m * MINUTE_MS) == 0 and m <= minutes]
        found.append(distance if fits else max(shorter, default=minutes))
    return found


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _gaps_name(path: Path) -> str:
    return f"{path.name.partition('.')[0]}.gaps.csv"


def _rate(rates: FundingRates, row: int) -> str:
    return f"{rates.units[row] / 10**RATE_DECIMALS:.10f}".rstrip("0")


def _expect_possible(rates: FundingRates) -> None:
    """Raise `DataError` for settlements that are out of order, off their grid or no rates."""
    name = f"{rates.symbol} funding"
    if (np.diff(rates.at_ms) <= 0).any():
        raise DataError(f"{name}: the settlements are not in order of time, or one came twice")
    for rows, what in (
        (np.abs(rates.units) >= 10**RATE_DECIMALS, "is no rate; expected a fraction below 1"),
        (~np.isin(rates.minutes, INTERVALS), f"has an interval not among {INTERVALS} minutes"),
        (rates.at_ms % (rates.minutes * MINUTE_MS) != 0, "is not on the grid of its interval"),
    ):
        if rows.any():
            row = int(np.argmax(rows))
            raise DataError(
                f"{name}: the settlement of {iso(from_ms(rates.at_ms[row]))} at {_rate(rates, row)}, "
                f"{rates.minutes[row]} minutes, {what}"
            )


def _compared(
    old: FundingRates, rates: FundingRates, revise: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) bool each: the settlement is there, and with another rate. `DataError` for such, unless `revise`."""
    known = np.isin(rates.at_ms, old.at_ms)
    differs = np.zeros(len(rates), dtype=bool)
    differs[known] = old.units[np.searchsorted(old.at_ms, rates.at_ms[known])] != rates.units[known]
    if differs.any() and not revise:
        row = int(np.argmax(differs))
        there = int(np.searchsorted(old.at_ms, rates.at_ms[row]))
        raise DataError(
            f"{rates.symbol} funding: the settlement of {iso(from_ms(rates.at_ms[row]))} is in the lake "
            f"as {_rate(old, there)} ({old.source[there]}) and came as {_rate(rates, row)} "
            f"({rates.source[row]}); {int(differs.sum()):,} such, expected none. Nothing was written; "
            f"--revise lets the new ones replace the old"
        )
    return known, differs


def _joined(one: FundingRates, other: FundingRates) -> FundingRates:
    columns = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in (*FIELDS, "source")
    }
    order = np.argsort(columns["at_ms"], kind="stable")
    return FundingRates(other.symbol, *(column[order] for column in columns.values()))


def _stage(path: Path, rates: FundingRates) -> dict[str, str]:
    """Write the whole series under the temporary name; {file name: SHA-256}."""
    sources, origin = np.unique(rates.source.astype(str), return_inverse=True)
    cursor = duck.cursor()
    columns = {
        "at_ms": rates.at_ms,
        "rate": from_steps(rates.units, RATE_DECIMALS),
        "minutes": np.ascontiguousarray(rates.minutes),
        "origin": origin,
    }
    cursor.register("incoming", columns)
    select = (
        "SELECT to_timestamp(at_ms / 1000) AS ts, rate, minutes AS interval_minutes, "
        "list_extract($sources, origin + 1) AS source FROM incoming ORDER BY ts"
    )
    target = sealed.temporary(path)
    copy = f"COPY ({select}) TO {duck.literal(target)} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
    cursor.execute(copy, {"sources": [str(source) for source in sources]})
    return {path.name: sealed.finish(target)}


def _content(path: Path) -> FundingRates:
    """The file's rows. Raises `DataError` when it has other columns or a missing value."""
    import duckdb

    try:
        relation = duck.cursor().sql("FROM read_parquet(?)", params=[[duck.pattern(path)]])
        kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
        if kinds != dict(zip(COLUMNS, TYPES, strict=True)):
            found = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise DataError(f"{path}: has the columns {found}; expected {', '.join(COLUMNS)}")
        rows = relation.project(
            "epoch_ms(ts) AS at_ms, rate, interval_minutes, source"
        ).fetchnumpy()
    except duckdb.Error as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    if any(np.ma.getmaskarray(column).any() for column in rows.values()):
        raise DataError(f"{path}: a value is missing")
    with np.errstate(invalid="ignore"):
        units = np.rint(rows["rate"] * 10.0**RATE_DECIMALS)
    if not (np.abs(units) < 10**RATE_DECIMALS).all():
        raise DataError(f"{path}: a rate is not a fraction below 1")
    return FundingRates.of(
        path.stem, rows["at_ms"], units.astype(np.int64), rows["interval_minutes"], rows["source"]
    )


def _wrong(path: Path, rates: FundingRates) -> list[Problem]:
    """Every kind of wrong settlement in a file that can be read, as one problem each."""
    at_ms, problems = rates.at_ms, []
    for rows, what in (
        (np.append(False, np.diff(at_ms) == 0), "where an earlier row has the same time"),
        (np.append(False, np.diff(at_ms) < 0), "before the one above them"),
        (at_ms % (np.maximum(rates.minutes, 1) * MINUTE_MS) != 0, "off the grid of their interval"),
        (~np.isin(rates.minutes, INTERVALS), "with an interval that no settlement has"),
    ):
        found = np.flatnonzero(rows[: len(at_ms)])
        if len(found):
            text = f"{path}: {len(found):,} rows {what}, first at {iso(from_ms(at_ms[found[0]]))}"
            problems.append(Problem("CONTENT_WRONG", text))
    return problems


def missing_settlements(at_ms: np.ndarray, minutes: np.ndarray) -> np.ndarray:
    """(n,) how many settlements are missing just before each, by the interval that ended with it."""
    missing = np.zeros(len(at_ms), dtype=np.int64)
    missing[1:] = np.maximum(np.diff(at_ms) // (np.maximum(minutes[1:], 1) * MINUTE_MS) - 1, 0)
    return missing


def _figures(rates: FundingRates, known: tuple[Gap, ...]) -> FundingSeries:
    missing = missing_settlements(rates.at_ms, rates.minutes)
    return FundingSeries(
        market=MARKET,
        symbol=rates.symbol,
        rows=len(rates),
        first=from_ms(rates.at_ms[0]) if len(rates) else None,
        last=from_ms(rates.at_ms[-1]) if len(rates) else None,
        gaps=int(np.count_nonzero(missing)),
        missing=int(missing.sum()),
        known=tuple(str(gap) for gap in known),
        sources=tuple(sorted(set(rates.source))),
    )
