"""Merging candles into a month of the lake: what is new, what is there, and what contradicts it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DataError
from tgtqr_lib.market import duck, sealed
from tgtqr_lib.market.reports import WriteReport
from tgtqr_lib.market.sanity import VALUES, numbers
from tgtqr_lib.market.series_id import SeriesId

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Two groups a month: a window unpacks one of them, and DuckDB reads a year with two threads. The second
# version of the format packs times and prices smaller, level 1 does it in half the time, and a dictionary
# is of use only to a month of one source.
PARQUET = (
    "FORMAT parquet, PARQUET_VERSION v2, COMPRESSION zstd, COMPRESSION_LEVEL 1, "
    "ROW_GROUP_SIZE 32768, DICTIONARY_SIZE_LIMIT 1, USE_TMP_FILE false"
)


@dataclass(frozen=True, eq=False)
class Batch:
    """Candles of one series on their way into the lake, each with its source.

    open_ms  (n,) int64, ms since the epoch, UTC, strictly increasing, on the series' grid
    values   the columns of `VALUES`, (n,) float64 of at most 6 decimals
    origin   (n,) int, the row's index in `sources`
    """

    series: SeriesId
    open_ms: np.ndarray
    values: Mapping[str, np.ndarray]
    origin: np.ndarray
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.open_ms)

    def __getitem__(self, rows: slice | np.ndarray) -> Batch:
        values = {name: column[rows] for name, column in self.values.items()}
        origin = self.origin[rows]
        return Batch(self.series, self.open_ms[rows], values, origin, self.sources)

    def months(self) -> Iterator[tuple[str, Batch]]:
        """The batch cut at the turn of months: ("2025-06", its rows) and so on."""
        months = self.open_ms.astype("datetime64[ms]").astype("datetime64[M]")
        cuts = np.flatnonzero(np.diff(months.astype(np.int64))) + 1
        for start, end in zip([0, *cuts], [*cuts, len(self)], strict=True):
            if end > start:
                yield str(months[start]), self[start:end]


@dataclass(frozen=True, slots=True)
class Staged:
    """One month of a batch: how it compares with the lake, and the checksum of its new file, if any."""

    month: str
    rows: int
    added: int = 0
    revised: int = 0
    checksum: str | None = None


def stage(
    cursor: DuckDBPyConnection, path: Path, month: str, batch: Batch, there: bool, revise: bool
) -> Staged:
    """Write the month file `path` as it will be with `batch` under its temporary name.

    there  whether `path` exists; the caller has compared it with its checksum and holds the lock
    Nothing is written when nothing would change. Raises `DataError` for a minute that is there with
    other values, unless `revise`.
    """
    paths = [duck.pattern(path)]
    known = np.zeros(len(batch), dtype=bool)
    differs = np.zeros(len(batch), dtype=bool)
    if there:
        query = f"SELECT epoch_ms(ts) AS open_ms, {', '.join(VALUES)} FROM read_parquet(?)"
        old = cursor.execute(query, [paths]).fetchnumpy()
        known = np.isin(batch.open_ms, old["open_ms"], assume_unique=True)
        at = np.searchsorted(old["open_ms"], batch.open_ms[known])
        for name in VALUES:
            differs[known] |= old[name][at] != batch.values[name][known]
        if differs.any() and not revise:
            row = int(np.argmax(differs))
            place = int(np.searchsorted(old["open_ms"], batch.open_ms[row]))
            query = "SELECT source FROM read_parquet(?) LIMIT 1 OFFSET ?"
            (source,) = cursor.execute(query, [paths, place]).fetchone()
            raise DataError(
                f"{batch.series}: the candle of {iso(from_ms(batch.open_ms[row]))} is "
                f"in the lake as {numbers(old, place)} ({source}) and came as "
                f"{numbers(batch.values, row)} ({batch.sources[batch.origin[row]]}); "
                f"{int(differs.sum()):,} such in {month}, expected none. Nothing was written; "
                f"--revise lets the new ones replace the old"
            )
    staged = Staged(month, len(batch), int((~known).sum()), int(differs.sum()))
    fresh = batch if not known.any() else batch[~known | differs]
    if not len(fresh):
        return staged
    rows, parameters = _new_rows(cursor, fresh)
    if there:
        kept = "SELECT * FROM read_parquet($paths) WHERE epoch_ms(ts) NOT IN (SELECT open_ms FROM incoming)"
        rows, parameters = f"{kept} UNION ALL {rows} ORDER BY ts", parameters | {"paths": paths}
    target = sealed.temporary(path)
    cursor.execute(f"COPY ({rows}) TO {duck.literal(target)} ({PARQUET})", parameters)
    return Staged(month, staged.rows, staged.added, staged.revised, sealed.finish(target))


def _new_rows(cursor: DuckDBPyConnection, fresh: Batch) -> tuple[str, dict]:
    """SQL for the rows of `fresh` as they lie in a file, in their order, and its parameters."""
    columns = {"open_ms": fresh.open_ms, **fresh.values}
    origin = np.unique(fresh.origin)
    if len(origin) == 1:  # as in nearly every file: no text a row
        source, parameters = "$source", {"source": fresh.sources[origin[0]]}
    else:
        columns["origin"] = fresh.origin
        source, parameters = "list_extract($sources, origin + 1)", {"sources": [*fresh.sources]}
    cursor.register("incoming", columns)
    values = ", ".join(VALUES)
    select = f"to_timestamp(open_ms / 1000) AS ts, {values}, {source} AS source"
    return f"SELECT {select} FROM incoming", parameters


def report(batch: Batch, months: list[Staged]) -> WriteReport:
    """The months of one batch added up."""
    added, revised = sum(m.added for m in months), sum(m.revised for m in months)
    written = tuple(m.month for m in months if m.checksum is not None)
    kept = len(batch) - added - revised
    series = batch.series
    names = (series.market, series.symbol, series.interval, series.mark)
    return WriteReport(*names, added, kept, revised, written)
