"""A stage: a home of its own, a market whose every price is written by hand, and an open desk.

The market is flat at 100,000.0 and 2,500.00 until a test moves it, so every close, mean and fill can be
worked out with a pencil. The exchange is the real simulator behind real ccxt, and its clock stands.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib import books, gate, journal, ledger, settings, tick, tick_page, watch
from tgtqr_lib.canonical import load_inputs
from tgtqr_lib.decide import decide
from tgtqr_lib.desk import Desk, open_desk, situation
from tgtqr_lib.domain import DataError, Fill, Inputs, Level, Order, Side
from tgtqr_lib.home import Home
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.market.simulator import Simulator, running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.source import CANDLE
from tgtqr_lib.tick import TickResult, run_tick

PROJECT = Path(__file__).parents[1]
TGTQR = [sys.executable, "-m", "tgtqr_lib.cli"]
DAY = "2026-11-22"
MINUTE_MS = 60_000
USUAL = {"BTCUSDT": "100000.0", "ETHUSDT": "2500.00"}
DECIMALS = {"BTCUSDT": 1, "ETHUSDT": 2}
# a stop is followed by a report, which most tests are not about
NO_POST_MORTEM = {"TGTQR_POST_MORTEM_AFTER_STOP": "false"}
PATIENCE = "late_candle_wait_s = 0\nexchange_timeout_s = 5\n"


def moment(text: str) -> datetime:
    """`10:15`, `10:15:03` of the stage's day, or a whole ISO time, in UTC."""
    whole = text if "T" in text else f"{DAY}T{text}"
    return datetime.fromisoformat(whole).replace(tzinfo=UTC)


def ms(text: str) -> int:
    return int(moment(text).timestamp() * 1000)


class HandMarket:
    """Minutes whose four prices are equal, from 10 to 26 November 2026; each symbol steps when told."""

    name = "a market written by hand"
    symbols = SYMBOLS

    def __init__(self) -> None:
        self._first, self._end = ms("2026-11-10T00:00"), ms("2026-11-26T00:00")
        self._steps = {
            symbol: {self._first: self._units(symbol, USUAL[symbol])} for symbol in SYMBOLS
        }

    def set(self, symbol: str, since: str, price: str) -> None:
        """From the minute `since` on, `symbol` costs `price`."""
        self._steps[symbol][ms(since)] = self._units(symbol, price)

    def price_decimals(self, symbol: str) -> int:
        return DECIMALS[symbol]

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        if symbol not in self._steps:
            raise DataError(f"{symbol}: unknown")
        first, end = max(start_ms, self._first), min(end_ms, self._end)
        times = np.arange(-(-first // MINUTE_MS), -(-end // MINUTE_MS)) * MINUTE_MS
        since = sorted(self._steps[symbol])
        prices = np.array([self._steps[symbol][t] for t in since])
        rows = np.zeros(len(times), CANDLE)
        rows["open_ms"], rows["volume"] = times, 1_000_000
        for name in ("open", "high", "low", "close"):
            rows[name] = prices[np.searchsorted(since, times, side="right") - 1]
        return rows

    @staticmethod
    def _units(symbol: str, price: str) -> int:
        return round(float(price) * 10 ** DECIMALS[symbol])


@dataclass
class Stage:
    """A home at work: move the clock, beat, tick, and read what the ledger says."""

    home: Home
    market: HandMarket
    simulator: Simulator
    desk: Desk
    pool: Any = None

    def at(self, text: str) -> None:
        """Set the exchange's clock, which stands."""
        self.simulator.clock.set(int(moment(text).timestamp() * 1000))

    def beat(self, text: str) -> watch.Beat:
        self.at(text)
        return watch.beat(self.desk)

    def arm(self, text: str = "10:14") -> None:
        """Arm at `text`, with a beat that renews the lease."""
        self.beat(text)
        gate.arm(self.desk.con, self.home, self.situation(), "a test", "a test")

    def tick(self, text: str, start_s: float = 3) -> TickResult:
        """The tick at the boundary `text`, begun `start_s` after it."""
        self.simulator.clock.set(int(moment(text).timestamp() * 1000 + start_s * 1000))
        return run_tick(self.desk, self.pool, moment(text))

    def situation(self) -> Inputs:
        return situation(self.desk, self.desk.exchange.time())

    def configure(self, text: str) -> None:
        """Add lines to settings.toml, above its table, and load it as the next command would."""
        table = f'[simulator]\nurl = "{self.simulator.url}"\n'
        self.home.settings.write_text(f"{PATIENCE}{text}\n{table}", "utf-8")
        self.desk.settings = settings.load(self.home)

    def events(self, *kinds: str) -> list[ledger.Row]:
        return ledger.of_kind(self.desk.con, *kinds)

    def final(self, text: str) -> dict[str, Any] | None:
        return books.tick_event(self.desk.con, tick.tick_id(moment(text)), "final")

    def head(self) -> tuple[int, str]:
        return ledger.head(self.desk.con)

    def cash(self) -> str:
        return f"{self.situation().portfolio.cash:f}"

    def held(self) -> dict[str, str]:
        return {p.symbol: f"{p.quantity:f}" for p in self.situation().portfolio.held}

    def run(self, *words: str, timeout_s: int = 60, **changes: str) -> subprocess.CompletedProcess:
        """`tgtqr` with `words` in a process of its own, on this home."""
        return command(self.home, *words, timeout_s=timeout_s, **changes)


def environment(home: Home) -> dict[str, str]:
    """Of a process of its own: what it leaves in the folder for temporary files goes with the test."""
    temporary = home.root / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TGTQR_")}
    return kept | NO_POST_MORTEM | {"TGTQR_HOME": str(home.root), "TMPDIR": str(temporary)}


def command(home: Home, *words: str, timeout_s: int = 60, **changes: str):
    """`tgtqr` with `words` in a process of its own."""
    return subprocess.run(
        [*TGTQR, *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(home) | changes,
        cwd=PROJECT,
    )


@contextmanager
def open_stage(folder: Path, pool: Any = None) -> Iterator[Stage]:
    """A stage in `folder`; its clock stands at 10:00 and its gate is stopped, as in any fresh home."""
    market = HandMarket()
    home = Home(folder)
    home.make()
    with running(market, SimulatorClock(ms("10:00"))) as simulator:
        url = f'{PATIENCE}[simulator]\nurl = "{simulator.url}"\n'
        home.settings.write_text(url, "utf-8")
        with open_desk(home, settings.load(home)) as desk:
            journal.start(home)
            yield Stage(home, market, simulator, desk, pool)


def rise(
    stage: Stage, symbol: str = "BTCUSDT", since: str = "10:14", price: str = "100100.0"
) -> None:
    """One higher close: the seed strategy goes long at the next quarter hour."""
    stage.market.set(symbol, since, price)


def decide_without_a_kernel(source, target, parameters, pool, *, cell_timeout_s) -> None:
    """What papermill leaves of the tick notebook, without a kernel: for tests that are not about it."""
    text = parameters["inputs"]
    bundle = tick_page.sentinel(decide(load_inputs(text)))._repr_mimebundle_()
    cells = [
        {
            "cell_type": "code",
            "execution_count": 1,
            "id": "injected",
            "metadata": {"tags": ["injected-parameters"]},
            "outputs": [],
            "source": [f"inputs = {text!r}"],
        },
        {
            "cell_type": "code",
            "execution_count": 2,
            "id": "sentinel",
            "metadata": {"tags": ["decision"]},
            "outputs": [{"output_type": "execute_result", "data": bundle, "metadata": {}}],
            "source": ["tick_page.sentinel(decision)"],
        },
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    Path(target).write_text(json.dumps(notebook), "utf-8")


def files(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its path, as the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def raw(home: Home) -> sqlite3.Connection:
    """The ledger's file opened by SQLite alone, as somebody would who edits it."""
    return sqlite3.connect(home.ledger, isolation_level=None)


def minutes(first: str, count: int) -> list[str]:
    """`count` beats, one a minute, three seconds after each."""
    start = moment(first)
    return [
        (start + timedelta(minutes=i, seconds=3)).strftime("%Y-%m-%dT%H:%M:%S")
        for i in range(count)
    ]


def book_fill(
    stage: Stage, side: str, quantity: str, notional: str, fee: str = "0", symbol="BTCUSDT"
):
    """Book a fill that no market would give, to bring the account where a test needs it."""
    con, account = stage.desk.con, books.account(stage.desk.con)
    number = ledger.head(con)[0]
    at = stage.desk.exchange.time()
    made = Order(f"by-hand-{number}", symbol, Side(side), Decimal(quantity), Decimal(1), at)
    level = Level(Decimal(notional) / Decimal(quantity), Decimal(quantity))
    fill = Fill(
        made.id,
        symbol,
        made.side,
        made.quantity,
        Decimal(notional),
        Decimal(fee),
        at,
        (level,),
        level.price,
    )
    body = {"order": made, "at": at, "result": "FILLED", "reason": "FILLED", "text": "by hand"}
    with ledger.writing(con):
        books.book_order(con, account, made, body, fill)
