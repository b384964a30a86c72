from datetime import UTC, datetime
from threading import Thread

import pytest

from tgtqr_lib.domain import DomainError
from tgtqr_lib.market import simulator_clock
from tgtqr_lib.market.simulator_clock import SimulatorClock, instant_ms

NOON = 1_748_779_200_000  # 2025-06-01T12:00Z, by `date -u -d 2025-06-01T12:00Z +%s`


@pytest.fixture
def real_time(monkeypatch):
    """The host's monotonic clock, turned by hand: call it with seconds."""
    shown = [5_000_000_000]

    def pass_by(seconds: float) -> None:
        shown[0] += round(seconds * 1e9)

    monkeypatch.setattr(simulator_clock.time, "monotonic_ns", lambda: shown[0])
    return pass_by


def test_a_clock_stands_where_it_is_put(real_time):
    clock = SimulatorClock("2025-06-01T12:00:00Z")
    real_time(3600)
    assert clock.now_ms() == NOON
    assert clock.rate == 0


def test_it_is_set_and_stepped(real_time):
    clock = SimulatorClock(NOON)
    clock.step(0.25)
    clock.step(60)
    assert clock.now_ms() == NOON + 60_250
    clock.set("2025-06-01T11:59:00Z")  # backwards too
    assert clock.now_ms() == NOON - 60_000


def test_it_runs_at_a_multiple_of_real_time(real_time):
    clock = SimulatorClock(NOON, rate=60)
    real_time(1.5)
    assert clock.now_ms() == NOON + 90_000
    clock.change(rate=2)  # goes on from where it is
    real_time(10)
    assert clock.now_ms() == NOON + 110_000
    clock.change(at=NOON, step_s=1, rate=0.5)
    real_time(10)
    assert clock.now_ms() == NOON + 6_000


def test_host_time_is_shown_only_when_asked_for(monkeypatch, real_time):
    monkeypatch.setattr(simulator_clock.time, "time_ns", lambda: NOON * 1_000_000)
    clock = SimulatorClock.host()
    real_time(7)
    assert clock.now_ms() == NOON + 7_000


@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": -1},
        {"at": 1.5},
        {"at": True},
        {"at": "9999-12-31T23:59:59-23:00"},
        {"step_s": -1},
        {"step_s": float("nan")},
        {"step_s": "60"},
        {"step_s": True},
        {"rate": -0.1},
        {"rate": float("inf")},
        {"rate": 10**400},
        {"at": "9998-12-31T23:59Z", "step_s": 120},
        {"at": NOON + 1, "rate": None, "step_s": -1},
    ],
)
def test_a_refused_change_changes_nothing(real_time, change):
    clock = SimulatorClock(NOON, rate=3)
    with pytest.raises(DomainError):
        clock.change(**change)
    assert (clock.now_ms(), clock.rate) == (NOON, 3)


def test_steps_from_many_threads_all_count(real_time):
    clock = SimulatorClock(NOON)

    def walk():
        for _ in range(500):
            clock.step(0.001)

    threads = [Thread(target=walk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_ms() == NOON + 8 * 500


def test_instants_are_text_or_milliseconds():
    expected = int(datetime(2025, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC).timestamp() * 1000)
    assert instant_ms("2025-06-01T12:00:00.250Z") == expected == instant_ms(expected)
    assert instant_ms("2025-06-01T14:00:00.250+02:00") == expected
