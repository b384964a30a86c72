"""Which conditions hold, found in real ledgers, limits and health: raised once, told when it is over."""

from collections import namedtuple
from dataclasses import replace

import pytest

from tests.stage import book_fill, rise
from tgtqr_lib import alerting, daily, gate, leaks, tick
from tgtqr_lib.alerting import conditions, summary
from tgtqr_lib.alerts import outbox
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.domain import DomainError, StoreError, TgtqrError, VenueUnavailable
from tgtqr_lib.kernel import NotebookFailed


@pytest.fixture
def lab(stage, monkeypatch):
    """A stage whose beats are followed by a look at alerts; what would be sent waits in the state."""
    monkeypatch.setenv("TGTQR_ALERTS", "json://127.0.0.1:9/nobody")
    monkeypatch.setattr(outbox, "start", lambda home, at_ms: None)
    return Lab(stage)


class Lab:
    def __init__(self, stage):
        self.stage, self.seen = stage, 0

    def beat(self, text):
        """The new titles after a beat."""
        seen = self.stage.beat(text)
        alerting.after_beat(self.stage.desk, seen)
        return self.fresh()

    def failed_beat(self, error, host_s):
        """The new titles after a beat that failed `host_s` seconds of this machine's clock after the last."""
        with kept.changing(self.stage.home) as state:
            state.seen_host_ms -= host_s * 1000
        alerting.after_failed_beat(self.stage.home, error)
        with kept.changing(self.stage.home) as state:
            state.seen_host_ms += host_s * 1000
        return self.fresh()

    def fresh(self):
        found = [m for m in kept.read(self.stage.home).queue if m.id > self.seen]
        self.seen = max([self.seen, *(m.id for m in found)])
        self.bodies = [m.body.partition("\n")[0] for m in found]
        return [m.title.removeprefix("TGT QR: ") for m in found]


def test_without_an_address_nothing_is_looked_at_and_nothing_is_kept(stage):
    seen = stage.beat("10:00")
    gate.stop(stage.home, "enough", "the owner")
    alerting.after_beat(stage.desk, seen)
    alerting.after_failed_beat(stage.home, VenueUnavailable("silent"))
    alerting.after_tick(stage.desk)
    assert not kept.path_of(stage.home).exists()
    assert not list(stage.home.control.glob("alerts*"))


def test_a_home_that_was_never_armed_tells_nothing(lab):
    assert lab.beat("10:00") == lab.beat("10:01") == []


def test_a_stop_and_the_arming_after_it(lab):
    lab.stage.arm()
    assert lab.beat("10:15") == []
    gate.stop(lab.stage.home, "enough", "the owner")
    assert lab.beat("10:16") == ["STOPPED"]
    assert lab.bodies == ["enough (by the owner); nothing is held"]
    assert lab.beat("10:17") == []
    lab.stage.arm("10:18")
    assert lab.beat("10:19") == ["armed again"]


def test_a_breach_is_a_stop_with_its_reason(lab):
    lab.stage.arm()
    lab.stage.tick("10:15")
    # 10.00 - 2.01: the day's floor is 8.00
    book_fill(lab.stage, "BUY", "0.00000001", "2.00", fee="0.01")
    assert "STOPPED" in lab.beat("10:16")
    assert any(body.startswith("BREACH: equity 7.99") for body in lab.bodies)


@pytest.mark.parametrize("lost, told", [("1.59", []), ("1.60", ["80 % of a loss limit is used"])])
def test_eighty_percent_of_the_days_loss(lab, lost, told):
    lab.stage.arm()
    book_fill(lab.stage, "BUY", "0.00000001", lost)  # worth 0.001 USDT, marked down to it
    book_fill(lab.stage, "SELL", "0.00000001", "0")
    assert lab.beat("10:16") == told
    if told:
        assert lab.bodies == ["the day's loss is 1.60 of 2.00 USDT (80 %); equity 8.40"]
        assert lab.beat("10:17") == []


def test_the_loss_limit_is_told_over_below_75_percent_only(lab):
    lab.stage.arm()
    book_fill(lab.stage, "BUY", "0.00001", "2.65")  # worth 1.00: lost 1.65
    assert lab.beat("10:16") == ["80 % of a loss limit is used"]
    lab.stage.market.set("BTCUSDT", "10:16", "110000.0")  # lost 1.55, 77.5 %
    assert lab.beat("10:17") == []
    lab.stage.market.set("BTCUSDT", "10:17", "120000.0")  # lost 1.45, 72.5 %
    assert lab.beat("10:18") == ["below 80 % of the loss limit"]


def test_while_a_price_is_missing_the_loss_limit_neither_begins_nor_ends(lab):
    lab.stage.arm()
    book_fill(lab.stage, "BUY", "0.00001", "2.65")
    lab.beat("10:16")
    lab.stage.simulator.faults.add("missing_minute", symbol="BTCUSDT")
    assert lab.stage.beat("10:17").equity is None
    assert lab.beat("10:17") == []


def test_a_missed_tick_and_the_one_that_ran_after_it(lab):
    lab.stage.arm()
    lab.stage.tick("10:15")
    assert lab.beat("10:30:30") == []
    assert lab.beat("10:31:03") == ["a tick was missed"]
    assert lab.bodies == ["tick 20261122T1030Z was missed"]
    lab.stage.tick("10:45")
    assert "ticks run again" in lab.beat("10:46")


def test_two_failed_ticks_in_a_row(lab, monkeypatch):
    lab.stage.arm()

    def broken(*_, **__):
        raise NotebookFailed("tick.ipynb: the kernel died")

    works = tick.run_notebook
    monkeypatch.setattr(tick, "run_notebook", broken)
    lab.stage.tick("10:15")
    assert "ticks fail" not in lab.beat("10:16")
    lab.stage.tick("10:30")
    assert "ticks fail" in lab.beat("10:31")
    assert (
        "2 in a row, the last 20261122T1030Z: NOTEBOOK_FAILED, tick.ipynb: the kernel died"
        in lab.bodies
    )
    monkeypatch.setattr(tick, "run_notebook", works)
    lab.stage.tick("10:45")
    assert "ticks succeed again" in lab.beat("10:46")


def test_data_that_rules_refuse_for_two_ticks(lab):
    rise(lab.stage)
    lab.stage.arm()
    lab.stage.simulator.faults.add("nan", symbol="BTCUSDT")
    lab.stage.tick("10:15")
    assert lab.beat("10:16") == []
    lab.stage.tick("10:30")
    assert "trouble with the data" in lab.beat("10:31")
    text = next(body for body in lab.bodies if "two ticks in a row" in body)
    assert text.startswith("two ticks in a row: BTCUSDT DATA_INVALID, ")
    lab.stage.simulator.faults.clear()
    lab.stage.tick("10:45")
    assert "the data are well again" in lab.beat("10:46")


def test_an_exchange_that_does_not_answer_is_told_at_the_second_beat(lab):
    lab.stage.arm()
    lab.beat("10:15")
    silent = VenueUnavailable("time: no answer within 10 s")
    assert lab.failed_beat(silent, 60) == []
    assert lab.failed_beat(silent, 120) == ["trouble with the data"]
    assert lab.bodies == ["time: no answer within 10 s"]
    assert lab.failed_beat(silent, 180) == []
    assert lab.beat("10:19") == [
        "the data are well again"
    ]  # and not that the watch was away as well


def test_one_beat_that_fails_is_no_trouble(lab):
    lab.stage.arm()
    lab.beat("10:15")
    assert lab.failed_beat(VenueUnavailable("x"), 60) == []
    assert lab.beat("10:17") == []
    assert lab.failed_beat(VenueUnavailable("x"), 60) == []


def test_a_stop_is_told_while_the_exchange_is_silent(lab):
    lab.stage.arm()
    lab.beat("10:15")
    gate.stop(lab.stage.home, "enough", "the owner")
    assert lab.failed_beat(VenueUnavailable("x"), 60) == ["STOPPED"]


@pytest.mark.parametrize(
    "error, after_s, title",
    [
        (StoreError("ledger: cannot be opened"), 60, "trouble with the ledger"),
        (DomainError("settings.toml: unknown key"), 240, "nobody watches"),
    ],
)
def test_beats_that_fail_for_another_cause_are_told_when_it_lasts(lab, error, after_s, title):
    lab.stage.arm()
    lab.beat("10:15")
    assert lab.failed_beat(error, 1) == []
    assert lab.failed_beat(error, after_s) == [title]
    assert str(error) in lab.bodies[0]


Usage = namedtuple("Usage", "total used free")


def test_the_disk_is_told_when_it_gets_full_and_when_it_is(lab, monkeypatch):
    lab.stage.arm()
    found = []
    for at, free_mb in [
        ("10:15", 410),
        ("10:16", 390),
        ("10:17", 430),
        ("10:18", 199),
        ("10:19", 451),
    ]:
        usage = Usage(10**12, 0, free_mb * 1_000_000)
        monkeypatch.setattr(gate.shutil, "disk_usage", lambda _, usage=usage: usage)
        found.append(lab.beat(at))
    full = ["the disk is nearly full"]
    assert found == [[], full, [], full, ["the disk has room again"]]


@pytest.mark.parametrize(
    "offset_ms, text",
    [
        (500, None),
        (501, "this machine is 501 ms ahead of the exchange, more than 500"),
        (-750, "this machine is 750 ms behind the exchange, more than 500"),
    ],
)
def test_a_clock_that_is_off(lab, offset_ms, text):
    lab.stage.arm()
    lab.stage.desk.assume_clock_offset(offset_ms)
    assert lab.beat("10:15") == ([] if text is None else ["the clock is off"])
    assert lab.bodies == ([] if text is None else [text])


def test_a_watch_that_was_away_is_told_by_the_beat_that_is_back(lab):
    lab.stage.arm()
    lab.beat("10:15")
    assert lab.beat("10:18") == []  # 180 s, as long as the lease
    assert lab.beat("10:21:01") == ["the watch was away"]
    assert lab.bodies == ["no beat from 2026-11-22T10:18:00Z to 2026-11-22T10:21:01Z, 3 min"]


def test_beats_that_were_not_followed_by_a_look_count(lab):
    lab.stage.arm()
    lab.beat("10:15")
    for minute in range(16, 25):
        lab.stage.beat(f"10:{minute}")  # as `tgtqr tick` gives them on its way
    assert lab.beat("10:25") == []


def test_a_watch_that_cannot_mark_what_is_held_is_none(lab):
    rise(lab.stage)
    lab.stage.arm()
    lab.stage.tick("10:15")
    lab.beat("10:16")
    lab.stage.simulator.faults.add("missing_minute", symbol="BTCUSDT")
    assert [lab.beat(f"10:{minute}") for minute in (17, 18, 19)] == [[], [], []]
    assert lab.beat("10:20") == ["nobody watches"]
    assert "the last good beat was at 2026-11-22T10:16:00Z, 4 min ago" in lab.bodies[0]
    lab.stage.simulator.faults.clear()
    assert lab.beat("10:21") == ["the watch is back"]


def test_a_tick_tells_that_nobody_watches(lab):
    lab.stage.arm()
    lab.beat("10:16")
    lab.stage.tick("10:15")
    alerting.after_tick(lab.stage.desk)
    assert lab.fresh() == []
    lab.stage.tick("10:30")
    alerting.after_tick(lab.stage.desk)
    assert lab.fresh() == ["nobody watches"]
    assert lab.beat("10:31")[-1:] == ["the watch is back"]


def test_a_ledger_that_lost_rows_its_witness_has_seen(lab):
    lab.stage.arm()
    lab.beat("10:15")
    whole = lab.stage.home.witness.read_text()
    lab.stage.home.witness.write_text(f"999 {'a' * 64}\n")
    assert lab.beat("10:16") == ["trouble with the ledger"]
    assert "its witness has seen event 999" in lab.bodies[0]
    lab.stage.home.witness.write_text(whole)
    assert lab.beat("10:17") == ["the ledger is well again"]


def test_an_order_whose_outcome_is_unknown_and_an_account_that_disagrees(stage):
    stage.arm()
    inputs = stage.situation()
    assert list(conditions._account(inputs)) == []
    health = replace(
        inputs.health, unknown_orders=("one", "two"), account_problem="0.1 BTC more than booked"
    )
    found = list(conditions._account(replace(inputs, health=health)))
    assert [(one.code, one.text) for one in found] == [
        ("ORDER_UNKNOWN", "it is not known what came of two and 1 more"),
        ("ACCOUNT", "0.1 BTC more than booked"),
    ]


def test_an_output_with_a_secret_is_told_until_it_is_deleted(lab):
    lab.stage.arm()
    lab.beat("10:15")
    page = lab.stage.home.outputs / "page.html"
    page.write_text("x")
    where = leaks.quarantine(lab.stage.home, page, [leaks.Hit(page, "byte 0")])
    assert lab.beat("10:16") == ["a secret was in an output"]
    assert lab.bodies[0].startswith("page.html lies in outputs/quarantine/")
    assert lab.beat("10:17") == []
    where.unlink()
    assert lab.beat("10:18") == ["the quarantine is empty"]


def test_the_summary_of_a_day_is_made_once_after_00_05(lab):
    rise(lab.stage)
    lab.stage.arm()
    lab.stage.tick("10:15")
    lab.beat("10:16")
    lab.stage.beat("23:59:03")
    assert "2026-11-22" not in lab.beat("2026-11-23T00:04:59")
    assert lab.beat("2026-11-23T00:05") == ["2026-11-22"]
    assert lab.beat("2026-11-23T00:06") == []
    waiting = kept.read(lab.stage.home).queue[-1]
    title, body = summary.words(lab.stage.home, waiting)
    # bought 0.000009 at 100105.1 for 0.90094590, fee 0.00090095; worth 0.9009 at 100100.0
    assert title == "TGT QR: 2026-11-22, -0.0009 USDT"
    first, second = body.splitlines()
    assert first.startswith(
        "Equity 9.9991, day -0.0009, fees 0.0009 USDT; holds 0.000009 BTCUSDT; runway "
    )
    report = daily.of(lab.stage.home, "2026-11-22")
    assert f"runway {report.books[0].runway:.0f} days; ticks 1 done, " in first
    assert f"{report.counts['missed']} missed, 0 failed" in first
    assert second == "SUMMARY, home home, 2026-11-23 00:05 UTC"
    assert len(title) < 60


def test_a_day_without_ticks_has_a_summary_that_says_so(lab):
    lab.beat("10:15")
    assert lab.beat("2026-11-23T00:05")[-1:] == ["2026-11-22"]
    _, body = summary.words(lab.stage.home, kept.read(lab.stage.home).queue[-1])
    assert body.startswith(
        "Equity 10.0000, day +0.0000, fees 0.0000 USDT; holds nothing; runway unknown; "
        "ticks 0 done, 0 missed, 0 failed; now STOPPED\n"
    )


def test_a_summary_of_a_ledger_that_cannot_be_read_says_so(home):
    waiting = kept.Message(
        id=1, at_ms=0, code="SUMMARY", severity="info", title="", body="", day="2026-11-22"
    )
    title, body = summary.words(home, waiting)
    assert title == "TGT QR: 2026-11-22" and body.startswith("No figures: ledger ")


def test_after_the_first_address_no_old_day_is_summed_up(lab):
    assert lab.beat("2026-11-23T09:00") == []


@pytest.mark.parametrize("error", [OSError("odd"), ValueError("odd")])
def test_what_goes_wrong_in_a_look_is_told_in_the_log_alone(lab, monkeypatch, error):
    lab.stage.arm()

    def odd(*_):
        raise error

    monkeypatch.setattr(conditions, "after_beat", odd)
    assert lab.beat("10:15") == []
    assert "alert_trouble" in lab.stage.home.log.read_text()


def test_while_another_process_holds_the_state_a_look_is_left_out(lab):
    lab.stage.arm()
    with kept._lock(lab.stage.home.control / "alerts.lock", 0.0):
        seen = lab.stage.beat("10:15")
        alerting.after_beat(lab.stage.desk, seen)
    assert "alerts.lock is held by another process" in lab.stage.home.log.read_text()


def test_the_state_of_a_full_disk_is_an_error_that_is_told(lab, monkeypatch):
    lab.stage.arm()
    kept.path_of(lab.stage.home).mkdir()  # nothing can be written in its place
    alerting.after_beat(lab.stage.desk, lab.stage.beat("10:16"))
    assert "alerts.json" in lab.stage.home.log.read_text()
    with pytest.raises(TgtqrError):
        kept.read(lab.stage.home)


def test_moments_of_the_exchange_are_estimated_while_it_is_silent():
    state = kept.State(seen_ms=1_000_000, seen_host_ms=5_000)
    assert state.time_ms(65_000) == 1_060_000
    assert state.time_ms(1_000) == 1_000_000  # this machine's clock was set back
    assert kept.State().time_ms(7) == 7
