"""`replay`: history through the very `decide`, sizing, rules and fills of a tick. Slow and true.

A beat passes in every minute from the first candle's close to the last one's, also where candles are
missing: funding, the day's opening, the mark, a breach. On quarter hours a tick follows it. What a stop
left is sold in the first minute that has a price. Nobody arms again, so a stop ends the trading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from tgtqr_lib.backtest.bars import Bars, series_of
from tgtqr_lib.backtest.result import BREACH, KINDS, SIGNALS, SPENT, OpenPosition, Result, Stop
from tgtqr_lib.backtest.run import funding_rows
from tgtqr_lib.backtest.terms import SPREAD_BPS, Setting, units
from tgtqr_lib.clock import FIRST_START_S, MINUTE, from_ms, tick_id, to_ms, utc_day
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import (
    ABSENT,
    MINUTE_MS,
    ZERO,
    Account,
    BookFeatures,
    Day,
    Decision,
    Fees,
    Fill,
    Funding,
    Health,
    Inputs,
    Instrument,
    Level,
    Limits,
    MarketView,
    Order,
    Plan,
    Portfolio,
    Quote,
    Side,
)
from tgtqr_lib.execution import BPS, fill, mark_value, round_down, round_up
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.portfolio import apply, equity
from tgtqr_lib.risk import approved, review
from tgtqr_lib.risk.budget import cash_after, daily_floor, total_floor
from tgtqr_lib.signals.settled import frozen_funding
from tgtqr_lib.sizing import entry, floor_to, safety_sale
from tgtqr_lib.strategies import minutes_needed, strategy_named

MARGIN = 60  # minutes before the lookback, as a tick freezes them
DEEP = Decimal(10) ** 12  # base units offered at a price: more than anything asks for
RATE = Decimal(10) ** -10


def replay(
    candles: Any,
    plan: Plan,
    limits: Limits | None,
    *,
    fees: Fees | None = None,
    instrument: Instrument | Mapping[str, Instrument] | None = None,
    spread_bps: Decimal | int = SPREAD_BPS,
    initial: Decimal = INITIAL_EQUITY,
    funding: Mapping[str, Any] | None = None,
) -> Result:
    """The backtest of `plan` over `candles`, decided and filled by the code of a tick.

    candles     `Candles`, `Bars` or a `History` (with the funding and book that a strategy reads) of one
                symbol, or symbol -> such for two that share the cash
    limits      None: nothing binds, and the result says so
    fees        of the whole time; usually those of the table on the last day
    instrument  the exchange's rules, of one symbol or by symbol; usually those of the market
    spread_bps  half of it is paid at each fill
    funding     linear only: symbol -> rates with `at_ms` and `units` of 1e-10

    Raises `DomainError` for terms or parameters that cannot be.
    """
    series = series_of(candles)
    setting = Setting.of(series, plan, limits, fees, instrument, spread_bps, initial)
    return _Replay(series, setting, funding_rows(series, funding)).result()


@dataclass
class _Lot:
    """What a trade's record needs of an open position."""

    since: datetime
    price: Decimal
    fee_left: Decimal


@dataclass
class _Replay:
    """The state that a real kit would have in its ledger."""

    series: tuple[Bars, ...]
    setting: Setting
    funding: np.ndarray
    portfolio: Portfolio = field(init=False)
    day: Day | None = None
    stop: Stop | None = None
    lots: dict[str, _Lot] = field(default_factory=dict)
    trades: list[tuple[int, ...]] = field(default_factory=list)
    signals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIGNALS, 0))
    incomplete: int = 0
    orders: dict[str, int] = field(default_factory=dict)
    fees: Decimal = ZERO
    spread: Decimal = ZERO
    paid: Decimal = ZERO

    def __post_init__(self) -> None:
        self.portfolio = Portfolio(self.setting.initial)
        self.symbols = tuple(bars.symbol for bars in self.series)
        self.candles = {bars.symbol: self.setting.as_spot(bars).candles() for bars in self.series}
        self.rows = {
            symbol: {int(at): i for i, at in enumerate(seen.open_ms)}
            for symbol, seen in self.candles.items()
        }
        self.instruments = self.setting.with_spot_rules()
        self.need = minutes_needed(self.setting.plan) + MARGIN
        self.closes: dict[str, Decimal] = {}  # newest known close of each symbol
        self.needs = strategy_named(self.setting.plan.strategy).needs
        self.beside = {bars.symbol: bars for bars in self.series}
        self.rates = {(self.symbols[place], at): rate for place, at, rate in self.funding.tolist()}

    # one minute after the other

    def result(self) -> Result:
        first = min(int(seen.open_ms[0]) for seen in self.candles.values())
        last = max(int(seen.open_ms[-1]) for seen in self.candles.values())
        self.account = Account("backtest", self.setting.initial, from_ms(first + MINUTE_MS))
        times, worth = [], []
        for ms in range(first + MINUTE_MS, last + 2 * MINUTE_MS, MINUTE_MS):
            at = from_ms(ms)
            self.see(ms - MINUTE_MS)
            self.beat(at)
            if any(ms - MINUTE_MS in rows for rows in self.rows.values()):
                times.append(ms - MINUTE_MS)
                worth.append(units(equity(self.portfolio, self.closes), "equity"))
            if self.stop is not None:
                self.sell_all(at)
            elif ms % (15 * MINUTE_MS) == 0:
                self.tick(at)
        return self.told(np.array(times), np.array(worth))

    def see(self, ms: int) -> None:
        """Take note of the minute that opened at `ms` and is closed now."""
        self.fresh = {
            symbol: candles.price(candles.close[self.rows[symbol][ms]])
            for symbol, candles in self.candles.items()
            if ms in self.rows[symbol]
        }
        self.closes |= self.fresh

    def beat(self, at: datetime) -> None:
        """Open the day, settle funding, and stop on a breach or a spent budget."""
        self.open_day(at)
        for symbol in self.symbols:
            self.settle(symbol, self.rates.get((symbol, to_ms(at))))
        held = {position.symbol for position in self.portfolio.held}
        if self.stop is None and self.setting.limits_bind and held <= set(self.fresh):
            self.stop = self.ended(at, equity(self.portfolio, self.fresh))

    def open_day(self, at: datetime) -> None:
        date = utc_day(at)
        if self.day is not None and self.day.date == date:
            return
        self.day = None
        midnight = at.replace(hour=0, minute=0)
        closes = {}
        for position in self.portfolio.held:
            candles, rows = self.candles[position.symbol], self.rows[position.symbol]
            row = rows.get(to_ms(midnight - MINUTE))
            if row is None:
                return  # what is held has no close of 23:59
            closes[position.symbol] = candles.price(candles.close[row])
        start = equity(self.portfolio, closes)
        self.day = Day(date, start, self.portfolio.cash, self.setting.limits)

    def settle(self, symbol: str, rate: int | None) -> None:
        held = self.portfolio.position(symbol).quantity
        if rate is None or held <= 0:
            return
        exact = held * self.closes[symbol] * rate * RATE
        charge = round_up(exact) if rate > 0 else -round_down(-exact)
        self.paid += charge
        self.portfolio = replace(self.portfolio, cash=self.portfolio.cash - charge)

    def ended(self, at: datetime, worth: Decimal) -> Stop | None:
        """The stop that equity `worth` demands; see safety.py, whose rules these are."""
        lowest = total_floor(self.account, self.setting.limits)
        floors = {"total": lowest}
        if self.day is not None:
            floors[self.day.date] = daily_floor(self.day, self.day.limits)
        for name, floor in floors.items():
            if worth < floor:
                text = f"equity {worth:.8f} is below the floor {floor:.8f} ({name})"
                return Stop(at, BREACH, text)
        if self.is_spent(at, lowest):
            cash = self.portfolio.cash
            text = f"cash {cash:.8f} allows no entry over the total floor {lowest:.8f}"
            return Stop(at, SPENT, text)
        return None

    def is_spent(self, at: datetime, floor: Decimal) -> bool:
        if self.portfolio.held or set(self.fresh) != set(self.symbols):
            return False
        inputs = self.inputs(at)
        for symbol, close in self.fresh.items():
            order = entry(symbol, close, self.instruments[symbol], self.setting.plan, at)
            if not isinstance(order, Order) or cash_after(order, inputs) >= floor:
                return False
        return True

    # a tick

    def inputs(self, at: datetime, views: tuple[MarketView, ...] = ()) -> Inputs:
        """Today's facts of a well-watched, armed kit three seconds after `at`."""
        now = at + timedelta(seconds=FIRST_START_S)
        return Inputs(
            tick_id=tick_id(at),
            boundary=at,
            exchange_time=now,
            markets=views,
            fees=self.setting.fees,
            account=self.account,
            days=(self.day,) if self.day else (),
            portfolio=self.portfolio,
            orders_today=self.orders.get(utc_day(at), 0),
            used_ids=(),
            health=Health(now, None, 10**6, None, None),
            limits=self.setting.limits,
            plan=self.setting.plan,
        )

    def view(self, symbol: str, at: datetime) -> MarketView:
        candles = self.candles[symbol]
        end = int(np.searchsorted(candles.open_ms, to_ms(at)))
        seen = candles[max(end - self.need, 0) : end]
        quote = self.quote(symbol, at, Side.BUY)
        return MarketView(
            symbol,
            self.instruments[symbol],
            seen,
            quote,
            funding=self.funding_at(symbol, at),
            book=self.book_at(symbol, at),
        )

    def funding_at(self, symbol: str, at: datetime) -> Funding | None:
        """The settlements that a tick at `at` would freeze."""
        known = self.beside[symbol].funding
        if "funding" not in self.needs or known is None:
            return None
        return frozen_funding(known, to_ms(at))

    def book_at(self, symbol: str, at: datetime) -> BookFeatures | None:
        """The look at the book that belongs to the candle that closes at `at`."""
        book = self.beside[symbol].book
        row = book.row(to_ms(at)) if "book" in self.needs and book is not None else None
        if row is None:
            return None
        figures = {name: int(column[row]) for name, column in book.columns.items()}
        told = {name: None if n == ABSENT else n for name, n in figures.items()}
        return BookFeatures(at=at + timedelta(seconds=FIRST_START_S), **told)

    def quote(self, symbol: str, at: datetime, side: Side) -> Quote | None:
        """The open of the minute at `at` plus and minus half the spread; None without that minute."""
        price, step = self.open_at(symbol, at), self.instruments[symbol].price_step
        if price is None:
            return None
        half = self.setting.spread_bps / 2 / BPS
        dear = price * (1 + half)
        ask = floor_to(dear, step)
        ask += step if ask < dear else 0
        bid = max(floor_to(price * (1 - half), step), step)
        if ask <= bid:  # no spread: the side that does not trade gives way
            ask, bid = (ask, ask / 2) if side is Side.BUY else (bid + step, bid)
        levels = ((Level(bid, DEEP),), (Level(ask, DEEP),))
        return Quote(symbol, at + timedelta(seconds=FIRST_START_S), *levels, price)

    def open_at(self, symbol: str, at: datetime) -> Decimal | None:
        """The open of the minute at `at`; None without that minute."""
        candles, row = self.candles[symbol], self.rows[symbol].get(to_ms(at))
        return None if row is None else candles.price(candles.open[row])

    def tick(self, at: datetime) -> tuple[Inputs, Decision]:
        """Decide on what is closed at `at`, then act in the decision's sequence; what was seen and decided."""
        frozen = self.inputs(at, tuple(self.view(symbol, at) for symbol in self.symbols))
        decision = decide(frozen)
        for choice in decision.choices:
            self.signals[choice.signal.state] += 1
            refused = {v.code for v in choice.verdicts if not v.allowed}
            self.incomplete += bool(refused & {"DATA_GAP", "DATA_LATE"})
        for order in decision.orders:
            choice = decision.choice(order.symbol)
            self.act(order, frozen, "trim" if choice.reason == "POSITION_TRIM" else "signal")
        return frozen, decision

    def act(self, order: Order, frozen: Inputs, kind: str) -> None:
        """Review the order again on what is held now, then fill it if its price is inside the limit."""
        at = frozen.boundary
        self.orders[utc_day(at)] = self.orders.get(utc_day(at), 0) + 1
        quote = self.quote(order.symbol, at, order.side)
        now = replace(frozen, portfolio=self.portfolio)
        if quote is None or not approved(review(order, now)):
            return
        filled = fill(order, quote, self.setting.fees)
        if filled is not None:
            self.book(filled, at, quote.last, kind)

    def sell_all(self, at: datetime) -> None:
        """Sell all that a stop left, where there is a price."""
        for position in self.portfolio.held:
            quote = self.quote(position.symbol, at, Side.SELL)
            if quote is None:
                continue
            instrument, collar = self.instruments[position.symbol], self.setting.plan.collar_bps
            order = safety_sale(position.quantity, quote, instrument, collar, at)
            filled = fill(order, quote, self.setting.fees)
            if filled is not None:
                self.book(filled, at, quote.last, "stop")

    # books

    def book(self, filled: Fill, at: datetime, price: Decimal, kind: str) -> None:
        """Apply a fill; a sale becomes a trade. `price` is the open, to tell what the spread took."""
        symbol, before = filled.symbol, self.portfolio.position(filled.symbol)
        self.portfolio = apply(self.portfolio, filled)
        self.fees += filled.fee
        if filled.side is Side.BUY:
            self.spread += filled.notional - round_up(filled.quantity * price)
            self.lots[symbol] = _Lot(at, filled.price, filled.fee)
            return
        self.spread += round_down(filled.quantity * price) - filled.notional
        lot, after = self.lots[symbol], self.portfolio.position(symbol)
        fee_left = round_up(lot.fee_left * after.quantity / before.quantity)
        self.trades.append(
            (
                self.symbols.index(symbol),
                to_ms(lot.since),
                to_ms(at),
                units(filled.quantity, "quantity"),
                self.steps(symbol, lot.price),
                self.steps(symbol, filled.price),
                units(lot.fee_left - fee_left, "fee"),
                units(filled.fee, "fee"),
                units(filled.notional - filled.fee - (before.cost - after.cost), "pnl"),
                KINDS.index(kind),
            )
        )
        lot.fee_left = fee_left

    def steps(self, symbol: str, price: Decimal) -> int:
        return int(price.scaleb(self.decimals(symbol)))

    def decimals(self, symbol: str) -> int:
        bars = self.series[self.symbols.index(symbol)]
        return self.setting.terms(bars).decimals

    def told(self, times: np.ndarray, worth: np.ndarray) -> Result:
        labels = self.setting.labels
        if worth.min() < 0:
            labels = (*labels, "equity fell below zero: beyond any account")
        strategy = strategy_named(self.setting.plan.strategy)
        return Result(
            symbols=self.symbols,
            market=self.setting.market,
            strategy=strategy.name,
            params=strategy.checked(self.setting.plan.parameters),
            decimals=tuple(self.decimals(symbol) for symbol in self.symbols),
            bars=sum(len(bars) for bars in self.series),
            gaps=tuple(gap for bars in self.series for gap in bars.gaps()),
            table=np.array(self.trades, dtype=np.int64).reshape(-1, 10),
            times_ms=times,
            equity_units=worth,
            decisions=sum(self.signals.values()),
            signals=self.signals,
            incomplete=self.incomplete,
            stop=self.stop,
            labels=labels,
            initial_units=units(self.setting.initial, "initial"),
            cash_units=units(self.portfolio.cash, "cash"),
            fees_units=units(self.fees, "fees"),
            spread_units=units(self.spread, "spread"),
            funding_units=units(self.paid, "funding"),
            open_positions=tuple(self.open_position(p.symbol) for p in self.portfolio.held),
        )

    def open_position(self, symbol: str) -> OpenPosition:
        held, lot = self.portfolio.position(symbol), self.lots[symbol]
        value = mark_value(held.quantity, self.closes[symbol])
        return OpenPosition(symbol, lot.since, held.quantity, lot.price, held.cost, value)
