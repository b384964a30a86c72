"""One notebook as one page: prose and outputs to read, cleaned of all that could run or load something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
CSS = HERE / "report.css"  # of a page that stands alone

TAGS = """
    a abbr b blockquote br caption code col colgroup dd del div dl dt em figure figcaption h1 h2 h3 h4 h5
    h6 hr i img ins kbd li mark ol p pre s small span strong sub sup table tbody td tfoot th thead tr u ul
    var wbr
"""
ATTRIBUTES = {
    "*": ["align", "class", "style", "title"],
    "a": ["href"],
    "img": lambda tag, name, value: (
        name in ("alt", "width", "height")
        or (name == "src" and value.lower().startswith("data:image/"))
    ),
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
}
STYLES = ["text-align", "font-weight", "font-style", "white-space", "vertical-align"]


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above the notebook.

    title  of the page
    lead   words before the name
    name   of the tick or the day
    code   whether the code is there, folded
    """

    title: str
    lead: str
    name: str
    code: bool = True


def page_of(notebook: Any, heading: Heading, css: str, *, alone: bool) -> str:
    """`notebook` (an nbformat node) as HTML.

    css    the style sheet's text for a page that stands `alone`, else its address
    """
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        template_name="tgtqr",
        template_file="index.html.j2",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"cleaned": _cleaned},
    )
    resources = {"heading": heading, "css": css, "alone": alone}
    html, _ = exporter.from_notebook_node(notebook, resources=resources)
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
