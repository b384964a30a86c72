"""What every registered strategy promises; a new line in STRATEGIES is covered by being there."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import candles
from tgtqr_lib.domain import BookHistory, Candles, DomainError, Funding, History
from tgtqr_lib.signals.settled import frozen_funding
from tgtqr_lib.strategies import STRATEGIES, strategy_named

DAY_MS, EIGHT_HOURS_MS = 86_400_000, 28_800_000

NAMES = sorted(STRATEGIES)


def beside(seen: Candles, needs) -> History:
    """`seen` with settlements for weeks before and after, and a look at the book in nine minutes of ten."""
    first, last = int(seen.open_ms[0]), int(seen.open_ms[-1])
    begin = (first - 9 * DAY_MS) // EIGHT_HOURS_MS * EIGHT_HOURS_MS
    at = np.arange(begin, last + DAY_MS, EIGHT_HOURS_MS)
    # in whole numbers of the day, so that the same minute knows the same whatever is cut away
    rates = 10_000 * (at // EIGHT_HOURS_MS * 37 % 300)
    funding = Funding(at, rates, np.full(len(at), 480)) if "funding" in needs else None
    minutes = np.arange(first, last + 2 * 60_000, 60_000)
    minutes = minutes[minutes // 60_000 % 10 != 3]
    said = minutes // 60_000 * 7919 % 2_000_001 - 1_000_000
    columns = {name: np.abs(said) + 1 for name in BookHistory.NAMES}
    columns |= {f"imbalance_{depth}": said for depth in (1, 5, 25)}
    book = BookHistory(minutes, columns) if "book" in needs else None
    return History(seen, funding, book)


def told(name: str, seen: Candles, whole: Candles | None = None, **parameters) -> np.ndarray:
    """What the strategy says of `seen`, with what lies beside `whole`."""
    strategy = STRATEGIES[name]
    known = beside(seen if whole is None else whole, strategy.needs)
    return strategy(History(seen, known.funding, known.book), **parameters)


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
    targets = told(name, seen, **data.draw(parameters_of(strategy)))
    assert targets.shape == (len(seen),) and targets.dtype == np.float64
    assert set(targets[~np.isnan(targets)]) <= {0.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data(), seen=candle_series())
def test_a_row_does_not_change_when_the_future_is_cut_off(name, data, seen):
    strategy = STRATEGIES[name]
    parameters = data.draw(parameters_of(strategy))
    cut = data.draw(st.integers(1, len(seen)))
    whole = told(name, seen, **parameters)
    np.testing.assert_array_equal(told(name, seen.head(cut), seen, **parameters), whole[:cut])
    # nor when what lies beside ends there too
    np.testing.assert_array_equal(told(name, seen.head(cut), **parameters), whole[:cut])


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
    before = told(name, past)
    after = told(name, followed_by(past, [future] * 120))
    assert strategy.needs == ("funding",) or (~np.isnan(before)).sum() > 100
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
    whole = told(name, seen, **parameters)
    alone = told(name, seen[max(row + 1 - need, 0) : row + 1], seen, **parameters)
    np.testing.assert_array_equal(alone[-1], whole[row])


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_a_long_history_equals_the_tick_that_sees_only_its_lookback(name):
    # given 4,000 minutes with a minute missing here and there
    strategy = STRATEGIES[name]
    rng = np.random.default_rng(11)
    closes = 100_000 + np.cumsum(rng.integers(-3, 4, 4_000))
    seen = candles([int(c) for c in closes], decimals=0, missing=[500, 501, 1_700, 3_333])
    history = beside(seen, strategy.needs)
    need = strategy.lookback(**strategy.checked({}))
    # when a backtest reads all rows, and a tick every one with its lookback, week and look alone
    whole = strategy(history)
    rows = range(len(seen)) if not strategy.needs else range(0, len(seen), 7)
    ticks = [strategy(as_a_tick_sees(history, row, need))[-1] for row in rows]
    # then they agree to the last bit, and both sides of the market occur
    np.testing.assert_array_equal(ticks, whole[list(rows)])
    if name in ("ma_trend", "ma_trend_filtered"):
        assert (whole == 1).sum() > 300 and (whole == 0).sum() > 500


def as_a_tick_sees(history: History, row: int, need: int) -> History:
    seen = history.candles[: row + 1].tail(need)
    closed = int(seen.open_ms[-1]) + 60_000
    funding = history.funding and frozen_funding(history.funding, closed)
    look = None if history.book is None else history.book.row(closed)
    book = None
    if look is not None:
        columns = {n: column[look : look + 1] for n, column in history.book.columns.items()}
        book = BookHistory(history.book.at_ms[look : look + 1], columns)
    return History(seen, funding, book)


@pytest.mark.parametrize("name", [n for n in NAMES if STRATEGIES[n].needs])
def test_without_what_it_needs_a_strategy_is_never_long(name):
    strategy = STRATEGIES[name]
    seen = candles([100_000 + row for row in range(300)], decimals=0)
    whole = beside(seen, strategy.needs)
    assert not (strategy(History(seen)) == 1).any()
    for need in strategy.needs:
        lacking = History(
            seen, *(None if need == part else getattr(whole, part) for part in ("funding", "book"))
        )
        assert not (strategy(lacking) == 1).any()


@pytest.mark.parametrize("name", NAMES)
def test_what_it_tells_of_the_last_minute_is_a_sentence_that_names_its_word(name):
    strategy = STRATEGIES[name]
    for rows in range(70, 140, 7):
        seen = candles([100_000 + (row * 7919) % 101 for row in range(rows)], decimals=0)
        history = beside(seen, strategy.needs)
        target = strategy(history)[-1]
        said = strategy.explain(history, **strategy.checked({})) if strategy.explain else None
        if strategy.reference is None:
            assert said is not None
        if said is not None:
            word = "HOLD" if np.isnan(target) else "LONG" if target else "FLAT"
            assert said.code.startswith("SIGNAL_")
            assert word.lower() in said.text.lower()


def test_a_yardstick_says_one_thing():
    seen = candles([5, 9, 1], decimals=0)
    np.testing.assert_array_equal(STRATEGIES["buy_and_hold"](History(seen)), [1, 1, 1])
    np.testing.assert_array_equal(STRATEGIES["flat"](History(seen)), [0, 0, 0])


@pytest.mark.parametrize("name", NAMES)
def test_a_history_shorter_than_the_lookback_holds(name):
    strategy = STRATEGIES[name]
    need = strategy.lookback(**strategy.checked({}))
    rising = candles(range(1000, 1000 + need), decimals=0)
    targets = told(name, rising)
    assert np.isnan(targets[: need - 1]).all()
    if strategy.reference is not None:
        short = History(rising.head(need - 1))
        assert strategy.reference(short, **strategy.checked({})) is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_history_gives_the_same_targets_and_is_left_alone(name):
    strategy = STRATEGIES[name]
    seen = candles([100_000 + (row * 7919) % 101 for row in range(300)], decimals=0)
    before = seen.close.copy()
    history = beside(seen, strategy.needs)
    first = strategy(history)
    told(name, candles([5] * 100, decimals=0))  # something else in between
    np.testing.assert_array_equal(strategy(history), first)
    np.testing.assert_array_equal(seen.close, before)


@pytest.mark.parametrize("name", [n for n in NAMES if STRATEGIES[n].reference is not None])
def test_the_reference_is_the_exact_price_the_last_close_is_compared_with(name):
    strategy = STRATEGIES[name]
    seen = candles([100_000 + (row * 7919) % 101 for row in range(300)], decimals=0)
    history = beside(seen, strategy.needs)
    parameters = strategy.checked({})
    reference = strategy.reference(history, **parameters)
    assert isinstance(reference, (int, Fraction))
    target = strategy(history)[-1]
    close = int(history.close_steps[-1])
    assert (np.isnan(target) and strategy.needs) or target == (1.0 if close > reference else 0.0)


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
