"""The safety path: mark, breach, spent, and selling what a stop left; the UTC day and the limits of the day."""

from decimal import Decimal

import pytest

from tests.stage import book_fill, minutes, moment, rise
from tgtqr_lib import books, latch
from tgtqr_lib.domain import Limits

UNIT = Decimal("0.00000001")


def buy(stage) -> None:
    """Hold 0.000009 BTC for 0.90184685, fee in; cash is 9.09815315."""
    rise(stage)
    stage.arm()
    assert stage.tick("10:15").acts[0].result == "FILLED"


def stopped(stage) -> str | None:
    return latch.stopped_because(stage.home)


# --- selling what a stop left ---


def test_what_is_held_is_sold_by_the_next_beat_after_a_stop(stage):
    buy(stage)
    (stage.home.control / "STOP").touch()
    (sold,) = stage.beat("10:16:03").sales
    assert (sold.order.id, sold.result) == ("20261122T1016Z-BTC-X", "FILLED")
    # best bid 100100 * (1 - 0.5 bp) = 100094.995, down to 100094.9: 0.9008541, fee 0.00090086
    # the sale's limit is 1 % below that bid: 99093.951, down to 99093.9
    assert (f"{sold.fill.notional:f}", f"{sold.order.limit:f}") == ("0.90085410", "99093.9")
    assert stage.held() == {} and stage.cash() == "9.99810639"
    assert stage.beat("10:17:03").sales == ()


def test_the_next_tick_sells_too_and_its_notebook_decides_nothing(stage):
    buy(stage)
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    stage.beat("10:29")
    latch.stop(stage.home, "x")
    result = stage.tick("10:30")
    assert [sale.order.id for sale in result.safety.sales] == ["20261122T1030Z-BTC-X"]
    assert result.acts == [] and result.state == "refused" and stage.held() == {}


def test_both_symbols_are_sold(stage):
    rise(stage, "ETHUSDT", price="2502.50")
    buy(stage)
    assert set(stage.held()) == {"BTCUSDT", "ETHUSDT"}
    latch.stop(stage.home, "x")
    assert [s.order.id for s in stage.beat("10:16").sales] == [
        "20261122T1016Z-BTC-X",
        "20261122T1016Z-ETH-X",
    ]
    assert stage.held() == {}


def test_a_sale_outside_the_collar_is_tried_again_each_minute_until_flat(stage):
    buy(stage)
    latch.stop(stage.home, "x")
    usual, quotes = stage.desk.exchange.quote, []

    def fall_after_the_first_look(symbol):
        quotes.append(usual(symbol))
        if len(quotes) in (1, 3):  # the limit hangs on this one; 2 % lower the order meets no bid
            price = {1: "98000.0", 3: "96000.0"}[len(quotes)]
            stage.market.set("BTCUSDT", {1: "10:16", 3: "10:17"}[len(quotes)], price)
        return quotes[-1]

    stage.desk.exchange.quote = fall_after_the_first_look
    results = [stage.beat(at).sales[0].result for at in minutes("10:16", 3)]
    assert results == ["OUTSIDE_COLLAR", "OUTSIDE_COLLAR", "FILLED"]
    ids = [row.body["order"]["id"] for row in stage.events("order")][1:]
    assert ids == [f"20261122T10{minute}Z-BTC-X" for minute in (16, 17, 18)]
    assert stage.held() == {}


def test_two_beats_in_a_minute_sell_once(stage):
    buy(stage)
    latch.stop(stage.home, "x")
    stage.beat("10:16:03")
    orders = len(stage.events("order"))
    stage.beat("10:16:40")
    assert len(stage.events("order")) == orders


@pytest.mark.parametrize("endpoint", ["orderbook", "tickers"])
def test_a_sale_waits_for_a_quote(stage, endpoint):
    buy(stage)
    latch.stop(stage.home, "x")
    number = stage.simulator.faults.add("nan", endpoint=f"/v5/market/{endpoint}")
    stage.beat("10:16")
    assert stage.held()
    stage.simulator.faults.clear(number)
    stage.beat("10:17")
    assert stage.held() == {}


def test_a_sale_needs_no_candles(stage):
    # the last minute is missing: no mark, no lease, but the exit goes
    buy(stage)
    latch.stop(stage.home, "x")
    stage.simulator.faults.add("missing_minute")
    assert stage.beat("10:16").sales[0].result == "FILLED" and stage.held() == {}


@pytest.mark.parametrize("fault", ["5xx", "missing_minute"])
def test_a_sale_goes_on_a_new_day_that_cannot_be_opened(stage, fault):
    # the close of 23:59 is not to be had, so the day is not open: that must not hold up an exit
    buy(stage)
    latch.stop(stage.home, "x")
    stage.desk.exchange._budget_s = 0.2
    named = {"minute": "2026-11-22T23:59Z"} if fault == "missing_minute" else {}
    stage.simulator.faults.add(fault, endpoint="/v5/market/kline", **named)
    assert stage.beat("2026-11-23T00:00:03").sales[0].result == "FILLED"
    assert len(stage.events("day")) == 1  # before anybody asks again, with nothing held
    assert stage.held() == {}


def test_doubt_never_causes_a_sale(stage):
    buy(stage)
    for kind in ("nan", "zero", "missing_minute"):
        stage.simulator.faults.add(kind, endpoint="/v5/market/kline")
        seen = stage.beat("10:16")
        assert (seen.equity, seen.sales, stopped(stage)) == (None, (), None)
        stage.simulator.faults.clear()


# --- breach and spent ---


@pytest.mark.parametrize("paid, broken", [("2.9", False), ("2.90000001", True)])
def test_a_breach_is_equity_below_the_floor_and_on_it_is_none(stage, paid, broken):
    # 0.000009 BTC at 100000.0 are worth 0.9: equity 10 - 2.9 + 0.9 is the day's floor of 8
    stage.arm("10:14")
    book_fill(stage, "BUY", "0.000009", paid)
    seen = stage.beat("10:16")
    assert bool(seen.stopped) is broken and bool(seen.sales) is broken
    if broken:
        assert stopped(stage) == (
            "BREACH: equity 7.99999999 is below the floor 8.00 (2026-11-22) (by the safety path)"
        )
        assert books.last_gate(stage.desk.con)["what"] == "stopped" and stage.held() == {}
        assert stage.events("ended") == []  # a day's breach can be armed again, with a reason


def test_a_fall_of_prices_marks_down_to_a_breach_and_is_sold_in_the_same_beat(stage):
    stage.arm("10:14")
    book_fill(stage, "BUY", "0.000029", "2.9")
    assert stage.beat("10:15").stopped is None  # worth 2.9
    stage.market.set("BTCUSDT", "10:15", "31000.0")
    seen = stage.beat("10:16")  # 7.1 and 0.000029 * 31000 = 0.899: 7.999 is below 8
    assert "equity 7.99900000 is below the floor 8.00" in seen.stopped
    assert [sale.result for sale in seen.sales] == ["FILLED"] and stage.held() == {}


def test_a_total_breach_ends_the_account(stage):
    stage.arm("10:14")
    book_fill(stage, "BUY", "0.000009", "5.90000001")
    seen = stage.beat("10:16")
    assert "BREACH: equity 4.99999999 is below the floor 5.00 (total)" in seen.stopped
    (end,) = stage.events("ended")
    assert (end.body["cause"], end.body["account"]) == ("BREACH", "paper-1")
    assert books.last_stop_cause(stage.desk.con) == "BREACH"


def test_a_total_breach_of_a_stopped_kit_ends_the_account_too(stage):
    stage.arm("10:14")
    latch.stop(stage.home, "the owner was faster")
    book_fill(stage, "BUY", "0.000009", "5.90000001")
    stage.beat("10:16")
    stage.beat("10:17")
    assert stopped(stage) == "the owner was faster"
    assert [row.body["cause"] for row in stage.events("ended")] == ["BREACH"]


@pytest.mark.parametrize("lost, spent", [("4.09009100", False), ("4.09009101", True)])
def test_spent_is_when_no_entry_can_pass_the_total_floor(stage, lost, spent):
    # the cheaper entry is BTC's: 9 lots at 101000.0 cost 0.909 and a fee of 0.000909, so 5.909909 is enough
    stage.arm("2026-11-21T23:50")
    book_fill(stage, "BUY", "0.00001", str(Decimal(lost) + 1))
    book_fill(stage, "SELL", "0.00001", "1")
    seen = stage.beat("2026-11-22T00:00:03")
    assert bool(seen.stopped) is spent
    if spent:
        assert seen.stopped.startswith(
            "SPENT: cash 5.90990899 allows no entry over the total floor 5.00"
        )
        assert [row.body["cause"] for row in stage.events("ended")] == ["SPENT"]


def test_a_spent_day_only_refuses_entries_until_midnight(stage):
    rise(stage)
    stage.arm()
    book_fill(stage, "BUY", "0.00001", "2")
    book_fill(
        stage, "SELL", "0.00001", "0.5"
    )  # cash 8.5: an entry of 0.91 would break the floor of 8
    result = stage.tick("10:15")
    assert result.decision.choice("BTCUSDT").reason == "DAILY_BUDGET"
    assert (result.state, stopped(stage)) == ("done", None)
    stage.market.set("BTCUSDT", "23:59", "100200.0")
    stage.beat("2026-11-23T00:00:01")
    assert stage.tick("2026-11-23T00:00").acts[0].result == "FILLED"


# --- the UTC day ---


def days(stage) -> list[tuple[str, str, str]]:
    rows = [row.body for row in stage.events("day")]
    return [(b["day"]["date"], b["day"]["start_equity"], b["at"]) for b in rows]


def test_the_day_opens_with_the_first_event_at_or_after_midnight_at_the_close_of_23_59(stage):
    buy(stage)
    stage.market.set("BTCUSDT", "23:58", "102000.0")
    stage.market.set("BTCUSDT", "23:59", "101000.0")
    stage.market.set("BTCUSDT", "2026-11-23T00:00", "99000.0")
    stage.beat("23:59:59.999")
    assert len(days(stage)) == 1
    stage.beat("2026-11-23T00:00:00")
    # 9.09815315 and 0.000009 * 101000 = 0.909
    assert days(stage)[1:] == [("2026-11-23", "10.00715315", "2026-11-23T00:00:00Z")]


def test_the_day_opens_at_the_close_of_23_59_also_after_hours_asleep_and_only_once(stage):
    buy(stage)
    stage.market.set("BTCUSDT", "23:59", "101000.0")
    stage.market.set("BTCUSDT", "2026-11-23T00:00", "99000.0")
    for at in ("05:17:20", "05:18:03", "19:00:03"):
        stage.beat(f"2026-11-23T{at}")
    assert days(stage)[1:] == [("2026-11-23", "10.00715315", "2026-11-23T05:17:20Z")]


def test_the_tick_of_midnight_belongs_to_the_new_day(stage):
    stage.arm("23:59")
    result = stage.tick("2026-11-23T00:00")
    assert [date for date, *_ in days(stage)] == ["2026-11-22", "2026-11-23"]
    assert [day.date for day in result.safety.inputs.days] == ["2026-11-23"]


def test_a_day_whose_close_of_23_59_is_missing_stays_shut_for_entries(stage):
    buy(stage)
    stage.market.set("ETHUSDT", "23:59", "2502.50")
    number = stage.simulator.faults.add(
        "missing_minute", minute="2026-11-22T23:59Z", symbol="BTCUSDT"
    )
    stage.beat("2026-11-23T00:01:00")  # what is held can be marked again, at the close of 00:00
    result = stage.tick("2026-11-23T00:00", 60)
    choice = result.decision.choice("ETHUSDT")
    assert (choice.reason, choice.approved) == ("DAILY_BUDGET", False)
    assert len(days(stage)) == 1 and "ETHUSDT" not in stage.held()
    stage.simulator.faults.clear(number)
    stage.beat("2026-11-23T00:02")
    assert len(days(stage)) == 2


# --- limits of the day ---


def position_limit(stage) -> Decimal:
    return stage.situation().limits.position_usdt


def test_a_tightened_limit_binds_entries_at_once(stage):
    rise(stage)
    stage.arm()
    stage.configure("limits = { position_usdt = '0.5' }")
    result = stage.tick("10:15")
    assert result.decision.choice("BTCUSDT").reason == "POSITION_LIMIT" and stage.held() == {}


@pytest.mark.parametrize(
    "tight", ["position_usdt = '0.1'", "daily_loss_usdt = '0.0001'", "total_loss_usdt = '0.0001'"]
)
def test_a_tightened_limit_never_forces_a_sale(stage, tight):
    # equity is 9.99905315: below 10 - 0.0001, which is a breach only for a limit that held all day
    buy(stage)
    stage.configure(f"limits = {{ {tight} }}")
    stage.beat("10:16")
    stage.beat("10:29")
    stage.tick("10:30")
    assert (stage.held(), stopped(stage)) == ({"BTCUSDT": "0.000009"}, None)


def test_a_limit_that_was_tight_in_the_morning_is_not_loosened_by_the_file_before_midnight(stage):
    stage.configure("limits = { position_usdt = '0.5' }")
    stage.arm()
    stage.configure("")
    assert position_limit(stage) == Decimal("0.5")
    stage.at("23:59:59")
    assert position_limit(stage) == Decimal("0.5")
    stage.at("2026-11-23T00:00:00")
    assert position_limit(stage) == 1


def test_a_limit_that_was_tightened_during_the_day_is_not_loosened_by_the_file_either(stage):
    rise(stage)
    stage.arm()
    stage.configure("limits = { position_usdt = '0.5' }")
    stage.tick("10:15")
    stage.configure("")
    stage.beat("10:29")
    assert position_limit(stage) == Decimal("0.5")
    assert stage.tick("10:30").decision.choice("BTCUSDT").reason == "POSITION_LIMIT"
    stage.at("2026-11-23T00:00:00")
    assert position_limit(stage) == 1


def test_no_setting_and_no_day_lifts_the_hard_limits(stage):
    stage.arm()
    assert stage.situation().limits == Limits(Decimal(1), Decimal(2), Decimal(5), Decimal(1))


def test_settings_changes_are_in_the_ledger_with_old_and_new(stage):
    stage.arm()
    stage.tick("10:15")
    stage.configure("limits = { position_usdt = '0.5' }")
    stage.tick("10:30")
    stage.tick("10:45")
    first, second = (row.body for row in stage.events("settings"))
    assert (first["old"], first["new"]["limits"]["position_usdt"]) == (None, "1.00")
    assert second["old"] == first["new"] and second["new"]["limits"]["position_usdt"] == "0.5"
    assert second["at"] == "2026-11-22T10:30:03Z" and moment("10:30")
