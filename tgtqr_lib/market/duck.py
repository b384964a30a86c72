"""DuckDB as the kit uses it: in memory, and never loading code from the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tgtqr_lib.domain import TgtqrError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_file_cache": "false",  # a month replaced within the same second must be seen
}


def connect() -> DuckDBPyConnection:
    """A new DuckDB in memory."""
    import duckdb  # here, because it takes longer to import than `tgtqr stop` takes to run

    return duckdb.connect(":memory:", config=SETTINGS)


def cursor() -> DuckDBPyConnection:
    """A cursor of this process's own DuckDB, which is made once and holds no tables; for any thread."""
    return _own(os.getpid()).cursor()


@cache
def _own(process: int) -> DuckDBPyConnection:
    return connect()  # one a process: the threads of a DuckDB do not survive a fork


def pattern(path: Path) -> str:
    """`path` for `read_parquet`, which would take `*`, `?` and `[` in it for wildcards."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def literal(text: str | Path) -> str:
    """`text` as an SQL string, for the places where DuckDB takes no parameter."""
    return "'" + str(text).replace("'", "''") + "'"


@contextmanager
def errors(kind: type[TgtqrError], thing: str | Path) -> Iterator[None]:
    """Errors of DuckDB and of the disk as `kind`, in a sentence about `thing`."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        reason = str(error).splitlines()[0]
        raise kind(f"{thing}: cannot be read or written: {reason}") from error
