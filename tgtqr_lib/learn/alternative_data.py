"""Notebook 07: does funding predict the next move, and would we know if it did not?

`python -m tgtqr_lib.learn.alternative_data --funding FILE --candles FILE` prints the tests of
`docs/alternative_data.md` on recorded files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from html import escape

import numpy as np

from tgtqr_lib import research
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import DataError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.learn import alternative_tests as tests
from tgtqr_lib.learn.alternative_report import (
    Finding,
    a_year,
    chance,
    cost_bps,
    keeps,
    p_is,
    pays,
    predicts,
    report,
)
from tgtqr_lib.learn.alternative_tests import Bars, Best, Family, Rates
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.market.noise import normals, words
from tgtqr_lib.market.simulation.funding import INTERVAL_MIN, rate_of
from tgtqr_lib.market.simulation.linear import LinearMarket
from tgtqr_lib.market.spot import SpotMarket
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.research.drawing import Frame, number, picture
from tgtqr_lib.research.past import SEED, Past
from tgtqr_lib.research.plans import Answer

LEAST_DAYS = 120  # of a lake's candles; fewer hold no 30-day z-score worth testing
# of an interval's move that the made-up premium shows; recorded rates correlate with the move of the
# interval they end by 0.10 (BTCUSDT) and 0.20 (ETHUSDT), and with this part made-up ones do, too
FOLLOWS = 0.01
PLAY_RESAMPLES = 500  # while a slider is dragged
MOST_TRIES = 200
SURE = 0.05
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Market:
    """Hourly candles and the funding that was settled beside them.

    past     the minutes they were made of, which say where they are from
    bars     hourly, with what a fill of a perpetual costs
    rates    settlements, some of them before the first candle perhaps
    made_up  whether the rates are made up; the prices may be recorded
    """

    past: Past
    bars: Bars
    rates: Rates
    made_up: bool

    @cached_property
    def family(self) -> Family:
        """Every variant of the funding signal, in time."""
        return tests.funding_family(self.bars, self.rates)

    @cached_property
    def z(self) -> np.ndarray:
        """(n,) week's z-score of the settlement before each step of `family`; 0 where there is none."""
        z = np.nan_to_num(tests.trailing_z(self.rates.rate, tests.Z_WINDOWS[0]))
        at = np.searchsorted(self.rates.at_ms, self.family.at_ms - self.bars.step_ms)
        return np.clip(z[at], -3, 3)

    @property
    def follows(self) -> float:
        """Correlation of the rates with the move of the interval that each of them ends."""
        at = self.rates.at_ms
        moved = np.log(self.bars.at(at)) - np.log(self.bars.at(at - tests.SETTLEMENT_MS))
        there = np.isfinite(moved)
        return float(np.corrcoef(moved[there], self.rates.rate[there])[0, 1])

    def planted(self, strength_bps: float) -> Family:
        """The same with so many basis points of move added to the 8 hours after a funding rate, for each
        standard deviation that the rate lies above its week's mean."""
        return replace(self.family, moves=self.family.moves + strength_bps / 1e4 * self.z)

    def _repr_markdown_(self) -> str:
        kind = "made-up" if self.made_up else "recorded"
        why = (
            " They follow Bybit's formula; the premium is the simulator's noise and a small part of how the "
            "price moved."
            if self.made_up
            else ""
        )
        mean = float(self.rates.rate.mean()) * 1e4
        return (
            f"**{len(self.rates.at_ms):,} {kind} settlements of {self.past.candles.symbol}, "
            f"{mean:+.2f} bps each on average.** They correlate by {number(self.follows, 2)} with the move of "
            f"the 8 hours that they end.{why}"
        )


def history(symbol: str = SYMBOLS[0], days: int = 365, home: Home | None = None) -> Past:
    """The last `days` of the lake: the perpetual's candles, else spot's; made-up spot when neither has 120 days.

    Raises what `tgtqr_lib.research.history` raises.
    """
    home = Home.find() if home is None else home
    for market in ("linear", "spot"):
        try:
            past = research.history(symbol, home, days, market)
        except DataError:  # no candle of the perpetual
            continue
        if past.made_up or past.days >= LEAST_DAYS:
            return past
    # a home without a lake gives the made-up days
    return research.history(symbol, Home(home.root / "nothing here"), days)


def market(past: Past, home: Home | None = None) -> Market:
    """`past` as hours, with the lake's funding when it has all of it, else with made-up funding."""
    home = Home.find() if home is None else home
    candles = past.candles
    scale = 10.0**candles.decimals
    hour = candles.open_ms // tests.HOUR_MS
    first = np.flatnonzero(np.diff(hour, prepend=-1))
    last = np.append(first[1:], len(hour)) - 1
    bars = Bars(
        f"{candles.symbol} {candles.market}, hours",
        hour[first] * tests.HOUR_MS,
        candles.open[first] / scale,
        candles.close[last] / scale,
        np.add.reduceat(candles.volume, first) / 1e6,
        tests.HOUR_MS,
        cost_bps("linear", int(candles.open_ms[-1])),
    )
    settled = None if past.made_up else _recorded(past, home)
    made_up = settled is None
    return Market(
        past, bars, _made_up(bars, candles.symbol) if settled is None else settled, made_up
    )


def _recorded(past: Past, home: Home) -> Rates | None:
    """The lake's settlements of the span and before it; None when there are gaps or too few."""
    symbol = past.candles.symbol
    every = FundingLake(home.data / "funding").read(symbol, *ALWAYS)
    start, end = int(past.candles.open_ms[0]), int(past.candles.open_ms[-1])
    inside = every.at_ms <= end
    steps = np.diff(every.at_ms[inside])
    whole = len(steps) and (steps == tests.SETTLEMENT_MS).all()
    if (
        not whole
        or every.at_ms[0] > start + tests.DAY_MS
        or end - every.at_ms[inside][-1] > tests.DAY_MS
    ):
        return None
    return _rates(every[inside])


def _rates(found: FundingRates) -> Rates:
    return Rates(found.at_ms, found.units / 1e10)


def _made_up(bars: Bars, symbol: str) -> Rates:
    """The simulator's premium plus a part of each interval's move, through Bybit's formula."""
    premium = LinearMarket(SpotMarket(SyntheticSource(SEED))).premiums[symbol]
    every = tests.SETTLEMENT_MS
    first, last = -(-int(bars.at_ms[0]) // every), int(bars.at_ms[-1]) // every
    at = np.arange(first + 1, last + 1) * every
    before = np.log(bars.at(at - every))
    out = np.empty(len(at))
    for i, settled in enumerate(at.tolist()):
        minutes = settled // 60_000 - INTERVAL_MIN + np.arange(INTERVAL_MIN)
        hours = np.log(bars.at(settled - every + np.arange(8) * tests.HOUR_MS)) - before[i]
        moved = np.repeat(np.nan_to_num(hours), INTERVAL_MIN // 8)
        out[i] = rate_of(premium(minutes) + FOLLOWS * moved) / 1e8
    return Rates(at, out)


class Tries:
    """The picture behind the sliders of the notebook: tries and the score that luck alone would reach."""

    def __init__(self, market: Market) -> None:
        self.market = market
        family = market.family
        rows, extra = family.positions.shape[0], MOST_TRIES - len(family.names)
        coins = normals(words(SEED, 0, 2 * (rows * extra // 2 + 1)))[: rows * extra]
        sides = np.sign(coins).reshape(rows, extra)  # worthless by construction
        names = (*family.names, *(f"coin {i + 1}" for i in range(extra)))
        both = np.concatenate([family.positions, sides], axis=1)
        self.family = replace(family, names=names, positions=both)
        self.block = tests.longest_block(family.gross)

    def tried(self, strength: float, tries: int, days: int) -> tuple[Family, Best]:
        """The first `tries` variants over the last `days`, the planted effect `strength` bps strong."""
        known = self.family.only(tries)
        at = known.at_ms
        late = at >= (at[-1] // tests.DAY_MS + 1 - days) * tests.DAY_MS
        moves = known.moves + strength / 1e4 * self.market.z
        family = replace(
            known, at_ms=at[late], moves=moves[late], paid=known.paid[late],
            positions=known.positions[late],
        )  # fmt: skip
        block = min(self.block, family.days / 3)
        return family, tests.against_chance(family.gross, PLAY_RESAMPLES, block=max(block, 1.0))

    def draw(self, strength: float, tries: int, days: int) -> str:
        """HTML: each try's score, the bar that the best of as many worthless ones passes 1 time in 20."""
        family, best = self.tried(strength, tries, days)
        at = np.arange(1, tries + 1, dtype=float)
        scores = np.maximum(best.scores, -4.0)
        top = best.first
        frame = Frame.around((0.0, max(tries, 2) + 1.0), (scores, best.bar, np.array([-2.5, 4.5])))
        dots = "".join(
            f"<circle cx='{frame.at_x(x):.1f}' cy='{frame.at_y(y):.1f}' r='{4.5 if i == top else 2.4}' "
            f"style='fill:var(--{'blue' if i == top else 'muted'})'/>"
            for i, (x, y) in enumerate(zip(at.tolist(), scores.tolist(), strict=True))
        )
        line = np.concatenate([at, [at[-1] + 1]])
        bar = np.concatenate([best.bar, best.bar[-1:]])
        single = float(np.quantile(best.worthless[:, 0], 0.95))
        words = [
            (f"● best: {number(best.scores[top], 2)}", "blue"),
            (f"— bar for the best of {tries}: {number(best.bar[-1], 2)}", "orange"),
            (f"⋯ bar for a single try: {number(single, 2)}", "muted"),
        ]
        inside = frame.values() + frame.level(single) + frame.path(line, bar, "orange") + dots
        axis = f"<text x='350' y='290' class='m'>tries, 1 to {tries}</text>"
        net = a_year(family.net[:, top])
        found = best.corrected[top] <= SURE
        alone, counted = (escape(p_is(float(p[top]))) for p in (best.alone, best.corrected))
        told = (
            f"The best of {tries} over {family.days} days is <b>{escape(family.names[top])}</b>: {alone} as "
            f"if it were the only try, <b>{counted}</b> as the best of {tries}: "
            f"{'found' if found else 'not to be told from luck'}. {a_year(family.gross[:, top])} % a year "
            f"before costs, {net} % after them."
        )
        shown = picture(
            "Score of each try (mean over its standard error)", words, inside + axis, told
        )
        return shown.svg + f"<p>{told}</p>"


def found_or_not(market: Market, strength_bps: float) -> Table:
    """The same tests on the series as it is and with an effect planted in it."""
    rows = []
    for name, family in (
        ("as it is", market.family),
        (f"{strength_bps:g} bps planted", market.planted(strength_bps)),
    ):
        best = tests.against_chance(family.gross)
        top = best.first
        rows.append(
            (
                name,
                family.names[top],
                a_year(family.gross[:, top]),
                chance(best.alone[top]),
                chance(best.corrected[top]),
                a_year(family.net[:, top]),
            )
        )
    head = (
        "series",
        "best of 24 tries",
        "% a year",
        "p alone",
        "p, best of tries",
        "net, % a year",
    )
    return Table(head, tuple(rows))


def too_early(market: Market, aheads: Sequence[int] = (1, 0)) -> Table:
    """The best of the family when each decision reads the settlement to come, or the one just made."""
    words = {1: "still to come", 0: "just settled", -1: "8 hours late", -2: "16 hours late"}
    rows = []
    for ahead in aheads:
        found = Finding(tests.funding_family(market.bars, market.rates, ahead=ahead))
        top = found.gross.first
        gross, net = (a_year(each[:, top]) for each in (found.family.gross, found.family.net))
        rows.append(
            (words[ahead], found.family.names[top], gross, chance(found.gross.corrected[top]), net)
        )
    head = ("settlement read", "best of 24 tries", "% a year", "p, best of tries", "net, % a year")
    return Table(head, tuple(rows))


def findings(market: Market) -> tuple[Finding, ...]:
    """Funding, signed volume and calendar on the market as it is."""
    return (
        Finding(market.family),
        Finding(tests.flow_family(market.bars, market.rates)),
        Finding(tests.calendar_family(market.bars, market.rates)),
    )


def strengths(market: Market, bps: Sequence[float] = (0, 5, 10, 20, 40, 80)) -> Table:
    """Exercise 1: how strong an effect must be to be found, and to pay."""
    rows = []
    for one in bps:
        family = market.planted(one)
        best = tests.against_chance(family.gross)
        top = best.first
        net = tests.against_chance(family.net)
        rows.append(
            (
                f"{one:g} bps",
                family.names[top],
                chance(best.corrected[top]),
                a_year(family.net[:, net.first]),
                chance(net.corrected[net.first]),
            )
        )
    head = ("planted", "best before costs", "p, best of tries", "best net, % a year", "p of that")
    return Table(head, tuple(rows))


def worthless(market: Market, tries: Sequence[int] = (1, 10, 50, 150)) -> Table:
    """Exercise 2: the best of so many coins, thrown at each settlement."""
    coins = Tries(market).family
    first = len(market.family.names)
    rows = []
    for count in tries:
        gross = replace(coins, positions=coins.positions[:, first : first + count]).gross
        best = tests.against_chance(gross)
        top = best.first
        rows.append(
            (
                f"{count}",
                a_year(gross[:, top]),
                chance(best.alone[top]),
                chance(best.corrected[top]),
                f"{count * SURE:g}",
                f"{int((best.alone <= SURE).sum())}",
            )
        )
    head = (
        "coins",
        "best, % a year",
        "p alone",
        "p, best of tries",
        "expected below 0.05",
        "below 0.05",
    )
    return Table(head, tuple(rows))


def halves(market: Market) -> Table:
    """Exercise 3: choose on the first half of the days, judge on the second."""
    pairs = []
    for each in findings(market):
        family = each.family
        middle = int(family.at_ms[[0, -1]].mean()) // tests.DAY_MS * tests.DAY_MS
        parts = [
            replace(
                family, at_ms=family.at_ms[keep], moves=family.moves[keep], paid=family.paid[keep],
                positions=family.positions[keep],
            )
            for keep in (family.at_ms < middle, family.at_ms >= middle)
        ]  # fmt: skip
        pairs.append((Finding(parts[0]), parts[1]))
    return keeps(pairs)


def answer(market: Market, found: Sequence[Finding], strength_bps: float) -> Answer:
    """Whether anything was found, from the figures of the tests."""
    lowest = [float(each.gross.corrected.min()) for each in found]
    corrected = tests.holm(lowest)
    tries = sum(len(each.family.names) for each in found)
    real = [each.family.idea for each, p in zip(found, corrected, strict=True) if p <= SURE]
    paying = [each.family.idea for each in found if float(each.net.corrected.min()) <= SURE]
    said = f"of {tries} tries on {len(found)} kinds of data "
    if not real:
        lines = [f"No: {said}none can be told from luck once all of them are counted."]
    else:
        lines = [f"{said.capitalize()}something is there before costs: {', '.join(real)}."]
    raw = sum(int((each.gross.alone <= SURE).sum()) for each in found)
    lines.append(
        f"Taken one by one, {raw} of them would have passed for a discovery (p up to 0.05)."
    )
    lines.append(
        f"After costs {', '.join(paying)} remains." if paying else "After costs nothing remains."
    )
    planted = tests.against_chance(market.planted(strength_bps).gross)
    p = float(planted.corrected.min())
    lines.append(
        f"An effect of {strength_bps:g} bps planted on purpose is "
        f"{'found' if p <= SURE else 'missed'} ({p_is(p)})"
        + (", so the method is not blind." if p <= SURE else ": this history is too short for it.")
    )
    early = tests.against_chance(tests.funding_family(market.bars, market.rates, ahead=1).gross)
    p = float(early.corrected.min())
    lines.append(
        f"Reading the settlement that is still to come gives {p_is(p)}"
        + (": the best-looking result here is a mistake." if p < min(lowest) else ".")
    )
    if market.past.made_up:
        lines.append("Prices and rates are made up, so only the method was on trial.")
    elif market.made_up:
        lines.append("The funding rates are made up, so nothing is said about real ones.")
    return Answer(" ".join(lines))


def main(given: Sequence[str] | None = None) -> int:
    """Print the tests on recorded files. Exit code 2 for files that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m tgtqr_lib.learn.alternative_data", description=main.__doc__
    )
    parser.add_argument("--funding", required=True, help="settlements: ts, symbol, rate, source")
    parser.add_argument("--candles", required=True, help="the perpetual's candles of the same time")
    parser.add_argument("--perpetual", help="for the basis: the perpetual's candles")
    parser.add_argument("--spot", help="for the basis: spot candles of the same interval")
    parser.add_argument("--hours", help="hourly candles of an earlier time, to choose on")
    parser.add_argument("--symbols", nargs="+", default=list(SYMBOLS))
    asked = parser.parse_args(given)
    try:
        told = report(
            asked.symbols, asked.funding, asked.candles, asked.perpetual, asked.spot, asked.hours
        )
    except TgtqrError as error:
        print(error, file=sys.stderr)
        return 2
    print(told)
    return 0


__all__ = [
    "Market", "Tries", "answer", "findings", "found_or_not", "halves", "history", "main", "market",
    "pays", "predicts", "strengths", "too_early", "worthless",
]  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
