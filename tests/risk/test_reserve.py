"""The reserve: whatever prices do, equity never falls below the floor of its day or of the account.

A small world runs many ticks through the real `decide`, `fill` and `apply`: prices jump anywhere, down to
nothing, books are thin or out of reach, days pass, limits are the hard ones or tighter. The floors are
computed here, from the design and decision 001, not by the library.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    BOUNDARY,
    FEES,
    HARD_LIMITS,
    INSTRUMENTS,
    PLAN,
    a_day,
    a_portfolio,
    a_position,
    a_quote,
    a_sale,
    an_entry,
    candles,
    dec,
    healthy,
    inputs,
    limits,
)
from tgtqr_lib.clock import tick_id, utc_day
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Day, Inputs, Limits, MarketView, Plan, Portfolio
from tgtqr_lib.execution import fill
from tgtqr_lib.portfolio import apply, equity
from tgtqr_lib.risk import review
from tgtqr_lib.risk.budget import daily_floor
from tgtqr_lib.sizing import exit_limit

SYMBOLS = tuple(INSTRUMENTS)
INITIAL = Decimal("10.00")
TWO_MINUTES = {"window": 2}  # up from the minute before is LONG, down is FLAT


@dataclass
class World:
    """One paper account in a market without mercy."""

    limits: Limits = HARD_LIMITS
    target: Decimal = Decimal("0.95")
    portfolio: Portfolio = field(default_factory=lambda: Portfolio(cash=INITIAL))
    boundary: object = BOUNDARY.replace(hour=0, minute=0)
    day: Day | None = None
    orders_today: int = 0
    seen: Counter = field(default_factory=Counter)

    def open_day(self, marks):
        """The UTC day opens at cash plus quantity x the close of 23:59."""
        date = utc_day(self.boundary)
        if self.day is None or self.day.date != date:
            worth = sum((p.quantity * marks[p.symbol] for p in self.portfolio.held), Decimal(0))
            start = self.portfolio.cash + worth.quantize(Decimal("1e-8"), "ROUND_FLOOR")
            self.day = Day(date, start, self.portfolio.cash, self.limits)
            self.orders_today = 0
            if worth > self.limits.daily_loss_usdt:
                self.seen["day opened with more at stake than it may lose"] += 1

    def floors(self):
        """The floors by the design's own words."""
        by_day = self.day.start_equity - self.limits.daily_loss_usdt
        return min(by_day, self.day.start_cash), INITIAL - self.limits.total_loss_usdt

    def holds(self):
        """No price, not even zero, takes equity below a floor."""
        for floor in self.floors():
            for price in (Decimal(0), Decimal("0.01"), Decimal(10**6)):
                assert equity(self.portfolio, dict.fromkeys(SYMBOLS, price)) >= floor, (
                    self.portfolio,
                    self.day,
                    floor,
                )

    def tick(self, prices, states, books, minutes):
        """Time passes, prices are what they are, and the machine does what it does."""
        self.boundary += timedelta(minutes=minutes)
        self.open_day(prices)
        self.holds()
        decision = decide(self.freeze(prices, states))
        for choice in decision.choices:
            self.seen[choice.reason] += 1
        for order in decision.orders:
            # the same rules run once more on today's state before anything is booked
            now = replace(self.freeze(prices, states), orders_this_tick=0)
            assert all(v.allowed for v in review(order, now)), order
            got = fill(order, books[order.symbol], FEES)
            if got is not None:
                before = self.portfolio.cash
                self.portfolio = apply(self.portfolio, got)
                self.orders_today += 1
                self.seen["bought" if order.is_entry else "sold"] += 1
                self.seen["in part"] += got.quantity < order.quantity
                assert order.is_entry or self.portfolio.cash >= before, "a sale lowered cash"
            self.holds()

    def freeze(self, prices, states) -> Inputs:
        at = self.boundary + timedelta(seconds=3)
        return inputs(
            *(self.view(symbol, prices[symbol], states[symbol], at) for symbol in SYMBOLS),
            tick_id=tick_id(self.boundary),
            boundary=self.boundary,
            exchange_time=at,
            days=(self.day,),
            portfolio=self.portfolio,
            orders_today=self.orders_today,
            health=healthy(last_beat_at=at),
            limits=self.limits,
            plan=Plan("ma_trend", TWO_MINUTES, self.target, PLAN.collar_bps),
        )

    def view(self, symbol, price, state, at):
        step = INSTRUMENTS[symbol].price_step
        before = price + {"LONG": -step, "FLAT": step, "TIE": 0}[state]
        if before <= 0:
            before = price
        decimals = -step.as_tuple().exponent
        closes = candles([before, before, price], symbol, decimals=decimals, until=self.boundary)
        quote = a_quote(
            price, symbol, at=at, bids=[(price / 2, 1)], asks=[(price * 2, 1)], last=price
        )
        return MarketView(symbol, INSTRUMENTS[symbol], closes, quote)


def book(symbol, price, worst, depth):
    """A book whose asks lie `worst` of the collar above `price` and whose bids lie as far below.

    At 1 the fill is at the limit itself, which costs the most; above 1 it is out of reach.
    """
    step = INSTRUMENTS[symbol].price_step
    away = (price * worst / 100 // step) * step
    ask, bid = price + away, max(price - away, step)
    if ask <= bid:
        ask = bid + step
    return a_quote(price, symbol, bids=[(bid, depth)], asks=[(ask, depth)], last=price)


def price_of(symbol, level):
    step = INSTRUMENTS[symbol].price_step
    return max((level // step) * step, 10 * step)  # so that one step is no jump that is doubted


LEVELS = [  # from ordinary to absurd; a crash keeps its position, and a boom makes it large
    Decimal(text)
    for text in ("0.02", "1", "300", "2511.03", "2600", "30000", "104321.7", "114000", "400000")
]


@st.composite
def ticks(draw):
    prices = {s: price_of(s, draw(st.sampled_from(LEVELS))) for s in SYMBOLS}
    states = {s: draw(st.sampled_from(["LONG", "LONG", "FLAT", "TIE"])) for s in SYMBOLS}
    books = {
        s: book(s, prices[s], draw(st.sampled_from([0, 1, Decimal("0.99"), 2])), depth)
        for s, depth in zip(
            SYMBOLS, draw(st.sampled_from([(1000, 1000), (Decimal("0.000004"), 1000)])), strict=True
        )
    }
    return prices, states, books, draw(st.sampled_from([15, 15, 15, 15, 600]))


worlds = st.sampled_from(
    [
        {},
        {"limits": limits(daily="0.97")},
        {"limits": limits(daily="1.00", total="2.00")},
        {"limits": limits(position="0.50"), "target": dec("0.49")},
        {"limits": limits(position="0.30", daily="0.40", total="0.70"), "target": dec("0.29")},
    ]
)


@settings(max_examples=120)
@given(chosen=worlds, steps=st.lists(ticks(), min_size=8, max_size=30))
def test_no_price_path_takes_equity_below_a_floor(chosen, steps):
    world = World(**chosen)
    for step in steps:
        world.tick(*step)


@pytest.mark.parametrize("chosen", [{}, {"limits": limits(daily="1.00", total="2.00")}])
def test_a_market_that_falls_to_nothing_after_every_entry_ends_on_the_floor_not_below(chosen):
    # given a market that makes each entry at its very limit, and then takes everything
    world = World(**chosen)
    low = {s: price_of(s, Decimal("0.02")) for s in SYMBOLS}
    high = {"BTCUSDT": dec("104321.7"), "ETHUSDT": dec("2511.03")}
    for _ in range(12):
        worst = {s: book(s, high[s], 1, 1000) for s in SYMBOLS}
        world.tick(high, dict.fromkeys(SYMBOLS, "LONG"), worst, 15)
        fallen = {s: book(s, low[s], 0, 1000) for s in SYMBOLS}
        world.tick(low, dict.fromkeys(SYMBOLS, "FLAT"), fallen, 600)
    # then entries were made, the budget stopped them, and no further one would pass
    lost = INITIAL - world.portfolio.cash
    assert not world.portfolio.held
    assert world.limits.total_loss_usdt - Decimal("0.95") < lost <= world.limits.total_loss_usdt
    assert world.seen["TOTAL_BUDGET"] > 0 and world.seen["bought"] >= 2


def test_the_small_world_shows_everything_that_can_happen():
    # not a property but a check of the world above: a simulation in which nothing happens proves nothing
    world = World()
    path = [Decimal(n) for n in (100_000, 103_000, 180_000, 99_000, 3, 104_000, 50_000)]
    for number in range(120):
        level = path[number % len(path)]
        prices = {"BTCUSDT": price_of("BTCUSDT", level), "ETHUSDT": price_of("ETHUSDT", level / 40)}
        state = ["LONG", "LONG", "TIE", "FLAT", "LONG"][number % 5]
        depth = Decimal("0.000004") if number % 4 == 1 else Decimal(1000)
        books = {s: book(s, prices[s], Decimal(number % 3), depth) for s in SYMBOLS}
        world.tick(prices, dict.fromkeys(SYMBOLS, state), books, 15 if number % 3 else 300)
    for what in ("bought", "sold", "in part", "SIGNAL_LONG", "SIGNAL_FLAT", "SIGNAL_TIE"):
        assert world.seen[what] > 2, (what, world.seen)
    for what in ("POSITION_TRIM", "ALREADY_LONG", "DAILY_BUDGET"):
        assert world.seen[what] > 2, (what, world.seen)


def test_a_spent_day_refuses_entries_until_midnight():
    # two entries at the worst price are lost: 1.88854257 of the 2.00 that a day may lose
    world = World()
    high = {"BTCUSDT": dec("104321.7"), "ETHUSDT": dec("2511.03")}
    low = {s: price_of(s, Decimal("0.02")) for s in SYMBOLS}
    worst = {s: book(s, high[s], 1, 1000) for s in SYMBOLS}
    fallen = {s: book(s, low[s], 0, 1000) for s in SYMBOLS}
    world.tick(high, dict.fromkeys(SYMBOLS, "LONG"), worst, 15)
    world.tick(low, dict.fromkeys(SYMBOLS, "FLAT"), fallen, 15)
    assert (world.seen["bought"], world.seen["sold"]) == (2, 2)
    world.tick(high, dict.fromkeys(SYMBOLS, "LONG"), worst, 15)
    assert (world.seen["bought"], world.seen["DAILY_BUDGET"]) == (2, 2)
    # the new day has 2.00 of its own
    world.tick(high, dict.fromkeys(SYMBOLS, "LONG"), worst, 1440)
    assert world.seen["bought"] == 4


# decision 001


def a_night_of_gains():
    """Two positions, worth 1.00 each at 23:45, gain 10 % by 23:59: the day opens at cash + 2.20."""
    held = a_portfolio(
        a_position("BTCUSDT", "0.00001", "0.95"),
        a_position("ETHUSDT", "0.0004", "0.95"),
        cash="8.10",
    )
    at_2345 = {"BTCUSDT": dec(100_000), "ETHUSDT": dec(2_500)}
    at_2359 = {"BTCUSDT": dec(110_000), "ETHUSDT": dec(2_750)}
    assert equity(held, at_2345) - held.cash == dec("2.00")
    assert equity(held, at_2359) - held.cash == dec("2.20")
    return held, a_day(equity(held, at_2359), held.cash)


def test_without_decision_001_a_day_could_lose_more_than_its_limit_although_no_rule_was_broken():
    held, day = a_night_of_gains()
    at_zero = equity(held, dict.fromkeys(SYMBOLS, Decimal(0)))
    # the plain floor, start less 2.00, is 8.30, but cash is 8.10: two falling prices break it
    plain_floor = day.start_equity - HARD_LIMITS.daily_loss_usdt
    assert plain_floor == dec("8.30") and at_zero == dec("8.10") < plain_floor
    # with the decision the floor is the cash, which no price can take
    assert daily_floor(day, HARD_LIMITS) == dec("8.10") <= at_zero


def test_at_a_tightened_limit_one_position_is_enough_to_need_decision_001():
    # bought for 0.95 and worth 1.00 at midnight, with 0.97 a day to lose
    tight = limits(daily="0.97")
    day = a_day("10.05", "9.05")
    assert day.start_equity - tight.daily_loss_usdt == dec("9.08") > day.start_cash
    assert daily_floor(day, tight) == dec("9.05")


def test_on_such_a_day_any_entry_is_refused_until_a_sale_brings_cash():
    held, day = a_night_of_gains()
    # given that ETHUSDT is sold for exactly one worst entry above the floor
    cost = dec("0.94923239")
    eth = held.position("ETHUSDT")
    for cash, allowed in [("8.10", False), (dec("8.10") + cost, True)]:
        now = inputs(portfolio=a_portfolio(eth, cash=cash), days=(day,))
        verdicts = {v.code: v.allowed for v in review(an_entry(), now)}
        assert verdicts["DAILY_BUDGET"] is allowed


def test_a_sale_at_next_to_nothing_does_not_lower_cash():
    quote = a_quote("0.1", bids=[("0.0001", 1)], asks=[("1", 1)])
    before = a_portfolio(a_position(quantity="0.000009"))
    order = a_sale("0.000009", exit_limit(dec("0.1"), 100, dec("0.0001")).min(dec("0.0001")))
    after = apply(before, fill(order, quote, FEES))
    assert after.cash == before.cash and not after.held
