"""The rules that close the gate: entries wait while a cause lasts, exits always pass."""

from datetime import timedelta

import pytest

from tests.builders import (
    HARD_LIMITS,
    NOW,
    a_portfolio,
    a_position,
    a_sale,
    an_entry,
    healthy,
    inputs,
    no_order,
)
from tgtqr_lib.risk import (
    RULES,
    clock_offset,
    disk_space,
    gate_stopped,
    ledger_witness,
    monitor_lease,
)

HELD = a_portfolio(a_position(quantity="0.000009"))


def given_health(**facts):
    return inputs(health=healthy(**facts), portfolio=HELD)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


BOUNDARIES = [
    (gate_stopped, {"stopped": None}, True),
    (gate_stopped, {"stopped": "the button"}, False),
    (gate_stopped, {"stopped": ""}, False),  # a stop without a reason is a stop
    (ledger_witness, {"ledger_problem": None}, True),
    (ledger_witness, {"ledger_problem": "event 7 differs"}, False),
    (disk_space, {"disk_free_mb": 200}, True),
    (disk_space, {"disk_free_mb": 199}, False),
    (clock_offset, {"clock_offset_ms": None}, True),  # the simulator's clock is the only clock
    (clock_offset, {"clock_offset_ms": 500}, True),
    (clock_offset, {"clock_offset_ms": 501}, False),
    (clock_offset, {"clock_offset_ms": -500}, True),
    (clock_offset, {"clock_offset_ms": -501}, False),
    (monitor_lease, {"last_beat_at": ago(180)}, True),
    (monitor_lease, {"last_beat_at": ago(180.000001)}, False),
    (monitor_lease, {"last_beat_at": ago(86_400)}, False),
    (monitor_lease, {"last_beat_at": None}, False),
]


@pytest.mark.parametrize("rule, facts, allowed", BOUNDARIES)
def test_an_entry_passes_up_to_the_limit_and_an_exit_always(rule, facts, allowed):
    now = given_health(**facts)
    entry = rule.check(an_entry(), now, HARD_LIMITS)
    assert (entry.code, entry.allowed) == (rule.CODE, allowed)
    assert entry.text
    assert rule.check(a_sale(), now, HARD_LIMITS).allowed


@pytest.mark.parametrize(
    "rule, facts, value, limit, distance",
    [
        (disk_space, {"disk_free_mb": 150}, 150, 200, -50),
        (clock_offset, {"clock_offset_ms": -700}, 700, 500, -200),
        (monitor_lease, {"last_beat_at": ago(30)}, 30, 180, 150),
    ],
)
def test_a_verdict_keeps_its_figures_also_for_an_exit(rule, facts, value, limit, distance):
    for order in (an_entry(), a_sale(), no_order()):
        verdict = rule.check(order, given_health(**facts), HARD_LIMITS)
        assert (verdict.value, verdict.limit, verdict.distance) == (value, limit, distance)


def test_a_quiet_symbol_is_told_of_the_stop_but_not_of_a_cause_that_only_keeps_entries():
    told = {
        code
        for code, check in RULES.items()
        if not check(
            no_order(),
            given_health(stopped="x", ledger_problem="x", disk_free_mb=0, last_beat_at=None),
            HARD_LIMITS,
        ).allowed
    }
    assert told == {"GATE_STOPPED"}


def test_the_text_names_the_cause():
    now = given_health(stopped="the button", ledger_problem="event 7 differs")
    assert "the button" in gate_stopped.check(an_entry(), now, HARD_LIMITS).text
    assert "event 7 differs" in ledger_witness.check(an_entry(), now, HARD_LIMITS).text
