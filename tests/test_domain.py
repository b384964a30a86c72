"""The nouns refuse to be born wrong, and say no more than they know."""

from dataclasses import FrozenInstanceError, replace
from datetime import datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    BTC,
    NOW,
    a_fill,
    a_portfolio,
    a_position,
    a_quote,
    a_sale,
    an_entry,
    an_order,
    candles,
    inputs,
)
from tgtqr_lib import domain
from tgtqr_lib.domain import (
    Candles,
    Choice,
    DataError,
    Decision,
    DomainError,
    History,
    Level,
    Side,
    Signal,
    SignalState,
)

MINUTE_MS = 60_000


# orders


@pytest.mark.parametrize("field", ["quantity", "limit"])
@pytest.mark.parametrize("value", ["0", "-0.000001", "NaN", "Infinity", "-Infinity"])
def test_an_order_needs_a_positive_finite_quantity_and_limit(field, value):
    with pytest.raises(DomainError, match=f"order {an_order().id}: {field} .*{value}"):
        an_order(**{field: value})


def test_an_order_needs_a_time_with_a_zone():
    with pytest.raises(DomainError, match=r"placed_at .* has no time zone"):
        an_order(placed_at=datetime(2026, 11, 22, 10, 15))


def test_an_order_id_has_at_most_36_characters():
    assert an_order(id="x" * 36).id == "x" * 36
    with pytest.raises(DomainError, match="37 characters, at most 36"):
        an_order(id="x" * 37)


def test_a_buy_is_an_entry_and_a_sale_is_an_exit():
    assert (an_entry().is_entry, an_entry().is_exit) == (True, False)
    assert (a_sale().is_entry, a_sale().is_exit) == (False, True)
    assert an_order(quantity="0.000009", limit="105364.9").notional == Decimal("0.9482841")


@pytest.mark.parametrize("noun", [an_order(), a_fill(), a_quote(), BTC, inputs(), candles([1])])
def test_a_noun_does_not_change(noun):
    with pytest.raises((FrozenInstanceError, TypeError)):
        noun.symbol = "ETHUSDT"


# instruments


@pytest.mark.parametrize("field", ["price_step", "lot"])
@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity"])
def test_an_instrument_needs_positive_finite_steps(field, value):
    with pytest.raises(DomainError, match=f"BTCUSDT: {field}"):
        replace(BTC, **{field: Decimal(value)})


# quotes


@pytest.mark.parametrize(
    "bids, asks, last",
    [
        ([("100", 1)], [("100", 1)], "100"),  # locked
        ([("101", 1)], [("100", 1)], "100"),  # crossed
        ([("0", 1)], [("100", 1)], "100"),
        ([("-1", 1)], [("100", 1)], "100"),
        ([("NaN", 1)], [("100", 1)], "100"),
        ([("99", 1)], [("NaN", 1)], "100"),
        ([("99", 1)], [("Infinity", 1)], "100"),
        ([("99", 1)], [("100", 1), ("NaN", 1)], "100"),
        ([("99", 1)], [("100", 1)], "0"),
        ([("99", 1)], [("100", 1)], "NaN"),
        ([("98", 1), ("99", 1)], [("100", 1)], "100"),  # bids must fall
        ([("99", 1)], [("101", 1), ("100", 1)], "100"),  # asks must rise
        ([("99", 1)], [("100", 1), ("100", 1)], "100"),  # a price twice
        # a quantity below zero would let an order grow, and 0 or NaN is no offer
        ([("99", 1)], [("100", "-1")], "100"),
        ([("99", 0)], [("100", 1)], "100"),
        ([("99", 1)], [("100", 1), ("101", "NaN")], "100"),
    ],
)
def test_an_odd_quote_is_a_data_error(bids, asks, last):
    with pytest.raises(DataError, match="BTCUSDT"):
        a_quote("100", bids=bids, asks=asks, last=last)


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_an_empty_side_is_a_data_error(side):
    with pytest.raises(DataError, match="empty side"):
        replace(a_quote(), **{side: ()})


def test_a_quote_knows_its_best_prices_and_their_middle():
    quote = a_quote("100", bids=[("99.5", 1), ("99", 2)], asks=[("100.2", 1), ("101", 2)])
    assert (quote.bid, quote.ask, quote.mid) == (
        Decimal("99.5"),
        Decimal("100.2"),
        Decimal("99.85"),
    )


# candles


def raw(**changes):
    """Columns of three good minutes, some of them changed."""
    minutes = np.array([10, 11, 12]) * MINUTE_MS
    columns = {name: np.array([5, 6, 7]) for name in Candles.COLUMNS}
    return {"symbol": "BTCUSDT", "decimals": 1, "open_ms": minutes, **columns, **changes}


def test_good_columns_make_candles():
    made = Candles(**raw())
    assert len(made) == 3 and made.last_close == Decimal("0.7") and made.market == "spot"


@pytest.mark.parametrize("decimals", [-1, 7])
def test_prices_have_0_to_6_decimals(decimals):
    with pytest.raises(DomainError, match=f"{decimals} decimals; expected 0 to 6"):
        Candles(**raw(decimals=decimals))


@pytest.mark.parametrize("column", Candles.COLUMNS)
def test_columns_have_one_length(column):
    with pytest.raises(DomainError, match=rf"{column} has shape \(2,\), expected \(3,\)"):
        Candles(**raw(**{column: np.array([5, 6])}))


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
@pytest.mark.parametrize("price", [0, -5])
def test_every_price_of_a_candle_is_positive(column, price):
    with pytest.raises(DomainError, match="not positive"):
        Candles(**raw(**{column: np.array([5, price, 7])}))


@pytest.mark.parametrize("column", ["open_ms", *Candles.COLUMNS])
@pytest.mark.parametrize("odd", [6.5, float("nan"), float("inf")])
def test_floats_are_not_price_steps(column, odd):
    with pytest.raises(DomainError, match=column):
        Candles(**raw(**{column: np.array([600_000.0, odd, 720_000.0])}))


@pytest.mark.parametrize(
    "minutes", [[10, 10, 11], [10, 12, 11], [10, 11, 11.5]], ids=["twice", "back", "half"]
)
def test_candle_times_are_increasing_whole_minutes(minutes):
    times = (np.array(minutes) * MINUTE_MS).astype(np.int64)
    with pytest.raises(DomainError, match="not increasing whole minutes"):
        Candles(**raw(open_ms=times))


def test_candles_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        candles([1, 2, 3]).close[0] = 9


def test_candles_are_equal_by_value():
    assert candles([1, 2, 3]) == candles([1, 2, 3])
    others = [
        candles([1, 2, 4]),
        candles([1, 2, 3], "ETHUSDT", decimals=1),
        candles([1, 2, 3], decimals=2),
        candles([1, 2, 3], market="linear"),
        candles([1, 2, 3, 4]).head(2),
        candles([1, 2, 3], until=NOW.replace(minute=14, second=0)),
    ]
    assert all(candles([1, 2, 3]) != other for other in others)


@pytest.mark.parametrize(
    "n, expected", [(0, []), (2, [3, 4]), (4, [1, 2, 3, 4]), (9, [1, 2, 3, 4])]
)
def test_tail_takes_the_newest_and_head_the_oldest(n, expected):
    seen = candles([1, 2, 3, 4], decimals=0)
    assert seen.tail(n).close.tolist() == expected
    assert seen.head(n).close.tolist() == [1, 2, 3, 4][:n]
    assert len(seen.tail(n).open_ms) == len(expected)


@pytest.mark.parametrize(
    "decimals, steps, price", [(0, 7, "7"), (1, 1043217, "104321.7"), (6, 1, "0.000001")]
)
def test_a_price_is_its_steps_exactly(decimals, steps, price):
    assert candles([1], decimals=decimals).price(steps) == Decimal(price)


def test_no_candle_has_no_last_close():
    with pytest.raises(DataError, match="BTCUSDT: there is no closed candle"):
        _ = candles([]).last_close


@given(minutes=st.sets(st.integers(0, 40), max_size=30), window=st.integers(1, 10))
def test_a_row_is_contiguous_when_the_last_minutes_up_to_it_are_all_there(minutes, window):
    times = np.array(sorted(minutes), dtype=np.int64) * MINUTE_MS
    ones = np.ones(len(times), dtype=np.int64)
    history = History(Candles("BTCUSDT", 0, times, ones, ones, ones, ones, ones))
    expected = [set(range(m - window + 1, m + 1)) <= minutes for m in sorted(minutes)]
    assert history.contiguous(window).tolist() == expected


# portfolios and fills


def test_what_is_not_held_is_a_position_of_nothing():
    held = a_portfolio(a_position("BTCUSDT", "0.5", "7"), pending={"BTCUSDT": "1", "ETHUSDT": "2"})
    assert held.position("BTCUSDT").quantity == Decimal("0.5")
    assert held.position("ETHUSDT") == a_position("ETHUSDT", "0", "0")
    assert (held.cost_of("BTCUSDT"), held.cost_of("ETHUSDT")) == (8, 2)
    assert [p.symbol for p in held.held] == ["BTCUSDT"]


def test_the_price_of_a_fill_is_its_average():
    # (2 x 100 + 1 x 103) / 3 = 101
    levels = (Level(Decimal(100), Decimal(2)), Level(Decimal(103), Decimal(1)))
    assert replace(a_fill(quantity="3"), levels=levels).price == 101
    assert a_fill(price="104321.7").price == Decimal("104321.7")
    # (100 + 2 x 101) / 3 = 100.66666667 at 1e-8
    levels = (Level(Decimal(100), Decimal(1)), Level(Decimal(101), Decimal(2)))
    assert replace(a_fill(quantity="3"), levels=levels).price == Decimal("100.66666667")


# decisions


def a_choice(symbol, order, approved=True):
    signal = Signal(symbol, SignalState.LONG, None, None, None, "")
    return Choice(symbol, signal, order, (), approved, "SIGNAL_LONG", "because")


def test_approved_orders_come_with_exits_first_and_symbols_in_their_order():
    buy, sell = an_entry(), a_sale(symbol="ETHUSDT", id="20261122T1015Z-ETH-S")
    both = Decision("t", "h", (a_choice("BTCUSDT", buy), a_choice("ETHUSDT", sell)))
    assert both.orders == (sell, buy)
    other = an_entry(symbol="ETHUSDT", id="20261122T1015Z-ETH-B")
    buys = Decision("t", "h", (a_choice("BTCUSDT", buy), a_choice("ETHUSDT", other)))
    assert buys.orders == (buy, other)


def test_an_order_that_was_refused_is_not_among_the_orders():
    choices = (a_choice("BTCUSDT", an_entry(), approved=False), a_choice("ETHUSDT", None))
    assert Decision("t", "h", choices).orders == ()


def test_a_decision_names_a_symbol_it_knows_nothing_of():
    decision = Decision("20261122T1015Z", "h", (a_choice("BTCUSDT", None),))
    assert decision.choice("BTCUSDT").symbol == "BTCUSDT"
    with pytest.raises(DomainError, match="20261122T1015Z says nothing of ETHUSDT"):
        decision.choice("ETHUSDT")


@pytest.mark.parametrize(
    "order, text",
    [
        (an_entry(), "BUY 0.000009 at most 105364.9"),
        (a_sale(), "SELL 0.000009 at least 103278.4"),
        (None, None),
        (an_order(Side.BUY, "1E-7", "1E+5"), "BUY 0.0000001 at most 100000"),
    ],
)
def test_an_order_is_told_in_words_without_exponents(order, text):
    assert a_choice("BTCUSDT", order).order_text == text


def test_the_headline_shows_a_refused_order_as_none():
    choices = (a_choice("BTCUSDT", an_entry()), a_choice("ETHUSDT", an_entry(), approved=False))
    first, second = Decision("t", "h", choices)._repr_markdown_().split("\n\n")
    assert "BTCUSDT" in first and "BUY 0.000009" in first and "SIGNAL_LONG" in first
    assert "ETHUSDT" in second and "no order" in second and "BUY" not in second


# errors


@pytest.mark.parametrize(
    "error, parent",
    [
        ("StaleData", "DataError"),
        ("OrderRejected", "BrokerError"),
        ("VenueUnavailable", "BrokerError"),
        ("LedgerConflict", "StoreError"),
        ("DataError", "TgtqrError"),
        ("BrokerError", "TgtqrError"),
        ("StoreError", "TgtqrError"),
        ("DomainError", "TgtqrError"),
        ("Busy", "TgtqrError"),
    ],
)
def test_errors_form_one_tree_by_what_the_caller_can_do(error, parent):
    assert getattr(domain, error).__bases__ == (getattr(domain, parent),)
