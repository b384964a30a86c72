"""Which conditions hold now: made from the ledger, the health, the latch and the limits, by whoever looks.

Each look gives the conditions that it found, and the codes or keys of which it cannot say anything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from tgtqr_lib import books, gate, latch, leaks, ledger
from tgtqr_lib.alerts.messages import CRITICAL, KINDS, WARNING, Condition, lasted
from tgtqr_lib.alerts.state import State
from tgtqr_lib.clock import from_ms, iso, to_ms, utc_day
from tgtqr_lib.desk import Desk, situation
from tgtqr_lib.domain import BrokerError, DataError, Inputs, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.limits import CLOCK_OFFSET_MS, DISK_FREE_MB, LEASE_S
from tgtqr_lib.risk import ledger_witness
from tgtqr_lib.risk.budget import daily_floor, total_floor
from tgtqr_lib.watch import Beat

USED, USED_NO_MORE = Decimal("0.80"), Decimal("0.75")  # of a loss limit
DISK_NEAR_MB, DISK_FAR_MB = 2 * DISK_FREE_MB, 2 * DISK_FREE_MB + 50
PATIENCE_MS = 45_000  # one beat that fails is no trouble, the next a minute later is
TICKS_SEEN = 100  # a day and a little
IN_A_ROW = 2
NO_DATA = frozenset({"EXCHANGE_UNREACHABLE", "DATA_TROUBLE"})  # reasons of a tick that failed
TOLD_AWAY = {"MONITOR", "DATA_TROUBLE exchange", "LEDGER beat"}
Found = tuple[list[Condition], set[str]]


def after_beat(desk: Desk, seen: Beat, state: State) -> Found:
    """What holds after the beat `seen`; LIMIT_80 is not known while equity is not."""
    con, account = desk.con, books.account(desk.con)
    inputs = situation(desk, seen.at, opened=(account, books.day(con, account, utc_day(seen.at))))
    ticks = _newest_ticks(con)
    found = [
        *_stopped(con, seen.stopped, inputs),
        *_limits(inputs, seen.equity, state),
        *_missed(ticks),
        *_failed(ticks),
        *_data(con, ticks),
        *_disk(inputs.health.disk_free_mb, state),
        *_clock(inputs.health.clock_offset_ms),
        *_lease(inputs, seen.at),
        *_away(con, account.id, seen.at, state),
        *_ledger(con, inputs.health.ledger_problem, ticks),
        *_account(inputs),
        *_leak(desk.home),
    ]
    return found, {"LIMIT_80"} if seen.equity is None else set()


def after_failed_beat(home: Home, error: Exception, state: State, at: datetime) -> Found:
    """What holds when a beat ended in `error`: the trouble itself once it lasts, and a stop."""
    text, lasts_ms = str(error) or type(error).__name__, to_ms(at) - (state.trouble_ms or 0)
    found: list[Condition] = []
    if isinstance(error, (BrokerError, DataError)):
        trouble, patience_ms = Condition("DATA_TROUBLE", text, "exchange"), PATIENCE_MS
    elif isinstance(error, (StoreError, sqlite3.Error)):
        trouble, patience_ms = Condition("LEDGER", text, "beat"), PATIENCE_MS
    else:
        trouble, patience_ms = Condition("MONITOR", f"no beat: {text}"), LEASE_S * 1000
    if lasts_ms >= patience_ms or trouble.key in state.standing:
        found.append(trouble)
    unknown = set(KINDS)
    with suppress(StoreError, sqlite3.Error), ledger.reading(home.ledger, timeout_s=0.2) as con:
        found += _stopped(con, latch.stopped_because(home), None)
        unknown.discard("STOPPED")
    return found, unknown


def after_tick(desk: Desk, at: datetime) -> Found:
    """Whether the watch's lease has run out at `at`; of the rest a tick says nothing, the next beat will."""
    newest = ledger.newest_mark(desk.con)
    found = [] if newest is None else _too_old(from_ms(newest.beat_ms), at)
    return found, set(KINDS) - ({"MONITOR"} if found else set())


# ---------------------------------------------------------------------- one condition each


def _stopped(
    con: sqlite3.Connection, reason: str | None, inputs: Inputs | None
) -> Iterator[Condition]:
    """A home that was never armed is stopped, and nobody wants to hear it."""
    last = ledger.of_kind(con, "gate", newest=1)
    if reason is None or not last:
        return
    held = "" if inputs is None else f"; {gate.held_text(inputs.portfolio.held)}"
    # while the ledger has not heard of the stop, the newest event is the arming before it
    armed = [r for r in ledger.of_kind(con, "gate", newest=2) if r.body["what"] == "armed"]
    yield Condition("STOPPED", f"{reason}{held}", mark=str(armed[-1].seq if armed else 0))


def _limits(inputs: Inputs, worth: Decimal | None, state: State) -> Iterator[Condition]:
    if worth is None:
        return
    floors = [("day", day.start_equity, daily_floor(day, inputs.limits)) for day in inputs.days]
    initial = inputs.account.initial_equity
    floors.append(("total", initial, total_floor(inputs.account, inputs.limits)))
    for name, start, floor in floors:
        allowed, lost = start - floor, start - worth
        # a little below it the condition goes on: a price that wavers makes no messages
        bound = USED_NO_MORE if f"LIMIT_80 {name}" in state.standing else USED
        if allowed > 0 and lost >= bound * allowed:
            words = "the day's loss" if name == "day" else "the total loss"
            share = int(100 * lost / allowed)
            text = f"{words} is {lost:.2f} of {allowed:.2f} USDT ({share} %); equity {worth:.2f}"
            yield Condition("LIMIT_80", text, name)


def _missed(ticks: list[dict[str, Any]]) -> Iterator[Condition]:
    run = _run(ticks, lambda one: one["state"] == books.MISSED)
    if run:
        more = f", and {len(run) - 1} before it" if len(run) > 1 else ""
        yield Condition("TICK_MISSED", f"tick {run[-1]['tick_id']} was missed{more}")


def _failed(ticks: list[dict[str, Any]]) -> Iterator[Condition]:
    run = _run(ticks, lambda one: one["state"] == books.FAILED)
    if len(run) >= IN_A_ROW:
        last = run[-1]
        text = f"{len(run)} in a row, the last {last['tick_id']}: {last['reason']}, {last['text']}"
        yield Condition("TICKS_FAILED", text)


def _data(con: sqlite3.Connection, ticks: list[dict[str, Any]]) -> Iterator[Condition]:
    """Both of the newest two ticks that ran found the data wrong; when both failed, that is told already."""
    ran = [one for one in ticks if one["state"] != books.MISSED][-IN_A_ROW:]
    if all(one["state"] == books.FAILED for one in ran):
        return
    problems = [_data_problem(con, one) for one in ran]
    if len(ran) == IN_A_ROW and all(problems):
        yield Condition("DATA_TROUBLE", f"two ticks in a row: {problems[-1]}", "ticks")


def _data_problem(con: sqlite3.Connection, final: dict[str, Any]) -> str | None:
    if final.get("reason") in NO_DATA:
        return f"{final['reason']}, {final['text']}"
    refusals = _refusals(con, final["tick_id"])
    return next((text for code, text in refusals if code.startswith("DATA_")), None)


def _disk(free_mb: int, state: State) -> Iterator[Condition]:
    bound = DISK_FAR_MB if "DISK" in state.standing else DISK_NEAR_MB
    if free_mb < DISK_FREE_MB:
        text = f"{free_mb} MB are free; below {DISK_FREE_MB} MB nothing is bought"
        yield Condition("DISK", text, severity=CRITICAL)
    elif free_mb < bound:
        text = f"{free_mb} MB are free; at {DISK_FREE_MB} MB buying ends"
        yield Condition("DISK", text, severity=WARNING)


def _clock(offset_ms: int | None) -> Iterator[Condition]:
    if offset_ms is not None and abs(offset_ms) > CLOCK_OFFSET_MS:
        where = "ahead of" if offset_ms > 0 else "behind"
        text = (
            f"this machine is {abs(offset_ms)} ms {where} the exchange, more than {CLOCK_OFFSET_MS}"
        )
        yield Condition("CLOCK", text)


def _lease(inputs: Inputs, at: datetime) -> list[Condition]:
    """A beat that cannot mark what is held renews no lease."""
    last = inputs.health.last_beat_at
    return [] if last is None else _too_old(last, at)


def _too_old(last: datetime, at: datetime) -> list[Condition]:
    age = at - last
    if age <= timedelta(seconds=LEASE_S):
        return []
    text = f"the last good beat was at {iso(last)}, {lasted(to_ms(at) - to_ms(last))} ago; nothing is bought"
    return [Condition("MONITOR", text)]


def _away(con: sqlite3.Connection, account: str, at: datetime, state: State) -> Iterator[Condition]:
    """A gap between the beats since the last look, which the first beat after it finds; one whose cause was
    told already is not told again."""
    if state.seen_ms is None or TOLD_AWAY & state.standing.keys():
        return
    lease_ms = LEASE_S * 1000
    if to_ms(at) - state.seen_ms <= lease_ms:
        return
    beats = [mark.beat_ms for mark in ledger.marks(con, account, state.seen_ms)]
    beats = sorted({state.seen_ms, *(b for b in beats if b > state.seen_ms), to_ms(at)})
    first, last = max(pairwise(beats), key=lambda pair: pair[1] - pair[0])
    if last - first > lease_ms:
        text = f"no beat from {iso(from_ms(first))} to {iso(from_ms(last))}, {lasted(last - first)}"
        yield Condition("MONITOR", text, "away", title="the watch was away", event=True)


def _ledger(
    con: sqlite3.Connection, problem: str | None, ticks: list[dict[str, Any]]
) -> Iterator[Condition]:
    """What the beat saw, or what the newest tick's look at the whole chain did."""
    if problem is None and ticks:
        refusals = dict(_refusals(con, ticks[-1]["tick_id"]))
        problem = refusals.get(ledger_witness.CODE)
    if problem is not None:
        yield Condition("LEDGER", problem)


def _account(inputs: Inputs) -> Iterator[Condition]:
    """Of an account at the exchange alone; on paper both are None."""
    if unknown := inputs.health.unknown_orders:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        yield Condition("ORDER_UNKNOWN", f"it is not known what came of {unknown[-1]}{more}")
    if inputs.health.account_problem:
        yield Condition("ACCOUNT", inputs.health.account_problem)


def _leak(home: Home) -> Iterator[Condition]:
    folder = leaks.quarantine_folder(home)
    with suppress(OSError):
        files = [p for p in folder.iterdir() if not p.name.endswith(".why.txt")]
        if files:
            newest = max(files, key=lambda p: (p.stat().st_ctime_ns, p.name))
            text = (
                f"{newest.name} lies in outputs/quarantine/; make a new key, then delete the file"
            )
            yield Condition("LEAK", text, mark=newest.name)


# ---------------------------------------------------------------------- the ledger


def _newest_ticks(con: sqlite3.Connection) -> list[dict[str, Any]]:
    """The final bodies of the newest ticks, oldest first: by their time, not by when they were booked."""
    rows = ledger.of_kind(con, "tick", newest=TICKS_SEEN)
    return sorted((row.body for row in rows), key=lambda body: body["tick_id"])


def _run(ticks: list[dict[str, Any]], holds) -> list[dict[str, Any]]:
    """The ticks at the end of `ticks` that `holds` is true of, without a break."""
    first = len(ticks)
    while first and holds(ticks[first - 1]):
        first -= 1
    return ticks[first:]


def _refusals(con: sqlite3.Connection, tick: str) -> list[tuple[str, str]]:
    """Code and sentence of every rule that refused something in a tick's decision, the first symbol first."""
    decision = books.tick_event(con, tick, "decision") or {"choices": []}
    return [
        (verdict["code"], f"{choice['symbol']} {verdict['code']}, {verdict['text']}")
        for choice in decision["choices"]
        for verdict in choice["verdicts"]
        if not verdict["allowed"]
    ]
