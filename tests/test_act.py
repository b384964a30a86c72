"""`act`: the one function that turns an approved order into fills, on today's facts."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.stage import book_fill, moment, rise
from tgtqr_lib import books, latch, tick
from tgtqr_lib.act import act
from tgtqr_lib.domain import Order, Side
from tgtqr_lib.freeze import freeze
from tgtqr_lib.sizing import entry, sale


@pytest.fixture
def ready(stage):
    """Armed at 10:14, BTC risen; the clock stands at 10:15:03 and nothing is decided yet."""
    rise(stage)
    stage.arm()
    stage.at("10:15:03")
    return stage


def frozen(stage, boundary="10:15"):
    return freeze(stage.desk, moment(boundary))


def a_buy(stage, inputs, symbol="BTCUSDT") -> Order:
    view = inputs.market(symbol)
    return entry(symbol, view.candles.last_close, view.instrument, inputs.plan, inputs.boundary)


def a_sale(stage, inputs, quantity, symbol="BTCUSDT") -> Order:
    view = inputs.market(symbol)
    return sale(
        symbol,
        Decimal(quantity),
        view.candles.last_close,
        view.instrument,
        100,
        inputs.boundary,
        "S",
    )


def test_an_order_is_filled_at_the_books_price_and_booked_with_its_reasons(ready):
    inputs = frozen(ready)
    done = act(ready.desk, a_buy(ready, inputs), inputs)
    assert (done.result, f"{done.fill.price:f}", f"{done.fill.fee:f}") == (
        "FILLED",
        "100105.1",
        "0.00090095",
    )
    (row,) = ready.events("order")
    assert row.body["quote"]["ask"] == "100105.1" and row.body["at"] == "2026-11-22T10:15:03Z"
    assert all(verdict["allowed"] for verdict in row.body["verdicts"])
    assert row.body["order"]["feasible"] == "no, needs 5.00"


def test_acting_twice_is_acting_once(ready):
    inputs = frozen(ready)
    order = a_buy(ready, inputs)
    first = act(ready.desk, order, inputs)
    head, cash = ready.head(), ready.cash()
    again = act(ready.desk, order, inputs)
    assert (again.result, again.text) == (first.result, first.text)
    assert (ready.head(), ready.cash()) == (head, cash)


@pytest.mark.parametrize("at, result", [("10:31:00", "FILLED"), ("10:31:01", "REFUSED")])
def test_a_machine_that_slept_in_the_middle_of_a_tick_does_not_buy(ready, at, result):
    # a tick of 10:15 starts by 10:16:00, so a quarter hour later it is over; a beat has renewed the lease
    inputs = frozen(ready)
    ready.beat("10:30:30")
    ready.at(at)
    done = act(ready.desk, a_buy(ready, inputs), inputs)
    assert done.result == result
    assert done.reason == ("FILLED" if result == "FILLED" else "DECISION_LATE")


def test_a_machine_that_slept_sells_all_the_same(ready):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    inputs = freeze(ready.desk, moment("10:15"))
    ready.at("10:59:00")
    assert act(ready.desk, a_sale(ready, inputs, "0.000009"), inputs).result == "FILLED"


def test_a_refused_order_is_not_tried_again_either(ready):
    inputs = frozen(ready)
    latch.stop(ready.home, "x")
    order = a_buy(ready, inputs)
    assert act(ready.desk, order, inputs).result == "REFUSED"
    (ready.home.control / "STOP").unlink()
    with latch.arming(ready.home):
        pass
    assert act(ready.desk, order, inputs).result == "REFUSED" and ready.held() == {}


def test_a_stop_between_decision_and_act_keeps_the_entry_back(stage, monkeypatch):
    rise(stage)
    stage.arm()

    def stop_first(desk, order, inputs):
        (stage.home.control / "STOP").touch()
        return act(desk, order, inputs)

    monkeypatch.setattr(tick, "act", stop_first)
    result = stage.tick("10:15")
    assert result.decision.orders  # it was decided, and approved
    assert (result.acts[0].result, result.acts[0].reason) == ("REFUSED", "GATE_STOPPED")
    assert (result.state, result.reason) == ("refused", "GATE_STOPPED")
    assert stage.events("fill") == [] and stage.cash() == "10.00"


def test_while_stopped_an_entry_is_refused_and_an_exit_goes(ready):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    latch.stop(ready.home, "x")
    assert act(ready.desk, a_buy(ready, inputs, "ETHUSDT"), inputs).reason == "GATE_STOPPED"
    assert act(ready.desk, a_sale(ready, inputs, "0.000009"), inputs).result == "FILLED"
    assert ready.held() == {}


@pytest.mark.parametrize("age_s, result", [(5, "FILLED"), (5.001, "REFUSED"), (60, "REFUSED")])
def test_an_entry_needs_a_quote_of_at_most_5_s(ready, age_s, result):
    inputs = frozen(ready)
    ready.at("10:15:30")  # the quote of a moment ago is from inside the minute
    ready.simulator.faults.add("stale", endpoint="/v5/market/orderbook", age_s=age_s)
    done = act(ready.desk, a_buy(ready, inputs), inputs)
    assert done.result == result
    assert done.reason == ("DATA_STALE" if result == "REFUSED" else "FILLED")


@pytest.mark.parametrize("age_s, result", [(5, "FILLED"), (5.001, "NO_QUOTE")])
def test_an_exit_is_not_priced_by_a_stale_quote_either(ready, age_s, result):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    ready.simulator.faults.add("stale", endpoint="/v5/market/orderbook", age_s=age_s)
    done = act(ready.desk, a_sale(ready, inputs, "0.000009"), inputs)
    assert done.result == result and bool(ready.held()) is (result == "NO_QUOTE")


@pytest.mark.parametrize(
    "fault", [{"kind": "5xx"}, {"kind": "nan"}, {"kind": "zero"}], ids=lambda fault: fault["kind"]
)
def test_without_a_quote_nothing_fills_and_the_reason_is_kept(ready, fault):
    inputs = frozen(ready)
    ready.desk.exchange._budget_s = 0.2
    ready.simulator.faults.add(fault["kind"], endpoint="/v5/market/orderbook")
    done = act(ready.desk, a_buy(ready, inputs), inputs)
    assert (done.result, done.reason) == ("NO_QUOTE", "DATA_STALE")
    assert ready.events("order")[0].body["result"] == "NO_QUOTE" and ready.events("fill") == []


def test_outside_the_collar_nothing_fills_and_the_next_tick_decides_anew(stage, monkeypatch):
    rise(stage)
    stage.arm()

    def price_runs_away(desk, order, inputs):
        stage.market.set("BTCUSDT", "10:15", "101200.0")  # limit 101101.0
        return act(desk, order, inputs)

    monkeypatch.setattr(tick, "act", price_runs_away)
    result = stage.tick("10:15")
    (done,) = result.acts
    assert done.result == "OUTSIDE_COLLAR"
    # best ask 101200 * (1 + 0.5 bp) = 101205.06, up to 101205.1
    assert done.text == "best price 101205.1 is outside the limit 101101.0"
    assert (result.state, stage.held()) == ("done", {})
    monkeypatch.setattr(tick, "act", act)
    stage.beat("10:29")
    again = stage.tick("10:30")
    assert [a.order.id for a in again.acts] == ["20261122T1030Z-BTC-B"] and stage.held()


def test_more_than_is_held_is_never_sold(ready):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    done = act(ready.desk, a_sale(ready, inputs, "0.000010"), inputs)
    assert (done.result, done.reason) == ("REFUSED", "LONG_ONLY")
    assert ready.held() == {"BTCUSDT": "0.000009"}


def test_nothing_held_cannot_be_sold(ready):
    inputs = frozen(ready)
    done = act(ready.desk, a_sale(ready, inputs, "0.000001"), inputs)
    assert (done.result, done.reason) == ("REFUSED", "LONG_ONLY")


def test_what_was_bought_meanwhile_counts(ready):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    second = replace(a_buy(ready, inputs), id="20261122T1015Z-BTC-C")
    done = act(ready.desk, second, inputs)  # `inputs` still know of nothing held
    assert (done.result, done.reason) == ("REFUSED", "POSITION_LIMIT")


def test_money_that_was_lost_meanwhile_counts(ready):
    inputs = frozen(ready)
    book_fill(ready, "BUY", "0.00001", "1.2", symbol="ETHUSDT")
    book_fill(ready, "SELL", "0.00001", "0.1", symbol="ETHUSDT")
    # cash 8.9; the entry costs 9 * 0.101101 = 0.909909 and 0.00090991: 7.98918109 is below 10 - 2
    done = act(ready.desk, a_buy(ready, inputs), inputs)
    assert (done.result, done.reason) == ("REFUSED", "DAILY_BUDGET")


@pytest.mark.parametrize(
    "since, result", [("23:59:58", "REFUSED"), ("2026-11-23T00:00:01", "FILLED")]
)
def test_an_act_across_midnight_answers_to_both_days(stage, since, result):
    # 1.5 USDT were lost on the 22nd: its floor of 8.00 forbids the entry, the 23rd's of 6.50 allows it
    rise(stage, since="23:44")
    stage.arm("22:00")
    book_fill(stage, "BUY", "0.00001", "2")
    book_fill(stage, "SELL", "0.00001", "0.5")
    stage.beat(since)
    inputs = freeze(stage.desk, moment("23:45"))
    stage.at("2026-11-23T00:00:02")
    done = act(stage.desk, a_buy(stage, inputs), inputs)
    assert done.result == result
    assert done.reason == ("FILLED" if result == "FILLED" else "DAILY_BUDGET")


def test_every_fill_conserves_money(ready):
    inputs = frozen(ready)
    act(ready.desk, a_buy(ready, inputs), inputs)
    act(ready.desk, a_buy(ready, inputs, "ETHUSDT"), inputs)
    portfolio = books.portfolio(ready.desk.con, books.account(ready.desk.con))
    cost = sum(p.cost for p in portfolio.held)
    assert len(portfolio.held) == 2 and portfolio.cash + cost == 10
    act(ready.desk, a_sale(ready, inputs, "0.000009"), inputs)
    fills = [row.body for row in ready.events("fill")]
    paid = sum(Decimal(f["notional"]) * (-1 if f["side"] == Side.BUY else 1) for f in fills)
    fees = sum(Decimal(f["fee"]) for f in fills)
    assert Decimal(ready.cash()) == 10 + paid - fees
