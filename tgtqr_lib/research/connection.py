"""`connect`: one DuckDB in memory over a home's candles, funding and ledger, as they are at this moment.

The lake's files are read where they lie, each compared with its checksum first. The ledger is copied by
one read-only transaction of SQLite, which holds up no tick, and closed before this returns.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tgtqr_lib import ledger
from tgtqr_lib.canonical import restore
from tgtqr_lib.clock import iso, parse_time
from tgtqr_lib.domain import Damaged, Fill, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.market import duck, sealed
from tgtqr_lib.market.book_lake import DAY_FILE
from tgtqr_lib.market.sanity import MONTH_FILE
from tgtqr_lib.market.series_id import SeriesId
from tgtqr_lib.research.views import MONEY, TIME, VIEWS, Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

READ_ATTEMPTS = 5  # a month may be replaced between its checksum and the look at it
Rows = list[tuple[Any, ...]]


def connect(home: Home | str | os.PathLike[str] | None = None) -> DuckDBPyConnection:
    """A DuckDB in memory with the views `candles`, `funding`, `book`, `ticks`, `decisions`, `fills`, `equity`.

    Times are UTC, money is DECIMAL; `columns(con)` tells every column's type and unit. What a home does
    not have is an empty view. Connect again to see what came since. Raises `Damaged` for a file of the
    lake that is not what was written, `StoreError` for a ledger that cannot be read.
    """
    home = home if isinstance(home, Home) else Home.find(home)
    con = duck.connect()
    con.execute("SET TimeZone = 'UTC'")
    _make_view(con, "candles", list(_candle_series(home.candles)))
    _make_view(con, "funding", list(_funding_series(home.funding)))
    _make_view(con, "book", list(_book_series(home.book)))
    con.execute("CREATE SCHEMA snapshot")
    *events, marks = _ledger_rows(home.ledger)
    for name, rows in zip(("ticks", "decisions", "fills"), events, strict=True):
        _keep(con, name, rows)
    _keep_marks(con, marks)
    for name, view in VIEWS.items():
        con.execute(f"COMMENT ON VIEW {name} IS {duck.literal(view.text)}")
        for column in view.columns:
            con.execute(f"COMMENT ON COLUMN {name}.{column.name} IS {duck.literal(column.text)}")
    return con


def columns(con: DuckDBPyConnection) -> Any:
    """Every column of every view with its type, and its unit or meaning, as a DuckDB relation."""
    return con.sql(
        "SELECT table_name AS view, column_name AS column, data_type AS type, comment AS meaning "
        "FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal "
        "ORDER BY table_name, column_index"
    )


def _candle_series(root: Path) -> Iterator[tuple[str, str, list[Path]]]:
    """Market, symbol and months of every series of one-minute trades."""
    for folder in sorted(root.glob("*/*/")):
        series = SeriesId.of_folder(folder)
        if series is None or series.interval != "1m" or series.mark:
            continue
        names = {path.name for path in folder.iterdir()} | set(sealed.sums(folder))
        months = sorted(name for name in names if MONTH_FILE.fullmatch(name))
        yield series.market, series.symbol, _sound(folder, months)


def _funding_series(root: Path) -> Iterator[tuple[str, str, list[Path]]]:
    for folder in sorted(root.glob("*/")):
        names = {path.name for path in folder.iterdir()} | set(sealed.sums(folder))
        for name in sorted(name for name in names if name.endswith(".parquet")):
            yield folder.name, name.removesuffix(".parquet"), _sound(folder, [name])


def _book_series(root: Path) -> Iterator[tuple[str, str, list[Path]]]:
    for folder in sorted(root.glob("*/")):
        names = {path.name for path in folder.iterdir()} | set(sealed.sums(folder))
        days = sorted(name for name in names if DAY_FILE.fullmatch(name))
        for symbol, own in groupby(days, key=lambda name: DAY_FILE.fullmatch(name)[1]):
            yield folder.name, symbol, _sound(folder, list(own))


def _sound(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files that are there, each one compared with its checksum."""
    return [folder / name for name in names if _is_sound(folder, name)]


def _is_sound(folder: Path, name: str) -> bool:
    for _ in range(READ_ATTEMPTS):
        found, problem = sealed.look(folder / name, sealed.sums(folder).get(name, ()))
        if problem is None:
            return found is not None
    raise Damaged(problem.text)


def _make_view(
    con: DuckDBPyConnection, name: str, series: list[tuple[str, str, list[Path]]]
) -> None:
    """The view `name` over the files of every series, with its declared columns."""
    view = VIEWS[name]
    read = ", ".join(
        f"CAST({column.name} AS {column.type}) AS {column.name}" for column in view.columns[2:]
    )
    parts = [
        f"SELECT {duck.literal(market)} AS market, {duck.literal(symbol)} AS symbol, {read} "
        f"FROM read_parquet([{', '.join(duck.literal(duck.pattern(path)) for path in paths)}])"
        for market, symbol, paths in series
        if paths
    ]
    nothing = ", ".join(f"CAST(NULL AS {column.type}) AS {column.name}" for column in view.columns)
    with duck.errors(StoreError, f"the lake's {name}"):
        con.execute(
            f"CREATE VIEW {name} AS {' UNION ALL '.join(parts) or f'SELECT {nothing} LIMIT 0'}"
        )


def _keep(con: DuckDBPyConnection, name: str, rows: Rows) -> None:
    """Keep `rows` under `name`: text on the way in, so that no figure passes through a float."""
    view = VIEWS[name]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(view.columns)
    frame = {
        column.name: np.array([_text(value) for value in values] + [""], dtype=object)
        for column, values in zip(view.columns, columns, strict=True)
    }
    frame["row"] = np.arange(len(rows) + 1)  # the last row only tells DuckDB that all is text
    con.register("incoming", frame)
    typed = ", ".join(f"{_typed(column)} AS {column.name}" for column in view.columns)
    con.execute(
        f"CREATE TABLE snapshot.{name} AS "
        f"SELECT {typed} FROM incoming WHERE row < {len(rows)} ORDER BY row"
    )
    con.unregister("incoming")
    con.execute(f"CREATE VIEW {name} AS FROM snapshot.{name}")


def _keep_marks(con: DuckDBPyConnection, rows: Rows) -> None:
    """Keep the marks, of which a year has half a million: whole units on the way in, DECIMAL then."""
    account, *figures = zip(*rows, strict=True) if rows else [()] * 5
    names = ("minute_ms", "beat_ms", "cash", "equity")
    frame = {
        name: np.array(values, dtype=np.int64) for name, values in zip(names, figures, strict=True)
    }
    accounts, frame["account"] = np.unique(np.array(account, dtype=str), return_inverse=True)
    con.register("incoming", frame)
    money = ", ".join(
        f"CAST(CAST({name} AS DECIMAL(18, 0)) * 0.00000001 AS {MONEY}) AS {name}"
        for name in ("cash", "equity")
    )
    con.execute(
        "CREATE TABLE snapshot.equity AS SELECT list_extract(CAST($accounts AS VARCHAR[]), "
        "account + 1) AS account, make_timestamptz(minute_ms * 1000) AS ts, "
        f"make_timestamptz(beat_ms * 1000) AS beat_at, {money} FROM incoming",
        {"accounts": accounts.tolist()},
    )
    con.unregister("incoming")
    con.execute("CREATE VIEW equity AS FROM snapshot.equity")


def _typed(column: Column) -> str:
    if column.type == TIME:
        return f"make_timestamptz(CAST({column.name} AS BIGINT))"
    if column.type == "VARCHAR[]":
        return f"CAST(CAST({column.name} AS JSON) AS VARCHAR[])"
    return f"CAST({column.name} AS {column.type})"


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _ledger_rows(path: Path) -> tuple[Rows, Rows, Rows, Rows]:
    """Ticks, decisions, fills and marks, all of one moment."""
    if not path.is_file():
        return [], [], [], []
    try:
        with closing(_read_only(path)) as con:
            con.execute("BEGIN")  # one moment for all that is read
            return _ticks(con), _decisions(con), _fills(con), _marks(con)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:  # a body that is none
        raise StoreError(f"ledger {path}: cannot be read ({error}); run ledger verify") from None


def _read_only(path: Path) -> sqlite3.Connection:
    con = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=ledger.LOCK_TIMEOUT_S
    )
    version = con.execute("PRAGMA user_version").fetchone()[0]
    if version != ledger.VERSION:
        con.close()
        raise StoreError(f"ledger {path}: version {version}, expected {ledger.VERSION}")
    return con


def _ticks(con: sqlite3.Connection) -> Rows:
    """Steps of a tick are events of their own; a tick is what they say together."""
    found: dict[str, dict[str, Any]] = {}
    query = "SELECT seq, kind, body FROM events WHERE kind IN (?, ?, ?, ?) ORDER BY seq"
    for seq, kind, text in con.execute(query, ("claim", "acted", "tick", "sealed")):
        body = json.loads(text)
        tick = found.setdefault(body["tick_id"], {})
        tick[kind], tick["seq"] = body, seq
    return [
        (
            name,
            _micros(name),
            *(tick.get("tick", {}).get(field) for field in ("state", "reason", "text")),
            _micros(tick["claim"]["at"]) if "claim" in tick else None,
            tick.get("tick", {}).get("duration_s"),
            len(tick["acted"]["orders"]) if "acted" in tick else 0,
            tick.get("sealed", {}).get("notebook"),
            tick["seq"],
        )
        for name, tick in sorted(found.items())
    ]


def _decisions(con: sqlite3.Connection) -> Rows:
    return list(_choices(con.execute("SELECT seq, body FROM events WHERE kind = 'decision'")))


def _choices(events: Iterable[tuple[int, str]]) -> Iterator[tuple[Any, ...]]:
    for seq, text in events:
        body = json.loads(text)
        name = body["tick_id"]
        for choice in body["choices"]:
            signal, order = choice["signal"], choice["order"] or {}
            refused = [one["code"] for one in choice["verdicts"] if not one["allowed"]]
            yield (
                name, _micros(name), choice["symbol"], signal["state"], signal["close"],
                signal["mean"], signal["distance_bps"], choice["approved"], choice["reason"],
                choice["reason_text"], json.dumps(refused),
                *(order.get(field) for field in ("id", "side", "quantity", "limit")),
                body["inputs_sha256"], body["decision_sha256"], seq,
            )  # fmt: skip


def _fills(con: sqlite3.Connection) -> Rows:
    rows = []
    query = "SELECT seq, key, body FROM events WHERE kind = 'fill' ORDER BY seq"
    for seq, key, text in con.execute(query):
        fill = restore(Fill, json.loads(text), f"event {seq}")
        rows.append(
            (
                key.split("/")[1], fill.order_id, fill.symbol, fill.side.value,
                _micros(iso(fill.at)), f"{fill.quantity:f}", f"{fill.price:f}", f"{fill.mid:f}",
                f"{fill.notional:f}", f"{fill.fee:f}", fill.fee_currency, seq,
            )
        )  # fmt: skip
    return rows


def _marks(con: sqlite3.Connection) -> Rows:
    query = (
        "SELECT account, minute_ms, beat_ms, cash, equity FROM marks ORDER BY account, minute_ms"
    )
    return con.execute(query).fetchall()


def _micros(text: str) -> int:
    """A time or a tick's name as microseconds since the epoch."""
    moment = parse_time(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
