"""Bad days of an exchange account: keys, refusals, two machines, a kill, a full disk, switched accounts.

Each has a sentence and a state: one that passes, in which nothing new is bought and all is well again when it
is over, or one that is latched until somebody looks. The market is that of `test_orders`.
"""

import json
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.account_stage import CREATE, KEYS, LISTS, WALLET, check_books, exchange, machine
from tests.canary import CANARY_KEY, CANARY_SECRET
from tests.stage import PROJECT, TGTQR, book_fill, environment, rise
from tgtqr_lib import audit, books, cli, daily, latch, settings
from tgtqr_lib.credentials import KEY, SECRET
from tgtqr_lib.dashboard.facts import Reader
from tgtqr_lib.domain import BrokerError, DomainError, Limits, TgtqrError
from tgtqr_lib.limits import HARD
from tgtqr_lib.settings import Settings

BUY, SALE = "20261122T1015Z-BTC-B", "20261122T1030Z-BTC-S"
PRIVATE = (WALLET, CREATE, *LISTS)


def buy(stage):
    """The tick of 10:15 buys 0.000094 BTC for 9.4098794 USDT."""
    rise(stage)
    stage.arm()
    return stage.tick("10:15")


def key(stage, secret: str = CANARY_SECRET, **properties) -> None:
    """Give the account's key these properties."""
    stage.accounts.open(CANARY_KEY, secret, **properties)


# --- keys ---

KEYS_GONE_WRONG = {
    "the secret was changed": (
        lambda stage: key(stage, secret="another-secret-than-ours"),
        "Bybit refused it: 10004 error sign! origin_string; the signature is wrong; check the secret",
    ),
    "the key was deleted": (
        lambda stage: stage.accounts.keys.pop(CANARY_KEY),
        "Bybit refused it: 10003 API key is invalid.; the key is not valid here; demo keys are not testnet",
    ),
    "the key is one of the testnet": (
        lambda stage: key(stage, environment="testnet"),
        "10003 API key is invalid.; the key is not valid here; demo keys are not testnet keys",
    ),
    "the key has expired": (
        lambda stage: key(stage, expires_at="2026-11-22T10:14:30Z"),
        "33004 Your api key has expired.; the key has expired; make a new one",
    ),
    "the key is bound to another address": (
        lambda stage: key(stage, ips=["192.0.2.7"]),
        "the key is bound to other IP addresses",
    ),
}
FAULTS = {
    "403": "no usable answer (HTTP 403); Bybit refuses this address: it is in the US, or",
    "maintenance": "no usable answer (HTTP 503); Bybit is under maintenance",
    "10006": "too many requests with this key; it is asked again later",
    "10016": "10016 Server error.",
    "cut": "no usable answer (NetworkError",
    "rubbish": "the answer is not Bybit's",
}


def check_passes(stage, sentence: str) -> None:
    """Three beats and a tick of a bad day buy nothing, and say why once; what is held can be sold after it."""
    looks = len(stage.events("look"))
    for at in ("10:14:31", "10:14:40", "10:14:50"):
        stage.beat(at)
    assert len(stage.events("look")) == looks + 1  # one event, whatever the number of beats
    assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE")
    assert (
        stage.sentence().startswith("the account cannot be read: ") and sentence in stage.sentence()
    )
    result = stage.tick("10:15")
    assert (result.state, result.reason) == ("refused", "ACCOUNT_TROUBLE")
    assert sentence in result.text
    assert stage.creates() == 0 and latch.stopped_because(stage.home) is None


def check_well_again(stage) -> None:
    """The next beat finds the account well, and the next tick buys."""
    stage.beat("10:29")
    assert stage.state() == ("ACTIVE", "")
    assert [a.result for a in stage.tick("10:30").acts] == ["FILLED"]
    check_books(stage)


@pytest.mark.parametrize("case", KEYS_GONE_WRONG)
def test_a_key_that_is_refused_keeps_entries_back_until_it_is_right(account_stage, case):
    stage = account_stage
    change, sentence = KEYS_GONE_WRONG[case]
    rise(stage)
    stage.arm()
    change(stage)
    check_passes(stage, sentence)
    key(stage)
    check_well_again(stage)


@pytest.mark.parametrize("kind", FAULTS)
def test_an_account_that_does_not_answer_keeps_entries_back_until_it_does(account_stage, kind):
    stage = account_stage
    rise(stage)
    stage.arm()
    for path in PRIVATE:
        stage.fault(kind, endpoint=path)
    check_passes(stage, FAULTS[kind])
    stage.well()
    check_well_again(stage)


def test_the_keys_of_another_account_are_noticed_by_what_it_holds(account_stage, monkeypatch):
    stage = account_stage
    other = {name: f"{value[:10]}-of-another-one" for name, value in KEYS.items()}
    stage.accounts.open(
        other[KEY], other[SECRET], name="another", balances={"USDT": "1000", "BTC": "0.5"}
    )
    buy(stage)
    before = stage.desk.broker.client
    with monkeypatch.context() as mixed_up:
        for name, value in other.items():
            mixed_up.setenv(name, value)
        stage.desk._broker = None  # as in the next command
        stage.beat("10:16")
        assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE")
        assert (
            "the account holds BTC 0.5 instead of 0.500093906, USDT 1000 instead of 990.5901206; "
            "somebody else trades or moves money on it, the keys are another account's, or this ledger"
        ) in stage.sentence()
        stage.desk.close()
    stage.desk._broker = None
    before.close()
    stage.beat("10:17")
    assert stage.state() == ("ACTIVE", "")
    check_books(stage)


@pytest.mark.parametrize("properties", [{"read_only": True}, {"permissions": ["Withdraw"]}])
def test_a_key_that_may_not_trade_is_told_by_its_first_order_and_stops_nothing(
    account_stage, properties
):
    stage = account_stage
    rise(stage)
    stage.arm("10:13")
    stage.beat("10:14")  # what the key may do is asked once an hour
    key(stage, **properties)
    (one,) = stage.tick("10:15").acts
    assert (one.result, one.reason) == ("REJECTED", "EXCHANGE_REFUSED")
    sentence = "it needs permission to trade spot, and must not be read-only"
    assert "Bybit refused it: 10005 " in one.text and sentence in one.text
    assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE") and sentence in stage.sentence()
    assert latch.stopped_because(stage.home) is None
    stage.beat("10:16")  # the refusal made the kit ask what the key may do
    own = "the key is read-only" if properties.get("read_only") else "(Withdraw)"
    assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE") and own in stage.sentence()
    key(stage)
    stage.desk.broker.forget_key()  # else it would be asked again within the hour
    check_well_again(stage)


@pytest.mark.parametrize("right", ["Withdraw", "AccountTransfer"])
def test_a_key_that_can_move_money_out_buys_nothing(account_stage, right):
    stage = account_stage
    rise(stage)
    key(stage, permissions=["SpotTrade", right])
    sentence = (
        f"the key may move money out of the account ({right}); make one that may only trade spot"
    )
    with pytest.raises(BrokerError, match=re.escape(f"account demo: {sentence}")):
        stage.beat("10:12")  # no account is opened with it
    key(stage)
    stage.desk.broker.forget_key()
    stage.arm("10:13")
    key(stage, permissions=["SpotTrade", right])
    stage.desk.broker.forget_key()
    assert stage.beat("10:14").notes == (sentence,)
    assert stage.tick("10:15").acts == [] and stage.simulator.accounts.account("demo").orders == {}
    assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE")


def test_without_keys_a_home_says_what_it_needs_and_begins_nothing(
    account_home, monkeypatch, capsys
):
    with (
        exchange() as (market, simulator),
        machine(account_home / "home", market, simulator) as stage,
    ):
        monkeypatch.delenv(KEY)
        monkeypatch.delenv(SECRET)
        assert cli.main(["watch", "--once", "--home", str(stage.home.root)]) == 2
        sentence = "account demo: it has no keys; expected BYBIT_API_KEY and BYBIT_API_SECRET"
        assert sentence in capsys.readouterr().err
        assert stage.events("account") == []


def test_keys_that_are_gone_hold_nothing_up_but_orders(account_stage, monkeypatch):
    stage = account_stage
    buy(stage)
    before = stage.desk.broker.client
    with monkeypatch.context() as without:
        without.delenv(KEY)
        without.delenv(SECRET)
        stage.desk._broker = None  # as in the next command
        assert stage.beat("10:16").equity is not None  # it still marks, and keeps its lease
        assert stage.state() == ("REDUCING", "ACCOUNT_TROUBLE")
        assert "account demo: it has no keys; expected BYBIT_API_KEY" in stage.sentence()
        stage.market.set("BTCUSDT", "10:29", "99900.0")
        stage.beat("10:29")
        result = stage.tick("10:30")
        assert result.state == "failed" and "it has no keys" in result.text
        latch.stop(stage.home, "a hand")
        seen = stage.beat("10:31")
        assert seen.equity is not None and seen.sales == ()
        assert "sale_waits symbol=BTCUSDT" in stage.told()
        assert len(stage.events("intent")) == stage.creates() == 1
    (sold,) = stage.beat("10:32").sales
    assert sold.result == "FILLED"
    before.close()
    check_books(stage)


# --- an order while the exchange has trouble ---


@pytest.mark.parametrize("kind", ["403", "maintenance", "rubbish", "429"])
def test_trouble_in_mid_order_leaves_it_unknown_and_it_is_looked_up_when_it_is_over(
    account_stage, kind
):
    stage = account_stage
    rise(stage)
    stage.arm()
    call = stage.desk.broker.client._call

    def then_trouble(verb, question, parameters, at_ms):
        if question == "order_create":
            for path in PRIVATE:
                stage.fault(kind, endpoint=path)
        return call(verb, question, parameters, at_ms)

    stage.desk.broker.client._call = then_trouble
    (one,) = stage.tick("10:15").acts
    assert (one.result, one.reason) == ("UNKNOWN", "ORDER_UNKNOWN")
    stage.desk.broker.client._call = call
    for at in ("10:16:03", "10:17:03", "10:18:03"):  # long after it can arrive: nobody can say so
        stage.beat(at)
        assert stage.unknown() == [BUY]
    assert stage.state() == ("REDUCING", "ORDER_UNKNOWN")
    stage.well()
    stage.beat("10:19:03")
    assert stage.result(BUY) == "NEVER_ARRIVED" and stage.state() == ("ACTIVE", "")
    assert stage.creates() == 1 and latch.stopped_because(stage.home) is None
    check_books(stage)


@pytest.mark.parametrize("kind", ["clock_ahead", "clock_behind"])
def test_an_order_signed_too_early_or_too_late_is_never_carried_out(account_stage, kind):
    # the exchange's servers disagree about the time: one tells it, another one checks the signature
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.fault(kind, endpoint=CREATE, seconds=10)
    (one,) = stage.tick("10:15").acts
    assert (one.result, one.reason) == ("REJECTED", "EXCHANGE_REFUSED")
    assert "Bybit refused it: 10002 " in one.text and "check this machine's clock" in one.text
    assert stage.there.orders == {} and latch.stopped_because(stage.home) is None
    stage.well()
    check_well_again(stage)


def test_a_process_that_slept_between_intent_and_request_trades_no_more(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    submit = stage.desk.broker.submit
    with ExitStack() as stack:
        watch = stack.enter_context(another_process(stage))

        def asleep(sent):  # the lid of the laptop, or SIGSTOP: two minutes
            assert watch.beat("10:17:03").stopped is None
            assert stage.result(BUY) == "NEVER_ARRIVED"
            return submit(sent)

        stage.desk.broker.submit = asleep
        assert stage.tick("10:15").state == "done"  # what the watch has booked stands
    assert stage.creates() == 1 and stage.there.orders == {}
    assert stage.result(BUY) == "NEVER_ARRIVED" and stage.held() == {}
    assert [row.key for row in stage.events("order")] == [f"order/{BUY}"]
    check_books(stage)


def another_process(stage):
    """The same home as another process would open it."""
    return machine(stage.home.root, stage.market, stage.simulator, stage.scale)


# --- somebody else on the account ---


def test_an_id_that_was_used_long_before_is_somebody_elses_order(account_stage):
    # a ledger that was set back to an older copy, or a home that was copied, would make the same ids
    stage = account_stage
    stage.at("10:05")
    stage.by_hand("Buy", "0.000094", "100400.0", BUY)
    result = buy(stage)
    (one,) = result.acts
    assert (one.result, stage.result(BUY)) == ("FOREIGN", "FOREIGN")
    assert one.text.startswith(
        f"{BUY} is on the account already: Buy 0.000094 BTCUSDT at 100400, made 2026-11-22T10:05:00+00:00, "
    )
    assert "another machine, or an older copy of this ledger, trades the same account" in one.text
    assert latch.stopped_because(stage.home).startswith(f"FOREIGN_ORDER: {BUY} is on the account")
    assert stage.state() == ("STOPPED", "GATE_STOPPED")
    assert stage.events("fill") == [] and stage.held() == {}  # it is not ours, and is not sold
    assert len(stage.there.orders) == 1 and stage.beat("10:16").sales == ()


def test_a_crash_between_a_foreign_order_and_its_booking_loses_no_stop(account_stage, monkeypatch):
    stage = account_stage
    stage.at("10:05")
    stage.by_hand("Buy", "0.000094", "100400.0", BUY)
    with monkeypatch.context() as crash:

        def die(*_):
            raise KeyboardInterrupt

        crash.setattr(books, "book_order", die)
        with pytest.raises(KeyboardInterrupt):
            buy(stage)
    assert stage.unknown() == [BUY]
    assert "FOREIGN_ORDER" in latch.stopped_because(stage.home)
    stage.beat("10:16")
    assert stage.result(BUY) == "FOREIGN" and "FOREIGN_ORDER" in latch.stopped_because(stage.home)


def test_two_machines_at_one_tick_make_one_order_at_the_exchange(account_home):
    with exchange() as (market, simulator), ExitStack() as stack:
        first, second = (
            stack.enter_context(machine(account_home / name, market, simulator))
            for name in ("first", "second")
        )
        rise(first)
        first.arm()
        second.arm()
        tell = second.desk.broker.client.tell

        def when_the_first_was_faster(what, **parameters):
            first.tick("10:15")
            return tell(what, **parameters)

        second.desk.broker.client.tell = when_the_first_was_faster
        second.tick("10:15")
        assert second.creates() == 2 and len(second.there.orders) == 1
        # both have met their own order: exposure is that of one, and both ledgers are right
        for stage in (first, second):
            assert stage.result(BUY) == "FILLED"
            check_books(stage)
            stage.beat("10:16")
            assert stage.state() == ("ACTIVE", "")
        # the first one sells alone: what the second believes to hold is gone, and it says so
        market.set("BTCUSDT", "10:29", "99900.0")
        first.beat("10:29")
        assert first.tick("10:30").acts[0].result == "FILLED"
        second.beat("10:31")
        assert second.state() == ("REDUCING", "ACCOUNT_TROUBLE")
        assert "somebody else trades or moves money on it" in second.sentence()


def test_two_machines_of_different_size_stop_at_each_others_order(account_home):
    with exchange() as (market, simulator), ExitStack() as stack:
        large = stack.enter_context(machine(account_home / "large", market, simulator, "20"))
        usual = stack.enter_context(machine(account_home / "usual", market, simulator))
        rise(usual)
        large.arm()
        usual.arm()
        tell = usual.desk.broker.client.tell

        def when_the_large_one_was_faster(what, **parameters):
            large.tick("10:15")
            return tell(what, **parameters)

        usual.desk.broker.client.tell = when_the_large_one_was_faster
        usual.tick("10:15")
        assert len(usual.there.orders) == 1 and large.result(BUY) == "FILLED"
        assert usual.result(BUY) == "FOREIGN" and usual.held() == {}
        assert "FOREIGN_ORDER" in latch.stopped_because(usual.home)
        check_books(large)


def test_a_machine_alone_makes_the_other_one_wait_until_somebody_accepts(account_home, capsys):
    with exchange() as (market, simulator), ExitStack() as stack:
        first, second = (
            stack.enter_context(machine(account_home / name, market, simulator))
            for name in ("first", "second")
        )
        rise(first)
        first.arm()
        second.arm()
        first.tick("10:15")
        result = second.tick("10:15")
        assert (result.state, result.reason) == ("refused", "ACCOUNT_TROUBLE")
        assert "BTC 0.500093906 instead of 0.5" in result.text
        assert "USDT 990.5901206 instead of 1000" in result.text
        assert second.creates() == 1
        home = ["--home", str(second.home.root)]
        assert cli.main(["account", "accept", *home]) == 2  # without a reason
        assert cli.main(["account", "accept", *home, "--reason", "the other one stays"]) == 0
        told = capsys.readouterr().out
        assert "accepted as it is now (BTC +0.000093906, USDT -9.4098794)" in told
        second.beat("10:16")
        assert second.state() == ("ACTIVE", "")


# --- killed in mid-order ---


@pytest.mark.slow
def test_a_tick_killed_while_the_exchange_holds_its_answer_back(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    stage.fault("delay", endpoint=CREATE, seconds=60)
    check_killed(stage, [*TGTQR, "tick", "--at", "2026-11-22T10:15:00Z"], carried_out=True)
    stage.well()
    stage.at("10:16:30")
    done = stage.run("watch", "--once", "--json")
    assert done.returncode == 0, done.stderr
    check_after_the_kill(stage, "FILLED")


SCRIPT = """
import os, signal
from tests.stage import decide_without_a_kernel, moment
from tgtqr_lib import settings, tick
from tgtqr_lib.brokers.bybit_client import PrivateClient
from tgtqr_lib.desk import open_desk
from tgtqr_lib.home import Home

tick.run_notebook = decide_without_a_kernel
{patch}
home = Home.find()
with open_desk(home, settings.load(home)) as desk:
    tick.run_tick(desk, None, moment("10:15"))
"""
BEFORE = "PrivateClient.tell = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.slow
@pytest.mark.parametrize("patch, creates", [(BEFORE, 0), ("", 1)])
def test_a_tick_killed_before_its_order_was_there(account_stage, patch, creates):
    # before the request left, and while the exchange thinks about one that it will not carry out
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    if creates:
        stage.fault("ack_lost", carried_out=False)
        stage.fault("delay", endpoint=CREATE, seconds=60)
    check_killed(stage, [sys.executable, "-c", SCRIPT.format(patch=patch)], carried_out=False)
    assert stage.creates() == creates
    stage.well()
    stage.beat("10:16:30")
    check_after_the_kill(stage, "NEVER_ARRIVED")


def check_killed(stage, command: list[str], *, carried_out: bool) -> None:
    """`command` is killed when the exchange has its order or, without one, kills itself."""
    child = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(stage.home),
        cwd=PROJECT,
    )
    deadline = time.monotonic() + 60
    arrived = (lambda: stage.there.orders) if carried_out else stage.creates
    while not arrived() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    assert stage.unknown() == [BUY] and len(stage.there.orders) == carried_out


def check_after_the_kill(stage, result: str) -> None:
    """The outcome is booked once, and the next tick finds everything in order."""
    assert stage.result(BUY) == result
    head, sent = stage.head()[0], stage.creates()
    stage.beat("10:16:30")
    assert stage.head()[0] == head  # looked up twice is booked once
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    following = stage.tick("10:30")
    assert following.state == "done"
    assert stage.final("10:15")["state"] == "done" and stage.final("10:15")["reason"] == "CRASHED"
    sold = result == "FILLED"
    assert stage.result(SALE) == ("FILLED" if sold else None)
    assert stage.creates() == sent + sold
    check_books(stage)
    assert cli.main(["ledger", "verify", "--archive", "--home", str(stage.home.root)]) == 0


@pytest.mark.parametrize("shown", [True, False])
def test_the_next_tick_settles_one_that_died_with_its_order_even_without_a_beat(
    account_stage, shown
):
    stage = account_stage
    rise(stage)
    stage.arm()
    submit = stage.desk.broker.submit

    def and_die(sent):
        submit(sent)
        raise KeyboardInterrupt

    stage.desk.broker.submit = and_die
    with pytest.raises(KeyboardInterrupt):
        stage.tick("10:15")
    stage.desk.broker.submit = submit
    assert stage.unknown() == [BUY] and stage.final("10:15") is None
    if not shown:
        stage.fault("not_found_at_first", seconds=3600)
    stage.tick("10:30")
    # an order had left, so the tick had acted, whatever came of it
    assert stage.final("10:15")["state"] == "done"
    acted = books.tick_event(stage.desk.con, "20261122T1015Z", "acted")
    assert acted["orders"] == ([BUY] if shown else [])
    assert stage.result(BUY) == ("FILLED" if shown else None)
    stage.well()
    stage.beat("10:31")
    check_books(stage)
    assert audit.verify(stage.desk.con, stage.home)[1] == []


def test_after_a_reboot_the_order_that_was_on_its_way_is_found(account_home):
    path = account_home / "exchange.jsonl"
    with (
        exchange(path) as (market, simulator),
        machine(account_home / "home", market, simulator) as stage,
    ):
        rise(stage)
        stage.arm()
        stage.fault("ack_lost")
        stage.fault("not_found_at_first", seconds=3600)
        assert stage.tick("10:15").acts[0].result == "UNKNOWN"
    # nothing is left of either process; exchange and home are begun anew from their files
    with (
        exchange(path) as (market, simulator),
        machine(account_home / "home", market, simulator) as stage,
    ):
        rise(stage)
        assert stage.unknown() == [BUY]
        stage.beat("10:16:03")
        assert stage.result(BUY) == "FILLED" and stage.creates() == 0
        stage.market.set("BTCUSDT", "10:29", "99900.0")
        stage.beat("10:29")
        assert stage.tick("10:30").acts[0].result == "FILLED"
        check_books(stage)


# --- a full disk in mid-order ---


def test_a_disk_that_is_full_after_the_order_was_sent_loses_nothing(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    tell = stage.desk.broker.client.tell
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def and_then_full(what, **parameters):
        answer = tell(what, **parameters)
        # no file may grow beyond this any more: SQLite gets an error for every write, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        return answer

    stage.desk.broker.client.tell = and_then_full
    try:
        with pytest.raises(TgtqrError) as told:
            stage.tick("10:15")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "ledger: a transaction failed" in str(told.value)
    stage.desk.broker.client.tell = tell
    assert stage.unknown() == [BUY] and stage.events("order") == []
    stage.beat("10:16")
    assert stage.result(BUY) == "FILLED" and stage.creates() == 1
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"
    assert stage.final("10:15")["state"] == "done"
    check_books(stage)
    assert audit.verify(stage.desk.con, stage.home)[1] == []


# --- too small for the exchange ---


def test_at_scale_1_every_entry_is_below_the_exchanges_minimum(account_home):
    with (
        exchange() as (market, simulator),
        machine(account_home / "home", market, simulator, "1") as stage,
    ):
        result = buy(stage)
        choice = result.decision.choice("BTCUSDT")
        assert (choice.reason, choice.approved) == ("BELOW_EXCHANGE_MINIMUM", False)
        # 0.95 / 100500.4 = 9.45 millionths: 9 lots at the limit of 100500.4 are 0.9045036
        assert choice.reason_text == (
            "the order is worth 0.9045036 USDT at its limit, the exchange needs 5"
        )
        assert result.acts == [] and stage.events("intent") == [] and stage.creates() == 0
        assert stage.situation().account.initial_equity == 10


def test_a_remnant_below_the_minimum_waits_and_the_ledger_does_not_hear_of_each_minute(
    account_stage,
):
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.fault("partial", fraction=0.3, uses=1)
    stage.tick("10:15")  # 28 of 94 lots: worth 2.8 USDT
    assert stage.held() == {"BTCUSDT": "0.000027972"}
    latch.stop(stage.home, "a hand")
    stage.beat("10:16")
    events = stage.head()[0]
    for at in ("10:17", "10:18", "10:19"):
        assert stage.beat(at).sales == ()
    assert stage.head()[0] == events and stage.creates() == 1
    # the limit is 0.4 % below the bid 100094.9: 99694.5; 27 lots of it are worth 2.6917515
    assert (
        'sale_waits symbol=BTCUSDT text="worth 2.6917515 USDT, the exchange needs 5"'
        in stage.told()
    )
    # what cannot be sold does not keep anybody from beginning again
    assert cli.main(["arm", "--home", str(stage.home.root), "--reason", "it is too little"]) == 0
    # a coin that doubles its price makes it legal again: 27 lots at 200000 are 5.4 USDT
    latch.stop(stage.home, "another one")
    stage.market.set("BTCUSDT", "10:20", "200000.0")
    (sold,) = stage.beat("10:21").sales
    assert sold.result == "FILLED" and stage.held() == {"BTCUSDT": "0.000000972"}
    check_books(stage)


# --- limits ---


def test_limits_are_ten_times_the_hard_ones_exactly_and_paper_has_none_of_it(account_stage):
    stage = account_stage
    stage.beat("10:14")
    inputs = stage.situation()
    assert inputs.limits == Limits(Decimal(10), Decimal(20), Decimal(50), Decimal(10))
    assert inputs.plan.order_target_usdt == Decimal("9.5") and inputs.plan.collar_bps == 40
    assert inputs.account.initial_equity == inputs.days[0].start_equity == 100
    stage.home.settings.write_text("demo_limits_scale = '10'\n", "utf-8")
    with pytest.raises(DomainError, match="demo_limits_scale 10 is for a demo or testnet account"):
        settings.load(stage.home)
    # whoever gets past the settings file still finds the hard limits on paper
    paper = Settings().model_copy(update={"demo_limits_scale": Decimal(10)})
    desk = replace(stage.desk, settings=paper)
    assert desk.scale == 1 and desk.ceiling == HARD


@pytest.mark.parametrize("paid, broken", [("29", False), ("29.00000001", True)])
def test_the_day_may_lose_20_at_scale_10_and_no_more(account_stage, paid, broken):
    # 0.00009 BTC at 100000 are worth 9: equity 100 - 29 + 9 is the day's floor of 80
    stage = account_stage
    stage.arm("10:14")
    book_fill(stage, "BUY", "0.00009", paid)
    seen = stage.beat("10:16")
    # nothing is sold: the fill is in the ledger alone, and the coins on the account are somebody else's
    assert bool(seen.stopped) is broken and seen.sales == ()
    if broken:
        assert latch.stopped_because(stage.home) == (
            "BREACH: equity 79.99999999 is below the floor 80.00 (2026-11-22) (by the safety path)"
        )
        assert stage.events("ended") == [] and stage.held() == {"BTCUSDT": "0.00009"}
        log = stage.home.log.read_text("utf-8")
        assert "sale_waits" in log and "0.000090 cannot be sold; somebody else sold them" in log


@pytest.mark.parametrize("lost, below", [("12", False), ("12.00000001", True)])
def test_the_account_may_lose_50_at_scale_10_and_no_more(account_stage, lost, below):
    stage = account_stage
    for day, loss in (("22", "19"), ("23", "19"), ("24", lost)):
        stage.beat(f"2026-11-{day}T10:14")
        book_fill(stage, "BUY", "0.00009", str(Decimal(9) + Decimal(loss)))
        book_fill(stage, "SELL", "0.00009", "9")
        if day == "22":
            stage.arm("2026-11-22T10:14")
    # each day begins where the last one ended: 100, 81, 62; the third ends at the floor of 50
    days = [row.body["day"] for row in stage.events("day")]
    assert [Decimal(day["start_equity"]) for day in days] == [100, 81, 62]
    stage.beat("2026-11-24T10:15")
    # on the floor it is no breach; but nothing can be bought any more without going below it
    (end,) = stage.events("ended")
    assert end.body["cause"] == ("BREACH" if below else "SPENT")
    if below:
        told = "BREACH: equity 49.99999999 is below the floor 50.00 (total)"
        assert latch.stopped_because(stage.home).startswith(told)


def test_a_day_begins_with_the_cash_and_the_dust_at_the_close_of_23_59(account_stage):
    stage = account_stage
    buy(stage)
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    stage.tick("10:30")
    stage.market.set("BTCUSDT", "23:59", "110000.0")
    stage.beat("2026-11-23T00:00:03")
    # 0.000000906 BTC at 110000 are 0.09966; cash 100 - 9.4098794 + 9.290235 - 0.009290235
    (day,) = [row.body["day"] for row in stage.events("day")][1:]
    assert Decimal(day["start_cash"]) == Decimal("99.871065365")
    assert Decimal(day["start_equity"]) == Decimal("99.871065365") + Decimal("0.09966")


def test_the_largest_order_that_can_be_asked_for_stays_inside_the_limit_of_a_position(
    account_stage,
):
    stage = account_stage
    rise(stage)
    stage.configure("order_target_usdt = '1.00'")
    stage.arm()
    (one,) = stage.tick("10:15").acts
    # 10 / 100500.4 are 99.5 millionths: 99 lots; at the limit 9.9495396, and 0.1 % of it: below 10
    assert (f"{one.order.quantity:f}", one.result) == ("0.000099", "FILLED")
    assert stage.situation().portfolio.position("BTCUSDT").cost == Decimal("0.000099") * Decimal(
        "100105.1"
    )
    check_books(stage)


def test_limits_of_an_exchange_account_are_tightened_at_once_and_loosened_at_midnight(
    account_stage,
):
    stage = account_stage
    stage.configure("limits = { position_usdt = '0.5' }")
    stage.arm()
    assert stage.situation().limits.position_usdt == 5
    stage.configure("")
    assert stage.situation().limits.position_usdt == 5
    rise(stage)
    assert stage.tick("10:15").decision.choice("BTCUSDT").reason == "POSITION_LIMIT"
    stage.at("2026-11-23T00:00:03")
    assert stage.situation().limits.position_usdt == 10


# --- reading it ---


def test_every_reader_works_on_the_home_of_an_exchange_account(account_stage, capsys):
    stage = account_stage
    buy(stage)
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    stage.tick("10:30")
    home = ["--home", str(stage.home.root)]
    assert cli.main(["status", "--json", *home]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["account"], facts["fills"], facts["gate"]) == ("demo-1", 2, "ACTIVE")
    assert Decimal(facts["cash"]) == Decimal("99.871065365")
    assert cli.main(["status", *home]) == 0
    assert "demo-1" in capsys.readouterr().out
    for words in (["account"], ["ledger", "show"], ["ledger", "verify", "--archive"]):
        assert cli.main([*words, *home]) == 0, words
    capsys.readouterr()
    assert cli.main(["parity", "--day", "2026-11-22", *home]) == 4
    assert "traded demo-1, an account at the exchange; parity is for paper accounts" in (
        capsys.readouterr().err
    )
    seen = Reader(stage.home).snapshot()
    assert (seen.account.id, len(seen.fills), seen.problem) == ("demo-1", 2, None)
    (book,) = daily.of(stage.home, "2026-11-22").books
    assert (book.account.id, len(book.fills)) == ("demo-1", 2)
    assert (book.floor, book.total) == (80, 50)  # the limits are those of scale 10 here, too
    assert book.limits == Limits(Decimal(10), Decimal(20), Decimal(50), Decimal(10))
    # 0.000000094 BTC at 100105.1 are 0.0094098794, rounded up, and 0.009290235 USDT
    assert book.fees == Decimal("0.00940988") + Decimal("0.009290235")
    assert "parity is for paper accounts" in daily.parity(stage.home, "2026-11-22").text


def test_no_key_is_in_any_message_of_a_refusal(account_stage):
    stage = account_stage
    with pytest.raises(TgtqrError) as told:
        stage.hand(secret="another-secret-than-ours").ask(
            "account_wallet_balance", accountType="UNIFIED"
        )
    assert CANARY_KEY not in str(told.value) and "10004" in str(told.value)
