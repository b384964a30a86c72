"""Preflight of an account that trades: ledger and exchange are compared as the gate compares them.

The tick of 10:15 buys 94 lots of BTC for 9.4098794 USDT on the demo account, as `tests/test_orders.py` works out.
"""

import json

import pytest

from tests.preflight.lab import in_state
from tests.stage import rise
from tgtqr_lib import cli

KEYS_OF_ANY_ADDRESS = {"key_address"}  # the stage's key, which preflight warns of


@pytest.fixture
def looked(capsys, crontab):
    """What each check says of the stage's home; with it its exit code."""

    def look(stage):
        code = cli.main(["preflight", "--json", "--home", str(stage.home.root), "--memory-mb", "1"])
        found = json.loads(capsys.readouterr().out)["checks"]
        return code, {one["name"]: one for one in found}

    return look


def bought(stage):
    rise(stage)
    stage.arm()
    return stage.tick("10:15")


def troubles(found):
    """What warns and fails, but for what the stage never has: a schedule, alerts, a bound key."""
    return in_state(found, "warn", "fail") - KEYS_OF_ANY_ADDRESS - {"schedule", "alerts"}


def test_coins_from_before_the_kit_are_warned_of_until_the_first_tick_notes_them(
    account_stage, looked
):
    # the account holds 1000 USDT and 0.5 BTC
    code, found = looked(account_stage)
    assert troubles(found) == {"coins"} and code == 0
    assert found["coins"]["detail"] == "the account holds 0.5 BTC that the ledger does not know"
    assert found["account"]["detail"].startswith("a demo account with 100.00 USDT begins")
    account_stage.arm()
    code, found = looked(account_stage)
    assert troubles(found) == set() and code == 0
    assert found["coins"]["detail"] == "the account holds what the ledger says"
    assert found["account"]["detail"] == "demo-1, as the settings say"


def test_a_bought_position_is_known_and_needs_less_money(account_stage, looked):
    assert bought(account_stage).acts[0].result == "FILLED"
    code, found = looked(account_stage)
    assert troubles(found) == set() and code == 0
    # two positions of 10.00, less the 9.4098794 that one has cost; 1000 less as much are free
    expected = "990.59 USDT are free; the limits let it buy for 10.59 more"
    assert found["balance"]["detail"] == expected


def test_what_somebody_else_trades_is_named_as_the_gate_names_it(account_stage, looked):
    bought(account_stage)
    account_stage.by_hand("Sell", "0.1", "99900", "by-hand-1")
    code, found = looked(account_stage)
    assert troubles(found) == {"coins"} and code == 4
    account_stage.beat("10:16:03")
    state, reason = account_stage.state()
    assert (state, reason) == ("REDUCING", "ACCOUNT_TROUBLE")
    assert found["coins"]["detail"] == account_stage.sentence()
    assert "tgtqr account accept" in found["coins"]["do"]


def test_an_order_whose_outcome_is_open_leaves_the_comparison_for_later(account_stage, looked):
    for path in ("/v5/order/create", "/v5/order/realtime", "/v5/order/history"):
        account_stage.fault("10016", endpoint=path)
    bought(account_stage)
    assert len(account_stage.unknown()) == 1
    account_stage.well()
    code, found = looked(account_stage)
    assert code == 0 and found["coins"]["state"] == "skip"
    assert "the outcome of 1 order is open" in found["coins"]["detail"]


def test_another_account_than_the_ledgers_is_named(account_stage, looked):
    bought(account_stage)
    account_stage.scale = "20"
    account_stage.configure("")
    code, found = looked(account_stage)
    assert "account" in troubles(found) and code == 2
    assert "demo at scale 20" in found["account"]["detail"]
    assert "demo-1, demo at scale 10" in found["account"]["detail"]
