"""The three money limits: the limit itself is allowed, one unit of 1e-8 beyond it is not."""

from decimal import Decimal

import pytest

from tests.builders import (
    FLAT_INPUTS,
    HARD_LIMITS,
    a_day,
    a_portfolio,
    a_position,
    a_sale,
    an_entry,
    dec,
    inputs,
    limits,
    no_order,
)
from tgtqr_lib.risk import daily_budget, position_limit, total_budget
from tgtqr_lib.risk.budget import cash_after, daily_floor, total_floor

# 9 lots of 0.000001 at 105364.9 with 0.1 %: the worked example of the design
COST = Decimal("0.94923239")
UNIT = Decimal("0.00000001")


# POSITION_LIMIT


@pytest.mark.parametrize(
    "limit, allowed", [("111000.0", True), ("111000.1", True), ("111000.2", False)]
)
def test_position_limit_includes_its_limit(limit, allowed):
    # 9 lots of 0.000001 at 111000.1 cost 0.9990009 and a fee of 0.1 %: 0.99999991, rounded up;
    # one step more is 1.00000081
    verdict = position_limit.check(
        an_entry(quantity="0.000009", limit=limit), FLAT_INPUTS, HARD_LIMITS
    )
    assert verdict.allowed is allowed


@pytest.mark.parametrize("beyond, allowed", [("0", True), ("0.00000001", False)])
def test_position_limit_counts_to_the_last_unit(beyond, allowed):
    tight = limits(position=COST - dec(beyond))
    verdict = position_limit.check(an_entry(), FLAT_INPUTS, tight)
    assert verdict.allowed is allowed
    assert (verdict.value, verdict.distance) == (COST, -dec(beyond))


@pytest.mark.parametrize("spare, allowed", [(COST, True), (COST - UNIT, False)])
def test_what_is_held_and_what_is_pending_count_at_cost(spare, allowed):
    held = a_portfolio(a_position(cost=HARD_LIMITS.position_usdt - spare))
    pending = a_portfolio(pending={"BTCUSDT": HARD_LIMITS.position_usdt - spare})
    for portfolio in (held, pending):
        now = inputs(portfolio=portfolio)
        assert position_limit.check(an_entry(), now, HARD_LIMITS).allowed is allowed


def test_the_other_symbol_does_not_count():
    now = inputs(
        portfolio=a_portfolio(a_position("ETHUSDT", cost="1.00"), pending={"ETHUSDT": "1"})
    )
    assert position_limit.check(an_entry(), now, HARD_LIMITS).allowed


def test_an_exit_of_a_position_above_its_limit_passes():
    now = inputs(portfolio=a_portfolio(a_position(cost="3.00")))
    assert position_limit.check(a_sale(), now, HARD_LIMITS).allowed
    assert position_limit.check(no_order(), now, HARD_LIMITS).allowed


# the reserve


def test_cash_after_an_entry_is_cash_less_reserves_less_its_worst_cost():
    now = inputs(portfolio=a_portfolio(cash="8.00", reserved="0.50"))
    assert cash_after(an_entry(), now) == dec("7.50") - COST
    assert cash_after(a_sale(), now) == cash_after(no_order(), now) == dec("7.50")


@pytest.mark.parametrize(
    "start_equity, start_cash, floor",
    [
        ("10.00", "10.00", "8.00"),  # nothing held: start less 2.00
        ("10.00", "8.50", "8.00"),  # 1.50 held
        ("10.00", "8.00", "8.00"),  # 2.00 held: both are the same
        ("10.20", "8.00", "8.00"),  # 2.20 held: the cash (decision 001), not 8.20
    ],
)
def test_the_daily_floor_is_start_less_loss_but_never_above_the_cash_at_the_start(
    start_equity, start_cash, floor
):
    assert daily_floor(a_day(start_equity, start_cash), HARD_LIMITS) == dec(floor)


def test_the_total_floor_is_the_initial_equity_less_the_total_loss():
    assert total_floor(FLAT_INPUTS.account, HARD_LIMITS) == dec("5.00")
    assert total_floor(FLAT_INPUTS.account, limits(total="0.10")) == dec("9.90")


# DAILY_BUDGET


@pytest.mark.parametrize("short, allowed", [("0", True), ("0.00000001", False), ("1", False)])
def test_an_entry_may_use_the_day_up_to_its_floor(short, allowed):
    # given a day that began with 10.00, and just enough cash to end on 8.00 at price zero
    now = inputs(portfolio=a_portfolio(cash=dec("8.00") + COST - dec(short)))
    verdict = daily_budget.check(an_entry(), now, HARD_LIMITS)
    assert verdict.allowed is allowed
    assert (verdict.value, verdict.limit) == (dec("8.00") - dec(short), dec("8.00"))
    assert verdict.distance == -dec(short)


def test_what_is_reserved_is_spent_already():
    enough = a_portfolio(cash=dec("8.00") + 2 * COST, reserved=COST)
    short = a_portfolio(cash=dec("8.00") + 2 * COST, reserved=COST + UNIT)
    assert daily_budget.check(an_entry(), inputs(portfolio=enough), HARD_LIMITS).allowed
    assert not daily_budget.check(an_entry(), inputs(portfolio=short), HARD_LIMITS).allowed


def test_a_tightened_daily_limit_binds_at_once():
    now = inputs(portfolio=a_portfolio(cash="10.00"))
    assert daily_budget.check(an_entry(), now, limits(daily=COST)).allowed
    assert not daily_budget.check(an_entry(), now, limits(daily=COST - UNIT)).allowed


def test_an_act_across_midnight_passes_the_floors_of_both_days():
    # the floor of yesterday is 8.00, that of today 7.00, or the other way round
    cash = a_portfolio(cash=dec("7.00") + COST)
    yesterday, today = a_day("10.00", date="2026-11-22"), a_day("9.00", date="2026-11-23")
    for days in [(yesterday, today), (today, yesterday)]:
        verdict = daily_budget.check(an_entry(), inputs(days=days, portfolio=cash), HARD_LIMITS)
        assert not verdict.allowed and verdict.limit == dec("8.00")
    alone = daily_budget.check(an_entry(), inputs(days=(today,), portfolio=cash), HARD_LIMITS)
    assert alone.allowed


def test_on_a_day_that_is_not_open_nothing_is_bought():
    now = inputs(days=(), portfolio=a_portfolio(a_position()))
    assert not daily_budget.check(an_entry(), now, HARD_LIMITS).allowed
    assert daily_budget.check(a_sale(), now, HARD_LIMITS).allowed
    assert daily_budget.check(no_order(), now, HARD_LIMITS).allowed


# TOTAL_BUDGET


@pytest.mark.parametrize("short, allowed", [("0", True), ("0.00000001", False)])
def test_an_entry_may_use_the_account_up_to_its_floor(short, allowed):
    now = inputs(portfolio=a_portfolio(cash=dec("5.00") + COST - dec(short)))
    verdict = total_budget.check(an_entry(), now, HARD_LIMITS)
    assert verdict.allowed is allowed
    assert (verdict.value, verdict.limit) == (dec("5.00") - dec(short), dec("5.00"))


def test_a_tightened_total_limit_binds_at_once():
    assert total_budget.check(an_entry(), FLAT_INPUTS, limits(total=COST)).allowed
    assert not total_budget.check(an_entry(), FLAT_INPUTS, limits(total=COST - UNIT)).allowed


@pytest.mark.parametrize("rule", [daily_budget, total_budget])
def test_a_spent_budget_never_keeps_an_exit_back(rule):
    broke = inputs(portfolio=a_portfolio(a_position(), cash="0.01", reserved="1"))
    assert not rule.check(an_entry(), broke, HARD_LIMITS).allowed
    assert rule.check(a_sale(), broke, HARD_LIMITS).allowed
    assert rule.check(no_order(), broke, HARD_LIMITS).allowed


@pytest.mark.parametrize("rule", [position_limit, daily_budget, total_budget])
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("where", ["cash", "reserved", "cost"])
def test_a_figure_that_is_not_a_number_never_lets_an_entry_through(rule, value, where):
    odd = a_portfolio(
        a_position(cost=value if where == "cost" else "0.1"),
        cash=value if where == "cash" else "10",
        reserved=value if where == "reserved" else "0",
    )
    concerned = (where == "cost") == (rule is position_limit)
    if not concerned:
        return
    assert not rule.check(an_entry(), inputs(portfolio=odd), HARD_LIMITS).allowed
    assert rule.check(a_sale(), inputs(portfolio=odd), HARD_LIMITS).allowed
