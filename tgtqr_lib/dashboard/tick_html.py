"""A tick's sealed notebook as a page that loads nothing, runs nothing and can be read on a phone."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path

from tgtqr_lib.archive.opened import find_sealed, read_bytes
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home

TEMPLATES = Path(__file__).parent / "share" / "jupyter" / "nbconvert" / "templates"
CSS = (
    Path(__file__).parent
    / "share" / "jupyter" / "voila" / "templates" / "tgtqr" / "static" / "dashboard.css"
)  # fmt: skip
LARGEST = 20_000_000  # bytes; a tick's notebook has a tenth of a million
KEPT = 16

TAGS = """
    a abbr b blockquote br caption code col colgroup dd del div dl dt em figure figcaption h1 h2 h3 h4 h5
    h6 hr i img ins kbd li mark ol p pre s small span strong sub sup table tbody td tfoot th thead tr u ul
    var wbr
"""
ATTRIBUTES = {
    "*": ["align", "class", "style", "title"],
    "a": ["href"],
    "img": ["alt", "src", "width", "height"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
STYLES = ["text-align", "font-weight", "font-style", "white-space", "vertical-align"]

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
    from nbconvert.exporters import HTMLExporter

    try:
        notebook = nbformat.reads(read_bytes(path).decode("utf-8"), as_version=4)
    except Exception as error:
        raise StoreError(
            f"the notebook of {tick} cannot be read ({type(error).__name__})"
        ) from None
    exporter = HTMLExporter(
        template_name="tgtqr",
        template_file="index.html.j2",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"cleaned": _cleaned},
    )
    html, _ = exporter.from_notebook_node(
        notebook, resources={"tick": tick, "css": css, "alone": alone}
    )
    return html


def _cleaned(text: str) -> str:
    """`text` as HTML that can neither run nor load anything; other markup is shown as what it is."""
    import bleach
    from bleach.css_sanitizer import CSSSanitizer

    return bleach.clean(
        text,
        tags=set(TAGS.split()),
        attributes=ATTRIBUTES,
        protocols=["http", "https", "data"],
        css_sanitizer=CSSSanitizer(allowed_css_properties=STYLES),
    )
