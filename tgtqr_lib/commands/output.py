"""What commands print: one JSON object, or lines for a person."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tgtqr_lib.domain import DomainError, StoreError


def json_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def print_json(facts: dict[str, Any]) -> None:
    """Print `facts` as one JSON object; laid out for a person only where one looks."""
    print(json.dumps(facts, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write what becomes the file `path` at the end of the block, whole or not at all.

    Raises `DomainError` for a path that is a folder or a device, `StoreError` when it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise DomainError(f"{path}: is no ordinary file; expected the name of one to write")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield fresh
        os.replace(fresh, path)
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.endswith("duckdb"):
            raise StoreError(f"{path}: cannot be written: {str(error).splitlines()[0]}") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def money(amount: Any) -> str:
    """`amount` in USDT with its sign kept, or a dash when it is not known."""
    return "-" if amount is None else f"{amount:,.8f} USDT"
