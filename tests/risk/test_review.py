"""All rules together: every one is asked, their order is the order of reasons, exits are safe."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

import tgtqr_lib.risk
from tests.builders import (
    HARD_LIMITS,
    a_day,
    a_portfolio,
    a_position,
    a_sale,
    a_view,
    an_entry,
    candles,
    healthy,
    inputs,
    limits,
    no_order,
)
from tgtqr_lib.domain import Plan, Problem, Verdict
from tgtqr_lib.risk import (
    ACCOUNT_RULES,
    DATA_RULES,
    GATE_RULES,
    NEED_RULES,
    REDUCING_RULES,
    RULES,
    STOPPED_RULES,
    approved,
    first_refusal,
    review,
)
from tgtqr_lib.risk.verdict import fact, verdict

HELD = a_portfolio(a_position(quantity="0.000009"))
CODES = {  # stable names: reports, ledger and archive refer to them
    "GATE_STOPPED", "LEDGER_WITNESS", "DISK_SPACE", "CLOCK_OFFSET", "MONITOR_LEASE", "DECISION_LATE",
    "SYMBOL_UNKNOWN", "NOT_SPOT",
    "DATA_INVALID", "DATA_LATE", "DATA_UNCLOSED", "DATA_GAP", "DATA_JUMP", "DATA_STALE", "DATA_TICKER",
    "CLIENT_ID_USED", "LONG_ONLY", "PRICE_COLLAR", "ORDERS_TICK", "ORDERS_DAY",
    "POSITION_LIMIT", "DAILY_BUDGET", "TOTAL_BUDGET",
}  # fmt: skip


def test_codes_are_stable():
    assert set(RULES) == CODES


def test_every_rule_file_is_registered_under_its_own_code():
    folder = Path(tgtqr_lib.risk.__file__).parent
    helpers = {"__init__", "budget", "verdict"}
    files = {path.stem for path in folder.glob("*.py")} - helpers
    for name in files:
        module = getattr(tgtqr_lib.risk, name)
        known = RULES | dict(NEED_RULES.values()) | ACCOUNT_RULES
        assert known[module.CODE] is module.check, (
            f"risk/{name}.py is in none of the dicts of rules"
        )
    assert len(files) == len(RULES) + len(NEED_RULES) + len(ACCOUNT_RULES)


def test_what_a_strategy_needs_is_asked_of_that_strategy_alone():
    def codes(strategy):
        plan = Plan(strategy, {}, Decimal("0.95"), 100)
        return [one.code for one in review(no_order(), inputs(a_view(), plan=plan))]

    assert codes("ma_trend") == list(RULES)
    assert codes("ma_trend_filtered") == [*RULES, "DATA_BOOK", "DATA_FUNDING"]
    assert codes("funding_carry_paper") == [*RULES, "DATA_FUNDING"]


def test_rules_of_the_exchange_are_asked_for_an_account_there_alone():
    at_exchange = replace(inputs().account, venue="demo", scale=Decimal(10))
    codes = [one.code for one in review(no_order(), inputs(a_view(), account=at_exchange))]
    assert codes == [*RULES, "ORDER_UNKNOWN", "ACCOUNT_TROUBLE", "BELOW_EXCHANGE_MINIMUM"]


def test_reasons_come_from_the_gate_first_then_from_data_then_from_money():
    order = list(RULES)
    assert order[0] == "GATE_STOPPED"
    last_gate = max(order.index(code) for code in GATE_RULES - set(ACCOUNT_RULES))
    data = sorted(order.index(code) for code in DATA_RULES)
    assert last_gate < data[0]
    assert data[-1] < order.index("POSITION_LIMIT")
    assert order[-2:] == ["DAILY_BUDGET", "TOTAL_BUDGET"]


def test_groups_of_rules_are_those_of_the_design():
    reducing = {
        "MONITOR_LEASE", "CLOCK_OFFSET", "DISK_SPACE", "LEDGER_WITNESS", "ORDER_UNKNOWN",
        "ACCOUNT_TROUBLE",
    }  # fmt: skip
    assert set(STOPPED_RULES) == {"GATE_STOPPED"}
    assert set(REDUCING_RULES) == reducing
    assert set(GATE_RULES) == reducing | {"GATE_STOPPED"}
    assert set(DATA_RULES) == {code for code in CODES if code.startswith("DATA_")}


BAD = {  # the worst of everything at once
    "health": healthy(
        stopped="the button",
        ledger_problem="event 7 differs",
        disk_free_mb=0,
        clock_offset_ms=9_999,
        last_beat_at=None,
    ),
    "days": (),
    "orders_today": 500,
    "orders_this_tick": 9,
    "limits": limits("0", "0", "0"),
}


@pytest.mark.parametrize("order", [an_entry(), a_sale(), no_order()])
@pytest.mark.parametrize(
    "now",
    [
        inputs(portfolio=HELD),
        inputs(portfolio=HELD, **BAD),
        inputs(a_view("ETHUSDT")),
        inputs(a_view(seen=candles([]), quote=None, instrument=None, problems=[Problem("A", "b")])),
    ],
)
def test_every_rule_answers_in_order_whatever_the_inputs(order, now):
    verdicts = review(order, now)
    assert [v.code for v in verdicts] == list(RULES)
    assert all(isinstance(v.allowed, bool) and v.text for v in verdicts)
    for v in verdicts:
        if v.value is not None:
            assert abs(v.distance) == abs(v.value - v.limit)


def test_all_is_well_by_default():
    assert approved(review(an_entry(), inputs()))
    assert approved(review(a_sale(), inputs(portfolio=HELD)))


@pytest.mark.parametrize(
    "now",
    [
        inputs(portfolio=HELD, **BAD),
        inputs(a_view("ETHUSDT"), portfolio=HELD, **BAD),  # the symbol was not even seen
        inputs(
            a_view(seen=candles([]), quote=None, instrument=None, problems=[Problem("A", "b")]),
            portfolio=HELD,
            **BAD,
        ),
    ],
)
def test_no_doubt_no_stop_and_no_limit_keeps_an_exit_back(now):
    assert approved(review(a_sale(), now))
    assert not approved(review(an_entry(), now))


def test_only_a_used_id_or_too_large_a_quantity_keeps_an_exit_back():
    used = inputs(portfolio=HELD, used_ids=(a_sale().id,))
    assert [v.code for v in review(a_sale(), used) if not v.allowed] == ["CLIENT_ID_USED"]
    more = review(a_sale(quantity="0.00001"), inputs(portfolio=HELD))
    assert [v.code for v in more if not v.allowed] == ["LONG_ONLY"]


def test_the_effective_limits_of_the_inputs_are_used():
    assert approved(review(an_entry(), inputs()))
    for tight, code in [
        (limits(position="0.90"), "POSITION_LIMIT"),
        (limits(daily="0.90"), "DAILY_BUDGET"),
        (limits(total="0.90"), "TOTAL_BUDGET"),
    ]:
        assert first_refusal(review(an_entry(), inputs(limits=tight))).code == code


def test_an_order_no_rule_has_seen_is_not_approved():
    assert not approved([])


def test_one_refusal_is_enough_and_the_first_one_is_the_reason():
    fine, no, never = (
        fact(code, holds, "") for code, holds in [("A", True), ("B", False), ("C", False)]
    )
    assert approved([fine, fine]) and not approved([fine, no, fine])
    assert first_refusal([fine, no, never]) is no
    assert first_refusal([fine]) is None and first_refusal([]) is None


@pytest.mark.parametrize(
    "value, limit, at_least, allowed, distance",
    [
        ("1.00", "1.00", False, True, "0.00"),
        ("1.00000001", "1.00", False, False, "-0.00000001"),
        ("8.00", "8.00", True, True, "0.00"),
        ("7.99999999", "8.00", True, False, "-0.00000001"),
        ("9", "8", True, True, "1"),
    ],
)
def test_a_verdict_allows_its_limit_and_tells_the_distance(
    value, limit, at_least, allowed, distance
):
    got = verdict("X", Decimal(value), Decimal(limit), "text", at_least=at_least)
    assert got == Verdict("X", allowed, Decimal(value), Decimal(limit), Decimal(distance), "text")
    aside = verdict("X", Decimal(value), Decimal(limit), "text", at_least=at_least, applies=False)
    assert aside.allowed and aside.distance == Decimal(distance)


@pytest.mark.parametrize("at_least", [False, True])
@pytest.mark.parametrize("odd", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_a_figure_that_is_not_finite_is_refused_and_raises_nothing(odd, at_least):
    for value, limit in [(odd, "1"), ("1", odd), (odd, odd)]:
        got = verdict("X", Decimal(value), Decimal(limit), "text", at_least=at_least)
        assert got.allowed is False
        aside = verdict("X", Decimal(value), Decimal(limit), "text", applies=False)
        assert aside.allowed is True


def test_a_fact_that_does_not_apply_is_allowed():
    assert fact("X", False, "text", applies=False) == Verdict("X", True, None, None, None, "text")
    assert fact("X", False, "text").allowed is False


def test_days_limits_of_the_past_do_not_loosen_todays():
    # the day was opened with the hard limits; what counts are the limits in force
    now = inputs(days=(a_day(within=HARD_LIMITS),), limits=limits(daily="0.90"))
    assert first_refusal(review(an_entry(), now)).code == "DAILY_BUDGET"
