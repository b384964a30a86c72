"""A word to whoever waits while numba compiles, which it does once after an installation."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 2.0  # what is compiled already is loaded in a fraction of this


@contextmanager
def told_while_compiling(function: Any) -> Iterator[None]:
    """Say once, on standard error, that compiling takes its time, if `function` still has no machine code.

    function  compiled by numba, and called within the block
    """

    def tell() -> None:
        if not function.signatures:
            print("compiling, once after an installation or update: some 20 s", file=sys.stderr)

    timer = threading.Timer(PATIENCE_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
