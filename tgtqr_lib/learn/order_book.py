"""Notebook 04: what one look at an order book says, and whether it says anything about the next minute."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

import numpy as np

from tgtqr_lib.backtest.bootstrap import interval
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import (
    ABSENT,
    MINUTE_MS,
    ZERO,
    BookFeatures,
    BookHistory,
    Candles,
    DataError,
    DomainError,
    Funding,
    History,
    Level,
    Quote,
)
from tgtqr_lib.learn.alternative_tests import holm
from tgtqr_lib.learn.order_book_study import (
    BASIS,
    FIFTHS,
    FIRST,
    NAMES,
    Found,
    Looks,
    looks,
    minutes_text,
    rank_correlations,
    studies,
    study,
)
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.book_lake import BookLake, Look
from tgtqr_lib.market.spot import SpotMarket
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.research.drawing import (
    BOTTOM,
    HEIGHT,
    TOP,
    WIDTH,
    Frame,
    number,
    picture,
    round_ticks,
)
from tgtqr_lib.research.past import SEED, SYNTHETIC_END
from tgtqr_lib.research.plans import Answer
from tgtqr_lib.signals import SIGNALS
from tgtqr_lib.signals.book_features import features
from tgtqr_lib.signals.book_imbalance import DEPTHS
from tgtqr_lib.signals.micro_price import micro_price
from tgtqr_lib.strategies import ma_trend_filtered

LEVELS_SHOWN = 30
SURE = 0.05
DAY = 1440  # minutes
NO_BREAK = "\u00a0"
RESAMPLES = 1_000
POWER = 1.96 + 0.84  # of a two-sided test at 5 % that notices the effect in 4 of 5 samples
A_LOOK = timedelta(seconds=3)  # after the minute began, as a tick takes its own


# --- one book ---


@dataclass(frozen=True)
class Book:
    """A book of the made-up market, to play with. Its levels are never stored, so none is from a lake."""

    quote: Quote

    @cached_property
    def usual(self) -> Decimal:
        """Base units that a level holds on average."""
        levels = (*self.quote.bids, *self.quote.asks)
        return sum((level.quantity for level in levels), ZERO) / len(levels)

    def changed(self, bids: float = 0, asks: float = 0, level: int = 1, taken: int = 0) -> Quote:
        """The quote with quantity added at `level` of each side, then the lowest asks taken off.

        bids, asks  in usual levels. Raises `DataError` when no ask is left.
        """
        sides = []
        for side, more in ((self.quote.bids, bids), (self.quote.asks, asks)):
            rows = list(side)
            added = self.usual * Decimal(str(more))
            rows[level - 1] = replace(rows[level - 1], quantity=rows[level - 1].quantity + added)
            sides.append(tuple(rows))
        return replace(self.quote, bids=sides[0], asks=sides[1][taken:])

    def draw(self, bids: float = 0, asks: float = 0, level: int = 1, taken: int = 0) -> str:
        """The changed book as a picture, and its figures with their arithmetic."""
        quote = self.changed(bids, asks, level, taken)
        seen = features(quote)
        bid, ask = quote.bids[0], quote.asks[0]
        coin = quote.symbol.removesuffix("USDT")
        micro, mid = float(micro_price(bid, ask)), float(quote.mid)
        digits = max(0, -int(quote.bid.as_tuple().exponent)) + 1
        sums = [
            _imbalance_words(quote, depth, getattr(seen, f"imbalance_{depth}")) for depth in DEPTHS
        ]
        half = float(ask.price - bid.price) / 2
        lean = (seen.imbalance_1 or 0) / 1e6
        words = (
            f"<p>Best bid {_size(bid.quantity)} {coin} at {bid.price:,f}, best ask {_size(ask.quantity)} at "
            f"{ask.price:,f}. Mid {number(mid, digits)}.</p>"
            f"<p>Spread: {number(2 * half, digits)} USDT, {seen.spread / BASIS:.3f} bps of the mid.</p>"
            f"<p>Imbalance, (bids − asks) / (bids + asks), in {coin}: {'; '.join(sums)}.</p>"
            f"<p>Micro-price: (bid × ask quantity + ask × bid quantity) / both quantities = "
            f"{number(micro, digits)}. That is half the spread × the imbalance at 1, {number(half, digits)} × "
            f"{number(lean, 3, sign=True)} = {number(micro - mid, digits, sign=True)} USDT from the mid, "
            f"{number(seen.micro / BASIS, 3, sign=True)} bps.</p>"
        )
        return self._picture(quote, mid, micro, digits).svg + words

    def _picture(self, quote: Quote, mid: float, micro: float, digits: int):
        low, high = float(self.quote.bids[-1].price), float(self.quote.asks[-1].price)
        room = 0.02 * (high - low)
        most = max(float(level.quantity) for level in (*quote.bids, *quote.asks))
        frame = Frame((low - room, high + room), (0.0, 1.08 * most))
        step = float(self.quote.bids[0].price - self.quote.bids[1].price)
        wide = max(frame.at_x(low + step) - frame.at_x(low) - 0.6, 1.0)
        bars = ""
        for side, colour in ((quote.bids, "blue"), (quote.asks, "orange")):
            for level in side:
                x, y = frame.at_x(float(level.price)), frame.at_y(float(level.quantity))
                bars += (
                    f"<rect x='{x - wide / 2:.1f}' y='{y:.1f}' width='{wide:.1f}' "
                    f"height='{HEIGHT - BOTTOM - y:.1f}' style='fill:var(--{colour})'/>"
                )
        lines = _upright(frame, mid, "muted", "dot") + _upright(frame, micro, "green", "")
        ticks, places = round_ticks(*frame.x, 6)
        names = "".join(
            f"<text x='{frame.at_x(tick):.1f}' y='{HEIGHT - BOTTOM + 16}' class='m'>"
            f"{number(tick, places)}</text>"
            for tick in ticks
        )
        coin = quote.symbol.removesuffix("USDT")
        axis = f"<text x='{WIDTH / 2}' y='{HEIGHT - 5}' class='m'>price, USDT</text>"
        legend = [
            ("▮ bids", "blue"),
            ("▮ asks", "orange"),
            (f"⋯ mid {number(mid, digits)}", "muted"),
            (f"— micro-price {number(micro, digits)}", "green"),
        ]
        title = f"A made-up book of {quote.symbol}: {coin} waiting at each price"
        text = f"{title}; mid {number(mid, digits)}, micro-price {number(micro, digits)}"
        return picture(title, legend, frame.values(4) + bars + lines + names + axis, text)


def book(symbol: str = SYMBOLS[0], at: datetime = SYNTHETIC_END - timedelta(minutes=1)) -> Book:
    """The simulator's book of `symbol`, 30 levels a side, 3 s into the minute `at`. Raises `DomainError`."""
    if symbol not in SYMBOLS:
        raise DomainError(f"symbol {symbol!r} is unknown; expected one of {', '.join(SYMBOLS)}")
    spot = SpotMarket(SyntheticSource(SEED))
    moment = at + A_LOOK
    sides = spot.book(symbol, round(moment.timestamp() * 1000), LEVELS_SHOWN)
    if sides is None:
        raise DomainError(f"{symbol}: no book at {moment.isoformat()}; the made-up market is later")
    price, lots = -spot.decimals(symbol), -spot.listings[symbol].lot_decimals
    bids, asks = (
        tuple(Level(Decimal(p).scaleb(price), Decimal(q).scaleb(lots)) for p, q in side)
        for side in sides
    )
    return Book(Quote(symbol, moment, bids, asks, bids[0].price))


def _size(quantity: Decimal) -> str:
    return number(float(quantity), 3)


def _imbalance_words(quote: Quote, depth: int, value: int | None) -> str:
    if value is None:
        fewest = min(len(quote.bids), len(quote.asks))
        return f"at {depth} absent, because a side has only {fewest} levels"
    below, above = (
        sum((level.quantity for level in side[:depth]), ZERO) for side in (quote.bids, quote.asks)
    )
    return (
        f"at {depth} ({_size(below)} − {_size(above)}) / {_size(below + above)} = "
        f"<b>{number(value / 1e6, 3, sign=True)}</b>"
    )


def _upright(frame: Frame, value: float, colour: str, kind: str) -> str:
    x = frame.at_x(value)
    return (
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' class='{kind}' "
        f"style='stroke:var(--{colour});stroke-width:1.5'/>"
    )


# --- many looks ---


def figures(looks: Looks) -> Table:
    """What each figure of the book was like over all looks."""
    rows = []
    for name in ("spread", *NAMES):
        values = looks.spread_bps if name == "spread" else looks.signals[name]
        known = np.isfinite(values)
        if not known.any():
            rows.append((name, "0%", *["absent"] * 4))
            continue
        low, middle, high = np.quantile(values[known], [0.05, 0.5, 0.95])
        pairs = known[:-1] & known[1:]
        after = rank_correlations(values[:-1][pairs], values[1:][pairs])
        rows.append(
            (
                f"{name}, {'bps' if name in ('spread', NAMES[-1]) else '-1 to 1'}",
                f"{known.mean():.0%}",
                *(number(one, 3, sign=name != "spread") for one in (low, middle, high)),
                _ratio(after[0]) if len(after) else "n/a",
            )
        )
    return Table(
        (
            "figure",
            "known in",
            "5 % are below",
            "median",
            "5 % are above",
            "with itself a minute on",
        ),
        tuple(rows),
    )


# --- the question ---


def predicts(looks: Looks, minutes: int = 1) -> Table:
    """Every figure against the next move: rank correlation, p-values, mean moves of the outer fifths, and the
    95 % interval of the highest (stationary bootstrap)."""
    found = studies(looks, minutes)
    corrected = holm([one.p_value for one in found])
    rows = []
    for one, p in zip(found, corrected, strict=True):
        words = ["n/a"] * 2
        if len(one.highest) > 1:
            span = interval(one.highest, "mean", resamples=RESAMPLES)
            words = [_bps(one.top), f"{_bps(span.low)} to {_bps(span.high)}".replace(" ", NO_BREAK)]
        rows.append(
            (
                one.name,
                f"{one.count:,}",
                _ratio(one.correlation),
                _p(one.p_value),
                _p(p),
                _bps(one.means[0]),
                *words,
            )
        )
    head = ("figure", "looks", "correlation", "p alone", f"p of {len(rows)}", "lowest, bps", "highest, bps",
            "its 95 %")  # fmt: skip
    strong = frozenset(i for i, p in enumerate(corrected) if p <= SURE)
    return Table(head, tuple(rows), strong)


@dataclass(frozen=True, eq=False)
class Experiment:
    """The question as a picture, for a planted relation and a number of minutes."""

    looks: Looks
    name: str = FIRST

    def draw(self, strength: float = 0.0, minutes: int = 1) -> str:
        """Mean moves after each fifth of the figure, beside what it costs to act on them."""
        market = self.looks.planted(strength, self.name) if strength else self.looks
        found = study(market, self.name, minutes)
        return self._picture(market, found).svg + f"<p>{told(market, found)}</p>"

    def _picture(self, market: Looks, found: Found):
        fill, trip = market.fill_bps, 2 * market.fill_bps
        reach = np.nan_to_num(1.96 * found.errors)
        ends = [*(found.means - reach), *(found.means + reach)]
        ends = [float(end) for end in ends if np.isfinite(end)]
        low, high = min([0.0, *ends]), max([trip, *ends])
        frame = Frame((0.0, float(FIFTHS)), (low - 0.08 * (high - low), high + 0.08 * (high - low)))
        inside = frame.values()
        for value, colour in ((fill, "orange"), (trip, "red")):
            y = frame.at_y(value)
            inside += (
                f"<line x1='{frame.at_x(0):.1f}' x2='{frame.at_x(FIFTHS):.1f}' y1='{y:.1f}' y2='{y:.1f}' "
                f"class='dash' style='stroke:var(--{colour});stroke-width:1.5'/>"
            )
        zero = frame.at_y(0.0)
        words = ("most asks", "", "even", "", "most bids")
        for i, (mean, room) in enumerate(zip(found.means, reach, strict=True)):
            x = frame.at_x(i + 0.5)
            inside += (
                f"<text x='{x:.1f}' y='{HEIGHT - BOTTOM + 16}' class='m'>{words[i] or i + 1}</text>"
            )
            if not np.isfinite(mean):
                continue
            y, top, end = (frame.at_y(mean + way * room) for way in (0, 1, -1))
            inside += (
                f"<rect x='{x - 24:.1f}' y='{min(y, zero):.1f}' width='48' "
                f"height='{max(abs(y - zero), 1):.1f}' style='fill:var(--blue)'/>"
                f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top:.1f}' y2='{end:.1f}' "
                "style='stroke:var(--ink);stroke-width:1.5'/>"
            )
        axis = f"<text x='{WIDTH / 2}' y='{HEIGHT - 5}' class='m'>looks by {self.name}, a fifth each</text>"
        ahead = minutes_text(found.minutes)
        legend = [
            ("▮ mean move, │ 95 % interval", "blue"),
            (f"╌ a fill {fill:.1f}", "orange"),
            (f"╌ a round trip {trip:.1f}", "red"),
        ]
        title = f"{market.symbol}: move within {ahead} of a look, bps"
        text = f"{title}: " + ", ".join(_bps(one) for one in found.means)
        return picture(title, legend, inside + axis, text)


def told(looks: Looks, found: Found) -> str:
    """What was found, in sentences of HTML: correlation, the highest fifth, and what is left of it."""
    room = 1.96 * float(found.errors[-1])
    between = f" ({_bps(found.top - room)} to {_bps(found.top + room)})" if room > 0 else ""
    trip = 2 * looks.fill_bps
    left = found.top - trip
    return (
        f"Rank correlation {_ratio(found.correlation)}, p {_is(found.p_value)}, {found.count:,} looks. After "
        f"the fifth with most bids the price moved {_bps(found.top)} bps on average{between} within "
        f"{minutes_text(found.minutes)}. Bought then and sold at the end, half the spread "
        f"({looks.half_spread_bps:.2f}) and the fee ({looks.fee_bps:g}) are paid twice, {trip:.1f} bps in all: "
        f"<b>{_bps(left)} bps</b> are left. A purchase made in any case is worth {_bps(found.timing)} bps more "
        "then than at an average minute."
    )


# --- a book that is not as it should be ---


def troubles(symbol: str = SYMBOLS[0]) -> Table:
    """What the kit makes of books that are missing, one-sided, crossed or short."""
    good = book(symbol).quote
    shown: list[tuple[str, Callable[[], str]]] = [
        ("no bids", lambda: _read(good, bids=())),
        ("best bid above best ask", lambda: _read(good, asks=(good.bids[1], *good.asks[1:]))),
        ("bids not sorted", lambda: _read(good, bids=good.bids[::-1])),
        ("a quantity of 0", lambda: _read(good, bids=(Level(good.bid, ZERO), *good.bids[1:]))),
        ("3 levels a side", lambda: _read(good, bids=good.bids[:3], asks=good.asks[:3])),
        ("20 asks, 30 bids", lambda: _read(good, asks=good.asks[:20])),
    ]
    rows = []
    for case, read in shown:
        try:
            said = read()
        except DataError as error:
            said = f"refused: {error}"
        rows.append((case, said))
    rows.append(("no look at that minute", _no_look()))
    rows.append(("a strategy that needs the book", _no_entry()))
    return Table(("the book", "what the kit says"), tuple(rows), prose=True)


def _read(good: Quote, **changed: tuple[Level, ...]) -> str:
    seen = features(replace(good, **changed))
    parts = [
        (f"imbalance at {depth}", getattr(seen, f"imbalance_{depth}"), 1e6) for depth in DEPTHS
    ]
    parts.append(("micro-price, bps", seen.micro, BASIS))
    return ", ".join(
        f"{words} {'absent' if value is None else number(value / unit, 3, sign=True)}"
        for words, value, unit in parts
    )


def _rising(looks: BookHistory | None) -> History:
    """70 minutes that rise, so that the trend says long, with cheap funding."""
    candles = _candles_of(np.arange(70) + 1000)
    first = int(candles.open_ms[0])
    at = first + np.arange(-24, 1) * 8 * 60 * MINUTE_MS
    return History(candles, Funding(at, np.full(25, 10**6), np.full(25, 480)), looks)


def _candles_of(close: np.ndarray) -> Candles:
    end = round(SYNTHETIC_END.timestamp() * 1000)
    at = end - np.arange(len(close), 0, -1) * MINUTE_MS
    return Candles(SYMBOLS[0], 1, at, close, close, close, close, np.zeros_like(close))


def _no_look() -> str:
    history = _rising(BookHistory.of([]))
    return f"{FIRST} is {SIGNALS[FIRST](history)[-1]}, which is not 0: it is absent"


def _no_entry() -> str:
    told = ma_trend_filtered.explain(_rising(None))
    return "nothing to say" if told is None else f"{told.code}: {told.text}"


# --- keeping one's own ---


def a_day_kept(looks: Looks) -> Table:
    """Bytes that a day of looks takes in a `BookLake`, written into a temporary folder and read back.

    With fewer than 1,440 looks the day is as many times larger. Raises `DomainError` without looks as
    they are kept.
    """
    kept = looks.book
    if kept is None or not len(kept):
        raise DomainError(f"{looks.label}: there are figures, but no looks as a lake keeps them")
    rows, day = min(len(kept), DAY), SYNTHETIC_END - timedelta(days=1)
    with tempfile.TemporaryDirectory() as folder:
        lake = BookLake(Path(folder))
        lake.write(_look(looks.symbol, kept, day, minute) for minute in range(rows))
        size = sum(path.stat().st_size for path in lake.folder.glob("*.parquet"))
        back = len(lake.read(looks.symbol, day, SYNTHETIC_END))
    a_day = size * DAY / rows
    return Table(
        ("a look a minute", looks.symbol),
        (
            ("looks written, and read back", f"{rows:,}, {back:,}"),
            ("bytes a look", f"{size / rows:.1f}"),
            ("bytes a day", f"{a_day:,.0f}"),
            ("megabytes a year", f"{a_day * 365 / 1e6:.1f}"),
        ),
    )


def _look(symbol: str, kept: BookHistory, day: datetime, minute: int) -> Look:
    """The kept look of row `minute` as if it were of `minute` of `day`, seen some 3 s into it like a real one."""
    begins = day + timedelta(minutes=minute)
    figures = {name: int(kept.columns[name][minute]) for name in BookHistory.NAMES}
    known = {name: None if figure == ABSENT else figure for name, figure in figures.items()}
    seen = begins + A_LOOK + timedelta(milliseconds=minute * 389 % 1000)
    return Look(symbol, begins, BookFeatures(at=seen, **known), "watch")


# --- the answer ---


def answer(looks: Looks, strength: float) -> Answer:
    """Whether a figure of the book goes before the next minute here, what it would be worth, and whether a
    planted relation was found by the same method."""
    found = studies(looks)
    corrected = holm([one.p_value for one in found])
    best = int(np.argmin([one.p_value for one in found]))
    one, trip = found[best], 2 * looks.fill_bps
    if corrected[best] <= SURE:
        first = (
            f"Something: {one.name} has a rank correlation of {_ratio(one.correlation)} with the next minute's "
            f"move (p {_is(corrected[best])}, {len(found)} figures tried)."
        )
        if looks.made_up:
            first += " These books are noise by construction, so this is luck, as one sample in twenty has."
        else:
            first += (
                " The open is a few seconds older than the look, so a part of it may be over when one sees it; "
                "exercise 3 enters later."
            )
    else:
        first = (
            f"Nothing that luck would not show: of {len(found)} figures the strongest, {one.name}, has a rank "
            f"correlation of {_ratio(one.correlation)} with the next minute's move (p "
            f"{_is(corrected[best])} for the best of {len(found)}, {one.count:,} looks)."
        )
        if looks.made_up:
            first += " These books are noise by construction, so nothing else could be true."
    first_level = study(looks)
    worth = (
        f"After the fifth of looks with most bids at the best price it moved {_bps(first_level.top)} bps; a "
        f"market order costs {looks.fill_bps:.1f}, a round trip {trip:.1f}."
    )
    seen = study(looks.planted(strength))
    noticed = "found" if seen.p_value <= SURE else "not found"
    left = seen.top - trip
    planted = (
        f"A planted relation of {strength:g} bps per standard deviation is {noticed} by the same method "
        f"(p {_is(seen.p_value)}), and {'pays' if left > 0 else 'does not pay'}: {_bps(left)} bps a round trip."
    )
    return Answer(" ".join([first, worth, planted]))


# --- exercises ---


def micro_against_costs(looks: Looks) -> Table:
    """How far the micro-price was from the mid, beside what a fill costs."""
    offset = np.abs(looks.signals["micro_price_offset"])
    half = looks.spread_bps / 2
    known = np.isfinite(offset) & np.isfinite(half)
    offset, half = offset[known], half[known]
    # offsets and spreads are stored in 1e-4 bps, so each is off by half of that
    within = offset <= half + 1e-4
    rows = (
        ("micro-price from the mid, median", f"{np.median(offset):.3f} bps"),
        ("furthest", f"{offset.max():.3f} bps"),
        ("half the spread, median", f"{np.median(half):.3f} bps"),
        ("looks where it is within half the spread", f"{within.mean():.1%}"),
        ("a fill: half the spread and the fee", f"{looks.fill_bps:.3f} bps"),
        ("looks where the micro-price is worth a fill", f"{(offset > half + looks.fee_bps).mean():.1%}"),
    )  # fmt: skip
    return Table(("", looks.symbol), rows)


def needed(looks: Looks, strengths: Sequence[float]) -> Table:
    """How many looks notice an effect 4 times in 5, and whether it would pay.

    By Fisher's transform a correlation r is noticed with ((1.96 + 0.84) / artanh r)^2 + 3 looks.
    """
    spread, trip = float(np.nanstd(looks.moves())), 2 * looks.fill_bps
    z = looks.standardised(FIRST)
    most = float(z[z >= np.nanquantile(z, 1 - 1 / FIFTHS)].mean())
    rows = []
    for strength in strengths:
        r = strength / np.hypot(
            strength, spread
        )  # of the figure with the move it causes and the rest
        count = (POWER / np.arctanh(r)) ** 2 + 3
        worth = strength * most
        rows.append(
            (
                f"{strength:g} bps per sd",
                _ratio(r),
                f"{np.ceil(count):,.0f}",
                f"{count / DAY:,.2f}",
                _bps(worth),
                _bps(worth - trip),
            )
        )
    head = ("an effect of", "correlation", "looks to notice it", "in days", "highest fifth, bps",
            f"less a round trip of {trip:.1f}")  # fmt: skip
    return Table(head, tuple(rows))


def late(looks: Looks, strength: float, waits: Sequence[int] = (0, 1, 2)) -> Table:
    """The planted relation when the order comes so many minutes after the look."""
    market = looks.planted(strength)
    rows = []
    for wait in waits:
        found = study(market, wait=wait)
        rows.append(
            (
                "at once" if not wait else f"{minutes_text(wait)} late",
                _ratio(found.correlation),
                _p(found.p_value),
                _bps(found.top),
            )
        )
    return Table(("entered", "rank correlation", "p", "highest fifth, bps"), tuple(rows))


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"<{NO_BREAK}0.001"


def _is(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"


def _ratio(value: float) -> str:
    return number(value, 3, sign=True) if np.isfinite(value) else "n/a"


def _bps(value: float) -> str:
    return number(value, 2, sign=True) if np.isfinite(value) else "n/a"


__all__ = [
    "Book",
    "Experiment",
    "Found",
    "Looks",
    "a_day_kept",
    "answer",
    "book",
    "figures",
    "late",
    "looks",
    "micro_against_costs",
    "needed",
    "predicts",
    "studies",
    "study",
    "told",
    "troubles",
]
