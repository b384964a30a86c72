"""The market of the settings: the embedded simulator's time lives in the home, and only goes forward."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.stage import moment
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.market.embedded import open_market
from tgtqr_lib.settings import load


def shown(home) -> str:
    return json.loads((home.data / "simulator.json").read_text())["time"]


def test_a_fresh_clock_starts_just_after_this_machines_latest_quarter_hour(home):
    with open_market(home, load(home)) as (exchange, clock):
        assert not clock.started
        now = exchange.time()
        assert (now.minute % 15, now.second) == (0, 3)
        assert (
            timedelta(0) <= datetime.now(UTC) - now + timedelta(seconds=3) <= timedelta(minutes=16)
        )


def test_the_clock_stands_between_commands_and_is_kept(home):
    with open_market(home, load(home)) as (_, clock):
        clock.move_to(moment("10:15:03"))
    assert shown(home) == "2026-11-22T10:15:03Z"
    with open_market(home, load(home)) as (exchange, clock):
        assert clock.started and clock.now() == exchange.time() == moment("10:15:03")
        clock.move_to(moment("10:15:03"))  # standing still is not going back
        with pytest.raises(DomainError, match="it cannot go back to 2026-11-22T10:15:02Z"):
            clock.move_to(moment("10:15:02"))
        assert exchange.time() == moment("10:15:03")


@pytest.mark.parametrize("content", ["", "{", "{}", '{"time": 5}', '{"time": "noon"}', "[]"])
def test_a_clock_that_cannot_be_read_says_what_to_do(home, content):
    (home.data / "simulator.json").write_text(content)
    text = (
        "simulator.json: the simulator's clock is not readable .*; delete the file to start it anew"
    )
    with pytest.raises(StoreError, match=text), open_market(home, load(home)):
        pass


def test_the_seed_of_the_settings_makes_the_market(home):
    closes = {}
    for seed in (1, 1, 2):
        home.settings.write_text(f"[simulator]\nseed = {seed}\n")
        with open_market(home, load(home)) as (exchange, clock):
            clock.move_to(moment("10:15:03"))
            closes.setdefault(seed, set()).add(exchange.close_at("BTCUSDT", moment("10:14")))
    assert len(closes[1]) == 1 and closes[1] != closes[2]


def test_the_spread_of_the_settings_is_served(home):
    home.settings.write_text("[simulator]\nspread_bps = '20'\n")
    with open_market(home, load(home)) as (exchange, clock):
        clock.move_to(moment("10:15:03"))
        quote = exchange.quote("BTCUSDT")
    assert 19 < (quote.ask - quote.bid) / quote.mid * 10_000 < 21


def test_a_running_simulator_and_bybit_have_clocks_of_their_own(home):
    home.settings.write_text('[simulator]\nurl = "http://127.0.0.1:9"\n')
    with open_market(home, load(home)) as (exchange, clock):
        assert (clock, exchange.host, exchange.simulated) == (None, "http://127.0.0.1:9", True)
    home.settings.write_text('market = "bybit"\n')
    with open_market(home, load(home)) as (exchange, clock):
        assert (clock, exchange.host, exchange.simulated) == (None, "https://api.bybit.com", False)


def test_the_embedded_simulator_ends_with_its_command(home):
    with open_market(home, load(home)) as (exchange, _):
        url = exchange.host
    with open_market(home, load(home)) as (exchange, _):
        assert exchange.host != url or exchange.time()
