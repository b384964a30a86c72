"""When a message is made: once for a condition, rarely again while it lasts, once when it is over.

A condition is raised at most once an hour, however often it comes and goes, unless it is one that only a person
ends. While it lasts it is told again after 1, 3, 7, 15 and 31 hours and then every 24. All together make at most 12
messages an hour; what is more is held back, and one message says how much. Pure: time comes in as an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from tgtqr_lib.alerts.messages import (
    CRITICAL,
    DROPPED,
    HELD_BACK,
    INFO,
    KINDS,
    SEVERITIES,
    SUCCESS,
    SUMMARY,
    WARNING,
    Condition,
    body,
    lasted,
    title,
)
from tgtqr_lib.alerts.state import Message, Standing, State

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MOST_AN_HOUR = 12
MOST_WAITING = 50
MOST_NAMED = 20  # of those held back


def update(
    state: State, found: Sequence[Condition], unknown: Collection[str], at_ms: int, home: str
) -> list[Message]:
    """The messages that `found` gives rise to at exchange time `at_ms`, put in the queue of `state`.

    `unknown` are the codes, or keys, of which nobody can say now whether they hold: they neither begin nor
    end. `home` is the name that messages carry.
    """
    _mend_times(state, at_ms)
    before = state.number
    _tell_dropped(state, at_ms, home)
    _tell_held_back(state, at_ms, home)
    keys = {one.key for one in found if not one.event}
    for key, one in list(state.standing.items()):
        if key not in keys and one.code not in unknown and key not in unknown:
            del state.standing[key]
            if one.told_ms is not None:
                _over(state, one, at_ms, home)
    for one in sorted(found, key=lambda c: -SEVERITIES.index(c.weight)):
        if one.event:
            if _rested(state, one, at_ms):
                state.told[one.key] = at_ms
                _make(state, one.code, one.weight, one.words, one.text, at_ms, home)
        else:
            _raise(state, one, at_ms, home)
    return [message for message in state.queue if message.id > before]


def summary(state: State, day: str, at_ms: int) -> None:
    """Queue the summary of `day`; its words are written when it is sent."""
    state.summary_day = day
    _queue(state, SUMMARY, INFO, f"TGT QR: {day}", "", at_ms, day=day)


def _raise(state: State, one: Condition, at_ms: int, home: str) -> None:
    kind = KINDS[one.code]
    known = state.standing.get(one.key)
    if known is None:
        known = Standing(
            code=one.code, about=one.about, severity=one.weight, text=one.text, since_ms=at_ms
        )
        state.standing[one.key] = known
    known.text, known.severity, known.mark = one.text, one.weight, one.mark
    words, tell = one.words, False
    if known.told_ms is None:
        tell = _rested(state, one, at_ms)
    elif kind.latched and one.mark != known.told_mark:
        known.since_ms, known.told_count, tell = at_ms, 0, True
    elif SEVERITIES.index(one.weight) > SEVERITIES.index(known.told_severity):
        tell = True
    elif at_ms - known.told_ms >= min(HOUR_MS << (known.told_count - 1), DAY_MS):
        words, tell = f"{words}, for {lasted(at_ms - known.since_ms)} now", True
    if tell:
        known.told_ms = state.told[one.key] = at_ms
        known.told_count += 1
        known.told_severity, known.told_mark = one.weight, one.mark
        _make(state, one.code, one.weight, words, one.text, at_ms, home)


def _rested(state: State, one: Condition, at_ms: int) -> bool:
    """Whether the condition was not raised within the hour; one that only a person ends never has to rest."""
    last = state.told.get(one.key)
    return last is None or KINDS[one.code].latched or at_ms - last >= HOUR_MS


def _over(state: State, one: Standing, at_ms: int, home: str) -> None:
    text = f"After {lasted(at_ms - one.since_ms)}. It was: {one.text}"
    _make(state, one.code, SUCCESS, KINDS[one.code].over, text, at_ms, home)


def _make(
    state: State, code: str, severity: str, words: str, text: str, at_ms: int, home: str
) -> None:
    """Queue a message, or hold it back when the hour has its twelve; a stop is never held back."""
    if _full(state, at_ms) and not (KINDS[code].latched and severity == CRITICAL):
        state.held_ms = state.held_ms if state.held_count else at_ms
        state.held_count += 1
        state.held = [*state.held, words][-MOST_NAMED:]
        return
    state.sent_ms.append(at_ms)
    over = "" if severity != SUCCESS else " over"
    _queue(state, code, severity, title(words), body(text, code + over, home, at_ms), at_ms)


def _tell_held_back(state: State, at_ms: int, home: str) -> None:
    if not state.held_count or _full(state, at_ms):
        return
    count, since = state.held_count, lasted(at_ms - state.held_ms)
    names = ", ".join(
        name if times == 1 else f"{name} ({times})" for name, times in Counter(state.held).items()
    )
    state.held, state.held_count = [], 0
    state.sent_ms.append(at_ms)
    words = f"{count} messages were held back" if count > 1 else "a message was held back"
    text = f"Since {since}, more than {MOST_AN_HOUR} in an hour: {names}"
    _queue(state, HELD_BACK, WARNING, title(words), body(text, HELD_BACK, home, at_ms), at_ms)


def _tell_dropped(state: State, at_ms: int, home: str) -> None:
    """Once all that waited is sent, say how many messages had to be given up for it."""
    if not state.dropped or state.queue:
        return
    text = f"They could not be sent, and more than {MOST_WAITING} waited"
    words = f"{state.dropped} messages were given up"
    state.dropped = 0
    _queue(state, DROPPED, WARNING, title(words), body(text, DROPPED, home, at_ms), at_ms)


def _full(state: State, at_ms: int) -> bool:
    state.sent_ms = [t for t in state.sent_ms if at_ms - HOUR_MS < t <= at_ms]
    return len(state.sent_ms) >= MOST_AN_HOUR


def _queue(
    state: State, code: str, severity: str, head: str, text: str, at_ms: int, day: str | None = None
) -> None:
    state.number += 1
    message = Message(
        id=state.number, at_ms=at_ms, code=code, severity=severity, title=head, body=text, day=day
    )
    state.queue.append(message)
    state.next_ms = at_ms
    while len(state.queue) > MOST_WAITING:  # the oldest of the least weight goes
        least = min(state.queue, key=lambda m: (SEVERITIES.index(m.severity), m.id))
        state.queue.remove(least)
        state.dropped += 1


def _mend_times(state: State, at_ms: int) -> None:
    """Take no time for later than now: an exchange's clock, a simulated one above all, may be set back."""
    state.told = {key: min(told, at_ms) for key, told in state.told.items()}
    for one in state.standing.values():
        one.since_ms = min(one.since_ms, at_ms)
        one.told_ms = None if one.told_ms is None else min(one.told_ms, at_ms)
    for turn in state.turns.values():
        turn.next_ms = min(turn.next_ms, at_ms + HOUR_MS)
    state.next_ms = min(state.next_ms, at_ms + HOUR_MS)
    state.held_ms = min(state.held_ms, at_ms)
