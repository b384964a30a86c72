"""The candle lake: candles as Parquet, a file a month, a folder a series.

`<root>/spot/BTCUSDT/2025-06.parquet` holds one-minute candles of trades. Other intervals and the mark
price are series of their own in folders of their own (`linear-5m/BTCUSDT`, `linear-mark/BTCUSDT`; see
`series_id.py`), so nothing that looks for minutes can find anything else.

A file has the columns ts, open, high, low, close, volume and source, sorted by ts, zstd. `ts` is the open
time as a UTC TIMESTAMP: every engine reads it as the instant it is, where a bare number would leave its
unit to a guess. Prices and volume are float64, each the float nearest to a decimal of at most 6 places, so
they turn into integer steps and back without loss. `source` says where a row came from.

`sealed.py` keeps the checksums and says what a crash leaves behind; `gaps.py` keeps what the exchange does
not have. A file is compared with its checksum before a process first reads it, and again whenever it has
changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.domain import Candles, Damaged, DataError, DomainError, StoreError
from tgtqr_lib.market import duck, gaps, lake_check, merge, sealed
from tgtqr_lib.market.gaps import Gap
from tgtqr_lib.market.merge import Batch, Staged
from tgtqr_lib.market.reports import LakeReport, WriteReport
from tgtqr_lib.market.sanity import MONTH_FILE, VALUES, faults, numbers, reason
from tgtqr_lib.market.series_id import SeriesId
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import from_steps, to_steps, to_units

READ_ATTEMPTS = 5  # a reader takes no lock; a month that is replaced while it reads is read again
WRITERS = 2  # threads that pack months

Progress = Callable[[int, int], None]
Columns = dict[str, np.ndarray]
KEPT_RANGES = 4  # what `columns` read last stays in memory while its files do not change


@dataclass(frozen=True, eq=False)
class Steps:
    """Some columns of candles, oldest first, for whoever needs years of them at once.

    decimals  prices are whole steps of 10**-decimals quote per base
    open_ms   (n,) int64, ms since the epoch, UTC
    columns   name -> (n,) int64: prices in steps, volume in 1e-6 base; read-only
    """

    series: SeriesId
    decimals: int
    open_ms: np.ndarray
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.open_ms)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]


class Lake:
    """The candles under `root` (`<home>/data/candles`); reading takes no lock and holds up nobody.

    Everywhere: `market` is `spot` or `linear`, `interval` one of 1m, 5m, 15m and 1h, and `mark` means
    candles of the mark price instead of trades. Raises `DomainError` for any other.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._sound: dict[Path, tuple[sealed.Stamp, str]] = {}  # files that matched their checksum
        self._kept: OrderedDict[tuple, tuple[dict[Path, sealed.Stamp], Steps]] = OrderedDict()

    def read(
        self,
        symbol: str,
        start: datetime,
        end: datetime,
        market: str = "spot",
        *,
        interval: str = "1m",
        mark: bool = False,
    ) -> Candles:
        """The candles that open in [start, end), oldest first; none when there are none.

        Prices are whole steps of the smallest power of ten that holds these candles exactly, of 1e-6
        at most (a file from elsewhere may have more: `verify` counts what is rounded). Raises
        `StoreError` when a file is damaged or lost, `DomainError` for a time without a zone.
        """
        series = SeriesId(symbol, market, interval, mark)
        rows, _ = self._rows(series, _ms(start, "start"), _ms(end, "end"))
        return _candles(series, rows)

    def last(
        self,
        symbol: str,
        n: int,
        before: datetime,
        market: str = "spot",
        *,
        interval: str = "1m",
        mark: bool = False,
    ) -> Candles:
        """The newest `n` candles that open before `before`, or as many as there are; oldest first.

        Opens the month of `before` and, only when that holds too few, earlier ones. Prices and errors
        are those of `read`.
        """
        series = SeriesId(symbol, market, interval, mark)
        if n < 1:
            raise DomainError(f"{symbol}: the last {n} candles were asked for, expected at least 1")
        end = _ms(before, "before")
        rows, _ = self._rows(series, end - n * series.step_ms, end)
        if len(rows["open_ms"]) < n:  # some are missing: go back a month at a time
            parts = [_no_rows(VALUES)]
            for month in reversed([m for m in self._months(series) if m <= _month(end - 1)]):
                start, next_month = _month_ms(month), _month_ms(month, 1)
                parts.insert(0, self._rows(series, start, min(end, next_month))[0])
                if sum(len(part["open_ms"]) for part in parts) >= n:
                    break
            rows = {name: np.concatenate([part[name] for part in parts]) for name in rows}
        return _candles(series, {name: column[-n:] for name, column in rows.items()})

    def columns(
        self,
        symbol: str,
        start: datetime,
        end: datetime,
        columns: Sequence[str] = ("open", "close"),
        market: str = "spot",
        *,
        interval: str = "1m",
        mark: bool = False,
    ) -> Steps:
        """Some columns of the candles that `read` would give, without the rest.

        The last few answers stay in memory and are given again while no file has changed: their
        arrays are read-only. Errors are those of `read`.
        """
        series = SeriesId(symbol, market, interval, mark)
        if odd := [name for name in columns if name not in VALUES]:
            raise DomainError(f"column {odd[0]!r} is unknown; expected some of {', '.join(VALUES)}")
        bounds = _ms(start, "start"), _ms(end, "end")
        key = (series, *bounds, *sorted(columns))
        stamps, found = self._kept.get(key, ({}, None))
        if found is not None and stamps == self._stamps(series, *bounds):
            self._kept.move_to_end(key)
            return found
        rows, stamps = self._rows(series, *bounds, tuple(sorted(columns)), quick=True)
        self._kept[key] = stamps, _quick_steps(series, rows)
        while len(self._kept) > KEPT_RANGES:
            self._kept.popitem(last=False)
        return self._kept[key][1]

    def months(
        self, symbol: str, market: str = "spot", *, interval: str = "1m", mark: bool = False
    ) -> tuple[str, ...]:
        """The months of a series, oldest first, such as ("2025-05", "2025-06").

        A month whose file was lost is among them; reading it raises `StoreError`.
        """
        return self._months(SeriesId(symbol, market, interval, mark))

    def origins(self, series: SeriesId, start_ms: int, end_ms: int) -> list[tuple[str, np.ndarray]]:
        """Each source of the candles in [start_ms, end_ms), with the open times (ms) it stands for."""
        rows, _ = self._rows(series, start_ms, end_ms, ("source",))
        sources, origin = np.unique(rows["source"].astype(str), return_inverse=True)
        times = rows["open_ms"]
        return [(str(source), times[origin == i]) for i, source in enumerate(sources)]

    def gaps(self, series: SeriesId) -> tuple[Gap, ...]:
        """What an exchange said it does not have of the series."""
        return gaps.read(self.root / series.folder)

    def note_gaps(self, series: SeriesId, found: Iterable[Gap]) -> None:
        """Keep `found` among the gaps on record; noting them twice equals noting them once."""
        folder, found = self.root / series.folder, list(found)
        if not found:
            return
        with sealed.locked(folder), duck.errors(StoreError, folder):
            sealed.settle(folder)
            old = gaps.read(folder)
            if gaps.joined([*old, *found]) != list(old):
                sealed.replace(folder, gaps.stage(folder, [*old, *found]))

    def forget_gaps(self, series: SeriesId, start_ms: int, end_ms: int, source: str) -> None:
        """Take [start_ms, end_ms) out of what `source` is on record as not having."""
        folder = self.root / series.folder
        if not folder.is_dir():
            return
        with sealed.locked(folder), duck.errors(StoreError, folder):
            sealed.settle(folder)
            old = gaps.read(folder)
            kept = [part for gap in old for part in gap.without(start_ms, end_ms, source)]
            if kept != list(old):
                sealed.replace(folder, gaps.stage(folder, kept))

    def verify(self) -> LakeReport:
        """Look at every file: all problems, each a sentence, and the figures of each series."""
        return lake_check.check(self.root, duck.cursor())

    def write(
        self,
        candles: Candles,
        source: str,
        *,
        revise: bool = False,
        interval: str = "1m",
        mark: bool = False,
    ) -> WriteReport:
        """Add `candles` to their months; writing them twice equals writing them once.

        A minute that is there with the same values stays as it is, source and all. Raises `DataError`
        when it is there with others, unless `revise` says to replace it, and for a candle that cannot
        be (a high below its close, say); then nothing is written. Raises `StoreError` when a file of
        the lake is damaged or cannot be written, `Busy` when another process keeps on writing.
        """
        series = SeriesId(candles.symbol, candles.market, interval, mark)
        values = {name: from_steps(getattr(candles, name), candles.decimals) for name in PRICES}
        values["volume"] = from_steps(candles.volume, 6)
        odd = faults(candles.open_ms * 1000, values, series.step_ms * 1000)
        if odd.any():
            row = int(np.argmax(odd > 0))
            raise DataError(
                f"{series}: the candle of {iso(from_ms(candles.open_ms[row]))} "
                f"cannot be: {reason(odd[row], interval)} ({numbers(values, row)})"
            )
        origin = np.zeros(len(candles), dtype=np.int64)
        batch = Batch(series, candles.open_ms, values, origin, (source,))
        return self.store([batch], revise=revise)[0]

    def store(
        self, batches: Sequence[Batch], *, revise: bool = False, progress: Progress | None = None
    ) -> list[WriteReport]:
        """Merge whole batches, of one series each; a report for each of them.

        All new files are complete before the first takes its place, so an error leaves the lake as it
        was. Calls `progress(done, total)` in rows. Raises as `write` does.
        """
        folders = [self.root / batch.series.folder for batch in batches]
        if len(set(folders)) < len(folders):
            raise DomainError("two batches of one series came together; expected one a series")
        total, done = sum(len(batch) for batch in batches), 0
        staged: list[list[Staged]] = [[] for _ in batches]
        with ExitStack() as stack, duck.errors(StoreError, self.root):
            for folder, _ in sorted((f, i) for i, f in enumerate(folders) if len(batches[i])):
                stack.enter_context(sealed.locked(folder))
                sealed.settle(folder)
                stack.callback(sealed.discard, folder)
            pool = ThreadPoolExecutor(WRITERS)
            stack.callback(pool.shutdown, cancel_futures=True)
            for batch, folder, months in zip(batches, folders, staged, strict=True):
                for month in pool.map(partial(self._stage, folder, revise), batch.months()):
                    months.append(month)
                    done += month.rows
                    if progress is not None:
                        progress(done, total)
            for folder, months in zip(folders, staged, strict=True):
                new = {f"{m.month}.parquet": m.checksum for m in months if m.checksum is not None}
                sealed.replace(folder, new)
        return [merge.report(batch, months) for batch, months in zip(batches, staged, strict=True)]

    def _months(self, series: SeriesId) -> tuple[str, ...]:
        folder = self.root / series.folder
        if not folder.is_dir():
            return ()
        names = {entry.name for entry in folder.iterdir()} | set(sealed.sums(folder))
        return tuple(sorted(match[1] for name in names if (match := MONTH_FILE.fullmatch(name))))

    def _paths(self, series: SeriesId, start: int, end: int) -> list[Path]:
        """The files that candles in [start, end) ms may lie in."""
        if (start := max(start, 0)) >= end:
            return []
        first, last, folder = _month(start), _month(end - 1), self.root / series.folder
        return [folder / f"{m}.parquet" for m in self._months(series) if first <= m <= last]

    def _stamps(self, series: SeriesId, start: int, end: int) -> dict[Path, sealed.Stamp | None]:
        return {path: sealed.stamp(path) for path in self._paths(series, start, end)}

    def _stage(self, folder: Path, revise: bool, cut: tuple[str, Batch]) -> Staged:
        month, rows = cut
        path = folder / f"{month}.parquet"
        there = bool(self._check(folder, [path]))
        return merge.stage(duck.cursor(), path, month, rows, there, revise)

    def _rows(
        self,
        series: SeriesId,
        start: int,
        end: int,
        names: Sequence[str] = VALUES,
        quick: bool = False,
    ) -> tuple[Columns, dict[Path, sealed.Stamp]]:
        """open_ms and the columns `names` of the candles in [start, end) ms, oldest first; the files.

        `quick` reads years in a third of the time, and costs an import that a tick does without.
        """
        folder, paths = self.root / series.folder, self._paths(series, start, end)
        if not paths:
            return _no_rows(names), {}
        query = (
            f"SELECT epoch_ms(ts) AS open_ms, {', '.join(names)} FROM read_parquet(?) "
            f"WHERE ts >= to_timestamp({max(start, 0)} / 1000) AND ts < to_timestamp({end} / 1000)"
        )
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                with duck.errors(StoreError, folder):
                    stamps = self._check(folder, paths)
                    rows = _no_rows(names)
                    if stamps and quick:
                        rows = _scan(list(stamps), names, start, end)
                    elif stamps:
                        rows = self._fetch(query, list(stamps))
            except StoreError:  # true damage, or a month was replaced in the middle of this
                if attempt == READ_ATTEMPTS:
                    raise
                continue
            if all(sealed.stamp(path) == stamp for path, stamp in stamps.items()):
                return rows, stamps
        raise StoreError(f"{folder}: a file was replaced each of {READ_ATTEMPTS} times it was read")

    def _fetch(self, query: str, paths: Sequence[Path]) -> Columns:
        patterns = [duck.pattern(path) for path in paths]
        return duck.cursor().execute(query, [patterns]).fetchnumpy()

    def _check(self, folder: Path, paths: Sequence[Path]) -> dict[Path, sealed.Stamp]:
        """Those of `paths` that are there, each one compared with its checksum in this process."""
        lines = sealed.sums(folder)
        stamps: dict[Path, sealed.Stamp] = {}
        for path in paths:
            checksums = lines.get(path.name, ())
            stamp = sealed.stamp(path)
            known, checksum = self._sound.get(path, (None, ""))
            if stamp is None or stamp != known or checksum not in checksums:
                found, problem = sealed.look(path, checksums)
                if problem is not None:
                    raise Damaged(problem.text)
                if stamp is None or found is None:
                    continue
                self._sound[path] = (stamp, found)
            stamps[path] = stamp
        return stamps


def _scan(paths: Sequence[Path], names: Sequence[str], start: int, end: int) -> Columns:
    """The same as the query of `_rows`, by Polars. Raises `StoreError` when a file cannot be read."""
    import polars as pl

    try:
        found = (
            pl.scan_parquet(list(paths), glob=False)
            .select(pl.col("ts").dt.epoch("ms").alias("open_ms"), *names)
            .collect()
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"{paths[0].parent}: cannot be read or written: {reason}") from error
    rows = {name: found[name].to_numpy() for name in found.columns}
    first, last = np.searchsorted(rows["open_ms"], [max(start, 0), end])
    return {name: column[first:last] for name, column in rows.items()}


def _no_rows(names: Iterable[str]) -> Columns:
    return {"open_ms": np.empty(0, dtype=np.int64), **{name: np.empty(0) for name in names}}


def _candles(series: SeriesId, rows: Columns) -> Candles:
    """Float columns as candles in whole steps. Raises `StoreError` when they are none."""
    try:
        found = _steps(series, rows)
        return Candles(
            series.symbol, found.decimals, found.open_ms, market=series.market, **found.columns
        )
    except DomainError as error:  # right checksums, wrong content: made elsewhere
        raise StoreError(f"{series}: the lake holds no candles here: {error}") from error


def _steps(series: SeriesId, rows: Columns) -> Steps:
    """Float columns as whole steps, in the fewest decimals that hold them."""
    prices = [name for name in rows if name in PRICES]
    columns, decimals = {}, 0
    try:
        if prices:
            steps, decimals, _ = to_steps(np.stack([rows[name] for name in prices]))
            columns = dict(zip(prices, steps, strict=True))
        if "volume" in rows:
            columns["volume"], _ = to_units(rows["volume"], 6)
    except DataError as error:
        raise StoreError(f"{series}: the lake holds no candles here: {error}") from error
    for column in (rows["open_ms"], *columns.values()):
        column.flags.writeable = False
    return Steps(series, decimals, rows["open_ms"], columns)


def _quick_steps(series: SeriesId, rows: Columns) -> Steps:
    """`_steps`, compiled."""
    from tgtqr_lib.backtest.exact import price_steps

    prices = [name for name in rows if name in PRICES]
    if not prices or not len(rows["open_ms"]):
        return _steps(series, rows)
    try:
        steps, decimals, _ = price_steps(*(rows[name] for name in prices))
        columns = dict(zip(prices, steps, strict=True))
        if "volume" in rows:
            columns["volume"], _ = to_units(rows["volume"], 6)
    except DataError as error:
        raise StoreError(f"{series}: the lake holds no candles here: {error}") from error
    open_ms = rows["open_ms"]
    for column in (open_ms, *columns.values()):
        column.flags.writeable = False
    return Steps(series, decimals, open_ms, columns)


def _ms(moment: datetime, name: str) -> int:
    """The first whole ms at or after `moment`, so that a bound means what it says."""
    if moment.tzinfo is None:
        raise DomainError(f"{name} {moment.isoformat()} has no time zone; expected UTC")
    ms = to_ms(moment)
    return ms if from_ms(ms) == moment else ms + 1


def _month(ms: int) -> str:
    """The month that `ms` since the epoch lies in, such as "2025-06"."""
    return str(np.datetime64(ms, "ms").astype("datetime64[M]"))


def _month_ms(month: str, later: int = 0) -> int:
    """When `month`, or the one `later` months on, begins: ms since the epoch."""
    return int((np.datetime64(month, "M") + later).astype("datetime64[ms]").astype(np.int64))
