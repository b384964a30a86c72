"""A backtest as a page: headline, costs beside gross, equity and drawdown, trades on price, months.

A `Report` shows itself in a notebook, and `to_html` writes the same page as one file that loads nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from tgtqr_lib.backtest.luck import Luck
from tgtqr_lib.backtest.metrics import DAY_MS, METRICS, Study, measure, monthly, study_of
from tgtqr_lib.charts import (
    BLUE,
    BROWN,
    DPI,
    GREEN,
    GRID,
    INK,
    ORANGE,
    RED,
    STYLE,
    Chart,
    png_bytes,
)
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, Candles

if TYPE_CHECKING:
    from tgtqr_lib.backtest.result import Result

WIDE, NARROW = (7.2, 3.7), (3.3, 3.5)  # inches; the page shows the one that fits
TRADES_SHOWN = 15
POINTS = 500  # stretches of a line that are drawn; of each, its lowest and highest value
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SIGNED = {"net_return", "gross_return", "net_pnl", "gross_pnl", "cagr"} | {
    "average_trade", "average_trade_gross",
}  # fmt: skip
IN_COSTS = {
    "net_pnl",
    "gross_pnl",
    "net_return",
    "gross_return",
    "fees",
    "spread",
    "funding",
    "costs",
}
FORMATS = {
    "fraction": "{:.2%}", "fraction a year": "{:.2%}", "USDT": "{:,.4f}", "ratio": "{:.2f}",
    "days": "{:,.1f}", "minutes": "{:,.1f}", "times a year": "{:,.1f}", "count": "{:,.0f}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Rows of text under a head; the first column names the row. `strong` rows stand out."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()
    prose: bool = False  # columns of sentences, rather than of figures

    def _repr_markdown_(self) -> str:
        marks = ["---", *(["---" if self.prose else "---:"] * (len(self.head) - 1))]
        lines = [_row(self.head), _row(marks)]
        for i, cells in enumerate(self.rows):
            safe = [cell.replace("|", "\\|") for cell in cells]
            lines.append(
                _row([f"**{cell}**" if cell and i in self.strong else cell for cell in safe])
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        kind = "prose" if self.prose else "figures"
        head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in self.head)
        body = ""
        for i, (name, *cells) in enumerate(self.rows):
            strong = " class='strong'" if i in self.strong else ""
            figures = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            body += f"<tr{strong}><th scope='row'>{escape(name)}</th>{figures}</tr>"
        return (
            f"<div class='wide'><table class='{kind}'><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></div>"
        )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Picture:
    """A chart in the widths of a desk and of a telephone."""

    wide: Chart
    narrow: Chart

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        return self.wide._repr_mimebundle_(include, exclude)

    def _repr_html_(self) -> str:
        wide, narrow = (
            f"data:image/png;base64,{base64.b64encode(chart.png).decode()}"
            for chart in (self.wide, self.narrow)
        )
        return (
            f"<picture><source media='(max-width: 600px)' srcset='{narrow}'>"
            f"<img src='{wide}' alt='{escape(self.wide.text, quote=True)}'></picture>"
        )


@dataclass(frozen=True)
class Report:
    """What a backtest found, ready to be shown.

    label    what was tested
    notes    sentences that belong under the headline, such as why it stopped
    candles  of the symbols traded, for trades on price; a symbol without is not drawn
    """

    study: Study
    label: str = "Backtest"
    notes: tuple[str, ...] = ()
    candles: tuple[Candles, ...] = ()
    luck: Luck | None = None

    @classmethod
    def of(
        cls, result: Result, candles: Sequence[Candles] = (), luck: Luck | None = None
    ) -> Report:
        """The report of a finished backtest."""
        given = ", ".join(f"{name} {value}" for name, value in result.params.items())
        label = f"{result.symbol} {result.market}, {result.strategy}" + (given and f" ({given})")
        notes = [*result.labels, *([result.stop.text] if result.stop else [])]
        if result.gaps:
            lost = sum(gap.minutes for gap in result.gaps)
            notes.append(f"{lost:,} minutes are missing in {len(result.gaps):,} gaps.")
        return cls(study_of(result), label, tuple(notes), tuple(candles), luck)

    @cached_property
    def values(self) -> dict[str, float]:
        """Every metric by name."""
        return measure(self.study)

    @property
    def headline(self) -> str:
        """Net, gross and costs in a sentence."""
        v, days = self.values, len(self.study.days)
        first, last = (utc_day(from_ms(int(day) * DAY_MS)) for day in self.study.days[[0, -1]])
        taken = v["costs"] / self.study.start
        return (
            f"net {v['net_return']:+.2%} = gross {v['gross_return']:+.2%} less costs {taken:.2%}, "
            f"{v['trades']:,.0f} trades in {days:,} days, {first} to {last}"
        )

    @property
    def costs(self) -> Table:
        """From gross to net, in USDT and as fractions of the start and of all that was traded."""
        v, start, traded = self.values, self.study.start, float(self.study.notional.sum())

        def row(name: str, value: float) -> tuple[str, ...]:
            value += 0.0  # no minus before a zero
            bps = f"{value / traded * 10_000:+.2f}" if traded else "n/a"
            return name, f"{value:+,.4f}", f"{value / start:+.2%}", bps

        rows = (
            row("gross", v["gross_pnl"]),
            *(row(name, -v[name]) for name in ("fees", "spread", "funding")),
            row("net", v["net_pnl"]),
        )
        head = ("", "USDT", "of start", "bps of notional")
        return Table(head, rows, frozenset({0, 4}))

    @property
    def metrics(self) -> Table:
        """All metrics that the table of costs does not have."""
        rows = tuple(
            (name.replace("_", " "), shown(name, value), METRICS[name].unit)
            for name, value in self.values.items()
            if name not in IN_COSTS
        )
        return Table(("metric", "value", "unit"), rows)

    @property
    def formulas(self) -> Table:
        """How every metric is computed."""
        rows = tuple(
            (name.replace("_", " "), metric.unit, metric.formula, metric.annualisation)
            for name, metric in METRICS.items()
        )
        return Table(("metric", "unit", "formula", "annualised"), rows, prose=True)

    @property
    def months(self) -> Table:
        """Net return of every month, a column a year, with the year's net, gross and costs below."""
        found = monthly(self.study)
        years = sorted({year for year, _ in found})

        def cell(year: int, month: int) -> str:
            return _percent(found[year, month][0]) if (year, month) in found else ""

        rows = [(name, *(cell(year, i) for year in years)) for i, name in enumerate(MONTHS, 1)]
        totals = self._yearly(years)
        for name, figures in zip(("net", "gross", "costs"), totals, strict=True):
            rows.append((name, *(_percent(figure) for figure in figures)))
        return Table(("net", *map(str, years)), tuple(rows), frozenset({12}))

    def _yearly(self, years: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
        """Net, gross and costs (below zero) of each year, over the equity at its beginning."""
        study = self.study
        ends = np.array([np.datetime64(f"{year + 1}-01-01").astype(int) for year in years])
        rows = np.searchsorted(study.days, ends) - 1
        net, gross = (
            np.concatenate([[study.start], study.at_day_ends(curve)[rows]])
            for curve in (study.equity, study.gross)
        )
        won, kept = np.diff(gross) / net[:-1], np.diff(net) / net[:-1]
        return kept.tolist(), won.tolist(), (kept - won + 0.0).tolist()

    @cached_property
    def equity_chart(self) -> Picture:
        """Net and gross equity, and how far net is below its high."""
        v = self.values
        text = f"Equity of {self.label}: {self.headline}; largest drawdown {v['max_drawdown']:.2%}."
        return _picture(text, lambda figure: _draw_equity(figure, self.study))

    @cached_property
    def trade_charts(self) -> tuple[Picture, ...]:
        """For every symbol with candles, its last trades on its price."""
        return tuple(self._trade_chart(candles) for candles in self.candles if len(candles))

    def _trade_chart(self, candles: Candles) -> Picture:
        scene = _Trades(self.study, candles)
        return _picture(f"{scene.title}, on the price.", lambda figure: _draw_trades(figure, scene))

    @property
    def parts(self) -> tuple[tuple[str, Any], ...]:
        """The page, piece by piece: (heading, what is shown)."""
        drawn = self.trade_charts
        return (
            ("Gross, costs, net", self.costs),
            ("Equity and drawdown", self.equity_chart),
            *((("Trades on price" if i == 0 else "", chart)) for i, chart in enumerate(drawn)),
            ("Months", self.months),
            *([("Is it luck?", self.luck)] if self.luck else []),
            ("Metrics", self.metrics),
            ("How each number is computed", self.formulas),
        )

    def _repr_markdown_(self) -> str:
        lines = [f"### {self.label}", "", f"**{self.headline}**", ""]
        lines += [text for note in self.notes for text in (f"- {note}",)] + [""]
        for heading, part in self.parts:
            lines += [f"#### {heading}", ""] if heading else []
            lines += [part.wide.text if isinstance(part, Picture) else part._repr_markdown_(), ""]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<style>{CSS}</style><article class='tgtqr-report'>{self._body()}</article>"

    def _body(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        html = [
            f"<h2>{escape(self.label)}</h2><p class='headline'>{escape(self.headline)}</p>",
            notes,
        ]
        for heading, part in self.parts:
            shown_part = _luck_html(part) if isinstance(part, Luck) else part._repr_html_()
            if part == self.formulas:
                html.append(f"<details><summary>{heading}</summary>{shown_part}</details>")
            else:
                html.append((f"<h3>{escape(heading)}</h3>" if heading else "") + shown_part)
        return "".join(html)

    def to_html(self, path: str | Path) -> Path:
        """Write the page to `path` as one file that loads nothing from anywhere; returns the path."""
        path = Path(path)
        page = (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            # the browser is told to refuse whatever this page might still ask for
            "<meta http-equiv='Content-Security-Policy' "
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
            f"<title>{escape(self.label)}</title><style>body{{margin:0;background:#fff}}</style>"
            f"</head><body>{self._repr_html_()}</body></html>\n"
        )
        path.write_text(page, encoding="utf-8", newline="\n")
        return path


def shown(name: str, value: float) -> str:
    """A metric's value as a person reads it; `n/a` where it has no meaning."""
    if not np.isfinite(value):
        return "n/a"
    unit = METRICS[name].unit
    text = FORMATS[unit].format(value)
    if unit == "USDT" and 0 < abs(value) < 0.01:
        text = f"{value:.6f}"
    return f"+{text}" if name in SIGNED and not text.startswith("-") else text


def _percent(value: float) -> str:
    return f"{value:+.2%}" if np.isfinite(value) else "n/a"


def _luck_html(luck: Luck) -> str:
    verdict, *rest = luck.lines
    items = "".join(f"<li>{escape(line)}</li>" for line in rest)
    return f"<p><strong>{escape(verdict)}</strong></p><ul>{items}</ul>"


CSS = """
.tgtqr-report{max-width:56rem;margin:0 auto;padding:1rem;color:#333;background:#fff;
font:16px/1.45 system-ui,sans-serif;overflow-wrap:break-word}
.tgtqr-report h2{font-size:1.3rem;margin:.2rem 0 .6rem}
.tgtqr-report h3,.tgtqr-report summary{font-size:1.05rem;font-weight:600;margin:1.6rem 0 .4rem}
.tgtqr-report .headline{font-size:1.1rem;font-weight:600}
.tgtqr-report img{display:block;width:100%;height:auto}
.tgtqr-report .wide{overflow-x:auto}
.tgtqr-report table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;
color:inherit;background:none;margin:0}
.tgtqr-report th,.tgtqr-report td{padding:.3rem .6rem;border-bottom:1px solid #e4e4e4;
text-align:left;font-weight:400;vertical-align:top}
.tgtqr-report .figures td,.tgtqr-report .figures thead th:not(:first-child){text-align:right;
white-space:nowrap}
.tgtqr-report thead th,.tgtqr-report .strong *{font-weight:600}
.tgtqr-report tbody th{white-space:nowrap}
.tgtqr-report summary{cursor:pointer;padding:.4rem 0}
@media(max-width:600px){.tgtqr-report{padding:.8rem}
.tgtqr-report th,.tgtqr-report td{padding:.3rem .35rem}
.tgtqr-report .prose thead{display:none}
.tgtqr-report .prose tr,.tgtqr-report .prose th,.tgtqr-report .prose td{display:block;border:0;
padding:.05rem 0}.tgtqr-report .prose th{font-weight:600;padding-top:.7rem}}
""".strip().replace("\n", "")


def _font(points: float, *, bold: bool = False) -> FontProperties:
    """A font that comes with matplotlib, by its file, so that no font cache has a say."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return FontProperties(
        fname=str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size=points
    )


def _picture(text: str, draw: Callable[[Figure], None]) -> Picture:
    charts = []
    for size, dpi in ((WIDE, DPI), (NARROW, 216)):  # telephones have finer dots
        with matplotlib.rc_context(STYLE):  # nobody's own matplotlibrc has a say
            figure = Figure(figsize=size, dpi=dpi, facecolor="white")
            FigureCanvasAgg(figure)
            draw(figure)
            charts.append(Chart(png_bytes(figure), text))
    return Picture(*charts)


def thinned(at: np.ndarray, values: np.ndarray, points: int = POINTS) -> np.ndarray:
    """Rows that draw the same line: the ends, and of each stretch the lowest and the highest value."""
    n = len(at)
    if n <= 2 * points:
        return np.arange(n)
    edges = np.arange(points) * n // points
    lowest, highest = np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)
    stretch = np.searchsorted(edges, np.arange(n), side="right") - 1
    kept = {0, n - 1}
    for extreme in (lowest, highest):
        rows = np.flatnonzero(values == extreme[stretch])
        kept.update(rows[np.unique(stretch[rows], return_index=True)[1]].tolist())
    return np.array(sorted(kept))


def _axes(figure: Figure, bottom: float, top: float) -> Axes:
    """Axes from `bottom` to `top` (fractions of the figure), with room for labels of fixed size."""
    width = figure.get_figwidth()
    left, right = 0.72 / width, 1 - 0.14 / width
    axes = figure.add_axes((left, bottom, right - left, top - bottom))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _title(figure: Figure, lines: Sequence[Sequence[tuple[str, str]]]) -> None:
    """Lines of coloured words at the top left, the first one bold."""
    width, height = figure.get_size_inches()
    for i, words in enumerate(lines):
        x = 0.1 / width
        for word, colour in words:
            text = figure.text(
                x, 1 - (0.22 + 0.2 * i) / height, word, color=colour,
                fontproperties=_font(10.5 if i == 0 else 9.5, bold=i == 0),
            )  # fmt: skip
            box = text.get_window_extent(figure.canvas.get_renderer())
            x = (box.x1 / figure.dpi + 0.1) / width


def _set_ticks(axes: Axes, form: str, count: int) -> None:
    """Round values on the vertical axis, written by `form` with as many digits as they need."""
    low, high = axes.get_ylim()
    ticks = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    scale = 100 if "%" in form else 1
    digits = next(
        (d for d in range(6) if np.allclose(ticks * scale, np.round(ticks * scale, d), 0, 1e-9)), 6
    )
    axes.set_yticks(ticks, [form.format(tick * scale, digits=digits) for tick in ticks])
    for label in axes.get_yticklabels():
        label.set_fontproperties(_font(9.5))


def time_ticks(low_ms: int, high_ms: int, most: int) -> tuple[list[int], str]:
    """At most `most` round moments from `low_ms` to `high_ms`, and how numpy cuts their text short."""
    for unit, steps in (("m", (15, 30, 60, 120, 180, 360, 720)), ("D", (1, 2, 4, 7, 14)),
                        ("M", (1, 2, 3, 6, 12, 24, 60, 120))):  # fmt: skip
        first, last = (
            np.datetime64(at, "ms").astype(f"datetime64[{unit}]").astype(int)
            for at in (low_ms, high_ms)
        )
        for step in steps:
            places = np.arange(-(-first // step) * step, last + 1, step)
            moments = places.astype(f"datetime64[{unit}]").astype("datetime64[ms]").astype(int)
            moments = moments[(moments >= low_ms) & (moments <= high_ms)]
            if len(moments) <= most:
                return moments.tolist(), unit
    return [], "M"


def _set_times(axes: Axes, low: float, high: float) -> None:
    """Minutes, days or months on the horizontal axis (days since 1970), as the span suggests."""
    axes.set_xlim(low, high)
    ticks, unit = time_ticks(
        round(low * DAY_MS), round(high * DAY_MS), 7 if axes.figure.get_figwidth() > 5 else 3
    )
    form = {"m": "{:%d %H:%M}", "D": "{:%m-%d}", "M": "{:%Y-%m}"}[unit]
    axes.set_xticks([tick / DAY_MS for tick in ticks], [form.format(from_ms(t)) for t in ticks])
    inches = axes.get_position().width * axes.figure.get_figwidth()
    for label, tick in zip(axes.get_xticklabels(), ticks, strict=True):
        label.set_fontproperties(_font(9.5))
        if (high - tick / DAY_MS) / (high - low) * inches < 0.25:
            label.set_horizontalalignment("right")  # else the figure's edge would cut it off
    # midnight ends the day before
    first, last = (utc_day(from_ms(ms)) for ms in (round(low * DAY_MS), round(high * DAY_MS) - 1))
    days = first if first == last else f"{first} to {last}"
    axes.set_xlabel(f"{days}, UTC", color=INK, fontproperties=_font(9.5), labelpad=2)


def _draw_equity(figure: Figure, study: Study) -> None:
    """Net and gross above, drawdown below, on one time axis."""
    days = np.concatenate([[study.at_ms[0] - MINUTE_MS], study.at_ms]) / DAY_MS
    net, gross = (np.concatenate([[study.start], curve]) for curve in (study.equity, study.gross))
    drawdown = np.concatenate([[0.0], -study.drawdown])
    upper, lower = _axes(figure, 0.47, 0.82), _axes(figure, 0.155, 0.38)
    for curve, colour, style, width in (
        (gross, ORANGE, (0, (4, 1.5)), 1.6),
        (net, BLUE, "solid", 1.4),
    ):
        rows = thinned(days, curve)
        upper.plot(days[rows], curve[rows], color=colour, linestyle=style, linewidth=width)
    upper.axhline(study.start, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    rows = thinned(days, drawdown)
    lower.fill_between(days[rows], drawdown[rows], color=GRID, linewidth=0)
    lower.plot(days[rows], drawdown[rows], color=RED, linewidth=1)
    upper.margins(y=0.08)
    lower.set_ylim(min(1.1 * drawdown.min(), -1e-4), 0)
    _set_ticks(upper, "{:,.{digits}f}", 4)
    _set_ticks(lower, "{:.{digits}f}%", 3)
    for axes in (upper, lower):
        _set_times(axes, float(days[0]), float(days[-1]))
    upper.set_xticklabels([])
    upper.set_xlabel("")
    lower.set_title(
        f"drawdown of net, worst {drawdown.min():.2%}", loc="left", color=RED, pad=3,
        fontproperties=_font(9.5),
    )  # fmt: skip
    _title(
        figure,
        [
            [("Equity, USDT", INK)],
            [(f"— net {net[-1]:,.4f}", BLUE), (f"- - gross {gross[-1]:,.4f}", BROWN)],
        ],
    )


@dataclass(frozen=True)
class _Trades:
    """The last closed trades of one symbol, and the candles around them."""

    study: Study
    candles: Candles

    @cached_property
    def all(self) -> np.ndarray:
        """Rows of the symbol's closed trades in the order of their exits, within the candles."""
        study, at = self.study, self.candles.open_ms
        here = study.closed & (study.symbol == self.candles.symbol)
        here &= (study.entry_ms >= at[0]) & (study.exit_ms <= at[-1])
        rows = np.flatnonzero(here)
        return rows[np.argsort(study.exit_ms[rows], kind="stable")]

    @cached_property
    def rows(self) -> np.ndarray:
        return self.all[-TRADES_SHOWN:]

    @property
    def title(self) -> str:
        if not len(self.all):
            return f"{self.candles.symbol}, no closed trade"
        shown_of = f"{len(self.rows)} of {len(self.all):,} trades"
        return f"{self.candles.symbol}, the last {shown_of}"

    @cached_property
    def seen(self) -> Candles:
        """The candles from shortly before the first to shortly after the last of the trades shown."""
        if not len(self.rows):
            return self.candles
        begin = int(self.study.entry_ms[self.rows].min())
        end = int(self.study.exit_ms[self.rows].max())
        room = max((end - begin) // 20, 30 * MINUTE_MS)
        found = np.searchsorted(self.candles.open_ms, [begin - room, end + room])
        return self.candles[int(found[0]) : int(found[1])]


def _draw_trades(figure: Figure, scene: _Trades) -> None:
    study, seen = scene.study, scene.seen
    axes = _axes(figure, 0.155, 0.82)
    days, price = (seen.open_ms + MINUTE_MS) / DAY_MS, seen.close / 10.0**seen.decimals
    rows = thinned(days, price)
    axes.plot(days[rows], price[rows], color=BLUE, linewidth=1)
    won = 0
    for row in scene.rows:
        held = np.array([study.entry_ms[row], study.exit_ms[row]]) / DAY_MS
        prices = [study.entry_price[row], study.exit_price[row]]
        gained = study.pnl[row] > 0
        won += int(gained)
        axes.plot(
            held, prices, color=GREEN if gained else RED, linewidth=1.4,
            linestyle="solid" if gained else (0, (1, 1.5)),
        )  # fmt: skip
        for at, paid, shape, colour in zip(held, prices, "^v", (GREEN, RED), strict=True):
            axes.plot(
                at, paid, marker=shape, markersize=7, color=colour, markeredgecolor="white",
                markeredgewidth=0.8, zorder=5,
            )  # fmt: skip
    axes.margins(y=0.08)
    _set_ticks(axes, "{:,.{digits}f}", 5)
    _set_times(axes, float(days[0]), float(days[-1]))
    _title(
        figure,
        [
            [(scene.title, INK)],
            [
                ("▲ entry", GREEN), ("▼ exit", RED), (f"— won {won}", GREEN),
                (f"··· lost {len(scene.rows) - won}", RED),
            ],
        ],
    )  # fmt: skip
