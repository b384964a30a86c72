"""The hard limits are what the design says, and nothing loosens them."""

from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import HARD_LIMITS, limits
from tgtqr_lib import limits as ours
from tgtqr_lib.domain import Limits


@pytest.mark.parametrize(
    "name, value",
    [
        ("HARD", Limits(Decimal("1.00"), Decimal("2.00"), Decimal("5.00"), Decimal("1.00"))),
        ("LEVERAGE", 1),
        ("SYMBOLS", ("BTCUSDT", "ETHUSDT")),
        ("MARKET", "spot"),
        ("INITIAL_EQUITY", Decimal("10.00")),
        ("COLLAR_BPS", 100),
        ("ORDER_TARGET_USDT", Decimal("0.95")),
        ("MAX_ORDERS_A_TICK", 2),
        ("MAX_ORDERS_A_DAY", 192),
        ("QUOTE_MAX_AGE_S", 5),
        ("LEASE_S", 180),
        ("CLOCK_OFFSET_MS", 500),
        ("DISK_FREE_MB", 200),
        ("MAX_JUMP_FRACTION", Decimal("0.2")),
        ("TICKER_FRACTION", Decimal("0.02")),
    ],
)
def test_the_hard_limits_are_those_of_the_design(name, value):
    assert getattr(ours, name) == value


def test_two_full_entries_fit_the_day_only_because_each_costs_less_than_its_position_limit():
    # an order of 0.95 with its 0.1 % costs at most 0.95095; two are 1.9019, within the 2.00 of a day
    assert 2 * ours.ORDER_TARGET_USDT * Decimal("1.001") <= ours.HARD.daily_loss_usdt
    assert ours.ORDER_TARGET_USDT * Decimal("1.001") <= ours.HARD.position_usdt


def test_the_tightest_of_each_limit_holds():
    settings, page = limits(daily="0.50"), limits(position="0.30", daily="0.70")
    assert ours.tightest(settings, page) == limits(position="0.30", daily="0.50")
    assert ours.tightest() == HARD_LIMITS


money = st.decimals(0, 100, places=2)
any_limits = st.builds(Limits, money, money, money, money)


@given(st.lists(any_limits, max_size=4))
def test_nothing_loosens_a_hard_limit(given_limits):
    tight = ours.tightest(*given_limits)
    for field in fields(Limits):
        every = [getattr(one, field.name) for one in (HARD_LIMITS, *given_limits)]
        assert getattr(tight, field.name) == sorted(every)[0]


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_each_limit_is_clamped_on_its_own(name):
    wide = Limits(*[Decimal(1000)] * 4)
    assert getattr(ours.tightest(wide), name) == getattr(HARD_LIMITS, name)
