"""Bringing a file of one-minute candles into the lake: every row is judged, none is repaired."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tgtqr_lib.domain import MAX_DECIMALS, DataError, DomainError
from tgtqr_lib.market import duck
from tgtqr_lib.market.candles import Columns, Lake, Progress
from tgtqr_lib.market.merge import Batch
from tgtqr_lib.market.reports import ImportReport, Refusal
from tgtqr_lib.market.sanity import (
    MARKETS,
    MINUTE_US,
    MISSING,
    REASONS,
    REPEATED,
    SYMBOL,
    VALUES,
    faults,
    numbers,
    when,
)
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import from_steps, to_units

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTED_REFUSALS = 20
MARKET_WORDS = {"spot": "spot", "linear": "linear", "usdm": "linear"}
OTHER_MINUTES = {3, 5, 10, 15, 30, 60, 120, 240, 360, 480, 720, 1440, 4320, 10080}
NEEDED = ("ts", *VALUES)
# A 32-bit float is not the decimal it came from, and text is a matter of another format.
EXACT_TYPES = re.compile(r"DOUBLE|DECIMAL\(.*\)|U?(TINY|SMALL|BIG)?INT(EGER)?")


def import_file(
    path: Path | str,
    lake: Lake,
    *,
    symbol: str | None = None,
    market: str | None = None,
    source: str | None = None,
    revise: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Import a Parquet file of one-minute candles, and say what came of it.

    The columns are ts (a timestamp, UTC when it has no zone), open, high, low, close and volume, and
    when they are there symbol and source.

    symbol    the name to store a file of one symbol under. Without it symbols keep their own: BTCUSD,
              priced in dollars, is another series than BTCUSDT
    market    `spot` or `linear`. Without it the column `source` says so before its first semicolon
              (`bybit linear; ...`), or else the file's name; the word `usdm` means linear
    source    what the lake notes as every row's origin, instead of the column `source`
    revise    let minutes that the lake has with other values be replaced
    progress  is called with rows done and rows in all

    Wrong rows are refused and the others imported; of rows with the same time the first good one
    counts. Numbers with more than 6 decimals are rounded to 6, and counted. Raises `DataError` for a
    file that is not what was expected or contradicts the lake, and whatever `Lake.write` raises: the
    lake is as it was then.
    """
    path = Path(path)
    with duck.errors(DataError, path.name):
        file = _open(path, duck.cursor())
        market, notes = _market(file, market)
        stored = _stored_names(file, symbol)
        parts = [_judge(file, name, stored[name], market, source) for name in stored]
    writes = lake.store([p.batch for p in parts if len(p.batch)], revise=revise, progress=progress)
    refusals = sorted((r for part in parts for r in part.refusals), key=lambda r: r.row)
    reasons = sum((part.reasons for part in parts), Counter())
    return ImportReport(
        file=path.name,
        rows=file.rows,
        writes=tuple(writes),
        refused=reasons.total(),
        reasons=dict(reasons),
        refusals=tuple(refusals[:LISTED_REFUSALS]),
        rounded_prices=sum(part.rounded_prices for part in parts),
        rounded_volumes=sum(part.rounded_volumes for part in parts),
        notes=notes,
    )


@dataclass(frozen=True)
class _File:
    """A Parquet file with the columns of candles; no `symbols` or `sources`: no such column.

    rows              how many
    symbols, sources  what stands in these columns, None where a row has none
    """

    path: Path
    cursor: DuckDBPyConnection
    rows: int
    symbols: tuple[str | None, ...]
    sources: tuple[str | None, ...]

    def query(self, columns: str, rest: str, **parameters: object) -> DuckDBPyConnection:
        """`SELECT columns FROM this file rest`."""
        sql = f"SELECT {columns} FROM read_parquet($path, file_row_number = true) {rest}"
        return self.cursor.execute(sql, {"path": duck.pattern(self.path), **parameters})


def _open(path: Path, cursor: DuckDBPyConnection) -> _File:
    """Raises `DataError` for anything but a Parquet file with the columns of candles and some rows."""
    expected = f"expected one-minute candles as Parquet: {', '.join(NEEDED)}, symbol, source"
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; {expected}")
    with path.open("rb") as opened:
        if (head := opened.read(4)) != b"PAR1":
            what = f"begins with {head!r}" if head else "is empty"
            raise DataError(f"{path.name}: is no Parquet file, it {what}; {expected}")
    glob = [duck.pattern(path)]
    described = cursor.execute("DESCRIBE SELECT * FROM read_parquet(?)", glob).fetchall()
    kinds = {name: kind for name, kind, *_ in described}
    if missing := [name for name in NEEDED if name not in kinds]:
        hint = " (funding rates, it seems)" if "rate" in kinds else ""
        lacks = f"has no column {', '.join(missing)} but {', '.join(kinds)}{hint}"
        raise DataError(f"{path.name}: {lacks}; {expected}")
    if not kinds["ts"].startswith("TIMESTAMP"):
        raise DataError(f"{path.name}: column ts is {kinds['ts']}; expected TIMESTAMP, in UTC")
    for name in VALUES:
        if not EXACT_TYPES.fullmatch(kinds[name]):
            raise DataError(f"{path.name}: column {name} is {kinds[name]}; expected DOUBLE")
    counted = cursor.execute("SELECT count(*) FROM read_parquet(?)", glob).fetchone()
    if counted == (0,):
        raise DataError(f"{path.name}: has no rows; {expected}")
    distinct = {"symbol": (), "source": ()}
    for name in distinct.keys() & kinds.keys():
        query = f"SELECT DISTINCT {name}::VARCHAR FROM read_parquet(?) ORDER BY 1 NULLS LAST"
        distinct[name] = tuple(value for (value,) in cursor.execute(query, glob).fetchall())
    return _File(path, cursor, counted[0], distinct["symbol"], distinct["source"])


def _market(file: _File, given: str | None) -> tuple[str, tuple[str, ...]]:
    """The market of the file's candles, and what to note of it."""
    origins = {(source or "").partition(";")[0] for source in file.sources}
    named = _words(origins) or _words({file.path.stem})
    if given is not None and given not in MARKETS:
        raise DomainError(f"market {given!r} is unknown; expected one of {', '.join(MARKETS)}")
    if given is not None:
        others = [name for name in sorted(named) if name != given]
        note = f"The file calls its candles {', '.join(others)}; stored as {given}, as you said."
        return given, (note,) if others else ()
    if len(named) != 1:
        found = f"names {' and '.join(sorted(named))}" if named else "does not say"
        raise DataError(
            f"{file.path.name}: the market is not clear, the file {found}; say spot or linear"
        )
    return named.pop(), ()


def _words(texts: set[str]) -> set[str]:
    """The markets that are named in `texts`."""
    found = {word for text in texts for word in re.findall("[a-z]+", text.lower())}
    return {market for word, market in MARKET_WORDS.items() if word in found}


def _stored_names(file: _File, given: str | None) -> dict[str | None, str]:
    """A symbol in the file -> its name in the lake; None stands for rows that name no symbol."""
    names = [name for name in file.symbols if name is not None]
    if given is None and not names:
        raise DataError(f"{file.path.name}: names no symbol; say which one it is, such as BTCUSDT")
    if given is not None and len(names) > 1:
        raise DataError(
            f"{file.path.name}: holds {', '.join(names)}; expected one to store as {given}"
        )
    stored: dict[str | None, str] = {name: given or name for name in names}
    if odd := [name for name in stored.values() if not SYMBOL.fullmatch(name)]:
        raise DataError(f"{file.path.name}: {odd[0]!r} is no symbol; say one like BTCUSDT instead")
    if len(names) < len(file.symbols) or not names:
        stored[None] = given or "no symbol"
    return stored


@dataclass(frozen=True)
class _Part:
    """The rows of one symbol, judged."""

    batch: Batch
    reasons: Counter[str]
    refusals: list[Refusal]
    rounded_prices: int
    rounded_volumes: int


def _judge(file: _File, name: str | None, symbol: str, market: str, source: str | None) -> _Part:
    """The good rows of a symbol in order of time, and why the others are not good.

    Raises `DataError` when the rows are not a minute apart.
    """
    columns, lacks, sources = _read(file, name, source)
    open_us = columns["open_us"]
    _expect_minutes(f"{file.path.name}, {symbol}", open_us[~lacks["ts"]])
    reasons = faults(open_us, columns)
    reasons[np.logical_or.reduce(list(lacks.values()))] = MISSING
    good = np.flatnonzero(reasons == 0)
    good = good[np.argsort(open_us[good], kind="stable")]
    again = np.zeros(len(good), dtype=bool)
    again[1:] = np.diff(open_us[good]) == 0
    reasons[good[again]] = REPEATED
    good = good[~again]

    values, rounded = {}, {}
    for column in VALUES:
        units, rounded[column] = to_units(columns[column][good], MAX_DECIMALS)
        values[column] = from_steps(units, MAX_DECIMALS)
    wrong = np.flatnonzero(reasons)
    kinds, counts = np.unique(reasons[wrong], return_counts=True)
    return _Part(
        batch=Batch(
            market, symbol, open_us[good] // 1000, values, columns["origin"][good], sources
        ),
        reasons=Counter({REASONS[k]: int(n) for k, n in zip(kinds, counts, strict=True)}),
        refusals=[
            Refusal(int(columns["row"][i]), symbol, _why(reasons[i], i, columns, lacks))
            for i in wrong[:LISTED_REFUSALS]
        ],
        rounded_prices=sum(rounded[column] for column in PRICES),
        rounded_volumes=rounded["volume"],
    )


def _why(reason: int, i: int, columns: Columns, lacks: Columns) -> str:
    """Reason and numbers of the refused row `i`, counted from 0 in `columns`."""
    if reason == MISSING:
        return f"{REASONS[reason]}: {', '.join(name for name in lacks if lacks[name][i])}"
    return f"{REASONS[reason]}: {when(columns['open_us'][i])}, {numbers(columns, i)}"


def _read(
    file: _File, name: str | None, source: str | None
) -> tuple[Columns, Columns, tuple[str, ...]]:
    """The rows of a symbol in the file's order, a mask for each column of what is missing, the sources.

    The rows are row (its number, from 1), open_us, `VALUES`, and origin, an index into the sources.
    """
    sources, origin, where, parameters = (source or file.path.name,), "0", "", {}
    if source is None and file.sources:
        sources = tuple(text for text in file.sources if text is not None)
        origin = "list_position($sources, source::VARCHAR) - 1"
        parameters["sources"] = list(sources)
    if file.symbols:
        where = "WHERE symbol::VARCHAR IS NOT DISTINCT FROM $symbol"
        parameters["symbol"] = name
    values = ", ".join(f"{column}::DOUBLE AS {column}" for column in VALUES)
    select = f"file_row_number + 1 AS row, epoch_us(ts) AS open_us, {values}, {origin} AS origin"
    rows = file.query(select, where, **parameters).fetchnumpy()
    named = {"ts": "open_us", **{column: column for column in VALUES}, "source": "origin"}
    lacks = {column: np.ma.getmaskarray(rows[key]) for column, key in named.items()}
    lacks["symbol"] = np.full(len(rows["row"]), name is None and bool(file.symbols))
    return {key: np.ma.getdata(column) for key, column in rows.items()}, lacks, sources


def _expect_minutes(what: str, open_us: np.ndarray) -> None:
    """Raise `DataError` when the most frequent distance is that of other candles than a minute's."""
    distances = np.diff(np.sort(open_us))
    if np.count_nonzero(distances == MINUTE_US) * 2 > len(distances):
        return  # as in nearly every file; to count all distances would take as long as the import
    found, counts = np.unique(distances[distances > 0], return_counts=True)
    if not len(found):
        return
    interval_us = int(found[np.argmax(counts)])
    minutes, rest = divmod(interval_us, MINUTE_US)
    if interval_us < MINUTE_US or (minutes in OTHER_MINUTES and not rest):
        found = f"{minutes} minutes" if minutes else f"{interval_us / 1e6:g} s"
        raise DataError(f"{what}: the candles are {found} apart; expected 1 minute")
