"""The hour before a tick and the minutes after it in one picture: closes, fills, and a stop."""

from __future__ import annotations

from datetime import datetime

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tgtqr_lib.charts import (
    BLUE,
    BROWN,
    DPI,
    GREEN,
    GRID,
    HEIGHT_IN,
    INK,
    RED,
    STYLE,
    WIDTH_IN,
    Chart,
    Charts,
    font,
    png_bytes,
)  # fmt: skip
from tgtqr_lib.clock import MINUTE, parse_time, to_ms
from tgtqr_lib.domain import MINUTE_MS, Candles, Fill, Side
from tgtqr_lib.post_mortem.aftermath import After, Course
from tgtqr_lib.post_mortem.case import Case
from tgtqr_lib.sizing import SAFETY

BEFORE = 60  # minutes


def pictures(case: Case, after: After) -> Charts:
    """One for each symbol."""
    return Charts(tuple(_chart(case, after, course) for course in after.courses))


def _chart(case: Case, after: After, course: Course) -> Chart:
    with matplotlib.rc_context(STYLE):
        png = png_bytes(draw(case, after, course))
    return Chart(png, summary(case, course))


def summary(case: Case, course: Course) -> str:
    """What the picture shows, in words."""
    if not course.closes or course.start is None:
        return f"{course.symbol}: no minute after the tick is known"
    last = course.closes[-1]
    minutes = (last.at - case.inputs.boundary) // MINUTE
    return (
        f"{course.symbol}: {course.start:f} at the tick, {last.price:f} {minutes} minutes later "
        f"({bps(course.start, last.price):+.1f} bps)"
    )


def bps(start, price) -> float:
    """How far `price` is from `start`, in basis points of it."""
    return float((price - start) / start * 10_000)


def draw(case: Case, after: After, course: Course) -> Figure:
    """The figure of one symbol."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.13, 0.175, 0.835, 0.66))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.text(0.012, 0.93, summary(case, course), color=INK, fontproperties=font(10.5))
    boundary = case.inputs.boundary
    before = _before(case.inputs.market(course.symbol).candles, boundary)
    later = [((c.at - boundary) / MINUTE, float(c.price)) for c in course.closes]
    joined = [*before[-1:], *later]
    prices = [price for _, price in (*before, *later)]
    if not prices:
        axes.text(0.5, 0.5, "no close is known", transform=axes.transAxes, ha="center",
                  color=INK, fontproperties=font(10))  # fmt: skip
    axes.axvline(0, color=INK, linewidth=1)
    axes.plot(*_line(before), color=BLUE, linewidth=1.3)
    axes.plot(*_line(joined), color=BROWN, linewidth=1.6)
    if course.start is not None:
        axes.axhline(float(course.start), color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    fills = [cost.fill for cost in after.costs if cost.fill.symbol == course.symbol]
    for fill in fills:
        _mark(axes, fill, boundary)
    _stop(axes, case, boundary, after.minutes)
    _scale(axes, [*prices, *(float(fill.price) for fill in fills)], after.minutes, boundary)
    return figure


def _before(candles: Candles, boundary: datetime) -> list[tuple[float, float]]:
    """(minutes from the boundary, price) of the closes of the hour before."""
    return [
        ((int(ms) + MINUTE_MS - to_ms(boundary)) / MINUTE_MS, float(candles.price(close)))
        for ms, close in zip(candles.open_ms, candles.close, strict=True)
        if int(ms) >= to_ms(boundary) - (BEFORE + 1) * MINUTE_MS
    ]


def _line(points: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The line through `points`, broken where minutes are missing."""
    at = np.array([minute for minute, _ in points], float)
    prices = np.array([price for _, price in points], float)
    holes = np.flatnonzero(np.diff(at) > 1) + 1
    return np.insert(at, holes, np.nan), np.insert(prices, holes, np.nan)


def _mark(axes: Axes, fill: Fill, boundary: datetime) -> None:
    """A fill: up for a purchase, down for a sale, a cross for a stop's safety sale."""
    safety = fill.order_id.endswith(f"-{SAFETY}")
    shape, colour = ("^", GREEN) if fill.side is Side.BUY else ("X" if safety else "v", RED)
    at = (fill.at - boundary) / MINUTE
    axes.plot(at, float(fill.price), marker=shape, markersize=11, color=colour,
              markeredgecolor="white", markeredgewidth=1.2, clip_on=False, zorder=5)  # fmt: skip


def _stop(axes: Axes, case: Case, boundary: datetime, minutes: int) -> None:
    """A line where the kit was stopped, when the ledger has a time for it."""
    told = case.stop and case.stop.body["at"]
    at = (parse_time(told) - boundary) / MINUTE if told else None
    if at is None or not 0 <= at <= minutes:
        return
    axes.axvline(at, color=RED, linewidth=1.6, linestyle=(0, (4, 1.5)))
    axes.text(at, 1.02, "STOPPED", transform=axes.get_xaxis_transform(), ha="center", color=RED,
              fontproperties=font(9.5))  # fmt: skip


def _scale(axes: Axes, prices: list[float], minutes: int, boundary: datetime) -> None:
    low, high = (min(prices), max(prices)) if prices else (0.0, 1.0)
    room = max((high - low) * 0.08, high * 1e-5)
    axes.set_ylim(low - room, high + room)
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = ticks[(ticks >= low - room) & (ticks <= high + room)]
    digits = next((d for d in range(6) if np.allclose(ticks, np.round(ticks, d), 0, 1e-9)), 6)
    axes.set_yticks(ticks, [f"{price:,.{digits}f}" for price in ticks])
    axes.set_xlim(-BEFORE, minutes + 1)
    every = 15 if minutes <= 60 else 30 if minutes <= 120 else 60
    times = {m: boundary + m * MINUTE for m in range(-BEFORE, minutes + 1)}
    shown = {m: f"{t:%H:%M}" for m, t in times.items() if (t.hour * 60 + t.minute) % every == 0}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.tick_params(colors=INK, length=3)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(10))
    axes.set_xlabel(f"{boundary:%Y-%m-%d}, UTC; the tick at the line", color=INK,
                    fontproperties=font(10), labelpad=1)  # fmt: skip
