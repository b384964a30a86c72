"""Notebook 05: the figures of crashes, floors and exercises, against arithmetic and the slow backtest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib import backtest, research
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.domain import DomainError
from tgtqr_lib.learn import Play, risk_limits
from tgtqr_lib.limits import HARD
from tgtqr_lib.research.past import Past

HOUR = 60


@pytest.fixture(scope="module")
def gone():
    """Both symbols fall to nothing within minute 600 and stay there."""
    return risk_limits.crashes(2, 10 * HOUR, 1.0, 1, 0.0, times=1, both=True)


@pytest.fixture(scope="module")
def found():
    return risk_limits.search(12, seed=2, stake="4.75")


@pytest.fixture(scope="module")
def still():
    return risk_limits.still_market()


def a_past(closes, made_up=True) -> Past:
    return Past(candles(closes, until=datetime(2025, 6, 1, tzinfo=UTC)), "by hand", made_up)


# paths


def test_a_shock_falls_within_its_minutes_and_comes_back_within_half_an_hour():
    level = risk_limits.shock(100, at=10, depth=0.6, minutes=2, back=0.5)
    assert level[9] == 1
    assert level[10] == pytest.approx(0.4**0.5)  # half of the way, in logarithms
    assert level[11] == pytest.approx(0.4)
    assert level[41] == level[99] == pytest.approx(0.7)  # half of 0.6 is back


def test_a_minute_opens_where_the_one_before_closed_and_no_price_is_zero(gone):
    btc = gone["BTCUSDT"]
    assert (btc.open[1:] == btc.close[:-1]).all()
    assert btc.close[599] > 10**6 and btc.close[600] == 10  # a hundred-thousandth of 1,000,000


def test_only_the_first_symbol_crashes_when_one_is_asked_for():
    path = risk_limits.crashes(1, 600, 0.5, 1, 0.0, times=1, both=False)
    assert path["BTCUSDT"].close[-1] < 600_000 and path["ETHUSDT"].close[-1] > 250_000


def test_nasty_paths_come_again_with_their_seed_and_differ_without():
    one, same, other = (
        risk_limits.nasty(np.random.default_rng(seed))["BTCUSDT"].close for seed in (5, 5, 6)
    )
    assert (one == same).all() and (one != other).any()


# the kit on a path


def test_the_kit_on_a_crash_is_the_slow_backtest_with_the_very_rules_of_a_tick(gone):
    path = {symbol: one[: 12 * HOUR] for symbol, one in gone.items()}
    slow = backtest.replay(path, research.plan(), HARD)
    lived = risk_limits.kit(path)
    assert (lived.result.equity_units == slow.equity_units).all()
    assert len(slow.open_positions) == 2 and slow.stop is None


def test_all_that_was_paid_is_lost_when_prices_go_to_nothing_and_no_more(gone):
    lived = risk_limits.kit(gone)
    # 9 lots of 0.000001 BTC near 100,100 and 37 lots of 0.00001 ETH near 2,502.5, and 0.1 % on each
    paid = (9e-6 * 100_100 + 37e-5 * 2_502.5) * 1.001
    assert lived.worst_day == lived.worst_total == pytest.approx(paid, rel=1e-3)
    assert lived.room_units == pytest.approx((2 - paid) * 1e8, abs=2e5)


def test_the_floor_of_a_day_is_its_opening_equity_less_two_or_its_cash():
    # given two symbols that double at 23:20 and fall to nothing at 00:05
    lived = risk_limits.pumped_then_zero()
    paid = sum(one.cost for one in lived.result.open_positions)
    assert not len(lived.result.table)  # nothing was sold, so cash is what was not paid
    cash = float(10 - paid)
    assert lived.floors[0] == 8.0  # 10.00 less 2.00
    assert lived.floors[-1] == pytest.approx(cash) and lived.equity[1439] - 2 > cash
    # then more than 2.00 is lost of a marked day, and no floor is broken
    assert lived.worst_day > 3 and lived.room_units >= 0 and lived.result.stop is None
    day = risk_limits.second_day(lived)
    assert day.start_cash == 10 - paid and day.plain > day.at_zero >= day.floor


def test_cash_flows_add_up_to_the_cash_at_the_end():
    lived = risk_limits.kit(risk_limits.nasty(np.random.default_rng(4)), window=20)
    _, moved = risk_limits.cash_flows(lived.result)
    assert len(lived.result.table) > 20  # else this says little
    assert lived.result.initial_units + moved.sum() == lived.result.cash_units


def test_the_worst_day_is_measured_from_the_equity_at_midnight():
    at = risk_limits.START_MS + 60_000 * np.arange(3 * 1440)
    equity = np.full(3 * 1440, 10.0)
    equity[100], equity[1439], equity[2000], equity[4000] = 9.5, 11.0, 8.9, 9.4
    lived = risk_limits.Lived(at, equity)
    assert lived.worst_day == pytest.approx(2.1)  # 11.0 to 8.9
    assert lived.worst_total == pytest.approx(1.1)


# the stop-loss


def test_a_stop_loss_sells_after_the_fall_for_what_is_left():
    path = risk_limits.crashes(1, 600, 0.6, 1, 0.0, times=1, both=True)
    lived = risk_limits.stop_loss(path, "4.75")
    # bought for 4.75 each and 0.1 % at the open of minute 60, sold at that of minute 601 and 0.1 %
    left = sum(4.75 * one.open[601] / one.open[60] for one in path.values())
    worst = 10 - 2 * 4.75 * 1.001 + left
    assert lived.equity[600] == pytest.approx(worst)
    assert lived.equity[-1] == pytest.approx(worst - left * 0.001)
    assert lived.worst_day == pytest.approx(10 - lived.equity[-1]) and lived.worst_day > 5


def test_a_slow_fall_stops_within_a_minute_of_the_limit_and_nothing_is_bought_that_day():
    # 25 % in ten minutes, 2.8 % each: of 9.50, so 2.00 are gone before the signal is asked at 10:15
    path = risk_limits.crashes(1, 600, 0.25, 10, 1.0, times=1, both=True)
    lived = risk_limits.stop_loss(path, "4.75")
    assert 2.0 < lived.worst_day < 2.0 + 9.5 * 0.028 + 0.02
    assert len(np.unique(lived.equity[620:])) == 1
    assert lived.equity[620] < lived.equity[599] - 1.9  # the price came back; the money did not


def test_a_stop_loss_never_spends_more_than_its_cash():
    path = risk_limits.crashes(1, 600, 0.9, 1, 0.0, times=1, both=True)
    assert risk_limits.stop_loss(path, "50").equity.min() > 0


def test_a_stake_that_is_not_positive_is_refused(gone):
    with pytest.raises(DomainError, match=r"stake 0.0 is not positive"):
        risk_limits.stop_loss(gone, "0")


# the experiment and the search


def test_the_sliders_show_both_accounts_with_their_figures():
    crash = risk_limits.Crash("4.75")
    play = Play(
        crash.draw,
        depth=(60, 0, 100, 5, ""), minutes=(1, 1, 240, 1, ""), hour=(10, 2, 44, 1, ""),
        back=(0, 0, 100, 10, ""), times=(1, 1, 4, 1, ""), symbols=(2, 1, 2, 1, ""),
    )  # fmt: skip
    path = risk_limits.crashes(2, 600, 0.6, 1, 0.0, times=1, both=True)
    ours, theirs = risk_limits.kit(path), risk_limits.stop_loss(path, "4.75")
    assert f"<td>{ours.worst_day:.4f}</td>" in play.html and "<td>kept</td>" in play.html
    assert f"<td>{theirs.worst_day:.4f}</td>" in play.html and "<td>broken</td>" in play.html
    assert play.html.count("<svg") == 2
    assert "broken" not in play.set(depth=0).html
    # a day that gives back a gain is no broken limit while its floor holds
    assert "broken" in play.set(depth=100, times=4, back=100).html


def test_the_search_finds_no_break_of_the_kit_and_some_of_the_stop_loss(found):
    assert len(found.room) == 12 and found.trades > 100  # it traded, else nothing was searched
    assert found.breaks == 0 and found.nearest == Decimal(int(found.room.min())) / 10**8
    large = next(name for name in found.worst_day if "4.75" in name)
    assert found.over(large) >= 3
    assert (found.worst_total["reserve"] <= 5).all()
    again = risk_limits.search(12, seed=2, stake="4.75")
    assert (again.room == found.room).all()


def test_a_break_would_be_counted_and_said(found, still):
    broken = replace(found, room=np.where(np.arange(12) < 2, -1, found.room))
    assert broken.breaks == 2
    assert "2 of 12 nasty paths" in str(
        risk_limits.answer(broken, still, a_past([Decimal("100000.0")] * 1440))
    )


def test_a_gain_given_back_is_told_apart_from_a_break(found):
    day = {name: of.copy() for name, of in found.worst_day.items()}
    day["reserve"][:2] = 2.5
    room = found.room.copy()
    room[0] = -1
    seen = replace(found, worst_day=day, room=room)
    assert seen.breaks == 1 and seen.given_back == 1 and seen.over("reserve") == 2


def test_a_search_of_nothing_is_refused():
    with pytest.raises(DomainError, match="0 paths"):
        risk_limits.search(0, 1, "4.75")


# costs, and the answer


def test_costs_alone_spend_the_budget_where_prices_stand_still(still):
    assert still.stop.cause == "SPENT"
    # one price step down each trade is all that prices take: under 0.0001 % of 0.92 each
    assert 0 < -still.gross < Decimal("0.01")
    # a trade of some 0.91 pays 0.1 % twice and half a basis point twice
    assert float(still.fees + still.spread) == pytest.approx(
        len(still.table) * 0.9125 * 0.0021, rel=0.02
    )
    # from 10.00 the last entry of 0.95 over 5.00 is allowed at 5.95: 4.05 may go, a little more at once
    assert 4.0 < -still.pnl < 4.2


def test_the_answer_has_the_figures_and_says_whose_history_it_is(found, still):
    flat = a_past([Decimal("100000.0")] * 1440)
    text = str(risk_limits.answer(found, still, flat))
    assert text.startswith("None of 12 nasty paths") and f"within {found.nearest:f} USDT" in text
    assert "costs alone spend it in" in text
    assert "In this made-up history the seed strategy is not stopped" in text
    recorded = str(risk_limits.answer(found, still, replace(flat, made_up=False)))
    assert "In this recorded history" in recorded


def test_spending_tells_costs_and_end_of_both_markets(still):
    table = risk_limits.spending(still, a_past([Decimal("100000.0")] * 1440))
    assert isinstance(table, Table)
    assert table.rows[0][-1].startswith("SPENT after")
    assert table.rows[1][1:] == ("0.0000", "0.0000", "0.0000", "0", "not stopped")


# exercises


def test_two_entries_fit_into_the_day_and_the_third_is_refused():
    # BTC: limit 101,000.0, 9 lots of 0.000001 cost 0.909 and 0.000909; ETH: 2,525.00, 37 lots of 0.00001
    # cost 0.93425 and 0.00093425; a third leaves 8.15490675 - 0.909909 = 7.24499775
    rows = risk_limits.open_entries("2.00").rows
    assert [row[2] for row in rows] == ["9.09009100", "8.15490675", "7.24499775"]
    assert [row[-1] for row in rows] == ["allowed", "allowed", "refused, DAILY_BUDGET"]
    assert {row[3] for row in rows} == {"8.00"}


def test_a_tighter_day_lets_one_entry_through_and_a_looser_one_changes_nothing():
    assert [row[-1] for row in risk_limits.open_entries("0.97").rows] == [
        "allowed", "refused, DAILY_BUDGET",
    ]  # fmt: skip
    assert risk_limits.open_entries("9.00").rows == risk_limits.open_entries("2.00").rows


def test_the_example_of_the_decision_breaks_the_plain_floor_and_keeps_the_real_one():
    seen = risk_limits.corner("8.10", "2.20")
    assert (seen.start_equity, seen.plain) == (Decimal("10.30"), Decimal("8.30"))
    assert seen.floor == seen.at_zero == Decimal("8.10")
    assert [row[-1] for row in seen.table.rows] == ["", "", "", "broken", "kept"]


def test_holdings_within_the_days_loss_leave_both_floors_alike():
    seen = risk_limits.corner("8.10", "1.90")
    assert seen.plain == seen.floor == Decimal("8.00")
    with pytest.raises(DomainError, match="expected neither below zero"):
        risk_limits.corner("-1", "1")


def test_a_target_of_one_is_refused_where_lots_leave_no_room_for_the_fee():
    # limit of 99,009.9 x 1.01, down to 99,999.9: ten lots of 0.000001 cost 0.999999, 1.000999 with the fee
    rows = risk_limits.targets(a_past([Decimal("99009.9")] * 600), ("0.95", "1.00")).rows
    assert rows[0] == (
        "0.95",
        "0.90089910",
        "0.0%",
        "0.0%",
    )  # nine lots: 0.8999991 and 0.0008999991
    assert rows[1][0] == "1.00" and rows[1][1].startswith("1.000999")
    assert rows[1][2:] == ("100.0%", "100.0%")
    with pytest.raises(DomainError, match="59 minutes; expected an hour"):
        risk_limits.targets(a_past([Decimal("99009.9")] * 59))
