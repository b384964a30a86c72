"""An order's way to an exchange account and back: intent, sending, looking up, booking.

The market is flat at 100,000.0 and 2,500.00 with a spread of 1 bp until a test moves it; limits are ten times
the hard ones. Expected values are arithmetic, and the simulator's own record of wallet, orders and executions.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from threading import Barrier

import pytest

from tests.account_stage import CREATE, check_books, executed, machine
from tests.stage import moment, raw, rise
from tgtqr_lib import audit, cli, gate, latch, ledger, orders
from tgtqr_lib.act import act
from tgtqr_lib.brokers.bybit import Sent, State
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Order, Side
from tgtqr_lib.freeze import freeze

BUY, SALE = "20261122T1015Z-BTC-B", "20261122T1030Z-BTC-S"


def buy(stage, **fault):
    """The tick of 10:15 buys; the order meets `fault`."""
    rise(stage)
    stage.arm()
    if fault:
        stage.fault(**fault)
    return stage.tick("10:15")


def sell(stage):
    """The tick of 10:30 sells."""
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.beat("10:29")
    return stage.tick("10:30")


# --- a buy and a sale ---


def test_a_buy_pays_its_fee_in_the_coin_and_a_sale_in_usdt(account_stage):
    stage = account_stage
    bought = buy(stage)
    # limit: 100100 * 1.004 = 100500.4; 9.5 / 100500.4 = 94.5 millionths, so 94 lots
    # ask: 100100 * 1.00005 = 100105.005, up to 100105.1; 0.000094 of it cost 9.4098794
    # fee: 0.1 % of 0.000094 BTC is 0.000000094 BTC, so 0.000093906 BTC come in
    (one,) = bought.acts
    assert (one.result, f"{one.order.quantity:f}", f"{one.order.limit:f}") == (
        "FILLED", "0.000094", "100500.4",
    )  # fmt: skip
    assert one.fill.notional == Decimal("9.4098794") and one.fill.fee == Decimal("0.000000094")
    assert one.fill.fee_currency == "BTC" and one.plain()["fee_currency"] == "BTC"
    assert Decimal(stage.cash()) == Decimal(100) - Decimal("9.4098794")
    assert Decimal(stage.held()["BTCUSDT"]) == Decimal("0.000093906")
    (position,) = stage.situation().portfolio.held
    assert position.cost == Decimal("9.4098794")
    check_books(stage)

    sold = sell(stage)
    # 93 whole lots of 0.000093906; bid 99900 * 0.99995 = 99895.005, down to 99895.0: 9.290235 USDT less 0.1 %
    (one,) = sold.acts
    assert (one.order.id, one.result, f"{one.order.quantity:f}") == (SALE, "FILLED", "0.000093")
    assert one.fill.fee == Decimal("0.009290235") and one.fill.fee_currency == "USDT"
    assert Decimal(stage.cash()) == Decimal("90.5901206") + Decimal("9.290235") - one.fill.fee
    # the dust keeps its share of the cost: 9.4098794 * 0.000000906 / 0.000093906 = 0.0907860066.., rounded up
    (dust,) = stage.situation().portfolio.held
    assert dust.quantity == Decimal("0.000000906")
    assert dust.cost == Decimal("0.09078601")
    check_books(stage)
    assert stage.creates() == 2


def test_dust_does_not_keep_the_next_buy_back_and_is_sold_with_it_when_it_makes_a_lot(
    account_stage,
):
    stage = account_stage
    buy(stage)
    sell(stage)
    stage.market.set("BTCUSDT", "10:44", "100200.0")
    stage.beat("10:44")
    again = stage.tick("10:45")
    assert [(a.order.id, a.result) for a in again.acts] == [("20261122T1045Z-BTC-B", "FILLED")]
    # limit 100200 * 1.004 = 100600.8; 9.5 / 100600.8 = 94.4 lots; dust 0.000000906 + 0.000094 - 0.000000094
    assert Decimal(stage.held()["BTCUSDT"]) == Decimal("0.000094812")
    stage.market.set("BTCUSDT", "10:59", "99900.0")
    stage.beat("10:59")
    (last,) = stage.tick("11:00").acts
    assert (f"{last.order.quantity:f}", last.result) == ("0.000094", "FILLED")
    assert stage.held() == {"BTCUSDT": "0.000000812"}
    check_books(stage)


def test_dust_of_less_than_a_lot_does_not_keep_the_gate_shut_and_an_open_order_does(
    account_stage, capsys
):
    stage = account_stage
    buy(stage)
    sell(stage)
    assert stage.held()
    arm = ["arm", "--home", str(stage.home.root), "--reason", "again"]
    latch.stop(stage.home, "a look around")
    assert cli.main(arm) == 0
    latch.stop(stage.home, "another one")
    stage.market.set("ETHUSDT", "10:44", "2502.50")
    stage.beat("10:44")  # books the stop
    assert cli.main(arm) == 0
    stage.fault("ack_lost", uses=1)
    stage.fault("not_found_at_first", seconds=3600)
    stage.tick("10:45")
    assert stage.unknown() == ["20261122T1045Z-ETH-B"]
    latch.stop(stage.home, "with an open order")
    assert cli.main(arm) == 3
    told = capsys.readouterr().err
    assert "cannot arm while it is not known what came of 20261122T1045Z-ETH-B" in told
    stage.well()
    stage.beat("10:46")  # books it, and sells it: the kit is stopped
    assert set(stage.held()) == {"BTCUSDT", "ETHUSDT"}  # dust of both
    assert cli.main(arm) == 0
    check_books(stage)


# --- the intent ---


def test_the_intent_is_on_disk_before_the_request_leaves_and_the_fill_comes_after_it(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    seen, tell = [], stage.desk.broker.client.tell

    def look(what, **parameters):
        con = raw(stage.home)  # another connection: what is not committed is not there for it
        rows = con.execute("SELECT key FROM events WHERE kind IN ('intent', 'order')").fetchall()
        seen.append((what, stage.creates(), rows))
        con.close()
        return tell(what, **parameters)

    stage.desk.broker.client.tell = look
    stage.tick("10:15")
    assert seen == [("order_create", 0, [(f"intent/{BUY}",)])]
    seqs = [
        ledger.get(stage.desk.con, key).seq
        for key in (f"intent/{BUY}", f"order/{BUY}", f"fill/demo-1/{BUY}")
    ]
    assert seqs == sorted(seqs)
    intent = ledger.get(stage.desk.con, f"intent/{BUY}").body
    assert intent["account"] == "demo-1" and intent["order"]["id"] == BUY
    assert {v["code"] for v in intent["verdicts"]} >= {"ORDER_UNKNOWN", "BELOW_EXCHANGE_MINIMUM"}
    assert all(v["allowed"] for v in intent["verdicts"])


@pytest.mark.parametrize("fault", [{}, {"kind": "ack_lost"}, {"kind": "5xx", "endpoint": CREATE}])
def test_the_same_tick_and_the_same_act_run_again_change_nothing(account_stage, fault):
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    frozen = freeze(stage.desk, moment("10:15"))
    if fault:
        stage.fault(**fault)
    (one,) = stage.tick("10:15").acts
    head, sent, there = stage.head(), stage.creates(), dict(stage.there.orders)
    assert stage.tick("10:15").state == "already_done"
    again = act(stage.desk, one.order, frozen)
    assert (again.result, again.reason) == (one.result, one.reason)
    assert (stage.head(), stage.creates(), stage.there.orders) == (head, sent, there)
    assert sent == 1


# --- what came of it ---

# answer of a lost acknowledgement -> whether the order was carried out
LOST = [(a, c) for a in ("cut", "closed", "504", "10000", "10016") for c in (True, False)]


@pytest.mark.parametrize("answer, carried_out", LOST)
def test_an_answer_that_is_lost_is_neither_a_fill_nor_a_refusal(account_stage, answer, carried_out):
    stage = account_stage
    result = buy(stage, kind="ack_lost", answer=answer, carried_out=carried_out)
    (one,) = result.acts
    if carried_out:  # it is found by its id, at once
        assert one.result == stage.result(BUY) == "FILLED"
    else:  # nobody can say so yet
        assert (one.result, one.reason) == ("UNKNOWN", "ORDER_UNKNOWN")
        assert stage.unknown() == [BUY] and stage.events("order") == []
        stage.beat("10:16:08")  # 65 s after it was signed: it may still be on its way
        assert stage.unknown() == [BUY]
        stage.beat("10:16:09")
        assert stage.result(BUY) == "NEVER_ARRIVED"
    assert stage.creates() == 1 and latch.stopped_because(stage.home) is None
    check_books(stage)


def test_the_answer_that_its_id_was_used_before_is_looked_up(account_stage):
    stage = account_stage
    (one,) = buy(stage, kind="duplicate_answer").acts
    assert one.result == "FILLED" and latch.stopped_because(stage.home) is None
    check_books(stage)


def test_a_part_that_was_filled_is_booked_as_it_is(account_stage):
    stage = account_stage
    (one,) = buy(stage, kind="partial", fraction=0.6).acts
    # 0.6 of 94 lots are 56.4: 56 lots at 100105.1 cost 5.6058856
    assert (one.result, stage.result(BUY)) == ("PARTIAL", "PARTIAL")
    assert (one.fill.quantity, one.fill.notional) == (Decimal("0.000056"), Decimal("5.6058856"))
    assert Decimal(stage.held()["BTCUSDT"]) == Decimal("0.000056") - Decimal("0.000000056")
    check_books(stage)


def test_nothing_inside_the_limit_is_an_outcome_too(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    frozen = freeze(stage.desk, moment("10:15"))
    (order,) = decide(frozen).orders
    tell = stage.desk.broker.client.tell

    def too_late(what, **parameters):  # the market leaves while the order is on its way
        stage.market.set("BTCUSDT", "10:15", "100600.0")
        return tell(what, **parameters)

    stage.desk.broker.client.tell = too_late
    one = act(stage.desk, order, frozen)
    assert (one.result, stage.result(BUY)) == ("OUTSIDE_COLLAR", "OUTSIDE_COLLAR")
    assert stage.order(BUY).status == "Cancelled"
    check_books(stage)


@pytest.mark.parametrize("kind", ["executions_twice", "executions_unordered"])
def test_executions_in_any_order_and_number_are_one_fill(account_stage, kind):
    stage = account_stage
    stage.fault(kind)
    buy(stage)
    sell(stage)
    assert (stage.result(BUY), stage.result(SALE)) == ("FILLED", "FILLED")
    check_books(stage)


def test_an_order_over_many_levels_is_the_sum_of_its_executions(account_stage):
    stage = account_stage
    for kind in ("executions_twice", "executions_unordered"):
        stage.fault(kind)
    buy(stage)
    # 30 BTC at once walk the book: far more than the kit may buy, so the broker alone is asked
    account = stage.there
    account.wallet["USDT"] = Decimal(10**7)
    order = Order("30-btc", "BTCUSDT", Side.BUY, Decimal(30), Decimal("100500.0"), moment("10:15"))
    report = stage.desk.broker.submit(Sent(order, stage.desk.exchange.time(), Decimal(100100)))
    mine = [e for e in account.executions if account.orders[e.order_id].link_id == "30-btc"]
    assert len(mine) > 1 and report.state in (State.FILLED, State.PARTIAL)
    assert report.fill.quantity == sum(e.quantity for e in mine)
    assert report.fill.notional == sum(e.value for e in mine)
    assert report.fill.fee == sum(e.fee for e in mine)


def test_executions_that_come_late_are_waited_for(account_stage):
    stage = account_stage
    (one,) = buy(stage, kind="executions_late", seconds=70).acts
    # the order says Filled, and the list of executions is still empty: that is no fill of nothing
    assert one.result == "UNKNOWN" and "of which 0 is listed so far" in one.text
    stage.beat("10:16:03")
    assert stage.unknown() == [BUY]
    stage.beat("10:16:14")
    assert stage.result(BUY) == "FILLED"
    check_books(stage)


def test_what_became_known_later_agrees_with_the_sealed_notebook_of_its_tick(account_stage):
    stage = account_stage
    result = buy(stage, kind="executions_late", seconds=70)
    assert result.notebook is not None and stage.unknown() == [BUY]
    stage.beat("10:16:14")
    assert stage.result(BUY) == "FILLED"
    assert audit.verify(stage.desk.con, stage.home)[1] == []


def test_tick_and_watch_that_look_at_once_book_it_once(account_stage):
    stage = account_stage
    buy(stage, kind="executions_late", seconds=70)
    stage.at("10:16:14")
    with ExitStack() as stack:
        desks = [stage.desk, *(stack.enter_context(another_process(stage)).desk for _ in range(3))]
        start = Barrier(len(desks))

        def look(desk) -> None:
            start.wait()
            orders.look_up(desk)

        with ThreadPoolExecutor(len(desks)) as threads:
            list(threads.map(look, desks))
    assert stage.result(BUY) == "FILLED" and len(stage.events("order", "fill")) == 2
    check_books(stage)


def another_process(stage):
    """The same home as another process would open it."""
    return machine(stage.home.root, stage.market, stage.simulator, stage.scale)


def test_a_part_of_the_executions_is_not_taken_for_all(account_stage):
    stage = account_stage
    ask = stage.desk.broker.client.ask

    def half(question, **parameters):
        result = ask(question, **parameters)
        if question == "execution_list":
            result["list"] = [
                {**row, "execQty": str(Decimal(row["execQty"]) / 2)} for row in result["list"]
            ]
        return result

    stage.desk.broker.client.ask = half
    (one,) = buy(stage).acts
    assert one.result == "UNKNOWN" and "0.000094, of which 0.000047 is listed so far" in one.text
    stage.desk.broker.client.ask = ask
    stage.beat("10:16")
    assert stage.result(BUY) == "FILLED"
    check_books(stage)


@pytest.mark.parametrize("seconds, shown_at", [(90, "10:16:33"), (3600, "11:15:04")])
def test_an_order_that_is_shown_late_is_never_given_up(account_stage, seconds, shown_at):
    stage = account_stage
    stage.fault("not_found_at_first", seconds=seconds)
    (one,) = buy(stage, kind="ack_lost").acts
    assert one.result == "UNKNOWN"
    # in no list after 65 s: but the wallet has moved, so it did arrive
    stage.beat("10:16:09")
    assert stage.unknown() == [BUY]
    told = stage.told()
    assert f"{BUY} is in no list, and yet the account holds" in told
    assert "USDT 990.5901206 instead of 1000" in told
    if seconds > 90:
        for text in ("10:30:03", "11:00:03"):
            stage.beat(text)
            assert stage.unknown() == [BUY]
    stage.beat(shown_at)
    assert stage.result(BUY) == "FILLED" and stage.creates() == 1
    check_books(stage)


def test_an_order_that_rests_although_it_must_not_is_cancelled(account_stage):
    stage = account_stage
    call = stage.desk.broker.client._call

    def as_a_resting_one(verb, question, parameters, at_ms):
        if question == "order_create":  # what an exchange that overlooks IOC would make of it
            parameters = {**parameters, "timeInForce": "GTC", "price": "100000.0"}
        return call(verb, question, parameters, at_ms)

    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    frozen = freeze(stage.desk, moment("10:15"))
    (order,) = decide(frozen).orders
    order = replace(order, limit=Decimal("100000.0"))
    stage.desk.broker.client._call = as_a_resting_one
    one = act(stage.desk, order, frozen)
    assert stage.order(BUY).cancel_type == "CancelByUser"
    assert stage.there.open_orders() == []
    assert (one.result, stage.result(BUY)) == ("OUTSIDE_COLLAR", "OUTSIDE_COLLAR")
    check_books(stage)


# --- refusals ---


@pytest.mark.parametrize(
    "code, sentence",
    [
        ("10006", "too many requests with this key; it is asked again later"),
        ("170193", "the limit is further from the market than the exchange allows now"),
    ],
)
def test_a_refusal_that_passes_ends_the_order_and_nothing_else(account_stage, code, sentence):
    stage = account_stage
    rise(stage)
    stage.arm()
    if code == "10006":
        stage.fault("10006", endpoint=CREATE, uses=1)
    else:
        tell = stage.desk.broker.client.tell

        def too_late(what, **parameters):  # 100500.4 is more than 0.5 % above 99900
            stage.market.set("BTCUSDT", "10:15", "99900.0")
            return tell(what, **parameters)

        stage.desk.broker.client.tell = too_late
    (one,) = stage.tick("10:15").acts
    assert (one.result, one.reason) == ("REJECTED", "EXCHANGE_REFUSED")
    assert f"Bybit refused it: {code} " in one.text and sentence in one.text
    assert latch.stopped_because(stage.home) is None and stage.unknown() == []
    stage.beat("10:16")
    assert stage.state() == ("ACTIVE", "")
    check_books(stage)


def test_a_refusal_of_an_order_that_every_rule_allowed_stops_the_kit(account_stage):
    stage = account_stage
    rise(stage)
    stage.arm()
    tell = stage.desk.broker.client.tell

    def withdrawn(what, **parameters):  # between the last look at the account and the order
        stage.there.wallet["USDT"] = Decimal(1)
        return tell(what, **parameters)

    stage.desk.broker.client.tell = withdrawn
    (one,) = stage.tick("10:15").acts
    assert (one.result, one.reason) == ("REJECTED", "EXCHANGE_REFUSED")
    assert one.text == "Bybit refused it: 170131 Insufficient balance."
    assert latch.stopped_because(stage.home) == (
        "EXCHANGE_REFUSED: Bybit refused it: 170131 Insufficient balance. (by the orders)"
    )
    assert gate.state_of(stage.situation())[:2] == ("STOPPED", "GATE_STOPPED")
    assert executed(stage) == {}


def test_an_order_that_is_accepted_and_then_rejected_stops_the_kit(account_stage):
    # an acknowledgement is not a fill
    stage = account_stage
    (one,) = buy(stage, kind="rejected").acts
    assert one.result == "REJECTED" and executed(stage) == {} and stage.events("fill") == []
    assert latch.stopped_because(stage.home) == (
        f"EXCHANGE_REFUSED: the exchange rejected {BUY}: EC_Others (by the orders)"
    )


# --- while an outcome is unknown ---


def test_an_unknown_order_keeps_entries_back_and_exits_only_of_its_own_sale(account_stage):
    stage = account_stage
    buy(stage)
    stage.fault("ack_lost", uses=1)
    stage.fault("not_found_at_first", seconds=3600, symbol="BTCUSDT")
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    result = sell(stage)  # the sale of BTC is unknown, and ETH is to be bought
    assert [(a.order.id, a.result, a.reason) for a in result.acts] == [
        (SALE, "UNKNOWN", "ORDER_UNKNOWN"),
        ("20261122T1030Z-ETH-B", "REFUSED", "ORDER_UNKNOWN"),
    ]
    assert f"not known yet what came of {SALE}" in result.acts[1].text
    assert stage.state() == ("REDUCING", "ORDER_UNKNOWN")
    # a stop wants to sell all that the ledger holds: but that BTC may be sold already
    latch.stop(stage.home, "a hand")
    (refused,) = stage.beat("10:31").sales
    assert (refused.order.id, refused.reason) == ("20261122T1031Z-BTC-X", "ORDER_UNKNOWN")
    assert stage.creates() == 2
    stage.well()
    stage.beat("10:32")
    assert stage.result(SALE) == "FILLED" and stage.creates() == 2
    check_books(stage)


def test_an_unknown_order_does_not_hold_up_the_exit_of_the_other_symbol(account_stage):
    stage = account_stage
    buy(stage)
    stage.fault("ack_lost", uses=1)
    stage.fault("not_found_at_first", seconds=3600, symbol="ETHUSDT")
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    stage.beat("10:29")
    (bought,) = stage.tick("10:30").acts
    assert bought.result == "UNKNOWN" and bought.order.id == "20261122T1030Z-ETH-B"
    stage.market.set("BTCUSDT", "10:44", "99900.0")
    stage.beat("10:44")
    result = stage.tick("10:45")
    assert [(a.order.id, a.result) for a in result.acts] == [("20261122T1045Z-BTC-S", "FILLED")]
    stage.well()
    stage.beat("10:46")
    assert stage.result("20261122T1030Z-ETH-B") == "FILLED"
    check_books(stage)
