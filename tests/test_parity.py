"""Parity: a day's ticks against the backtest of the same candles, each cause brought about by hand.

Unless a test says otherwise BTC costs 100,000.0, from 10:14 on 100,100.0 and from 10:44 on 99,900.0. The tick of
10:15 buys 9 lots of 0.000001 (0.95 / 0.101101 = 9.4), that of 10:45 sells them, and ETH ties all the time.
"""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from tests import stage as staging
from tests.stage import DAY, book_fill, decide_without_a_kernel, files, moment, ms, rise
from tgtqr_lib import archive, books, cli, latch, ledger, tick
from tgtqr_lib.archive import sealing
from tgtqr_lib.brokers import paper
from tgtqr_lib.canonical import dumps, sha256
from tgtqr_lib.clock import MINUTE
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Candles, DataError, Level, Problem, VenueUnavailable
from tgtqr_lib.execution import fill
from tgtqr_lib.kernel import NotebookFailed
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.parity import Cause, Parity, parity
from tgtqr_lib.parity.findings import A_DAY

WHEN = date.fromisoformat(DAY)
BUY = "LONG, BUY 0.000009 at most 101101.0 (SIGNAL_LONG)"
TIE = "HOLD, no order (SIGNAL_TIE)"


def play(stage, *times: str) -> None:
    """Ticks at `times`, each with a beat in the minute before it."""
    for text in times:
        stage.beat(f"{moment(text) - MINUTE:%Y-%m-%dT%H:%M}")
        stage.tick(text)


def a_day(stage) -> None:
    """Four ticks: buy, hold, sell, stay out."""
    rise(stage)
    stage.market.set("BTCUSDT", "10:44", "99900.0")
    stage.arm()
    play(stage, "10:15", "10:30", "10:45", "11:00")


def compared(stage, when=WHEN) -> Parity:
    return parity(stage.home, stage.desk.con, when)


def causes(found: Parity) -> list[tuple[str, str]]:
    """(tick, cause) of what is explained; everything must be."""
    assert [(one.tick_id, one.unexplained) for one in found.unexplained] == []
    return [(one.tick_id[9:13], str(f.cause)) for one in found.explained for f in one.findings]


def facts(found: Parity) -> list[tuple[str, str, str]]:
    """The evidence of the only tick that is explained."""
    (one,) = found.explained
    return [(e.where, e.tick, e.backtest) for f in one.findings for e in f.evidence]


def differing(found: Parity) -> list[tuple[str, str, str]]:
    return [(e.where, e.tick, e.backtest) for one in found.ticks for e in one.differences]


def why(found: Parity) -> str:
    """The sentence about the only tick that is unexplained."""
    (one,) = found.unexplained
    (text,) = one.unexplained
    return f"{one.tick_id[9:13]}: {text}"


def into_lake(stage, minute: str, price: str, symbol="BTCUSDT", count=1) -> None:
    """The exchange's later word: `count` minutes from `minute` on at `price`, volume 1 as in the market."""
    steps = np.full(count, int(Decimal(price).scaleb(staging.DECIMALS[symbol])), dtype=np.int64)
    times = ms(minute) + 60_000 * np.arange(count, dtype=np.int64)
    volume = np.full(count, 1_000_000, dtype=np.int64)
    seen = Candles(symbol, staging.DECIMALS[symbol], times, steps, steps, steps, steps, volume)
    Lake(stage.home.candles).write(seen, "bybit", revise=True)


# --- equal ---


def test_a_day_that_nothing_happened_to_is_equal_in_every_decision_and_fill(stage):
    a_day(stage)
    before = files(stage.home.root)
    found = compared(stage)
    assert [one.tick_id[9:13] for one in found.ticks] == ["1015", "1030", "1045", "1100"]
    assert (found.equal, found.explained, found.unexplained) == (4, [], [])
    assert (found.decisions, found.fills) == (8, 2)  # two symbols a tick; bought and sold
    assert differing(found) == [] and found.remarks == ()
    assert files(stage.home.root) == before  # it only looks


def test_the_lake_and_what_the_ticks_saw_give_one_series(stage):
    a_day(stage)
    into_lake(stage, "10:15", "100100.0", count=20)
    found = compared(stage)
    assert found.equal == 4
    # of the day the first tick saw from 08:15 on, the last until 11:00: 165 minutes of two symbols
    assert found.minutes == {"lake": 20, "as_seen": 2 * 165 - 20}


def test_the_fill_of_the_newest_tick_stands_against_its_own_last_price(stage):
    rise(stage)
    stage.arm()
    play(stage, "10:15")
    found = compared(stage)
    assert (found.equal, found.fills) == (1, 1)
    assert found.remarks == (
        "20261122T1015Z-BTC-B: nobody holds the candle of 2026-11-22T10:15:00Z yet; the tick's own last price "
        "100100 stands for its open",
    )


def test_a_day_begins_with_what_the_day_before_left(stage):
    rise(stage, since="23:44")
    stage.market.set("BTCUSDT", "2026-11-22T23:59", "99900.0")
    stage.arm("23:43")
    play(stage, "23:45", "2026-11-23T00:00", "2026-11-23T00:15")
    found = compared(stage)
    assert (len(found.ticks), found.equal, found.fills, found.remarks) == (1, 1, 1, ())
    after = compared(stage, date(2026, 11, 23))  # it sells at 00:00 what 23:45 bought
    assert [one.tick_id[9:13] for one in after.ticks] == ["0000", "0015"]
    assert (after.equal, after.fills) == (2, 1)


@pytest.mark.slow
def test_a_whole_day_is_96_of_96(stage):
    rng = np.random.default_rng(1)
    for number in range(0, 1440, 7):
        at = f"{number // 60:02}:{number % 60:02}"
        stage.market.set("BTCUSDT", at, f"{100_000 + 10 * int(rng.integers(-20, 21))}.0")
        stage.market.set("ETHUSDT", at, f"{2_500 + int(rng.integers(-20, 21)) / 4:.2f}")
    stage.arm("2026-11-21T23:58")
    stage.beat("2026-11-21T23:59")
    stage.tick("00:00")
    play(stage, *(f"{n // 4:02}:{n % 4 * 15:02}" for n in range(1, A_DAY)))
    found = compared(stage)
    assert (len(found.ticks), found.equal, found.decisions) == (96, 96, 192)
    assert found.fills == len(stage.events("fill")) > 30


# --- the closed list of causes ---


def test_a_candle_that_was_revised_in_the_lake_is_shown_with_both_values(stage):
    a_day(stage)
    into_lake(stage, "10:14", "100000.0")  # it never rose before 10:15: no signal there
    found = compared(stage)
    assert causes(found) == [("1015", "revised_candle")] and found.equal == 3
    assert differing(found) == [("BTCUSDT", BUY, TIE)]
    assert facts(found) == [
        (f"BTCUSDT 2026-11-22T10:14:00Z {name}", "100100", "100000 (the lake)")
        for name in ("open", "high", "low", "close")
    ]


def test_a_revision_that_changes_no_decision_is_a_remark_with_both_values(stage):
    a_day(stage)
    into_lake(stage, "10:00", "100000.1")
    found = compared(stage)
    assert found.equal == 4
    assert found.remarks[-1] == (
        "BTCUSDT 2026-11-22T10:00:00Z close: tick 100000; backtest 100000.1 (the lake); "
        "no decision changed (tick 20261122T1015Z)"
    )


def test_only_the_revision_that_changed_the_decision_is_its_cause(stage):
    a_day(stage)
    into_lake(stage, "10:00", "100000.1")
    into_lake(stage, "10:14", "99000.0")
    found = compared(stage)
    assert {where.split()[1] for where, _, _ in facts(found)} == {"2026-11-22T10:14:00Z"}
    assert any("10:00:00Z close" in text for text in found.remarks)


def test_a_minute_that_two_ticks_saw_with_other_values_is_revised_too(stage):
    rise(stage)
    stage.arm()
    play(stage, "10:15")
    stage.market.set("BTCUSDT", "10:14", "100000.0")
    stage.market.set("BTCUSDT", "10:15", "100100.0")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1015", "revised_candle")]
    assert (
        "BTCUSDT 2026-11-22T10:14:00Z close",
        "100100",
        "100000 (tick 20261122T1030Z)",
    ) in facts(found)


def hide(monkeypatch, stage, minute: str) -> None:
    """The market has no candle of `minute`."""
    usual = stage.market.candles

    def without(symbol, start_ms, end_ms):
        rows = usual(symbol, start_ms, end_ms)
        return rows[rows["open_ms"] != ms(minute)]

    monkeypatch.setattr(stage.market, "candles", without)


def test_a_candle_that_came_after_the_tick_explains_why_it_held(stage, monkeypatch):
    rise(stage)
    stage.arm()
    with monkeypatch.context() as late:
        hide(late, stage, "10:14")
        stage.tick("10:15")
    play(stage, "10:30", "10:45")
    found = compared(stage)
    assert causes(found) == [("1015", "late_candle")]
    assert facts(found)[0] == (
        "BTCUSDT 2026-11-22T10:14:00Z", "no candle", "close 100100 (tick 20261122T1045Z)",
    )  # fmt: skip
    # 10:30 bought instead, and the backtest goes on from the same empty hands
    assert (found.equal, found.fills) == (2, 1)


def test_candles_that_the_tick_did_not_believe_are_told_with_their_problem(stage, monkeypatch):
    rise(stage)
    stage.arm()
    usual = stage.desk.exchange.candles

    def doubted(symbol, *asked):
        return usual(symbol, *asked)[0], (Problem("CANDLES_DISORDERED", f"{symbol}: out of order"),)

    with monkeypatch.context() as once:
        once.setattr(stage.desk.exchange, "candles", doubted)
        stage.tick("10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1015", "late_candle")] and found.equal == 1
    assert ("BTCUSDT candles", "BTCUSDT: out of order", "nothing is wrong with them") in facts(
        found
    )


def test_settings_that_were_changed_during_the_day_are_told_with_old_and_new(stage):
    stage.arm()
    play(stage, "10:15")
    stage.configure('order_target_usdt = "0.5"')
    rise(stage, since="10:29")
    play(stage, "10:30", "10:45")
    found = compared(stage)
    assert causes(found) == [("1030", "settings_change")]
    assert facts(found) == [("plan.order_target_usdt", "0.5", "0.95, as the day began")]
    # 0.5 / 0.101101 = 4.9
    assert differing(found) == [("BTCUSDT", BUY.replace("009", "004"), BUY)]
    assert found.equal == 2  # 10:45 holds 4 lots on both sides


def test_a_longer_window_since_noon_is_a_change_of_settings(stage):
    # of the last 60 minutes the mean lies below 100,100; of the last 180, 120 cost 101,000 more
    stage.market.set("BTCUSDT", "07:00", "101000.0")
    stage.market.set("BTCUSDT", "09:15", "100000.0")
    rise(stage, since="10:29")
    stage.arm()
    play(stage, "10:15")
    stage.configure("[parameters]\nwindow = 180")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1030", "settings_change")]
    assert facts(found) == [("plan.parameters.window", "180", "60, as the day began")]


def other_code(monkeypatch, version="0.0.9") -> None:
    """Ticks decide by code that asks for 0.50 USDT, and say that they are of `version`."""

    def deciding(inputs):
        less = replace(inputs, plan=replace(inputs.plan, order_target_usdt=Decimal("0.5")))
        return replace(decide(less), inputs_sha256=sha256(inputs))

    monkeypatch.setattr(staging, "decide", deciding)
    monkeypatch.setattr(tick, "decide", deciding)
    if version is not None:
        facts = {"version": version, "library_sha256": "ab" * 32, "python": "3.11.0"}
        monkeypatch.setattr(sealing, "code_version", lambda: facts)


def test_other_code_is_a_cause_when_the_very_inputs_are_decided_otherwise_now(stage, monkeypatch):
    rise(stage)
    stage.arm()
    with monkeypatch.context() as older:
        other_code(older)
        play(stage, "10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1015", "code_change")] and found.equal == 1
    (where, then, now), again = facts(found)
    assert (where, then) == ("code", "tgtqr 0.0.9, library abababababab, Python 3.11.0")
    assert now.startswith("tgtqr ") and "abab" not in now
    assert again[1:] == (
        f"BTCUSDT {BUY.replace('009', '004')}; ETHUSDT {TIE}",
        f"BTCUSDT {BUY}; ETHUSDT {TIE}",
    )


def test_other_code_that_decides_the_same_is_a_remark(stage, monkeypatch):
    stage.arm()
    with monkeypatch.context() as older:
        other_code(older)  # nothing is bought, so nothing shows
        play(stage, "10:15")
    found = compared(stage)
    assert found.equal == 1
    assert found.remarks[0].startswith(
        "1 ticks from 20261122T1015Z on were decided by other code than today's: tgtqr 0.0.9"
    )


def test_a_missed_tick_is_told_with_the_ledgers_words_and_what_it_would_have_done(stage):
    rise(stage)
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.arm()
    play(stage, "10:15", "10:45")
    found = compared(stage)
    assert causes(found) == [("1030", "missed_tick")]
    # 99900 x 0.99 = 98901.0
    assert facts(found) == [
        (
            "tick",
            "missed: it was not started within a minute of its time",
            f"BTCUSDT FLAT, SELL 0.000009 at least 98901.0 (SIGNAL_FLAT); ETHUSDT {TIE}",
        )
    ]
    assert (found.equal, found.fills) == (2, 2)  # 10:45 sells on both sides


def test_what_was_missed_before_the_days_first_tick_is_told_too(stage):
    stage.arm("23:44")
    play(stage, "23:45", "2026-11-23T00:30")
    found = compared(stage, date(2026, 11, 23))
    assert causes(found) == [("0000", "missed_tick"), ("0015", "missed_tick")]
    assert (len(found.ticks), found.equal) == (3, 1)


def test_a_failed_tick_is_a_missed_one(stage, monkeypatch):
    rise(stage)
    stage.arm()

    def broken(*_, **__):
        raise NotebookFailed("tick.ipynb: the kernel died")

    with monkeypatch.context() as once:
        once.setattr(tick, "run_notebook", broken)
        play(stage, "10:15")
    play(stage, "10:30")
    found = compared(stage)
    # the day's first tick decided nothing, so that the backtest begins with the second
    assert causes(found) == [("1015", "missed_tick")] and found.equal == 1
    assert facts(found) == [("tick", "failed: tick.ipynb: the kernel died", "not begun")]


def test_a_tick_that_failed_while_it_acted_is_a_missed_one(stage, monkeypatch):
    rise(stage)
    stage.arm()

    def gone(*_):
        raise VenueUnavailable("the exchange does not answer")

    with monkeypatch.context() as once:
        once.setattr(tick, "act", gone)
        play(stage, "10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1015", "missed_tick")]
    assert facts(found) == [
        (
            "20261122T1015Z-BTC-B fill",
            "failed: the exchange does not answer",
            "0.000009 at 100105.1, fee 0.00090095",
        )
    ]
    assert (found.equal, found.fills) == (1, 2)  # 10:30 buys


def moving_price(monkeypatch, stage, price: str) -> None:
    """BTC costs `price` at the third look of a tick: the one before its first order."""
    usual, looks = stage.desk.exchange.quote, []

    def quote(symbol):
        looks.append(symbol)
        if len(looks) == 3:
            stage.market.set("BTCUSDT", "10:15", price)
        return usual(symbol)

    monkeypatch.setattr(stage.desk.exchange, "quote", quote)


def buy_at(stage, monkeypatch, price: str) -> Parity:
    rise(stage)
    stage.arm()
    with monkeypatch.context() as once:
        moving_price(once, stage, price)
        stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:15", "100100.0")
    play(stage, "10:30")
    return compared(stage)


def test_another_price_than_open_and_half_the_spread_is_told_with_both(stage, monkeypatch):
    found = buy_at(stage, monkeypatch, "100200.0")
    assert causes(found) == [("1015", "fill_price")]
    # 100200 x 1.00005 = 100205.01, up to 100205.1; 100100 x 1.00005 = 100105.005, up to 100105.1; 9 lots, 0.1 %
    assert facts(found) == [
        ("20261122T1015Z-BTC-B price", "100205.1", "100105.1"),
        ("20261122T1015Z-BTC-B notional", "0.90184590", "0.90094590"),
        ("20261122T1015Z-BTC-B fee", "0.00090185", "0.00090095"),
    ]
    assert found.equal == 1  # 10:30 has the dearer position on both sides


def test_a_price_outside_the_limit_is_a_fill_price_too(stage, monkeypatch):
    found = buy_at(stage, monkeypatch, "101200.0")
    assert causes(found) == [("1015", "fill_price")]
    # 101200 x 1.00005 = 101205.06
    assert facts(found) == [
        (
            "20261122T1015Z-BTC-B fill",
            "best price 101205.1 is outside the limit 101101.0",
            "0.000009 at 100105.1, fee 0.00090095",
        )
    ]
    assert found.equal == 1 and found.fills == 2  # 10:30 buys on both sides


def test_a_book_that_is_too_thin_is_told_with_both_quantities(stage, monkeypatch):
    rise(stage)
    stage.arm()
    usual = stage.desk.exchange.quote

    def thin(symbol):
        quote = usual(symbol)
        return replace(quote, asks=(Level(quote.ask, Decimal("0.000005")),))

    with monkeypatch.context() as once:
        once.setattr(stage.desk.exchange, "quote", thin)
        stage.tick("10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1015", "fill_price")] and found.equal == 1
    assert facts(found)[0] == ("20261122T1015Z-BTC-B quantity", "0.000005", "0.000009")


def test_a_missing_quote_is_a_fill_price_and_does_not_repeat(stage, monkeypatch):
    rise(stage)
    stage.arm()

    def gone(symbol):
        raise DataError(f"{symbol}: the book is empty")

    with monkeypatch.context() as once:
        once.setattr(stage.desk.exchange, "quote", gone)
        stage.tick("10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found)[0] == ("1015", "fill_price") and found.equal == 1
    assert facts(found)[0][:2] == ("BTCUSDT quote", "no quote (BTCUSDT: the book is empty)")


def test_an_entry_that_the_gate_kept_back_is_told_with_the_gates_words(stage):
    rise(stage, since="10:29")
    stage.arm()
    stage.tick("10:15")
    stage.tick("10:30")  # the last beat was at 10:14
    into_lake(stage, "10:20", "100000.1")  # a revision that has nothing to do with it is not blamed
    found = compared(stage)
    assert causes(found) == [("1030", "gate")]
    ((code, text, none),) = facts(found)
    assert code == "MONITOR_LEASE" and "the last watch beat is 963.0 s old" in text
    assert none == "no gate"


def test_a_gate_that_closed_between_decision_and_order_is_told(stage, monkeypatch):
    rise(stage)
    stage.arm()
    usual, looks = stage.desk.exchange.quote, []

    def quote(symbol):
        looks.append(symbol)
        if len(looks) == 3:  # after the freeze's two
            latch.stop(stage.home, "a test")
        return usual(symbol)

    monkeypatch.setattr(stage.desk.exchange, "quote", quote)
    stage.tick("10:15")
    found = compared(stage)
    assert causes(found) == [("1015", "gate")]
    ((where, then, now),) = facts(found)
    assert where == "20261122T1015Z-BTC-B fill" and "a test" in then
    assert now == "0.000009 at 100105.1, fee 0.00090095"


def test_a_stop_that_sold_is_told_with_its_sale(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    latch.stop(stage.home, "a test")
    stage.beat("10:16:03")
    play(stage, "10:30")
    found = compared(stage)
    assert causes(found) == [("1030", "gate")]
    sale, gate = facts(found)
    # 100100 x 0.99995 = 100094.995, down to 100094.9
    assert sale[:2] == (
        "20261122T1016Z-BTC-X",
        "SELL 0.000009 BTCUSDT at 100094.9, fee 0.00090086",
    )
    assert gate[0] == "GATE_STOPPED" and "a test" in gate[1]
    # with empty hands it would have bought again
    assert ("BTCUSDT", "LONG, BUY 0.000009 at most 101101.0 refused (GATE_STOPPED)", BUY) in (
        differing(found)
    )


def test_a_fresh_account_is_told_and_the_backtest_goes_on_with_it(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    latch.stop(stage.home, "a test")
    stage.beat("10:16:03")
    with ledger.writing(stage.desk.con):
        books.open_account(stage.desk.con, moment("10:17"), "a new start")
    stage.arm("10:18")
    play(stage, "10:30", "10:45")
    found = compared(stage)
    assert causes(found) == [("1030", "gate")] and found.equal == 2
    assert facts(found)[1] == ("account", "paper-2 was opened: a new start", "still paper-1")


def test_two_causes_at_one_tick_are_both_told(stage):
    a_day(stage)
    into_lake(stage, "10:14", "100000.0")  # 10:15 ties in the backtest
    stage.configure('order_target_usdt = "0.5"')
    stage.market.set("BTCUSDT", "11:14", "100500.0")
    play(stage, "11:15")
    into_lake(stage, "11:14", "101000.0")  # dearer, so the limit is another: and the target too
    found = compared(stage)
    assert causes(found) == [
        ("1015", "revised_candle"),
        ("1115", "revised_candle"),
        ("1115", "settings_change"),
    ]


# --- unexplained ---


def test_a_decision_that_the_same_code_does_not_make_is_unexplained(stage, monkeypatch):
    rise(stage)
    stage.arm()
    with monkeypatch.context() as forged:
        other_code(forged, version=None)
        play(stage, "10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert why(found).startswith("1015: its own inputs, decided again by the same code (tgtqr ")
    assert found.equal == 1  # the next one goes on from what was really bought


def test_a_notebook_that_was_sealed_again_over_another_decision_is_unexplained(stage, monkeypatch):
    a_day(stage)
    name = "20261122T1015Z"
    path = archive.sealed_path(stage.home, name)
    facts = json.loads(path.read_text("utf-8"))["metadata"]["tgtqr"]
    running = archive.running_path(stage.home, name)
    with monkeypatch.context() as forged:
        other_code(forged)
        inputs = {"inputs": dumps(facts["inputs"])}
        decide_without_a_kernel(None, running, inputs, None, cell_timeout_s=1)
        head = (facts["ledger"]["seq"], facts["ledger"]["head"])
        archive.seal(stage.home, archive.read_executed(running), facts["outcome"], head)
    running.unlink()
    found = compared(stage)
    assert "1015: its decision_sha256 is " in why(found) and "the ledger's decision has" in why(
        found
    )
    assert found.equal == 3


def test_a_notebook_that_was_edited_is_unexplained(stage):
    a_day(stage)
    path = archive.sealed_path(stage.home, "20261122T1030Z")
    path.chmod(0o644)
    path.write_text(path.read_text("utf-8").replace("ALREADY_LONG", "ALREADY_FLAT"), "utf-8")
    found = compared(stage)
    assert why(found).startswith("1030: its notebook was altered: decision")
    assert found.equal == 3


def test_a_notebook_that_is_gone_is_unexplained_and_its_fills_count_all_the_same(stage):
    a_day(stage)
    archive.sealed_path(stage.home, "20261122T1045Z").unlink()
    found = compared(stage)
    assert why(found) == "1045: its notebook is missing, and the ledger has its decision"
    assert found.equal == 3  # 11:00 has sold


def test_money_that_no_order_moved_is_unexplained(stage):
    a_day(stage)
    stage.beat("11:14")
    book_fill(stage, "BUY", "0.000001", "0.1")
    stage.tick("11:15")
    found = compared(stage)
    assert why(found).startswith("1115: the account has cash ")
    assert "0.000001 BTCUSDT for 0.1" in why(found) and found.equal == 4


def test_a_fee_that_does_not_follow_from_the_price_is_unexplained(stage, monkeypatch):
    rise(stage)
    stage.arm()
    usual = books.book_order

    def dearer(con, account, order, body, fill):
        usual(con, account, order, body, replace(fill, fee=Decimal("0.01")))

    with monkeypatch.context() as once:
        once.setattr(books, "book_order", dearer)
        stage.tick("10:15")
    found = compared(stage)
    assert "order 20261122T1015Z-BTC-B: its notebook has fee 0.00090095, the ledger 0.01" in why(
        found
    )


def test_a_fee_that_no_price_explains_is_unexplained_though_all_agree_on_it(stage, monkeypatch):
    rise(stage)
    stage.arm()
    with monkeypatch.context() as once:
        once.setattr(paper, "fill", lambda *asked: replace(fill(*asked), fee=Decimal("0.01")))
        stage.tick("10:15")
    play(stage, "10:30")
    found = compared(stage)
    assert why(found) == (
        "1015: order 20261122T1015Z-BTC-B: 0.000009 at 100105.1, fee 0.01 for the tick, "
        "0.000009 at 100105.1, fee 0.00090095 in the backtest"
    )
    assert found.equal == 1


# --- the day, and the command ---


def test_a_day_without_ticks_names_the_days_that_there_are(stage):
    a_day(stage)
    with pytest.raises(DataError, match=r"^2026-11-20: no tick .* there are ticks of 2026-11-22$"):
        compared(stage, date(2026, 11, 20))


def test_a_home_without_ticks_says_so(stage):
    stage.arm()
    with pytest.raises(DataError, match=r"2026-11-22: no tick .* holds no tick at all"):
        compared(stage)


def run(stage, capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(["parity", "--home", str(stage.home.root), *words])
    return code, *capsys.readouterr()


def test_the_command_says_all_is_equal_and_exits_0(stage, capsys):
    a_day(stage)
    code, out, _ = run(stage, capsys, "--day", DAY)
    assert code == 0
    assert out.splitlines() == [
        "4 of 96 ticks were expected, from 20261122T1015Z to 20261122T1100Z",
        "8 decisions and 2 fills compared; minutes of the day: 0 from the lake, 330 as the ticks saw them",
        "2026-11-22: 4 ticks, 4 equal, 0 explained, 0 unexplained",
    ]


def test_the_command_shows_a_difference_with_its_evidence_and_exits_0(stage, capsys):
    a_day(stage)
    into_lake(stage, "10:14", "100000.0")
    code, out, _ = run(stage, capsys)  # the newest day
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"20261122T1015Z BTCUSDT: tick {BUY}; backtest {TIE}"
    assert (
        "  revised_candle: BTCUSDT 2026-11-22T10:14:00Z close: tick 100100; backtest 100000 (the lake)"
        in lines
    )
    assert lines[-1] == "2026-11-22: 4 ticks, 3 equal, 1 explained, 0 unexplained"


def test_the_command_exits_5_when_something_is_unexplained(stage, capsys):
    a_day(stage)
    archive.sealed_path(stage.home, "20261122T1045Z").unlink()
    code, out, _ = run(stage, capsys)
    assert code == 5
    assert "20261122T1045Z UNEXPLAINED its notebook is missing" in out
    assert out.endswith("2026-11-22: 4 ticks, 3 equal, 0 explained, 1 unexplained\n")


def test_the_json_has_its_promised_keys(stage, capsys):
    a_day(stage)
    into_lake(stage, "10:14", "100000.0")
    archive.sealed_path(stage.home, "20261122T1045Z").unlink()
    code, out, _ = run(stage, capsys, "--json")
    found = json.loads(out)
    assert (code, found["ticks"], found["equal"]) == (5, 4, 2)
    (explained,), (unexplained,) = found["explained"], found["unexplained"]
    assert (explained["tick_id"], explained["cause"]) == ("20261122T1015Z", "revised_candle")
    assert explained["evidence"][-1] == {
        "where": "BTCUSDT 2026-11-22T10:14:00Z close",
        "tick": "100100",
        "backtest": "100000 (the lake)",
    }
    assert unexplained["tick_id"] == "20261122T1045Z" and unexplained["why"]
    assert (found["decisions_compared"], found["fills_compared"]) == (6, 0)


@pytest.mark.parametrize(
    "words, code, text",
    [
        (("--day", "yesterday"), 2, "--day 'yesterday' is no date; expected one like 2025-06-01"),
        (("--day", "2026-02-30"), 2, "--day '2026-02-30' is no date"),
        (("--day", "20261122"), 2, "--day '20261122' is no date"),
        (("--day", "2026-11-21"), 4, "2026-11-21: no tick of this day is archived"),
    ],
)
def test_the_command_refuses_a_day_that_cannot_be(stage, capsys, words, code, text):
    a_day(stage)
    found, out, err = run(stage, capsys, *words)
    assert (found, out) == (code, "") and text in err


def test_the_causes_are_a_closed_list():
    assert {str(cause) for cause in Cause} == {
        "revised_candle", "late_candle", "settings_change", "code_change", "missed_tick", "fill_price",
        "missing_input", "gate",
    }  # fmt: skip


def test_funding_that_one_tick_did_not_get_explains_its_difference(stage):
    # given a strategy that is long whenever it knows the funding, and an outage of it at 10:15
    stage.configure(
        'strategy = "funding_carry_paper"\n[parameters]\nlong_below = 4000\nflat_above = 4000'
    )
    stage.arm()
    number = stage.simulator.faults.add(
        "rubbish", endpoint="/v5/market/funding/history", symbol="BTCUSDT"
    )
    play(stage, "10:15")
    stage.simulator.faults.clear(number)
    play(stage, "10:30")

    found = compared(stage)

    assert causes(found) == [("1015", "missing_input")]
    ((fact,),) = [f.evidence for one in found.explained for f in one.findings]
    assert fact.where == "BTCUSDT funding"
    assert fact.tick.startswith("not there; ")
    assert fact.backtest == "22 settlements, the last of 2026-11-22T08:00:00Z"
