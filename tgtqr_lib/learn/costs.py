"""Notebook 02: how large a move must be to pay for its round trip, and how large the moves caught are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Result
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.terms import SPOT, SPREAD_BPS
from tgtqr_lib.domain import (
    MINUTE_MS,
    DomainError,
    Fees,
    Instrument,
    Level,
    NoOrder,
    Order,
    Plan,
    Quote,
    Side,
)
from tgtqr_lib.execution import BPS, fees_on, fill, worst_cost
from tgtqr_lib.limits import HARD, INITIAL_EQUITY, SYMBOLS
from tgtqr_lib.portfolio import fold
from tgtqr_lib.research.drawing import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Sketch,
    number,
    picture,
    round_ticks,
)
from tgtqr_lib.research.past import Past, history
from tgtqr_lib.research.plans import Answer, counted, tested
from tgtqr_lib.sizing import entry, floor_to

TICK_MS = 15 * MINUTE_MS
DAY_MS = 1440 * MINUTE_MS
YEAR_DAYS = 365
BINS = 120
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)  # of a round trip on paper; no figure depends on it
DEEP = Decimal(10) ** 9  # base units at a price


# --- break-even ---


def break_even(fee_bps: Decimal | float, spread_bps: Decimal | float) -> Fraction:
    """The rise of the mid price, as a fraction, at which a round trip comes to exactly nothing.

    Bought at mid x (1 + h) and sold at mid x (1 - h), h half the spread, with a fee f of what changes
    hands each time: (1 + m)(1 - h)(1 - f) = (1 + h)(1 + f), solved for m. Without rounding.
    Raises `DomainError` for a fee or spread below 0, or one that takes all.
    """
    fee, half = (
        Fraction(Decimal(str(bps))) / int(BPS * per) for bps, per in ((fee_bps, 1), (spread_bps, 2))
    )
    if not (0 <= fee < 1 and 0 <= half < 1):
        raise DomainError(f"fee {fee_bps} bps, spread {spread_bps} bps; expected 0 to below 10,000")
    return (1 + half) * (1 + fee) / ((1 - half) * (1 - fee)) - 1


def break_even_bps(fee_bps: Decimal | float, spread_bps: Decimal | float) -> float:
    """`break_even` in basis points."""
    return float(break_even(fee_bps, spread_bps) * int(BPS))


def round_trip(
    price: Decimal,
    sold_at: Decimal,
    instrument: Instrument,
    fees: Fees,
    spread_bps: Decimal,
    plan: Plan,
) -> Decimal:
    """What an entry at mid `price` and a sale of all at mid `sold_at` come to, USDT, by the kit's own fills.

    Raises `DomainError` when the plan buys less than one lot.
    """
    order = entry(instrument.symbol, price, instrument, plan, MOMENT)
    if isinstance(order, NoOrder):
        raise DomainError(order.text)
    bought = fill(order, _quote(price, instrument, spread_bps), fees)
    step = instrument.price_step
    sale = Order("sale", order.symbol, Side.SELL, bought.quantity, step, MOMENT)
    sold = fill(sale, _quote(sold_at, instrument, spread_bps), fees)
    return fold(INITIAL_EQUITY, [bought, sold]).cash - INITIAL_EQUITY


def first_gain(past: Past, plan: Plan) -> Table:
    """From which price on a position bought at the last close is sold without a loss: formula and fills."""
    price, instrument = past.candles.last_close, SPOT[past.candles.symbol]
    fees, spread = fees_on(MOMENT.date()), Decimal(SPREAD_BPS)
    step = instrument.price_step
    price = floor_to(price, step)
    exact = break_even(fees.bps, spread)
    low, high = 0, int(price * Decimal("0.01") / step)  # steps above the price
    while low < high:
        middle = (low + high) // 2
        gained = round_trip(price, price + middle * step, instrument, fees, spread, plan)
        low, high = (low, middle) if gained >= 0 else (middle + 1, high)
    first = price + low * step
    rows = (
        ("bought when the mid was", f"{price:,f}"),
        ("the formula breaks even at", f"{float(price) * float(1 + exact):,.4f}"),
        ("the first price step without a loss", f"{first:,f}"),
        ("a move of", f"{float(first / price - 1) * 1e4:.3f} bps"),
        ("the formula says", f"{float(exact) * 1e4:.3f} bps"),
        ("result there", _units(round_trip(price, first, instrument, fees, spread, plan))),
        ("one step lower", _units(round_trip(price, first - step, instrument, fees, spread, plan))),
    )
    return Table(("", f"{past.candles.symbol}, USDT"), rows)


def _units(amount: Decimal) -> str:
    return f"{number(float(amount), 8, sign=True)}"


def _quote(mid: Decimal, instrument: Instrument, spread_bps: Decimal) -> Quote:
    """The mid plus and minus half the spread, each rounded against us, as in a backtest."""
    half, step = spread_bps / 2 / BPS, instrument.price_step
    dear = mid * (1 + half)
    ask = floor_to(dear, step)
    ask += step if ask < dear else 0
    bid = floor_to(mid * (1 - half), step)
    if ask <= bid:
        ask = bid + step
    levels = ((Level(bid, DEEP),), (Level(ask, DEEP),))
    return Quote(instrument.symbol, MOMENT, *levels, mid)


# --- what a strategy catches ---


@dataclass(frozen=True, eq=False)
class Caught:
    """The move of the mid price that each round trip of a backtest caught, without limits.

    moves        (k,) basis points from the open at the entry to the open at the exit, before all costs
    minutes      (k,) how long each was held
    break_even   basis points that a round trip needs, at the backtest's fee and spread
    """

    past: Past
    result: Result
    moves: np.ndarray
    minutes: np.ndarray
    break_even: float

    @classmethod
    def of(cls, past: Past, plan: Plan) -> Caught:
        """Of the backtest of `plan` over `past`. Raises `DomainError` when it never sold."""
        result = tested(past, plan)
        entry_ms, exit_ms = result.column("entry_ms"), result.column("exit_ms")
        if not len(entry_ms):
            raise DomainError("the strategy made no round trip; try a longer history")
        candles = past.candles
        bought, sold = (
            candles.open[np.searchsorted(candles.open_ms, at)] for at in (entry_ms, exit_ms)
        )
        last = datetime.fromtimestamp(int(candles.open_ms[-1]) / 1000, UTC).date()
        fee = fees_on(last, candles.market).bps
        moves = (sold / bought - 1) * float(BPS)
        minutes = (exit_ms - entry_ms) / MINUTE_MS
        return cls(past, result, moves, minutes, break_even_bps(fee, SPREAD_BPS))

    @property
    def beats(self) -> float:
        """Share of the moves above break-even."""
        return float((self.moves > self.break_even).mean())

    @property
    def gained(self) -> float:
        """Share of the trades that the backtest itself closed with a gain, after all its rounding."""
        return float((self.result.column("pnl") > 0).mean())

    @property
    def needed(self) -> float:
        """Share of moves that would have to go up, at the sizes of this history, to break even.

        p x up - (1 - p) x down = break-even, solved for p; above 1 when even all would not do. NaN when
        none went up.
        """
        up, down = self._sizes
        return (self.break_even + down) / (up + down) if up + down > 0 else np.nan

    @property
    def up(self) -> float:
        """Share of moves above zero."""
        return float((self.moves > 0).mean())

    @property
    def _sizes(self) -> tuple[float, float]:
        up, down = self.moves[self.moves > 0], self.moves[self.moves <= 0]
        return float(up.mean()) if len(up) else np.nan, float(-down.mean()) if len(down) else 0.0

    @property
    def a_year(self) -> float:
        """Round trips a year of 365 days."""
        return len(self.moves) / self.past.days * YEAR_DAYS

    @property
    def sketch(self) -> Sketch:
        """How often which move was caught, and where it begins to pay."""
        title = (
            f"{self.past.candles.symbol}: the move each of {len(self.moves):,} round trips caught"
        )
        curves = [("caught", "blue", self.moves)]
        words = f"{self.beats:.1%} lie above the break-even of {self.break_even:.2f} bps"
        return _distribution(title, curves, self.break_even, words)

    @property
    def table(self) -> Table:
        up, down = self._sizes
        rows = (
            ("round trips a year", number(self.a_year, 0)),
            ("held, minutes, median", number(float(np.median(self.minutes)), 0)),
            ("move caught, mean, bps", number(float(self.moves.mean()), 2, sign=True)),
            ("needed to break even, bps", number(self.break_even, 2, sign=True)),
            ("moves that went up", f"{self.up:.1%}"),
            ("… and by how much, mean, bps", number(up, 1, sign=True)),
            ("the others, mean, bps", number(-down, 1, sign=True)),
            ("would have to go up, at these sizes", f"{self.needed:.1%}"),
            ("moves above break-even", f"{self.beats:.1%}"),
            ("trades with a gain, by the backtest", f"{self.gained:.1%}"),
        )
        return Table(("", self.past.candles.symbol), rows)

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def _distribution(title, curves, needed, words):
    """A picture of (name, colour, moves) as shares by size, with the break-even marked."""
    sizes = np.concatenate([np.abs(moves) for _, _, moves in curves])
    reach = max(float(np.quantile(sizes, 0.985)), 1.5 * needed, 1e-6)
    edges = np.linspace(-reach, reach, BINS + 1)
    shares = [np.histogram(moves, edges)[0] / len(moves) for _, _, moves in curves]
    top = max(float(share.max()) for share in shares) * 1.1 or 1.0
    frame = Frame((-reach, reach), (0.0, top))
    x = frame.at_x(min(needed, reach))
    inside = (
        f"<rect x='{x:.1f}' y='{TOP}' width='{WIDTH - RIGHT - x:.1f}' height='{HEIGHT - BOTTOM - TOP}' "
        "style='fill:var(--green);opacity:.12'/>"
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' class='dash' "
        "style='stroke:var(--red);stroke-width:1.5'/>"
    )
    middle = (edges[:-1] + edges[1:]) / 2
    for (_, colour, _), share in zip(curves, shares, strict=True):
        inside += frame.path(middle, share, colour)
    inside += _axis(frame, reach)
    legend = [(f"— {name}", colour) for name, colour, _ in curves]
    legend.append((f"╌ break-even at {number(needed, 2, sign=True)} bps", "red"))
    return picture(title, legend, inside, f"{title}: {words}")


def _axis(frame: Frame, reach: float) -> str:
    """Round sizes below, and zero as a line."""
    ticks, digits = round_ticks(-reach, reach, 9)
    labels = "".join(
        f"<text x='{frame.at_x(tick):.1f}' y='{HEIGHT - BOTTOM + 16}' class='m'>"
        f"{number(tick, digits, sign=True)}</text>"
        for tick in ticks
    )
    zero, low = frame.at_x(0.0), HEIGHT - BOTTOM
    return (
        f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{low}' y2='{low}'/>"
        f"<line x1='{zero:.1f}' x2='{zero:.1f}' y1='{TOP}' y2='{low}'/>{labels}"
        f"<text x='{(LEFT + WIDTH - RIGHT) / 2}' y='{HEIGHT - 5}' class='m'>"
        "move of the mid price, basis points; height: how often</text>"
    )


# --- the slider: other fees, spreads and times ---


@dataclass(frozen=True, eq=False)
class Holding:
    """What the price did some time after each entry of a backtest, and after every quarter hour.

    entries   (e,) rows of the minutes in which the strategy bought
    quarters  (q,) rows of all minutes that begin a quarter hour
    """

    past: Past
    entries: np.ndarray
    quarters: np.ndarray

    @classmethod
    def of(cls, caught: Caught) -> Holding:
        at = caught.past.candles.open_ms
        entries = np.searchsorted(at, caught.result.column("entry_ms"))
        return cls(caught.past, entries, np.flatnonzero(at % TICK_MS == 0))

    def moves(self, rows: np.ndarray, minutes: int) -> np.ndarray:
        """Basis points from the open of each of `rows` to the open `minutes` later, where both exist."""
        candles = self.past.candles
        at = candles.open_ms
        wanted = at[rows] + minutes * MINUTE_MS
        later = np.minimum(np.searchsorted(at, wanted), len(at) - 1)
        there = at[later] == wanted
        return (candles.open[later[there]] / candles.open[rows[there]] - 1) * float(BPS)

    def draw(self, fee_bps: float = 10.0, spread_bps: float = 1.0, minutes: int = 60) -> str:
        """HTML: the moves after `minutes`, from the entries and from any time, against the break-even.

        Raises `DomainError` when the history is shorter than that.
        """
        needed = break_even_bps(fee_bps, spread_bps)
        own, any_time = (self.moves(rows, minutes) for rows in (self.entries, self.quarters))
        if not (len(own) and len(any_time)):
            raise DomainError(
                f"no entry has a price {minutes} minutes later; expected a longer history"
            )
        curves = [("from any quarter hour", "muted", any_time), ("from the entries", "blue", own)]
        share, other = (float((m > needed).mean()) for m in (own, any_time))
        text = (
            f"A round trip needs {number(needed, 2, sign=True)} bps. {minutes} minutes after an entry "
            f"{share:.1%} of {counted(len(own), 'move')} beat that, after any quarter hour {other:.1%}; "
            f"half of all moves are larger than {number(float(np.median(np.abs(any_time))), 1)} bps, up "
            f"or down. The mean move from an entry is "
            f"{number(float(own.mean()), 2, sign=True)} bps: after costs "
            f"{number(float(own.mean()) - needed, 2, sign=True)}."
        )
        title = f"{self.past.candles.symbol}: the price after {minutes} minutes"
        return f"{_distribution(title, curves, needed, text).svg}<p>{text}</p>"

    def table(self, needed: float, times: Sequence[int]) -> Table:
        """For each time in minutes how large moves are, and how many beat `needed` bps, from any time."""
        rows = []
        for minutes in times:
            moves = self.moves(self.quarters, minutes)
            if len(moves):
                size = float(np.median(np.abs(moves)))
                beats, mean = float((moves > needed).mean()), float(moves.mean())
                figures = number(size, 1), f"{beats:.1%}", number(mean - needed, 1, sign=True)
                rows.append((f"{minutes} minutes", *figures))
        head = (
            "held for",
            "half of all moves exceed, bps",
            "beat break-even",
            "mean less costs, bps",
        )
        return Table(head, tuple(rows))

    def long_enough(self, needed: float, step: int = 15, most: int = 10_080) -> int | None:
        """The shortest time in minutes at which half of all moves, up or down, exceed `needed` bps."""
        for minutes in range(step, most + 1, step):
            moves = self.moves(self.quarters, minutes)
            if len(moves) and np.median(np.abs(moves)) > needed:
                return minutes
        return None


# --- a year, and the budget ---


def year(caught: Caught, plan: Plan) -> Table:
    """What a year of round trips costs: by arithmetic at the full order target, and as the backtest paid."""
    last = datetime.fromtimestamp(int(caught.past.candles.open_ms[-1]) / 1000, UTC).date()
    fee = float(fees_on(last, caught.past.candles.market).bps / BPS)
    target, half = float(plan.order_target_usdt), float(SPREAD_BPS / 2 / BPS)
    trips, result, scale = caught.a_year, caught.result, YEAR_DAYS / caught.past.days
    paid = float(result.fees) * scale, float(result.spread) * scale
    each = 2 * target * fee, 2 * target * half
    rows = (
        ("fees", *_cells(each[0], each[0] * trips, paid[0])),
        ("half the spread, twice", *_cells(each[1], each[1] * trips, paid[1])),
        ("together", *_cells(sum(each), sum(each) * trips, sum(paid))),
    )
    head = (
        f"USDT, {number(trips, 0)} round trips a year", f"one, at {plan.order_target_usdt}",
        "a year, by arithmetic", "a year, in the backtest",
    )  # fmt: skip
    return Table(head, rows, frozenset({2}))


def _cells(one: float, by_hand: float, paid: float) -> tuple[str, str, str]:
    return number(one, 6), number(by_hand, 2), number(paid, 2)


def alongside(past: Past, days: int) -> dict[str, Past]:
    """`past` and the other symbol's history, symbol -> history; `past` alone where the other is of another
    kind, such as made up beside recorded."""
    found = {past.candles.symbol: past}
    for symbol in SYMBOLS:
        if symbol not in found:
            other = history(symbol, days=days)
            if other.made_up == past.made_up:
                found[symbol] = other
    return {symbol: found[symbol] for symbol in SYMBOLS if symbol in found}


@dataclass(frozen=True, eq=False)
class Runway:
    """How long the total budget lasts for all symbols together.

    a_day    what -> USDT a day that it takes, below zero when it earns
    usable   USDT that can be lost before no order fits over the account's floor any more
    at_once  USDT that can be lost before orders of all symbols no longer fit over it at the same time
    limited  the backtest with the hard limits on
    """

    symbols: tuple[str, ...]
    a_day: Mapping[str, float]
    usable: Decimal
    at_once: Decimal
    limited: Result

    FEES = "fees"
    SPREAD = "fees and half the spread"
    ALL = "costs, less what the moves earned"

    @classmethod
    def of(cls, pasts: Mapping[str, Past], plan: Plan) -> Runway:
        """Of `plan` on every history of `pasts`."""
        results = {symbol: tested(past, plan) for symbol, past in pasts.items()}

        def daily(amount) -> float:
            return sum(float(amount(r)) / pasts[s].days for s, r in results.items())

        a_day = {
            cls.FEES: daily(lambda r: r.fees),
            cls.SPREAD: daily(lambda r: r.fees + r.spread),
            cls.ALL: daily(lambda r: -r.pnl),
        }
        reserves = [_reserve(past, plan) for past in pasts.values()]
        candles = {symbol: past.candles for symbol, past in pasts.items()}
        limited = backtest.run(candles, plan, HARD)
        usable, at_once = (HARD.total_loss_usdt - part for part in (min(reserves), sum(reserves)))
        return cls(tuple(pasts), a_day, usable, at_once, limited)

    @cached_property
    def stopped_days(self) -> float | None:
        """Days until the backtest with limits was stopped; None when it was not."""
        stop = self.limited.stop
        if stop is None:
            return None
        return (stop.at.timestamp() * 1000 - int(self.limited.times_ms[0])) / DAY_MS

    @cached_property
    def in_turns_days(self) -> float | None:
        """Days until the symbols could no longer hold at once, by the marks; None for one alone, or if never."""
        lost = float(self.limited.initial_units) / 1e8 - self.limited.equity_units / 1e8
        rows = np.flatnonzero(lost > float(self.at_once))
        if len(self.symbols) < 2 or not len(rows):
            return None
        return (int(self.limited.times_ms[rows[0]]) - int(self.limited.times_ms[0])) / DAY_MS

    @property
    def days(self) -> float:
        """What the backtest with limits covers."""
        at = self.limited.times_ms
        return (int(at[-1]) - int(at[0]) + MINUTE_MS) / DAY_MS

    def lasts(self, what: str, budget: Decimal) -> float:
        """Days that `budget` lasts at what `what` takes a day; infinite when that takes nothing."""
        return float(budget) / self.a_day[what] if self.a_day[what] > 0 else np.inf

    @property
    def table(self) -> Table:
        total = HARD.total_loss_usdt
        rows = [
            (
                what,
                number(spent, 4),
                *(
                    number(days, 0) if np.isfinite(days) else "for ever"
                    for days in (self.lasts(what, total), self.lasts(what, self.usable))
                ),
            )
            for what, spent in self.a_day.items()
        ]
        days = self.stopped_days
        told = (
            f"not stopped in {self.days:.0f}"
            if days is None
            else f"{number(days, 0)} ({self.limited.stop.cause})"
        )
        if self.in_turns_days is not None:
            text = "with the limits on, room for all symbols at once"
            rows.append((text, "", "", number(self.in_turns_days, 0)))
        rows.append(("the backtest with the limits on", "", "", told))
        head = (
            " and ".join(self.symbols), "USDT a day", f"days that {total} lasts",
            f"days that {self.usable:.2f} lasts",
        )  # fmt: skip
        return Table(head, tuple(rows))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def _reserve(past: Past, plan: Plan) -> Decimal:
    """What an entry at the last close would reserve, USDT."""
    instrument = SPOT[past.candles.symbol]
    order = entry(past.candles.symbol, past.candles.last_close, instrument, plan, MOMENT)
    return Decimal(0) if isinstance(order, NoOrder) else worst_cost(order, fees_on(MOMENT.date()))


# --- the answer ---


def answer(caught: Caught, holding: Holding, runway: Runway) -> Answer:
    """Whether what is caught pays for its round trips, from the figures of the same history."""
    needed, mean = caught.break_even, float(caught.moves.mean())
    lines = [
        f"A round trip pays from a move of {needed:.2f} bps on. The {len(caught.moves):,} moves that the "
        f"strategy caught were {number(mean, 2, sign=True)} bps in the mean, and {caught.beats:.0%} of "
        f"them beat that. {_edge(caught)}"
    ]
    enough = holding.long_enough(needed)
    if enough is not None:
        lines.append(
            f"Half of all moves, up or down, exceed the break-even after {enough} minutes; the "
            f"strategy held for {np.median(caught.minutes):.0f} in the median."
        )
    lines.append(
        f"{number(caught.a_year, 0)} round trips a year of {caught.past.candles.symbol} cost "
        f"{_yearly(caught)}."
    )
    fees = runway.lasts(runway.FEES, HARD.total_loss_usdt)
    stopped = runway.stopped_days
    ended = (
        f"was not stopped in {runway.days:.0f} days"
        if stopped is None
        else f"was stopped after {stopped:.0f} days"
    )
    lines.append(
        f"The fees of {' and '.join(runway.symbols)} alone spend the {HARD.total_loss_usdt} USDT in "
        f"{fees:.0f} days; the backtest with the limits on {ended}."
    )
    if caught.past.made_up:
        lines.append(
            "The prices are made up: how far they move is lifelike, which way says nothing."
        )
    return Answer(" ".join(lines))


def _yearly(caught: Caught) -> str:
    result = caught.result
    paid = float(result.fees + result.spread) / caught.past.days * YEAR_DAYS
    return f"{paid:.2f} USDT"


def _edge(caught: Caught) -> str:
    mean = float(caught.moves.mean())
    if mean >= caught.break_even:
        return "That is more than the costs take in this history."
    if not np.isfinite(caught.needed) or caught.needed > 1:
        return "At these sizes not even moves that all go up would pay."
    return (
        f"{caught.up:.0%} of them went up; at these sizes {caught.needed:.0%} would have to, which is "
        "the edge that is missing."
    )
