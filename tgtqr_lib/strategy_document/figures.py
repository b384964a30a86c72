"""The document's figures: PDFs by matplotlib, the same bytes every time, legible in grey.

Colours are Okabe and Ito's and the map's is cividis; lines differ by their dashes, bars by their hatching.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import BoundaryNorm
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tgtqr_lib.charts import BLUE, GREEN, GRID, INK, ORANGE, RED
from tgtqr_lib.clock import from_ms
from tgtqr_lib.domain import MINUTE_MS
from tgtqr_lib.limits import HARD, INITIAL_EQUITY
from tgtqr_lib.research import Past
from tgtqr_lib.signals.moving_average import trailing_sum
from tgtqr_lib.strategies import STRATEGIES
from tgtqr_lib.strategy_document.facts import SEED
from tgtqr_lib.strategy_document.mercy import Mercy
from tgtqr_lib.strategy_document.study import BANDS, WINDOWS, Evidence, Subject

WIDTH_IN = 6.3  # of the text
STYLE = {name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"} | {
    "font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8, "legend.fontsize": 7.5,
    "xtick.labelsize": 7.5, "ytick.labelsize": 7.5, "axes.edgecolor": INK, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": GRID,
    "grid.linewidth": 0.6, "axes.axisbelow": True, "lines.linewidth": 1.1, "legend.frameon": False,
    "pdf.fonttype": 42, "hatch.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
}  # fmt: skip
EVERY_MIN = 360  # between two points of a curve over a year; a curve of minutes is 10 MB
SHOWN_MIN = 360  # of prices in the picture of the signal


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE):
        yield


def _pdf(figure: Figure) -> bytes:
    out = io.BytesIO()
    FigureCanvasPdf(figure).print_pdf(
        out, metadata={"CreationDate": None, "Producer": None, "Creator": None}
    )
    return out.getvalue()


def _dates(axes: Any) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _thin(values: np.ndarray, every: int = EVERY_MIN) -> np.ndarray:
    """Every so many values, the last one among them."""
    rows = np.arange(0, len(values), every)
    return values[np.unique(np.append(rows, len(values) - 1))]


def signal(past: Past, subject: Subject) -> Figure:
    """The last hours of a history: close, mean, and where the backtest bought and sold."""
    window = STRATEGIES[SEED].parameters["window"].default
    candles = past.candles.tail(SHOWN_MIN + window - 1)
    mean = (trailing_sum(candles.close, window) / window)[window - 1 :] / 10.0**candles.decimals
    close = candles.close[window - 1 :] / 10.0**candles.decimals
    times = (candles.open_ms[window - 1 :] + MINUTE_MS).astype("datetime64[ms]")
    figure = Figure(figsize=(WIDTH_IN, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(times, close, color=BLUE, label="close, each minute", linewidth=0.9)
    axes.plot(times, mean, color=ORANGE, linestyle=(0, (5, 1.5)), label=f"mean of {window} closes")
    places = {s: i for i, s in enumerate(subject.off.symbols)}
    own = subject.off.column("symbol") == places[past.candles.symbol]
    scale = 10.0 ** subject.off.decimals[places[past.candles.symbol]]
    for kind, marker, colour, label in (
        ("entry", "^", GREEN, "bought"), ("exit", "v", RED, "sold"),
    ):  # fmt: skip
        at = subject.off.column(f"{kind}_ms")[own].astype("datetime64[ms]")
        price = subject.off.column(f"{kind}_price")[own] / scale
        shown = at >= times[0]
        axes.plot(at[shown], price[shown], marker, color=colour, label=label, markersize=5)
    locator = HourLocator(interval=1)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylabel(f"{past.candles.symbol}, USDT")
    axes.set_xlim(times[0], times[-1])
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def equity(evidence: Evidence) -> Figure:
    """Net and gross of both symbols without loss limits, and net with them down to the floor."""
    subject = evidence.both
    study, on = subject.study, subject.on
    figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    axes = figure.subplots()
    times = study.at_ms.astype("datetime64[ms]")
    axes.plot(_thin(times), _thin(study.gross), color=BLUE, label="gross, limits off")
    axes.plot(
        _thin(times),
        _thin(study.equity),
        color=RED,
        linestyle=(0, (5, 1.5)),
        label="net, limits off",
    )
    axes.plot(
        _thin((on.times_ms + MINUTE_MS).astype("datetime64[ms]")), _thin(on.equity_units / 1e8),
        color=INK, linestyle=(0, (1, 1)), linewidth=1.8, label="net, limits on",
    )  # fmt: skip
    floor = float(INITIAL_EQUITY - HARD.total_loss_usdt)
    axes.axhline(floor, color=GREEN, linestyle="-.", linewidth=0.9, label="floor of the account")
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_ylabel("equity, USDT")
    axes.set_xlim(times[0], times[-1])
    _dates(axes)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def costs(evidence: Evidence) -> Figure:
    """What gross, fees and spread make of net, side by side for each subject."""
    figure = Figure(figsize=(WIDTH_IN, 2.4), layout="constrained")
    axes = figure.subplots()
    parts: tuple[tuple[str, str, str, Callable[[Subject], float]], ...] = (
        ("gross", BLUE, "", lambda s: float(s.off.gross)),
        ("fees", ORANGE, "///", lambda s: -float(s.off.fees)),
        ("spread", GREEN, "...", lambda s: -float(s.off.spread)),
        ("net", RED, "xxx", lambda s: float(s.off.pnl)),
    )
    wide = 0.2
    for place, (name, colour, hatch, value) in enumerate(parts):
        at = np.arange(len(evidence.subjects)) + (place - 1.5) * wide
        heights = [value(subject) for subject in evidence.subjects]
        bars = axes.bar(
            at, heights, wide * 0.92, color=colour, hatch=hatch, edgecolor="white",
            linewidth=0, label=name,
        )  # fmt: skip
        axes.bar_label(bars, [f"{height:+.2f}" for height in heights], padding=2, fontsize=7)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xticks(range(len(evidence.subjects)), [subject.name for subject in evidence.subjects])
    axes.set_ylabel("USDT")
    axes.margins(y=0.14)
    axes.grid(axis="x", visible=False)
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def sweep(evidence: Evidence) -> Figure:
    """Net result over window and band, a map for each symbol, on one scale."""
    figure = Figure(figsize=(WIDTH_IN, 2.9), layout="constrained")
    panels = figure.subplots(1, len(evidence.maps), sharey=True)
    nets = {
        symbol: (found.pnl / 1e8).reshape(len(WINDOWS), len(BANDS))
        for symbol, found in evidence.maps.items()
    }
    levels = steps(*np.concatenate([net.ravel() for net in nets.values()]))
    norm = BoundaryNorm(levels, 256)
    seed = STRATEGIES[SEED].parameters
    for axes, (symbol, net) in zip(np.atleast_1d(panels), nets.items(), strict=True):
        drawn = axes.pcolormesh(
            WINDOWS, BANDS, net.T, cmap="cividis", norm=norm, shading="nearest",
            rasterized=True,
        )  # fmt: skip
        axes.plot(
            seed["window"].default, seed["band_bps"].default, "o", color="white",
            markeredgecolor="black", markersize=6, clip_on=False, zorder=5,
        )  # fmt: skip
        best = np.unravel_index(int(net.argmax()), net.shape)
        axes.plot(
            WINDOWS[best[0]], BANDS[best[1]], "*", color="white", markeredgecolor="black",
            markersize=9, clip_on=False, zorder=5,
        )  # fmt: skip
        axes.set_title(symbol)
        axes.set_xscale("log")
        axes.set_xticks([15, 30, 60, 120, 240, 480, 960], minor=False)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("window, minutes")
        axes.grid(visible=False)
    np.atleast_1d(panels)[0].set_ylabel("band, bps")
    bar = figure.colorbar(drawn, ax=panels, label="net, USDT", pad=0.02, spacing="uniform")
    bar.set_ticks(levels, labels=[f"{level:g}" for level in levels])
    return figure


def steps(*values: float) -> list[float]:
    """Levels 1, 2 and 5 times powers of ten, both ways from 0, that just span `values`; steps, not shades.

    Costs differ by a hundredfold over a map; an even scale would show the worst corner alone.
    """
    ladder = [m * 10.0**p for p in range(-1, 5) for m in (1, 2, 5)]
    every = [-one for one in reversed(ladder)] + [0.0, *ladder]
    first = max((i for i, level in enumerate(every) if level <= min(values)), default=0)
    last = min((i for i, level in enumerate(every) if level >= max(values)), default=len(every) - 1)
    return every[first : max(last, first + 1) + 1]


def walk(evidence: Evidence) -> Figure:
    """What each choice had made in its training, and what it then made."""
    figure = Figure(figsize=(WIDTH_IN, 2.5), layout="constrained")
    panels = figure.subplots(1, len(evidence.walks), sharey=True)
    for axes, (symbol, walked) in zip(np.atleast_1d(panels), evidence.walks.items(), strict=True):
        at = np.arange(len(walked.kept))
        axes.bar(
            at - 0.2, walked.promised * 1000, 0.38, color=BLUE, hatch="///", edgecolor="white",
            linewidth=0, label="in training",
        )  # fmt: skip
        axes.bar(at + 0.2, walked.kept * 1000, 0.38, color=ORANGE, label="in the test after it")
        days = [from_ms(int(each.at_ms[0])).strftime("%d %b") for each in walked.forward.judged]
        axes.set_xticks(at, days, rotation=60)
        axes.axhline(0, color=INK, linewidth=0.6)
        axes.set_title(symbol)
        axes.grid(axis="x", visible=False)
    first = np.atleast_1d(panels)[0]
    first.set_ylabel("net, 0.001 USDT a day")
    figure.legend(*first.get_legend_handles_labels(), ncols=2, loc="outside upper center")
    return figure


def intervals(evidence: Evidence) -> Figure:
    """Bootstrap intervals of the Sharpe ratio and of the total return; empty when days are too few."""
    shown = [subject for subject in evidence.subjects if subject.intervals]
    figure = Figure(figsize=(WIDTH_IN, 1.7), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (name, label, scale) in zip(
        panels, (("sharpe", "Sharpe ratio, a year", 1), ("total_return", "total return, %", 100)),
        strict=True,
    ):  # fmt: skip
        for place, subject in enumerate(shown):
            found = subject.intervals[name]
            axes.plot(
                [found.low * scale, found.high * scale], [place, place], color=BLUE, linewidth=2
            )
            axes.plot(found.estimate * scale, place, "D", color=INK, markersize=4)
        axes.set_yticks(range(len(shown)), [subject.name for subject in shown])
        axes.set_ylim(max(len(shown), 1) - 0.5, -0.5)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xlabel(label)
        axes.grid(axis="y", visible=False)
    return figure


def mercy(found: Mercy) -> Figure:
    """Equity in the market without mercy, with the limits and without, and the floor."""
    figure = Figure(figsize=(WIDTH_IN, 2.5), layout="constrained")
    axes = figure.subplots()
    every = 5
    axes.plot(
        _thin(found.times, every), _thin(found.equity_off, every), color=RED,
        linestyle=(0, (5, 1.5)), label="limits off",
    )  # fmt: skip
    axes.plot(
        _thin(found.times, every), _thin(found.equity_on, every), color=BLUE, label="limits on"
    )
    axes.plot(
        _thin(found.times, every), _thin(found.floor, every), color=GREEN, linestyle="-.",
        linewidth=0.9, label="floor, the higher of the day's and the account's",
    )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_ylim(-0.6, float(INITIAL_EQUITY) + 0.6)
    axes.set_xlim(found.times[0], found.times[-1])
    axes.set_ylabel("equity, USDT")
    _dates(axes)
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def draw(make: Callable[..., Figure], *given: Any) -> bytes:
    """The PDF of a figure."""
    with _style():
        return _pdf(make(*given))
