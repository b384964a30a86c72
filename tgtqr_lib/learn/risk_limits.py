"""Notebook 05: crashes against the reserve and against a stop-loss, and what no limit is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import cached_property

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Bars, Result
from tgtqr_lib.backtest.crossings import FLAT, LONG, signals
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.result import money
from tgtqr_lib.backtest.terms import SPOT, units
from tgtqr_lib.clock import FIRST_START_S, from_ms, tick_id, utc_day
from tgtqr_lib.domain import (
    MINUTE_MS,
    ZERO,
    Account,
    Candles,
    Day,
    DomainError,
    Fees,
    Health,
    Inputs,
    Order,
    Plan,
    Portfolio,
)
from tgtqr_lib.execution import fees_on, worst_cost
from tgtqr_lib.limits import COLLAR_BPS, HARD, INITIAL_EQUITY, ORDER_TARGET_USDT, SYMBOLS
from tgtqr_lib.portfolio import reserve
from tgtqr_lib.research.drawing import Frame, number, picture
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, counted, plan, tested
from tgtqr_lib.risk import daily_budget, position_limit
from tgtqr_lib.risk.budget import daily_floor
from tgtqr_lib.sizing import entry
from tgtqr_lib.strategies import strategy_named

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z, of every made-up path
DAY = 1440  # minutes
DAY_MS = DAY * MINUTE_MS
FIRST = {"BTCUSDT": (1_000_000, 1), "ETHUSDT": (250_000, 2)}  # price steps and their decimals
LEAST = (
    1e-5  # of the first price: what a fall "to zero" leaves, because no candle has a price of zero
)
MOST = 4.0
RECOVERY = 30  # minutes
BETWEEN = 240  # minutes from one crash to the next
HOUR_UP = (
    0.001  # what the quiet market rises in an hour, so that the strategy is long when it breaks
)
UNIT = 1e-8

# paths


def candles_of(symbol: str, level: np.ndarray) -> Candles:
    """A minute candle for each of `level`, (n,) multiples of the first price, from 2026-01-01.

    A minute opens where the one before closed, so a fall in one minute is seen when it is over.
    """
    first, decimals = FIRST[symbol]
    close = np.rint(first * np.clip(level, LEAST, MOST)).astype(np.int64)
    opens = np.concatenate([close[:1], close[:-1]])
    return Candles(
        symbol, decimals, START_MS + MINUTE_MS * np.arange(len(close), dtype=np.int64),
        opens, np.maximum(opens, close), np.minimum(opens, close), close,
        np.ones(len(close), dtype=np.int64),
    )  # fmt: skip


def shock(rows: int, at: int, depth: float, minutes: int, back: float) -> np.ndarray:
    """(rows,) factors: 1 until row `at`, then down by `depth` in `minutes`, then up by a part of it.

    depth  fraction lost, below 0 for a rise; back  the fraction of the fall that 30 minutes bring again
    """
    return np.exp(log_shock(rows, at, depth, minutes, back))


def log_shock(rows: int, at: int, depth: float, minutes: int, back: float) -> np.ndarray:
    """The logarithm of `shock`."""
    bottom, end = max(1 - depth, LEAST), max(1 - depth * (1 - back), LEAST)
    bends = [at - 1, at - 1 + minutes, at - 1 + minutes + RECOVERY]
    return np.interp(np.arange(rows), bends, np.log([1.0, bottom, end]))


def quiet(rows: int) -> np.ndarray:
    """(rows,) multiples of the first price of a market that rises a little every minute."""
    return 1 + HOUR_UP * np.arange(rows) / 60


def crashes(
    days: int, at: int, depth: float, minutes: int, back: float, times: int, both: bool
) -> dict[str, Candles]:
    """A quiet market that crashes `times` times, four hours apart, in one symbol or in both."""
    rows = days * DAY
    falls = np.ones(rows)
    for i in range(times):
        falls *= shock(rows, at + i * BETWEEN, depth, minutes, back)
    fallen = {SYMBOLS[0], *(SYMBOLS if both else ())}
    return {s: candles_of(s, quiet(rows) * (falls if s in fallen else 1.0)) for s in SYMBOLS}


def nasty(chance: np.random.Generator, days: int = 4) -> dict[str, Candles]:
    """A random path made to hurt: falls to zero, flash crashes, pumps, many of them about midnight."""
    rows = days * DAY
    together = chance.random() < 0.5
    levels = {}
    for symbol in SYMBOLS:
        if levels and together:
            levels[symbol] = levels[SYMBOLS[0]]
            continue
        log = np.cumsum(chance.standard_normal(rows)) * 5e-4 + np.log(quiet(rows))
        for _ in range(chance.integers(1, 20)):
            at = int(chance.integers(60, rows))
            if chance.random() < 0.3:
                at = int(chance.integers(1, days)) * DAY + int(chance.integers(-90, 91))
            depth = chance.choice([1.0, chance.uniform(0.05, 0.95), -chance.uniform(0.05, 1.5)])
            minutes, back = (
                int(chance.choice([1, 2, 15, 70, 70, 240])),
                chance.choice([0, 0.5, 1, 1, 1]),
            )
            log += log_shock(rows, at, float(depth), minutes, float(back))
            log = np.clip(log, np.log(LEAST), np.log(MOST))
        levels[symbol] = np.exp(log)
    return {symbol: candles_of(symbol, level) for symbol, level in levels.items()}


# two accounts on a path


@dataclass(frozen=True, eq=False)
class Lived:
    """What an account went through; USDT as floats for pictures and tables, exact in `room_units`.

    times_ms  (n,) open times of the minutes
    equity    (n,) at their closes
    floors    (n,) that equity must not fall below, of the day and in total; None for an account without
    result    of the kit's own backtest
    """

    times_ms: np.ndarray
    equity: np.ndarray
    floors: np.ndarray | None = None
    result: Result | None = None

    @cached_property
    def worst_day(self) -> float:
        """The most that equity fell below the marked start of its UTC day."""
        firsts = np.flatnonzero(np.diff(self.times_ms // DAY_MS, prepend=-1))
        starts = np.concatenate([[float(INITIAL_EQUITY)], self.equity[firsts[1:] - 1]])
        return float((starts - np.minimum.reduceat(self.equity, firsts)).max())

    @cached_property
    def worst_total(self) -> float:
        """The most that equity fell below the 10.00 it started with."""
        return float(INITIAL_EQUITY) - float(self.equity.min())

    @property
    def room_units(self) -> int:
        """The least distance of equity to its floors in units of 1e-8; below 0 a limit is broken."""
        return int(np.rint((self.equity - self.floors).min() / UNIT))


def kit(path: Mapping[str, Candles], window: int = 60) -> Lived:
    """The real backtest of the seed strategy on `path`, with the hard limits."""
    result = backtest.run(path, plan(window=window), HARD)
    return Lived(result.times_ms, result.equity_units * UNIT, floors_of(result) * UNIT, result)


def cash_flows(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """When cash moved (ms) and by how much (units), from the trades and what is still held."""
    scale = np.array([10**d for d in result.decimals], dtype=np.int64)[result.column("symbol")]
    got = result.column("quantity") * result.column("exit_price") // scale
    got -= result.column("exit_fee")
    held = result.open_positions
    at = [result.column("exit_ms"), result.column("entry_ms")]
    moved = [got, result.column("pnl") - got]  # a sale's pnl is what it got less what it had cost
    at.append(np.array([int(one.entry_at.timestamp() * 1000) for one in held], dtype=np.int64))
    moved.append(np.array([-units(one.cost, "cost") for one in held], dtype=np.int64))
    return np.concatenate(at), np.concatenate(moved)


def floors_of(result: Result) -> np.ndarray:
    """(n,) int64 units: the higher of the day's floor and the total one, as the rules have them.

    Needs the minute before each midnight, where days are marked.
    """
    at, moved = cash_flows(result)
    days = result.times_ms // DAY_MS
    floors = np.empty(len(days), dtype=np.int64)
    lowest = result.initial_units - units(HARD.total_loss_usdt, "total_loss_usdt")
    for date in np.unique(days):
        rows = np.flatnonzero(days == date)
        start = int(result.equity_units[rows[0] - 1]) if rows[0] else result.initial_units
        cash = result.initial_units + int(moved[at < date * DAY_MS].sum())
        day = Day(utc_day(from_ms(int(date) * DAY_MS)), money(start), money(cash), HARD)
        floors[rows] = max(units(daily_floor(day, HARD), "floor"), lowest)
    return floors


def stop_loss(path: Mapping[str, Candles], stake: Decimal | str, window: int = 60) -> Lived:
    """The same signals with a stop instead of a reserve: all is sold when the loss is seen to reach a limit.

    stake  USDT that each entry buys for, as far as there is cash

    A minute's close shows a loss of 2.00 since the day opened, or of 5.00 in all: everything is sold at the
    next minute's open, and nothing is bought again that day, or ever. It pays the fee but no spread.
    """
    stake = float(stake)
    if not stake > 0:
        raise DomainError(f"stake {stake} is not positive; expected USDT a symbol")
    strategy = strategy_named("ma_trend")
    params = strategy.checked({"window": window})
    said = [signals(Bars.of(path[s]), strategy, params).tolist() for s in SYMBOLS]
    opens, closes = (
        [(getattr(path[s], name) / 10.0 ** path[s].decimals).tolist() for s in SYMBOLS]
        for name in ("open", "close")
    )
    at = path[SYMBOLS[0]].open_ms
    first = cash = start = float(INITIAL_EQUITY)
    daily, total = float(HARD.daily_loss_usdt), float(HARD.total_loss_usdt)
    fee = float(fees_on(from_ms(int(at[-1])).date()).bps) / 10_000
    held, wishes, blocked, ended = [0.0, 0.0], {}, False, False
    equity: list[float] = []
    for i, minute in enumerate((at // MINUTE_MS % DAY).tolist()):
        quarter = minute % 15 == 14  # its close is a decision
        if minute == 0:
            blocked, start = ended, equity[-1] if equity else first
        for s, wish in wishes.items():
            if wish == FLAT and held[s]:
                cash, held[s] = cash + held[s] * opens[s][i] * (1 - fee), 0.0
            elif wish == LONG and not held[s] and not blocked:
                spent = min(stake * (1 + fee), cash)
                cash, held[s] = cash - spent, spent / (1 + fee) / opens[s][i]
        worth = cash
        if held[0] or held[1]:
            worth += held[0] * closes[0][i] + held[1] * closes[1][i]
        equity.append(worth)
        wishes = {s: said[s][i] for s in (0, 1)} if quarter else {}
        ended = ended or worth <= first - total
        if ended or worth <= start - daily:
            blocked, wishes = True, {0: FLAT, 1: FLAT}
    return Lived(at, np.array(equity))


# the experiment


@dataclass(frozen=True)
class Crash:
    """A market to break, with both accounts in it. `stake` is what the stop-loss account buys for."""

    stake: str
    days: int = 2

    def accounts(
        self, depth: int, hour: int, minutes: int, back: int, times: int, symbols: int
    ) -> tuple[dict[str, Candles], Lived, Lived]:
        """The path that the sliders say, the kit on it, and the stop-loss on it."""
        path = crashes(
            self.days, hour * 60, depth / 100, minutes, back / 100, times, symbols == len(SYMBOLS)
        )
        return path, kit(path), stop_loss(path, self.stake)

    def draw(self, depth: int, hour: int, minutes: int, back: int, times: int, symbols: int) -> str:
        """Price and equity of both accounts as HTML; depth and back in percent."""
        path, ours, theirs = self.accounts(depth, hour, minutes, back, times, symbols)
        return _prices(path) + _equities(ours, theirs) + _told(ours, theirs)


def _prices(path: Mapping[str, Candles]) -> str:
    at = path[SYMBOLS[0]].open_ms + MINUTE_MS
    shares = [path[s].close / FIRST[s][0] * 100 for s in SYMBOLS]
    frame = Frame.around((float(at[0]), float(at[-1])), (*shares, np.array([0.0, 100.0])))
    drawn = frame.path(at, shares[1], "green", "dash") + frame.path(at, shares[0], "blue")
    legend = [("— BTCUSDT", "blue"), ("╌ ETHUSDT", "green")]
    low = min(float(share.min()) for share in shares)
    text = f"Prices fall to {low:.3f} % of where they started"
    title = "Price, % of the start"
    return picture(title, legend, frame.values() + drawn + frame.times(), text).svg


def _equities(ours: Lived, theirs: Lived) -> str:
    at = ours.times_ms + MINUTE_MS
    frame = Frame.around(
        (float(at[0]), float(at[-1])), (ours.equity, theirs.equity, ours.floors, np.array([5.0]))
    )
    drawn = (
        frame.path(at, ours.floors, "red", "dot")
        + frame.path(at, theirs.equity, "orange", "dash")
        + frame.path(at, ours.equity, "blue")
    )
    legend = [("— reserve", "blue"), ("╌ stop-loss", "orange"), ("⋯ floor of the day", "red")]
    text = (
        f"Equity at the end {ours.equity[-1]:.4f} USDT with the reserve, {theirs.equity[-1]:.4f} with the "
        "stop-loss"
    )
    return picture("Equity, USDT", legend, frame.values() + drawn + frame.times(), text).svg


def _told(ours: Lived, theirs: Lived) -> str:
    daily, total = HARD.daily_loss_usdt, HARD.total_loss_usdt
    rows = ""
    for name, one in (("reserve", ours), ("stop-loss", theirs)):
        broken = one.worst_day > float(daily) or one.worst_total > float(total)
        kept = "broken" if broken else "kept"
        if one.floors is not None and one.room_units >= 0:
            kept = "kept"
        rows += (
            f"<tr><td>{name}</td><td>{one.worst_day:.4f}</td><td>{one.worst_total:.4f}</td>"
            f"<td>{kept}</td></tr>"
        )
    return (
        f"<table><tr><th></th><th>worst loss of a day (limit {daily})</th>"
        f"<th>worst loss in all (limit {total})</th><th>limits</th></tr>{rows}</table>"
        f"<p>The kit never came nearer than {ours.room_units * UNIT:.4f} USDT to a floor.</p>"
    )


# the search


@dataclass(frozen=True, eq=False)
class Search:
    """What many nasty paths did to the accounts.

    room       (n,) int64 units of 1e-8 between the kit and its floors, at their nearest on each path
    worst_day  account -> (n,) USDT; worst_total as well
    """

    seed: int
    stake: str
    room: np.ndarray
    worst_day: Mapping[str, np.ndarray]
    worst_total: Mapping[str, np.ndarray]
    trades: int

    @property
    def breaks(self) -> int:
        """Paths on which the kit fell below a floor."""
        return int((self.room < 0).sum())

    @property
    def nearest(self) -> Decimal:
        """The smallest distance to a floor of all, USDT."""
        return money(int(self.room.min()))

    @property
    def given_back(self) -> int:
        """Paths where a day of the kit ended over 2.00 below its marked start, and above its floor."""
        over = self.worst_day["reserve"] > float(HARD.daily_loss_usdt) + UNIT / 2
        return int((over & (self.room >= 0)).sum())

    def over(self, account: str) -> int:
        """Paths on which `account` lost more than 2.00 in a day, or more than 5.00 in all."""
        day = self.worst_day[account] > float(HARD.daily_loss_usdt) + UNIT / 2
        return int(
            (day | (self.worst_total[account] > float(HARD.total_loss_usdt) + UNIT / 2)).sum()
        )

    @property
    def table(self) -> Table:
        """Each account over all paths."""
        rows = tuple(
            (
                name,
                f"{self.over(name):,}",
                number(self.worst_day[name].max(), 4),
                number(self.worst_total[name].max(), 4),
                f"{self.breaks:,}" if name == "reserve" else "has none",
            )
            for name in self.worst_day
        )
        head = (
            f"{len(self.room):,} paths", "paths with a loss over 2.00 a day or 5.00 in all",
            "worst day, USDT", "worst in all, USDT", "paths below a floor",
        )  # fmt: skip
        return Table(head, rows, frozenset({0}))

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def _repr_markdown_(self) -> str:
        return self.table._repr_markdown_()


def search(paths: int, seed: int, stake: str) -> Search:
    """Look for a path that breaks a limit: `paths` random ones, each with a random window.

    Raises `DomainError` for less than one path.
    """
    if paths < 1:
        raise DomainError(f"{paths} paths; expected at least 1")
    chance = np.random.default_rng(seed)
    names = {f"stop-loss, {size} a symbol": size for size in (f"{ORDER_TARGET_USDT}", stake)}
    room, trades = [], 0
    day: dict[str, list[float]] = {name: [] for name in ("reserve", *names)}
    total: dict[str, list[float]] = {name: [] for name in day}
    for _ in range(paths):
        path, window = nasty(chance), int(chance.integers(2, 121))
        ours = kit(path, window)
        room.append(ours.room_units)
        trades += len(ours.result.table)
        lived = {"reserve": ours}
        lived |= {name: stop_loss(path, size, window) for name, size in names.items()}
        for name, one in lived.items():
            day[name].append(one.worst_day)
            total[name].append(one.worst_total)
    return Search(
        seed, stake, np.array(room), {name: np.array(of) for name, of in day.items()},
        {name: np.array(of) for name, of in total.items()}, trades,
    )  # fmt: skip


# what no limit protects against: costs


def still_market(days: int = 30) -> Result:
    """The kit where prices only go one step up and down: what is lost there is nothing but costs."""
    steps = np.arange(days * DAY) // 15 % 2
    path = {}
    for symbol in SYMBOLS:
        first, _ = FIRST[symbol]
        path[symbol] = candles_of(symbol, (first + steps) / first)
    return backtest.run(path, plan(), HARD)


def spending(still: Result, past: Past) -> Table:
    """How the budget goes in the still market, and in `past`."""
    own = tested(past, plan(), HARD)
    kind = "made-up" if past.made_up else "recorded"
    rows = tuple(
        (
            name,
            number(float(one.gross), 4, sign=True),
            number(float(one.gross - one.pnl), 4),
            number(float(one.pnl), 4, sign=True),
            f"{len(one.table):,}",
            ended(one),
        )
        for name, one in (("still market", still), (f"{past.candles.symbol}, {kind}", own))
    )
    head = ("market", "before costs, USDT", "costs, USDT", "net, USDT", "trades", "ended")
    return Table(head, rows)


def days_until_stop(result: Result) -> float | None:
    """Days from the first candle until trading stopped; None when it never did."""
    if result.stop is None:
        return None
    return (result.stop.at - from_ms(int(result.times_ms[0]))) / timedelta(days=1)


def ended(result: Result) -> str:
    """How the run ended, in words."""
    days = days_until_stop(result)
    return "not stopped" if days is None else f"{result.stop.cause} after {days:.1f} days"


def answer(search: Search, still: Result, past: Past) -> Answer:
    """Whether the limits held, what held worse, and what they let through; from the figures."""
    small, large = (name for name in search.worst_day if name != "reserve")
    paths, trades = f"{len(search.room):,} nasty paths", counted(search.trades, "sale")
    held = (
        f"None of {paths} ({trades}) took the kit below a floor"
        if not search.breaks
        else f"{search.breaks:,} of {paths} ({trades}) took the kit below a floor, which is a fault to report"
    )
    lines = [f"{held}; the nearest came within {search.nearest:f} USDT of one."]
    if search.given_back:
        lines.append(
            f"On {search.given_back:,} of them a day ended more than 2.00 below its marked start: a gain "
            "from before midnight was given back, and no money that was put in."
        )
    lines.append(
        f"The stop-loss lost more than a limit on {search.over(large):,} paths with {search.stake} a "
        f"symbol (up to {search.worst_total[large].max():.2f} of its 10.00) and on {search.over(small):,} with the "
        f"kit's own {ORDER_TARGET_USDT} (worst day {search.worst_day[small].max():.2f}): it acts after the loss."
    )
    days = days_until_stop(still)
    if days is not None:
        lines.append(
            f"The limits do not save the budget itself: where prices stand still, {float(still.gross - still.pnl):.2f} "
            f"USDT of costs alone spend it in {days:.0f} days."
        )
    own = tested(past, plan(), HARD)
    whose = "made-up" if past.made_up else "recorded"
    took = own.gross - own.pnl
    lines.append(
        f"In this {whose} history the seed strategy is {ended(own)}"
        if own.stop is None
        else f"In this {whose} history the seed strategy ends {ended(own)}"
    )
    lines[-1] += (
        f", {number(float(own.gross), 2, sign=True)} before costs, {float(took):.2f} of costs."
    )
    return Answer(" ".join(lines))


# exercises


def inputs_at(portfolio: Portfolio, day: Day, fees: Fees, plan: Plan) -> Inputs:
    """The frozen facts of a healthy kit at noon of 2026-01-01, as far as the money rules read them."""
    at = from_ms(START_MS + DAY_MS // 2)
    now = at + timedelta(seconds=FIRST_START_S)
    account = Account("exercise", INITIAL_EQUITY, from_ms(START_MS))
    return Inputs(
        tick_id=tick_id(at), boundary=at, exchange_time=now, markets=(), fees=fees,
        account=account, days=(day,), portfolio=portfolio, orders_today=0, used_ids=(),
        health=Health(now, None, 10**6, None, None), limits=HARD, plan=plan,
    )  # fmt: skip


def entry_at(symbol: str, close: Decimal, target: Decimal | str) -> Order:
    """The entry that sizing makes at `close`. Raises `DomainError` when it is below one lot."""
    at = from_ms(START_MS + DAY_MS // 2)
    wanted = Plan("ma_trend", {}, Decimal(target), COLLAR_BPS)
    order = entry(symbol, close, SPOT[symbol], wanted, at)
    if not isinstance(order, Order):
        raise DomainError(f"{symbol} at {close}: {order.text}")
    return order


def first_close(symbol: str) -> Decimal:
    """The first close of the made-up paths."""
    first, decimals = FIRST[symbol]
    return Decimal(first).scaleb(-decimals)


def open_entries(daily_loss: str = "2.00", most: int = 8) -> Table:
    """Entry after entry, each reserved at its worst, until the rule DAILY_BUDGET refuses one.

    The kit has two symbols and never adds to what it holds, so entries alternate as if there were more.
    """
    limits = replace(HARD, daily_loss_usdt=min(Decimal(daily_loss), HARD.daily_loss_usdt))
    fees = fees_on(from_ms(START_MS).date())
    portfolio, wanted = Portfolio(INITIAL_EQUITY), plan()
    day = Day(utc_day(from_ms(START_MS)), INITIAL_EQUITY, INITIAL_EQUITY, limits)
    rows: list[tuple[str, ...]] = []
    for i in range(most):
        symbol = SYMBOLS[i % len(SYMBOLS)]
        order = entry_at(symbol, first_close(symbol), ORDER_TARGET_USDT)
        seen = inputs_at(portfolio, day, fees, wanted)
        said = daily_budget.check(order, seen, limits)
        word = "allowed" if said.allowed else f"refused, {said.code}"
        rows.append((f"{i + 1}, {symbol}", f"{worst_cost(order, fees):f}", f"{said.value:f}",
                     f"{said.limit:f}", word))  # fmt: skip
        if not said.allowed:
            break
        portfolio = reserve(portfolio, order, fees)
    return Table(("entry", "its worst cost", "cash if all go to zero", "floor", ""), tuple(rows))


@dataclass(frozen=True)
class Corner:
    """A day that opens with gains and ends at zero: the example of decision 001, in USDT.

    plain   the floor without the cash in it: start equity less 2.00
    floor   the floor as it is
    at_zero equity when all that is held is worth nothing
    """

    start_equity: Decimal
    start_cash: Decimal
    plain: Decimal
    floor: Decimal
    at_zero: Decimal

    @property
    def table(self) -> Table:
        """The figures, and which floor holds."""
        below = {True: "broken", False: "kept"}
        rows = (
            ("equity as the day opens", f"{self.start_equity:f}", ""),
            ("cash as the day opens", f"{self.start_cash:f}", ""),
            ("lowest equity, both prices at zero", f"{self.at_zero:f}", ""),
            ("start equity − 2.00", f"{self.plain:f}", below[self.at_zero < self.plain]),
            ("min(that, start cash)", f"{self.floor:f}", below[self.at_zero < self.floor]),
        )
        return Table(("", "USDT", "at zero"), rows)


def corner(start_cash: str = "8.10", held: str = "2.20") -> Corner:
    """A day that opens with `start_cash` and holdings marked at `held`, in the kit's own floor."""
    cash, gained = Decimal(start_cash), Decimal(held)
    if cash < 0 or gained < 0:
        raise DomainError(f"cash {cash} and holdings {gained}; expected neither below zero")
    day = Day(utc_day(from_ms(START_MS)), cash + gained, cash, HARD)
    return Corner(
        day.start_equity,
        cash,
        day.start_equity - HARD.daily_loss_usdt,
        daily_floor(day, HARD),
        cash,
    )


def pumped_then_zero() -> Lived:
    """The kit on a path that doubles in a minute at 23:20 and falls to zero at 00:05.

    After such jumps the kit holds for an hour (DATA_JUMP), so that nothing is trimmed between them.
    """
    rows = 2 * DAY
    level = quiet(rows) * shock(rows, DAY - 40, -1.0, 1, 0.0) * shock(rows, DAY + 5, 1.0, 1, 0.0)
    return kit({symbol: candles_of(symbol, level) for symbol in SYMBOLS})


def second_day(lived: Lived) -> Corner:
    """The second day of `lived` as a `Corner`; `at_zero` is its lowest equity."""
    rows = np.flatnonzero(lived.times_ms // DAY_MS == lived.times_ms[0] // DAY_MS + 1)
    at, moved = cash_flows(lived.result)
    begin = int(lived.times_ms[rows[0]])
    start = money(int(lived.result.equity_units[rows[0] - 1]))
    cash = money(lived.result.initial_units + int(moved[at < begin].sum()))
    lowest = money(int(lived.result.equity_units[rows].min()))
    found = corner(f"{cash}", f"{start - cash}")
    return replace(found, at_zero=lowest)


def targets(past: Past, sizes: Sequence[str] = ("0.95", "0.99", "1.00")) -> Table:
    """Which entries of each size the rules would allow at the hourly closes of `past`.

    Raises `DomainError` for less than an hour.
    """
    candles = past.candles[60 - 1 :: 60]
    if not len(candles):
        raise DomainError(f"{past.candles.symbol}: {len(past.candles)} minutes; expected an hour")
    fees = fees_on(from_ms(START_MS).date())
    day = Day(utc_day(from_ms(START_MS)), INITIAL_EQUITY, INITIAL_EQUITY, HARD)
    rows = []
    for size in sizes:
        worst, refused, second = ZERO, 0, 0
        for steps in candles.close:
            order = entry_at(candles.symbol, candles.price(steps), size)
            seen = inputs_at(Portfolio(INITIAL_EQUITY), day, fees, plan())
            cost = worst_cost(order, fees)
            worst = max(worst, cost)
            refused += not position_limit.check(order, seen, HARD).allowed
            # another symbol's entry of the same cost is reserved already
            after = replace(seen, portfolio=Portfolio(INITIAL_EQUITY, reserved=cost))
            second += not daily_budget.check(order, after, HARD).allowed
        share = len(candles)
        rows.append((size, f"{worst:f}", f"{refused / share:.1%}", f"{second / share:.1%}"))
    head = ("order target", "largest worst cost", "over the position limit", "a second one refused")
    return Table(head, tuple(rows))
