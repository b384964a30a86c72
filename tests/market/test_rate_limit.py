"""Bybit's 600 requests in 5 s an address: counted always, enforced when asked for, in real seconds."""

import urllib.error
import urllib.request

import pytest

from tests.market.tables import Table, ask, at, flat
from tgtqr_lib.market.simulation import rate_limit
from tgtqr_lib.market.simulation.rate_limit import RateLimit
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

HOST_MS = 1_900_000_000_000


@pytest.fixture
def real_time(monkeypatch):
    """This machine's clocks, turned by hand: call it with seconds."""
    shown = [5_000_000_000]

    def pass_by(seconds: float) -> None:
        shown[0] += round(seconds * 1e9)

    monkeypatch.setattr(rate_limit.time, "monotonic_ns", lambda: shown[0])
    monkeypatch.setattr(rate_limit.time, "time_ns", lambda: HOST_MS * 1_000_000)
    return pass_by


def test_the_601st_request_of_a_window_is_refused(real_time):
    limit = RateLimit(enforced=True)
    taken = [limit.take("a") for _ in range(600)]
    assert all(one.allowed for one in taken)
    assert [one.left for one in taken[:2]] == [599, 598] and taken[-1].left == 0
    real_time(1.5)
    refused = limit.take("a")
    assert (refused.allowed, refused.left, refused.wait_ms) == (False, 0, 3500)
    assert limit.take("b").allowed  # an address of its own
    real_time(3.5)
    assert limit.take("a").left == 599  # a new window


def test_a_limit_that_is_not_enforced_counts_and_lets_pass(real_time):
    limit = RateLimit()
    taken = [limit.take("a") for _ in range(700)]
    assert all(one.allowed for one in taken)
    assert (taken[599].left, taken[699].left) == (0, 0)


def test_headers_say_how_much_is_left_and_when_a_client_may_come_again(real_time):
    limit = RateLimit(enforced=True)
    assert limit.take("a").headers(at(0)) == {
        "X-Bapi-Limit": "600",
        "X-Bapi-Limit-Status": "599",
        "X-Bapi-Limit-Reset-Timestamp": str(at(0)),
    }
    for _ in range(599):
        limit.take("a")
    # clients hold the time of the reset against their own clock, so it is this machine's
    assert limit.take("a").headers(at(0))["X-Bapi-Limit-Reset-Timestamp"] == str(HOST_MS + 5000)


def headers_of(url: str) -> tuple[int, dict[str, str], str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def test_it_is_off_unless_asked_for_and_switched_by_request(monkeypatch, real_time):
    monkeypatch.setattr(rate_limit, "REQUESTS", 3)
    with running(Table(flat(0, 1000)), SimulatorClock(at(0, 3), rate=0)) as simulator:
        url, control = f"{simulator.url}/v5/market/time", f"{simulator.url}/simulator/limit"
        left = []
        for _ in range(5):
            status, headers, _ = headers_of(url)
            assert status == 200
            assert headers["X-Bapi-Limit-Reset-Timestamp"] == str(at(0, 3))
            left.append(headers["X-Bapi-Limit-Status"])
        assert left == ["2", "1", "0", "0", "0"]
        assert ask(control, {"enforce": True})[1]["rate_limit"] is True
        status, headers, body = headers_of(url)
        assert (status, body) == (403, "403, access too frequent")
        assert headers["X-Bapi-Limit-Reset-Timestamp"] == str(HOST_MS + 5000)
        assert ask(f"{simulator.url}/simulator/state")[0] == 200  # controls are not counted
        simulator.clock.step(3600)  # an hour of the exchange is no second of this machine
        assert headers_of(url)[0] == 403
        real_time(5)
        assert headers_of(url)[0] == 200
        assert ask(control, {"enforce": False})[1]["rate_limit"] is False
        for body in ({"enforce": 1}, {"on": True}, {}):
            assert ask(control, body)[0] == 400


def test_it_can_be_on_from_the_start(monkeypatch, real_time):
    monkeypatch.setattr(rate_limit, "REQUESTS", 1)
    with running(Table(flat(0, 1000)), SimulatorClock(at(0)), rate_limit=True) as simulator:
        url = f"{simulator.url}/v5/market/time"
        assert [headers_of(url)[0] for _ in range(2)] == [200, 403]
