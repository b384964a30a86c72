"""The page of `explore.ipynb`: pick symbol, span and strategy, drag its parameters, see what it comes to.

A moved slider is answered by one backtest and three pictures. The map of neighbours is a thousand more
backtests; it is drawn in a thread of its own once the slider rests, so that it never holds the slider.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets as widgets

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Result
from tgtqr_lib.backtest.metrics import Study, sharpe, study_of
from tgtqr_lib.domain import DataError, Limits, Plan, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.limits import HARD, SYMBOLS
from tgtqr_lib.research import drawing, heatmap
from tgtqr_lib.research.past import Past, history
from tgtqr_lib.research.plans import plan as plan_of
from tgtqr_lib.strategies import STRATEGIES, strategy_named

REST_S = 0.4  # a slider that has not moved for so long rests
SPANS = (7, 30, 90, 180, 365)

STYLE = """
.tgtqr-explore{overflow:visible}
.tgtqr-explore .widget-html,.tgtqr-explore .widget-html-content{width:100%;max-width:100%;margin:0;
line-height:1.4;height:auto;overflow:visible}
.tgtqr-explore .pictures{display:grid!important;
grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:10px 18px}
.tgtqr-explore .waits{opacity:.45}
.tgtqr-explore .controls{flex-flow:row wrap;gap:2px 14px}
.tgtqr-explore .sliders{flex-flow:row wrap;gap:0 24px}
.tgtqr-x .figures{display:flex;flex-wrap:wrap;gap:2px 28px;margin:4px 0 0;color:var(--ink)}
.tgtqr-x .figures span{display:block;font-size:12px;color:var(--muted)}
.tgtqr-x .figures b{font-weight:400;font-size:17px;font-variant-numeric:tabular-nums;white-space:nowrap}
.tgtqr-x p{margin:2px 0;color:var(--ink);font-size:13px}
.tgtqr-x p.small{font-size:11.5px;color:var(--muted)}
.tgtqr-x p.trouble{border-left:4px solid var(--red);padding:4px 10px;font-size:14px}
""".strip().replace("\n", "")


class AtRest:
    """Does the newest work asked for in a thread, once nothing new was asked for `rest_s` seconds."""

    def __init__(self, rest_s: float = REST_S) -> None:
        self._rest_s = rest_s
        self._changed = threading.Condition()
        self._work: Callable[[Callable[[], bool]], None] | None = None
        self._asked = 0
        self._running = False

    def ask(self, work: Callable[[Callable[[], bool]], None]) -> None:
        """Do `work` later, unless something newer is asked; it is given a way to see whether."""
        with self._changed:
            self._work, self._asked = work, self._asked + 1
            self._changed.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="at rest", daemon=True).start()

    def forget(self) -> None:
        """Do nothing of what was asked for; what is under way is no longer wanted."""
        with self._changed:
            self._work, self._asked = None, self._asked + 1
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._work is None:
                    self._running = False
                    return
                while self._changed.wait(self._rest_s):
                    pass
                work, number = self._work, self._asked
                self._work = None
            if work is not None:
                work(lambda number=number: number == self._asked)


class Explorer:
    """The page; a cell that ends in one shows it.

    result, found  what is shown: the last backtest, and the last sweep; None while nothing is
    """

    def __init__(
        self,
        home: Home | str | os.PathLike[str] | None = None,
        market: str = "spot",
        days: int = 365,
        rest_s: float = REST_S,
    ) -> None:
        self.home = home if isinstance(home, Home) else Home.find(home)
        self.market, self.days = market, days
        self.result: Result | None = None
        self.found: backtest.SweepResult | None = None
        self._pasts: dict[str, Past] = {}
        self._spans: dict[tuple[str, int], Past] = {}
        self._at_rest = AtRest(rest_s)
        self._drawing = threading.RLock()  # no map may come after what was chosen since
        self._make()
        self._choose_strategy()
        self._safely(self._begin)

    def _ipython_display_(self) -> None:
        from IPython.display import display  # a page has it; the library does without

        display(self.page)

    # what is on the page

    def _make(self) -> None:
        self.symbol = widgets.Dropdown(options=SYMBOLS, description="symbol")
        spans = [(f"last {days} days", days) for days in SPANS if days < self.days]
        spans.append((f"all, up to {self.days} days", self.days))
        self.span = widgets.Dropdown(options=spans, value=self.days, description="span")
        self.strategy = widgets.Dropdown(options=list(STRATEGIES), description="strategy")
        self.limits = widgets.Checkbox(
            value=False, description="stop at the loss limits", indent=False
        )
        self.limits.layout.width = "190px"
        self.sliders: dict[str, widgets.IntSlider] = {}
        self.slider_box = widgets.HBox()
        self.slider_box.add_class("sliders")
        names = ("said", "figures", "equity", "costs", "trades", "map")
        self.parts = {name: widgets.HTML() for name in names}
        for name in names:
            self.parts[name].add_class(f"part-{name}")
        for chosen in (self.symbol, self.span, self.strategy):
            chosen.layout.width = "250px"
            chosen.style.description_width = "60px"
        for chosen in (self.symbol, self.span, self.limits):
            chosen.observe(self._choice_changed, "value")
        self.strategy.observe(self._strategy_changed, "value")
        controls = widgets.HBox([self.symbol, self.span, self.strategy, self.limits])
        controls.add_class("controls")
        pictures = widgets.VBox([self.parts[n] for n in ("equity", "trades", "costs", "map")])
        pictures.add_class("pictures")
        style = widgets.HTML(f"<style>{drawing.STYLE}{STYLE}</style>")
        style.layout.height = "0"
        top = [style, controls, self.slider_box, self.parts["said"], self.parts["figures"]]
        self.page = widgets.VBox([*top, pictures])
        self.page.add_class("tgtqr-explore")

    def _choose_strategy(self) -> None:
        """Sliders for the chosen strategy's declared parameters."""
        strategy = STRATEGIES[self.strategy.value]
        self.sliders = {}
        for name, parameter in strategy.parameters.items():
            slider = widgets.IntSlider(
                value=parameter.default, min=parameter.low, max=parameter.high,
                description=f"{name}, {parameter.unit}", tooltip=parameter.text,
            )  # fmt: skip
            slider.style.description_width = "170px"
            slider.layout.width = "min(100%, 540px)"
            slider.observe(self._slider_moved, "value")
            self.sliders[name] = slider
        self.slider_box.children = tuple(self.sliders.values())

    def _strategy_changed(self, _: Any) -> None:
        self._safely(lambda: (self._choose_strategy(), self._no_map(), self._show()))

    def _choice_changed(self, _: Any) -> None:
        self._safely(lambda: (self._no_map(), self._show()))

    def _slider_moved(self, _: Any) -> None:
        self._safely(self._show)

    def _safely(self, work: Callable[[], Any]) -> None:
        """Do `work`; what goes wrong becomes a sentence on the page, and nothing older stays beside it."""
        try:
            work()
        except Exception as error:
            self._clear()
            self._say(error)

    def _clear(self) -> None:
        """Take figures, pictures and map away: they are of something else than what is chosen."""
        self._no_map("")
        self.result = None
        for name in ("figures", "equity", "trades", "costs"):
            self._put(name, "")

    def _no_map(self, why: str = "The map of the neighbours is being computed.") -> None:
        """Take the map away, and let the one that is under way be forgotten."""
        self._at_rest.forget()
        self._blank_map(f"<p class='small'>{why}</p>" if why else "")

    def _blank_map(self, text: str = "") -> None:
        with self._drawing:
            self.found = None
            self._put("map", text)
            self.parts["map"].remove_class("waits")

    def _say(self, error: Exception) -> None:
        text = str(error) if isinstance(error, TgtqrError) else f"{type(error).__name__}: {error}"
        self._put("said", f"<p class='trouble' role='alert'>Not shown: {escape(text)}</p>")

    def _put(self, part: str, html: str) -> None:
        self.parts[part].value = f"<div class='tgtqr-x'>{html}</div>"

    # what a change does

    def _past(self) -> Past:
        """The candles of the chosen symbol and span; read once."""
        symbol, days = self.symbol.value, self.span.value
        if symbol not in self._pasts:
            self._pasts[symbol] = history(symbol, self.home, self.days, self.market)
        key = symbol, days
        if key not in self._spans:
            past = self._pasts[symbol]
            self._spans[key] = past if days == self.days else past.last(days)
        if not len(self._spans[key].candles):
            raise DataError(f"{symbol}: no candle in the last {days} days")
        return self._spans[key]

    def _begin(self) -> None:
        """The first pictures."""
        # what is compiled is loaded here, so that no picture has to wait for it
        backtest.run(self._past().last(1).candles, plan_of("ma_trend"), None)
        self._show(now=True)

    def _show(self, *, now: bool = False) -> None:
        """Run the backtest of what is chosen and draw it; the map at once, or when the slider rests."""
        past, strategy = self._past(), strategy_named(self.strategy.value)
        began = time.perf_counter()
        chosen = {name: slider.value for name, slider in self.sliders.items()}
        plan, limits = plan_of(strategy, **chosen), HARD if self.limits.value else None
        result = backtest.run(past.seen(strategy), plan, limits, funding=past.funding)
        study = study_of(result)
        self._put("equity", drawing.equity(study).svg)
        self._put("costs", drawing.costs(study).svg)
        self._put("trades", drawing.trades(study, past.candles).svg)
        self.result = result
        notes = f"<p class='small'>{escape(' '.join(_notes(result)))}</p>"
        took = (time.perf_counter() - began) * 1000
        self._put("said", f"<p><b>{escape(past.label)}</b></p>{notes}")
        self._put("figures", _figures(result, study, took))
        if now or not strategy.parameters:  # without any there is nothing to wait for
            self._at_rest.forget()
            self._map(past, plan, limits, lambda: True)
        else:
            self.parts["map"].add_class("waits")
            self._at_rest.ask(lambda wanted: self._map(past, plan, limits, wanted))

    def _map(
        self, past: Past, plan: Plan, limits: Limits | None, wanted: Callable[[], bool]
    ) -> None:
        """Sweep the neighbours of `plan` and draw them, if they are `wanted` still."""
        try:
            began = time.perf_counter()
            near = heatmap.Neighbours.of(past, plan, limits)
            took = time.perf_counter() - began
            text = near.sketch.svg
            if near.found is not None:
                said = f"{len(near.found):,} backtests in {took * 1000:,.0f} ms"
                text += f"<p class='small'>{said}</p>"
            with self._drawing:
                if wanted():
                    self.found = near.found
                    self._put("map", text)
                    self.parts["map"].remove_class("waits")
        except Exception as error:
            with self._drawing:
                if wanted():
                    self._blank_map()
                    self._say(error)


def _notes(result: Result) -> list[str]:
    """What a reader of the figures must know."""
    notes = [*result.labels]
    if result.stop is not None:
        notes.append(f"stopped {result.stop.at:%Y-%m-%d %H:%M} UTC: {result.stop.text}")
    if result.gaps:
        lost = sum(gap.minutes for gap in result.gaps)
        notes.append(f"{lost:,} minutes are missing in {len(result.gaps):,} gaps")
    return [f"{note[0].upper()}{note[1:]}." for note in notes]


def _figures(result: Result, study: Study, took_ms: float) -> str:
    """The result in figures; `data-` attributes hold them exactly."""
    ratio = sharpe(study.returns)
    shown = {
        "net, USDT": drawing.number(float(result.pnl), 4, sign=True),
        "gross, USDT": drawing.number(float(result.gross), 4, sign=True),
        "costs, USDT": drawing.number(float(result.gross - result.pnl), 4),
        "trades": f"{len(result.table):,}",
        "Sharpe ratio, a year": drawing.number(ratio, 2) if ratio == ratio else "n/a",
        "largest drawdown": f"{study.drawdown.max():.2%}",
    }
    rows = "".join(f"<div><span>{name}</span><b>{value}</b></div>" for name, value in shown.items())
    exact = {
        "net": f"{result.pnl:f}", "gross": f"{result.gross:f}", "fees": f"{result.fees:f}",
        "trades": str(len(result.table)), "ms": f"{took_ms:.1f}", **result.params,
    }  # fmt: skip
    data = " ".join(f"data-{name}='{value}'" for name, value in exact.items())
    return (
        f"<div class='figures' {data}>{rows}</div>"
        f"<p class='small'>{result.bars:,} minutes tested and drawn in {took_ms:.0f} ms</p>"
    )
