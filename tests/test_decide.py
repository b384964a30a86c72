"""The whole road: worked examples, sequence, doubt, reasons, and the same bytes every time."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    ACCOUNT,
    BOUNDARY,
    HARD_LIMITS,
    NOW,
    PLAN,
    a_portfolio,
    a_position,
    a_quote,
    a_view,
    candles,
    closes_for,
    dec,
    healthy,
    inputs,
    limits,
)
from tgtqr_lib.canonical import dumps, load_inputs, sha256
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.domain import DomainError, Plan, Problem, Side, SignalState
from tgtqr_lib.risk import RULES

BTC_HELD = a_position("BTCUSDT", "0.000009", "0.94")
ETH_HELD = a_position("ETHUSDT", "0.00037", "0.93")


def plan(**parameters):
    return Plan("ma_trend", parameters, PLAN.order_target_usdt, PLAN.collar_bps)


# the worked examples


def test_both_symbols_rise_and_both_worked_examples_come_out():
    decision = decide(inputs())
    btc, eth = decision.orders
    assert (btc.symbol, btc.limit, btc.quantity) == ("BTCUSDT", dec("105364.9"), dec("0.000009"))
    assert (eth.symbol, eth.limit, eth.quantity) == ("ETHUSDT", dec("2536.14"), dec("0.00037"))
    assert decision.tick_id == "20261122T1015Z"
    assert all(c.approved and c.reason == "SIGNAL_LONG" for c in decision.choices)


def test_the_second_entry_of_a_tick_sees_what_the_first_one_reserves():
    # 10 - 0.94923239 - 0.93931018: the reserves of the worked examples
    left = {
        choice.symbol: verdict.value
        for choice in decide(inputs()).choices
        for verdict in choice.verdicts
        if verdict.code == "DAILY_BUDGET"
    }
    assert left == {"BTCUSDT": dec("9.05076761"), "ETHUSDT": dec("8.11145743")}


def test_the_signal_shows_close_mean_and_distance():
    # 60 closes: 59 at 104217.4 (104321.7 x 0.999, to the step) and 104321.7; the 61st is not in the mean.
    # mean = (59 x 104217.4 + 104321.7) / 60 = 104219.13833..; 104321.7 / mean = 1.00098409..
    signal = decide(inputs()).choice("BTCUSDT").signal
    assert signal.state is SignalState.LONG
    assert signal.close == dec("104321.7")
    assert signal.mean == dec("104219.13833333")
    assert signal.distance_bps == dec("9.84")
    assert "104321.7" in signal.text and "above" in signal.text and "by 9.84 bps" in signal.text


# sequence


@pytest.mark.parametrize("reverse", [False, True])
def test_exits_come_first_and_then_entries_bitcoin_before_ether(reverse):
    def orders(*views, **changes):
        seen = views[::-1] if reverse else views
        return [(o.symbol, o.side) for o in decide(inputs(*seen, **changes)).orders]

    both = orders(a_view("BTCUSDT"), a_view("ETHUSDT"))
    assert both == [("BTCUSDT", Side.BUY), ("ETHUSDT", Side.BUY)]
    held = a_portfolio(ETH_HELD)
    mixed = orders(a_view("BTCUSDT"), a_view("ETHUSDT", "FLAT"), portfolio=held)
    assert mixed == [("ETHUSDT", Side.SELL), ("BTCUSDT", Side.BUY)]
    held = a_portfolio(BTC_HELD, ETH_HELD)
    exits = orders(a_view("BTCUSDT", "FLAT"), a_view("ETHUSDT", "FLAT"), portfolio=held)
    assert exits == [("BTCUSDT", Side.SELL), ("ETHUSDT", Side.SELL)]


@pytest.mark.parametrize("reverse", [False, True])
def test_money_for_one_entry_goes_to_bitcoin(reverse):
    # given a day that can still lose 1.00, when each entry needs about 0.94
    views = [a_view("BTCUSDT"), a_view("ETHUSDT")]
    now = inputs(*(views[::-1] if reverse else views), limits=limits(daily="1.00"))
    # then the first is allowed, counts as spent, and leaves too little for the second
    decision = decide(now)
    assert [o.symbol for o in decision.orders] == ["BTCUSDT"]
    assert decision.choice("ETHUSDT").reason == "DAILY_BUDGET"


def test_money_for_two_entries_is_enough_to_the_last_unit():
    both = dec("0.94923239") + dec("0.93931018")
    assert len(decide(inputs(limits=limits(total=both))).orders) == 2
    short = decide(inputs(limits=limits(total=both - dec("0.00000001"))))
    assert [c.reason for c in short.choices] == ["SIGNAL_LONG", "TOTAL_BUDGET"]


def test_a_refused_entry_reserves_nothing():
    # BTCUSDT has no fresh quote; all the money is there for ETHUSDT
    now = inputs(a_view("BTCUSDT", quote=None), a_view("ETHUSDT"), limits=limits(daily="1.00"))
    decision = decide(now)
    assert [o.symbol for o in decision.orders] == ["ETHUSDT"]
    assert decision.choice("BTCUSDT").reason == "DATA_STALE"


def test_the_proceeds_of_an_exit_of_the_same_tick_do_not_count():
    # given 0.90 above the floor, and ETHUSDT about to be sold for 0.92: together enough for BTCUSDT
    now = inputs(
        a_view("BTCUSDT"), a_view("ETHUSDT", "FLAT"), portfolio=a_portfolio(ETH_HELD, cash="8.90")
    )
    decision = decide(now)
    assert [o.symbol for o in decision.orders] == ["ETHUSDT"]
    assert decision.choice("BTCUSDT").reason == "DAILY_BUDGET"
    # while 0.94923239 above the floor is enough without it
    enough = replace(now, portfolio=a_portfolio(ETH_HELD, cash="8.94923239"))
    assert [o.symbol for o in decide(enough).orders] == ["ETHUSDT", "BTCUSDT"]


def test_an_exit_counts_among_the_orders_of_its_tick():
    now = inputs(
        a_view("BTCUSDT"),
        a_view("ETHUSDT", "FLAT"),
        portfolio=a_portfolio(ETH_HELD),
        orders_this_tick=1,
    )
    decision = decide(now)
    assert [o.symbol for o in decision.orders] == ["ETHUSDT"]
    assert decision.choice("BTCUSDT").reason == "ORDERS_TICK"


def test_an_entry_is_never_shrunk_to_fit_a_limit():
    tight = decide(inputs(a_view(), limits=limits(position="0.94923238"))).choice("BTCUSDT")
    assert (tight.approved, tight.reason) == (False, "POSITION_LIMIT")
    assert tight.order.quantity == dec("0.000009")  # the order stays what it was, and is refused


# reasons for nothing


@pytest.mark.parametrize(
    "state, held, reason",
    [
        ("LONG", True, "ALREADY_LONG"),
        ("FLAT", False, "ALREADY_FLAT"),
        ("TIE", True, "SIGNAL_TIE"),
        ("TIE", False, "SIGNAL_TIE"),
    ],
)
def test_nothing_has_the_signals_own_reason(state, held, reason):
    portfolio = a_portfolio(*([BTC_HELD] if held else []))
    choice = decide(inputs(a_view(state=state), portfolio=portfolio)).choice("BTCUSDT")
    assert (choice.order, choice.approved, choice.reason) == (None, False, reason)
    assert choice.reason_text


def test_inside_the_band_it_holds_and_says_so():
    # the close is 9.84 bps above its mean
    inside = decide(inputs(a_view(), plan=plan(band_bps=10))).choice("BTCUSDT")
    assert (inside.signal.state, inside.reason) == (SignalState.HOLD, "SIGNAL_IN_BAND")
    outside = decide(inputs(a_view(), plan=plan(band_bps=9))).choice("BTCUSDT")
    assert outside.signal.state is SignalState.LONG


def test_less_than_one_lot_is_said():
    dear = a_view(close="950000.0")
    assert decide(inputs(dear)).choice("BTCUSDT").reason == "BELOW_ONE_LOT"


@pytest.mark.parametrize("held, orders", [(False, []), (True, [Side.SELL])])
def test_flat_sells_what_is_held(held, orders):
    portfolio = a_portfolio(*([BTC_HELD] if held else []))
    decision = decide(inputs(a_view(state="FLAT"), portfolio=portfolio))
    assert [o.side for o in decision.orders] == orders
    if held:
        assert decision.orders[0].quantity == BTC_HELD.quantity
        assert decision.choice("BTCUSDT").reason == "SIGNAL_FLAT"


@pytest.mark.parametrize("state", ["LONG", "TIE"])
def test_a_holding_above_its_limit_is_trimmed_with_its_own_reason(state):
    # 10 lots at 104321.7 are worth 1.043217, 9 are worth 0.9388953
    portfolio = a_portfolio(a_position(quantity="0.00001"))
    decision = decide(inputs(a_view(state=state), portfolio=portfolio))
    (order,) = decision.orders
    assert (order.side, order.quantity) == (Side.SELL, dec("0.000001"))
    assert decision.choice("BTCUSDT").reason == "POSITION_TRIM"


# every rule, one reason


def test_every_symbol_has_every_verdict_in_the_order_of_the_rules():
    for now in (inputs(), inputs(a_view(state="FLAT")), inputs(a_view(seen=candles([])))):
        for choice in decide(now).choices:
            assert [v.code for v in choice.verdicts] == list(RULES)


def test_the_first_refusing_rule_is_the_reason():
    stopped = healthy(stopped="the button", last_beat_at=None)
    causes = {"health": stopped, "limits": limits(daily="0"), "orders_today": 192}
    reasons = []
    for fixed in (
        {},
        {"health": healthy(last_beat_at=None)},
        {"health": healthy()},
        {"orders_today": 0},
        {"limits": HARD_LIMITS},
    ):
        causes |= fixed
        reasons.append(decide(inputs(a_view(), **causes)).choice("BTCUSDT").reason)
    assert reasons == ["GATE_STOPPED", "MONITOR_LEASE", "ORDERS_DAY", "DAILY_BUDGET", "SIGNAL_LONG"]


def test_the_reason_comes_with_the_text_of_its_rule():
    choice = decide(inputs(a_view(), health=healthy(stopped="the button"))).choice("BTCUSDT")
    assert "the button" in choice.reason_text
    refused = [v for v in choice.verdicts if not v.allowed]
    assert refused[0].code == choice.reason and refused[0].text == choice.reason_text


def test_while_stopped_a_quiet_symbol_says_so_and_an_exit_leaves():
    stopped = healthy(stopped="the button")
    quiet = decide(inputs(a_view(state="FLAT"), health=stopped)).choice("BTCUSDT")
    assert (quiet.order, quiet.reason) == (None, "GATE_STOPPED")
    leaving = inputs(a_view(state="FLAT"), health=stopped, portfolio=a_portfolio(BTC_HELD))
    assert [o.side for o in decide(leaving).orders] == [Side.SELL]


# doubt


GOOD = closes_for("LONG")
DOUBT_OF_CANDLES = {
    "DATA_INVALID": {"problems": [Problem("CANDLES_UNREADABLE", "close is nan")]},
    "DATA_LATE": {"shift": timedelta(minutes=-1)},
    "DATA_UNCLOSED": {"shift": timedelta(minutes=1)},
    "DATA_GAP": {"missing": [-30]},
    "DATA_JUMP": {"spike": Decimal("1.25")},
    "DATA_TICKER": {"last": "2"},
    "nothing": {"nothing": True},
    "short": {"short": True},
}


def doubtful(state, *, problems=(), shift=None, missing=(), spike=None, last=None, **how):
    """A view in doubt, whose closes say `state` all the same."""
    closes = closes_for(state)
    if spike:
        closes[-30] = (closes[-30] * spike).quantize(Decimal("0.1"))
    closes = [] if "nothing" in how else closes[-59:] if "short" in how else closes
    seen = candles(closes, until=BOUNDARY + (shift or timedelta(0)), missing=missing)
    return a_view(seen=seen, quote=a_quote(last=last), problems=problems)


@pytest.mark.parametrize("state", ["LONG", "FLAT"])
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("doubt", DOUBT_OF_CANDLES)
def test_doubt_of_the_candles_holds_it_buys_nothing_and_sells_nothing(doubt, held, state):
    portfolio = a_portfolio(*([BTC_HELD] if held else []))
    view = doubtful(state, **DOUBT_OF_CANDLES[doubt])
    choice = decide(inputs(view, portfolio=portfolio)).choice("BTCUSDT")
    assert choice.order is None and choice.signal.state is SignalState.HOLD
    expected = {"nothing": "DATA_LATE", "short": "DATA_GAP"}.get(doubt, doubt)
    if doubt == "DATA_UNCLOSED":
        expected = "DATA_LATE"  # the newest minute is not the last before the boundary either
    assert choice.reason == expected


@pytest.mark.parametrize("quote", [None, a_quote(at=NOW - timedelta(seconds=6))])
def test_doubt_of_the_quote_buys_nothing_and_never_keeps_an_exit_back(quote):
    rising = decide(inputs(a_view(quote=quote))).choice("BTCUSDT")
    assert (rising.approved, rising.reason) == (False, "DATA_STALE")
    # the candles are good and say flat: what is held is sold, with a fresh quote or the next tick
    falling = inputs(a_view(state="FLAT", quote=quote), portfolio=a_portfolio(BTC_HELD))
    assert [o.side for o in decide(falling).orders] == [Side.SELL]
    # and nothing is sold because of it
    long = inputs(a_view(quote=quote), portfolio=a_portfolio(BTC_HELD))
    choice = decide(long).choice("BTCUSDT")
    assert (choice.order, choice.reason) == (None, "DATA_STALE")


def test_a_quote_that_could_not_be_read_never_keeps_an_exit_back():
    odd = a_view(state="FLAT", quote=None, problems=[Problem("QUOTE_UNREADABLE", "bid is nan")])
    decision = decide(inputs(odd, portfolio=a_portfolio(BTC_HELD)))
    assert [o.side for o in decision.orders] == [Side.SELL]


def test_without_the_exchanges_rules_nothing_is_bought():
    choice = decide(inputs(a_view(instrument=None))).choice("BTCUSDT")
    assert (choice.order, choice.reason) == (None, "SYMBOL_UNKNOWN")


def test_doubt_of_one_symbol_leaves_the_other_alone():
    decision = decide(inputs(doubtful("LONG", nothing=True), a_view("ETHUSDT")))
    assert [o.symbol for o in decision.orders] == ["ETHUSDT"]


@pytest.mark.parametrize(
    "wrong",
    [
        Plan("ma_trnd", {}, PLAN.order_target_usdt, 100),
        plan(windwo=30),
        plan(window=1),
        plan(window=True),
    ],
)
def test_a_plan_that_cannot_be_is_named(wrong):
    with pytest.raises(DomainError, match=r"strategy .*expected|whole number"):
        decide(inputs(plan=wrong))


# the same bytes every time


@pytest.mark.parametrize("state", ["LONG", "FLAT", "TIE"])
def test_deciding_twice_gives_the_same_bytes_and_changes_nothing(state):
    frozen = inputs(a_view(state=state), a_view("ETHUSDT"), portfolio=a_portfolio(BTC_HELD))
    before = dumps(frozen)
    first, second = decide(frozen), decide(frozen)
    assert first == second and dumps(first) == dumps(second)
    assert dumps(frozen) == before
    assert first.inputs_sha256 == sha256(frozen)


def test_the_decisions_hash_covers_the_decision_and_not_the_inputs_it_does_not_use():
    one = decide(inputs())
    other = decide(inputs(account=replace(ACCOUNT, id="paper-2")))
    assert one.inputs_sha256 != other.inputs_sha256
    assert decision_sha256(one) == decision_sha256(other)
    # while another price, verdict figure or reason changes it
    for changed in (
        inputs(a_view(close="104321.8"), a_view("ETHUSDT")),
        inputs(portfolio=a_portfolio(cash="9.99")),
        inputs(health=healthy(stopped="x")),
        inputs(tick_id="20261122T1030Z"),
    ):
        assert decision_sha256(decide(changed)) != decision_sha256(one)


@settings(max_examples=40)
@given(data=st.data())
def test_whatever_the_inputs_a_decision_keeps_its_promises(data):
    # given any mixture of signals, holdings, money, health and doubt
    views, positions = [], []
    for symbol, lot in [("BTCUSDT", "0.000001"), ("ETHUSDT", "0.00001")]:
        state = data.draw(st.sampled_from(["LONG", "FLAT", "TIE"]))
        kept = data.draw(st.sampled_from([{}, {"quote": None}, {"instrument": None}]))
        views.append(a_view(symbol, state, **kept))
        if lots := data.draw(st.integers(0, 60)):
            positions.append(a_position(symbol, lots * dec(lot), data.draw(st.integers(0, 2))))
    cash = data.draw(st.decimals(0, 11, places=8))
    now = inputs(
        *views,
        portfolio=a_portfolio(*positions, cash=cash),
        health=healthy(stopped=data.draw(st.sampled_from([None, "x"]))),
        orders_this_tick=data.draw(st.integers(0, 2)),
        limits=limits(daily=data.draw(st.sampled_from(["2.00", "1.00", "0.10"]))),
    )
    # when
    decision = decide(now)
    # then
    assert dumps(decide(load_inputs(dumps(now)))) == dumps(decision)
    orders = decision.orders
    assert sorted(orders, key=lambda o: (o.side is Side.BUY, o.symbol)) == list(orders)
    spent = Decimal(0)
    for order in orders:
        held = now.portfolio.position(order.symbol).quantity
        if order.side is Side.SELL:
            assert 0 < order.quantity <= held
            continue
        assert now.health.stopped is None and held == 0
        # the worst of an entry: its limit, its fee of 0.1 %, each rounded up to 1e-8
        cost = order.quantity * order.limit
        spent += cost.quantize(Decimal("1e-8"), "ROUND_UP")
        spent += (cost / 1000).quantize(Decimal("1e-8"), "ROUND_UP")
    if spent:
        assert cash - spent >= 10 - now.limits.daily_loss_usdt
        assert cash - spent >= 5
    for choice in decision.choices:
        assert choice.reason and choice.reason_text and len(choice.verdicts) == len(RULES)
        assert not choice.approved or choice.order is not None
