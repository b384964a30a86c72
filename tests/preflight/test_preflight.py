"""Preflight by its command line: a home in order passes, and ten broken states are named by their check alone."""

import pytest

from tests.preflight.lab import in_state
from tests.stage import files

OTHER_SECRET = "sAnotherSecret0000000000000000000002"
CLOSED = "http://127.0.0.1:9"  # the discard port, where nobody listens


# ---- all is well


def test_a_home_in_order_passes_and_nothing_is_changed(lab):
    before = files(lab.home.root)
    code, found = lab.look()
    assert in_state(found, "warn", "fail") == set()
    assert code == 0
    # a container has neither chrony nor systemd; everything else was really looked at
    assert in_state(found, "skip") <= {"time_sync"}
    assert files(lab.home.root) == before


def test_what_is_legal_and_what_is_not_is_said_plainly(lab):
    assert lab.look()[1]["smallest_order"]["detail"].startswith("9.50 USDT at scale 10 is legal")
    lab.scale = "1"
    lab.settings()
    detail = lab.look()[1]["smallest_order"]["detail"]
    assert detail == "1.00 USDT cannot be traded on Bybit: spot needs 5.00"


# ---- ten broken states


def unreachable(lab):
    lab.url, lab.patience_s = CLOSED, 1
    lab.settings()


def refused_by_region(lab):
    lab.simulator.faults.add("403")


def clock_off(lab):
    lab.simulator.faults.add("clock_ahead", seconds=10)


def wrong_secret(lab):
    lab.env(secret=OTHER_SECRET)


def key_of_another_environment(lab):
    lab.key(environment="testnet")


def expired_key(lab):
    lab.key(expires_at="2025-01-01T00:00:00Z")


def read_only_key(lab):
    lab.key(read_only=True)


def key_that_withdraws(lab):
    lab.key(permissions=["SpotTrade", "Withdraw"])


def balance_too_small(lab):
    # the kit's account begins with 10.00 x 10
    lab.accounts.open("another-key-0001", "x" * 20, balances={"USDT": "99.99"}, name="small")
    lab.key(name="small")


def too_small_for_the_exchange(lab):
    lab.scale = "1"
    lab.settings()


TEN = {
    unreachable: ("exchange", 4, "no usable answer"),
    refused_by_region: ("region", 4, "403"),
    clock_off: ("clock", 1, "behind the exchange"),
    wrong_secret: ("key_valid", 2, "secret"),
    key_of_another_environment: ("key_valid", 2, "a demo key is not a testnet key"),
    expired_key: ("key_expiry", 2, "expired"),
    read_only_key: ("key_may_trade", 2, "read-only"),
    key_that_withdraws: ("key_cannot_withdraw", 2, "Withdraw"),
    balance_too_small: ("balance", 4, "99.99 USDT"),
    too_small_for_the_exchange: ("smallest_order", 2, "1.00 USDT cannot be traded on Bybit"),
}


def check_named(looked, broken):
    """Exit code and findings name what was broken, and nothing else."""
    (code, found), (name, expected_code, words) = looked, TEN[broken]
    assert in_state(found, "warn", "fail") == {name}
    assert found[name]["state"] == "fail"
    assert words in found[name]["detail"]
    assert code == expected_code


@pytest.mark.parametrize("broken", TEN, ids=lambda one: one.__name__)
def test_each_of_ten_broken_states_is_named_by_its_check_alone(lab, broken):
    broken(lab)
    check_named(lab.look(), broken)


@pytest.mark.parametrize("broken", [wrong_secret, unreachable], ids=lambda one: one.__name__)
def test_a_process_of_its_own_says_the_same(lab, broken):
    broken(lab)
    check_named(lab.by_command_line(), broken)
