"""A tick's sealed notebook as a page that loads nothing, runs nothing and can be read on a phone."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

from tgtqr_lib.archive.opened import find_sealed, read_bytes
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.pages import Heading, page_of

CSS = (
    Path(__file__).parent
    / "share" / "jupyter" / "voila" / "templates" / "tgtqr" / "static" / "dashboard.css"
)  # fmt: skip
LARGEST = 20_000_000  # bytes; a tick's notebook has a tenth of a million
KEPT = 16

_one_at_a_time = threading.Lock()


def tick_html(home: Home, tick: str, css: str) -> str | None:
    """The notebook of `tick` as HTML with the style sheet `css`; None when there is none.

    Raises `StoreError` when the file is not a notebook.
    """
    try:
        path = find_sealed(home, tick)
        if path is None:
            return None
        found = path.stat()
    except (DomainError, ValueError, OSError):  # ValueError: the 99th of a month
        return None
    if found.st_size > LARGEST:
        raise StoreError(f"the notebook of {tick} has {found.st_size} bytes; expected fewer")
    with _one_at_a_time:
        return _rendered(path, tick, css, found.st_mtime_ns, found.st_size)


def page_of_file(path: Path, title: str) -> str:
    """The notebook at `path` as one HTML file that needs no server: its style sheet is inside.

    Raises `StoreError` as `tick_html` does.
    """
    found = path.stat()
    css = CSS.read_text("utf-8")
    with _one_at_a_time:
        return _rendered(path, title, css, found.st_mtime_ns, found.st_size, alone=True)


@lru_cache(KEPT)
def _rendered(
    path: Path, tick: str, css: str, _mtime_ns: int, _size: int, *, alone: bool = False
) -> str:
    import nbformat

    try:
        notebook = nbformat.reads(read_bytes(path).decode("utf-8"), as_version=4)
    except Exception as error:
        raise StoreError(
            f"the notebook of {tick} cannot be read ({type(error).__name__})"
        ) from None
    heading = Heading(f"Tick {tick}", "the sealed notebook of tick", tick)
    return page_of(notebook, heading, css, alone=alone)
