"""Looking at every file of the candle lake: what is wrong with it, and how much it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import MINUTE_MS, DataError, Problem, StoreError
from tgtqr_lib.market import duck, sealed
from tgtqr_lib.market.reports import LakeReport, Series
from tgtqr_lib.market.sanity import (
    COLUMNS,
    MARKETS,
    MISSING,
    MONTH_FILE,
    REASONS,
    REPEATED,
    VALUES,
    faults,
    when,
)
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import to_steps

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TYPES = ("TIMESTAMP WITH TIME ZONE", *["DOUBLE"] * len(VALUES), "VARCHAR")


def check(root: Path, cursor: DuckDBPyConnection) -> LakeReport:
    """Every problem under `root` and the figures of every series; an empty lake has neither.

    A series that is being written is waited for; raises `Busy` when that takes too long.
    """
    problems: list[Problem] = []
    series: list[Series] = []
    for market in sorted(_entries(root)):
        if market.name not in MARKETS or not market.is_dir():
            problems.append(_stray(market))
            continue
        for folder in sorted(_entries(market)):
            if not folder.is_dir():
                problems.append(_stray(folder))
                continue
            with sealed.locked(folder, shared=True):
                found, figures = _check_series(folder, cursor)
            problems += found
            series.append(figures)
    return LakeReport(tuple(problems), tuple(series))


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _stray(path: Path) -> Problem:
    return Problem("STRANGE_FILE", f"{path} does not belong into the lake; move it elsewhere")


def _check_series(folder: Path, cursor: DuckDBPyConnection) -> tuple[list[Problem], Series]:
    problems: list[Problem] = []
    try:
        lines = sealed.sums(folder)
    except StoreError as error:
        problems.append(Problem("CHECKSUMS_UNREADABLE", str(error)))
        lines = {}
    ours = (sealed.SUMS, sealed.LOCK)
    names = {path.name for path in folder.iterdir() if path.name not in ours} | set(lines)
    sound = []  # of each file without a problem: times, prices rounded, sources
    for name in sorted(names):
        path = folder / name
        if name.endswith(sealed.TEMPORARY):
            text = f"{path} is left from a write that was cut short; the next write removes it"
            problems.append(Problem("WRITE_CUT_SHORT", text))
            continue
        if MONTH_FILE.fullmatch(name) is None:
            problems.append(_stray(path))
            continue
        if len(lines.get(name, ())) > 1:
            text = (
                f"{path}: a write was cut short and the file is whole, as it was before or as it was to "
                f"be; do that import or fetch again"
            )
            problems.append(Problem("WRITE_CUT_SHORT", text))
        _, problem = sealed.look(path, lines.get(name, ()))
        if problem is not None:
            problems.append(problem)
        elif path.exists():
            try:
                sound.append(_content(path, cursor))
            except DataError as error:
                problems.append(Problem("CONTENT_WRONG", str(error)))
    return problems, _figures(folder, sound)


def _content(path: Path, cursor: DuckDBPyConnection) -> tuple[np.ndarray, int, set[str]]:
    """Open times (ms), prices that need rounding, and sources of one file.

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
    wrong = [f"{text}, first at {at}" for text, at in _wrong_rows(path, columns, missing)]
    if None in sources:
        wrong.append("a source is missing")
    if wrong:
        raise DataError(f"{path}: {'; '.join(wrong)}")
    _, _, rounded = to_steps(np.stack([columns[name] for name in PRICES]))
    return open_us // 1000, rounded, sources


def _wrong_rows(path: Path, columns: dict, missing: np.ndarray) -> Iterator[tuple[str, str]]:
    """(what, when first) for each kind of wrong row."""
    open_us = columns["open_us"]
    reasons = faults(open_us, columns)
    reasons[1:][np.diff(open_us) == 0] = REPEATED
    reasons[missing] = MISSING
    for reason in np.unique(reasons[reasons > 0]):
        rows = np.flatnonzero(reasons == reason)
        yield f"{len(rows):,} rows where {REASONS[reason]}", when(open_us[rows[0]])
    backward = np.flatnonzero(np.diff(open_us) < 0)
    if len(backward):
        yield f"{len(backward):,} rows before the one above them", when(open_us[backward[0] + 1])
    months = open_us.astype("datetime64[us]").astype("datetime64[M]")
    outside = np.flatnonzero(months != np.datetime64(path.name[:7], "M"))
    if len(outside):
        yield f"{len(outside):,} rows of another month", when(open_us[outside[0]])


def _figures(folder: Path, sound: list[tuple[np.ndarray, int, set[str]]]) -> Series:
    times = np.concatenate([np.empty(0, np.int64), *(open_ms for open_ms, _, _ in sound)])
    steps = np.diff(times) // MINUTE_MS
    return Series(
        market=folder.parent.name,
        symbol=folder.name,
        months=len(sound),
        rows=len(times),
        first=from_ms(times[0]) if len(times) else None,
        last=from_ms(times[-1]) if len(times) else None,
        gaps=int(np.count_nonzero(steps > 1)),
        missing_minutes=int((steps - 1).sum()),
        rounded=sum(rounded for _, rounded, _ in sound),
        sources=tuple(sorted(set().union(*(sources for _, _, sources in sound)))),
    )
