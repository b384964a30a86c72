"""The part of the notebook that answers: pick another tick or time, drag a what-if, see both sides by side."""

from __future__ import annotations

import base64
from collections.abc import Callable
from decimal import Decimal
from html import escape
from typing import Any

import ipywidgets as widgets

from tgtqr_lib.archive.opened import notebooks_in, tick_of
from tgtqr_lib.charts import Charts
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.limits import HARD
from tgtqr_lib.post_mortem.aftermath import afterwards
from tgtqr_lib.post_mortem.case import Case, open_case
from tgtqr_lib.post_mortem.neighbours import Lender, flips, judged
from tgtqr_lib.post_mortem.page import (
    MINUTES,
    NO_TICK,
    costs,
    course,
    edges,
    headline,
    neighbours,
    stakes,
)
from tgtqr_lib.post_mortem.picture import pictures
from tgtqr_lib.strategies import strategy_named
from tgtqr_lib.tick_page import Piece
from tgtqr_lib.what_if import WhatIf

SHOWN = 2000  # ticks in the list, three weeks
STATIC = (
    "Open this notebook in JupyterLab and run it, to pick another tick and drag its what-ifs here."
)
STYLE = """
.tgtqr-pm .widget-html,.tgtqr-pm .widget-html-content{width:100%;height:auto;line-height:1.4}
.tgtqr-pm img{max-width:100%;width:700px;display:block}
.tgtqr-pm table{border-collapse:collapse}.tgtqr-pm td,.tgtqr-pm th{padding:2px 8px}
.tgtqr-pm .controls{flex-flow:row wrap;gap:2px 14px}
""".strip().replace("\n", "")


class Picker:
    """A cell that ends in one shows it; a page without a kernel shows a sentence instead.

    case  what is shown, None while there is no tick
    """

    def __init__(self, home: Home | str = "", tick: str = "", minutes: int = MINUTES) -> None:
        self.home = home if isinstance(home, Home) else Home.find(home or None)
        self.case: Case | None = None
        self._lender: Lender | None = None
        self.tick = widgets.Dropdown(description="tick")
        self.time = widgets.Text(
            description="or a time", placeholder="2026-11-22T10:21", continuous_update=False
        )
        self.minutes = widgets.IntSlider(
            value=minutes, min=15, max=240, step=15, description="minutes after",
            continuous_update=False,
        )  # fmt: skip
        self.sliders: dict[str, Any] = {}
        self.slider_box = widgets.HBox()
        names = ("said", "what_if", "edges", "picture", "after")
        self.parts = {name: widgets.HTML() for name in names}
        for name in names:
            self.parts[name].add_class(f"part-{name}")
        controls = widgets.HBox([self.tick, self.time, self.minutes])
        for box in (controls, self.slider_box):
            box.add_class("controls")
        for one in (self.tick, self.time, self.minutes):
            one.layout.width = "300px"
            one.style.description_width = "90px"
        style = widgets.HTML(f"<style>{STYLE}</style>")
        parts = [self.parts[name] for name in ("said", "edges")]
        below = [self.parts[name] for name in ("what_if", "picture", "after")]
        self.page = widgets.VBox([style, controls, *parts, self.slider_box, *below])
        self.page.add_class("tgtqr-pm")
        self._safely(lambda: self._begin(tick))
        self.tick.observe(lambda change: self._safely(lambda: self._pick(change.new)), "value")
        self.time.observe(lambda change: self._safely(lambda: self._pick_time(change.new)), "value")
        self.minutes.observe(lambda _: self._safely(self._show_after), "value")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        sentence = {"text/html": f"<p>{escape(STATIC)}</p>", "text/plain": STATIC}
        if self.case is None:
            return {"text/html": f"<p>{escape(NO_TICK)}</p>", "text/plain": NO_TICK}
        return dict(self.page._repr_mimebundle_()) | sentence

    # what a choice does

    def _begin(self, which: str) -> None:
        case = open_case(self.home, which)
        names = [tick_of(path) for path in notebooks_in(self.home.ticks)][-SHOWN:]
        self.tick.options = [*reversed(names)]
        if case is not None:
            if case.tick_id in names:
                self.tick.value = case.tick_id
            self._take(case)

    def _pick(self, name: str | None) -> None:
        if name and (self.case is None or name != self.case.tick_id):
            self._take(open_case(self.home, name))

    def _pick_time(self, text: str) -> None:
        if not text.strip():
            return
        case = open_case(self.home, text)
        self._take(case)
        if case.tick_id in self.tick.options:
            self.tick.value = case.tick_id

    def _take(self, case: Case) -> None:
        """Show another case, its sliders at the values that it had."""
        self.case, self._lender = case, Lender(case.home, case.inputs)
        self._put("said", headline(case))
        self._put("edges", edges(flips(case), case))
        self._make_sliders(case)
        self._show_what_if()
        self._show_after()

    def _make_sliders(self, case: Case) -> None:
        plan = case.inputs.plan
        strategy = strategy_named(plan.strategy)
        values = strategy.checked(plan.parameters)
        self.sliders = {
            name: widgets.IntSlider(
                value=values[name], min=p.low, max=p.high, description=name, tooltip=p.text
            )
            for name, p in strategy.parameters.items()
        }
        self.sliders["order_target_usdt"] = widgets.FloatSlider(
            value=float(plan.order_target_usdt), min=0.05, max=float(HARD.position_usdt), step=0.05,
            description="order, USDT", readout_format=".2f",
        )  # fmt: skip
        for slider in self.sliders.values():
            slider.style.description_width = "90px"
            slider.layout.width = "min(100%, 480px)"
            slider.observe(lambda _: self._safely(self._show_what_if), "value")
        self.slider_box.children = tuple(self.sliders.values())

    def _show_what_if(self) -> None:
        """What the sliders' values would have decided, beside what was."""
        case = self.case
        chosen = {name: slider.value for name, slider in self.sliders.items()}
        target = Decimal(str(round(chosen.pop("order_target_usdt"), 2)))
        had = case.inputs.plan
        plan = {} if target == had.order_target_usdt else {"order_target_usdt": target}
        change = WhatIf(parameters=chosen, plan=plan)
        self._put("what_if", neighbours(judged(case, change, self._lender), case))

    def _show_after(self) -> None:
        if self.case is None:
            return
        after = afterwards(self.case, self.minutes.value)
        self.parts["picture"].value = _images(pictures(self.case, after))
        pieces = (course(after, self.case), costs(after), stakes(after))
        self.parts["after"].value = "".join(piece.html for piece in pieces)

    # how it is shown

    def _put(self, part: str, piece: Piece) -> None:
        self.parts[part].value = piece.html

    def _safely(self, work: Callable[[], Any]) -> None:
        """Do `work`; what goes wrong becomes a sentence, and what is shown stays."""
        try:
            work()
        except TgtqrError as error:
            self.parts["said"].value = f"<p role='alert'><b>Not shown:</b> {escape(str(error))}</p>"


def _images(charts: Charts) -> str:
    return "".join(
        f"<img alt='{escape(one.text, quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(one.png).decode()}'>"
        for one in charts
    )
