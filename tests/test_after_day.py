"""The report of a day is written once, after it, by a process of its own; trouble with it is told."""

import sys
import threading
import time

import pytest

from tests.stage import DAY, decide_without_a_kernel, moment, rise
from tgtqr_lib import after_day, tick
from tgtqr_lib.after_day import DayReports

NEXT = "2026-11-23"


@pytest.mark.parametrize(
    "at, day",
    [
        ("2026-11-23T00:04:59", "2026-11-21"),
        ("2026-11-23T00:05:00", DAY),
        ("2026-11-23T23:59:59", DAY),
    ],
)
def test_a_day_is_due_five_minutes_after_its_end(at, day):
    assert after_day.due(moment(at)) == day


@pytest.fixture
def ended(stage, monkeypatch):
    """A home with a tick on the stage's day, and commands that only note what they were asked."""
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    rise(stage)
    stage.arm("10:14")
    stage.tick("10:15")
    return stage


def says(monkeypatch, code: str) -> list[str]:
    """Let `code` run instead of the report; the days that were asked for."""
    asked = []

    def command(home, day):
        asked.append(day)
        return [sys.executable, "-c", code]

    monkeypatch.setattr(after_day, "command", command)
    return asked


def log(stage) -> str:
    return stage.home.log.read_text("utf-8")


def test_it_is_written_once_also_after_a_restart(ended, monkeypatch):
    asked, told = says(monkeypatch, "print('a.ipynb'); print('a.html')"), []
    jobs = DayReports(ended.home, told.append)
    jobs.look(moment(f"{DAY}T23:59:03"))
    assert asked == []  # the day before had no tick
    jobs.look(moment(f"{NEXT}T00:05:03"))
    jobs.look(moment(f"{NEXT}T00:06:03"))
    DayReports(ended.home, told.append).look(moment(f"{NEXT}T10:00:03"))
    assert asked == [DAY] and told == [f"report of {DAY}: a.html"]
    assert f"report day={DAY} page=a.html" in log(ended)


def test_one_that_was_left_out_is_made_up_for_at_the_next_start(ended, monkeypatch):
    asked = says(monkeypatch, "print('a.html')")
    DayReports(ended.home, print).look(moment(f"{NEXT}T10:00:03"))
    assert asked == [DAY]


def test_a_failure_is_told_logged_and_tried_again_only_after_a_restart(ended, monkeypatch):
    code = "import sys; sys.stderr.write('tgtqr report: no room\\n'); sys.exit(1)"
    asked, told = says(monkeypatch, code), []
    jobs = DayReports(ended.home, told.append)
    for minute in ("00:05:03", "00:06:03"):
        jobs.look(moment(f"{NEXT}T{minute}"))
    assert asked == [DAY] and told == [f"no report of {DAY}: no room"]
    assert 'trouble what=report day=2026-11-22 text="no room"' in log(ended)
    DayReports(ended.home, told.append).look(moment(f"{NEXT}T00:07:03"))
    assert asked == [DAY, DAY]


def test_a_program_that_is_not_there_is_told(ended, monkeypatch):
    monkeypatch.setattr(after_day, "command", lambda home, day: ["/nowhere/tgtqr"])
    told = []
    DayReports(ended.home, told.append).look(moment(f"{NEXT}T00:05:03"))
    assert told == [f"no report of {DAY}: it cannot be started (No such file or directory)"]


def test_ending_ends_a_report_that_is_being_written_and_begins_none(ended, monkeypatch):
    asked, told = says(monkeypatch, "import time; time.sleep(60)"), []
    jobs = DayReports(ended.home, told.append)
    work = threading.Thread(target=jobs.look, args=(moment(f"{NEXT}T00:05:03"),))
    began = time.monotonic()
    work.start()
    while jobs._process is None and time.monotonic() - began < 20:
        time.sleep(0.05)
    jobs.end()
    work.join(20)
    assert not work.is_alive() and time.monotonic() - began < 40
    assert told == [] and asked == [DAY]
    jobs.look(moment("2026-11-24T00:05:03"))
    assert asked == [DAY]


def test_the_command_is_the_kits_own_report_of_the_day(tmp_path):
    from tgtqr_lib.home import Home

    words = after_day.command(Home(tmp_path), DAY)
    assert words[:3] == [sys.executable, "-m", "tgtqr_lib.cli"]
    assert words[3:] == ["report", "--day", DAY, "--home", str(tmp_path)]
