"""Cash and positions as a fold over fills: nothing is lost, nothing appears."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    FEES,
    a_fill,
    a_portfolio,
    a_position,
    a_sale,
    an_entry,
    dec,
)
from tgtqr_lib.domain import DomainError, Portfolio, Side
from tgtqr_lib.portfolio import apply, equity, fold, reserve

TEN = Decimal("10.00")


def a_buy(quantity="0.01", price="100", fee="0.001", symbol="BTCUSDT"):
    return a_fill(Side.BUY, quantity, price, fee, symbol)


def a_sold(quantity="0.01", price="100", fee="0.001", symbol="BTCUSDT"):
    return a_fill(Side.SELL, quantity, price, fee, symbol)


def test_no_fills_are_cash_alone():
    assert fold(TEN, []) == Portfolio(cash=TEN)


def test_a_buy_moves_cash_with_its_fee_into_the_position():
    after = fold(TEN, [a_buy("0.01", "94", fee="0.00094")])
    assert after == a_portfolio(a_position("BTCUSDT", "0.01", "0.94094"), cash="9.05906")


def test_two_buys_add_up():
    after = fold(TEN, [a_buy("0.01", "30", "0.0003"), a_buy("0.02", "20", "0.0004")])
    assert after == a_portfolio(a_position("BTCUSDT", "0.03", "0.7007"), cash="9.2993")


def test_a_sale_of_all_leaves_cash_alone():
    after = fold(TEN, [a_buy("0.01", "94", "0.001"), a_sold("0.01", "90", "0.0009")])
    # 10 - 0.94 - 0.001 + 0.90 - 0.0009
    assert after == Portfolio(cash=dec("9.9581"))


def test_a_sale_of_a_part_leaves_its_share_of_the_cost_rounded_up():
    # 1/3 of the quantity is left, and of the cost 1.00000001 / 3 = 0.333333336.. -> 0.33333334
    held = a_portfolio(a_position("BTCUSDT", "0.03", "1.00000001"), cash="5")
    after = apply(held, a_sold("0.02", "10", "0.0002"))
    assert after == a_portfolio(a_position("BTCUSDT", "0.01", "0.33333334"), cash="5.1998")


@pytest.mark.parametrize("quantity", ["0.01000001", "1"])
def test_more_than_is_held_cannot_be_sold(quantity):
    with pytest.raises(DomainError, match=f"sells {quantity} BTCUSDT, but 0.01 is held"):
        fold(TEN, [a_buy("0.01"), a_sold(quantity)])


def test_what_is_not_held_cannot_be_sold():
    with pytest.raises(DomainError, match=r"sells 0.01 ETHUSDT, but 0 is held"):
        fold(TEN, [a_buy("0.01"), a_sold("0.01", symbol="ETHUSDT")])


def test_a_fill_leaves_the_other_symbol_and_the_reserves_alone():
    before = a_portfolio(a_position("ETHUSDT"), reserved="0.5", pending={"ETHUSDT": "0.5"})
    after = apply(before, a_buy("0.01", "94", "0"))
    assert after.position("ETHUSDT") == before.position("ETHUSDT")
    assert (after.reserved, after.pending) == (before.reserved, before.pending)
    assert [p.symbol for p in after.positions] == ["BTCUSDT", "ETHUSDT"]  # in one order, always
    assert before == a_portfolio(a_position("ETHUSDT"), reserved="0.5", pending={"ETHUSDT": "0.5"})


units = st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-8))


@st.composite
def fill_sequences(draw):
    """Buys and sales of two symbols, never more sold than held; fees of sales within proceeds."""
    held, fills = {"BTCUSDT": 0, "ETHUSDT": 0}, []
    for _ in range(draw(st.integers(0, 12))):
        symbol = draw(st.sampled_from(sorted(held)))
        selling = held[symbol] > 0 and draw(st.booleans())
        lots = draw(st.integers(1, held[symbol] if selling else 50))
        price = draw(st.integers(1, 10**7)) * Decimal("0.01")
        quantity = lots * Decimal("0.00001")
        fee = draw(units)
        if selling:
            fee = min(fee, price * quantity)
        held[symbol] += -lots if selling else lots
        fills.append(a_fill(Side.SELL if selling else Side.BUY, quantity, price, fee, symbol))
    return fills


@given(fill_sequences())
def test_cash_fees_and_cost_are_conserved(fills):
    portfolio, released = Portfolio(cash=TEN), Fraction(0)
    for one in fills:
        before, portfolio = portfolio, apply(portfolio, one)
        was, now = before.position(one.symbol), portfolio.position(one.symbol)
        if one.side is Side.BUY:
            # what left cash, fee included, is in the position
            assert before.cash + was.cost == portfolio.cash + now.cost
        else:
            # a sale brings its proceeds less its fee, never lowers cash, and takes its share of the cost
            assert portfolio.cash - before.cash == one.notional - one.fee >= 0
            share = Fraction(was.cost) * Fraction(now.quantity) / Fraction(was.quantity)
            assert Fraction(now.cost) == Fraction(ceil(share * 10**8), 10**8)
            released += Fraction(was.cost) - Fraction(now.cost)
    bought = sum((f.notional + f.fee for f in fills if f.side is Side.BUY), Decimal(0))
    sold = sum((f.notional - f.fee for f in fills if f.side is Side.SELL), Decimal(0))
    cost = sum((p.cost for p in portfolio.positions), Decimal(0))
    assert portfolio.cash == TEN - bought + sold
    assert Fraction(cost) + released == bought
    assert all(p.quantity > 0 and p.cost >= 0 for p in portfolio.positions)
    assert fold(TEN, fills) == portfolio


@given(fill_sequences())
def test_quantities_are_what_was_bought_less_what_was_sold(fills):
    portfolio = fold(TEN, fills)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        signed = [
            f.quantity if f.side is Side.BUY else -f.quantity for f in fills if f.symbol == symbol
        ]
        assert portfolio.position(symbol).quantity == sum(signed)


# reserves


def test_an_entry_reserves_its_worst_cost_until_its_fill_is_known():
    # 0.94923239 is the worst cost of the worked example
    once = reserve(a_portfolio(), an_entry("0.000009", "105364.9"), FEES)
    assert (once.cash, once.reserved) == (TEN, dec("0.94923239"))
    assert once.cost_of("BTCUSDT") == dec("0.94923239") and once.cost_of("ETHUSDT") == 0
    twice = reserve(once, an_entry("0.000009", "105364.9"), FEES)
    assert twice.reserved == twice.cost_of("BTCUSDT") == dec("1.89846478")
    assert once.reserved == dec("0.94923239")


def test_an_exit_reserves_nothing():
    held = a_portfolio(a_position())
    assert reserve(held, a_sale(), FEES) == held


# equity


def test_equity_is_cash_and_what_is_held_at_the_marks():
    held = a_portfolio(
        a_position("BTCUSDT", "0.000009"), a_position("ETHUSDT", "0.00037"), cash="8"
    )
    marks = {"BTCUSDT": dec("104321.7"), "ETHUSDT": dec("2511.03")}
    # 8 + 0.9388953 + 0.9290811
    assert equity(held, marks) == dec("9.8679764")
    assert equity(held, {"BTCUSDT": dec(0), "ETHUSDT": dec(0)}) == 8
    assert equity(a_portfolio(), {}) == TEN


def test_each_value_is_rounded_down_on_its_own():
    # 0.000001 x 0.000009 is less than a unit, twice
    held = a_portfolio(a_position("BTCUSDT", "0.000001"), a_position("ETHUSDT", "0.000001"))
    marks = {"BTCUSDT": dec("0.009"), "ETHUSDT": dec("0.009")}
    assert equity(held, marks) == TEN


def test_a_held_symbol_without_a_mark_is_named():
    with pytest.raises(DomainError, match="ETHUSDT is held but has no mark"):
        equity(a_portfolio(a_position("ETHUSDT")), {"BTCUSDT": dec(1)})


def test_reserves_are_not_part_of_equity():
    assert equity(replace(a_portfolio(), reserved=dec(3)), {}) == TEN


# a fee that is taken in the coin, as an exchange does


def in_the_coin(quantity="0.01", price="100", fee="0.00001"):
    return replace(a_buy(quantity, price, fee), fee_currency="BTC")


def test_a_fee_in_the_coin_lessens_what_is_held_and_not_the_cash():
    fill = in_the_coin("0.01", "94", fee="0.00001")
    after = fold(TEN, [fill])
    assert after == a_portfolio(a_position("BTCUSDT", "0.00999", "0.94"), cash="9.06")
    # what it cost: 0.00001 at 94
    assert (fill.in_coin, fill.received, fill.fee_usdt) == (True, dec("0.00999"), dec("0.00094"))
    assert replace(fill, fee=dec("0.000000001")).fee_usdt == dec("0.00000010")  # 0.000000094, up


def test_a_fee_in_usdt_is_paid_from_the_cash_also_of_a_sale():
    bought, sold = a_buy("0.01", "94", fee="0.00094"), a_sold("0.01", "94", fee="0.00094")
    for fill in (bought, sold):
        assert not fill.in_coin and fill.fee_usdt == fill.fee == dec("0.00094")
        assert fill.received == fill.quantity


def test_what_a_fee_in_the_coin_left_is_kept_with_its_share_of_the_cost():
    after = fold(TEN, [in_the_coin("0.01", "94"), a_sold("0.0099", "94", fee="0.0009306")])
    # 0.00009 of 0.00999 are left, and of the cost 0.94 * 9 / 999 = 0.0084684..., rounded up
    assert after.position("BTCUSDT") == a_position("BTCUSDT", "0.00009", "0.00846847")
    assert after.cash == dec("9.06") + dec("0.9306") - dec("0.0009306")


def test_more_than_the_fee_has_left_cannot_be_sold():
    with pytest.raises(DomainError, match=r"sells 0.01 BTCUSDT, but 0.00999 is held"):
        fold(TEN, [in_the_coin("0.01", "94"), a_sold("0.01", "94")])


@given(
    lots=st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    sold=st.integers(0, 100),
)
def test_coins_and_cash_add_up_whatever_the_fees(lots, sold):
    # every buy loses a thousandth of its coins; then `sold` percent of all whole lots are sold for cash
    lot, price = Decimal("0.000001"), Decimal("100000")
    buys = [in_the_coin(lot * n, price, fee=lot * n / 1000) for n in lots]
    coins = sum((lot * n * 999 / 1000 for n in lots), Decimal(0))
    part = (coins // lot) * sold // 100 * lot
    fills = [*buys, a_sold(part, price, fee=part * price / 1000)] if part else buys
    cash = Decimal(10**6)
    after = fold(cash, fills)
    assert after.position("BTCUSDT").quantity == coins - part
    assert after.cash == cash - sum(lots) * lot * price + part * price * 999 / 1000
