"""The ledger as a DuckDB file for other tools: a copy of one moment, which nothing here ever reads back."""

from __future__ import annotations

from pathlib import Path

from tgtqr_lib import ledger
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.market import duck
from tgtqr_lib.research.connection import connect
from tgtqr_lib.research.views import VIEWS

TABLES = ("ticks", "decisions", "fills", "equity")
MAGIC = b"DUCK"  # bytes 8 to 11 of a DuckDB file


class _LedgerAlone(Home):
    """A home whose lake is not looked at: it may be large, or damaged."""

    @property
    def candles(self) -> Path:
        return self.data / "no-lake"

    funding = book = candles


def check_target(path: Path) -> None:
    """Raises `DomainError` when `path` is something that a snapshot must not replace."""
    if not path.exists():
        return
    if not path.is_file():
        raise DomainError(f"{path}: is no ordinary file; expected the name of one to write")
    with path.open("rb") as file:
        found = file.read(12)
    if found and found[8:12] != MAGIC:
        raise DomainError(
            f"{path}: is there and no DuckDB file; expected a new file, or one to replace"
        )


def export(home: Home, target: Path) -> dict[str, int]:
    """Write the tables of `TABLES` to the new DuckDB file `target`; rows of each.

    Columns, types and comments are those of `research.connect`. Raises `StoreError` without a ledger or
    when the file cannot be written.
    """
    if not home.ledger.is_file():
        with ledger.reading(home.ledger):  # says that there is none
            pass
    con = connect(_LedgerAlone(home.root))
    rows: dict[str, int] = {}
    try:
        with duck.errors(StoreError, target):
            con.execute(f"ATTACH {duck.literal(target)} AS snapshot_file")
            for name in TABLES:
                con.execute(f"CREATE TABLE snapshot_file.{name} AS FROM {name}")
                view = VIEWS[name]
                con.execute(f"COMMENT ON TABLE snapshot_file.{name} IS {duck.literal(view.text)}")
                for column in view.columns:
                    con.execute(
                        f"COMMENT ON COLUMN snapshot_file.{name}.{column.name} IS "
                        f"{duck.literal(column.text)}"
                    )
                rows[name] = con.sql(f"SELECT count(*) FROM snapshot_file.{name}").fetchall()[0][0]
            con.execute("DETACH snapshot_file")
    finally:
        con.close()
    return rows
