"""Further broken states of key, account, files and machine: each is named by its check alone."""

import socket

import pytest

from tests.preflight.lab import ALERTS, KEY, SECRET, in_state


def dear_fees(lab):
    lab.key(fee_rate="0.0012")


def cheap_fees(lab):
    lab.key(fee_rate="0.0008")


def readable_env(lab):
    lab.env(mode=0o644)


def full_disk(lab):
    lab.words += ["--disk-mb", str(10**9)]


def little_memory(lab):
    lab.words += ["--memory-mb", str(10**9)]


def ledger_open_to_all(lab):
    lab.home.ledger.chmod(0o666)


def home_open_to_all(lab):
    lab.home.data.chmod(0o777)


def readable_session_key(lab):
    path = lab.home.control / "session.key"
    path.write_bytes(b"0" * 32)
    path.chmod(0o644)


def edited_ledger(lab):
    content = lab.home.ledger.read_bytes()
    assert content.count(b"a test") == 1
    lab.home.ledger.write_bytes(content.replace(b"a test", b"a lie!"))


def no_ledger_but_a_text(lab):
    lab.home.ledger.write_text("this is no ledger, whatever its name says\n" * 100)


def key_without_spot(lab):
    lab.key(permissions=[])


def key_for_more(lab):
    lab.key(permissions=["SpotTrade", "DerivativesTrade"])


def key_from_anywhere(lab):
    lab.key(ips=["*"])


def key_bound_elsewhere(lab):
    lab.key(ips=["203.0.113.7"])


def key_ends_soon(lab):
    lab.key(expires_at=lab.simulator.clock.now_ms() + 3 * 86_400_000 + 60_000)


def classic_account(lab):
    lab.key(account_type="CLASSIC")


def foreign_coin(lab):
    lab.accounts.open(KEY, SECRET, balances={"USDT": "100", "BTC": "0.5"}, name="rich")
    lab.key(name="rich")


def scale_with_no_room(lab):
    lab.scale = "5.5"  # 5.225 USDT: 4.3 % above the minimum
    lab.settings()


def no_key(lab):
    (lab.home.root / ".env").write_text(f"{ALERTS}\n")


def half_a_key(lab):
    (lab.home.root / ".env").write_text(f"BYBIT_API_KEY={KEY}\n{ALERTS}\n")


def strange_setting(lab):
    lab.lines.append("leverage = 100")
    lab.settings()


def real_money(lab):
    lab.account = "real"
    lab.settings()


def no_schedule(lab):
    lab.crontab.write_text("")


def old_schedule(lab):
    lab.crontab.write_text(lab.crontab.read_text().replace("*/15", "*/30"))


def half_a_schedule(lab):
    lab.crontab.write_text(lab.crontab.read_text().split("\n", 1)[1])


def no_alerts(lab):
    (lab.home.root / ".env").write_text(f"BYBIT_API_KEY={KEY}\nBYBIT_API_SECRET={SECRET}\n")


def no_such_alert(lab):
    lab.env()
    path = lab.home.root / ".env"
    path.write_text(path.read_text().replace("json://", "carrier-pigeon://"))


FURTHER = {
    dear_fees: ("fee_rates", "fail", 4, "BTCUSDT 0.12 %"),
    cheap_fees: ("fee_rates", "warn", 0, "BTCUSDT 0.08 %"),
    readable_env: ("env_file", "fail", 2, "0644"),
    full_disk: ("disk", "fail", 1, "MB are free"),
    little_memory: ("memory", "warn", 0, "MB are available"),
    ledger_open_to_all: ("permissions", "fail", 1, "trading_data.db"),
    home_open_to_all: ("permissions", "fail", 1, "/data"),
    readable_session_key: ("permissions", "fail", 1, "session.key"),
    edited_ledger: ("ledger", "fail", 1, "its hash does not match its content"),
    no_ledger_but_a_text: ("ledger", "fail", 1, "cannot be read"),
    key_without_spot: ("key_may_trade", "fail", 2, "may not trade spot"),
    key_for_more: ("key_cannot_withdraw", "warn", 0, "DerivativesTrade"),
    key_from_anywhere: ("key_address", "warn", 0, "every address"),
    key_bound_elsewhere: ("key_address", "fail", 2, "10010"),
    key_ends_soon: ("key_expiry", "warn", 0, "in 3 days"),
    classic_account: ("account_type", "fail", 4, "unified"),
    foreign_coin: ("coins", "warn", 0, "0.5 BTC"),
    scale_with_no_room: ("smallest_order", "warn", 0, "after a fall of 4 %"),
    no_key: ("key", "fail", 2, "BYBIT_API_KEY"),
    half_a_key: ("key", "fail", 2, "BYBIT_API_SECRET is missing"),
    strange_setting: ("settings", "fail", 2, "unknown key 'leverage'"),
    real_money: ("settings", "fail", 2, "real money"),
    no_schedule: ("schedule", "warn", 0, "nothing starts ticks"),
    old_schedule: ("schedule", "warn", 0, "another version"),
    half_a_schedule: ("schedule", "fail", 1, "one is missing"),
    no_such_alert: ("alerts", "fail", 1, "carrier-pigeon"),
    no_alerts: ("alerts", "warn", 0, "nobody is told"),
}


@pytest.mark.parametrize("broken", FURTHER, ids=lambda one: one.__name__)
def test_a_broken_state_is_named_by_its_check_alone(lab, broken):
    name, state, expected_code, words = FURTHER[broken]
    broken(lab)
    code, found = lab.look()
    assert in_state(found, "warn", "fail") == {name}
    assert found[name]["state"] == state
    assert words in found[name]["detail"]
    assert code == expected_code


@pytest.mark.parametrize("address, state", [("0.0.0.0", "warn"), ("127.0.0.1", "pass")])
def test_a_page_that_other_machines_reach_is_warned_of(lab, address, state):
    with socket.create_server((address, 0)) as door:
        lab.words += ["--port", str(door.getsockname()[1])]
        _, found = lab.look()
    assert found["dashboard"]["state"] == state
    assert ("0.0.0.0" in found["dashboard"]["detail"]) is (state == "warn")


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("address, state", [("::", "warn"), ("::1", "pass")])
def test_ports_of_ipv6_are_read_too(lab, address, state):
    try:
        door = socket.create_server((address, 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with door:
        lab.words += ["--port", str(door.getsockname()[1])]
        assert lab.look()[1]["dashboard"]["state"] == state


def program(lab, name, text):
    """A program of the machine that says what a test wants; the fixture's folder comes first in PATH."""
    path = lab.crontab.parent / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


ALL_ENABLED = "echo enabled"
NO_WATCH = 'case "$2" in *.timer) echo enabled ;; *) echo disabled; exit 1 ;; esac'


@pytest.mark.parametrize(
    "systemctl, cron, state, words",
    [
        (ALL_ENABLED, False, "pass", "tgtqr-tick.timer and tgtqr-watch.service are enabled"),
        (ALL_ENABLED, True, "warn", "both start ticks"),
        (NO_WATCH, False, "warn", "without a beat a minute nothing is bought"),
    ],
)
def test_the_timers_of_systemd_count_as_a_schedule(lab, systemctl, cron, state, words):
    program(lab, "systemctl", systemctl)
    if not cron:
        lab.crontab.unlink()
    found = lab.look()[1]["schedule"]
    assert found["state"] == state and words in found["detail"]


@pytest.mark.parametrize(
    "leap, state", [("Normal", "pass"), ("Not synchronised", "warn")], ids=["well", "lost"]
)
def test_chrony_is_asked_whether_it_keeps_the_time(lab, leap, state):
    program(lab, "chronyc", f'echo "Stratum         : 3"; echo "Leap status     : {leap}"')
    assert lab.look()[1]["time_sync"]["state"] == state
