"""What a fill costs: the walk through the book, the fee, the rounding, against exact fractions."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import FEES, NOW, a_quote, a_sale, an_entry, dec
from tgtqr_lib.domain import DomainError, Side
from tgtqr_lib.execution import (
    FEE_TABLE,
    fee_on,
    fees_on,
    fill,
    mark_value,
    round_down,
    round_up,
    worst_cost,
)

UNITS = 10**8  # of 1e-8 in one


def up(exact: Fraction) -> Fraction:
    return Fraction(ceil(exact * UNITS), UNITS)


def down(exact: Fraction) -> Fraction:
    return Fraction(floor(exact * UNITS), UNITS)


# the worst an entry can cost


@pytest.mark.parametrize(
    "quantity, limit, cost",
    [
        # 9 x 0.000001 x 105364.9 = 0.9482841, fee 0.0009482841 rounded up to 0.00094829
        ("0.000009", "105364.9", "0.94923239"),
        # 37 x 0.00001 x 2536.14 = 0.9383718, fee 0.0009383718 rounded up to 0.00093838
        ("0.00037", "2536.14", "0.93931018"),
    ],
)
def test_the_reserve_of_the_worked_examples(quantity, limit, cost):
    assert worst_cost(an_entry(quantity, limit), FEES) == Decimal(cost)


def test_cost_and_fee_are_rounded_up_each_once():
    # 0.000001 x 1.234567 = 0.000001234567 -> 0.00000124; its 0.1 % is 1.2e-9 -> 0.00000001.
    # Rounded in one, the sum 0.000001235801567 would be 0.00000124 alone
    order = an_entry("0.000001", "1.234567")
    assert worst_cost(order, FEES) == Decimal("0.00000125")


@pytest.mark.parametrize(
    "amount, above, below",
    [
        ("1", "1", "1"),
        ("0.000000010", "0.00000001", "0.00000001"),
        ("0.0000000100000001", "0.00000002", "0.00000001"),
        ("0.9999999999", "1", "0.99999999"),
    ],
)
def test_what_is_paid_is_rounded_up_and_what_is_got_is_rounded_down(amount, above, below):
    assert (round_up(dec(amount)), round_down(dec(amount))) == (dec(above), dec(below))
    assert fee_on(dec(amount) * 1000, FEES) == dec(above)  # 0.1 % of a thousand times as much


def test_a_holding_is_worth_its_quantity_at_the_mark_rounded_down():
    assert mark_value(dec("0.000009"), dec("104321.7")) == dec("0.93889530")
    assert mark_value(dec("0.000001"), dec("1.239")) == dec("0.00000123")
    assert mark_value(dec("0.000009"), dec(0)) == 0


# the walk through the book


ASKS = [("100.1", "0.004"), ("100.2", "0.01"), ("100.4", "5")]
BIDS = [("99.9", "0.004"), ("99.8", "0.01"), ("99.6", "5")]


@pytest.mark.parametrize(
    "quantity, limit, filled, notional",
    [
        ("0.004", "100.4", "0.004", "0.4004"),  # the first level is enough
        ("0.005", "100.4", "0.005", "0.5006"),  # 0.4004 + 0.001 x 100.2
        ("0.02", "100.4", "0.02", "2.0048"),  # 0.4004 + 1.002 + 0.006 x 100.4
        ("0.02", "100.3", "0.014", "1.4024"),  # the third level is outside: 0.4004 + 1.002
        ("0.02", "100.2", "0.014", "1.4024"),  # a level on the limit is inside
        ("0.02", "100.1", "0.004", "0.4004"),
    ],
)
def test_a_buy_walks_the_asks_up_to_its_limit(quantity, limit, filled, notional):
    got = fill(an_entry(quantity, limit), a_quote("100", asks=ASKS), FEES)
    assert (got.quantity, got.notional) == (dec(filled), dec(notional))
    assert got.fee == dec(notional) / 1000  # 0.1 %, exact here
    assert sum(level.quantity for level in got.levels) == got.quantity


@pytest.mark.parametrize(
    "quantity, limit, filled, notional",
    [
        ("0.004", "99.6", "0.004", "0.3996"),
        ("0.02", "99.6", "0.02", "1.9952"),  # 0.3996 + 0.998 + 0.006 x 99.6
        ("0.02", "99.7", "0.014", "1.3976"),
        ("0.02", "99.8", "0.014", "1.3976"),
        ("0.02", "99.9", "0.004", "0.3996"),
    ],
)
def test_a_sale_walks_the_bids_down_to_its_limit(quantity, limit, filled, notional):
    got = fill(a_sale(quantity, limit), a_quote("100", bids=BIDS), FEES)
    assert (got.quantity, got.notional) == (dec(filled), dec(notional))


def test_outside_the_limit_nothing_fills():
    quote = a_quote("100", bids=BIDS, asks=ASKS)
    assert fill(an_entry("0.001", "100.09"), quote, FEES) is None
    assert fill(an_entry("0.001", "100.1"), quote, FEES) is not None
    assert fill(a_sale("0.001", "99.91"), quote, FEES) is None
    assert fill(a_sale("0.001", "99.9"), quote, FEES) is not None


def test_a_fill_tells_where_it_came_from():
    order, quote = an_entry("0.001", "101"), a_quote("100", bids=BIDS, asks=ASKS)
    got = fill(order, quote, FEES)
    assert (got.order_id, got.symbol, got.side) == (order.id, "BTCUSDT", Side.BUY)
    assert (got.at, got.mid) == (NOW, 100)
    assert got.fee_currency == "USDT"


def test_a_buy_pays_rounded_up_and_a_sale_gets_rounded_down():
    # 0.000003 x 1.111111 = 0.000003333333
    quote = a_quote("1.1", bids=[("1.111111", 1)], asks=[("1.111112", 1)], last="1.1")
    sold = fill(a_sale("0.000003", "1"), quote, FEES)
    assert (sold.notional, sold.fee) == (dec("0.00000333"), dec("0.00000001"))
    # 0.000003 x 1.111112 = 0.000003333336
    bought = fill(an_entry("0.000003", "2"), quote, FEES)
    assert (bought.notional, bought.fee) == (dec("0.00000334"), dec("0.00000001"))


def test_a_fee_is_taken_of_the_exact_amount_and_not_of_the_rounded_one():
    # 0.000001 x 10.000001 = 0.000010000001; its 0.1 % is 1.0000001e-8, rounded up 2 units.
    # Of the rounded proceeds 0.00001 it would be 1 unit
    quote = a_quote("10", bids=[("10.000001", 1)], asks=[("10.1", 1)])
    sold = fill(a_sale("0.000001", "1"), quote, FEES)
    assert (sold.notional, sold.fee) == (dec("0.00001"), dec("0.00000002"))


def test_levels_are_added_up_before_they_are_rounded():
    # 3 x 0.000001 x (1.000001 + 1.000002 + 1.000003) / 3 = 0.000003000006: one unit is added, not three
    asks = [("1.000001", "0.000001"), ("1.000002", "0.000001"), ("1.000003", "0.000001")]
    got = fill(an_entry("0.000003", "2"), a_quote("1", bids=[("0.9", 1)], asks=asks), FEES)
    assert got.notional == dec("0.00000301")


def test_a_fee_never_takes_more_than_a_sale_brings():
    # 0.000001 x 0.002 = 2e-9: nothing is got, and the fee of one unit would have to be paid from cash
    quote = a_quote("1", bids=[("0.002", 1)], asks=[("1", 1)])
    got = fill(a_sale("0.000001", "0.001"), quote, FEES)
    assert (got.notional, got.fee) == (0, 0)


prices = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-6))
quantities = st.integers(1, 10**6).map(lambda n: Decimal(n).scaleb(-6))
fee_rates = st.sampled_from(["0", "5.5", "10", "60"])


@st.composite
def books(draw):
    """A book of up to five levels a side, prices between 0.000001 and 1000."""
    ladder = sorted(draw(st.sets(prices, min_size=2, max_size=10)))
    cut = draw(st.integers(1, len(ladder) - 1))
    sides = list(reversed(ladder[:cut])), ladder[cut:]
    bids, asks = ([(price, draw(quantities)) for price in side] for side in sides)
    return a_quote(ladder[cut], bids=bids, asks=asks)


@given(quote=books(), quantity=quantities, limit=prices, bps=fee_rates, buying=st.booleans())
def test_a_fill_equals_the_book_in_exact_fractions(quote, quantity, limit, bps, buying):
    # given all that is offered inside the limit, the best price first
    levels = quote.asks if buying else quote.bids
    inside = [
        (Fraction(level.price), Fraction(level.quantity))
        for level in levels
        if (level.price <= limit if buying else level.price >= limit)
    ]
    fees = FEES.__class__(dec(bps), "", "")
    order = (an_entry if buying else a_sale)(quantity, limit)
    # when
    got = fill(order, quote, fees)
    # then the quantity is what was asked for or all there is, and the money is that of the best levels
    wanted = min(Fraction(quantity), sum(q for _, q in inside))
    if not wanted:
        assert got is None
        return
    assert Fraction(got.quantity) == wanted
    exact, left = Fraction(0), wanted
    for price, offered in inside:
        exact += price * min(left, offered)
        left -= min(left, offered)
    fee = up(exact * Fraction(bps) / 10_000)
    if buying:
        assert (Fraction(got.notional), Fraction(got.fee)) == (up(exact), fee)
    else:
        notional = down(exact)
        assert (Fraction(got.notional), Fraction(got.fee)) == (notional, min(fee, notional))
    taken = [(Fraction(level.price), Fraction(level.quantity)) for level in got.levels]
    assert sum(q for _, q in taken) == wanted and all(q > 0 for _, q in taken)


@given(quote=books(), quantity=quantities, limit=prices, bps=fee_rates)
def test_a_buy_never_costs_more_than_its_reserve_and_a_sale_never_costs(
    quote, quantity, limit, bps
):
    fees = FEES.__class__(dec(bps), "", "")
    entry, sale = an_entry(quantity, limit), a_sale(quantity, limit)
    if bought := fill(entry, quote, fees):
        assert bought.notional + bought.fee <= worst_cost(entry, fees)
    if sold := fill(sale, quote, fees):
        assert sold.notional - sold.fee >= 0


# fees


def test_spot_fees_are_ten_basis_points_with_their_date_and_source():
    fees = fees_on(date(2026, 11, 22))
    assert (fees.bps, fees.currency) == (10, "USDT")
    assert fees.since == "2022-06-01" and fees.source


def test_the_fee_of_a_day_is_the_newest_that_holds_by_then(monkeypatch):
    rows = [(date(2024, 1, 1), dec(10)), (date(2025, 1, 1), dec(8)), (date(2026, 1, 1), dec(6))]
    monkeypatch.setitem(FEE_TABLE, "spot", rows)
    on = [
        date(2020, 1, 1),
        date(2024, 12, 31),
        date(2025, 1, 1),
        date(2025, 12, 31),
        date(2026, 5, 1),
    ]
    assert [fees_on(day).bps for day in on] == [10, 10, 8, 8, 6]
    assert fees_on(date(2025, 6, 1)).since == "2025-01-01"


def test_a_market_without_a_fee_table_is_named():
    with pytest.raises(DomainError, match=r"market 'options' has no fee table; expected \['spot'"):
        fees_on(date(2026, 1, 1), "options")
