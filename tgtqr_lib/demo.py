"""The demo: a simulated day through the full path, in a home of its own, at the pace of the machine."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tgtqr_lib import books, gate, journal, latch, orders
from tgtqr_lib.clock import FIRST_START_S, MINUTE, TICK, floor_minute, from_ms, to_ms
from tgtqr_lib.desk import Desk, open_desk, situation
from tgtqr_lib.domain import Account, DataError, DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.kernel import Kernels, kernels
from tgtqr_lib.orders import Comparison
from tgtqr_lib.portfolio import equity
from tgtqr_lib.risk.budget import total_floor
from tgtqr_lib.settings import Settings, load
from tgtqr_lib.tick import TickResult, decision_rows, run_tick
from tgtqr_lib.watch import beat, play_to

FIRST_DAY = datetime(
    2025, 6, 1, tzinfo=UTC
)  # of the synthetic market, so that every demo is the same
FIRST_YEAR, LAST_YEAR = 2016, 2034
MARKER = ".tgtqr-demo"  # only a folder that holds it is ever cleared
HISTORY = timedelta(hours=3)
LAST_MOMENT = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass
class Summary:
    """What a demo did; amounts in USDT."""

    home: Path
    first: datetime
    results: list[TickResult] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    fees: Decimal = Decimal(0)
    cash: Decimal = Decimal(0)
    equity: Decimal | None = None
    runway_days: Decimal | None = None
    events: int = 0
    wall_s: float = 0.0
    account: Account | None = None
    compared: Comparison | None = None  # of an account at the exchange: its ledger and its wallet
    unknown: int = 0  # orders at the exchange whose outcome is not known

    def plain(self) -> dict[str, Any]:
        """What `tgtqr demo --json` prints."""
        return {
            "home": str(self.home),
            "ticks": len(self.results),
            "states": {s: self._count(s) for s in sorted({r.state for r in self.results})},
            "notebooks": [str(self.home / r.notebook) for r in self.results if r.notebook],
            "decisions": [row for r in self.results for row in decision_rows(r.decision)],
            "orders": self.orders,
            "fills": self.fills,
            "fees": f"{self.fees:f}",
            "cash": f"{self.cash:f}",
            "equity": None if self.equity is None else f"{self.equity:f}",
            "runway_days": None if self.runway_days is None else round(float(self.runway_days), 1),
            "events": self.events,
            **self._plain_account(),
            "wall_s": round(self.wall_s, 1),
        }

    @property
    def reconciled(self) -> bool | None:
        """Whether every order is known and ledger and wallet are equal to the last digit; None on paper."""
        if self.compared is None:
            return None
        return not self.unknown and not self.compared.differences

    def _plain_account(self) -> dict[str, Any]:
        if self.account is None or self.account.venue is None:
            return {}
        wallet = self.compared.wallet if self.compared else {}
        return {
            "account": self.account.id,
            "reconciled": self.reconciled,
            "orders_unknown": self.unknown,
            "wallet": {coin: f"{held:f}" for coin, held in sorted(wallet.items())},
        }

    def _count(self, state: str) -> int:
        return sum(result.state == state for result in self.results)


@dataclass
class Demo:
    """An open demo: iterate `ticks()` to play it, then ask for the `summary`."""

    desk: Desk
    pool: Kernels
    summary: Summary

    def ticks(self, count: int) -> Iterator[TickResult]:
        """Play `count` ticks from the first boundary on, with a beat in each minute between them."""
        began = time.monotonic()
        boundary = self.summary.first
        self._arm(boundary)
        for _ in range(count):
            self.pool.prepare()  # it starts while the minutes before the tick pass
            result = run_tick(self.desk, self.pool, boundary)
            self.summary.results.append(result)
            boundary += TICK
            yield result
        for _ in play_to(self.desk, boundary - MINUTE + timedelta(seconds=FIRST_START_S)):
            pass  # the minutes after the last tick
        self._add_up()
        self.summary.wall_s = time.monotonic() - began

    def attend(self) -> None:
        """After the last tick: let a minute pass, with its beat, when a stop left something to sell."""
        desk = self.desk
        held = desk.sellable(situation(desk, desk.clock.now()).portfolio)
        if latch.stopped_because(desk.home) and held:
            minute = floor_minute(desk.clock.now()) + MINUTE
            desk.clock.move_to(minute + timedelta(seconds=FIRST_START_S))
            beat(desk)

    def _arm(self, boundary: datetime) -> None:
        """A beat in the minute before the first tick, and an armed gate."""
        desk = self.desk
        desk.clock.move_to(boundary - MINUTE + timedelta(seconds=FIRST_START_S))
        beat(desk)
        at = desk.exchange.time()
        inputs = situation(desk, at)
        gate.arm(desk.con, desk.home, inputs, "the demo", "the demo")

    def _add_up(self) -> None:
        con, summary = self.desk.con, self.summary
        summary.account = books.account(con)
        if summary.account.venue is not None:
            summary.compared = orders.compare(self.desk, summary.account)
            summary.unknown = len(books.open_intents(con))
        at = self.desk.exchange.time()
        inputs = situation(self.desk, at)
        found = books.fills(con, inputs.account)
        closes = self.desk.exchange.last_closes(self.desk.settings.symbols, at)
        summary.orders = sum(len(result.acts) for result in summary.results)
        summary.fills = len(found)
        summary.fees = books.fees_paid(found)
        summary.cash = inputs.portfolio.cash
        if {p.symbol for p in inputs.portfolio.held} <= set(closes):
            summary.equity = equity(inputs.portfolio, closes)
        floor = total_floor(inputs.account, inputs.limits)
        budget = summary.cash if summary.equity is None else summary.equity
        summary.runway_days = books.runway_days(inputs.account, budget, found, at, floor)
        summary.events = books.ledger.head(con)[0]


@contextmanager
def open_demo(
    home: Home,
    *,
    seed: int | None = None,
    candles: Path | None = None,
    first: datetime | None = None,
    account: str | None = None,
    scale: Decimal | None = None,
) -> Iterator[Demo]:
    """A fresh demo in `home`, whose former content is cleared if it was a demo's.

    seed     of the synthetic market; candles  a Parquet file of recorded minutes to play instead
    account  "demo" or "testnet": orders go to an account at the simulator, by signed requests
    scale    multiplies the limits of that account
    first    the first tick; without it the synthetic market's first day, or the file's first whole day

    Raises `DomainError` or `DataError` for a file that cannot be played from there.
    """
    if candles is not None:
        first = _first_of_file(candles, first)
    elif seed is not None and seed < 0:
        raise DomainError(f"--seed {seed}: expected 0 or more")
    first = first or FIRST_DAY
    if candles is None and not FIRST_YEAR <= first.year <= LAST_YEAR:
        raise DomainError(
            f"--from {first:%Y-%m-%d}: the synthetic market has the years {FIRST_YEAR} to {LAST_YEAR}"
        )
    _clear(home)
    chosen = {} if account is None else {"account": account}
    chosen |= {} if scale is None else {"demo_limits_scale": str(scale)}
    _write_settings(home, chosen | _market(seed, candles))
    settings = load(home)
    if settings.market != "simulator" or settings.simulator.url is not None:
        raise DomainError(
            "the demo plays its own simulator; unset TGTQR_MARKET and the simulator's url"
        )
    # with those of the environment, so that whoever goes on without it goes on with the same
    if settings.simulator.candles is not None:
        source = settings.simulator.model_copy(
            update={"candles": settings.simulator.candles.absolute()}
        )
        settings = settings.model_copy(update={"simulator": source})
    _write_settings(home, settings.model_dump(mode="json", exclude_unset=True, exclude_none=True))
    with kernels(home.outputs, ahead=True) as pool:
        pool.prepare()
        with open_desk(home, settings) as desk:
            journal.start(home)
            yield Demo(desk, pool, Summary(home.root, first))


def _clear(home: Home) -> None:
    if home.root.exists():
        if not (home.root / MARKER).is_file() and any(home.root.iterdir()):
            raise StoreError(f"demo home {home.root}: it holds something that is not a demo's")
        shutil.rmtree(home.root)
    home.make()
    (home.root / MARKER).write_text("a demo's home; every demo begins by clearing it\n", "utf-8")


def _market(seed: int | None, candles: Path | None) -> dict[str, Any]:
    """The settings of the market to play."""
    if candles is not None:
        return {"simulator": {"candles": str(candles.absolute())}}
    return {"simulator": {"seed": Settings().simulator.seed if seed is None else seed}}


def _write_settings(home: Home, chosen: Mapping[str, Any]) -> None:
    """Settings that make later commands in the demo's home do as the demo did, at the same market."""
    lines = ["# what this demo played with"]
    tables = {name: value for name, value in chosen.items() if isinstance(value, dict)}
    lines += [f"{name} = {_toml(v)}" for name, v in chosen.items() if name not in tables]
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{_toml(key)} = {_toml(value)}" for key, value in table.items()]
    home.settings.write_text("\n".join(lines) + "\n", "utf-8")


def _toml(value: Any) -> str:
    """A text, number, truth value or list of them; TOML writes these as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def _first_of_file(path: Path, first: datetime | None) -> datetime:
    """The first tick to play from recorded candles, with history before it."""
    from tgtqr_lib.market.recorded import RecordedSource

    source = RecordedSource(path)
    rows = [source.candles(symbol, 0, to_ms(LAST_MOMENT))["open_ms"] for symbol in source.symbols]
    begins = from_ms(max(times[0] for times in rows))
    ends = from_ms(min(times[-1] for times in rows))
    if first is None:
        midnight = begins.replace(hour=0, minute=0, second=0, microsecond=0)
        first = midnight if midnight - HISTORY >= begins else midnight + timedelta(days=1)
    if not begins < first <= ends:
        raise DomainError(
            f"{path.name}: holds candles from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC; "
            f"--from {first:%Y-%m-%d %H:%M} is outside"
        )
    missing = sorted(set(Settings().symbols) - set(source.symbols))
    if missing:
        raise DataError(f"{path.name}: has no candles of {missing[0]}; a demo needs both symbols")
    return first
