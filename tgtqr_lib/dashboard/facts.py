"""What the page shows, read from ledger, marks and files. Nothing here writes, or asks for a price."""

from __future__ import annotations

import json
import platform
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tgtqr_lib import __version__, archive, books, controls, journal, latch, ledger, twin
from tgtqr_lib.archive.opened import find_sealed
from tgtqr_lib.clock import TICK, boundary_of, from_ms, iso, parse_time, utc_day
from tgtqr_lib.dashboard.page_clock import page_clock
from tgtqr_lib.desk import Desk
from tgtqr_lib.domain import Account, DomainError, Fill, StoreError, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Mark, Row
from tgtqr_lib.settings import Settings, load
from tgtqr_lib.sizing import SAFETY
from tgtqr_lib.standing import standing
from tgtqr_lib.twin import Twin

RECENT_TICKS = 96
SHARED_S = 0.5
LOG_LINES = 40
LOG_BYTES = 16_384
MINUTE_MS = 60_000
POST_MORTEM = "post-mortem-"  # begins the name of such a report
TICK_ID = re.compile(r"\d{8}T\d{4}Z")


@dataclass(frozen=True)
class Snapshot:
    """One look at a home.

    at          exchange time; None while it is not known
    facts       as `standing` gives them; None while there is no account
    account     the present one, or None
    marks       of the account, oldest first
    fills       of the account, oldest first
    ticks       the newest ticks, newest first: what `tick_rows` says of each
    gates       the gate's events, newest first, and `controls` the changes of settings
    problem     what keeps something from being known, in words
    post_mortem the tick that was looked back at last, None when none was
    twin        the same decisions at the smallest size that the exchange takes; None for an account there
    """

    at: datetime | None
    rate: float
    settings: Settings
    facts: dict[str, Any] | None = None
    account: Account | None = None
    marks: tuple[Mark, ...] = ()
    fills: tuple[Fill, ...] = ()
    ticks: tuple[dict[str, Any], ...] = ()
    gates: tuple[Row, ...] = ()
    controls: tuple[Row, ...] = ()
    sources: tuple[dict[str, str | None], ...] = ()
    log: tuple[dict[str, str], ...] = ()
    stopped: str | None = None
    problem: str | None = None
    before: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    post_mortem: str | None = None
    twin: Twin | None = None

    @cached_property
    def minutes(self) -> np.ndarray:
        """(n,) int64 ms, when each mark's minute closed."""
        return np.array([mark.minute_ms + MINUTE_MS for mark in self.marks], np.int64)

    @cached_property
    def equity(self) -> np.ndarray:
        """(n,) float64 USDT, for drawing."""
        return np.array([float(mark.equity) for mark in self.marks])

    def closes(self, symbol: str) -> tuple[np.ndarray, np.ndarray]:
        """Close times in ms and prices of `symbol`, (n,) each: the last tick's candles, then the marks."""
        old_times, old = self.before.get(symbol, (np.empty(0, np.int64), np.empty(0)))
        seen = [
            (mark.minute_ms + MINUTE_MS, float(mark.closes[symbol]))
            for mark in self.marks
            if symbol in mark.closes
        ]
        times = np.array([time for time, _ in seen], np.int64)
        prices = np.array([price for _, price in seen])
        every = np.concatenate([times, old_times])
        kept, first = np.unique(every, return_index=True)
        return kept, np.concatenate([prices, old])[first]

    @property
    def next_tick(self) -> datetime | None:
        return None if self.at is None else boundary_of(self.at) + TICK


class Reader:
    """Reads one home again and again; safe to use from several threads, one at a time."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.asking = threading.Lock()
        self.told: dict[str, Any] = {}
        self.told_at = float("-inf")
        self._lock = threading.Lock()
        self._clock: Any = None
        self._settings: tuple[Any, Settings, str | None] | None = None
        self._candles: tuple[str, dict[str, tuple[np.ndarray, np.ndarray]]] = ("", {})
        self._twin: twin.Reading | None = None

    def settings(self) -> tuple[Settings, str | None]:
        """The settings, and what is wrong with them; the defaults then stand in."""
        stamp = _stamp(self.home.settings)
        if self._settings is None or self._settings[0] != stamp:
            try:
                self._settings = (stamp, load(self.home), None)
            except DomainError as error:
                self._settings = (stamp, Settings.model_construct(), str(error))
            self._clock = None
        return self._settings[1:]

    def version(self) -> tuple[Any, ...]:
        """Something that differs whenever `snapshot` would: ledger head, newest beat, latch, settings."""
        with self._lock:
            try:
                with _reading(self.home) as con:
                    newest = ledger.newest_mark(con)
                    seen = (ledger.head(con), newest and newest.beat_ms)
            except StoreError as error:
                seen = (str(error),)
        looked_back = newest_post_mortem(self.home)
        return (*seen, latch.stopped_because(self.home), _stamp(self.home.settings), looked_back)

    def header(self) -> dict[str, Any]:
        """What stands above the page at all times, as plain JSON values."""
        with self._lock:
            return self._header()

    def snapshot(self) -> Snapshot:
        """Everything that the page shows."""
        with self._lock:
            return self._snapshot()

    def _header(self) -> dict[str, Any]:
        settings, problem = self.settings()
        at, rate, trouble = self._time(settings)
        stopped = latch.stopped_because(self.home)
        shown: dict[str, Any] = {
            "gate": "STOPPED" if stopped else "REDUCING",
            "gate_reason": stopped or "",
            "exchange_time": at and iso(at),
            "rate": rate,
            "market": settings.market,
            "data_age_s": None,
            "next_tick": iso(boundary_of(at) + TICK) if at else None,
            "account": None,
            "equity": None,
            "problem": problem or trouble,
            "stop": {"stopped": _stopped_at(self.home) if stopped else None, "flat": None},
        }
        try:
            with _reading(self.home) as con:
                facts = self._standing(con, settings, at)
                if facts is not None:
                    names = ("gate", "gate_reason", "data_age_s", "account", "equity")
                    shown |= {name: facts[name] for name in names}
                    code, _, text = facts["gate_reason"].partition(": ")
                    shown["gate_reason"] = text if code.isupper() else facts["gate_reason"]
                    if facts["gate"] == "STOPPED" and not facts["positions"]:
                        shown["stop"]["flat"] = _flat_at(con) or shown["stop"]["stopped"]
                elif not stopped:
                    shown["gate_reason"] = "no watch beat yet"
        except TgtqrError as error:
            shown["problem"] = shown["problem"] or str(error)
        return shown

    def _snapshot(self) -> Snapshot:
        settings, problem = self.settings()
        at, rate, trouble = self._time(settings)
        known: dict[str, Any] = {
            "at": at,
            "rate": rate,
            "settings": settings,
            "stopped": latch.stopped_because(self.home),
            "log": _log_tail(self.home.log),
            "problem": problem or trouble,
            "post_mortem": newest_post_mortem(self.home),
        }
        try:
            with _reading(self.home) as con:
                account = books.account(con)
                if account is None:
                    return Snapshot(**known)
                return Snapshot(
                    **known,
                    account=account,
                    facts=self._standing(con, settings, at),
                    marks=tuple(ledger.marks(con, account.id)),
                    fills=tuple(books.fills(con, account)),
                    ticks=tuple(tick_rows(con, RECENT_TICKS)),
                    gates=tuple(reversed(ledger.of_kind(con, "gate"))),
                    controls=tuple(reversed(ledger.of_kind(con, "control"))),
                    sources=self._sources(con, settings, at or account.opened_at),
                    before=self._last_candles(con),
                    twin=self._told_twin(con, account),
                )
        except TgtqrError as error:
            return Snapshot(**(known | {"problem": problem or str(error)}))

    def _time(self, settings: Settings) -> tuple[datetime | None, float, str | None]:
        """Exchange time and its rate, or None, 0 and why it is not known."""
        try:
            if self._clock is None:
                self._clock = page_clock(self.home, settings)
            return self._clock.now(), self._clock.rate, None
        except TgtqrError as error:
            return None, 0.0, str(error)

    def _standing(
        self, con: sqlite3.Connection, settings: Settings, at: datetime | None
    ) -> dict[str, Any] | None:
        account, newest = books.account(con), ledger.newest_mark(con)
        if account is None:
            return None
        moment = at or (from_ms(newest.beat_ms) if newest else account.opened_at)
        desk = Desk(self.home, settings, con, exchange=None)
        desk.assume_clock_offset(_offset_ms(settings, at))
        day = books.day(con, account, utc_day(moment))
        return standing(desk, moment, opened=(account, day))

    def _told_twin(self, con: sqlite3.Connection, account: Account) -> Twin | None:
        """The whole account's twin at the newest marks; only fills that are new are read."""
        self._twin = twin.read(con, account, self._twin)
        return None if self._twin is None else twin.whole(con, self._twin)

    @staticmethod
    def _sources(
        con: sqlite3.Connection, settings: Settings, at: datetime
    ) -> tuple[dict[str, str | None], ...]:
        return tuple(source.plain() for source in controls.sources(con, settings, at))

    def _last_candles(self, con: sqlite3.Connection) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Close times and closes of the newest sealed tick, so that a young page has a line to draw."""
        sealed = ledger.of_kind(con, "sealed", newest=1)
        if not sealed or sealed[0].key == self._candles[0]:
            return self._candles[1]
        path = find_sealed(self.home, sealed[0].body["tick_id"])
        found = None if path is None else archive.read_executed(path)
        inputs = ((found or {}).get("metadata", {}).get("tgtqr") or {}).get("inputs") or {}
        closes = {}
        for view in inputs.get("markets", ()):
            closes[view["symbol"]] = _candle_columns(view["candles"])
        self._candles = (sealed[0].key, closes)
        return closes


def header(home: Home) -> dict[str, Any]:
    """`Reader.header` of the process's one reader of `home`; several pages share an answer."""
    reader = _READERS.setdefault(home.root, Reader(home))
    with reader.asking:
        if time.monotonic() - reader.told_at > SHARED_S:
            reader.told, reader.told_at = reader.header(), time.monotonic()
        return reader.told


_READERS: dict[Path, Reader] = {}


def tick_rows(con: sqlite3.Connection, count: int) -> Iterator[dict[str, Any]]:
    """The newest `count` ticks, newest first.

    Each has tick_id, state, reason, text, duration_s, at and `choices`: symbol, signal, close, mean,
    distance_bps, reason, reason_text, order and what became of it.
    """
    for final in reversed(ledger.of_kind(con, "tick", newest=count)):
        name = final.body["tick_id"]
        decision = books.tick_event(con, name, "decision") or {"choices": []}
        yield {
            "tick_id": name,
            "at": parse_time(name),
            "state": final.body["state"],
            "reason": final.body.get("reason"),
            "text": final.body.get("text", ""),
            "duration_s": final.body.get("duration_s"),
            "sealed": books.tick_event(con, name, "sealed") is not None,
            "choices": [_choice_row(con, choice) for choice in decision["choices"]],
        }


def _choice_row(con: sqlite3.Connection, choice: Mapping[str, Any]) -> dict[str, Any]:
    signal, order = choice["signal"], choice["order"]
    booked = ledger.get(con, f"order/{order['id']}") if order else None
    if booked is not None:
        outcome = booked.body["result"], booked.body["text"]
    elif order is not None:
        outcome = "REFUSED", choice["reason_text"]
    else:
        outcome = None, choice["reason_text"]
    return {
        "symbol": choice["symbol"],
        "signal": signal["state"],
        "close": signal["close"],
        "mean": signal["mean"],
        "distance_bps": signal["distance_bps"],
        "reason": booked.body["reason"]
        if booked and booked.body["result"] == "REFUSED"
        else choice["reason"],
        "order": order and f"{order['side']} {order['quantity']}",
        "result": outcome[0],
        "text": outcome[1],
    }


def newest_post_mortem(home: Home) -> str | None:
    """The tick of the newest post-mortem that was written, by its id; None when there is none."""
    pages = (home.outputs / "reports").glob(f"{POST_MORTEM}*.html")
    names = (page.stem.removeprefix(POST_MORTEM) for page in pages)
    return max((name for name in names if TICK_ID.fullmatch(name)), default=None)


def versions() -> dict[str, str]:
    """The kit's own version and those of what it stands on."""
    names = ("ccxt", "pandas", "numpy", "duckdb", "papermill", "voila")
    return {"tgtqr": __version__, "Python": platform.python_version()} | {
        name: version(name) for name in names
    }


@contextmanager
def _reading(home: Home) -> Iterator[sqlite3.Connection]:
    con = ledger.connect(home.ledger, create=False, timeout_s=1.0)
    try:
        yield con
    finally:
        con.close()


def _offset_ms(settings: Settings, at: datetime | None) -> int | None:
    """This machine's clock minus the exchange's; None with a simulator."""
    if settings.market != "bybit" or at is None:
        return None
    return round((datetime.now(UTC) - at).total_seconds() * 1000)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _stopped_at(home: Home) -> str | None:
    """When the file STOP was made, by this machine's clock."""
    stamp = _stamp(home.control / latch.STOP)
    return iso(from_ms(stamp[0] // 1_000_000)) if stamp else None


def _flat_at(con: sqlite3.Connection) -> str | None:
    """When the last safety sale after the newest stop filled, by the exchange's clock."""
    stop = ledger.of_kind(con, "gate", newest=1)
    if not stop:
        return None
    sales = [
        row.body["at"]
        for row in ledger.of_kind(con, "order", after=stop[0].seq)
        if row.key.endswith(f"-{SAFETY}") and row.body["result"] == "FILLED"
    ]
    return sales[-1] if sales else None


def _candle_columns(candles: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Close times (ms) and closes of candles in their archived form."""
    from tgtqr_lib.canonical import restore
    from tgtqr_lib.domain import Candles

    whole = restore(Candles, candles, "candles")
    return whole.open_ms + MINUTE_MS, whole.close / 10.0**whole.decimals


def _log_tail(path: Path) -> tuple[dict[str, str], ...]:
    """The last lines of the log, newest first."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - LOG_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()[1:]
    except OSError:
        return ()
    found: deque[dict[str, str]] = deque(maxlen=LOG_LINES)
    for line in lines:
        try:
            found.appendleft(journal.read_line(line) | {"line": line})
        except (ValueError, json.JSONDecodeError):
            continue
    return tuple(found)[:LOG_LINES]
