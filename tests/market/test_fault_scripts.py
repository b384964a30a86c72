"""Faults that come and go by a script of exchange times."""

import json

import pytest

from tests.market.tables import Table, ask, at, flat
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.faults import read_script
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

TICKERS = "/v5/market/tickers"
SPOT = "?category=spot&symbol=BTCUSDT"


@pytest.fixture
def simulator():
    """Five minutes of prices 100.0, 101.0 ... 104.0, standing 3 s into the last of them."""
    table = Table(*(flat(minute, 1000 + 10 * minute) for minute in range(5)))
    with running(table, SimulatorClock(at(4, 3))) as simulator:
        yield simulator


SCRIPT = [
    {"since": "2025-06-01T12:05:00Z", "until": "2025-06-01T12:06:30Z", "kind": "5xx"},
    {"since": at(7), "kind": "403", "uses": 1, "endpoint": "/v5/market/time"},
    {"since": at(8), "until": at(9), "kind": "stale", "endpoint": TICKERS},
]


def status_at(simulator, moment: int) -> int:
    simulator.clock.set(moment)
    return ask(f"{simulator.url}/v5/market/time")[0]


def test_a_script_switches_faults_on_and_off_by_exchange_time(simulator):
    simulator.faults.play(SCRIPT)
    assert status_at(simulator, at(5) - 1) == 200
    assert status_at(simulator, at(5)) == 503  # the beginning belongs to it
    assert status_at(simulator, at(6, 30) - 1) == 503
    assert status_at(simulator, at(6, 30)) == 200  # the end does not
    assert status_at(simulator, at(7)) == 403
    assert status_at(simulator, at(7, 1)) == 200  # used up
    assert status_at(simulator, at(5, 30)) == 503  # a clock set back plays it again


def test_a_stale_fault_of_a_script_freezes_what_is_there_when_it_begins(simulator):
    simulator.clock.set(at(1, 30))
    simulator.faults.play([{"kind": "stale", "since": at(2, 5), "until": at(4)}])
    for moment, price in ((at(2), "102"), (at(3, 30), "102"), (at(4), "104")):
        simulator.clock.set(moment)
        ticker = ask(simulator.url + TICKERS + SPOT)[1]["result"]["list"][0]
        assert ticker["lastPrice"] == price


def test_what_a_script_will_do_is_listed_and_can_be_cleared(simulator):
    first, *_ = simulator.faults.play(SCRIPT)
    simulator.clock.set(at(6))
    listed = simulator.faults.active()
    assert [(f["kind"], f["on"]) for f in listed] == [
        ("5xx", True),
        ("403", False),
        ("stale", False),
    ]
    assert listed[0]["since"] == iso(from_ms(at(5))) and listed[0]["until"] == iso(
        from_ms(at(6, 30))
    )
    simulator.faults.clear(first)
    assert ask(f"{simulator.url}/v5/market/time")[0] == 200
    simulator.clock.set(at(10))
    assert [f["kind"] for f in simulator.faults.active()] == ["403"]  # the stale one is over


def test_a_script_with_one_bad_line_switches_nothing_on(simulator):
    with pytest.raises(DomainError, match="unknown"):
        simulator.faults.play([*SCRIPT, {"kind": "flood"}])
    with pytest.raises(DomainError, match="expected an object"):
        simulator.faults.play([*SCRIPT, "flood"])
    assert simulator.faults.active() == []


def test_a_script_can_be_sent_and_a_refused_request_changes_nothing(simulator):
    control = f"{simulator.url}/simulator/faults"
    state = ask(control, {"script": SCRIPT})[1]
    assert [fault["kind"] for fault in state["faults"]] == ["5xx", "403", "stale"]
    number = state["faults"][1]["number"]
    assert [f["kind"] for f in ask(control, {"clear": number})[1]["faults"]] == ["5xx", "stale"]
    for body in ({"script": {}}, {"clear": True, "script": [1]}, {"clear": True, "add": {}}):
        assert ask(control, body)[0] == 400
    assert len(simulator.faults.active()) == 2
    state = ask(control, {"clear": True, "add": {"kind": "429"}})[1]
    assert [fault["kind"] for fault in state["faults"]] == ["429"]


def test_a_script_is_read_from_a_file(tmp_path):
    file = tmp_path / "script.json"
    file.write_text(json.dumps(SCRIPT))
    assert read_script(file) == SCRIPT
    for text in ("{}", "[", ""):
        file.write_text(text)
        with pytest.raises(DomainError, match=r"script\.json"):
            read_script(file)
    with pytest.raises(DomainError, match=r"absent\.json"):
        read_script(tmp_path / "absent.json")
