"""A beat marks, renews the lease, notes missed ticks, and lets simulated time pass."""

import json
from decimal import Decimal

import pytest

from tests.stage import minutes, moment, ms, rise
from tgtqr_lib import cli, ledger, tick
from tgtqr_lib.desk import open_desk
from tgtqr_lib.domain import DomainError, VenueUnavailable
from tgtqr_lib.settings import load
from tgtqr_lib.watch import beat, play_to


def missed(stage) -> list[str]:
    return [
        row.body["tick_id"] for row in stage.events("tick") if row.body.get("state") == "missed"
    ]


def test_a_beat_marks_the_newest_closed_minute(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    seen = stage.beat("10:16:03")
    # cash 9.09815315 and 0.000009 * 100100 = 0.9009
    assert (str(seen.equity), str(seen.cash)) == ("9.99905315", "9.09815315")
    mark = ledger.newest_mark(stage.desk.con)
    assert (mark.minute_ms, mark.beat_ms) == (ms("10:15"), ms("10:16:03"))
    assert (mark.cash, mark.equity) == (Decimal("9.09815315"), Decimal("9.99905315"))
    assert {s: Decimal(close) for s, close in mark.closes.items()} == {
        "BTCUSDT": 100100,
        "ETHUSDT": 2500,
    }


def test_a_quiet_beat_leaves_no_event(stage):
    stage.beat("10:16")
    head = stage.head()
    for at in minutes("10:17", 5):
        stage.beat(at)
    assert stage.head() == head and len(ledger.marks(stage.desk.con, "paper-1")) == 6


def test_before_the_first_tick_nothing_is_missed(stage):
    for at in ("10:16:03", "11:46:03"):
        assert stage.beat(at).missed == ()


@pytest.mark.parametrize(
    "at, expected",
    [
        ("10:31:00", ()),  # a tick may still begin 60 s after its boundary
        ("10:31:00.001", ("20261122T1030Z",)),
        ("11:00:30", ("20261122T1030Z", "20261122T1045Z")),
    ],
)
def test_a_beat_records_the_ticks_that_can_begin_no_more(stage, at, expected):
    stage.arm()
    stage.tick("10:15")
    assert stage.beat(at).missed == expected and missed(stage) == list(expected)
    later = stage.beat("11:00:40").missed  # the others, and none twice
    assert sorted((*expected, *later)) == ["20261122T1030Z", "20261122T1045Z"]


def test_a_recorded_miss_is_what_the_tick_is_told_afterwards(stage):
    stage.arm()
    stage.tick("10:15")
    stage.beat("10:31:03")
    stage.at("10:30:20")  # even if a clock went back
    assert tick.run_tick(stage.desk, None, moment("10:30")).state == "already_done"


def test_an_unreachable_exchange_is_no_beat(stage):
    stage.arm("10:10")
    stage.desk.exchange._budget_s = 0.2
    stage.simulator.faults.add("5xx")
    with pytest.raises(VenueUnavailable):
        stage.beat("10:12")
    assert ledger.newest_mark(stage.desk.con).beat_ms == ms("10:10")


def test_the_command_prints_one_object(stage, capsys):
    stage.at("10:16:03")
    assert cli.main(["watch", "--once", "--home", str(stage.home.root), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["at"] == "2026-11-22T10:16:03Z" and facts["equity"] == facts["cash"] == "10.00"


# --- the embedded simulator's time ---


@pytest.fixture
def embedded(home):
    home.settings.write_text("[simulator]\nseed = 3\n")
    with open_desk(home, load(home)) as desk:
        yield desk


def beats(desk, text: str) -> list[str]:
    return [f"{seen.at:%H:%M:%S}" for seen in play_to(desk, moment(text))]


def test_time_passes_with_one_beat_in_each_minute(embedded):
    assert beats(embedded, "10:00:03") == ["09:59:03"]  # a fresh clock gets one beat, for its lease
    assert beats(embedded, "10:03:03") == ["10:01:03", "10:02:03"]
    assert embedded.exchange.time() == moment("10:03:03")


def test_of_a_long_time_only_the_last_quarter_hour_is_watched(embedded):
    beats(embedded, "10:00:03")
    seen = beats(embedded, "16:00:03")
    assert (len(seen), seen[0], seen[-1]) == (14, "15:46:03", "15:59:03")


def test_simulated_time_never_goes_back(embedded):
    beats(embedded, "10:00:03")
    with pytest.raises(DomainError, match="is at 2026-11-22T10:00:03Z; it cannot go back"):
        embedded.clock.move_to(moment("09:59:59"))
    assert beat(embedded).at == moment("10:00:03")
