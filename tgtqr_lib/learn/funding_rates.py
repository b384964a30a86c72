"""Notebook 03: what a perpetual costs to hold, and who pays whom."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np

from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.terms import LINEAR_FEES
from tgtqr_lib.clock import from_ms, iso, to_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, ZERO, DomainError
from tgtqr_lib.execution import fees_on, round_down, round_up
from tgtqr_lib.home import Home
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.funding_lake import RATE_DECIMALS, FundingLake, FundingRates
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.source import DAY_MS
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.research.drawing import Frame, Sketch, number, picture
from tgtqr_lib.research.past import MOST_DAYS, SEED, SYNTHETIC_END
from tgtqr_lib.research.plans import Answer, counted
from tgtqr_lib.signals import predicted_funding
from tgtqr_lib.signals.predicted_funding import (
    DEAD_ZONE,
    INTERVAL,
    INTERVALS,
    ONE,
    UNITS,
    UPPER,
    Made,
    interest_of,
    made_of,
    rate_of,
)

BPS = 10_000
PER_UNIT = 10 ** (RATE_DECIMALS - 8)  # the lake's units in one of 1e-8
PER_RATE = ONE // UNITS
YEAR_DAYS = 365
LOOKED_AT_DAYS = 30  # for an interval worth looking at
FROM, UNTIL = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
EDGES = 140  # points of the drawn curve, a side
STEADY_BPS = 10  # a premium well outside the dead zone


# One interval, minute by minute


@dataclass(frozen=True, eq=False)
class Interval:
    """The premiums of one funding interval of the made-up market, and the rate they make.

    premiums  (n,) fractions of the index price, a minute each
    """

    symbol: str
    end_ms: int
    premiums: np.ndarray
    made: Made

    @property
    def label(self) -> str:
        start = from_ms(self.end_ms - len(self.premiums) * MINUTE_MS)
        return (
            f"{self.symbol} linear, {len(self.premiums)} made-up premiums, {iso(start)} to "
            f"{iso(from_ms(self.end_ms))} (seed {SEED})"
        )

    def _repr_markdown_(self) -> str:
        return f"**{self.label}.** The simulator's exchange made them; no order book stands behind them."

    @property
    def in_sight(self) -> np.ndarray:
        """(n,) the rate that the premiums so far would make, after each minute, as a fraction."""
        count = len(self.premiums)
        at_ms = self.end_ms + (np.arange(count) - count) * MINUTE_MS
        return predicted_funding.along(at_ms, self.premiums, count)

    @property
    def average(self) -> np.ndarray:
        """(n,) the weighted average of the premiums so far, after each minute, as a fraction."""
        weights = np.arange(1, len(self.premiums) + 1)
        return np.cumsum(weights * self.premiums) / np.cumsum(weights)

    @property
    def picture(self) -> Sketch:
        """Premium, its average so far and the rate in sight over the interval, basis points."""
        at = self.end_ms + (np.arange(len(self.premiums)) + 1.0 - len(self.premiums)) * MINUTE_MS
        premium, average, rate = (one * BPS for one in (self.premiums, self.average, self.in_sight))
        span = (float(self.end_ms - len(at) * MINUTE_MS), float(self.end_ms))
        edges = [(self.made.interest + side * DEAD_ZONE) / ONE * BPS for side in (-1, 1)]
        frame = Frame.around(span, (premium, rate))
        inside = frame.values() + "".join(frame.level(edge) for edge in edges)
        inside += frame.path(at, premium, "orange", "dash") + frame.path(at, average, "green")
        inside += frame.path(at, rate, "blue")
        legend = [
            ("╌ premium", "orange"),
            (f"— average {bps(self.made.average / ONE)}", "green"),
            (f"— rate in sight {bps(self.made.rate / UNITS)}", "blue"),
            ("⋯ dead zone", "muted"),
        ]
        title = f"{self.symbol}: premium and rate in sight, basis points"
        text = f"{title}: it settled at {bps(self.made.rate / UNITS)}"
        return picture(title, legend, inside + frame.times(), text)

    @property
    def steps(self) -> Table:
        """The formula, a line each, to the last digit."""
        made, plain = self.made, float(self.premiums.mean())
        rows = (
            ("plain mean of the premiums", f"{plain:+.12f}", "not used: every minute weighs the same"),
            ("P, weighted 1 to n", _exactly(made.average), f"n = {made.count}; the newest weighs most"),
            ("I, interest", _exactly(made.interest), f"0.03 % a day, {made.minutes // 60} hours of it"),
            ("I - P", _exactly(made.interest - made.average), "how far the premium is from it"),
            ("clamp(I - P)", _exactly(made.pulled), "at most 0.05 % either way"),
            ("P + clamp(I - P)", _exactly(made.free), "the interest itself inside the dead zone"),
            ("rate", f"{made.rate / UNITS:+.8f}", "inside the limits, half up to 8 digits"),
        )  # fmt: skip
        return Table(("step", "fraction", "in words"), rows, frozenset({len(rows) - 1}))


def interval(symbol: str = SYMBOLS[0], minutes: int = INTERVAL) -> Interval:
    """The newest interval of the made-up 2025 that left the dead zone, or the newest of all.

    Raises `DomainError` for a symbol or an interval that is none.
    """
    premiums = _premiums(symbol)
    end = to_ms(SYNTHETIC_END) // MINUTE_MS
    interest_of(minutes)
    newest = None
    for last in range(end, end - LOOKED_AT_DAYS * 1440, -minutes):
        seen = premiums(np.arange(last - minutes, last))
        one = Interval(symbol, last * MINUTE_MS, seen, made_of(seen, minutes))
        newest = newest or one
        if not one.made.at_interest:
            return one
    return newest


# From premium to rate, to play with


def curve(premium_bps: float, doublings: int) -> str:
    """The rate against the average premium, as HTML; `doublings` of an hour is the interval."""
    minutes = 60 * 2 ** int(doublings)
    interest = interest_of(minutes) / ONE * BPS
    low, high = -60.0, 60.0
    at = np.linspace(low, high, 2 * EDGES + 1)
    rates = np.array([_rate_at(p, minutes) for p in at]) * BPS
    here = _rate_at(premium_bps, minutes)
    frame = Frame.around((low, high), (at, rates))
    x, y = frame.at_x(premium_bps), frame.at_y(here * BPS)
    zone = [frame.at_x(interest + side * DEAD_ZONE / ONE * BPS) for side in (-1, 1)]
    ticks = "".join(
        f"<text x='{frame.at_x(n):.1f}' y='278' class='m'>{number(n, 0)}</text>"
        for n in range(-60, 61, 20)
    )
    inside = (
        f"<rect x='{zone[0]:.1f}' width='{zone[1] - zone[0]:.1f}' y='44' height='218' "
        "style='fill:var(--line);opacity:.45'/>"
        + frame.values(7) + frame.path(at, at, "orange", "dash") + frame.path(at, rates, "blue")
        + f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' style='fill:var(--blue)'/>" + ticks
        + "<text x='345' y='295' class='m'>average premium P, basis points</text>"
    )  # fmt: skip
    hours = minutes // 60
    title = f"Rate of an interval of {_hours(hours)}, basis points"
    legend = [("— rate", "blue"), ("╌ the premium itself", "orange"), ("▒ dead zone", "muted")]
    words = _told(premium_bps, here, minutes)
    return picture(title, legend, inside, f"{title}: {words}").svg + f"<p>{words}</p>"


def _rate_at(premium_bps: float, minutes: int) -> float:
    return rate_of(np.array([premium_bps / BPS]), minutes) / UNITS


def _told(premium_bps: float, rate: float, minutes: int) -> str:
    made = made_of(np.array([premium_bps / BPS]), minutes)
    if made.held:
        why = f"the limit of {bps(UPPER / UNITS, sign=False)} holds it"
    elif made.at_interest:
        why = "inside the dead zone it is the interest, whatever the premium is"
    else:
        way = "less" if made.pulled < 0 else "plus"
        why = f"it is the premium {way} {bps(abs(made.pulled) / ONE, sign=False)}"
    a_day = 1440 // minutes
    side = "longs pay shorts" if rate > 0 else "shorts pay longs" if rate < 0 else "nobody pays"
    return (
        f"Premium {number(premium_bps, 2, sign=True)} bps makes {bps(rate)} ({why}): {side}. On 1.00 "
        f"USDT {number(abs(rate), 8)} USDT a settlement, {counted(a_day, 'settlement')} a day; held for "
        f"a year at that rate {number(abs(rate) * a_day * YEAR_DAYS, 4)} USDT."
    )


# Settlements of a market


@dataclass(frozen=True, eq=False)
class Settled:
    """Settlements to study, and where they are from.

    rates    oldest first
    source   in words
    made_up  whether no market ever paid these
    """

    rates: FundingRates
    source: str
    made_up: bool

    def __post_init__(self) -> None:
        if not len(self.rates):
            raise DomainError(
                f"{self.rates.symbol}: no settlement was given; expected at least one"
            )

    @property
    def fractions(self) -> np.ndarray:
        """(n,) float64, of the position's worth."""
        return self.rates.units / 10.0**RATE_DECIMALS

    @property
    def years(self) -> float:
        """Their intervals, added up, in years of 365 days."""
        return int(self.rates.minutes.sum()) / (1440 * YEAR_DAYS)

    @property
    def at_interest(self) -> np.ndarray:
        """(n,) bool: the rate is exactly the interest of its interval."""
        return self.rates.units == _interests(self.rates)

    @property
    def label(self) -> str:
        first, last = (utc_day(from_ms(int(self.rates.at_ms[row]))) for row in (0, -1))
        kind = "made-up" if self.made_up else "recorded"
        return (
            f"{self.rates.symbol} linear, {counted(len(self.rates), f'{kind} settlement')}, {first} to "
            f"{last} UTC ({self.source})"
        )

    def _repr_markdown_(self) -> str:
        if not self.made_up:
            return f"**{self.label}.**"
        return (
            f"**{self.label}.** Nobody paid these, so they say how it works and not what it costs; "
            "`tgtqr data fetch --funding --from 2021-01-01` brings real ones."
        )

    @property
    def picture(self) -> Sketch:
        """The rates over time, basis points."""
        at, rates = self.rates.at_ms.astype(float), self.fractions * BPS
        frame = Frame.around(_span(at), (rates, np.zeros(1)))
        title = f"{self.rates.symbol}: rate of each settlement, basis points"
        legend = [
            (f"— rate, {counted(len(at), 'settlement')}", "blue"),
            (f"exactly the interest {self.at_interest.mean():.0%}", "muted"),
        ]
        inside = frame.values() + frame.level(0.0) + frame.path(at, rates, "blue") + frame.times()
        text = f"{title}, from {bps(self.fractions.min())} to {bps(self.fractions.max())}"
        return picture(title, legend, inside, text)

    @property
    def cost(self) -> Sketch:
        """What a long of 1.00 USDT has paid so far, USDT."""
        at = self.rates.at_ms.astype(float)
        paid_so_far = np.cumsum([float(charge) for charge in charges(self.rates)])
        frame = Frame.around(_span(at), (paid_so_far, np.zeros(1)))
        title = "Paid so far by a long worth 1.00 USDT at every settlement, USDT"
        legend = [(f"— paid less received {number(paid_so_far[-1], 4, sign=True)}", "red")]
        inside = frame.values() + frame.level(0.0) + frame.path(at, paid_so_far, "red")
        return picture(title, legend, inside + frame.times(), f"{title}: {paid_so_far[-1]:+.4f}")


def settled(
    symbol: str = SYMBOLS[0],
    days: int = YEAR_DAYS,
    home: Home | str | os.PathLike[str] | None = None,
) -> Settled:
    """The last `days` of settlements in the home's lake; without any, the simulator's of the made-up 2025.

    Raises `DomainError` for a symbol or a number of days that cannot be, `StoreError` for a damaged lake.
    """
    _expect(symbol, days)
    home = home if isinstance(home, Home) else Home.find(home)
    whole = FundingLake(home.funding).read(symbol, FROM, UNTIL)
    if len(whole):
        recent = whole[whole.at_ms > int(whole.at_ms[-1]) - days * DAY_MS]
        return Settled(recent, "from " + ", ".join(sorted(set(recent.source))), False)
    venue, end = _venue(), to_ms(SYNTHETIC_END)
    found = venue.funding(symbol).settled(symbol, end - days * DAY_MS, end - 1, days * 3)[::-1]
    units = [rate * PER_UNIT for _, rate in found]
    source = f"synthetic, seed {SEED}"
    rates = FundingRates.of(symbol, [at for at, _ in found], units, INTERVAL, source)
    return Settled(rates, source, True)


# What a rate says about the premium


def implied(rate: int, minutes: int = INTERVAL, upper: int = UPPER) -> tuple[int, int]:
    """The lowest and the highest average premium in 1e-12 that settle at `rate` (1e-8) but for rounding.

    At a limit only one of them is known; the other is the whole price.
    """
    interest, exact = interest_of(minutes), rate * PER_RATE
    low = high = exact + (DEAD_ZONE if exact > interest else -DEAD_ZONE)
    if exact == interest:
        low, high = interest - DEAD_ZONE, interest + DEAD_ZONE
    return (-ONE if rate <= -upper else low), (ONE if rate >= upper else high)


def says(past: Settled) -> Table:
    """What the rates say about the premiums they were made of, and whether the formula gives them back."""
    kinds = {
        "exactly the interest": ("P within 5 bps of it", past.at_interest),
        "above the interest": ("P = rate + 5 bps", past.rates.units > _interests(past.rates)),
        "below the interest": ("P = rate − 5 bps", past.rates.units < _interests(past.rates)),
    }
    back = came_back(past)
    rows = [
        (
            name,
            words,
            f"{int(here.sum()):,}",
            f"{here.mean():.1%}",
            bps(past.fractions[here].mean()) if here.any() else "n/a",
            f"{int(back[here].sum()):,} of {int(here.sum()):,}",
        )
        for name, (words, here) in kinds.items()
    ]
    if past.made_up:
        same = recomputed(past)
        rows.append(("all, from their own premiums", "known here", f"{len(same):,}", f"{1:.1%}",
                     bps(past.fractions.mean()), f"{int(same.sum()):,} of {len(same):,}"))  # fmt: skip
    head = (
        "rate",
        "says of the premium",
        "settlements",
        "share",
        "mean rate",
        "formula gives it back",
    )
    return Table(head, tuple(rows))


def came_back(past: Settled) -> np.ndarray:
    """(n,) bool: premiums with the average that the rate implies settle at it again, to the eighth digit."""
    units, minutes = past.rates.units, past.rates.minutes.tolist()
    upper = max(UPPER, -(-int(np.abs(units).max()) // PER_UNIT))
    back = np.zeros(len(units), dtype=bool)
    for row, (unit, length) in enumerate(zip(units.tolist(), minutes, strict=True)):
        rate, rest = divmod(unit, PER_UNIT)
        # at a limit, the least that reaches it; the whole price would do as well
        ends = [p for p in implied(rate, length, upper + 1) if abs(p) < ONE]
        series = [np.full(length, p / ONE) for p in ends]
        back[row] = not rest and all(rate_of(one, length, upper) == rate for one in series)
    return back


def recomputed(past: Settled) -> np.ndarray:
    """(n,) bool: made-up settlements that their premiums make again, by fractions instead of the library."""
    premiums = _premiums(past.rates.symbol)
    same = np.zeros(len(past.rates), dtype=bool)
    for row, (at_ms, minutes) in enumerate(
        zip(past.rates.at_ms.tolist(), past.rates.minutes.tolist(), strict=True)
    ):
        end = at_ms // MINUTE_MS
        seen = premiums(np.arange(end - minutes, end)).tolist()
        same[row] = by_fractions(seen, minutes) * PER_UNIT == past.rates.units[row]
    return same


def by_fractions(premiums: Sequence[float], minutes: int = INTERVAL, upper: int = UPPER) -> int:
    """The rate in 1e-8 by the formula as it is written, with fractions; to hold the library against."""
    weighted = sum(weight * round(p * 10**12) for weight, p in enumerate(premiums, 1))
    average = Fraction(weighted, 10**12 * sum(range(1, len(premiums) + 1)))
    interest, most = Fraction(3, 10_000) * minutes / 1440, Fraction(5, 10_000)
    rate = average + max(-most, min(most, interest - average))
    eighths = (rate * 10**8 + Fraction(1, 2)).__floor__()
    return max(-upper, min(upper, eighths))


# Who pays whom


def charges(rates: FundingRates, notional: Decimal = Decimal(1)) -> list[Decimal]:
    """What a long worth `notional` at every settlement pays, USDT; below zero is received.

    Rounded as backtests do: paid up to 1e-8, received down, each settlement by itself.
    """
    unit = Decimal(1).scaleb(-RATE_DECIMALS)
    exact = [notional * units * unit for units in rates.units.tolist()]
    return [round_up(one) if one > 0 else -round_down(-one) for one in exact]


@dataclass(frozen=True)
class Paid:
    """What a constant long paid and received, USDT, each above zero."""

    paid: Decimal
    received: Decimal

    @property
    def net(self) -> Decimal:
        """Paid less received."""
        return self.paid - self.received


def paid(rates: FundingRates, notional: Decimal = Decimal(1)) -> Paid:
    """What a long worth `notional` USDT at every settlement of `rates` pays and receives."""
    each = charges(rates, notional)
    up = sum((one for one in each if one > 0), ZERO)
    return Paid(up, up - sum(each, ZERO))


def years(past: Settled, notional: Decimal = Decimal(1)) -> Table:
    """A line a calendar year, and one for all of several: what a long worth `notional` at every settlement paid."""
    labels = np.array([from_ms(at).year for at in past.rates.at_ms.tolist()])
    rows = [_year(str(year), past.rates[labels == year], notional) for year in np.unique(labels)]
    if len(rows) > 1:
        rows.append(_year("all", past.rates, notional))
    head = ("year", "settlements", "longs paid", "shorts paid", "long paid, USDT",
            "long received, USDT", "net cost, USDT", "a year, simple")  # fmt: skip
    return Table(head, tuple(rows), frozenset({len(rows) - 1}))


def _year(name: str, rates: FundingRates, notional: Decimal) -> tuple[str, ...]:
    one, part = paid(rates, notional), Settled(rates, "", False)
    return (
        name,
        f"{len(rates):,}",
        f"{(rates.units > 0).mean():.0%}",
        f"{(rates.units < 0).mean():.0%}",
        f"{one.paid:.8f}",
        f"{one.received:.8f}",
        number(float(one.net), 8, sign=True),
        f"{part.fractions.sum() / part.years:.2%}",
    )


def answer(past: Settled) -> Answer:
    """What holding costs and who pays, from the same settlements."""
    one, at_interest = paid(past.rates), float(past.at_interest.mean())
    a_year = float(past.fractions.sum()) / past.years
    if one.net > 0:
        text = "Holding a long cost money, and shorts were paid for waiting"
    elif one.net < 0:
        text = "Holding a long was paid for, by the shorts"
    else:
        text = "Holding cost nothing on balance"
    lines = [
        f"{text}: over {counted(len(past.rates), 'settlement')} a long worth 1.00 USDT paid "
        f"{one.paid:.8f} and received {one.received:.8f} USDT, net "
        f"{number(float(one.net), 8, sign=True)} USDT or {a_year:.2%} a year.",
        f"Longs paid at {(past.rates.units > 0).mean():.0%} of them, shorts at "
        f"{(past.rates.units < 0).mean():.0%}; the dearest single one took "
        f"{bps(past.fractions.max())}.",
        f"{at_interest:.0%} of the rates are the interest to the last digit: the premium was inside the "
        "dead zone, and such a rate says nothing more about it.",
    ]
    round_trip = 2 * float(LINEAR_FEES.bps) / BPS
    mean = float(past.fractions.mean())
    if mean > 0:
        lines.append(
            f"The two fees of a round trip, {bps(round_trip, sign=False)}, are as much as "
            f"{round_trip / mean:,.0f} settlements at the mean rate: who trades often pays fees, who "
            "holds pays funding."
        )
    if past.made_up:
        lines.append("The premium is made up: the mechanism is the lesson here, not its price.")
    return Answer(" ".join(lines))


# Exercises


def annualised(past: Settled) -> Table:
    """One rate as a yearly figure in several ways, of which people mean different ones."""
    a_year = 1440 * YEAR_DAYS / int(past.rates.minutes[-1])
    last, sums = float(past.fractions[-1]), float(past.fractions.sum())
    growth = float(np.log1p(past.fractions).sum()) / past.years
    rows = (
        ("the last rate, as quoted", f"{last:+.4%}", f"for {int(past.rates.minutes[-1]) // 60} hours"),
        ("the last rate, a year, simple", f"{last * a_year:+.2%}", f"times {a_year:,.0f}"),
        ("the last rate, a year, compounded", f"{(1 + last) ** a_year - 1:+.2%}", "if it were re-invested"),
        ("what was settled, a year, simple", f"{sums / past.years:+.2%}", "all of them, over their time"),
        ("what was settled, a year, compounded", f"{np.expm1(growth):+.2%}", "the same, multiplied up"),
    )  # fmt: skip
    return Table(("figure", "value", "how"), rows)


def break_even(past: Settled) -> Table:
    """How long a perpetual long stays cheaper than holding the coin: its fees are lower, its funding is not."""
    spot = float(fees_on(from_ms(int(past.rates.at_ms[-1])).date()).bps)
    linear = float(LINEAR_FEES.bps)
    saved = 2 * (spot - linear)
    a_day = float(past.fractions.sum()) * BPS / (past.years * YEAR_DAYS)
    days = f"{saved / a_day:,.1f} days" if a_day > 0 else "never: funding is received"
    rows = (
        ("round trip on spot", f"{2 * spot:.1f} bps", "two fees"),
        ("round trip on the perpetual", f"{2 * linear:.1f} bps", "two fees"),
        ("saved by the perpetual", f"{saved:.1f} bps", "once"),
        ("funding a day", f"{number(a_day, 3, sign=True)} bps", "the mean of these settlements"),
        ("used up after", days, "beyond that the coin itself is cheaper to hold"),
    )
    return Table(("", "figure", "in words"), rows, frozenset({len(rows) - 1}))


def shorter(symbol: str = SYMBOLS[0], days: int = YEAR_DAYS) -> Table:
    """The same made-up premiums settled every 8, 4, 2 and 1 hours: what a long of 1.00 USDT pays."""
    _expect(symbol, days)
    # up to the last settlement of the year, as `settled` has them
    end = to_ms(SYNTHETIC_END) // MINUTE_MS - INTERVAL
    minute = np.arange(end - days * 1440, end)
    premiums = _premiums(symbol)(minute)
    rows = []
    for minutes in INTERVALS[::-1]:
        last = (minute + 1) % minutes == 0
        rates = predicted_funding.along(minute * MINUTE_MS, premiums, minutes)[last]
        units = np.rint(rates * 10**RATE_DECIMALS).astype(np.int64)
        found = FundingRates.of(symbol, (minute[last] + 1) * MINUTE_MS, units, minutes, "made up")
        one = paid(found)
        rows.append(
            (
                f"{minutes // 60} h",
                f"{len(found):,}",
                number(interest_of(minutes) / ONE * BPS, 3),
                f"{Settled(found, '', True).at_interest.mean():.0%}",
                *(number(float(each), 4) for each in (one.paid, one.received)),
                number(float(one.net), 4, sign=True),
                number(_rate_at(STEADY_BPS, minutes) * BPS * 1440 / minutes, 2),
            )
        )
    head = ("every", "settlements", "interest, bps", "exactly the interest", "long paid, USDT",
            "long received, USDT", "net cost, USDT", f"{STEADY_BPS} bps all day cost, bps")  # fmt: skip
    return Table(head, tuple(rows))


def bps(fraction: float, digits: int = 2, *, sign: bool = True) -> str:
    """A fraction in basis points, in words."""
    return f"{number(float(fraction) * BPS, digits, sign=sign)} bps"


def _hours(hours: int) -> str:
    return counted(hours, "hour")


def _exactly(units: int) -> str:
    """Units of 1e-12 with their sign and all digits."""
    return f"{Decimal(units).scaleb(-12):+.12f}"


def _interests(rates: FundingRates) -> np.ndarray:
    """(n,) the interest of each interval in the lake's units."""
    per = ONE // 10**RATE_DECIMALS
    known = {minutes: interest_of(minutes) // per for minutes in set(rates.minutes.tolist())}
    return np.array([known[minutes] for minutes in rates.minutes.tolist()], dtype=np.int64)


def _span(at: np.ndarray) -> tuple[float, float]:
    return float(at[0]), float(at[-1]) if at[-1] > at[0] else float(at[0]) + MINUTE_MS


def _venue() -> Venue:
    return Venue(SyntheticSource(SEED))


def _premiums(symbol: str):
    """The premium index of the made-up market: minutes since 1970 (n,) -> fractions (n,)."""
    _expect(symbol, 1)
    return _venue().linear.premiums[symbol]


def _expect(symbol: str, days: int) -> None:
    if symbol not in SYMBOLS:
        raise DomainError(f"symbol {symbol!r} is unknown; expected one of {', '.join(SYMBOLS)}")
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST_DAYS:
        raise DomainError(
            f"days {days!r} is out of range; expected a whole number, 1 to {MOST_DAYS}"
        )
