"""What a backtest refuses, and what its result says of itself."""

import json
from decimal import Decimal

import numpy as np
import pytest

from tests.backtest.series import a_plan, by_hand, random_walk
from tests.builders import HARD_LIMITS, limits
from tgtqr_lib.backtest import Bars, replay, run
from tgtqr_lib.domain import DomainError, Instrument, Plan


@pytest.mark.parametrize("test", [run, replay])
@pytest.mark.parametrize(
    "change, word",
    [
        ({"plan": Plan("nothing", {}, Decimal("0.95"), 100)}, "unknown"),
        ({"plan": a_plan(window=1)}, "out of range"),
        ({"plan": a_plan("0.123456789")}, "whole number"),
        ({"spread_bps": -1}, "spread_bps"),
        ({"limits": limits(daily="-1")}, "below zero"),
        ({"candles": random_walk(0, 1)}, "no candle"),
        ({"candles": random_walk(9, 1, market="option")}, "unknown"),
        ({"candles": {"ETHUSDT": random_walk(9, 1)}}, "given as"),
        ({"funding": {"BTCUSDT": None}}, "spot"),
        ({"instrument": Instrument("ETHUSDT", Decimal("0.01"), Decimal("0.01"), Decimal(5))}, "instr"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_refused_in_words(test, change, word):
    given = {"candles": random_walk(100, 1), "plan": a_plan(), "limits": HARD_LIMITS} | change
    with pytest.raises(DomainError, match=word):
        test(given.pop("candles"), given.pop("plan"), given.pop("limits"), **given)


def test_products_that_would_not_fit_64_bits_are_refused():
    prices = [1, 10**15] * 30
    with pytest.raises(DomainError, match="64 bits"):
        run(by_hand(prices, prices), a_plan(), None)


def test_bars_hold_what_a_backtest_needs_of_candles():
    seen = random_walk(500, 3, missing=0.01)
    bars = Bars(seen.symbol, seen.decimals, seen.open_ms, seen.open, seen.close)
    one, other = run(seen, a_plan(window=5), None), run(bars, a_plan(window=5), None)
    np.testing.assert_array_equal(one.equity_units, other.equity_units)
    np.testing.assert_array_equal(one.table, other.table)


def test_a_result_tells_itself_as_json_and_as_a_frame():
    found = run(random_walk(900, 3), a_plan(window=5), HARD_LIMITS)
    told = json.loads(json.dumps(found.as_dict()))
    promised = {"symbol", "strategy", "params", "bars", "gaps", "trades", "equity_end"}
    assert promised <= set(told)
    assert {"entry_at", "exit_at", "quantity", "entry_price", "exit_price", "fees", "pnl"} <= set(
        told["trades"][0]
    )
    assert len(found.to_frame()) == len(found.trades) == len(told["trades"])


def test_gross_less_costs_is_what_equity_made():
    found = run(random_walk(900, 3), a_plan(window=5), HARD_LIMITS)
    assert found.gross - found.fees - found.spread == found.pnl == found.equity_end - 10
    closed = sum(trade.pnl for trade in found.trades)
    still = sum(held.value - held.cost for held in found.open_positions)
    assert closed + still == found.pnl
