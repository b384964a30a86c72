"""The page: its sections in their order, redrawn by a thread whenever something has changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import ipywidgets as widgets

from tgtqr_lib import journal
from tgtqr_lib.dashboard.facts import Reader, Snapshot
from tgtqr_lib.dashboard.issued import Lateness, watch_kernel
from tgtqr_lib.dashboard.parts import card, empty, esc
from tgtqr_lib.dashboard.sections import (
    controls,
    decisions,
    market,
    performance,
    positions,
    risk,
    system,
)
from tgtqr_lib.dashboard.spans import DEFAULT, SPANS
from tgtqr_lib.home import Home

LOOK_S = 1.0
STYLE = Path(__file__).with_name("sections.css")

# What each section draws from a snapshot and the chosen span, in the order of drawing: words first, they
# are quick. A new section is a file and a line.
SECTIONS: dict[str, Callable[[Snapshot, str], str]] = {
    "positions": lambda seen, _: positions.html(seen),
    "risk": lambda seen, _: risk.html(seen),
    "decisions": lambda seen, _: decisions.html(seen),
    "system": lambda seen, _: system.html(seen),
    "performance": performance.html,
    "market": market.html,
}


class Page:
    """One visitor's page."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.reader = Reader(home)
        self.lateness = Lateness()
        self.boxes = {name: widgets.HTML() for name in SECTIONS}
        self.trouble = widgets.HTML()
        self.spans = widgets.ToggleButtons(options=list(SPANS), value=DEFAULT)
        self.spans.add_class("spans")
        self.controls = controls.Controls(home, self.lateness)
        self._due = threading.Event()
        self._shown: object = None
        self.spans.observe(lambda _: self._due.set(), "value")
        rows = [self.trouble, self.spans, self.boxes["performance"]]
        rows += [
            _row(self.boxes["positions"], self.boxes["risk"]),
            self.boxes["decisions"],
            self.boxes["market"],
            self.controls.widget,
            self.boxes["system"],
        ]
        self.boxes["market"].add_class("cards")
        style = widgets.HTML(f"<style>{STYLE.read_text('utf-8')}</style>")
        self.widget = widgets.VBox([style, *rows])
        self.widget.add_class("tgtqr-page")

    def draw(self) -> None:
        """Draw every section from a fresh look; a section that fails says so and harms no other."""
        seen, span = self.reader.snapshot(), str(self.spans.value)
        _put(self.trouble, f'<p class="trouble">{esc(seen.problem)}</p>' if seen.problem else "")
        self.controls.show(seen)
        for name, section in SECTIONS.items():
            try:
                text = section(seen, span)
            except Exception as error:
                journal.event("page_trouble", section=name, text=f"{type(error).__name__}: {error}")
                text = card(name, empty(f"cannot be shown: {error}"))
            _put(self.boxes[name], text)

    def follow(self) -> None:
        """Draw again and again, whenever the home or the chosen span has changed; never returns."""
        while True:
            version = (self.reader.version(), self.spans.value, self.controls.changed)
            if version != self._shown:
                self._shown = version
                with suppress(Exception):  # the kernel is going, or the next look tells
                    self.draw()
            self._due.wait(LOOK_S)
            self._due.clear()


def _row(*boxes: widgets.Widget) -> widgets.Box:
    row = widgets.Box(boxes)
    row.add_class("cards")
    return row


def _put(box: widgets.HTML, text: str) -> None:
    if box.value != text:
        box.value = text


def show(home: Home | None = None) -> None:
    """Show the page of `home` (or `TGTQR_HOME`) in the notebook that calls this."""
    from IPython.display import display

    with suppress(OSError):
        os.nice(5)  # a tick goes before a picture
    found = home or Home.find()
    page = Page(found)
    journal.start(found)
    watch_kernel(page.lateness)
    page.draw()
    display(page.widget)
    threading.Thread(target=page.follow, daemon=True, name="page").start()
