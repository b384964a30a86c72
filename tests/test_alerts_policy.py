"""When a message is made: once, rarely again, once when it is over; and what it looks like on a phone."""

from datetime import UTC, datetime

import pytest

from tgtqr_lib.alerts.messages import KINDS, LONGEST_TITLE, Condition, body, lasted, title
from tgtqr_lib.alerts.policy import MOST_AN_HOUR, MOST_WAITING, summary, update
from tgtqr_lib.alerts.state import State, Turn

NOON = int(datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp() * 1000)
MINUTE, HOUR = 60_000, 3_600_000
DISK = Condition("DISK", "310 MB are free")
STOP = Condition("STOPPED", "enough (by the owner)", mark="7")


def look(state, minutes, *found, unknown=()):
    """The titles that a look `minutes` after noon gives rise to."""
    made = update(state, found, unknown, NOON + round(minutes * MINUTE), "lab")
    return [message.title.removeprefix("TGT QR: ") for message in made]


def test_a_condition_is_told_once_and_its_end_once():
    state = State()
    assert look(state, 0, DISK) == ["the disk is nearly full"]
    assert [look(state, minute, DISK) for minute in range(1, 60)] == [[]] * 59
    assert look(state, 59) == ["the disk has room again"]
    assert look(state, 60) == []


def test_a_message_is_two_short_lines_with_the_home_and_the_time():
    state = State()
    look(state, 0, DISK)
    look(state, 45)
    first, second = state.queue
    assert first.title == "TGT QR: the disk is nearly full"
    assert first.body == "310 MB are free\nDISK, home lab, 2026-11-22 12:00 UTC"
    assert second.body == (
        "After 45 min. It was: 310 MB are free\nDISK over, home lab, 2026-11-22 12:45 UTC"
    )
    assert (first.severity, second.severity) == ("warning", "success")


def test_what_lasts_is_told_again_after_1_3_7_15_and_31_hours_and_then_every_day():
    state, told = State(), []
    for minute in range(0, 96 * 60, 5):
        told += [minute / 60 for _ in look(state, minute, DISK)]
    assert told == [0, 1, 3, 7, 15, 31, 55, 79]


def test_a_reminder_says_how_long_it_lasts():
    state = State()
    look(state, 0, DISK)
    assert look(state, 61, DISK) == ["the disk is nearly full, for 1 h 1 min now"]


def test_what_comes_and_goes_is_raised_once_an_hour():
    state, raised = State(), []
    for minute in range(0, 180, 2):
        raised += [minute for text in look(state, minute, DISK) if "nearly" in text]
        look(state, minute + 1)
    assert raised == [0, 60, 120]


def test_an_end_is_told_only_of_what_was_raised():
    state = State()
    look(state, 0, DISK)
    look(state, 1)
    assert look(state, 2, DISK) == [] and look(state, 3) == []


def test_every_stop_is_told_however_soon_after_the_one_before():
    state = State()
    assert look(state, 0, STOP) == ["STOPPED"]
    assert look(state, 1) == ["armed again"]
    assert look(state, 2, STOP) == ["STOPPED"]
    armed_and_stopped_between_two_beats = Condition("STOPPED", "again", mark="9")
    assert look(state, 3, armed_and_stopped_between_two_beats) == ["STOPPED"]


def test_what_gets_worse_is_told_at_once():
    state = State()
    look(state, 0, DISK)
    worse = Condition("DISK", "150 MB are free", severity="critical")
    assert look(state, 1, worse) == ["the disk is nearly full"]
    assert state.queue[-1].severity == "critical"
    assert look(state, 2, DISK) == []  # and that it is a little better is no news


def test_what_nobody_can_say_neither_begins_nor_ends():
    state = State()
    look(state, 0, DISK)
    assert look(state, 1, unknown={"DISK"}) == []
    assert list(state.standing) == ["DISK"]
    assert look(state, 2) == ["the disk has room again"]


def test_two_conditions_of_a_code_are_two():
    state = State()
    day, total = (Condition("LIMIT_80", name, name) for name in ("day", "total"))
    assert len(look(state, 0, day, total)) == 2
    assert look(state, 1, total) == ["below 80 % of the loss limit"]
    assert list(state.standing) == ["LIMIT_80 total"]


def test_an_event_is_told_once_an_hour_and_has_no_end():
    state = State()
    away = Condition("MONITOR", "no beat", "away", title="the watch was away", event=True)
    assert [look(state, minute, away) for minute in (0, 10, 60)] == [
        ["the watch was away"],
        [],
        ["the watch was away"],
    ]
    assert look(state, 61) == []


def many(count):
    return [Condition("DISK", f"disk {number}", f"{number:02d}") for number in range(count)]


def test_more_than_twelve_an_hour_are_held_back_and_one_says_how_many():
    state = State()
    assert len(look(state, 0, *many(15))) == MOST_AN_HOUR == 12
    assert look(state, 59, *many(15)) == []
    assert look(state, 60.1, *many(3))[0] == "3 messages were held back"
    held = next(m for m in state.queue if m.code == "HELD_BACK")
    assert "the disk is nearly full (3)" in held.body
    assert look(state, 61, *many(3)) == []


def test_a_stop_is_not_held_back():
    state = State()
    look(state, 0, *many(15))
    assert look(state, 1, *many(15), STOP) == ["STOPPED"]


def test_what_waits_is_bounded_and_the_weightiest_stay():
    state = State()
    look(state, 0, STOP)
    for number in range(80):
        look(state, 10 * (number + 1), STOP, Condition("DISK", "x", str(number)))
    assert len(state.queue) == MOST_WAITING == 50
    assert state.queue[0].title == "TGT QR: STOPPED" and state.dropped > 0
    given_up = state.dropped
    state.queue.clear()  # all was sent
    assert look(state, 900, STOP)[0] == f"{given_up} messages were given up"
    assert state.dropped == 0


def test_an_exchange_clock_that_is_set_back_silences_nothing_for_ever():
    state = State(next_ms=NOON + 40 * HOUR, turns={"a": Turn(next_ms=NOON + 40 * HOUR)})
    look(state, 0, DISK)
    assert look(state, -600, DISK) == []  # ten hours earlier
    assert look(state, -600 + 61, DISK) == ["the disk is nearly full, for 1 h 1 min now"]
    assert state.next_ms <= NOON and state.turns["a"].next_ms <= NOON + 40 * HOUR - 39 * HOUR


def test_a_summary_takes_no_place_among_the_twelve():
    state = State()
    summary(state, "2026-11-21", NOON)
    assert len(look(state, 0, *many(12))) == 12
    assert state.summary_day == "2026-11-21"


@pytest.mark.parametrize("code", KINDS)
def test_every_title_fits_a_phone(code):
    kind = KINDS[code]
    for words in (f"{kind.title}, for 29 d 23 h now", kind.over):
        assert len(title(words)) <= LONGEST_TITLE < 60
        assert not title(words).endswith("...")


def test_a_long_sentence_is_cut_and_stays_one_line():
    lines = body("word\n" * 200, "DISK", "h" * 90, NOON).splitlines()
    assert len(lines) == 2 and len(lines[0]) == 300 and lines[0].endswith("...")
    assert len(lines[1]) < 90


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
        (86_400, "1 d"),
        (-5, "0 s"),
    ],
)
def test_a_duration_in_its_two_largest_units(seconds, text):
    assert lasted(seconds * 1000) == text
