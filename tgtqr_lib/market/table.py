"""Files of candles or funding rates as columns, whatever their format: Parquet, or CSV read as text.

A row that cannot be read stays, with a reason; judging the others is the importer's business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tgtqr_lib.domain import DataError
from tgtqr_lib.market import duck
from tgtqr_lib.market.sanity import MISSING, OTHER_UNIT, UNREADABLE, VALUES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CANDLES, FUNDING = "candles", "funding"
COLUMNS = {CANDLES: VALUES, FUNDING: ("rate",)}
EXPECTED = (
    "expected candles (ts, open, high, low, close, volume) or funding rates (ts, rate), with symbol and "
    "source where they are known"
)
TIMES = ("ts", "time", "timestamp", "open_time", "date")  # what a CSV may call its time
OTHER_NAMES = {"fundingrate": "rate", "funding_rate": "rate"}
SEPARATORS = (",", ";", "\t")
UNITS = ("ISO", "s", "ms", "us")
US_EACH = (1.0, 1e6, 1e3, 1.0)
# 1973 to 5138 in each unit, so that no number could be of two
EPOCH_FROM, EPOCH_TO = 1e8, 1e11
# A 32-bit float is not the decimal it came from, and text is a matter of another format.
EXACT_TYPES = re.compile(r"DOUBLE|DECIMAL\(.*\)|U?(TINY|SMALL|BIG)?INT(EGER)?")

LISTED_COLUMNS = 8  # of a wide file, in the message that it is no candle file


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one symbol, in the file's order.

    row      (n,) int64, the row's number in the file, from 1
    time_us  (n,) int64, microseconds since the epoch, UTC
    values   the columns of the kind, (n,) float64
    reasons  (n,) int8, why a row cannot be read, an index into `sanity.REASONS`; 0 when it can
    origin   (n,) int64, an index into `sources`
    """

    row: np.ndarray
    time_us: np.ndarray
    values: dict[str, np.ndarray]
    reasons: np.ndarray
    origin: np.ndarray
    sources: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Table(ABC):
    """A file that holds what it should, and some rows of it.

    kind      `candles` or `funding`
    symbols   what stands in the column symbol, None where a row has none; () when there is no such column
    sources   likewise
    """

    path: Path
    cursor: DuckDBPyConnection
    kind: str
    rows: int
    symbols: tuple[str | None, ...]
    sources: tuple[str | None, ...]

    @property
    def values(self) -> tuple[str, ...]:
        return COLUMNS[self.kind]

    @abstractmethod
    def read(self, symbol: str | None, source: str) -> Rows:
        """The rows of `symbol`; `source` stands for rows of a file that names none."""

    @abstractmethod
    def text(self, number: int) -> str:
        """What a person should see of the row with that number when it cannot be read."""

    def unfit(self) -> list[tuple[int, str]]:
        """Rows that have no columns at all, by number, each with why."""
        return []


def open_table(path: Path) -> Table:
    """Raises `DataError` for anything but a file of candles or funding rates with some rows."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; {EXPECTED}")
    cursor = duck.cursor()
    if path.suffix.lower() == ".csv":
        return _open_csv(path, cursor)
    with path.open("rb") as opened:
        if (head := opened.read(4)) != b"PAR1":
            packed = head[:2] == b"\x1f\x8b" or head[:2] == b"PK"
            what = "is packed (unpack it first)" if packed else f"begins with {head!r}"
            what = what if head else "is empty"
            raise DataError(
                f"{path.name}: is no Parquet file, it {what} (a CSV's name ends in .csv); {EXPECTED}"
            )
    return _open_parquet(path, cursor)


def _kind(path: Path, names: Sequence[str]) -> str:
    """Which kind of rows a file with these columns has."""
    kind = FUNDING if "rate" in names and "open" not in names else CANDLES
    missing = [name for name in ("ts", *COLUMNS[kind]) if name not in names]
    if missing and {"bid", "ask", "bid_open", "buyer_maker"} & set(names):
        raise DataError(
            f"{path.name}: holds quotes or trades, it seems ({', '.join(names)}); the lake keeps "
            f"candles and funding rates alone"
        )
    if missing:
        found = ", ".join(names[:LISTED_COLUMNS])
        if len(names) > LISTED_COLUMNS:
            found += f" and {len(names) - LISTED_COLUMNS} more"
        raise DataError(f"{path.name}: has no column {', '.join(missing)} but {found}; {EXPECTED}")
    return kind


def _counted(path: Path, rows: int) -> int:
    if not rows:
        raise DataError(f"{path.name}: has no rows; {EXPECTED}")
    return rows


def _origin(sources: Sequence[str | None], given: str) -> tuple[str, tuple[str, ...]]:
    """SQL of a row's index into its sources, and these."""
    if not sources:
        return "0", (given,)
    named = tuple(text for text in sources if text is not None)
    if len(named) == len(sources) == 1:
        return "0", named
    return "list_position($sources, source::VARCHAR) - 1", named


class _Parquet(Table):
    def read(self, symbol: str | None, source: str) -> Rows:
        origin, sources = _origin(self.sources, source)
        parameters: dict[str, object] = {"path": duck.pattern(self.path)}
        if origin != "0":
            parameters["sources"] = list(sources)
        select = {"time_us": "epoch_us(ts)"}
        select |= {
            name: name if kind == "DOUBLE" else f"{name}::DOUBLE" for name, kind in self._kinds()
        }
        if origin != "0":
            select["origin"] = origin
        numbered, where = "", ""
        if len(self.symbols) > 1:
            select["row"] = "file_row_number + 1"
            numbered = ", file_row_number = true"
            where = "WHERE symbol::VARCHAR IS NOT DISTINCT FROM $symbol"
            parameters["symbol"] = symbol
        listed = ", ".join(f"{sql} AS {name}" for name, sql in select.items())
        sql = f"SELECT {listed} FROM read_parquet($path{numbered}) {where}"
        found = self.cursor.execute(sql, parameters).fetchnumpy()
        n = len(found["time_us"])
        found.setdefault("row", np.arange(1, n + 1))
        found.setdefault("origin", np.zeros(n, dtype=np.int64))
        lacks = np.zeros(n, dtype=bool)
        for column in found.values():
            if isinstance(column, np.ma.MaskedArray):
                lacks |= np.ma.getmaskarray(column)
        if symbol is None and self.symbols:
            lacks[:] = True
        plain = {name: np.ma.getdata(column) for name, column in found.items()}
        return Rows(
            plain["row"],
            plain["time_us"],
            {name: plain[name] for name in self.values},
            lacks.astype(np.int8) * np.int8(MISSING),
            plain["origin"],
            sources,
        )

    def text(self, number: int) -> str:
        named = [name for name, has in (("symbol", self.symbols), ("source", self.sources)) if has]
        names = ("ts", *self.values, *named)
        sql = f"SELECT {', '.join(names)} FROM read_parquet(?) LIMIT 1 OFFSET ?"
        row = self.cursor.execute(sql, [duck.pattern(self.path), number - 1]).fetchone()
        return ", ".join(name for name, value in zip(names, row, strict=True) if value is None)

    def _kinds(self) -> list[tuple[str, str]]:
        sql = "DESCRIBE SELECT * FROM read_parquet(?)"
        described = self.cursor.execute(sql, [duck.pattern(self.path)]).fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        return [(name, kinds[name]) for name in self.values]


def _open_parquet(path: Path, cursor: DuckDBPyConnection) -> Table:
    glob = [duck.pattern(path)]
    described = cursor.execute("DESCRIBE SELECT * FROM read_parquet(?)", glob).fetchall()
    kinds = {name: kind for name, kind, *_ in described}
    kind = _kind(path, list(kinds))
    if not kinds["ts"].startswith("TIMESTAMP"):
        raise DataError(f"{path.name}: column ts is {kinds['ts']}; expected TIMESTAMP, in UTC")
    for name in COLUMNS[kind]:
        if not EXACT_TYPES.fullmatch(kinds[name]):
            raise DataError(f"{path.name}: column {name} is {kinds[name]}; expected DOUBLE")
    rows = cursor.execute("SELECT count(*) FROM read_parquet(?)", glob).fetchone()[0]
    distinct: dict[str, tuple] = {"symbol": (), "source": ()}
    for name in distinct.keys() & kinds.keys():
        query = f"SELECT DISTINCT {name}::VARCHAR FROM read_parquet(?) ORDER BY 1 NULLS LAST"
        distinct[name] = tuple(value for (value,) in cursor.execute(query, glob).fetchall())
    counted = _counted(path, rows)
    return _Parquet(path, cursor, kind, counted, distinct["symbol"], distinct["source"])


@dataclass(frozen=True, eq=False)
class _Csv(Table):
    """A CSV whose columns are read once, all symbols together: its text is parsed only one time.

    symbol  (rows read,) index into `symbols`
    whole   the rows read
    odd     rows that do not fit the header
    """

    symbol: np.ndarray
    whole: Rows
    odd: list[tuple[int, str]]

    def read(self, symbol: str | None, source: str) -> Rows:
        rows = self.whole
        chosen: np.ndarray | slice = slice(None)
        reasons = rows.reasons
        if self.symbols:
            chosen = self.symbol == self.symbols.index(symbol)
            reasons = reasons[chosen]
            if symbol is None:
                reasons = np.full(len(reasons), MISSING, dtype=np.int8)
        return Rows(
            rows.row[chosen],
            rows.time_us[chosen],
            {name: column[chosen] for name, column in rows.values.items()},
            reasons if self.symbols else rows.reasons.copy(),
            rows.origin[chosen],
            rows.sources if self.sources else (source,),
        )

    def text(self, number: int) -> str:
        with self.path.open(encoding="utf-8-sig", errors="replace") as lines:
            for place, line in enumerate(lines):
                if place == number:
                    return repr(line.rstrip("\r\n")[:120])
        return "beyond the file's end"

    def unfit(self) -> list[tuple[int, str]]:
        return self.odd


def _open_csv(path: Path, cursor: DuckDBPyConnection) -> Table:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        header = lines.readline(10_000).rstrip("\r\n")
    if not header.strip():
        raise DataError(f"{path.name}: is empty; {EXPECTED}")
    separator = max(SEPARATORS, key=header.count)
    found = [name.strip().strip('"').strip().lower() for name in header.split(separator)]
    times = [name for name in found if name in TIMES]
    names = [OTHER_NAMES.get(name, name) for name in found]
    if len(times) != 1 or len(set(names)) < len(names):
        what = "names two columns alike" if len(set(names)) < len(names) else "has no time"
        what = f"has the times {' and '.join(times)}" if len(times) > 1 else what
        raise DataError(
            f"{path.name}: its first line {what}: {', '.join(found)}; {EXPECTED}, the time called one of "
            f"{', '.join(TIMES)}"
        )
    names = ["ts" if name == times[0] else name for name in names]
    kind = _kind(path, names)
    columns = ", ".join(f"{duck.literal(f'c{i}')}: 'VARCHAR'" for i in range(len(names)))
    place = {name: f"c{i}" for i, name in enumerate(names)}
    options = (
        f"auto_detect = false, header = true, delim = {duck.literal(separator)}, quote = '\"', "
        f"escape = '\"', columns = {{{columns}}}, ignore_errors = true, nullstr = ''"
    )
    cursor.execute("SET TimeZone = 'UTC'")  # a time without a zone means UTC, wherever this runs
    source = f"read_csv({duck.literal(duck.pattern(path))}, {options}"
    distinct: dict[str, tuple] = {"symbol": (), "source": ()}
    for name in distinct.keys() & place.keys():
        query = f"SELECT DISTINCT trim({place[name]}) FROM {source}) ORDER BY 1 NULLS LAST"
        distinct[name] = tuple(value for (value,) in cursor.execute(query).fetchall())
    return _read_csv(path, cursor, kind, source, place, distinct["symbol"], distinct["source"])


def _read_csv(
    path: Path,
    cursor: DuckDBPyConnection,
    kind: str,
    source: str,
    place: dict[str, str],
    symbols: tuple[str | None, ...],
    sources: tuple[str | None, ...],
) -> Table:
    time, values = place["ts"], [place[name] for name in COLUMNS[kind]]
    # DuckDB takes 1_000 for a number; nobody else's candles do
    number = "CASE WHEN contains({0}, '_') THEN NULL ELSE TRY_CAST({0} AS DOUBLE) END"
    known = [time, *values, *([place["source"]] if sources else [])]
    select = {
        "number": f"TRY_CAST({time} AS DOUBLE)",
        "iso": f"CASE WHEN TRY_CAST({time} AS DOUBLE) IS NULL "
        f"THEN epoch_us(TRY_CAST({time} AS TIMESTAMPTZ)) END",
        "lacks": " OR ".join(f"{name} IS NULL" for name in known),
        **{name: number.format(place[name]) for name in COLUMNS[kind]},
    }
    parameters: dict[str, object] = {}
    for name, texts in (("symbol", symbols), ("source", sources)):
        if texts:
            select[name] = (
                f"coalesce(list_position(${name}s, trim({place[name]})), {len(texts)}) - 1"
            )
            parameters[f"{name}s"] = [text for text in texts if text is not None]
    listed = ", ".join(f"{sql} AS {name}" for name, sql in select.items())
    rejecting = "store_rejects = true, rejects_table = 'unfit', rejects_scan = 'unfit_scan'"
    cursor.execute("DROP TABLE IF EXISTS unfit; DROP TABLE IF EXISTS unfit_scan")
    rows = cursor.execute(f"SELECT {listed} FROM {source}, {rejecting})", parameters).fetchnumpy()
    unfit = cursor.execute("SELECT line, any_value(error_message) FROM unfit GROUP BY 1 ORDER BY 1")
    odd = [
        (int(line) - 1, f"the line does not fit the header: {' '.join(text.split())[:100]}")
        for line, text in unfit.fetchall()
    ]
    n = len(rows["number"])
    time_us, reasons = _times(rows["number"], rows["iso"])
    unread = np.logical_or.reduce([np.ma.getmaskarray(rows[name]) for name in COLUMNS[kind]])
    reasons[unread] = UNREADABLE
    reasons[np.ma.getdata(rows["lacks"])] = MISSING
    zeros = np.zeros(n, dtype=np.int64)
    whole = Rows(
        _numbers(path, n, odd),
        time_us,
        {name: np.ma.getdata(rows[name]) for name in COLUMNS[kind]},
        reasons,
        np.ma.getdata(rows["source"]) if sources else zeros,
        tuple(text or "" for text in sources),
    )
    symbol = np.ma.getdata(rows["symbol"]) if symbols else zeros
    counted = _counted(path, n + len(odd))
    return _Csv(path, cursor, kind, counted, symbols, sources, symbol, whole, odd)


def _times(number: np.ndarray, iso: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since the epoch, and reasons: a file's times are in one unit, its most frequent."""
    figures, is_iso = np.ma.filled(number, np.nan), ~np.ma.getmaskarray(iso)
    unit = np.full(len(figures), -1, dtype=np.int8)
    unit[is_iso] = 0
    for place, each in ((1, 1.0), (2, 1e3), (3, 1e6)):
        unit[(figures >= EPOCH_FROM * each) & (figures < EPOCH_TO * each)] = place
    time_us = np.where(is_iso, np.ma.filled(iso, 0), 0)
    for place in (1, 2, 3):
        rows = unit == place
        time_us[rows] = np.rint(figures[rows] * US_EACH[place]).astype(np.int64)
    reasons = np.where(unit < 0, UNREADABLE, 0).astype(np.int8)
    read = unit[unit >= 0]
    if len(read):
        usual = int(np.argmax(np.bincount(read)))
        reasons[(unit >= 0) & (unit != usual)] = OTHER_UNIT
    return time_us, reasons


def _numbers(path: Path, n: int, odd: Sequence[tuple[int, str]]) -> np.ndarray:
    """(n,) the numbers of the rows that were read: a row is a line, the header is line 0."""
    taken = [row for row, _ in odd]
    with path.open("rb") as file:
        ends = 0
        last = b""
        while block := file.read(1 << 22):
            ends, last = ends + block.count(b"\n"), block[-1:]
    lines = ends + (last != b"\n")
    if lines != n + len(odd) + 1:  # empty lines were passed over
        with path.open("rb") as file:
            taken += [place for place, line in enumerate(file) if place and not line.strip(b"\r\n")]
    numbers = np.delete(
        np.arange(1, n + len(taken) + 1), [row - 1 for row in taken if row <= n + len(taken)]
    )
    return numbers[:n]
