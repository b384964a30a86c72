"""What the neighbours of a chosen point come to: a sweep around it, drawn as a map of net results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import SweepResult
from tgtqr_lib.domain import Limits, Plan
from tgtqr_lib.research.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Sketch,
    nothing,
    number,
    picture,
)
from tgtqr_lib.research.past import Past
from tgtqr_lib.strategies import Parameter, strategy_named

COLUMNS, ROWS = 40, 25  # of the map of a strategy with a quick way
FEW_COLUMNS, FEW_ROWS = 13, 7
# cividis, made for colour-blind eyes (Nunez, Anderton, Renslow 2018), from worst to best
SCALE = ("#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838")
LEGEND = 110


def near(chosen: int, parameter: Parameter, count: int) -> tuple[int, ...]:
    """At most `count` equally spaced values with `chosen` among them, within the parameter's range.

    As many below as above, unless an end of the range is near; about from none to twice `chosen`.
    """
    step = max(1, round(2 * chosen / count))
    below, above = (chosen - parameter.low) // step, (parameter.high - chosen) // step
    lower = min(below, max(count // 2, count - 1 - above))
    upper = min(above, count - 1 - lower)
    return tuple(range(chosen - lower * step, chosen + upper * step + 1, step))


@dataclass(frozen=True, eq=False)
class Neighbours:
    """A chosen plan and the backtests around it.

    values  name -> values of the first two parameters; the others stay as they are
    found   the sweep over them, the first name changing slowest; None without parameters
    """

    plan: Plan
    values: Mapping[str, tuple[int, ...]]
    found: SweepResult | None

    @classmethod
    def of(cls, past: Past, plan: Plan, limits: Limits | None = None) -> Neighbours:
        """A thousand backtests around `plan`, or 91 when its strategy has no quick way."""
        strategy = strategy_named(plan.strategy)
        quick = strategy.fast is not None and past.candles.market == "spot"
        counts = (COLUMNS, ROWS) if quick else (FEW_COLUMNS, FEW_ROWS)
        values = {
            name: near(plan.parameters[name], parameter, count)
            for (name, parameter), count in zip(strategy.parameters.items(), counts, strict=False)
        }
        if not values:
            return cls(plan, values, None)
        seen, funding = past.seen(strategy), past.funding or None
        found = backtest.sweep(seen, plan, values, limits, funding=funding)
        return cls(plan, values, found)

    @property
    def net(self) -> np.ndarray:
        """(columns, rows) float64 USDT after costs."""
        lengths = [len(values) for values in self.values.values()]
        return (self.found.pnl / 1e8).reshape(*lengths, *[1] * (2 - len(lengths)))

    @property
    def chosen(self) -> tuple[int, int]:
        """Column and row of the plan itself."""
        places = [values.index(self.plan.parameters[name]) for name, values in self.values.items()]
        return (*places, 0, 0)[:2]

    @property
    def sketch(self) -> Sketch:
        """Net USDT at every point, the chosen one framed, the best one ringed, gains dotted."""
        title = "Neighbours, net USDT after costs"
        if not self.values:
            return nothing(title, f"{self.plan.strategy} has no parameters to vary.")
        net, chosen = self.net, self.chosen
        best = np.unravel_index(int(net.argmax()), net.shape)
        cell = (
            (WIDTH - LEFT - RIGHT - LEGEND) / net.shape[0],
            (HEIGHT - TOP - BOTTOM) / net.shape[1],
        )
        inside = _cells(self.found, net, cell) + _framed(chosen, cell) + _ringed(best, cell)
        inside += _axes(self.plan, self.values, cell) + _scale(float(net.min()), float(net.max()))
        here, most = float(net[chosen]), float(net.max())
        legend = [
            (f"▢ chosen {number(here, 4, sign=True)}", "ink"),
            (f"○ best of {net.size:,} {number(most, 4, sign=True)}", "ink"),
            (f"• gains {int((net > 0).sum()):,}", "muted"),
        ]
        text = (
            f"Net of {net.size:,} neighbours from {net.min():+.4f} to {most:+.4f} USDT, "
            f"chosen {here:+.4f}"
        )
        return picture(title, legend, inside, text)

    def _repr_html_(self) -> str:
        return self.sketch._repr_html_()

    def __repr__(self) -> str:
        return self.sketch.text


def _place(i: int, j: int, cell: tuple[float, float]) -> tuple[float, float]:
    """Top left corner of a cell."""
    return LEFT + i * cell[0], HEIGHT - BOTTOM - (j + 1) * cell[1]


def _cells(found: SweepResult, net: np.ndarray, cell: tuple[float, float]) -> str:
    low, high = float(net.min()), float(net.max())
    shade = (net - low) / ((high - low) or 1.0) * (len(SCALE) - 1)
    parts = []
    for i in range(net.shape[0]):
        for j in range(net.shape[1]):
            x, y = _place(i, j, cell)
            place = i * net.shape[1] + j
            given = ", ".join(f"{name} {value}" for name, value in found.params[place].items())
            said = f"{given}: net {net[i, j]:+.4f} USDT in {found.trades[place]:,} trades"
            parts.append(
                f"<rect x='{x:.2f}' y='{y:.2f}' width='{cell[0]:.2f}' "
                f"height='{cell[1]:.2f}' fill='{_colour(shade[i, j])}'>"
                f"<title>{said}</title></rect>"
            )
            if net[i, j] > 0:
                middle = x + cell[0] / 2, y + cell[1] / 2
                parts.append(
                    f"<circle cx='{middle[0]:.1f}' cy='{middle[1]:.1f}' r='1.6' fill='#fff' "
                    "stroke='#000' stroke-width='.7' pointer-events='none'/>"
                )
    return f"<g shape-rendering='crispEdges'>{''.join(parts)}</g>"


def _colour(at: float) -> str:
    """Between two neighbours of the scale, at a place from 0 to its last."""
    low = min(int(at), len(SCALE) - 2)
    share = at - low
    pair = [bytes.fromhex(SCALE[k][1:]) for k in (low, low + 1)]
    mixed = (round(a + (b - a) * share) for a, b in zip(*pair, strict=True))
    return "#" + bytes(mixed).hex()


def _framed(place: tuple[int, int], cell: tuple[float, float]) -> str:
    x, y = _place(*place, cell)
    size = max(cell[0], 9.0), max(cell[1], 9.0)
    left, top = x + (cell[0] - size[0]) / 2, y + (cell[1] - size[1]) / 2
    box = f"x='{left:.1f}' y='{top:.1f}' width='{size[0]:.1f}' height='{size[1]:.1f}' fill='none'"
    return (
        f"<rect {box} stroke='#000' stroke-width='4'/>"
        f"<rect {box} stroke='#fff' stroke-width='1.8'/>"
    )


def _ringed(place: tuple[int, int], cell: tuple[float, float]) -> str:
    x, y = _place(*place, cell)
    ring = f"cx='{x + cell[0] / 2:.1f}' cy='{y + cell[1] / 2:.1f}' r='7' fill='none'"
    return (
        f"<circle {ring} stroke='#000' stroke-width='4'/>"
        f"<circle {ring} stroke='#fff' stroke-width='1.8'/>"
    )


def _axes(plan: Plan, given: Mapping[str, tuple[int, ...]], cell: tuple[float, float]) -> str:
    """Some values along both axes, and what they are."""
    parameters = strategy_named(plan.strategy).parameters
    (name, across), *second = given.items()
    text = ""
    for i in range(0, len(across), -(-len(across) // 8)):
        x = LEFT + (i + 0.5) * cell[0]
        text += f"<text x='{x:.1f}' y='{HEIGHT - BOTTOM + 16}' class='m'>{across[i]:,}</text>"
    middle = (LEFT + WIDTH - RIGHT - LEGEND) / 2
    label = f"{name}, {parameters[name].unit}"
    text += f"<text x='{middle}' y='{HEIGHT - 5}' class='m'>{label}</text>"
    for name, upward in second:
        for j in range(0, len(upward), -(-len(upward) // 6)):
            y = HEIGHT - BOTTOM - (j + 0.5) * cell[1] + 4
            text += f"<text x='{LEFT - 6}' y='{y:.1f}' class='e'>{upward[j]:,}</text>"
        label = f"{name}, {parameters[name].unit}"
        middle = (TOP + HEIGHT - BOTTOM) / 2
        text += f"<text transform='translate(14 {middle}) rotate(-90)' class='m'>{label}</text>"
    return text


def _scale(worst: float, best: float) -> str:
    """The colours with the values at their ends."""
    x, height = WIDTH - RIGHT - LEGEND + 16, HEIGHT - TOP - BOTTOM
    steps = 24
    bar = "".join(
        f"<rect x='{x}' y='{HEIGHT - BOTTOM - (k + 1) * height / steps:.1f}' width='14' "
        f"height='{height / steps + 0.4:.1f}' fill='{_colour(k / (steps - 1) * (len(SCALE) - 1))}'/>"
        for k in range(steps)
    )
    ends = ((best, TOP + 10, "best"), (worst, HEIGHT - BOTTOM - 14, "worst"))
    return bar + "".join(
        f"<text x='{x + 20}' y='{y}'>{name}</text>"
        f"<text x='{x + 20}' y='{y + 14}'>{number(value, 4, sign=True)}</text>"
        for value, y, name in ends
    )
