"""The exchange's clock between two questions."""

from datetime import UTC, datetime, timedelta

import pytest

from tgtqr_lib.domain import VenueUnavailable
from tgtqr_lib.market import exchange_clock
from tgtqr_lib.market.exchange_clock import ExchangeClock

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Machine:
    """A monotonic clock that goes when told, and an exchange that goes `rate` times as fast."""

    def __init__(self, rate: float) -> None:
        self.s, self.rate, self.asked, self.away = 100.0, rate, 0, False

    def ask(self) -> datetime:
        if self.away:
            raise VenueUnavailable("nobody answers")
        self.asked += 1
        return START + timedelta(seconds=(self.s - 100.0) * self.rate)


@pytest.fixture(params=[1.0, 60.0, 0.0])
def machine(request, monkeypatch):
    found = Machine(request.param)
    monkeypatch.setattr(exchange_clock.time, "monotonic", lambda: found.s)
    monkeypatch.setattr(exchange_clock.time, "sleep", lambda s: setattr(found, "s", found.s + s))
    return found


def test_the_rate_is_measured(machine):
    assert ExchangeClock(machine.ask).rate == machine.rate


def test_between_questions_the_monotonic_clock_carries_it_on(machine):
    clock = ExchangeClock(machine.ask)
    asked = machine.asked
    machine.s += 10
    assert clock.now() == START + timedelta(seconds=10.5 * machine.rate)
    assert machine.asked == asked


def test_after_twenty_seconds_it_asks_again(machine):
    clock = ExchangeClock(machine.ask)
    asked = machine.asked
    machine.s += 21
    assert clock.now() == START + timedelta(seconds=21.5 * machine.rate)
    assert machine.asked == asked + 1


def test_the_wait_for_a_moment_is_in_seconds_of_this_machine(machine):
    clock = ExchangeClock(machine.ask)
    wait = clock.seconds_until(clock.now() + timedelta(seconds=120))
    assert wait == (pytest.approx(120 / machine.rate) if machine.rate else None)


def test_an_exchange_that_is_away_is_said_so(machine):
    clock = ExchangeClock(machine.ask)
    machine.away = True
    machine.s += 21
    with pytest.raises(VenueUnavailable):
        clock.now()


def test_a_clock_that_was_set_is_not_one_that_runs_faster(machine):
    clock = ExchangeClock(machine.ask)
    true_ask, hour = machine.ask, timedelta(hours=1)
    clock._ask = lambda: true_ask() + hour  # somebody set it an hour ahead
    machine.s += 21
    assert clock.now() == START + hour + timedelta(seconds=22.0 * machine.rate)
    assert (clock.jumps, clock.rate) == (1, machine.rate)
    machine.s += 21
    clock.now()
    assert clock.jumps == 1
