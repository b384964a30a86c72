"""The candle lake: one-minute candles as Parquet, a file a month, under `<root>/<market>/<symbol>/`.

A file `YYYY-MM.parquet` has the columns ts, open, high, low, close, volume and source, sorted by ts,
zstd. `ts` is the open time as a UTC TIMESTAMP: every engine reads it as the instant it is, where a bare
number would leave its unit to a guess. Prices and volume are float64, each the float nearest to a
decimal of at most 6 places, so they turn into integer steps and back without loss. `source` says where
a row came from.

Spot and perpetual share symbol strings and are different series: the market is part of the path and of
every call. `sealed.py` keeps the checksums and says what a crash leaves behind. A file is compared with
its checksum before a process first reads it, and again whenever it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np

from tgtqr_lib.clock import from_ms, iso, to_ms
from tgtqr_lib.domain import MINUTE_MS, Candles, DataError, DomainError, StoreError
from tgtqr_lib.market import duck, lake_check, merge, sealed
from tgtqr_lib.market.merge import Batch, Staged
from tgtqr_lib.market.reports import LakeReport, WriteReport
from tgtqr_lib.market.sanity import (
    MARKETS,
    MONTH_FILE,
    REASONS,
    SYMBOL,
    VALUES,
    faults,
    numbers,
)
from tgtqr_lib.market.source import PRICES
from tgtqr_lib.market.steps import from_steps, to_steps, to_units

READ_ATTEMPTS = 5  # a reader takes no lock; a month that is replaced while it reads is read again
WRITERS = 2  # threads that pack months

Progress = Callable[[int, int], None]
Columns = dict[str, np.ndarray]
NO_ROWS: Columns = {
    "open_ms": np.empty(0, dtype=np.int64),
    **{name: np.empty(0) for name in VALUES},
}


class Lake:
    """The candles under `root` (`<home>/data/candles`); reading takes no lock and holds up nobody."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._sound: dict[Path, tuple[sealed.Stamp, str]] = {}  # files that matched their checksum

    def read(self, symbol: str, start: datetime, end: datetime, market: str = "spot") -> Candles:
        """The candles that open in [start, end), oldest first; none when there are none.

        Prices are whole steps of the smallest power of ten that holds these candles exactly, of 1e-6
        at most (a file from elsewhere may have more: `verify` counts what is rounded). Raises
        `StoreError` when a file is damaged or lost, `DomainError` for a time without a zone or an
        unknown market.
        """
        rows = self._rows(symbol, market, _ms(start, "start"), _ms(end, "end"))
        return _candles(symbol, market, rows)

    def last(self, symbol: str, n: int, before: datetime, market: str = "spot") -> Candles:
        """The newest `n` candles that open before `before`, or as many as there are; oldest first.

        Opens the month of `before` and, only when that holds too few, earlier ones. Prices and errors
        are those of `read`.
        """
        if n < 1:
            raise DomainError(f"{symbol}: the last {n} candles were asked for, expected at least 1")
        end = _ms(before, "before")
        rows = self._rows(symbol, market, end - n * MINUTE_MS, end)
        if len(rows["open_ms"]) < n:  # minutes are missing: go back a month at a time
            parts = [NO_ROWS]
            for month in reversed([m for m in self.months(symbol, market) if m <= _month(end - 1)]):
                start, next_month = _month_ms(month), _month_ms(month, 1)
                parts.insert(0, self._rows(symbol, market, start, min(end, next_month)))
                if sum(len(part["open_ms"]) for part in parts) >= n:
                    break
            rows = {name: np.concatenate([part[name] for part in parts]) for name in NO_ROWS}
        return _candles(symbol, market, {name: column[-n:] for name, column in rows.items()})

    def months(self, symbol: str, market: str = "spot") -> tuple[str, ...]:
        """The months of a series, oldest first, such as ("2025-05", "2025-06").

        A month whose file was lost is among them; reading it raises `StoreError`.
        """
        folder = self._folder(symbol, market)
        if not folder.is_dir():
            return ()
        names = {entry.name for entry in folder.iterdir()} | set(sealed.sums(folder))
        return tuple(sorted(match[1] for name in names if (match := MONTH_FILE.fullmatch(name))))

    def verify(self) -> LakeReport:
        """Look at every file: all problems, each a sentence, and the figures of each series."""
        return lake_check.check(self.root, duck.cursor())

    def write(self, candles: Candles, source: str, *, revise: bool = False) -> WriteReport:
        """Add `candles` to their months; writing them twice equals writing them once.

        A minute that is there with the same values stays as it is, source and all. Raises `DataError`
        when it is there with others, unless `revise` says to replace it, and for a candle that cannot
        be (a high below its close, say); then nothing is written. Raises `StoreError` when a file of
        the lake is damaged or cannot be written, `Busy` when another process keeps on writing.
        """
        values = {name: from_steps(getattr(candles, name), candles.decimals) for name in PRICES}
        values["volume"] = from_steps(candles.volume, 6)
        odd = faults(candles.open_ms * 1000, values)
        if odd.any():
            row = int(np.argmax(odd > 0))
            raise DataError(
                f"{candles.symbol} {candles.market}: the candle of {iso(from_ms(candles.open_ms[row]))} "
                f"cannot be: {REASONS[odd[row]]} ({numbers(values, row)})"
            )
        origin = np.zeros(len(candles), dtype=np.int64)
        batch = Batch(candles.market, candles.symbol, candles.open_ms, values, origin, (source,))
        return self.store([batch], revise=revise)[0]

    def store(
        self, batches: Sequence[Batch], *, revise: bool = False, progress: Progress | None = None
    ) -> list[WriteReport]:
        """Merge whole batches, of one series each; a report for each of them.

        All new files are complete before the first takes its place, so an error leaves the lake as it
        was. Calls `progress(done, total)` in rows. Raises as `write` does.
        """
        folders = [self._folder(batch.symbol, batch.market) for batch in batches]
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

    def _folder(self, symbol: str, market: str) -> Path:
        if market not in MARKETS:
            raise DomainError(f"market {market!r} is unknown; expected one of {', '.join(MARKETS)}")
        if not SYMBOL.fullmatch(symbol):
            raise DomainError(f"symbol {symbol!r} is not a symbol; expected one like BTCUSDT")
        return self.root / market / symbol

    def _stage(self, folder: Path, revise: bool, cut: tuple[str, Batch]) -> Staged:
        month, rows = cut
        path = folder / f"{month}.parquet"
        there = bool(self._check(folder, [path]))
        return merge.stage(duck.cursor(), path, month, rows, there, revise)

    def _rows(self, symbol: str, market: str, start: int, end: int) -> Columns:
        """open_ms and the float columns of the minutes in [start, end) ms, oldest first."""
        folder, start = self._folder(symbol, market), max(start, 0)
        first, last = _month(start), _month(end - 1)
        months = [month for month in self.months(symbol, market) if first <= month <= last]
        if start >= end or not months:
            return NO_ROWS
        paths = [folder / f"{month}.parquet" for month in months]
        query = (
            f"SELECT epoch_ms(ts) AS open_ms, {', '.join(VALUES)} FROM read_parquet(?) "
            f"WHERE ts >= to_timestamp({start} / 1000) AND ts < to_timestamp({end} / 1000)"
        )
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                with duck.errors(StoreError, folder):
                    stamps = self._check(folder, paths)
                    rows = self._fetch(query, list(stamps))
            except StoreError:  # true damage, or a month was replaced in the middle of this
                if attempt == READ_ATTEMPTS:
                    raise
                continue
            if all(sealed.stamp(path) == stamp for path, stamp in stamps.items()):
                return rows
        raise StoreError(f"{folder}: a file was replaced each of {READ_ATTEMPTS} times it was read")

    def _fetch(self, query: str, paths: Sequence[Path]) -> Columns:
        if not paths:
            return NO_ROWS
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
                    raise StoreError(problem.text)
                if stamp is None or found is None:
                    continue
                self._sound[path] = (stamp, found)
            stamps[path] = stamp
        return stamps


def _candles(symbol: str, market: str, rows: Columns) -> Candles:
    """Float columns as whole steps. Raises `StoreError` when they are no candles."""
    try:
        prices, decimals, _ = to_steps(np.stack([rows[name] for name in PRICES]))
        volume, _ = to_units(rows["volume"], 6)
        columns = dict(zip(PRICES, prices, strict=True))
        return Candles(symbol, decimals, rows["open_ms"], volume=volume, market=market, **columns)
    except (DataError, DomainError) as error:  # right checksums, wrong content: made elsewhere
        raise StoreError(f"{symbol} {market}: the lake holds no candles here: {error}") from error


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
