"""From a target to an order: limits on price steps, quantities in lots, always rounded down."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    BOUNDARY,
    BTC,
    ETH,
    HARD_LIMITS,
    INSTRUMENTS,
    PLAN,
    a_portfolio,
    a_position,
    a_quote,
    dec,
    limits,
)
from tgtqr_lib.domain import NoOrder, Side, Signal, SignalState
from tgtqr_lib.sizing import (
    entry,
    entry_limit,
    exit_limit,
    feasible,
    floor_to,
    order_id,
    propose,
    safety_sale,
    sale,
    trim_quantity,
)


def wanted(state, held=None, close="104321.7", symbol="BTCUSDT", within=HARD_LIMITS, plan=PLAN):
    """What `propose` makes of a signal when `held` base units are held."""
    signal = Signal(symbol, SignalState(state), dec(close), None, None, "the signal's sentence")
    portfolio = a_portfolio(*([a_position(symbol, held)] if held else []))
    return propose(signal, portfolio, INSTRUMENTS[symbol], plan, within, BOUNDARY)


# entries


@pytest.mark.parametrize(
    "symbol, close, limit, quantity, lots",
    [
        # 104321.7 x 1.01 = 105364.917; 0.95 / 105364.9 = 9.0163 millionths
        ("BTCUSDT", "104321.7", "105364.9", "0.000009", 9),
        # 2511.03 x 1.01 = 2536.1403; 0.95 / 2536.14 = 37.458 hundred-thousandths
        ("ETHUSDT", "2511.03", "2536.14", "0.00037", 37),
    ],
)
def test_the_worked_examples(symbol, close, limit, quantity, lots):
    order = wanted("LONG", close=close, symbol=symbol)
    assert (order.limit, order.quantity) == (dec(limit), dec(quantity))
    assert order.quantity / INSTRUMENTS[symbol].lot == lots
    assert (order.side, order.symbol, order.placed_at) == (Side.BUY, symbol, BOUNDARY)
    assert order.feasible == "no, needs 5.00"


closes = st.integers(1, 2 * 10**7).map(lambda n: Decimal(n).scaleb(-2))
collars = st.integers(0, 100)
instruments = st.sampled_from([BTC, ETH])


@given(close=closes, collar=collars, instrument=instruments)
def test_a_limit_is_the_collar_rounded_down_to_the_price_step(close, collar, instrument):
    step = Fraction(instrument.price_step)
    for limit, exact in [
        (
            entry_limit(close, collar, instrument.price_step),
            Fraction(close) * (10_000 + collar) / 10_000,
        ),
        (
            exit_limit(close, collar, instrument.price_step),
            Fraction(close) * (10_000 - collar) / 10_000,
        ),
    ]:
        assert 0 <= exact - Fraction(limit) < step
        assert (Fraction(limit) / step).denominator == 1


@given(close=closes, collar=collars, instrument=instruments, cents=st.integers(1, 100))
def test_an_entry_is_the_most_whole_lots_its_target_buys_at_the_limit(
    close, collar, instrument, cents
):
    plan = replace(PLAN, collar_bps=collar, order_target_usdt=Decimal(cents).scaleb(-2))
    order = entry(instrument.symbol, close, instrument, plan, BOUNDARY)
    limit = Fraction(entry_limit(close, collar, instrument.price_step))
    lot, target = Fraction(instrument.lot), Fraction(cents, 100)
    if isinstance(order, NoOrder):
        assert limit == 0 or limit * lot > target
        return
    assert Fraction(order.limit) == limit
    assert (Fraction(order.quantity) / lot).denominator == 1
    assert Fraction(order.quantity) * limit <= target < (Fraction(order.quantity) + lot) * limit


def test_an_entry_of_less_than_one_lot_is_no_order_and_is_not_rounded_up():
    # at 1 bp above 949,905 one lot of 0.000001 costs 0.94999..; at 950,000 x 1.01 it costs 0.9595
    just = entry("BTCUSDT", dec("949905.0"), BTC, replace(PLAN, collar_bps=1), BOUNDARY)
    assert just.quantity == BTC.lot
    none = wanted("LONG", close="950000.0")
    assert isinstance(none, NoOrder) and none.code == "BELOW_ONE_LOT"
    assert "0.000001" in none.text and "959500" in none.text


def test_a_close_below_one_price_step_gives_no_order():
    none = entry("BTCUSDT", dec("0.01"), BTC, PLAN, BOUNDARY)
    assert isinstance(none, NoOrder) and none.code == "BELOW_ONE_LOT"


def test_long_while_something_is_held_is_no_order():
    none = wanted("LONG", held="0.000001")
    assert isinstance(none, NoOrder) and none.code == "ALREADY_LONG"
    assert "0.000001" in none.text


# exits and trims


def test_flat_sells_all_that_is_held_at_the_collar_below_the_close():
    order = wanted("FLAT", held="0.000009")
    # 104321.7 x 0.99 = 103278.483
    assert (order.side, order.quantity, order.limit) == (
        Side.SELL,
        dec("0.000009"),
        dec("103278.4"),
    )


def test_flat_sells_all_even_when_a_part_would_be_enough_to_trim():
    assert wanted("FLAT", held="0.00002").quantity == dec("0.00002")


def test_flat_with_nothing_held_is_no_order():
    assert wanted("FLAT").code == "ALREADY_FLAT"


def test_a_sale_never_asks_for_a_price_below_one_step():
    # 0.1 x 0.99 = 0.099 would be rounded down to nothing
    order = sale("BTCUSDT", dec("0.000009"), dec("0.1"), BTC, 100, BOUNDARY, "S")
    assert order.limit == dec("0.1")


def test_hold_is_no_order_with_the_signals_own_sentence():
    assert wanted("HOLD", held="0.000009") == NoOrder(
        "BTCUSDT", "SIGNAL_HOLD", "the signal's sentence"
    )
    assert wanted("HOLD").code == "SIGNAL_HOLD"


@pytest.mark.parametrize(
    "held, sold",
    [
        ("0.00001", None),  # 10 lots of 0.1 USDT are worth 1.00: on the limit is not above it
        ("0.000011", "0.000001"),  # 1.10: one lot less is 1.00
        ("0.000025", "0.000015"),
    ],
)
@pytest.mark.parametrize("state", ["LONG", "HOLD"])
def test_a_holding_worth_more_than_one_usdt_is_trimmed_to_it(held, sold, state):
    order = wanted(state, held=held, close="100000.0")
    if sold is None:
        assert isinstance(order, NoOrder)
    else:
        assert (order.side, order.quantity) == (Side.SELL, dec(sold))
        assert order.limit == dec("99000.0")


@given(lots=st.integers(1, 200), close=st.integers(1, 10**7).map(lambda n: Decimal(n).scaleb(-1)))
def test_a_trim_is_the_fewest_lots_that_are_enough(lots, close):
    held = lots * BTC.lot
    enough = next(n for n in range(lots + 1) if (lots - n) * BTC.lot * close <= 1)
    assert trim_quantity(held, close, BTC.lot, dec("1.00")) == enough * BTC.lot


def test_tightening_a_limit_never_forces_a_sale():
    tight = limits(position="0.10", daily="0.10", total="0.10")
    assert wanted("LONG", held="0.000009", within=tight).code == "ALREADY_LONG"


def test_a_safety_sale_sells_all_at_the_collar_below_the_bid():
    minute = BOUNDARY + timedelta(minutes=7)
    quote = a_quote("100000", bids=[("99999.9", 1)])
    order = safety_sale(dec("0.000009"), quote, BTC, 100, minute)
    # 99999.9 x 0.99 = 98999.901
    assert (order.side, order.quantity, order.limit) == (Side.SELL, dec("0.000009"), dec("98999.9"))
    assert (order.id, order.placed_at) == ("20261122T1022Z-BTC-X", minute)


# ids and feasibility


def test_an_id_is_made_from_its_cause_and_is_the_same_when_made_again():
    assert wanted("LONG").id == wanted("LONG").id == "20261122T1015Z-BTC-B"
    assert wanted("FLAT", held="0.000009").id == "20261122T1015Z-BTC-S"
    assert wanted("LONG", symbol="ETHUSDT", close="2511.03").id == "20261122T1015Z-ETH-B"
    assert wanted("LONG", held="0.00002").id == "20261122T1015Z-BTC-S"  # a trim


def test_an_id_is_in_utc_and_at_most_36_characters():
    india = datetime(2026, 11, 22, 15, 45, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert order_id(india, "BTCUSDT", "B") == "20261122T1015Z-BTC-B"
    assert all(len(order_id(BOUNDARY, s, x)) <= 36 for s in INSTRUMENTS for x in "BSX")
    ids = {order_id(BOUNDARY, s, x) for s in INSTRUMENTS for x in "BSX"}
    assert len(ids) == 6


@pytest.mark.parametrize(
    "notional, text", [("4.99999999", "no, needs 5.00"), ("5", "yes"), ("5.01", "yes")]
)
def test_feasible_says_whether_the_exchange_would_take_the_order(notional, text):
    assert feasible(dec(notional), BTC) == text


@pytest.mark.parametrize(
    "value, expected", [("0.09", "0"), ("0.1", "0.1"), ("105364.917", "105364.9")]
)
def test_a_value_is_rounded_down_to_whole_steps(value, expected):
    assert floor_to(dec(value), dec("0.1")) == dec(expected)


# dust: less than a lot, which a fee taken in the coin leaves


@pytest.mark.parametrize("held", ["0.000000001", "0.000000906", "0.000000999999"])
def test_dust_keeps_no_buy_back_and_is_no_reason_to_sell(held):
    assert wanted("LONG", held).side is Side.BUY
    assert wanted("FLAT", held).code == "ALREADY_FLAT"
    assert wanted("HOLD", held).code == "SIGNAL_HOLD"


def test_a_whole_lot_is_held():
    assert wanted("LONG", "0.000001").code == "ALREADY_LONG"
    assert wanted("FLAT", "0.000001").quantity == dec("0.000001")


def test_a_sale_takes_whole_lots_and_leaves_the_dust():
    assert wanted("FLAT", "0.000093906").quantity == dec("0.000093")
    assert wanted("FLAT", "0.03321999", close="2511.03", symbol="ETHUSDT").quantity == dec(
        "0.03321"
    )


def test_what_is_too_much_is_sold_down_in_whole_lots():
    # at 104321.7 one USDT is 9.58 lots, so 9 are kept; of 11.5 lots 11 can be sold, and 2 are
    order = wanted("HOLD", "0.0000115")
    assert (order.side, order.quantity) == (Side.SELL, dec("0.000002"))
