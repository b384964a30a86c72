"""The page's charts as SVG that takes the page's own colours and font, wide and narrow.

Drawn by matplotlib with stand-in colours that become CSS variables, so that one picture serves light and
dark; both widths are in the page and its style sheet shows the one that fits.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import Fill, Side

# stand-ins: no colour of a picture, each the name of a colour of the page
COLOURS = {
    name: f"#0{number}0{number}f{number}"
    for number, name in enumerate(
        ("ink", "muted", "line", "blue", "orange", "green", "red", "purple", "surface"), start=1
    )
}
# inches, of which a point is a pixel of the page: the whole width, half of it, a phone's
FULL, HALF, NARROW = (11.8, 3.7), (6.1, 3.3), (3.6, 3.1)
TEXT_PT = 10.0
STYLE = {
    "svg.fonttype": "none",  # words stay words, in the page's font
    "svg.hashsalt": "tgtqr",
    "path.simplify": True,
    "path.simplify_threshold": 0.4,
    "font.size": TEXT_PT,
    "font.family": "sans-serif",
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.xmargin": 0.01,
}
STEP_MS = 60_000
GAP_MS = 180_000  # further apart than this, and the line is broken
POINTS = 700  # of a line, more than its pixels
HOURS = (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720)


@dataclass(frozen=True)
class Line:
    """Values (n,) float64 at `times` (n,) int64 ms; NaN breaks the line, and so do missing minutes."""

    name: str
    times: np.ndarray
    values: np.ndarray
    colour: str
    dashed: bool = False

    def broken(self) -> tuple[np.ndarray, np.ndarray]:
        """Times in hours since the epoch and values, a NaN in every gap; few enough to be drawn."""
        rows = _telling(self.values, POINTS)
        apart = np.diff(self.times[rows]) > GAP_MS + STEP_MS * np.diff(rows)
        holes = np.flatnonzero(apart) + 1
        times = np.insert(self.times[rows].astype(float), holes, np.nan)
        return times / 3_600_000, np.insert(self.values[rows].astype(float), holes, np.nan)


def _telling(values: np.ndarray, most: int) -> np.ndarray:
    """The rows of at most about `most` values that draw the same line: each stretch's ends and extremes."""
    size = -(-len(values) * 4 // most)
    if size <= 4:
        return np.arange(len(values))
    starts = np.arange(0, len(values), size)
    kept = [starts, np.minimum(starts + size - 1, len(values) - 1)]
    finite = np.where(
        np.isfinite(values), values, np.nanmean(values) if np.isfinite(values).any() else 0
    )
    for start in starts:
        part = finite[start : start + size]
        kept.append(np.array([start + part.argmin(), start + part.argmax()]))
    return np.unique(np.concatenate(kept))


def equity_chart(line: Line, fills: Sequence[Fill], start: float) -> str:
    """Equity by minute with a mark at every fill, and below it the drawdown; HTML.

    start  equity when the account was opened, USDT: a dotted line where it is in sight
    """
    peak = np.maximum.accumulate(line.values) if len(line.values) else line.values
    down = Line("drawdown", line.times, line.values - peak, "red")

    def draw(figure: Figure, narrow: bool) -> None:
        top, low = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1), "hspace": 0.12}
        )
        _plot(top, line)
        low_end, high_end = top.get_ylim()
        if low_end <= start <= high_end:
            top.axhline(start, color=COLOURS["muted"], linewidth=0.8, linestyle=(0, (1, 3)))
        _marks(top, fills, line)
        _plot(low, down, filled=True)
        _money_axis(top, "USDT", narrow)
        _money_axis(low, "", narrow, few=True)
        low.set_ylabel("" if narrow else "drawdown")
        _time_axis(low, line.times, narrow)

    first, last = (line.values[0], line.values[-1]) if len(line.values) else (start, start)
    text = (
        f"Equity from {first:.4f} to {last:.4f} USDT, largest drawdown "
        f"{-down.values.min() if len(down.values) else 0:.4f} USDT, {len(fills)} fills"
    )
    return both(draw, text, FULL)


def price_chart(symbol: str, lines: Sequence[Line], fills: Sequence[Fill], band_bps: int) -> str:
    """Closes of a symbol with their mean, its band, and a mark at every fill; HTML."""
    close, mean = lines

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.subplots()
        if band_bps:
            half = band_bps / 10_000
            times, middle = mean.broken()
            axes.fill_between(
                times,
                middle * (1 - half),
                middle * (1 + half),
                color=COLOURS["orange"],
                alpha=0.2,
                linewidth=0,
            )
        for line in lines:
            _plot(axes, line)
        _marks(axes, fills, close)
        _money_axis(axes, "", narrow)
        _time_axis(axes, close.times, narrow)
        handles = axes.get_lines()[: len(lines)]
        axes.legend(
            handles,
            [line.name for line in lines],
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            ncols=2,
        )

    text = f"{symbol}: {len(close.values)} closes"
    if len(close.values):
        text += f", the last {close.values[-1]:,.2f} USDT"
    return both(draw, f"{text}, {len(fills)} fills", HALF)


def both(draw, text: str, wide: tuple[float, float]) -> str:
    """The picture wide and narrow as one HTML figure; `text` tells it to those who cannot see it."""
    parts = [
        f'<div class="{name}">{svg(draw, size, narrow=name == "narrow")}</div>'
        for name, size in (("wide", wide), ("narrow", NARROW))
    ]
    return f'<figure class="chart" role="img" aria-label="{escape(text, quote=True)}">{"".join(parts)}</figure>'


def svg(draw, size: tuple[float, float], *, narrow: bool) -> str:
    """What `draw(figure, narrow)` draws, as an SVG element that fills the width it is given."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=72, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure, narrow)
        figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    # a tenth of a pixel is enough for a line; words keep their digits
    text = re.sub(r' d="[^"]*"', lambda d: re.sub(r"(\.\d)\d+", r"\1", d[0]), text)
    # ids are those of a whole page: each picture has its own
    salt = f"{abs(hash(text)):x}"[:8]
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{salt}-", text)
    for name, stand_in in COLOURS.items():
        text = text.replace(stand_in, f"var(--{name})")
    return text


def _plot(axes: Axes, line: Line, *, filled: bool = False) -> None:
    times, values = line.broken()
    style = (0, (4, 1.5)) if line.dashed else "solid"
    if filled:
        axes.fill_between(times, values, 0, color=COLOURS[line.colour], alpha=0.3, linewidth=0)
    axes.plot(times, values, color=COLOURS[line.colour], linewidth=1.4, linestyle=style)


def _marks(axes: Axes, fills: Sequence[Fill], line: Line) -> None:
    """A triangle up for each purchase and down for each sale, on the line."""
    if not len(line.times):
        return
    for side, shape, colour in ((Side.BUY, "^", "green"), (Side.SELL, "v", "red")):
        at = np.array([fill.at.timestamp() * 1000 for fill in fills if fill.side is side])
        if len(at):
            heights = np.interp(at, line.times, line.values)
            axes.plot(
                at / 3_600_000, heights, shape, color=COLOURS[colour], markersize=6 if len(at) < 80 else 4,
                markeredgecolor=COLOURS["surface"], markeredgewidth=0.6, linestyle="none",
            )  # fmt: skip


def _money_axis(axes: Axes, unit: str, narrow: bool, few: bool = False) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(3 if few else 5, steps=[1, 2, 2.5, 5, 10]))
    low, high = axes.get_ylim()
    digits = int(np.clip(1 - np.floor(np.log10(max(high - low, 1e-8) / 4)), 0, 6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.{digits}f}"))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    if unit and narrow:
        axes.set_title(unit, loc="right", fontsize=TEXT_PT, color=COLOURS["muted"], pad=4)
    elif unit:
        axes.set_ylabel(unit)


def _time_axis(axes: Axes, times: np.ndarray, narrow: bool) -> None:
    """Hours or days in UTC, as many as fit."""
    if len(times) < 2:
        axes.set_xticks([])
        return
    first, last = times[0] / 3_600_000, times[-1] / 3_600_000
    most = 4 if narrow else 8
    step = next((h for h in HOURS if (last - first) / h <= most), 2160)
    ticks = np.arange(np.ceil(first / step) * step, last + 1e-9, step)
    axes.set_xlim(first, last + (last - first) * 0.01)
    axes.set_xticks(ticks, [_time_label(from_ms(round(t * 3_600_000)), step) for t in ticks])
    axes.set_xlabel(f"{from_ms(int(times[-1])):%Y-%m-%d}, UTC")


def _time_label(moment: datetime, step: float) -> str:
    if step >= 24 or (step > 3 and moment.hour == 0 and moment.minute == 0):
        return f"{moment:%b} {moment.day}"
    return f"{moment:%H:%M}"
