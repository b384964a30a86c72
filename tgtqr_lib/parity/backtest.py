"""`replay`'s own tick, stepped from quarter hour to quarter hour beside the real ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from tgtqr_lib.backtest.replay import _Replay
from tgtqr_lib.backtest.run import NO_FUNDING
from tgtqr_lib.backtest.terms import SPOT, SPREAD_BPS, Setting
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import Account, Day, Decision, Fill, Inputs, Portfolio
from tgtqr_lib.parity.past import Past
from tgtqr_lib.portfolio import apply


@dataclass(frozen=True, slots=True)
class Step:
    """One tick of the backtest: what it saw, what it decided, and its fills by order id."""

    inputs: Inputs
    decision: Decision
    fills: dict[str, Fill]


@dataclass(frozen=True, slots=True)
class State:
    """What an account has: cash, what is held, and how many orders it placed today."""

    cash: Decimal
    held: tuple[tuple[str, Decimal, Decimal], ...]
    orders: int

    @classmethod
    def of(cls, portfolio: Portfolio, orders: int) -> State:
        held = tuple((p.symbol, p.quantity, p.cost) for p in portfolio.held)
        return cls(portfolio.cash, held, orders)

    def __str__(self) -> str:
        held = ", ".join(f"{q:f} {s} for {c:f}" for s, q, c in self.held) or "nothing held"
        return f"cash {self.cash:f}, {held}, {self.orders} orders today"


@dataclass
class Backtest(_Replay):
    """A backtest that begins with what a real tick saw, and can be set to what another one had.

    Beats, stops and funding are left out: between two ticks nothing happens to it.
    """

    booked: dict[str, Fill] = field(default_factory=dict)
    lasts: dict[str, Decimal] = field(default_factory=dict)  # the tick's own last prices
    ends: dict[str, int] = field(default_factory=dict)  # the newest known minute of each symbol
    stood_in: set[str] = field(default_factory=set)

    @classmethod
    def beginning(cls, first: Inputs, past: Past) -> Backtest:
        """The backtest with the account, holdings, day, plan, limits and terms of the tick `first`."""
        views = {view.symbol: view for view in first.markets}
        series = tuple(past.bars(symbol) for symbol in views)
        rules = SPOT | {s: view.instrument for s, view in views.items() if view.instrument}
        fees, initial = first.fees, first.account.initial_equity
        setting = Setting.of(series, first.plan, first.limits, fees, rules, SPREAD_BPS, initial)
        made = cls(series, setting, NO_FUNDING, ends={s: past.ends(s) for s in views})
        made.take(first.account, first.days, first.portfolio, first.orders_today, first.boundary)
        return made

    def take(
        self,
        account: Account,
        days: tuple[Day, ...],
        portfolio: Portfolio,
        orders: int,
        at: datetime,
    ) -> None:
        """Go on with this account, day, portfolio and number of orders on the day of `at`."""
        self.account, self.portfolio = account, portfolio
        self.day = days[-1] if days else None
        self.orders[f"{at:%Y-%m-%d}"] = orders

    def state(self, at: datetime) -> State:
        return State.of(self.portfolio, self.orders.get(f"{at:%Y-%m-%d}", 0))

    def step(self, at: datetime, lasts: dict[str, Decimal]) -> Step:
        """Decide and act at `at`; `lasts` stand for opens of minutes that lie after all that is known."""
        self.booked, self.lasts, self.stood_in = {}, lasts, set()
        inputs, decision = self.tick(at)
        return Step(inputs, decision, self.booked)

    def open_at(self, symbol: str, at: datetime) -> Decimal | None:
        known = super().open_at(symbol, at)
        if known is None and to_ms(at) > self.ends[symbol] and symbol in self.lasts:
            self.stood_in.add(symbol)
            return self.lasts[symbol]
        return known

    def book(self, filled: Fill, at: datetime, price: Decimal, kind: str) -> None:
        self.portfolio = apply(self.portfolio, filled)
        self.booked[filled.order_id] = filled
