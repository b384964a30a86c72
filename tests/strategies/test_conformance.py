"""What every registered strategy promises; a new line in STRATEGIES is covered by being there."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import candles
from tgtqr_lib.domain import Candles, DomainError, History
from tgtqr_lib.strategies import STRATEGIES, strategy_named

NAMES = sorted(STRATEGIES)


@st.composite
def candle_series(draw, most=150):
    """Up to `most` minutes of prices, some of them missing, so that gaps and ties happen."""
    rows = draw(st.integers(1, most))
    spread = draw(st.sampled_from([1, 40, 4_000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    closes = 100_000 + rng.integers(-spread, spread + 1, rows)
    missing = np.flatnonzero(rng.random(rows) < draw(st.sampled_from([0, 0.02])))
    return candles([int(c) for c in closes], decimals=0, missing=missing[missing < rows - 1])


@st.composite
def parameters_of(draw, strategy):
    """Parameters inside their ranges; the lower half of each, so that windows fit the series."""
    values = {}
    for name, p in strategy.parameters.items():
        values[name] = draw(st.integers(p.low, min(p.high, p.low + 60)))
    return values


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_says_what_it_is(name):
    strategy = STRATEGIES[name]
    assert strategy.name == name and strategy_named(name) is strategy
    assert strategy.text
    assert all(p.low <= p.default <= p.high for p in strategy.parameters.values())
    assert all(p.unit and p.text for p in strategy.parameters.values())


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(data=st.data(), seen=candle_series())
def test_targets_are_one_float_a_row_of_long_flat_or_hold(name, data, seen):
    strategy = STRATEGIES[name]
    targets = strategy(History(seen), **data.draw(parameters_of(strategy)))
    assert targets.shape == (len(seen),) and targets.dtype == np.float64
    assert set(targets[~np.isnan(targets)]) <= {0.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data(), seen=candle_series())
def test_a_row_does_not_change_when_the_future_is_cut_off(name, data, seen):
    strategy = STRATEGIES[name]
    parameters = data.draw(parameters_of(strategy))
    cut = data.draw(st.integers(1, len(seen)))
    whole = strategy(History(seen), **parameters)
    np.testing.assert_array_equal(strategy(History(seen).head(cut), **parameters), whole[:cut])


def followed_by(past: Candles, closes) -> Candles:
    """`past` with more minutes after it."""
    more = past.open_ms[-1] + 60_000 * np.arange(1, len(closes) + 1)
    column = np.concatenate([past.close, closes])
    times = np.concatenate([past.open_ms, more])
    volume = np.ones(len(column), dtype=np.int64)
    return Candles(past.symbol, past.decimals, times, column, column, column, column, volume)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("future", [1, 50_000, 10**13])
def test_a_row_does_not_change_whatever_follows(name, future):
    # 1e13 is large enough to change the width of the integers inside, and must not change a target
    strategy = STRATEGIES[name]
    rng = np.random.default_rng(7)
    past = candles([int(c) for c in 100_000 + rng.integers(-9, 10, 400)], decimals=0)
    before = strategy(History(past))
    after = strategy(History(followed_by(past, [future] * 120)))
    assert (~np.isnan(before)).sum() > 100
    np.testing.assert_array_equal(after[: len(past)], before)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data(), seen=candle_series())
def test_a_row_needs_its_lookback_and_nothing_before(name, data, seen):
    strategy = STRATEGIES[name]
    parameters = data.draw(parameters_of(strategy))
    need = strategy.lookback(**strategy.checked(parameters))
    assert isinstance(need, int) and need >= 1
    row = data.draw(st.integers(0, len(seen) - 1))
    whole = strategy(History(seen), **parameters)
    alone = strategy(History(seen[max(row + 1 - need, 0) : row + 1]), **parameters)
    np.testing.assert_array_equal(alone[-1], whole[row])


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_long_history_equals_the_tick_that_sees_only_its_lookback(name):
    # given 4,000 minutes with a minute missing here and there
    strategy = STRATEGIES[name]
    rng = np.random.default_rng(11)
    closes = 100_000 + np.cumsum(rng.integers(-3, 4, 4_000))
    seen = candles([int(c) for c in closes], decimals=0, missing=[500, 501, 1_700, 3_333])
    history = History(seen)
    need = strategy.lookback(**strategy.checked({}))
    # when a backtest reads all rows, and a tick every one with its lookback alone
    whole = strategy(history)
    ticks = [strategy(History(seen[: row + 1].tail(need)))[-1] for row in range(len(seen))]
    # then they agree to the last bit, and both sides of the market occur
    np.testing.assert_array_equal(ticks, whole)
    assert (whole == 1).sum() > 500 and (whole == 0).sum() > 500


@pytest.mark.parametrize("name", NAMES)
def test_a_history_shorter_than_the_lookback_holds(name):
    strategy = STRATEGIES[name]
    need = strategy.lookback(**strategy.checked({}))
    rising = History(candles(range(1000, 1000 + need), decimals=0))
    targets = strategy(rising)
    assert np.isnan(targets[: need - 1]).all()
    assert strategy.reference(rising.head(need - 1), **strategy.checked({})) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_history_gives_the_same_targets_and_is_left_alone(name):
    strategy = STRATEGIES[name]
    seen = candles([100_000 + (row * 7919) % 101 for row in range(300)], decimals=0)
    before = seen.close.copy()
    first = strategy(History(seen))
    strategy(History(candles([5] * 100, decimals=0)))  # something else in between
    np.testing.assert_array_equal(strategy(History(seen)), first)
    np.testing.assert_array_equal(seen.close, before)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_the_exact_price_the_last_close_is_compared_with(name):
    strategy = STRATEGIES[name]
    history = History(candles([100_000 + (row * 7919) % 101 for row in range(300)], decimals=0))
    parameters = strategy.checked({})
    reference = strategy.reference(history, **parameters)
    assert isinstance(reference, (int, Fraction))
    target = strategy(history)[-1]
    close = int(history.close_steps[-1])
    assert target == (1.0 if close > reference else 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_out_of_range_or_unknown_are_named(name):
    strategy = STRATEGIES[name]
    with pytest.raises(DomainError, match=r"unknown parameter 'windwo'.*expected"):
        strategy.checked({"windwo": 3})
    for parameter, p in strategy.parameters.items():
        for value in (p.low - 1, p.high + 1):
            with pytest.raises(DomainError, match=f"{parameter} {value} .*{p.low} to {p.high}"):
                strategy.checked({parameter: value})
        for value in (1.0, "60", True, None):
            with pytest.raises(DomainError, match=f"{parameter} .* is not a whole number"):
                strategy.checked({parameter: value})
        assert strategy.checked({parameter: p.low})[parameter] == p.low
        assert strategy.checked({parameter: p.high})[parameter] == p.high
        assert strategy.checked({})[parameter] == p.default


def test_an_unknown_strategy_is_named_with_the_known_ones():
    with pytest.raises(DomainError, match=r"strategy 'ma_trnd' is unknown; expected .*ma_trend"):
        strategy_named("ma_trnd")
