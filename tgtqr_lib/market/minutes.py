"""Years of recorded minutes from Parquet files, as a backtest needs them: times, opens and closes alone.

Polars reads these three columns of a year in a third of the processor time that DuckDB takes to hand them over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tgtqr_lib.backtest.exact import price_steps, whole_minutes
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DataError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.recorded import ALIASES

NEEDED = ("ts", "open", "close")
PER_MS = {"ns": 1_000_000, "us": 1_000, "ms": 1}


@dataclass(frozen=True, eq=False)
class Minutes:
    """One symbol's minutes, oldest first.

    decimals     prices are whole steps of 10**-decimals quote per base
    open_ms      (n,) int64, ms since the epoch, UTC, strictly increasing whole minutes
    open, close  (n,) int64, price steps
    rounded      how many prices have more than 6 decimals and were rounded to 6
    """

    symbol: str
    decimals: int
    open_ms: np.ndarray
    open: np.ndarray
    close: np.ndarray
    rounded: int

    def __len__(self) -> int:
        return len(self.open_ms)


def read_minutes(
    paths: Sequence[Path], symbol: str, start_ms: int | None = None, end_ms: int | None = None
) -> Minutes:
    """The minutes of `symbol` in [start_ms, end_ms), all `paths` taken as one series.

    A file has the columns ts, open and close, and symbol unless it holds one series only. Raises `DataError`
    for a file that cannot be read or has other columns or another interval, a symbol that is not there, a
    minute twice, and a time or price that cannot be.
    """
    label = ", ".join(path.name for path in paths)
    times, unit, opens, closes = _columns(paths, symbol, label)
    if len(times) and not (opens.dtype == closes.dtype == np.float64):
        opens, closes = opens.astype(np.float64), closes.astype(np.float64)
    open_ms = np.empty(len(times), np.int64)
    odd, rises = whole_minutes(times, PER_MS[unit], open_ms)
    if odd >= 0:
        raise DataError(f"{label}: the time at row {odd} of {symbol} is no whole minute after 1970")
    if not rises:
        order = np.argsort(open_ms, kind="stable")
        open_ms, opens, closes = open_ms[order], opens[order], closes[order]
    _check_intervals(open_ms, f"{label}, {symbol}")
    if start_ms is not None or end_ms is not None:
        low = np.searchsorted(open_ms, start_ms or 0)
        high = len(open_ms) if end_ms is None else np.searchsorted(open_ms, end_ms)
        open_ms, opens, closes = open_ms[low:high], opens[low:high], closes[low:high]
    try:
        (open_steps, close_steps), decimals, rounded = price_steps(opens, closes)
    except DataError as error:
        raise DataError(f"{label}, {symbol}: {error}") from None
    return Minutes(symbol, decimals, open_ms, open_steps, close_steps, rounded)


def _columns(
    paths: Sequence[Path], symbol: str, label: str
) -> tuple[np.ndarray, str, np.ndarray, np.ndarray]:
    """Times as integers, their unit, opens and closes; in the files' order."""
    import polars as pl  # here, because most commands do without it

    try:
        frame = pl.scan_parquet([Path(path) for path in paths], glob=False)
        types = frame.collect_schema()
        unit = _check_layout(types, label)
        columns = pl.col("ts").to_physical(), "open", "close"
        names = [symbol, *(name for name, ours in ALIASES.items() if ours == symbol)]
        for name in names:
            rows = frame.filter(pl.col("symbol") == name) if "symbol" in types else frame
            found = rows.select(*columns).collect()
            if len(found):
                break
        if not len(found):
            _tell_what_is_there(pl, paths, symbol, label)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{label}: cannot be read as Parquet: {str(error).splitlines()[0]}"
        ) from None
    empty = {name: found[name].null_count() for name in NEEDED}
    if any(empty.values()):
        name = max(empty, key=empty.__getitem__)
        raise DataError(f"{label}, {symbol}: column {name} is empty in {empty[name]:,} rows")
    return found["ts"].to_numpy(), unit, found["open"].to_numpy(), found["close"].to_numpy()


def _check_layout(types: Mapping[str, object], label: str) -> str:
    """The unit of the times."""
    if missing := [name for name in NEEDED if name not in types]:
        raise DataError(
            f"{label}: has no column {', '.join(missing)}; expected {', '.join(NEEDED)}"
        )
    unit = getattr(types["ts"], "time_unit", None)
    if unit is None:
        raise DataError(f"{label}: column ts is {types['ts']}, expected a timestamp")
    for name in ("open", "close"):
        if not types[name].is_numeric():
            raise DataError(f"{label}: column {name} is {types[name]}, expected numbers")
    return unit


def _tell_what_is_there(pl, paths: Sequence[Path], symbol: str, label: str) -> None:
    frame = pl.scan_parquet([Path(path) for path in paths], glob=False)
    if "symbol" not in frame.collect_schema():
        raise DataError(f"{label}: holds no candle")
    names = frame.select(pl.col("symbol").unique()).collect()["symbol"].to_list()
    there = {ALIASES.get(name, name) for name in names}
    known = [name for name in SYMBOLS if name in there] or sorted(map(str, names))
    raise DataError(f"{symbol}: not in {label}, expected one of {', '.join(known) or 'none'}")


def _check_intervals(open_ms: np.ndarray, label: str) -> None:
    steps = np.diff(open_ms)
    if len(steps) and (least := int(steps.min())) != MINUTE_MS:
        if least == 0:
            twice = iso(from_ms(int(open_ms[:-1][steps == 0][0])))
            raise DataError(f"{label}: two candles open at {twice}, expected one")
        raise DataError(f"{label}: candles are {least // MINUTE_MS} minutes apart, expected 1")
