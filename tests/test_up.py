"""Scheduler and watch in the foreground: by the exchange's clock, ended cleanly, started where it was."""

import json
import random
import signal
import subprocess
import time

import pytest

from tests.stage import PROJECT, TGTQR, command, environment
from tgtqr_lib import ledger, settings
from tgtqr_lib.home import Home
from tgtqr_lib.up import running

pytestmark = pytest.mark.slow


def armed_home(folder, seed: int = 1) -> Home:
    home = Home(folder).make()
    home.settings.write_text(f"[simulator]\nseed = {seed}\n", "utf-8")
    assert command(home, "watch", "--once", "--at", "2025-06-01T00:10:03").returncode == 0
    assert command(home, "arm", "--reason", "a test").returncode == 0
    return home


@pytest.fixture
def go_up():
    """Brings a home up in a process of its own; none is left when the test ends, however it ends."""
    started = []

    def start(home: Home, rate: int = 60) -> subprocess.Popen:
        started.append(up_process(home, rate))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def up_process(home: Home, rate: int) -> subprocess.Popen:
    return subprocess.Popen(
        [*TGTQR, "up", "--rate", str(rate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(home),
        cwd=PROJECT,
    )


def wait_for_claims(home: Home, count: int) -> None:
    """Until so many ticks are claimed; two minutes at most."""
    for _ in range(1200):
        con = ledger.connect(home.ledger, create=False)
        claimed = [r for r in ledger.of_kind(con, "claim")]
        con.close()
        if len(claimed) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {count} ticks were claimed")


def states(home: Home) -> dict[str, list[str]]:
    """Every tick of the ledger and its final states."""
    con = ledger.connect(home.ledger, create=False)
    found: dict[str, list[str]] = {}
    for row in ledger.of_kind(con, "claim", "tick"):
        found.setdefault(row.body["tick_id"], [])
        if row.key.endswith("/final"):
            found[row.body["tick_id"]].append(row.body["state"])
    con.close()
    return found


def verified(home: Home) -> bool:
    done = command(home, "ledger", "verify", "--json")
    return json.loads(done.stdout)["ok"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_tick_lets_it_end(tmp_path, go_up, number):
    home = armed_home(tmp_path / "home")
    process = go_up(home)
    wait_for_claims(home, 1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert out.rstrip().endswith("ended")
    assert all(len(ended) == 1 for ended in states(home).values())
    assert {state for ended in states(home).values() for state in ended} <= {"done", "refused"}
    assert verified(home)


def test_killed_at_random_and_started_again_no_tick_runs_twice_and_none_is_without_a_state(
    tmp_path, go_up
):
    home, chance = armed_home(tmp_path / "home"), random.Random(20)
    for _ in range(6):
        process = go_up(home)
        time.sleep(chance.uniform(1.0, 8.0))
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate(timeout=60)
    before = len(states(home))
    process = go_up(home)
    wait_for_claims(home, 1)
    wait_for_more = time.monotonic() + 90
    while len(states(home)) <= before and time.monotonic() < wait_for_more:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert len(states(home)) > before
    assert all(len(ended) == 1 for ended in states(home).values())
    assert verified(home)


def test_at_five_past_midnight_the_day_that_ended_has_its_report(tmp_path, go_up):
    home = armed_home(tmp_path / "home")
    assert command(home, "tick", "--at", "2025-06-01T00:15", timeout_s=120).returncode == 0
    assert command(home, "watch", "--once", "--at", "2025-06-02T00:03:03").returncode == 0
    process = go_up(home)
    said, end = [], time.monotonic() + 150
    while time.monotonic() < end and not any("report of" in line for line in said):
        said.append(process.stdout.readline())
    page = home.outputs / "reports" / "daily-2025-06-01.html"
    assert f"report of 2025-06-01: {page}\n" in said and page.is_file()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (home.control / "reported.day").read_text() == "2025-06-01\n"
    assert verified(home)


def test_two_schedulers_at_once_are_refused(tmp_path, go_up):
    home = armed_home(tmp_path / "home")
    first = go_up(home, rate=1)
    assert "scheduler and watch" in first.stdout.readline()
    second = command(home, "up", "--rate", "1")
    assert second.returncode == 75 and "another scheduler is running" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_a_running_watch_sees_a_stop_within_a_second_or_two_and_sells(stage, monkeypatch):
    """The stage's clock stands, so nothing but the look at the gate can have caused the sale."""
    stage.arm("10:14")
    stage.market.set("BTCUSDT", "10:14", "100100.0")
    assert stage.tick("10:15").acts[0].result == "FILLED"
    stage.at("10:16:03")
    told = []
    with running(stage.home, settings.load(stage.home), ticks=False, told=told.append):
        assert stage.held() == {"BTCUSDT": "0.000009"}
        (stage.home.control / "STOP").touch()
        for _ in range(100):
            if not stage.held():
                break
            time.sleep(0.1)
    assert stage.held() == {}
    assert any(text.startswith("STOPPED") for text in told)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "1e9"])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    done = command(Home(tmp_path / "home").make(), "up", "--rate", rate)
    assert done.returncode == 2 and "--rate" in done.stderr
