"""Every fault of the simulator, switched on for one tick and off again: no order, its code, then all is well."""

import pytest

from tests.stage import rise
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.market.simulation.fault_kinds import FAULTS

KLINE, BOOK = "/v5/market/kline", "/v5/market/orderbook"
FUNDING = "/v5/market/funding/history"

# fault -> how it is switched on, and the reason that the ledger must give for BTCUSDT or for the tick
EXPECTED = {
    "delay": ({"seconds": 6.0, "endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "5xx": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "403": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "429": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "10006": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "10016": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "cut": ({"endpoint": KLINE}, "EXCHANGE_UNREACHABLE"),
    "rubbish": ({"endpoint": KLINE}, "DATA_INVALID"),
    "stale": ({"age_s": 120, "endpoint": BOOK}, "DATA_STALE"),
    "wrong_symbol": ({"endpoint": KLINE, "symbol": "BTCUSDT"}, "DATA_INVALID"),
    "missing_minute": ({"symbol": "BTCUSDT"}, "DATA_LATE"),
    "nan": ({"symbol": "BTCUSDT"}, "DATA_INVALID"),
    "zero": ({"symbol": "BTCUSDT"}, "DATA_INVALID"),
    "jump": ({"symbol": "BTCUSDT"}, "DATA_JUMP"),
    "duplicate": ({"symbol": "BTCUSDT"}, "DATA_INVALID"),
    "unsorted": ({"symbol": "BTCUSDT"}, "DATA_INVALID"),
    "one_sided": ({"symbol": "BTCUSDT"}, "DATA_STALE"),
    "crossed": ({"symbol": "BTCUSDT"}, "DATA_STALE"),
}
# those that concern only strategies that read the book or funding; see the tests below
BESIDE = {"thin", "missing_settlement"}
CLOCKS = {"clock_ahead", "clock_behind"}


def test_every_fault_is_tried():
    assert set(EXPECTED) | CLOCKS | BESIDE == set(FAULTS)


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_fault_of_one_tick(stage, kind):
    options, code = EXPECTED[kind]
    rise(stage)
    stage.arm()
    stage.desk.exchange._budget_s = 1.0
    stage.simulator.faults.add(kind, **options)
    result = stage.tick("10:15")
    reasons = {c.symbol: c.reason for c in result.decision.choices} if result.decision else {}
    assert code in (result.reason, reasons.get("BTCUSDT")), (result.text, reasons)
    assert stage.final("10:15")["state"] == result.state
    assert stage.events("order", "fill") == []
    stage.simulator.faults.clear()
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"


@pytest.mark.parametrize("kind, start_s", [("clock_ahead", 55), ("clock_behind", 3)])
def test_a_clock_that_is_off_for_one_tick(stage, kind, start_s):
    """Ten seconds ahead at 10:15:55 it is too late, ten behind at 10:15:03 it is not yet time."""
    rise(stage)
    stage.arm()
    stage.simulator.faults.add(kind, seconds=10.0)
    try:
        assert stage.tick("10:15", start_s).state == "missed"
    except TgtqrError as error:
        assert "10:14:53" in str(error)
    assert stage.events("order", "fill") == []
    stage.simulator.faults.clear()
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"


def test_asleep_over_three_ticks_they_are_missed_and_the_next_one_is_normal(stage):
    stage.arm("10:14")
    assert stage.tick("10:15").state == "done"
    rise(stage, since="11:14")
    seen = stage.beat("11:14")  # the machine slept from 10:15 on
    assert [name[9:13] for name in seen.missed] == ["1030", "1045", "1100"]
    assert all(stage.final(text)["state"] == "missed" for text in ("10:30", "10:45", "11:00"))
    assert stage.tick("11:15").acts[0].result == "FILLED"


READS_BOTH = 'strategy = "ma_trend_filtered"'
# fault -> how it is switched on, the rule that tells it, and what it says
OF_WHAT_IS_READ = {
    "one_sided": ({}, "DATA_BOOK", "there is no order book; BTCUSDT: the order book has an empty"),
    "crossed": ({}, "DATA_BOOK", "is not below best ask"),
    "thin": ({}, "DATA_BOOK", "the order book has 3 levels a side, 5 are read"),
    "missing_settlement": ({}, "DATA_FUNDING", "and the one after it is missing"),
    "5xx": ({"endpoint": FUNDING}, "DATA_FUNDING", "there is no funding"),
    "rubbish": ({"endpoint": FUNDING}, "DATA_FUNDING", "there is no funding"),
    "wrong_symbol": ({"endpoint": FUNDING, "symbol": "BTCUSDT"}, "DATA_FUNDING", "no funding"),
    "duplicate": ({"endpoint": FUNDING}, None, ""),  # the same rate twice is one settlement
}


def verdicts(result):
    choice = result.decision.choice("BTCUSDT")
    return choice, {one.code: one for one in choice.verdicts}


@pytest.mark.parametrize("kind", OF_WHAT_IS_READ)
def test_what_a_strategy_reads_goes_missing_and_nothing_is_bought(stage, kind):
    options, rule, words = OF_WHAT_IS_READ[kind]
    stage.configure(f"{READS_BOTH}\n[parameters]\nbook_least = -100")
    stage.desk.exchange._budget_s = 1.0
    rise(stage)
    stage.arm()
    stage.simulator.faults.add(kind, **options)
    result = stage.tick("10:15")
    choice, told = verdicts(result)
    if rule is None:
        assert result.acts[0].result == "FILLED"
        return
    # there is no entry to refuse, for the signal holds; its text names what is missing
    assert choice.order is None and stage.events("order", "fill") == []
    assert words in told[rule].text, told[rule].text
    stage.simulator.faults.clear()
    stage.beat("10:29")
    assert stage.tick("10:30").acts[0].result == "FILLED"


@pytest.mark.parametrize("kind", ["thin", "missing_settlement", "5xx", "rubbish"])
def test_what_a_strategy_reads_goes_missing_and_what_is_held_is_sold(stage, kind):
    options, _, _ = OF_WHAT_IS_READ[kind]
    stage.configure(f"{READS_BOTH}\n[parameters]\nbook_least = -100")
    stage.desk.exchange._budget_s = 1.0
    rise(stage)
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.arm()
    assert stage.tick("10:15").acts[0].result == "FILLED"
    stage.beat("10:29")
    stage.simulator.faults.add(kind, **options)
    result = stage.tick("10:30")
    assert [(one.order.side, one.result) for one in result.acts] == [("SELL", "FILLED")]
    assert stage.held() == {}
