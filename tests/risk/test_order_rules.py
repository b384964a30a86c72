"""The rules about the order itself: symbol, market, id, side, price, and how many."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import (
    BTC,
    CLOSES,
    HARD_LIMITS,
    PLAN,
    a_portfolio,
    a_position,
    a_sale,
    a_view,
    an_entry,
    candles,
    inputs,
    no_order,
)
from tgtqr_lib.domain import Plan
from tgtqr_lib.risk import (
    client_id,
    long_only,
    orders_day,
    orders_tick,
    price_collar,
    spot_only,
    symbol_known,
)

HELD = a_portfolio(a_position(quantity="0.000009"))
LINEAR = candles([CLOSES["BTCUSDT"]] * 60, market="linear")


def allowed(rule, order, now):
    verdict = rule.check(order, now, HARD_LIMITS)
    assert verdict.code == rule.CODE and verdict.text
    return verdict.allowed


# symbol and market


@pytest.mark.parametrize(
    "symbol, now, known",
    [
        ("BTCUSDT", inputs(), True),
        ("ETHUSDT", inputs(), True),
        ("XRPUSDT", inputs(), False),
        ("btcusdt", inputs(), False),
        ("ETHUSDT", inputs(a_view("BTCUSDT")), False),  # known, but not seen
        ("BTCUSDT", inputs(a_view(instrument=None)), False),  # without the exchange's rules
        # seen, but not on the list
        ("XRPUSDT", inputs(replace(a_view(), symbol="XRPUSDT")), False),
    ],
)
def test_only_listed_symbols_with_known_rules_are_bought(symbol, now, known):
    assert allowed(symbol_known, an_entry(symbol=symbol), now) is known
    assert allowed(symbol_known, no_order(symbol), now) is known
    assert allowed(symbol_known, a_sale(symbol=symbol), now)


@pytest.mark.parametrize(
    "view, spot",
    [
        (a_view(), True),
        (a_view(seen=LINEAR), False),
        (a_view(instrument=replace(BTC, market="linear")), False),
        (a_view(seen=LINEAR, instrument=replace(BTC, market="linear")), False),
        (a_view(instrument=None), False),
        (a_view("ETHUSDT"), False),  # BTCUSDT was not seen at all
    ],
)
def test_only_spot_is_bought(view, spot):
    assert allowed(spot_only, an_entry(), inputs(view)) is spot
    assert allowed(spot_only, a_sale(), inputs(view))


# id


def test_an_order_id_is_used_once_by_entries_and_exits_alike():
    used = inputs(used_ids=(an_entry().id, a_sale().id), portfolio=HELD)
    assert not allowed(client_id, an_entry(), used)
    assert not allowed(client_id, a_sale(), used)
    assert allowed(client_id, an_entry(id="20261122T1030Z-BTC-B"), used)
    assert allowed(client_id, no_order(), used)


# side


@pytest.mark.parametrize(
    "quantity, fine", [("0.000008", True), ("0.000009", True), ("0.00000901", False), ("1", False)]
)
def test_a_sale_is_at_most_what_is_held(quantity, fine):
    assert allowed(long_only, a_sale(quantity), inputs(portfolio=HELD)) is fine
    assert not allowed(long_only, a_sale(quantity), inputs())  # nothing is held
    assert allowed(long_only, an_entry(quantity), inputs())


def test_what_is_held_of_another_symbol_cannot_be_sold():
    assert not allowed(long_only, a_sale(symbol="ETHUSDT"), inputs(portfolio=HELD))


# price


def collar(bps):
    return Plan("ma_trend", {}, PLAN.order_target_usdt, bps)


@pytest.mark.parametrize(
    "limit, bps, fine",
    [
        # 104321.7 x 1.01 = 105364.917
        ("105364.9", 100, True),
        ("105364.917", 100, True),
        ("105364.918", 100, False),
        # 104321.7 x 1.0005 = 104373.86085
        ("104373.8", 5, True),
        ("104373.9", 5, False),
        # a collar above the hard one counts as the hard one
        ("105364.9", 500, True),
        ("105365", 500, False),
        ("1", 100, True),
    ],
)
def test_an_entry_offers_at_most_the_collar_above_the_last_close(limit, bps, fine):
    assert allowed(price_collar, an_entry(limit=limit), inputs(plan=collar(bps))) is fine


def test_without_a_close_no_price_is_fair_and_an_exit_needs_none():
    for blind in (inputs(a_view(seen=candles([]))), inputs(a_view("ETHUSDT"))):
        assert not allowed(price_collar, an_entry(), blind)
        assert allowed(price_collar, a_sale(), blind)
        assert allowed(price_collar, no_order(), blind)


# how many


@pytest.mark.parametrize("before, fine", [(0, True), (1, True), (2, False), (3, False)])
def test_an_entry_is_at_most_the_second_order_of_its_tick(before, fine):
    now = inputs(orders_this_tick=before, portfolio=HELD)
    assert allowed(orders_tick, an_entry(), now) is fine
    assert allowed(orders_tick, a_sale(), now)


@pytest.mark.parametrize(
    "today, this_tick, fine",
    [(190, 0, True), (191, 0, True), (192, 0, False), (190, 1, True), (191, 1, False)],
)
def test_an_entry_is_at_most_the_192nd_order_of_its_day(today, this_tick, fine):
    now = inputs(orders_today=today, orders_this_tick=this_tick, portfolio=HELD)
    verdict = orders_day.check(an_entry(), now, HARD_LIMITS)
    assert verdict.allowed is fine
    assert (verdict.value, verdict.limit) == (today + this_tick + 1, Decimal(192))
    assert allowed(orders_day, a_sale(), now)
