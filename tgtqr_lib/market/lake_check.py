"""Looking at every file of the candle lake: what is wrong with it, and how much it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import DataError, Problem, StoreError
from tgtqr_lib.market import duck, gaps, sealed
from tgtqr_lib.market.gaps import GAPS, Gap
from tgtqr_lib.market.reports import LakeReport, Series
from tgtqr_lib.market.sanity import (
    COLUMNS,
    JUMP_FRACTION,
    MISSING,
    MONTH_FILE,
    REPEATED,
    VALUES,
    WILD_RATIO,
    faults,
    reason,
    when,
)
from tgtqr_lib.market.series_id import FOLDER, SeriesId
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import to_steps

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED_ODD = 100  # odd candles named one by one, of a series
TYPES = ("TIMESTAMP WITH TIME ZONE", *["DOUBLE"] * len(VALUES), "VARCHAR")


def check(root: Path, cursor: DuckDBPyConnection) -> LakeReport:
    """Every problem under `root` and the figures of every series; an empty lake has neither.

    A series that is being written is waited for; raises `Busy` when that takes too long.
    """
    problems: list[Problem] = []
    series: list[Series] = []
    for market in sorted(entries(root)):
        if FOLDER.fullmatch(market.name) is None or not market.is_dir():
            problems.append(stray(market))
            continue
        for folder in sorted(entries(market)):
            name = SeriesId.of_folder(folder) if folder.is_dir() else None
            if name is None:
                problems.append(stray(folder))
                continue
            with sealed.locked(folder, shared=True):
                found, figures = _check_series(folder, name, cursor)
            problems += found
            series.append(figures)
    return LakeReport(tuple(problems), tuple(series))


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def stray(path: Path) -> Problem:
    return Problem("STRANGE_FILE", f"{path} does not belong into the lake; move it elsewhere")


@dataclass(frozen=True, eq=False)
class _Month:
    """What a sound file holds."""

    open_ms: np.ndarray
    values: dict[str, np.ndarray]
    sources: set[str]


def checked_sums(folder: Path) -> tuple[sealed.Sums, list[Problem]]:
    """The checksums of a folder, and what keeps them from being read."""
    try:
        return sealed.sums(folder), []
    except StoreError as error:
        return {}, [Problem("CHECKSUMS_UNREADABLE", str(error))]


def checked_file(path: Path, checksums: tuple[str, ...]) -> list[Problem]:
    """What is wrong with the file as a whole; the first of them says whether its content counts."""
    problems: list[Problem] = []
    _, problem = sealed.look(path, checksums)
    if problem is not None:
        problems.append(problem)
    if len(checksums) > 1:
        text = (
            f"{path}: a write was cut short and the file is whole, as it was before or as it was to "
            f"be; do that import or fetch again"
        )
        problems.append(Problem("WRITE_CUT_SHORT", text))
    return problems


def left_over(path: Path) -> Problem:
    """A temporary file that a killed writer left."""
    text = f"{path} is left from a write that was cut short; the next write removes it"
    return Problem("WRITE_CUT_SHORT", text)


def checked_gaps(folder: Path, name: str = GAPS) -> tuple[tuple[Gap, ...], list[Problem]]:
    """The gaps on record and what keeps them from being read; the file's checksum is judged elsewhere."""
    try:
        return gaps.read(folder, name), []
    except StoreError as error:
        return (), [Problem("GAPS_UNREADABLE", str(error))]


def _check_series(
    folder: Path, series: SeriesId, cursor: DuckDBPyConnection
) -> tuple[list[Problem], Series]:
    lines, problems = checked_sums(folder)
    ours = (sealed.SUMS, sealed.LOCK)
    names = {path.name for path in folder.iterdir() if path.name not in ours} | set(lines)
    months: list[_Month] = []  # those without a problem
    known: tuple[Gap, ...] = ()
    for name in sorted(names):
        path = folder / name
        if name.endswith(sealed.TEMPORARY):
            problems.append(left_over(path))
            continue
        if MONTH_FILE.fullmatch(name) is None and name != GAPS:
            problems.append(stray(path))
            continue
        found = checked_file(path, lines.get(name, ()))
        problems += found
        if {problem.code for problem in found} - {"WRITE_CUT_SHORT"} or not path.exists():
            continue
        if name == GAPS:
            known, found = checked_gaps(folder)
            problems += found
            continue
        try:
            months.append(_content(path, series, cursor))
        except DataError as error:
            problems.append(Problem("CONTENT_WRONG", str(error)))
    return problems, _figures(series, months, known)


def _content(path: Path, series: SeriesId, cursor: DuckDBPyConnection) -> _Month:
    """The candles of one file.

    Raises `DataError` with every kind of wrong row in one sentence.
    """
    import duckdb

    try:
        relation = cursor.sql("FROM read_parquet(?)", params=[[duck.pattern(path)]])
        kinds = dict(zip(relation.columns, map(str, relation.types), strict=True))
        if kinds != dict(zip(COLUMNS, TYPES, strict=True)):
            found = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
            raise DataError(f"{path}: has the columns {found}; expected {', '.join(COLUMNS)}")
        columns = relation.project(f"epoch_us(ts) AS open_us, {', '.join(VALUES)}").fetchnumpy()
        sources = {source for (source,) in relation.project("source").distinct().fetchall()}
    except duckdb.Error as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    missing = np.logical_or.reduce([np.ma.getmaskarray(column) for column in columns.values()])
    columns = {name: np.ma.getdata(column) for name, column in columns.items()}
    open_us = columns["open_us"]
    wrong = [f"{text}, first at {at}" for text, at in _wrong_rows(path, series, columns, missing)]
    if None in sources:
        wrong.append("a source is missing")
    if wrong:
        raise DataError(f"{path}: {'; '.join(wrong)}")
    return _Month(open_us // 1000, columns, sources)


def _wrong_rows(
    path: Path, series: SeriesId, columns: dict, missing: np.ndarray
) -> Iterator[tuple[str, str]]:
    """(what, when first) for each kind of wrong row."""
    open_us = columns["open_us"]
    reasons = faults(open_us, columns, series.step_ms * 1000)
    reasons[1:][np.diff(open_us) == 0] = REPEATED
    reasons[missing] = MISSING
    for code in np.unique(reasons[reasons > 0]):
        rows = np.flatnonzero(reasons == code)
        yield f"{len(rows):,} rows where {reason(code, series.interval)}", when(open_us[rows[0]])
    backward = np.flatnonzero(np.diff(open_us) < 0)
    if len(backward):
        yield f"{len(backward):,} rows before the one above them", when(open_us[backward[0] + 1])
    months = open_us.astype("datetime64[us]").astype("datetime64[M]")
    outside = np.flatnonzero(months != np.datetime64(path.name[:7], "M"))
    if len(outside):
        yield f"{len(outside):,} rows of another month", when(open_us[outside[0]])


def _figures(series: SeriesId, months: list[_Month], known: Sequence[Gap]) -> Series:
    times = np.concatenate([np.empty(0, np.int64), *(month.open_ms for month in months)])
    values = {
        name: np.concatenate([np.empty(0), *(month.values[name] for month in months)])
        for name in PRICES
    }
    steps = np.diff(times) // series.step_ms
    wild, jumps = wild_candles(values), jumping_closes(times, values["close"], series.step_ms)
    oddest = [f"{_at(times[row])}: {_shape(values, row)}" for row in np.union1d(wild, jumps)]
    return Series(
        market=series.market,
        symbol=series.symbol,
        interval=series.interval,
        mark=series.mark,
        months=len(months),
        rows=len(times),
        first=from_ms(times[0]) if len(times) else None,
        last=from_ms(times[-1]) if len(times) else None,
        gaps=int(np.count_nonzero(steps > 1)),
        missing=int((steps - 1).sum()),
        known=tuple(str(gap) for gap in known),
        known_missing=sum(missing_in(times, gap, series.step_ms) for gap in known),
        rounded=to_steps(np.stack([*values.values()]))[2],
        wild=len(wild),
        jumps=len(jumps),
        oddest=tuple(oddest[:LISTED_ODD]),
        sources=tuple(sorted(set().union(*(month.sources for month in months)))),
    )


def wild_candles(values: Mapping[str, np.ndarray], ratio: float = WILD_RATIO) -> np.ndarray:
    """Rows whose high is more than `ratio` times their low."""
    return np.flatnonzero(values["high"] > values["low"] * ratio)


def jumping_closes(
    open_ms: np.ndarray, close: np.ndarray, step_ms: int, fraction: float = JUMP_FRACTION
) -> np.ndarray:
    """Rows whose close is more than `fraction` from that of the candle just before, if there is one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.abs(np.diff(close)) > close[:-1] * fraction
    return np.flatnonzero(far & (np.diff(open_ms) == step_ms)) + 1


def missing_in(open_ms: np.ndarray, gap: Gap, step_ms: int) -> int:
    """How many of the gap's candles are not there after all."""
    there = np.searchsorted(open_ms, gap.end_ms) - np.searchsorted(open_ms, gap.start_ms)
    return int((gap.end_ms - gap.start_ms) // step_ms - there)


def _at(open_ms: int) -> str:
    return f"{from_ms(open_ms):%Y-%m-%d %H:%M}"


def _shape(values: Mapping[str, np.ndarray], row: int) -> str:
    before = f", the close before {float(values['close'][row - 1])!r}" if row else ""
    return ", ".join(f"{name} {float(values[name][row])!r}" for name in PRICES) + before
