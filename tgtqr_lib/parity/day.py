"""A day's ticks beside the backtest, one quarter hour after the other.

The backtest goes on by itself as long as it equals the ticks. At a difference it is set to what the real tick
had afterwards, so that one cause does not run on into the ticks behind it.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import date, datetime

from tgtqr_lib.archive import code_version
from tgtqr_lib.clock import MINUTE, iso
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Account, DataError, Inputs, Portfolio
from tgtqr_lib.freeze import MARGIN
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Row
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.parity import fills, record
from tgtqr_lib.parity.backtest import Backtest, State, Step
from tgtqr_lib.parity.findings import (
    Cause,
    Compared,
    Evidence,
    Parity,
    decision_differences,
    in_words,
    said,
)
from tgtqr_lib.parity.past import Past
from tgtqr_lib.parity.proof import explain
from tgtqr_lib.parity.record import Booked, Ticked
from tgtqr_lib.portfolio import apply
from tgtqr_lib.strategies import minutes_needed

NOT_BEGUN = "not begun"


class NotPaper(DataError):
    """The ticks traded on an account at the exchange, whose fills no backtest can make again."""


def parity(home: Home, con: sqlite3.Connection, when: date) -> Parity:
    """The ticks of the UTC day `when` against the backtest of the same candles.

    The backtest begins with what the day's first tick had, and keeps that tick's plan, limits and terms.
    Raises `DataError` for a day without a tick, or with ticks of an account at the exchange, and `StoreError`
    for a damaged lake.
    """
    found = record.read(home, con, when)
    for tick in found.ticks:
        if tick.inputs is not None and tick.inputs.account.venue is not None:
            raise NotPaper(
                f"{when}: its ticks traded {tick.inputs.account.id}, an account at the exchange; parity is for "
                "paper accounts, whose fills a backtest can make again"
            )
    first = next((tick for tick in found.ticks if tick.counts), None)
    if first is None:
        return _without_a_backtest(when, found.ticks)
    past = _past(home, when, found, first.inputs)
    comparison = _Comparison(found, past, Backtest.beginning(first.inputs, past), first)
    return comparison.run(f"{when}")


def _without_a_backtest(when: date, ticks: list[Ticked]) -> Parity:
    """The result of a day on which no tick decided, or none can be believed."""
    compared = [Compared(tick.tick_id) for tick in ticks]
    for tick, found in zip(ticks, compared, strict=True):
        if tick.problem is not None:
            found.unexplained.append(tick.problem)
        else:
            fact = Evidence("tick", tick.ended, NOT_BEGUN)
            found.add(Cause.MISSED_TICK, fact)
    return Parity(f"{when}", tuple(compared), 0, 0, {"lake": 0, "as_seen": 0}, ())


def _past(home: Home, when: date, found: record.Record, first: Inputs) -> Past:
    start, end = record.day_of(when)
    longest = max(minutes_needed(inputs.plan) for inputs in [first, *found.seen])
    symbols = [view.symbol for view in first.markets]
    past = Past(Lake(home.candles), symbols, start - (longest + MARGIN) * MINUTE, end + MINUTE)
    for inputs in found.seen:
        past.see(inputs)
    return past


@dataclass
class _Comparison:
    """Where the comparison stands; `sales` and `accounts` are those that are not accounted for yet."""

    record: record.Record
    past: Past
    backtest: Backtest
    first: Ticked
    decisions: int = 0
    fills: int = 0
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sales, self.accounts = list(self.record.sales), list(self.record.accounts)

    def run(self, day: str) -> Parity:
        self._news(self.first)
        compared = tuple(self.tick(one) for one in self.record.ticks)
        proven = {fact for one in compared for f in one.findings for fact in f.evidence}
        remarks = [*self._quiet_doubts(proven), *self._codes(), *self.remarks]
        minutes = self.past.minutes(*record.minutes_of(date.fromisoformat(day)))
        return Parity(day, compared, self.decisions, self.fills, minutes, tuple(remarks))

    def tick(self, tick: Ticked) -> Compared:
        found = Compared(tick.tick_id)
        if tick.problem is not None:
            found.unexplained.append(tick.problem)
            self.pass_over(tick, found)
        elif not tick.decided:
            found.add(Cause.MISSED_TICK, self.what_was_missed(tick))
        else:
            self.compare(tick, found)
        return found

    # a quarter hour without a decision that counts

    def what_was_missed(self, tick: Ticked) -> Evidence:
        if tick.boundary < self.first.boundary:
            return Evidence("tick", tick.ended, NOT_BEGUN)
        before = self.backtest.portfolio, self.backtest.state(tick.boundary).orders
        step = self.backtest.step(tick.boundary, {})
        self.set_to(*before, tick.boundary)
        told = [f"{symbol} {in_words(one)}" for symbol, one in said(step.decision).items()]
        return Evidence("tick", tick.ended, "; ".join(told))

    def pass_over(self, tick: Ticked, found: Compared) -> None:
        """Take what the ledger booked of a tick that cannot be compared."""
        if tick.boundary < self.first.boundary:
            return
        self.between(tick, found)
        self.follow(tick, self.backtest.portfolio, self.backtest.state(tick.boundary).orders)

    # a quarter hour with one

    def compare(self, tick: Ticked, found: Compared) -> None:
        real = tick.inputs
        self.between(tick, found)
        self.must_be(tick, found)
        lasts = {view.symbol: view.quote.last for view in real.markets if view.quote}
        step = self.backtest.step(tick.boundary, lasts)
        told, wanted = said(tick.decision), said(step.decision)
        self.decisions += len({*told, *wanted})
        found.differences += decision_differences(told, wanted)
        if told != wanted:
            self.explain(tick, step, found)
        alike = [symbol for symbol in told if told[symbol] == wanted.get(symbol)]
        self.compare_fills(tick, step, alike, found)
        if not found.equal:
            self.follow(tick, real.portfolio, real.orders_today)

    def explain(self, tick: Ticked, step: Step, found: Compared) -> None:
        """Why the decisions differ, proven by deciding again."""
        today = decide(tick.inputs)
        if said(today) != said(tick.decision):
            then, now = tick.sealed.facts["code"], code_version()
            told = "; ".join(f"{s} {in_words(one)}" for s, one in said(today).items())
            if then == now:
                found.unexplained.append(
                    f"its own inputs, decided again by the same code ({tick.sealed.code()}), give: {told}"
                )
                return
            facts = Evidence("code", tick.sealed.code(), _code_words(now))
            again = Evidence("its own inputs decided", _words_of(tick), told)
            found.add(Cause.CODE_CHANGE, facts, again)
        if said(today) != said(step.decision):
            wanted = said(step.decision)
            causes = explain(tick.inputs, today, step.inputs, wanted, self.past)
            if causes is None:
                found.unexplained.append(
                    "no cause turns its decision into the backtest's: "
                    + "; ".join(str(one) for one in found.differences)
                )
            for one in causes or ():
                found.add(one.cause, *one.evidence)

    def compare_fills(self, tick: Ticked, step: Step, alike: list[str], found: Compared) -> None:
        for order in tick.decision.orders:
            booked, mine = tick.orders.get(order.id), step.fills.get(order.id)
            if booked is not None and (odd := fills.odd(tick, booked, order)):
                found.unexplained.append(odd)
                continue
            if order.symbol not in alike:
                continue
            self.fills += bool(mine or (booked and booked.fill))
            quote = self.backtest.quote(order.symbol, tick.boundary, order.side)
            fills.compare(tick, order, mine, quote, found)
            if mine and order.symbol in self.backtest.stood_in:
                self.remarks.append(
                    f"{order.id}: nobody holds the candle of {iso(tick.boundary)} yet; the tick's own "
                    f"last price {self.backtest.lasts[order.symbol]:f} stands for its open"
                )
        wanted = {order.id for order in tick.decision.orders}
        for name in tick.orders.keys() - wanted:
            found.unexplained.append(f"order {name}: the ledger has it, the decision has not")

    # the account

    def between(self, tick: Ticked, found: Compared) -> None:
        """What moved the account since the tick before: sales that a stop made, and a fresh account."""
        sales, opened = self._news(tick)
        if not sales and not opened:
            return
        portfolio, facts = self.backtest.portfolio, []
        for sale in sales:
            facts.append(Evidence(sale.id, sale.body["text"], "no stop, no sale"))
            if sale.fill is not None:
                portfolio = apply(portfolio, sale.fill)
        for row, account in opened:
            text = f"{account.id} was opened: {row.body['reason']}"
            facts.append(Evidence("account", text, f"still {self.backtest.account.id}"))
            portfolio = Portfolio(account.initial_equity)
            self.backtest.account, self.backtest.day = account, None
        found.add(Cause.GATE, *facts)
        orders = self.backtest.state(tick.boundary).orders + len(sales)
        self.set_to(portfolio, orders, tick.boundary)

    def _news(self, tick: Ticked) -> tuple[list[Booked], list[tuple[Row, Account]]]:
        """Safety sales and accounts that were booked before `tick` froze its inputs, each told once."""
        until = tick.inputs.exchange_time if tick.inputs else tick.boundary
        seq = self._booked_at(tick)
        sales = [one for one in self.sales if one.row.seq < seq and one.at <= until]
        opened = [one for one in self.accounts if one[0].seq < seq and one[1].opened_at <= until]
        self.sales = [one for one in self.sales if one not in sales]
        self.accounts = [one for one in self.accounts if one not in opened]
        return sorted(sales, key=lambda one: one.row.seq), opened

    def must_be(self, tick: Ticked, found: Compared) -> None:
        """The account must now be what the tick saw; what is not accounted for is unexplained."""
        real, at = tick.inputs, tick.boundary
        seen, mine = State.of(real.portfolio, real.orders_today), self.backtest.state(at)
        if seen != mine:
            text = f"the account has {seen}; by its fills it should have {mine}"
            found.unexplained.append(text)
        self.backtest.account = real.account
        if self.backtest.day is None and real.days:  # its close of 23:59 came late
            self.backtest.day = real.days[-1]
        days = (self.backtest.day,) if self.backtest.day else ()
        if days != real.days[-1:]:
            found.unexplained.append(f"the day began as {real.days}, in the backtest as {days}")
        if seen != mine or days != real.days[-1:]:
            self.backtest.take(real.account, real.days, real.portfolio, real.orders_today, at)

    def follow(self, tick: Ticked, portfolio: Portfolio, orders: int) -> None:
        """Go on with what the ledger booked of the tick."""
        for booked in sorted(tick.orders.values(), key=lambda one: one.row.seq):
            if booked.fill is not None:
                portfolio = apply(portfolio, booked.fill)
        self.set_to(portfolio, orders + len(tick.orders), tick.boundary)

    def set_to(self, portfolio: Portfolio, orders: int, at: datetime) -> None:
        days = (self.backtest.day,) if self.backtest.day else ()
        self.backtest.take(self.backtest.account, days, portfolio, orders, at)

    def _booked_at(self, tick: Ticked) -> int:
        """The ledger's event with which the decision of `tick` was booked, or its end; 0 without any."""
        rows = [tick.steps[step] for step in ("decision", "final") if step in tick.steps]
        return rows[0].seq if rows else 0

    # what changed nothing

    def _quiet_doubts(self, proven: set[Evidence]) -> list[str]:
        """Minutes that are known otherwise now and are no tick's cause."""
        told: dict[Evidence, str] = {}
        for tick in self.record.ticks:
            for doubt in self.past.doubts(tick.inputs) if tick.inputs and not tick.problem else ():
                for fact in doubt.evidence:
                    if fact not in proven:
                        told.setdefault(fact, tick.tick_id)
        return [f"{fact}; no decision changed (tick {name})" for fact, name in told.items()]

    def _codes(self) -> list[str]:
        """Other code that sealed ticks of the day."""
        now, told = code_version(), {}
        for tick in self.record.ticks:
            if tick.sealed is not None and tick.sealed.facts["code"] != now:
                told.setdefault(tick.sealed.code(), []).append(tick.tick_id)
        return [
            f"{len(names)} ticks from {names[0]} on were decided by other code than today's: {code}"
            for code, names in told.items()
        ]


def _words_of(tick: Ticked) -> str:
    return "; ".join(f"{s} {in_words(one)}" for s, one in said(tick.decision).items())


def _code_words(code: dict[str, str]) -> str:
    return (
        f"tgtqr {code['version']}, library {code['library_sha256'][:12]}, Python {code['python']}"
    )
