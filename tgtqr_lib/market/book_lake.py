"""Looks at order books as Parquet, a file a symbol and day: `<root>/spot/BTCUSDT-2025-06-01.parquet`.

A row is a minute: what the book was like when that minute began, with the figures of `BookFeatures`, the exchange
time of the look and who took it, `watch` or `tick`. A tick's own look replaces the watch's of the same minute,
because it is what was decided on. Checksums, replacing and crashes are those of `sealed.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from tgtqr_lib.clock import from_ms, to_ms
from tgtqr_lib.domain import (
    ABSENT,
    MINUTE_MS,
    BookFeatures,
    BookHistory,
    Damaged,
    DataError,
    DomainError,
    Problem,
    StoreError,
)
from tgtqr_lib.market import duck, lake_check, sealed
from tgtqr_lib.market.reports import BookSeries, LakeReport
from tgtqr_lib.market.series_id import SYMBOL
from tgtqr_lib.market.source import DAY_MS

MARKET = "spot"
DAY_FILE = re.compile(r"([A-Z0-9]+)-(\d{4}-\d\d-\d\d)\.parquet")
SOURCES = ("watch", "tick")  # the later one replaces the earlier
COLUMNS = ("at_ms", "seen_ms", *BookHistory.NAMES, "source")
READ_ATTEMPTS = 5
# what can be done about a file: other than candles, looks can never be had a second time
ADVICE = {
    "FILE_LOST": "is in {sums} but not there; restore it from a backup, or delete its line",
    "FILE_UNLISTED": (
        "has no line in {sums}; restore {sums} from a backup, or write the line with sha256sum if you "
        "trust the file, or move it elsewhere"
    ),
    "FILE_ALTERED": (
        "is not what was written, its SHA-256 is not the one in {sums}; restore it from a backup, or "
        "move it elsewhere and delete its line"
    ),
}
GONE = "what was recorded cannot be fetched again"
SELECT = (
    "SELECT make_timestamptz(at_ms * 1000) AS ts, CAST(seen_ms AS INTEGER) AS seen_ms, "
    + ", ".join(
        f"CAST(nullif({name}, {ABSENT}) AS INTEGER) AS {name}" for name in BookHistory.NAMES
    )
    + ", list_extract($sources, source + 1) AS source FROM incoming ORDER BY ts"
)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the book of `symbol`: the whole minute it belongs to, and who took it."""

    symbol: str
    minute: datetime
    features: BookFeatures
    source: str

    def __post_init__(self) -> None:
        if not SYMBOL.fullmatch(self.symbol):
            raise DomainError(f"symbol {self.symbol!r} is not a symbol; expected one like BTCUSDT")
        if to_ms(self.minute) % MINUTE_MS:
            raise DomainError(f"{self.symbol} book: {self.minute.isoformat()} is no whole minute")
        if self.source not in SOURCES:
            raise DomainError(
                f"{self.symbol} book: source {self.source!r}; expected one of {SOURCES}"
            )


class BookLake:
    """The looks under `root` (`<home>/data/book`); reading takes no lock."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def folder(self) -> Path:
        return self.root / MARKET

    def write(self, looks: Iterable[Look], timeout_s: float = sealed.LOCK_TIMEOUT_S) -> int:
        """Add looks; how many were new. One of the same minute stays, unless a tick's replaces the watch's.

        Raises `Damaged` for a file that is not what was written, `Busy` when another process has been
        writing for `timeout_s`, `StoreError` when the disk is full.
        """
        days: dict[str, list[Look]] = {}
        for look in looks:
            days.setdefault(f"{look.symbol}-{look.minute:%Y-%m-%d}.parquet", []).append(look)
        if not days:
            return 0
        added = 0
        with duck.errors(StoreError, self.folder), sealed.locked(self.folder, timeout_s):
            sealed.settle(self.folder)
            staged = {}
            for name, fresh in days.items():
                rows = {row[0]: row for row in self._rows(name)}
                before = len(rows), sum(SOURCES.index(row[-1]) for row in rows.values())
                for look in fresh:
                    _take(rows, look)
                after = len(rows), sum(SOURCES.index(row[-1]) for row in rows.values())
                added += after[0] - before[0]
                if after != before:
                    staged[name] = _stage(self.folder / name, [rows[at] for at in sorted(rows)])
            sealed.replace(self.folder, staged)
        return added

    def read(self, symbol: str, start: datetime, end: datetime) -> BookHistory:
        """The looks of [start, end), oldest first. Raises `Damaged` for a file that is not what was written."""
        for moment in (start, end):
            if moment.tzinfo is None:
                raise DomainError(f"time {moment.isoformat()} has no time zone; expected UTC")
        first, last = to_ms(start), to_ms(end)
        rows: list[tuple] = []
        for name in self._days(symbol):
            day_ms = to_ms(_day_of(name))
            if day_ms < last and day_ms + DAY_MS > first:
                rows += [row for row in self._rows(name) if first <= row[0] < last]
        table = np.array(
            [[ABSENT if n is None else n for n in row[2:-1]] for row in rows], dtype=np.int64
        ).reshape(-1, len(BookHistory.NAMES))
        columns = {
            name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(BookHistory.NAMES)
        }
        return BookHistory(np.array([row[0] for row in rows], dtype=np.int64), columns)

    def newest(self, symbol: str) -> datetime | None:
        """When the newest look at the book of `symbol` was taken, of the newest day's file; None without any.

        Raises `Damaged` when that file is not what was written.
        """
        days = self._days(symbol)
        rows = self._rows(days[-1]) if days else []
        return from_ms(rows[-1][0] + rows[-1][1]) if rows else None

    def verify(self) -> LakeReport:
        """Every problem, each a sentence, and the figures of each series."""
        problems: list[Problem] = []
        found: dict[str, list[tuple]] = {}
        strays = [path for path in lake_check.entries(self.root) if path != self.folder]
        problems += [lake_check.stray(path) for path in strays]
        if not self.folder.is_dir():
            return LakeReport(tuple(problems), ())
        with sealed.locked(self.folder, shared=True):
            lines, wrong = lake_check.checked_sums(self.folder)
            problems += wrong
            ours = (sealed.SUMS, sealed.LOCK)
            names = {p.name for p in lake_check.entries(self.folder) if p.name not in ours}
            for name in sorted(names | set(lines)):
                path = self.folder / name
                match = DAY_FILE.fullmatch(name)
                if name.endswith(sealed.TEMPORARY):
                    problems.append(lake_check.left_over(path))
                elif match is None:
                    problems.append(lake_check.stray(path))
                elif wrong := _checked_file(path, lines.get(name, ())):
                    problems += wrong
                else:
                    try:
                        rows = _content(path)
                        problems += _wrong(path, rows)
                        found.setdefault(match[1], []).extend(rows)
                    except DataError as error:
                        problems.append(Problem("CONTENT_WRONG", str(error)))
        series = tuple(_figures(symbol, rows) for symbol, rows in sorted(found.items()) if rows)
        return LakeReport(tuple(problems), series)

    def _days(self, symbol: str) -> list[str]:
        """The names of the symbol's files, by day; those that should be there too."""
        if not self.folder.is_dir():
            return []
        names = {path.name for path in self.folder.iterdir()} | set(sealed.sums(self.folder))
        return sorted(n for n in names if (m := DAY_FILE.fullmatch(n)) and m[1] == symbol)

    def _rows(self, name: str) -> list[tuple]:
        path = self.folder / name
        for attempt in range(1, READ_ATTEMPTS + 1):  # it may be replaced while it is read
            before = sealed.stamp(path)
            try:
                found, problem = sealed.look(path, sealed.sums(self.folder).get(name, ()))
                if problem is not None:
                    raise Damaged(_advised(path, problem).text)
                rows = _content(path) if found else []
            except (DataError, StoreError) as error:
                if attempt == READ_ATTEMPTS:
                    if isinstance(error, StoreError):
                        raise
                    raise StoreError(str(error)) from None
                continue
            if sealed.stamp(path) == before:
                return rows
        raise StoreError(f"{path} was replaced each of {READ_ATTEMPTS} times it was read")


def _advised(path: Path, problem: Problem) -> Problem:
    """`problem` with what can be done about a file of looks."""
    if problem.code not in ADVICE:
        return problem
    text = ADVICE[problem.code].format(sums=sealed.SUMS)
    return replace(problem, text=f"{path} {text}; {GONE}")


def _checked_file(path: Path, checksums: tuple[str, ...]) -> list[Problem]:
    """What is wrong with the file as a whole."""
    _, problem = sealed.look(path, checksums)
    problems = [] if problem is None else [_advised(path, problem)]
    if len(checksums) > 1:
        text = f"{path}: a write was cut short; the file is whole, and the next look settles it"
        problems.append(Problem("WRITE_CUT_SHORT", text))
    return problems


def _take(rows: dict[int, tuple], look: Look) -> None:
    at = to_ms(look.minute)
    known = rows.get(at)
    if known is not None and SOURCES.index(known[-1]) >= SOURCES.index(look.source):
        return
    figures = (getattr(look.features, name) for name in BookHistory.NAMES)
    rows[at] = (at, to_ms(look.features.at) - at, *figures, look.source)


def _day_of(name: str) -> datetime:
    return datetime.fromisoformat(f"{DAY_FILE.fullmatch(name)[2]}T00:00:00+00:00")


def _stage(path: Path, rows: list[tuple]) -> str:
    """Write a day under the temporary name; its SHA-256."""
    cursor = duck.cursor()
    named = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    frame = {
        name: np.array([ABSENT if n is None else n for n in values], dtype=np.int64)
        for name, values in named.items()
        if name != "source"
    }
    frame["source"] = np.array([SOURCES.index(one) for one in named["source"]], dtype=np.int64)
    cursor.register("incoming", frame)
    target = sealed.temporary(path)
    how = "FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v2, USE_TMP_FILE false"
    cursor.execute(f"COPY ({SELECT}) TO {duck.literal(target)} ({how})", {"sources": list(SOURCES)})
    return sealed.finish(target)


def _content(path: Path) -> list[tuple]:
    """The file's rows in the order of COLUMNS. Raises `DataError` when it has other columns."""
    import duckdb

    try:
        relation = duck.cursor().sql("FROM read_parquet(?)", params=[[duck.pattern(path)]])
        expected = ("ts", *COLUMNS[1:])
        if tuple(relation.columns) != expected:
            raise DataError(
                f"{path}: has the columns {', '.join(relation.columns)}; expected {', '.join(expected)}"
            )
        return relation.project(f"epoch_ms(ts) AS at_ms, {', '.join(COLUMNS[1:])}").fetchall()
    except duckdb.Error as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error


def _wrong(path: Path, rows: list[tuple]) -> list[Problem]:
    """What no look can be: off its minute, out of order, or a figure that is none."""
    times = np.array([row[0] for row in rows], dtype=np.int64)
    day = to_ms(_day_of(path.name))
    problems = []
    if (np.diff(times) <= 0).any():
        problems.append("rows out of order, or a minute twice")
    if (times % MINUTE_MS).any() or ((times < day) | (times >= day + DAY_MS)).any():
        problems.append("a row that is no minute of its day")
    names = dict(zip(COLUMNS, range(len(COLUMNS)), strict=True))
    for name in ("imbalance_1", "imbalance_5", "imbalance_25"):
        if any(abs(row[names[name]] or 0) > 10**6 for row in rows):
            problems.append(f"{name} beyond 1")
    if any((row[names["spread"]] or 0) <= 0 or (row[names["levels"]] or 0) < 1 for row in rows):
        problems.append("a book without a spread or a level")
    return [Problem("CONTENT_WRONG", f"{path}: has {text}") for text in problems]


def _figures(symbol: str, rows: list[tuple]) -> BookSeries:
    minutes = (rows[-1][0] - rows[0][0]) // MINUTE_MS + 1
    return BookSeries(
        market=MARKET,
        symbol=symbol,
        rows=len(rows),
        first=from_ms(rows[0][0]),
        last=from_ms(rows[-1][0]),
        missing=minutes - len(rows),
        ticks=sum(row[-1] == "tick" for row in rows),
    )
