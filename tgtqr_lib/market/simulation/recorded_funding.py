"""Recorded funding rates from Parquet files; columns ts (a time with a zone), symbol, rate (a fraction)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DataError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market import duck
from tgtqr_lib.market.steps import to_units

COLUMNS = ("ts", "symbol", "rate")
MOST = 0.1  # a rate of 10 % an interval is no rate


class RecordedFunding:
    """`Funding` that holds whole files in memory; what lies outside them did not happen.

    symbols  those the files have rates of
    """

    def __init__(self, *paths: str | Path) -> None:
        """Reads the files at once. DataError for a file that cannot be read, has other columns, an unknown
        symbol, a settlement twice, or a rate that cannot be."""
        label = f"funding, {', '.join(Path(path).name for path in paths)}"
        self._settled = {
            symbol: _checked(times, rates, f"{label}, {symbol}")
            for symbol, times, rates in _read([Path(path) for path in paths], label)
        }
        if not self._settled:
            raise DataError(f"{label}: holds no rate of {' or '.join(SYMBOLS)}")
        self.symbols = tuple(self._settled)

    def settled(
        self, symbol: str, first_ms: int, last_ms: int, limit: int
    ) -> list[tuple[int, int]]:
        """See `Funding`."""
        times, rates = self._settled[symbol]
        first = np.searchsorted(times, first_ms)
        end = np.searchsorted(times, last_ms, side="right")
        found = slice(max(first, end - limit), end)
        return list(zip(times[found].tolist(), rates[found].tolist(), strict=True))[::-1]

    def coming(self, symbol: str, now_ms: int) -> int:
        """The last rate that was settled: what the next one will be is not known yet; 0 before the first."""
        last = self.settled(symbol, 0, now_ms, 1)
        return last[0][1] if last else 0


def _read(paths: list[Path], label: str) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Each symbol with its times in ms and rates, by time; what is absent is -1 or NaN."""
    files = [duck.pattern(path) for path in paths]
    with duck.errors(DataError, label), duck.connect() as con:
        described = con.execute("describe select * from read_parquet(?)", [files]).fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        if missing := [name for name in COLUMNS if name not in kinds]:
            raise DataError(
                f"{label}: has no column {', '.join(missing)}; funding has {', '.join(COLUMNS)}"
            )
        if not kinds["ts"].startswith("TIMESTAMP"):
            raise DataError(f"{label}: column ts is {kinds['ts']}, expected a timestamp")
        found = []
        for symbol in SYMBOLS:
            columns = con.execute(_QUERY, [files, symbol]).fetchnumpy()
            if len(columns["at"]):
                found.append((symbol, columns["at"], columns["rate"]))
        return found


_QUERY = """
select coalesce(epoch_ms(ts), -1) as "at", coalesce(cast(rate as double), 'nan'::double) as rate
from read_parquet(?) where symbol = ? order by ts"""


def _checked(times: np.ndarray, rates: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Times as they are and rates in 1e-8, once they can be believed."""
    if (times < 0).any() or (times % MINUTE_MS).any():
        raise DataError(f"{label}: a settlement's time is missing or not a whole minute")
    if (twice := np.flatnonzero(np.diff(times) == 0)).size:
        raise DataError(f"{label}: two rates at {iso(from_ms(int(times[twice[0]])))}, expected one")
    sound = np.abs(rates) <= MOST  # NaN is not
    if not sound.all():
        odd = int(np.flatnonzero(~sound)[0])
        raise DataError(
            f"{label}: rate {rates[odd]} at {iso(from_ms(int(times[odd])))}, expected a fraction "
            f"from -{MOST} to {MOST}"
        )
    return times, to_units(rates, 8)[0]
