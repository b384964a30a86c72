"""The rules of an account at the exchange: an unknown order, a disagreement, an order that is too small."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import (
    HARD_LIMITS,
    a_portfolio,
    a_position,
    a_sale,
    a_view,
    an_entry,
    healthy,
    inputs,
    no_order,
)
from tgtqr_lib.risk import account_trouble, below_exchange_minimum, order_unknown, review

HELD = a_portfolio(a_position("BTCUSDT", "0.0001"), a_position("ETHUSDT", "0.004"))
TICK = "20261122T1000Z"


def allowed(rule, order, **health) -> bool:
    return rule.check(order, inputs(health=healthy(**health), portfolio=HELD), HARD_LIMITS).allowed


@pytest.mark.parametrize(
    "waiting, entry, btc_exit, eth_exit",
    [
        (None, True, True, True),  # paper
        ((), True, True, True),
        ((f"{TICK}-BTC-B",), False, True, True),  # what is held can be sold while a buy is open
        ((f"{TICK}-BTC-S",), False, False, True),  # it may be sold already
        ((f"{TICK}-BTC-X",), False, False, True),
        ((f"{TICK}-ETH-X",), False, True, False),
        ((f"{TICK}-ETH-B", f"{TICK}-BTC-S"), False, False, True),
    ],
)
def test_an_unknown_order_keeps_back_entries_and_a_second_sale_of_its_symbol(
    waiting, entry, btc_exit, eth_exit
):
    for order, expected in (
        (an_entry(), entry),
        (an_entry(symbol="ETHUSDT"), entry),
        (a_sale(), btc_exit),
        (a_sale(symbol="ETHUSDT", limit="2500"), eth_exit),
        (no_order(), True),
    ):
        assert allowed(order_unknown, order, unknown_orders=waiting) is expected


@pytest.mark.parametrize("problem, entry", [(None, True), ("the account holds less", False)])
def test_a_disagreement_keeps_back_entries_and_no_exit(problem, entry):
    assert allowed(account_trouble, an_entry(), account_problem=problem) is entry
    assert allowed(account_trouble, a_sale(), account_problem=problem)
    assert allowed(account_trouble, no_order(), account_problem=problem)


@pytest.mark.parametrize(
    "order, enough",
    [
        # the exchange needs 5 USDT: quantity x limit, for buys and sales alike
        (an_entry("0.00005", "100000"), True),
        (an_entry("0.00005", "99999.9"), False),
        (a_sale("0.00005", "100000"), True),
        (a_sale("0.00005", "99999.9"), False),
        (no_order(), True),
    ],
)
def test_an_order_below_the_exchanges_minimum_is_refused(order, enough):
    now = inputs(portfolio=HELD)
    verdict = below_exchange_minimum.check(order, now, HARD_LIMITS)
    assert verdict.allowed is enough
    if not enough:
        assert verdict.text == (
            "the order is worth 4.999995 USDT at its limit, the exchange needs 5"
        )


def test_on_paper_a_tiny_order_is_nobodys_business():
    at_exchange = replace(inputs().account, venue="demo", scale=Decimal(1))
    on_paper, there = (
        {v.code for v in review(an_entry(), inputs(a_view(), account=account)) if not v.allowed}
        for account in (inputs().account, at_exchange)
    )
    assert there - on_paper == {"BELOW_EXCHANGE_MINIMUM"}
