"""A post-mortem after every stop: once, beside the work, again when it failed, and never in a beat's way."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from tests.stage import rise
from tgtqr_lib import after_stop, cli, gate, settings
from tgtqr_lib.desk import one_at_a_time

TICK = "20261122T1015Z"
# what stands in for the report: writes the page that is named after it, or fails
WRITES = (
    "import pathlib, sys; page = pathlib.Path(sys.argv[1]); "
    "page.parent.mkdir(parents=True, exist_ok=True); page.write_text('x')"
)
FAILS = "raise SystemExit(1)"


@pytest.fixture
def at_work(stage, monkeypatch):
    """A stage whose stops are looked back at, by a program that stands in for the report."""
    monkeypatch.setenv("TGTQR_POST_MORTEM_AFTER_STOP", "true")
    stage.desk.settings = settings.load(stage.home)
    report(monkeypatch, WRITES)
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    return stage


def report(monkeypatch, program: str) -> None:
    monkeypatch.setattr(
        after_stop,
        "command",
        lambda home, tick: [sys.executable, "-c", program, str(after_stop.page_of(home, tick))],
    )


def beat(stage, at: str) -> None:
    """A beat as the commands give it."""
    after_stop.look(stage.desk, stage.beat(at).stopped)


def marker(stage) -> dict:
    path = stage.home.control / "post_mortem.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def until_it_ended(stage) -> None:
    """Until the newest try is over."""
    end = time.monotonic() + 30
    while after_stop._runs(after_stop._read(stage.home)):
        assert time.monotonic() < end, "it never ended"
        time.sleep(0.02)


def told(stage) -> list[str]:
    """What the journal says of it: states and tries."""
    lines = [
        line for line in stage.home.log.read_text("utf-8").splitlines() if " post_mortem " in line
    ]
    return [line.split("state=")[1].split(" tick=")[0].strip('"') for line in lines]


def test_a_stop_that_has_sold_gets_one(at_work):
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")
    until_it_ended(at_work)
    beat(at_work, "10:21:03")

    assert at_work.held() == {}
    assert after_stop.page_of(at_work.home, TICK).is_file()
    assert told(at_work) == ["started", "written"]
    (stop,) = [row for row in at_work.events("gate") if row.body["what"] == "stopped"]
    known = marker(at_work)
    assert (known["stop"], known["tick"], known["ended"]) == (stop.seq, TICK, "written")


def test_never_a_second_time_for_the_same_stop(at_work):
    gate.stop(at_work.home, "enough", "the owner")
    for at in ("10:20:03", "10:21:03", "10:22:03", "10:23:03"):
        beat(at_work, at)
        until_it_ended(at_work)
    gate.stop(at_work.home, "once more", "the owner")  # it is stopped already
    beat(at_work, "10:24:03")
    after_stop.page_of(at_work.home, TICK).unlink()  # somebody tidied up
    beat(at_work, "10:25:03")

    assert told(at_work) == ["started", "written"]


def test_one_that_is_under_way_is_waited_for(at_work, monkeypatch):
    report(monkeypatch, f"import time; time.sleep(1.5); {WRITES}")
    gate.stop(at_work.home, "enough", "the owner")
    began = time.monotonic()
    beat(at_work, "10:20:03")
    assert time.monotonic() - began < 1.4  # nothing waits for it
    beat(at_work, "10:21:03")
    assert told(at_work) == ["started"]
    until_it_ended(at_work)
    beat(at_work, "10:22:03")
    assert told(at_work) == ["started", "written"]


def test_a_report_asked_for_meanwhile_says_to_wait(at_work, monkeypatch, capsys):
    report(monkeypatch, f"import time; time.sleep(30); {WRITES}")
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")
    words = ["report", "--post-mortem", "stop", "--home", str(at_work.home.root)]
    reports = at_work.home.outputs / "reports"
    reports.mkdir(exist_ok=True)
    with one_at_a_time(reports / ".post_mortem.lock", "post-mortem"):  # as the real one holds it
        assert cli.main(words) == 75
        said = capsys.readouterr().err
        assert f"the post-mortem of tick {TICK} is being written by itself" in said
        assert f"wait some seconds, then it is {after_stop.page_of(at_work.home, TICK)}" in said

        os.kill(marker(at_work)["pid"], signal.SIGKILL)
        until_it_ended(at_work)
        assert cli.main(words) == 75
        assert "another post-mortem is being written; wait some seconds" in capsys.readouterr().err


def test_while_something_is_held_it_waits(at_work):
    gate.stop(at_work.home, "enough", "the owner")
    after_stop.look(at_work.desk, "enough")  # before any beat could sell

    assert at_work.held() and marker(at_work) == {}


def test_one_that_fails_is_tried_three_times_and_then_given_up(at_work, monkeypatch):
    report(monkeypatch, FAILS)
    gate.stop(at_work.home, "enough", "the owner")
    for minute in range(20, 28):
        beat(at_work, f"10:{minute}:03")
        until_it_ended(at_work)

    assert told(at_work) == ["started", "failed", "started", "failed", "started", "given up"]
    assert marker(at_work)["tries"] == 3


def test_the_next_stop_gets_its_own_also_at_the_same_tick(at_work):
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")
    until_it_ended(at_work)
    beat(at_work, "10:21:03")
    first = marker(at_work)["stop"]
    at_work.arm("10:22:03")
    beat(at_work, "10:23:03")
    gate.stop(at_work.home, "again", "the owner")
    beat(at_work, "10:24:03")
    until_it_ended(at_work)
    beat(at_work, "10:25:03")

    assert told(at_work) == ["started", "written", "started", "written"]
    assert marker(at_work)["stop"] > first and marker(at_work)["tick"] == TICK


def test_a_page_of_an_earlier_stop_is_not_taken_for_the_new_one(at_work, monkeypatch):
    page = after_stop.page_of(at_work.home, TICK)
    page.parent.mkdir(parents=True)
    page.write_text("of another stop")
    report(monkeypatch, FAILS)
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")
    until_it_ended(at_work)
    beat(at_work, "10:21:03")

    assert told(at_work) == ["started", "failed", "started"]


def test_before_the_first_tick_there_is_nothing_to_look_at(stage, monkeypatch):
    monkeypatch.setenv("TGTQR_POST_MORTEM_AFTER_STOP", "true")
    stage.desk.settings = settings.load(stage.home)
    report(monkeypatch, WRITES)
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    beat(stage, "10:16:03")
    beat(stage, "10:17:03")

    assert told(stage) == ["no tick"]


def test_an_armed_kit_a_new_home_and_one_that_wants_none_get_none(at_work, monkeypatch):
    beat(at_work, "10:20:03")
    assert marker(at_work) == {}
    monkeypatch.setenv("TGTQR_POST_MORTEM_AFTER_STOP", "false")
    at_work.desk.settings = settings.load(at_work.home)
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:21:03")
    assert marker(at_work) == {}


def test_a_beat_by_itself_starts_nothing(at_work):
    gate.stop(at_work.home, "enough", "the owner")
    at_work.beat("10:20:03")

    assert marker(at_work) == {}


@pytest.mark.parametrize("content", ["", "{", '{"stop": 1, "other": 2}', "[]", "\x00"])
def test_a_damaged_marker_is_written_anew(at_work, content):
    (at_work.home.control / "post_mortem.json").write_text(content)
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")

    assert told(at_work) == ["started"] and marker(at_work)["tries"] == 1


def test_what_goes_wrong_is_told_and_harms_no_beat(at_work, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(after_stop, "_write", full)
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")

    assert "post_mortem_trouble" in at_work.home.log.read_text("utf-8")
    assert told(at_work) == []  # nothing was started that no marker knows of


def test_it_has_the_lowest_priority(at_work, monkeypatch):
    writes = WRITES.replace("'x'", "str(os.nice(0))")
    program = f"import os, time; time.sleep(0.5); {writes}"
    report(monkeypatch, program)
    gate.stop(at_work.home, "enough", "the owner")
    beat(at_work, "10:20:03")
    until_it_ended(at_work)

    assert after_stop.page_of(at_work.home, TICK).read_text() == "19"


@pytest.mark.slow
def test_watch_once_as_cron_calls_it_leaves_the_report_behind(real_stage):
    stage = real_stage
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage.at("10:20:03")
    assert stage.run("stop", "--reason", "enough").returncode == 0

    done = stage.run("watch", "--once", TGTQR_POST_MORTEM_AFTER_STOP="true")

    assert done.returncode == 0 and "safety sale FILLED" in done.stdout
    page = after_stop.page_of(stage.home, TICK)
    end = time.monotonic() + 180
    while not page.is_file():
        assert after_stop._runs(after_stop._read(stage.home)) or page.is_file(), "it failed"
        assert time.monotonic() < end
        time.sleep(0.2)
    text = page.read_text("utf-8")
    assert "by the command line: enough" in text and "-BTC-X" in text
    until_it_ended(stage)
    assert stage.run("watch", "--once", TGTQR_POST_MORTEM_AFTER_STOP="true").returncode == 0
    assert told(stage) == ["started", "written"]
