"""What waits is sent: by a process of its own, that no beat waits for.

A beat calls `start`, which returns at once. The sender goes through the addresses, those first that were well, and
leaves one at its first failure; it has its next turn after 1, 2, 4, ... minutes, at most an hour. A failure is booked
before the attempt and taken back after it, so that a sender that is killed in the middle has failed. Whoever has a
message does not get it again; only a sender that is killed between arrival and booking sends one twice.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tgtqr_lib import journal
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.alerts.addresses import Address, open_all
from tgtqr_lib.alerts.state import Message, Sent, State, Turn
from tgtqr_lib.credentials import KEY, SECRET
from tgtqr_lib.home import Home

LOWEST = 19  # nice
MINUTE_MS = 60_000
LONGEST_PAUSE_MS = 60 * MINUTE_MS
RUN_S = 60.0  # after that no message is begun
SENDER_S = 30.0  # a sender has time to wait for the state
HARD_S = 120.0  # after that the sender ends, wherever it hangs
LAST = 20  # messages that `tgtqr alert show` knows
Write = Callable[[Message], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One message to one address; `trouble` is None when it arrived."""

    to: str
    title: str
    trouble: str | None


def due(state: State, at_ms: int) -> bool:
    """Whether something waits whose time has come."""
    return bool(state.queue) and at_ms >= state.next_ms


def start(home: Home, at_ms: int) -> subprocess.Popen | None:
    """Start a sender beside the work, with low priority; None when it cannot be started."""
    words = [sys.executable, "-m", "tgtqr_lib.cli", "alert", "send", "--home", str(home.root)]
    try:
        process = subprocess.Popen(
            [*words, "--due", str(at_ms)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True, close_fds=True,
            env={name: value for name, value in os.environ.items() if name not in (KEY, SECRET)},
        )  # fmt: skip
    except OSError as error:
        journal.event("alert_trouble", text=f"the sender cannot be started ({error.strerror})")
        return None
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
    return process


def limit_this_process() -> None:
    """End this process after `HARD_S`, also when it hangs in a library; what it did not book is tried again."""
    nowhere = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
    faulthandler.dump_traceback_later(HARD_S, exit=True, file=nowhere)


def deliver(home: Home, at_ms: int, write: Write, *, all_now: bool = False) -> list[Attempt]:
    """Send what is due at exchange time `at_ms`, everything with `all_now`; [] while another process sends.

    `write` gives title and body of a message that has none yet. Raises `DomainError` when `.env` is refused,
    and as `state.changing`.
    """
    attempts: list[Attempt] = []
    until = time.monotonic() + RUN_S
    with kept.sending(home) as free:
        if not free:
            return attempts
        addresses = open_all(home)
        names = [one.name for one in addresses]
        with kept.changing(home, SENDER_S) as state:
            state.sender_ms = at_ms
            state.turns = {name: state.turns.get(name, Turn()) for name in names}
            if all_now:
                for turn in state.turns.values():
                    turn.next_ms = at_ms
            order = sorted(addresses, key=lambda one: state.turns[one.name].failures)
        if addresses:
            _write_words(home, write)
        for address in order:
            while time.monotonic() < until:
                attempt = _next(home, address, names, at_ms)
                if attempt is None:
                    break
                attempts.append(attempt)
                if attempt.trouble is not None:
                    break
        with kept.changing(home, SENDER_S) as state:
            state.sender_ms = None
            _plan(state, names, at_ms)
    return attempts


def _write_words(home: Home, write: Write) -> None:
    """Give words to the messages that have none yet; writing takes its time, so no lock is held."""
    for message in kept.read(home).queue:
        if message.body:
            continue
        title, body = write(message)
        with kept.changing(home, SENDER_S) as state:
            for one in state.queue:
                if one.id == message.id:
                    one.title, one.body = title, body


def _next(home: Home, address: Address, names: list[str], at_ms: int) -> Attempt | None:
    """Send the oldest message that `address` lacks; None when there is none, or it is not its turn."""
    name = address.name
    with kept.changing(home, SENDER_S) as state:
        turn = state.turns.setdefault(name, Turn())
        message = next((m for m in state.queue if name not in m.arrived and m.body), None)
        if message is None or turn.next_ms > at_ms:
            return None
        before = turn.failures
        turn.failures += 1
        turn.next_ms = at_ms + min(MINUTE_MS << min(before, 10), LONGEST_PAUSE_MS)
        turn.trouble = "the sender ended before it had an answer"
        message = message.model_copy()
    trouble = address.send(message.title, message.body, message.severity)
    with kept.changing(home, SENDER_S) as state:
        turn = state.turns.setdefault(name, Turn())
        if trouble is None:
            state.turns[name] = Turn(next_ms=min(turn.next_ms, at_ms))
            _arrived(state, message, name, names)
        else:
            turn.trouble = trouble
    facts = {"code": message.code, "id": message.id, "to": name}
    if trouble is None:
        journal.event("alert_sent", **facts)
    else:
        journal.event("alert_not_sent", **facts, failures=before + 1, text=trouble)
    return Attempt(name, message.title, trouble)


def _arrived(state: State, message: Message, name: str, names: list[str]) -> None:
    waiting = next((m for m in state.queue if m.id == message.id), None)
    if waiting is None:
        return  # it was given up meanwhile
    waiting.arrived.append(name)
    if set(names) <= set(waiting.arrived):
        state.queue.remove(waiting)
        sent = Sent(at_ms=waiting.at_ms, code=waiting.code, title=waiting.title)
        state.last = [*state.last, sent][-LAST:]


def _plan(state: State, names: list[str], at_ms: int) -> None:
    """Set when the outbox has something to do again."""
    for message in list(state.queue):
        if names and set(names) <= set(message.arrived):  # an address is gone that it waited for
            state.queue.remove(message)
    waiting = {name for name in names if any(name not in m.arrived for m in state.queue)}
    times = [state.turns[name].next_ms for name in waiting if name in state.turns]
    state.next_ms = max(min(times, default=at_ms), at_ms)
