"""Recorded one-minute candles from Parquet files, as a source of prices for the simulator.

A file gives prices only: whatever venue it came from, the simulator serves them as its own. Its columns
are ts (a time with a zone), open, high, low, close, volume, symbol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DataError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market import duck
from tgtqr_lib.market.source import CANDLE, PRICES
from tgtqr_lib.market.steps import to_steps, to_units

COLUMNS = ("ts", *PRICES, "volume", "symbol")
ALIASES = {"BTCUSD": "BTCUSDT", "ETHUSD": "ETHUSDT"}  # dollars stand for tethers


class RecordedSource:
    """A `CandleSource` that holds whole files in memory, 48 bytes a candle.

    rounded   symbol -> how many of its prices have more than 6 decimals and were rounded to 6
    """

    def __init__(self, *paths: str | Path) -> None:
        """Reads the files at once, all of them as one series a symbol.

        DataError for a file that cannot be read, has other columns, another interval than a minute, an
        unknown symbol, a minute twice, or a price or volume that cannot be.
        """
        if not paths:
            raise DataError("recorded candles: no file named")
        self.name = f"recorded candles, {', '.join(Path(path).name for path in paths)}"
        self.rounded: dict[str, int] = {}
        self._decimals: dict[str, int] = {}
        self._rows: dict[str, np.ndarray] = {}
        for symbol, columns in _read([Path(path) for path in paths], self.name):
            _check(columns, f"{self.name}, {symbol}")
            prices = np.stack([columns[name] for name in PRICES])
            steps, self._decimals[symbol], self.rounded[symbol] = to_steps(prices)
            rows = np.empty(len(prices[0]), CANDLE)
            rows["open_ms"] = columns["open_ms"]
            rows["volume"], _ = to_units(columns["volume"], 6)
            for name, column in zip(PRICES, steps, strict=True):
                rows[name] = column
            rows.flags.writeable = False
            self._rows[symbol] = rows
        if not self._rows:
            raise DataError(f"{self.name}: holds no candle")
        self.symbols = tuple(self._rows)

    def price_decimals(self, symbol: str) -> int:
        """The fewest decimals that hold every price of the symbol, at most 6; DataError when unknown."""
        self._known(symbol)
        return self._decimals[symbol]

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        """See `CandleSource`."""
        rows = self._known(symbol)
        first, end = np.searchsorted(rows["open_ms"], [start_ms, end_ms])
        return rows[first:end]

    def _known(self, symbol: str) -> np.ndarray:
        if symbol not in self._rows:
            raise DataError(
                f"{symbol}: not in {self.name}, expected one of {', '.join(self.symbols)}"
            )
        return self._rows[symbol]


def _read(paths: Sequence[Path], label: str) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each symbol with its columns by time: open_ms int64, the rest float64; what is absent is -1 or NaN."""
    import duckdb  # here, because the made-up market does without it

    files = [duck.pattern(path) for path in paths]
    with duck.connect() as con:
        try:
            described = con.execute("describe select * from read_parquet(?)", [files]).fetchall()
            _check_layout({name: kind for name, kind, *_ in described}, label)
            listed = con.execute("select distinct symbol from read_parquet(?)", [files]).fetchall()
            for symbol, names in _by_symbol([str(name) for (name,) in listed], label).items():
                yield symbol, con.execute(_QUERY, [files, names]).fetchnumpy()
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{label}: cannot be read as Parquet: {reason}") from None


# Times leave SQL as integers: a column with a time zone would need pytz.
_QUERY = f"""
select coalesce(epoch_ms(ts), -1) as open_ms,
       {", ".join(f"coalesce(cast({n} as double), 'nan'::double) as {n}" for n in (*PRICES, "volume"))}
from read_parquet(?) where list_contains(?, symbol) order by ts"""


def _by_symbol(names: list[str], label: str) -> dict[str, list[str]]:
    """The kit's symbols in their order, each with the names it has in the file."""
    if strange := sorted(set(names) - {*SYMBOLS, *ALIASES}):
        expected = ", ".join((*SYMBOLS, *ALIASES))
        raise DataError(f"{label}: unknown symbol {', '.join(strange)}, expected {expected}")
    found = {s: [n for n in names if ALIASES.get(n, n) == s] for s in SYMBOLS}
    return {symbol: names for symbol, names in found.items() if names}


def _check_layout(types: dict[str, str], label: str) -> None:
    if missing := [name for name in COLUMNS if name not in types]:
        raise DataError(
            f"{label}: has no column {', '.join(missing)}; candles have {', '.join(COLUMNS)}"
        )
    if not types["ts"].startswith("TIMESTAMP"):
        raise DataError(f"{label}: column ts is {types['ts']}, expected a timestamp")


def _check(columns: dict[str, np.ndarray], label: str) -> None:
    """Refuse what the simulator could not serve as candles of one minute."""
    opened, volume = columns["open_ms"], columns["volume"]
    if (opened < 0).any() or (opened % MINUTE_MS).any():
        raise DataError(f"{label}: a candle's time is missing or not a whole minute")
    gaps = np.diff(opened)
    if (gaps == 0).any():
        twice = iso(from_ms(opened[:-1][gaps == 0][0]))
        raise DataError(f"{label}: two candles open at {twice}, expected one")
    if len(gaps) and gaps.min() > MINUTE_MS:
        raise DataError(f"{label}: candles are {gaps.min() // MINUTE_MS} minutes apart, expected 1")
    opens, high, low, close = (columns[name] for name in PRICES)
    sound = (low > 0) & (low <= opens) & (low <= close) & (high >= opens) & (high >= close)
    sound &= np.isfinite(high) & np.isfinite(volume) & (volume >= 0)
    if not sound.all():
        where = iso(from_ms(opened[~sound][0]))
        raise DataError(
            f"{label}: the candle of {where} has a price or volume that cannot be "
            f"({(~sound).sum()} such candles)"
        )
