"""A beat hands its messages to a process of its own: no receiver, however bad, fails or delays it."""

import json
import threading
import time

import pytest

from tests.alert_receivers import http_receiver
from tests.stage import command
from tgtqr_lib import alerting, gate, journal, ledger
from tgtqr_lib.alerts import outbox, policy
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.alerts.messages import Condition
from tgtqr_lib.settings import load
from tgtqr_lib.up import running

pytestmark = pytest.mark.slow
DEAD = "json://127.0.0.1:9"  # nobody listens on the port of `discard`


@pytest.fixture
def receiver():
    with http_receiver() as found:
        yield found


@pytest.fixture
def senders(monkeypatch):
    """The real senders that were started, waited for at the end."""
    started, start = [], outbox.start

    def noted(*words):
        started.append(start(*words))
        return started[-1]

    monkeypatch.setattr(outbox, "start", noted)
    yield started
    for process in started:
        process.wait(60)


def write_env(home, text):
    path = home.root / ".env"
    path.write_text(f'TGTQR_ALERTS="{text}"\n')
    path.chmod(0o600)


def events(home):
    return [journal.read_line(line) for line in home.log.read_text("utf-8").splitlines()]


def names(home, *wanted):
    return [found["event"] for found in events(home) if found["event"] in wanted]


def until(true):
    """Wait until `true()`, a minute at most."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within a minute")


def a_beat(stage, text):
    seen = stage.beat(text)
    alerting.after_beat(stage.desk, seen)
    return seen


def test_a_receiver_that_hangs_holds_up_no_beat_and_gets_its_message_later(
    stage, receiver, senders
):
    receiver.mode = "hang"
    write_env(stage.home, receiver.url("topsecretpath", "?rto=60"))
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    a_beat(stage, "10:16")
    assert receiver.asked.wait(60)  # the sender waits for an answer from here on
    a_beat(stage, "10:17")
    a_beat(stage, "10:18")  # a minute was its pause, but it is still at work
    assert [m.minute_ms % 3_600_000 // 60_000 for m in ledger.marks(stage.desk.con, "paper-1")] == [
        13,
        15,
        16,
        17,
    ]
    assert names(stage.home, "beat", "alert", "alert_sent", "alert_not_sent") == [
        *["beat", "beat", "alert"],
        *["beat", "beat"],
    ]
    receiver.mode = "ok"
    receiver.released.set()
    for process in senders:
        process.wait(60)
    assert names(stage.home, "alert_not_sent") == ["alert_not_sent"]
    a_beat(stage, "10:20")
    senders[-1].wait(60)
    assert receiver.titles == ["STOPPED"]
    assert kept.read(stage.home).queue == []
    for path in (stage.home.log, kept.path_of(stage.home)):
        assert "topsecretpath" not in path.read_text()


@pytest.mark.parametrize("mode", ["500", "dead"])
def test_a_receiver_that_refuses_gets_its_message_when_it_is_well_again(
    stage, receiver, monkeypatch, mode
):
    # the sender works in this process, so that what follows a beat has an order
    monkeypatch.setattr(outbox, "start", lambda home, at_ms: outbox.deliver(home, at_ms, None))
    receiver.mode = mode
    write_env(stage.home, DEAD if mode == "dead" else receiver.url())
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    assert a_beat(stage, "10:16").stopped == "enough (by the owner)"
    receiver.mode = "ok"
    write_env(stage.home, receiver.url())
    assert a_beat(stage, "10:17").stopped == "enough (by the owner)"
    assert receiver.titles == ["STOPPED"]
    assert names(stage.home, "beat", "alert", "alert_sent", "alert_not_sent") == [
        *["beat", "beat", "alert", "alert_not_sent"],  # the first beat is that of the arming
        *["beat", "alert_sent"],
    ]


def test_a_single_beat_of_cron_ends_and_its_message_arrives_all_the_same(stage, receiver):
    receiver.mode = "hang"
    write_env(stage.home, receiver.url(query="?rto=60"))
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    done = stage.run("watch", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stopped"] == "enough (by the owner)"
    # it has ended, and the sender that it left behind has no answer yet
    assert names(stage.home, "alert_sent", "alert_not_sent") == []
    receiver.mode = "ok"
    if receiver.asked.is_set():  # too late for this sender: the next beat's has it
        receiver.released.set()
        until(lambda: kept.read(stage.home).sender_ms is None)
        stage.at("10:20")
        assert stage.run("watch", "--once").returncode == 0
    until(lambda: receiver.titles == ["STOPPED"])
    until(lambda: kept.read(stage.home).sender_ms is None)
    assert kept.read(stage.home).queue == []


def test_a_beat_that_fails_is_told_by_the_second_one(stage, receiver, monkeypatch):
    write_env(stage.home, receiver.url())
    stage.arm()
    a_beat(stage, "10:15")
    stage.simulator.faults.add("5xx")
    with kept.changing(stage.home) as state:
        state.trouble_ms = state.seen_ms - 60_000  # the first one failed a minute ago
    done = stage.run("watch", "--once", TGTQR_EXCHANGE_TIMEOUT_S="0.5")
    assert done.returncode == 4
    until(lambda: receiver.titles == ["trouble with the data"])
    assert "exchange" in receiver.got[0]["message"] or "time" in receiver.got[0]["message"]
    until(lambda: kept.read(stage.home).sender_ms is None)


def test_a_running_watch_tells_of_a_stop(stage, receiver, senders):
    write_env(stage.home, receiver.url())
    stage.arm()
    with running(stage.home, load(stage.home), ticks=False, told=lambda text: None):
        (stage.home.control / "STOP").touch()
        until(lambda: receiver.titles == ["STOPPED"])


def test_a_tick_that_finds_nobody_watching_can_wait_for_its_message(stage, receiver, senders):
    write_env(stage.home, receiver.url())
    stage.arm()
    stage.tick("10:30")
    alerting.after_tick(stage.desk, wait_s=60)
    assert receiver.titles == ["nobody watches"]


def test_many_processes_at_once_make_one_message(stage):
    found = [Condition("STOPPED", "enough", mark="1")]

    def look():
        with kept.changing(stage.home, 30.0) as state:
            policy.update(state, found, (), 1_795_348_800_000, "lab")

    threads = [threading.Thread(target=look) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [m.title for m in kept.read(stage.home).queue] == ["TGT QR: STOPPED"]


def test_a_sender_that_vanished_is_told(stage, receiver, monkeypatch):
    monkeypatch.setattr(outbox, "start", lambda home, at_ms: None)
    write_env(stage.home, receiver.url())
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    a_beat(stage, "10:16")
    with kept.changing(stage.home) as state:
        state.sender_ms = state.seen_ms  # it began, and nobody holds its lock
    with kept.sending(stage.home):
        a_beat(stage, "10:18")  # another one is at work
    assert names(stage.home, "alert_sender_lost") == []
    a_beat(stage, "10:20")
    assert names(stage.home, "alert_sender_lost") == ["alert_sender_lost"]


def test_without_an_address_a_beat_starts_nothing(stage, senders):
    stage.arm()
    gate.stop(stage.home, "enough", "the owner")
    a_beat(stage, "10:16")
    assert senders == [] and not kept.path_of(stage.home).exists()
    assert command(stage.home, "alert", "show").stdout.startswith("no address: TGTQR_ALERTS")
