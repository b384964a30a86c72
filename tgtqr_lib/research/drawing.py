"""Pictures as SVG written straight from arrays, because a slider that is dragged waits for each of them.

A line has at most its lowest and its highest value in each column of pixels. Colours are CSS variables,
those of Okabe and Ito, lighter in the dark; nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from tgtqr_lib.backtest.metrics import Study
from tgtqr_lib.backtest.report import time_ticks
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, Candles

WIDTH, HEIGHT = (
    640,
    300,
)  # of every picture, in its own pixels; it is shown as wide as there is room
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 44, 38
TRADES_SHOWN = 20
TIMES = {"m": "{:%d %H:%M}", "D": "{:%m-%d}", "M": "{:%Y-%m}"}

STYLE = """
.tgtqr-x{--ink:#222;--muted:#5b5b5b;--line:#dcdcdc;--blue:#0072B2;--orange:#B36B00;--green:#007A59;
--red:#B84E00;--surface:#fff}
body[data-jp-theme-light='false'] .tgtqr-x,body.theme-dark .tgtqr-x{--ink:#eee;--muted:#b5b5b5;
--line:#4a4a4a;--blue:#56B4E9;--orange:#E69F00;--green:#2FBF91;--red:#F0905A;--surface:#1b1b1b}
.tgtqr-x svg{display:block;width:100%;height:auto}
.tgtqr-x text{font-family:system-ui,sans-serif;font-size:12.5px;fill:var(--muted)}
.tgtqr-x text.t{font-size:14px;font-weight:600;fill:var(--ink)}
.tgtqr-x .e{text-anchor:end}.tgtqr-x .m{text-anchor:middle}
.tgtqr-x path,.tgtqr-x line{fill:none;stroke:var(--line);stroke-width:1}
.tgtqr-x path{stroke-width:1.5;stroke-linejoin:round}
.tgtqr-x .dash{stroke-dasharray:5 3}.tgtqr-x .dot{stroke-dasharray:1.5 3}
""".strip().replace("\n", "")


@dataclass(frozen=True)
class Sketch:
    """A picture for a notebook: SVG, and in words for those who cannot see it."""

    svg: str
    text: str

    def _repr_html_(self) -> str:
        return (
            f"<style>{STYLE}</style><div class='tgtqr-x' style='max-width:820px'>{self.svg}</div>"
        )

    def __repr__(self) -> str:
        return self.text


def outline(values: np.ndarray, columns: int) -> np.ndarray:
    """The rows of `values` that draw the same line: of each of `columns` stretches lowest and highest."""
    n = len(values)
    if n <= 2 * columns:
        return np.arange(n)
    size = -(-n // columns)
    padded = np.full(-(-n // size) * size, values[-1])
    padded[:n] = values
    blocks = padded.reshape(-1, size)
    found = np.stack([blocks.argmin(axis=1), blocks.argmax(axis=1)]) + np.arange(len(blocks)) * size
    return np.unique(np.concatenate([[0], np.minimum(found.ravel(), n - 1), [n - 1]]))


def round_ticks(low: float, high: float, most: int) -> tuple[list[float], int]:
    """At most `most` round numbers from `low` to `high`, and the digits after the point they need."""
    if not high > low:
        return [low], 2
    power = np.floor(np.log10((high - low) / most))
    for step in (10.0**power * factor for factor in (1, 2, 2.5, 5, 10, 20)):
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if last - first < most:
            break
    digits = next(d for d in range(12) if abs(round(step, d) - step) < step * 1e-6 or d == 11)
    return [float(i * step) for i in range(int(first), int(last) + 1)], digits


@dataclass(frozen=True)
class Frame:
    """The part of a picture in which values are drawn: both axes and what they map to."""

    x: tuple[float, float]
    y: tuple[float, float]

    @classmethod
    def around(cls, x: tuple[float, float], curves: Sequence[np.ndarray]) -> Frame:
        """With some room above and below `curves`."""
        low, high = min(float(c.min()) for c in curves), max(float(c.max()) for c in curves)
        room = 0.06 * (high - low) or max(abs(high) * 1e-3, 1e-6)
        return cls(x, (low - room, high + room))

    def at_x(self, value):
        return LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT)

    def at_y(self, value):
        return (
            HEIGHT
            - BOTTOM
            - (value - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - BOTTOM - TOP)
        )

    def path(self, x: np.ndarray, y: np.ndarray, colour: str, kind: str = "") -> str:
        """A line through the points, thinned to its outline."""
        rows = outline(y, WIDTH - LEFT - RIGHT)
        points = zip(self.at_x(x[rows]).tolist(), self.at_y(y[rows]).tolist(), strict=True)
        d = "L".join(f"{px:.1f} {py:.1f}" for px, py in points)
        return f"<path d='M{d}' class='{kind}' style='stroke:var(--{colour})'/>"

    def level(self, value: float) -> str:
        """A dotted line across, when it is in sight."""
        if not self.y[0] < value < self.y[1]:
            return ""
        y = self.at_y(value)
        return (
            f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' class='dot' "
            "style='stroke:var(--muted)'/>"
        )

    def values(self, most: int = 5) -> str:
        """Lines across at round values, named at the left."""
        ticks, digits = round_ticks(*self.y, most)
        return "".join(
            f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>"
            f"<text x='{LEFT - 7}' y='{y + 4:.1f}' class='e'>{number(tick, digits)}</text>"
            for tick in ticks
            for y in [self.at_y(tick)]
        )

    def times(self) -> str:
        """Round moments below, and the days they belong to."""
        low, high = (int(ms) for ms in self.x)
        ticks, unit = time_ticks(low, high, 7)
        labels = "".join(
            f"<text x='{min(max(self.at_x(tick), LEFT), WIDTH - 30):.1f}' y='{HEIGHT - BOTTOM + 16}' "
            f"class='m'>{TIMES[unit].format(from_ms(tick))}</text>"
            for tick in ticks
        )
        first, last = utc_day(from_ms(low)), utc_day(from_ms(high - 1))
        days = first if first == last else f"{first} to {last}"
        middle = (LEFT + WIDTH - RIGHT) / 2
        return f"{labels}<text x='{middle}' y='{HEIGHT - 5}' class='m'>{days}, UTC</text>"


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """`value` with thousands and a true minus; no minus before a zero."""
    text = f"{value:+,.{digits}f}" if sign else f"{value:,.{digits}f}"
    if not any(character in text for character in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def picture(title: str, legend: Sequence[tuple[str, str]], inside: str, text: str) -> Sketch:
    """A whole picture: title, a legend of (words, colour), and what is drawn."""
    words = "".join(
        f"<tspan dx='{14 if i else 0}' style='fill:var(--{colour})'>{escape(word)}</tspan>"
        for i, (word, colour) in enumerate(legend)
    )
    svg = (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{escape(text, quote=True)}'>"
        f"<text x='8' y='16' class='t'>{escape(title)}</text><text x='8' y='34'>{words}</text>"
        f"{inside}</svg>"
    )
    return Sketch(svg, text)


def nothing(title: str, why: str) -> Sketch:
    """A picture of nothing, which says why."""
    inside = f"<text x='{WIDTH / 2}' y='{HEIGHT / 2}' class='m'>{escape(why)}</text>"
    return picture(title, [], inside, f"{title}: {why}")


def equity(study: Study) -> Sketch:
    """Equity after all costs, and as it would be without any."""
    first = study.at_ms[0] - MINUTE_MS
    at = np.concatenate([[first], study.at_ms])
    net, gross = (np.concatenate([[study.start], c]) for c in (study.equity, study.gross))
    frame = Frame.around((float(at[0]), float(at[-1])), (net, gross))
    text = f"Equity from {study.start:.4f} to {net[-1]:.4f} USDT net, {gross[-1]:.4f} gross"
    legend = [
        (f"— net {number(net[-1], 4)}", "blue"),
        (f"╌ gross, before costs {number(gross[-1], 4)}", "orange"),
        (f"⋯ start {number(study.start, 2)}", "muted"),
    ]
    drawn = frame.path(at, gross, "orange", "dash") + frame.path(at, net, "blue")
    inside = frame.values() + frame.level(study.start) + drawn + frame.times()
    return picture("Equity, USDT", legend, inside, text)


def cost_parts(study: Study) -> dict[str, float]:
    """Gross, each cost below zero, and net, in USDT."""
    net = float(study.equity[-1]) - study.start
    parts = {"gross": net + study.costs, "fees": -study.fees, "spread": -study.spread}
    if study.funding:
        parts["funding"] = -study.funding
    return parts | {"net": net}


def costs(study: Study) -> Sketch:
    """Bars of USDT from a common zero: what was earned before costs, each cost, and what is left."""
    parts = cost_parts(study)
    room = WIDTH - RIGHT - 210
    low, high = min(0.0, *parts.values()), max(0.0, *parts.values())
    scale = room / ((high - low) or 1.0)
    zero = 110 - low * scale
    height = (HEIGHT - TOP - 16) / len(parts)
    rows = ""
    for i, (name, value) in enumerate(parts.items()):
        y = TOP + i * height
        x = zero + min(value, 0) * scale
        colour = {"gross": "orange", "net": "blue"}.get(name, "red")
        strong = " t" if name in ("gross", "net") else ""
        rows += (
            f"<text x='8' y='{y + height / 2 + 4:.1f}' class='{strong}'>{name}</text>"
            f"<rect x='{x:.1f}' y='{y + 5:.1f}' width='{max(abs(value) * scale, 1):.1f}' "
            f"height='{height - 10:.1f}' rx='2' style='fill:var(--{colour})'/>"
            f"<text x='{WIDTH - 8}' y='{y + height / 2 + 4:.1f}' class='e{strong}' "
            f"style='fill:var(--ink)'>{number(value, 4, sign=True)}</text>"
        )
    line = (
        f"<line x1='{zero:.1f}' x2='{zero:.1f}' y1='{TOP}' y2='{HEIGHT - 16}' "
        "style='stroke:var(--muted)'/>"
    )
    text = "Costs: " + ", ".join(f"{name} {value:+.4f} USDT" for name, value in parts.items())
    return picture("From gross to net, USDT", [], rows + line, text)


def trades(study: Study, candles: Candles) -> Sketch:
    """The last closed trades of `candles.symbol` on its closes."""
    at = candles.open_ms
    here = study.closed & (study.symbol == candles.symbol) & (study.entry_ms >= at[0])
    rows = np.flatnonzero(here)
    if not len(rows):
        return nothing("Trades on price, USDT", "No trade was closed in this span.")
    last = rows[-TRADES_SHOWN:]
    begin, end = int(study.entry_ms[last].min()), int(study.exit_ms[last].max())
    room = max((end - begin) // 30, 30 * MINUTE_MS)
    seen = candles[slice(*np.searchsorted(at, [begin - room, end + room]))]
    price, times = seen.close / 10.0**seen.decimals, seen.open_ms + MINUTE_MS
    paid = np.concatenate([study.entry_price[last], study.exit_price[last]])
    frame = Frame.around((float(times[0]), float(times[-1])), (price, paid))
    marks = ""
    for row in last.tolist():
        x = [frame.at_x(float(ms)) for ms in (study.entry_ms[row], study.exit_ms[row])]
        y = [frame.at_y(float(p)) for p in (study.entry_price[row], study.exit_price[row])]
        won = study.pnl[row] > 0
        colour, kind = ("green", "") if won else ("red", "dot")
        marks += (
            f"<path d='M{x[0]:.1f} {y[0]:.1f}L{x[1]:.1f} {y[1]:.1f}' class='{kind}' "
            f"style='stroke:var(--{colour});stroke-width:2'/>"
            + _triangle(x[0], y[0], -1, "green") + _triangle(x[1], y[1], 1, "red")
        )  # fmt: skip
    wins = int((study.pnl[last] > 0).sum())
    legend = [
        ("▲ entry", "green"), ("▼ exit", "red"), (f"— won {wins}", "green"),
        (f"⋯ lost {len(last) - wins}", "red"),
    ]  # fmt: skip
    title = f"{candles.symbol}, USDT: the last {len(last)} of {len(rows):,} trades"
    inside = frame.values() + frame.path(times, price, "blue") + marks + frame.times()
    return picture(title, legend, inside, f"{title}, {wins} of them won after costs")


def _triangle(x: float, y: float, way: int, colour: str) -> str:
    points = (
        f"{x:.1f},{y + 5 * way:.1f} {x - 5:.1f},{y - 4 * way:.1f} {x + 5:.1f},{y - 4 * way:.1f}"
    )
    return f"<polygon points='{points}' style='fill:var(--{colour});stroke:var(--surface)'/>"
