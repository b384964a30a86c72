"""What every command that trades or watches stands on: home, settings, ledger, exchange, and today's facts."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tgtqr_lib import books, controls, credentials, gate, journal, ledger
from tgtqr_lib.brokers.bybit import BybitBroker
from tgtqr_lib.brokers.bybit_client import PrivateClient
from tgtqr_lib.clock import MINUTE, floor_minute, iso, tick_id, utc_day
from tgtqr_lib.domain import (
    Account,
    BrokerError,
    Busy,
    Candles,
    DataError,
    Day,
    DomainError,
    Inputs,
    Instrument,
    Limits,
    MarketView,
    Plan,
    Portfolio,
    Position,
    StoreError,
)
from tgtqr_lib.execution import fees_on
from tgtqr_lib.home import Home
from tgtqr_lib.hosts import trading_host
from tgtqr_lib.limits import ACCOUNT_COLLAR_BPS, HARD, INITIAL_EQUITY, SYMBOLS, scaled, tightest
from tgtqr_lib.market.bybit import Exchange
from tgtqr_lib.market.embedded import StandingClock, embedded_keys, open_market
from tgtqr_lib.portfolio import equity, fold
from tgtqr_lib.settings import Settings
from tgtqr_lib.sizing import floor_to
from tgtqr_lib.strategies import strategy_named


@dataclass
class Desk:
    """An open home: `clock` is there only with the embedded simulator.

    `settings` are those of file and environment; what the owner changed since is in `in_force`.
    """

    home: Home
    settings: Settings
    con: sqlite3.Connection
    exchange: Exchange
    clock: StandingClock | None = None
    _instruments: dict[str, Instrument] = field(default_factory=dict)
    _offset_ms: list[int | None] = field(default_factory=list)
    _offset_assumed: bool = False
    chain_problem: str | None = None  # what `look_at_chain` found
    _told: set[str] = field(default_factory=set)  # controls that were ignored, each logged once
    _broker: BybitBroker | None = None
    differs: str | None = (
        None  # how the settings' account is not the ledger's, which is then followed
    )

    def follow(self, account: Account) -> None:
        """Go by the ledger's account where the settings name another: a stop is sold all the same.

        `differs` then says so, and a tick and an arming refuse for it.
        """
        if (differs := difference(self.settings, account)) is None:
            return
        self.differs = differs
        self.close()
        self._broker = None
        self.settings = self.settings.model_copy(
            update={
                "account": account.venue or "paper",
                "demo_limits_scale": account.scale or Decimal(1),
            }
        )

    @property
    def venue(self) -> str | None:
        """Where orders go by the settings, "demo" or "testnet"; None for the paper account."""
        return None if self.settings.account == "paper" else self.settings.account

    @property
    def scale(self) -> Decimal:
        """By which limits and order size are multiplied: 1 on paper, virtual money may have more."""
        return self.settings.demo_limits_scale if self.venue else Decimal(1)

    @property
    def ceiling(self) -> Limits:
        """The hard limits of this account."""
        return scaled(HARD, self.scale)

    @property
    def broker(self) -> BybitBroker:
        """The exchange account of the settings, opened when it is first asked for.

        Raises `DomainError` without keys, or for a host that may not take orders.
        """
        if self._broker is None:
            self._broker = BybitBroker(_client(self.home, self.settings, self.clock))
        return self._broker

    def close(self) -> None:
        """Close the connection to the exchange account."""
        if self._broker is not None:
            self._broker.client.close()

    def sellable(self, portfolio: Portfolio) -> tuple[Position, ...]:
        """What is held and could be sold: all of it on paper; at the exchange only what makes a lot and is
        worth its smallest order. What cannot be told counts."""
        if self.venue is None or not portfolio.held:
            return portfolio.held
        try:
            rules = self.instruments()
            closes = self.exchange.last_closes(self.settings.symbols, self.exchange.time())
        except (DataError, BrokerError):
            return portfolio.held

        def counts(p: Position) -> bool:
            rule, close = rules.get(p.symbol), closes.get(p.symbol)
            if rule is None or (lots := floor_to(p.quantity, rule.lot)) == 0:
                return rule is None
            return close is None or lots * close >= rule.min_notional

        return tuple(p for p in portfolio.held if counts(p))

    def in_force(self, at: datetime) -> Settings:
        """The settings with the owner's controls as they hold at exchange time `at`, read from the ledger."""
        return controls.in_force(self.con, self.settings, at, self._told)

    def instruments(self) -> dict[str, Instrument]:
        """The exchange's rules of the symbols, asked once a command."""
        if not self._instruments:
            self._instruments = self.exchange.instruments(self.settings.symbols)
        return self._instruments

    def assume_clock_offset(self, offset_ms: int | None) -> None:
        """Take `offset_ms` for measured, when the exchange does not answer."""
        self._offset_ms[:] = [offset_ms]
        self._offset_assumed = True

    def look_at_chain(self) -> None:
        """Check the chain since the account was opened; what is wrong with it keeps entries back."""
        account = books.account(self.con)
        row = ledger.get(self.con, f"account/{account.id}") if account else None
        _, problems = ledger.verify_chain(self.con, row.seq if row else 1)
        self.chain_problem = problems[0] if problems else None

    def forget_clock_offset(self) -> None:
        """Measure it again when it is next asked for: a watch runs for months."""
        if not self._offset_assumed:
            self._offset_ms.clear()

    def clock_offset_ms(self) -> int | None:
        """This machine's clock minus the exchange's, measured once a beat; None when simulated."""
        if not self._offset_ms:
            self._offset_ms.append(self.exchange.clock_offset_ms())
        return self._offset_ms[0]


@contextmanager
def open_desk(home: Home, settings: Settings) -> Iterator[Desk]:
    """Open ledger and market of `home`; closed at the end."""
    make_folders(home)
    con = ledger.connect(home.ledger)
    try:
        with open_market(home, settings) as (exchange, clock):
            desk = Desk(home, settings, con, exchange, clock)
            try:
                yield desk
            finally:
                desk.close()
    finally:
        con.close()


def _client(home: Home, settings: Settings, clock: StandingClock | None) -> PrivateClient:
    """The signed connection to the account of `settings`."""
    embedded = clock.simulator.url if clock is not None else None
    host = trading_host(settings, embedded)
    keys = embedded_keys(host) or credentials.find(home)
    if keys is None:
        raise DomainError(
            f"account {settings.account}: it has no keys; expected {credentials.KEY} and "
            f"{credentials.SECRET} in the environment or in {home.root / '.env'}"
        )
    return PrivateClient(
        host,
        keys,
        timeout_s=settings.exchange_timeout_s,
        simulated=settings.market == "simulator",
    )


def make_folders(home: Home) -> None:
    """Make the folders of `home`. Raises `StoreError` when that cannot be."""
    try:
        home.make()
    except OSError as error:
        raise StoreError(
            f"home {home.root}: {error.filename} cannot be made ({error.strerror})"
        ) from None


TICK_LOCK = "tick.lock"


@contextmanager
def one_at_a_time(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`. Raises `Busy` when another process holds it."""
    try:
        lock = open(path, "w")  # noqa: SIM115 - held until the end, also by a process that is killed
    except OSError as error:
        raise StoreError(f"lock {path}: cannot be opened ({error.strerror})") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another {what} is running; expected one at a time") from None
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def is_running(lock: Path) -> bool:
    """Whether the process that took the lock file `lock` last is alive; the lock itself is left alone."""
    try:
        os.kill(int(lock.read_text("utf-8")), 0)
    except PermissionError:  # it belongs to somebody else, and is there
        return True
    except (OSError, ValueError):
        return False
    return True


def ensure_day(desk: Desk, at: datetime) -> tuple[Account, Day | None]:
    """The account and the UTC day of `at`, each opened if it is not.

    The day is None when something is held whose close of 23:59 is missing: then nothing can be bought.
    """
    con = desk.con
    account = books.account(con) or new_account(desk, at, "the first account")
    desk.follow(account)
    day = books.day(con, account, utc_day(at))
    if day is not None:
        return account, day
    last_minute = floor_minute(at).replace(hour=0, minute=0) - MINUTE
    closes: dict[str, Decimal] = {}
    for position in books.portfolio(con, account).held:
        close = _close_at(desk, position.symbol, last_minute)
        if close is None:
            journal.event("day_not_open", symbol=position.symbol, missing=iso(last_minute))
            return account, None
        closes[position.symbol] = close
    with ledger.writing(con):
        limits = scaled(desk.in_force(at).limits.limits, desk.scale)
        limits = tightest(limits, ceiling=desk.ceiling)
        day = books.open_day(con, account, at, closes, limits)
    journal.event("day", date=day.date, start_equity=day.start_equity, account=account.id)
    return account, day


def new_account(desk: Desk, at: datetime, reason: str, by: str = "the kit") -> Account:
    """Open the next account, paper or at the exchange as the settings say; another one that is there wins
    only when it is the first.

    Raises `DataError` when the exchange account holds less than the account is to begin with, and
    `BrokerError` for a key that can move money out or cannot trade.
    """
    wallet: dict[str, Decimal] | None = None
    if desk.venue is not None:
        coins = ("USDT", *(symbol.removesuffix("USDT") for symbol in SYMBOLS))
        if (problem := desk.broker.key_problem()) is not None:
            raise BrokerError(f"account {desk.venue}: {problem}")
        wallet = desk.broker.wallet(coins)
        begins = INITIAL_EQUITY * desk.scale
        if wallet["USDT"] < begins:
            raise DataError(
                f"account {desk.venue}: it holds {wallet['USDT']:f} USDT; expected at least {begins:f} "
                "(on a demo account ask Bybit for demo funds)"
            )
    known = books.account(desk.con)
    with ledger.writing(desk.con):
        present = books.account(desk.con)
        if known is None and present is not None:  # another process was faster
            return present
        fresh = books.open_account(
            desk.con, at, reason, by, venue=desk.venue, scale=desk.scale, wallet=wallet
        )
    journal.event("account", account=fresh.id, cash=fresh.initial_equity, reason=reason)
    return fresh


def difference(settings: Settings, account: Account) -> str | None:
    """How the account that `settings` name is not `account`, in a sentence; None when it is."""
    asked = (settings.account, settings.demo_limits_scale)
    here = (account.venue or "paper", account.scale or Decimal(1))
    if asked == here:
        return None
    (asked_for, asked_scale), (there, scale) = asked, here
    return (
        f"account {asked_for}{_at_scale(asked_scale)}: the account of this home is {account.id}, "
        f"{there}{_at_scale(scale)}; expected a home of its own (TGTQR_HOME), or "
        "`tgtqr account new --reason ...` when the old one is ended or never traded"
    )


def _at_scale(scale: Decimal) -> str:
    return "" if scale == 1 else f" at scale {scale:f}"


def check_account(desk: Desk) -> None:
    """Raise `DomainError` when the settings ask for another account than the ledger's present one."""
    if desk.differs is not None:
        raise DomainError(desk.differs)


def _close_at(desk: Desk, symbol: str, minute: datetime) -> Decimal | None:
    """The close of `minute`, or None when the exchange does not tell: that must not hold up an exit."""
    try:
        return desk.exchange.close_at(symbol, minute)
    except (DataError, BrokerError) as error:
        journal.event("no_close", symbol=symbol, text=str(error))
        return None


def situation(
    desk: Desk,
    at: datetime,
    boundary: datetime | None = None,
    opened: tuple[Account, Day | None] | None = None,
) -> Inputs:
    """Today's facts at exchange time `at`, as inputs that have seen no market yet.

    `boundary` names the tick; without one the minute of `at` does, as for a watch beat. `opened` is
    what `ensure_day` returned for `at`; with it nothing is asked of the exchange.
    """
    con, settings = desk.con, desk.in_force(at)
    account, day = opened or ensure_day(desk, at)
    boundary = boundary or floor_minute(at)
    met = books.limits_of(con, account, day) if day else ()
    limits = tightest(scaled(settings.limits.limits, desk.scale), *met, ceiling=desk.ceiling)
    return Inputs(
        tick_id=tick_id(boundary),
        boundary=boundary,
        exchange_time=at,
        markets=(),
        fees=fees_on(at.date()),
        account=account,
        days=(day,) if day else (),
        portfolio=books.portfolio(con, account),
        orders_today=books.orders_on(con, utc_day(at)),
        used_ids=books.order_ids(con, tick_id(boundary)),
        health=gate.health(con, desk.home, desk.clock_offset_ms(), desk.chain_problem),
        limits=limits,
        plan=plan_of(settings, desk.scale),
    )


def plan_of(settings: Settings, scale: Decimal = Decimal(1)) -> Plan:
    """What `settings` want to be done, with orders of `scale` times the size.

    At an exchange the collar is as narrow as the exchange demands. Raises `DomainError` for parameters
    the strategy does not have.
    """
    strategy = strategy_named(settings.strategy)
    return Plan(
        strategy=strategy.name,
        parameters=strategy.checked(settings.parameters),
        order_target_usdt=settings.order_target_usdt * scale,
        collar_bps=(
            settings.collar_bps
            if settings.account == "paper"
            else min(settings.collar_bps, ACCOUNT_COLLAR_BPS)
        ),
    )


def today(desk: Desk, frozen: Inputs, at: datetime, opened: tuple[Account, Day | None]) -> Inputs:
    """`frozen` with everything that may have changed since: time, portfolio, days, gate, order counts.

    Limits are the tighter of then and now, and an act across midnight answers to both days. Reads
    ledger and files only, so that it can run inside a transaction.
    """
    now = situation(desk, at, frozen.boundary, opened)
    days = {day.date: day for day in (*frozen.days, *now.days)} if frozen.days and now.days else {}
    return replace(
        frozen,
        exchange_time=at,
        account=now.account,
        days=tuple(days.values()),
        portfolio=now.portfolio,
        orders_today=now.orders_today,
        used_ids=now.used_ids,
        orders_this_tick=0,
        health=now.health,
        limits=tightest(frozen.limits, now.limits, ceiling=desk.ceiling),
    )


def money_facts(desk: Desk, inputs: Inputs, closes: Mapping[str, Decimal]) -> dict[str, Any]:
    """Equity, cash, PnL, fees and positions now, for the log; PnL against the day of `inputs`."""
    found = books.fills(desk.con, inputs.account)
    held = fold(inputs.account.initial_equity, found)
    known = all(position.symbol in closes for position in held.held)
    facts: dict[str, Any] = {"equity": equity(held, closes) if known else None, "cash": held.cash}
    if known and inputs.days:
        facts["day_pnl"] = facts["equity"] - inputs.days[0].start_equity
        facts["total_pnl"] = facts["equity"] - inputs.account.initial_equity
    facts["fees"] = books.fees_paid(found)
    return facts | {f"{position.symbol}_held": position.quantity for position in held.held}


def bare_view(desk: Desk, symbol: str) -> MarketView:
    """A view of `symbol` with the exchange's rules alone: what a safety sale needs."""
    empty = Candles(symbol, 0, *([()] * 6))
    return MarketView(symbol, desk.instruments().get(symbol), empty, None)


def beat_minute(at: datetime) -> datetime:
    """The open of the newest minute that is closed at `at`."""
    return floor_minute(at) - timedelta(minutes=1)
