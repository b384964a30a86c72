"""Figures as small PNGs that look the same everywhere: one font, one palette, no pyplot, no clock.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; nothing is told by colour alone.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tgtqr_lib.clock import MINUTE, to_ms
from tgtqr_lib.domain import MINUTE_MS, Candles, Choice, Decision, History, Inputs, MarketView, Side
from tgtqr_lib.signals.moving_average import trailing_sum
from tgtqr_lib.strategies import strategy_named
from tgtqr_lib.tick_page import action, grouped

BLUE, ORANGE, INK = "#0072B2", "#E69F00", "#333333"
# letters want more contrast than lines: darker shades of Okabe and Ito's green, vermilion and orange
GREEN, RED, BROWN = "#007A59", "#B84E00", "#8A6100"
GRID = "#E4E4E4"  # lines behind, and minutes that are missing
PALETTE = ("#FFFFFF", BLUE, ORANGE, GREEN, RED, BROWN, INK, GRID)

# the decision's mark: up for an entry, down for an exit, a dot for neither; the second sign for a refused one
MARKERS = {Side.BUY: ("^", "▲△", GREEN), Side.SELL: ("v", "▼▽", RED), None: ("o", "●", INK)}

# Many dots with hard edges, scaled down by the page, look better than few with soft ones and take
# a third of the bytes.
WIDTH_IN, HEIGHT_IN, DPI, SHOWN_PX = 6.4, 3.0, 144, 700
STYLE = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"} | {
    f"{part}.antialiased": False for part in ("text", "lines", "patch")
}
MINUTES = 120  # of prices shown
ROOM = 0.25  # a limit is drawn when it lies within this share of the prices' range

_FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")


def font(points: float, *, bold: bool = False) -> FontProperties:
    """A font that comes with matplotlib, by its file, so that no font cache has a say."""
    name = "DejaVuSans-Bold" if bold else "DejaVuSans"
    return FontProperties(fname=str(_FONTS / f"{name}.ttf"), size=points)


@dataclass(frozen=True)
class Chart:
    """A figure as a page shows it.

    png    palette PNG, the same bytes for the same figure
    text   what the picture shows, for those who cannot see it
    """

    png: bytes
    text: str

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict, dict]:
        data = {"image/png": base64.b64encode(self.png).decode(), "text/plain": self.text}
        return data, {"image/png": {"alt": self.text, "width": SHOWN_PX}}


@dataclass(frozen=True)
class Charts:
    """Several charts, one below the other."""

    charts: tuple[Chart, ...]

    def __iter__(self) -> Iterator[Chart]:
        return iter(self.charts)

    def _ipython_display_(self) -> None:
        from IPython.display import display  # a page has it; the library does without

        for chart in self.charts:
            display(chart)


def price_and_mean(frozen: Inputs, decision: Decision) -> Charts:
    """For each symbol its last two hours of closes, their mean, and what was decided at the last one."""
    return Charts(
        tuple(price_chart(frozen, view, decision.choice(view.symbol)) for view in frozen.markets)
    )


def price_chart(frozen: Inputs, view: MarketView, choice: Choice) -> Chart:
    """One symbol's chart."""
    scene = Scene(frozen, view, choice)
    with matplotlib.rc_context(STYLE):  # nobody's own matplotlibrc has a say
        png = png_bytes(draw(scene))
    return Chart(png, f"{view.symbol}: {scene.label}. {choice.reason_text}")


@dataclass(frozen=True)
class Scene:
    """What a price chart shows; a close stands at its minute's end, in minutes from the boundary (<= 0)."""

    frozen: Inputs
    view: MarketView
    choice: Choice

    @property
    def label(self) -> str:
        """What was decided, in a few words."""
        return action(self.choice, self.view.instrument)

    @cached_property
    def shown(self) -> Candles:
        """The candles of the last `MINUTES`."""
        candles = self.view.candles
        oldest = to_ms(self.frozen.boundary) - (MINUTES + 1) * MINUTE_MS
        return candles[int(np.searchsorted(candles.open_ms, oldest)) :]

    @cached_property
    def minutes(self) -> np.ndarray:
        """(n,) int64 when each shown minute closed, counted from the boundary."""
        return (self.shown.open_ms - to_ms(self.frozen.boundary)) // MINUTE_MS + 1

    @cached_property
    def closes(self) -> np.ndarray:
        """(n,) float64 quote per base."""
        return self.shown.close / 10.0**self.shown.decimals

    @cached_property
    def window(self) -> int | None:
        """Closes in the mean; None for a strategy that compares with something else."""
        plan = self.frozen.plan
        return strategy_named(plan.strategy).checked(plan.parameters).get("window")

    @cached_property
    def means(self) -> np.ndarray:
        """(n,) float64 quote per base: the mean of `window` closes, NaN where a minute of it is missing."""
        candles = self.view.candles
        if self.window is None:
            return np.full(len(self.shown), np.nan)
        total = trailing_sum(candles.close, self.window) / self.window / 10.0**candles.decimals
        whole = History(candles).contiguous(self.window)
        return np.where(whole, total, np.nan)[len(candles) - len(self.shown) :]

    @cached_property
    def gaps(self) -> list[tuple[int, int]]:
        """Where minutes are missing: (last close before, first close after, or 0 when there is none)."""
        edges = np.append(self.minutes, 1)  # the minute after the boundary is not asked for
        holes = np.flatnonzero(np.diff(edges) > 1)
        return [(int(edges[i]), int(min(edges[i + 1], 0))) for i in holes]

    @property
    def decided(self) -> Side | None:
        """Entry, exit, or neither."""
        return self.choice.order and self.choice.order.side

    @property
    def refused(self) -> bool:
        """Whether there was an order that a rule refused."""
        return self.choice.order is not None and not self.choice.approved

    @property
    def limit(self) -> Decimal | None:
        """The order's limit when it lies near enough to the prices to be drawn without squashing them."""
        if self.choice.order is None or not len(self.closes):
            return None
        low, high = self.closes.min(), self.closes.max()
        near = ROOM * (high - low)
        limit = self.choice.order.limit
        return limit if low - near <= limit <= high + near else None


def draw(scene: Scene) -> Figure:
    """The figure of `scene`; with no candle, an empty frame that says why."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.13, 0.175, 0.685, 0.64))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _, signs, colour = MARKERS[scene.decided]
    label = f"{signs[scene.refused]} {scene.label}"
    figure.text(0.012, 0.92, scene.view.symbol, color=INK, fontproperties=font(12, bold=True))
    figure.text(0.18, 0.92, label, color=colour, fontproperties=font(12, bold=True))
    if len(scene.shown):
        _draw_prices(axes, scene)
    else:
        _draw_nothing(axes, scene)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """`figure` as a PNG of `PALETTE` alone: small, without a date, the same bytes every time."""
    canvas = figure.canvas
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    palette = Image.new("P", (1, 1))
    palette.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in PALETTE))
    out = io.BytesIO()
    few = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    few.save(out, "PNG", compress_level=8)
    return out.getvalue()


def _draw_prices(axes: Axes, scene: Scene) -> None:
    minutes, closes = scene.minutes, scene.closes
    for start, end in scene.gaps:
        axes.axvspan(start, end, color=GRID, linewidth=0, zorder=0)
        if end - start >= 8:
            axes.text(
                (start + end) / 2, 0.03, "no data", transform=axes.get_xaxis_transform(),
                ha="center", color=INK, fontproperties=font(9),
            )  # fmt: skip
    axes.plot(*_broken(minutes, closes), color=BLUE, linewidth=1.3, solid_joinstyle="round")
    axes.plot(*_broken(minutes, scene.means), color=ORANGE, linewidth=1.8, linestyle=(0, (4, 1.5)))
    if scene.limit is not None:
        axes.axhline(float(scene.limit), color=INK, linewidth=1, linestyle=(0, (1, 2)))
    shape, _, colour = MARKERS[scene.decided]
    axes.plot(
        minutes[-1], closes[-1], marker=shape, markersize=12 if scene.choice.order else 9,
        color="white" if scene.refused else colour, markeredgewidth=1.5,
        markeredgecolor=colour if scene.refused else "white", clip_on=False, zorder=5,
    )  # fmt: skip
    _scale(axes, scene)
    _name_ends(axes, scene)


def _broken(minutes: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line through `values`, broken by a NaN where minutes are missing."""
    holes = np.flatnonzero(np.diff(minutes) != 1) + 1
    return np.insert(minutes.astype(float), holes, np.nan), np.insert(values, holes, np.nan)


def _scale(axes: Axes, scene: Scene) -> None:
    """Both axes: prices with thousands and unit, times in UTC."""
    drawn = [*scene.closes, *scene.means[np.isfinite(scene.means)]]
    drawn += [float(scene.limit)] if scene.limit is not None else []
    low, high = min(drawn), max(drawn)
    room = max((high - low) * 0.08, 2 * 10.0**-scene.shown.decimals)
    low, high = low - room, high + room
    axes.set_ylim(low, high)
    prices = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    prices = prices[(prices >= low) & (prices <= high - room / 3)]
    digits = next((d for d in range(6) if np.allclose(prices, np.round(prices, d), 0, 1e-9)), 6)
    axes.set_yticks(prices, [f"{price:,.{digits}f}" for price in prices])

    first = min(int(scene.minutes[0]), -15)
    axes.set_xlim(first, 1.5)
    every = 5 if first > -30 else 15 if first > -90 else 30
    times = {m: scene.frozen.boundary + m * MINUTE for m in range(first, 1)}
    shown = {m: f"{time:%H:%M}" for m, time in times.items() if time.minute % every == 0}
    axes.set_xticks(list(shown), list(shown.values()))

    axes.tick_params(colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(10.5))
    day = f"{scene.frozen.boundary:%Y-%m-%d}, UTC"
    axes.set_xlabel(day, color=INK, fontproperties=font(10.5), labelpad=1)
    axes.text(
        -0.018, 1.035, "USDT", transform=axes.transAxes, ha="right", color=INK,
        fontproperties=font(10.5),
    )  # fmt: skip


def _name_ends(axes: Axes, scene: Scene) -> None:
    """The lines' names and last values at the right, kept apart when the lines meet."""
    low, high = axes.get_ylim()
    ends = [(scene.closes[-1], "close", grouped(scene.shown.last_close), BLUE)]
    if scene.choice.signal.mean is not None:
        mean = scene.choice.signal.mean
        digits = Decimal(1).scaleb(-scene.shown.decimals - 1)
        name = f"mean of {scene.window}" if scene.window else "compared with"
        ends.append((float(mean), name, grouped(mean.quantize(digits)), ORANGE))
    if scene.limit is not None:
        ends.append((float(scene.limit), "limit", grouped(scene.limit), INK))
    ends.sort(key=lambda end: end[0])
    at = _apart([(value - low) / (high - low) for value, *_ in ends], 0.2)
    for place, (_, name, value, colour) in zip(at, ends, strict=True):
        axes.text(
            1.025, place, f"{name}\n{value}", transform=axes.transAxes, va="center", linespacing=1.15,
            color=colour if colour != ORANGE else BROWN, fontproperties=font(10),
        )  # fmt: skip


def _apart(places: list[float], least: float) -> list[float]:
    """`places`, ascending, moved until they are `least` apart and between 0.05 and 0.95."""
    up, down = list(places), list(places)
    for i in range(1, len(places)):
        up[i] = max(up[i], up[i - 1] + least)
        down[-i - 1] = min(down[-i - 1], down[-i] - least)
    lowest = [0.05 + i * least for i in range(len(places))]
    highest = [0.95 - i * least for i in reversed(range(len(places)))]
    bounds = zip(up, down, lowest, highest, strict=True)
    return [min(max((a + b) / 2, low), high) for a, b, low, high in bounds]


def _draw_nothing(axes: Axes, scene: Scene) -> None:
    """A frame that says what is missing."""
    axes.set_xticks([])
    axes.set_yticks([])
    why = scene.choice.reason_text
    axes.text(
        0.5, 0.5, f"There is no closed minute to draw.\n{fill(why, 50)}", transform=axes.transAxes,
        ha="center", va="center", color=INK, fontproperties=font(10),
    )  # fmt: skip
