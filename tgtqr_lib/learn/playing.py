"""A picture with sliders under it, for the notebooks to learn from."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.research import drawing

STYLE = """
.tgtqr-play{overflow:visible;max-width:820px}
.tgtqr-play .widget-html,.tgtqr-play .widget-html-content{width:100%;margin:0;line-height:1.4;height:auto;
overflow:visible}
.tgtqr-x p{margin:4px 0;color:var(--ink);font-size:14px}
.tgtqr-x p.trouble{border-left:4px solid var(--red);padding:4px 10px}
.tgtqr-x table{border-collapse:collapse;font-size:13px;margin:6px 0}
.tgtqr-x td,.tgtqr-x th{padding:2px 10px;text-align:right;font-variant-numeric:tabular-nums;
color:var(--ink);border-bottom:1px solid var(--line)}
""".strip().replace("\n", "")

# both are outputs of the same cell
STILL = (
    ".jp-OutputArea:has(.tgtqr-play) .jp-OutputArea-child:has(.tgtqr-still){display:none}"
    ".tgtqr-still{max-width:820px}"
)


class Play:
    """What a cell ends in: `draw` at the sliders' values, drawn again whenever one is moved.

    draw     name=value for each slider -> HTML, such as the `svg` of a `Sketch` and a paragraph
    sliders  name -> (value, low, high, step, words for people with the unit)

    `html` is what is shown now. An export, which has no kernel to draw, shows the first picture instead.
    """

    def __init__(
        self,
        draw: Callable[..., str],
        **sliders: tuple[float, float, float, float, str],
    ) -> None:
        self._draw = draw
        self._sliders = sliders
        self.values = {name: value for name, (value, *_) in sliders.items()}
        self.html = self._drawn()
        self._page: Any = None

    def set(self, **values: float) -> Play:
        """Move sliders by name, as a hand would."""
        for name, value in values.items():
            if name not in self._sliders:
                raise ValueError(f"slider {name!r} is unknown; expected one of {[*self._sliders]}")
            low, high = self._sliders[name][1:3]
            if not low <= value <= high:
                raise ValueError(f"{name} {value} is out of range; expected {low} to {high}")
            self.values[name] = value
        self.html = self._drawn()
        return self

    def _drawn(self) -> str:
        try:
            inside = self._draw(**self.values)
        except TgtqrError as error:  # the sliders stay, to be moved back
            inside = f"<p class='trouble' role='alert'>Not shown: {escape(str(error))}</p>"
        return f"<div class='tgtqr-x'>{inside}</div>"

    @property
    def page(self) -> Any:
        """The widget: sliders above the picture."""
        if self._page is None:
            self._page = self._made()
        return self._page

    def _made(self) -> Any:
        import ipywidgets as widgets

        style = widgets.HTML(f"<style>{drawing.STYLE}{STYLE}</style>")
        style.layout.height = "0"
        shown = widgets.HTML(self.html)
        rows = []
        for name, (value, low, high, step, words) in self._sliders.items():
            whole = all(isinstance(n, int) for n in (value, low, high, step))
            kind = widgets.IntSlider if whole else widgets.FloatSlider
            slider = kind(value=value, min=low, max=high, step=step, description=words)
            slider.style.description_width = "260px"
            slider.layout.width = "min(100%, 640px)"
            slider.add_class(f"slider-{name}")

            def moved(change: Any, name: str = name) -> None:
                shown.value = self.set(**{name: change["new"]}).html

            slider.observe(moved, "value")
            rows.append(slider)
        page = widgets.VBox([style, *rows, shown])
        page.add_class("tgtqr-play")
        return page

    @property
    def still(self) -> str:
        """HTML of what is shown now, for a page without sliders; hidden beside a widget that is there."""
        return f"<style>{drawing.STYLE}{STYLE}{STILL}</style><div class='tgtqr-still'>{self.html}</div>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        live = self.page._repr_mimebundle_()
        # an output of its own: nbconvert shows a widget's view alone, which is empty without a network
        display(live | {"text/html": ""}, raw=True)
        display({"text/html": self.still, "text/plain": ""}, raw=True)
