"""After a beat the owner is told what matters: which conditions hold is looked at, messages are made, a sender is
started. Never in the beat's way: what goes wrong here is told in the journal, and nothing waits.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from tgtqr_lib import journal
from tgtqr_lib.alerts import outbox, policy
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.alerts.messages import Condition
from tgtqr_lib.clock import from_ms, to_ms
from tgtqr_lib.credentials import alert_urls
from tgtqr_lib.domain import Busy
from tgtqr_lib.home import Home

if TYPE_CHECKING:
    from tgtqr_lib.desk import Desk
    from tgtqr_lib.watch import Beat

Found = tuple[Sequence[Condition], Collection[str]]


def after_beat(desk: Desk, seen: Beat) -> None:
    """Tell what the beat `seen` found, and that what it did not find is over. Raises nothing."""

    def look(state: kept.State) -> Found:
        from tgtqr_lib.alerting.conditions import after_beat

        found = after_beat(desk, seen, state)
        state.trouble_ms = None
        state.seen_ms, state.seen_host_ms = to_ms(seen.at), time.time_ns() // 1_000_000
        return found

    _tell(desk.home, look, seen.at)


def after_failed_beat(home: Home, error: Exception) -> None:
    """Tell that a beat ended in `error`, once that lasts. Raises nothing."""
    if isinstance(error, Busy):
        return  # somebody else watches

    def look(state: kept.State) -> Found:
        from tgtqr_lib.alerting.conditions import after_failed_beat

        at_ms = state.time_ms()
        if state.trouble_ms is None or state.trouble_ms > at_ms:
            state.trouble_ms = at_ms
        return after_failed_beat(home, error, state, from_ms(at_ms))

    _tell(home, look, None)


def after_tick(desk: Desk, wait_s: float = 0.0) -> None:
    """Tell when a tick finds that nobody watches: then no beat would. Raises nothing.

    A service manager may end the sender with the tick's process: `wait_s` is how long to wait for it.
    """

    def look(state: kept.State) -> Found:
        from tgtqr_lib.alerting.conditions import after_tick

        return after_tick(desk, at)

    try:
        at = desk.exchange.time() if alert_urls(desk.home) else None
    except Exception:  # the tick itself tells it
        return
    if at is not None:
        sender = _tell(desk.home, look, at)
        if sender is not None and wait_s:
            with suppress(subprocess.TimeoutExpired):
                sender.wait(wait_s)


def _tell(
    home: Home, look: Callable[[kept.State], Found], at: datetime | None
) -> subprocess.Popen | None:
    """Update the state by what `look` finds at exchange time `at`, or its estimate; then see to the sender."""
    try:
        if not alert_urls(home):
            return None
        with kept.changing(home) as state:
            at_ms = state.time_ms() if at is None else to_ms(at)
            found, unknown = look(state)
            dropped, number = state.dropped, state.number
            policy.update(state, found, unknown, at_ms, home.root.name)
            if at is not None:
                _sum_up(state, at)
            for one in state.queue:
                if one.id > number:
                    journal.event("alert", code=one.code, id=one.id, text=one.title)
            if state.dropped > dropped:
                journal.event("alert_given_up", count=state.dropped - dropped)
            starts = outbox.due(state, at_ms)
            if starts:
                _note_lost_sender(home, state)
                state.next_ms = at_ms + outbox.MINUTE_MS  # until the sender plans anew
        if starts:
            return outbox.start(home, at_ms)
    except Exception as error:  # a beat is worth more
        journal.event("alert_trouble", text=f"{type(error).__name__}: {error}")
    return None


def _sum_up(state: kept.State, at: datetime) -> None:
    """Queue the summary of the newest day that ended, once; the first look only notes which that is."""
    from tgtqr_lib.after_day import due  # only a home with addresses needs it

    day = due(at)
    if state.summary_day is None:
        state.summary_day = day
    elif day > state.summary_day:
        policy.summary(state, day, to_ms(at))


def _note_lost_sender(home: Home, state: kept.State) -> None:
    """A sender that did not end by itself is told; what it did not book is tried again."""
    if state.sender_ms is None:
        return
    with kept.sending(home) as free:
        if free:
            state.sender_ms = None
            journal.event("alert_sender_lost", text="the sender ended before it was done")
