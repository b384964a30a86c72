"""Reading a ledger without leaving a trace: no file of SQLite's own appears beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tgtqr_lib import ledger
from tgtqr_lib.domain import StoreError


@contextmanager
def untouched(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Raises `StoreError` as `ledger.reading` does.

    That one makes the files -wal and -shm when nobody has the ledger open. Made by root, or by another user
    than the one who trades, they would shut that one out. Here a write of somebody else at the same moment
    may be seen by half.
    """
    pending = path.with_name(f"{path.name}-wal")
    if not path.is_file() or (pending.exists() and pending.stat().st_size):
        with ledger.reading(path) as con:
            yield con
        return
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as con:
            version = con.execute("PRAGMA user_version").fetchone()[0]
            if version != ledger.VERSION:
                raise StoreError(f"ledger {path}: version {version}, expected {ledger.VERSION}")
            yield con
    except sqlite3.Error as error:
        raise StoreError(f"ledger {path}: cannot be read ({error})") from None
