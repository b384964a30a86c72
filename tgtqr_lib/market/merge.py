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

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Two groups a month: a window unpacks one of them, and DuckDB reads a year with two threads.
PARQUET = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 32768, USE_TMP_FILE false"
NEW_ROWS = f"""
    SELECT to_timestamp(open_ms / 1000) AS ts, {", ".join(VALUES)},
           list_extract($sources, origin + 1) AS source
    FROM incoming"""


@dataclass(frozen=True, eq=False)
class Batch:
    """Candles of one series on their way into the lake, each with its source.

    open_ms  (n,) int64, ms since the epoch, UTC, strictly increasing whole minutes
    values   the columns of `VALUES`, (n,) float64 of at most 6 decimals
    origin   (n,) int, the row's index in `sources`
    """

    market: str
    symbol: str
    open_ms: np.ndarray
    values: Mapping[str, np.ndarray]
    origin: np.ndarray
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.open_ms)

    def __getitem__(self, rows: slice | np.ndarray) -> Batch:
        values = {name: column[rows] for name, column in self.values.items()}
        origin = self.origin[rows]
        return Batch(self.market, self.symbol, self.open_ms[rows], values, origin, self.sources)

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
                f"{batch.symbol} {batch.market}: the candle of {iso(from_ms(batch.open_ms[row]))} is "
                f"in the lake as {numbers(old, place)} ({source}) and came as "
                f"{numbers(batch.values, row)} ({batch.sources[batch.origin[row]]}); "
                f"{int(differs.sum()):,} such in {month}, expected none. Nothing was written; revise "
                f"to let the new ones replace the old"
            )
    staged = Staged(month, len(batch), int((~known).sum()), int(differs.sum()))
    fresh = batch[~known | differs]
    if not len(fresh):
        return staged
    cursor.register("incoming", {"open_ms": fresh.open_ms, **fresh.values, "origin": fresh.origin})
    rows, parameters = NEW_ROWS, {"sources": list(batch.sources)}
    if there:
        kept = "SELECT * FROM read_parquet($paths) WHERE epoch_ms(ts) NOT IN (SELECT open_ms FROM incoming)"
        rows, parameters = f"{kept} UNION ALL {NEW_ROWS}", parameters | {"paths": paths}
    target = sealed.temporary(path)
    cursor.execute(f"COPY ({rows} ORDER BY ts) TO {duck.literal(target)} ({PARQUET})", parameters)
    return Staged(month, staged.rows, staged.added, staged.revised, sealed.finish(target))


def report(batch: Batch, months: list[Staged]) -> WriteReport:
    """The months of one batch added up."""
    added, revised = sum(m.added for m in months), sum(m.revised for m in months)
    written = tuple(m.month for m in months if m.checksum is not None)
    kept = len(batch) - added - revised
    return WriteReport(batch.market, batch.symbol, added, kept, revised, written)
