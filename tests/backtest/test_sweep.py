"""`sweep` gives every point of a grid the figures of `run`, to the last unit and in the grid's order."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtest.series import START, a_plan, by_hand, random_walk
from tests.builders import HARD_LIMITS, limits
from tgtqr_lib.backtest import run
from tgtqr_lib.backtest.sweep import sweep
from tgtqr_lib.domain import DomainError
from tgtqr_lib.strategies import STRATEGIES

GRID = {"window": [2, 3, 14, 15, 16, 29, 30, 31, 90], "band_bps": [0, 3, 40]}


def figures(found):
    """What `sweep` says of a combination, out of a `Result`."""
    return (
        len(found.table),
        int(found.equity_units[-1]) - found.initial_units,
        found.fees_units,
        found.spread_units,
        found.funding_units,
        found.max_drawdown_units,
        int(found.stop.at.timestamp()) * 1000 if found.stop else -1,
        found.stop.cause if found.stop else "",
    )


def agree(candles, plan, grid, within, **terms):
    found = sweep(candles, plan, grid, within, **terms)
    columns = zip(
        found.trades, found.pnl, found.fees, found.spread, found.funding, found.drawdown,
        found.stop_ms, found.stop_cause, strict=True,
    )  # fmt: skip
    terms.pop("workers", None)
    for point, row in zip(found.params, columns, strict=True):
        alone = run(
            candles, a_plan(str(plan.order_target_usdt), plan.collar_bps, **point), within, **terms
        )
        assert tuple(row) == figures(alone), point
    return found


@pytest.mark.parametrize("within", [None, HARD_LIMITS, limits(total="1.02", daily="0.965")])
@pytest.mark.parametrize("swing, missing", [(0.0005, 0), (0.003, 0.002), (0.01, 0)])
def test_every_point_equals_its_own_run(within, swing, missing):
    seen = random_walk(6_000, 21, swing=swing, missing=missing, start=START + 11 * 60_000)
    found = agree(seen, a_plan(), GRID, within)
    assert len(found) == 27 and found.trades.max() > 20


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 3000),
    price=st.sampled_from([1, 40, 9_500, 940_595, 1_045_999]),
    swing=st.sampled_from([0.0003, 0.002, 0.02]),
    missing=st.sampled_from([0, 0.003, 0.2]),
    start=st.integers(0, 1500),
    windows=st.lists(st.integers(2, 200), min_size=1, max_size=4),
    bands=st.lists(st.integers(0, 100), min_size=1, max_size=3),
    collar_bps=st.sampled_from([0, 5, 100]),
    within=st.sampled_from(
        [None, HARD_LIMITS, limits(total="0.97", daily="0.955"), limits(daily="0.96"), limits(total="0.2")]
    ),
)  # fmt: skip
def test_sweep_and_run_agree_on_any_grid(
    seed, rows, price, swing, missing, start, windows, bands, collar_bps, within
):
    seen = random_walk(
        rows, seed, price=price, swing=swing, missing=missing, start=START + start * 60_000
    )
    agree(seen, a_plan(collar_bps=collar_bps), {"window": windows, "band_bps": bands}, within)


def test_trims_are_swept_too():
    rises = [1000_000 + 900 * i + 40_000 * (i % 97 > 90) for i in range(2000)]
    seen = by_hand([rises[0], *rises[:-1]], rises)
    alone = run(seen, a_plan(window=5), HARD_LIMITS)
    assert 1 in alone.column("kind")
    agree(seen, a_plan(), {"window": [5, 60], "band_bps": [0, 10]}, HARD_LIMITS)


@pytest.mark.parametrize("within", [None, HARD_LIMITS])
@pytest.mark.parametrize("seed, swing, missing", [(1, 0.02, 0), (2, 0.004, 0.0005), (3, 0.0003, 0)])
def test_wide_bands_hold_for_long_and_through_new_highs(within, seed, swing, missing):
    seen = random_walk(9_000, seed, swing=swing, missing=missing)
    agree(
        seen, a_plan(), {"window": [2, 77, 500, 1440], "band_bps": [0, 1, 250, 999, 1000]}, within
    )


def test_a_drawdown_between_two_new_highs_of_one_holding_is_seen():
    # bought near 1,000,000 and held: up 4 %, down to 1,030,000 within a quarter hour, and to new highs
    rises = [1_000_000 + 100 * i for i in range(400)]
    closes = [
        *rises,
        *(1_040_000 - 1_250 * i for i in range(9)),
        *(1_040_000 + 60 * i for i in range(900)),
    ]
    seen = by_hand([closes[0], *closes[:-1]], closes)
    found = agree(seen, a_plan(), {"window": [300], "band_bps": [0, 1000]}, None)
    assert found.trades.tolist() == [0, 0]
    # 9 lots of 0.000001 fall from 104,000.0 to 103,000.0: 0.009 USDT
    assert found.drawdown.tolist() == [900_000, 0]


def test_prices_too_fine_for_floats_are_summed_as_integers():
    seen = random_walk(3000, 4, price=99_000_000_000, swing=0.001)
    agree(seen, a_plan(), {"window": [4, 60, 1440], "band_bps": [0, 10]}, None)


def test_without_the_quick_way_the_strategy_itself_is_asked(monkeypatch):
    seen = random_walk(3000, 4, missing=0.001)
    quick = sweep(seen, a_plan(), GRID, HARD_LIMITS)
    plain = STRATEGIES["ma_trend"]
    slow = type(plain)(**{n: getattr(plain, n) for n in plain.__slots__ if n != "fast"})
    monkeypatch.setitem(STRATEGIES, "ma_trend", slow)
    other = agree(seen, a_plan(), GRID, HARD_LIMITS)
    np.testing.assert_array_equal(quick.pnl, other.pnl)


def test_results_come_in_the_order_of_the_grid_whatever_the_workers():
    seen = random_walk(3000, 4)
    one = sweep(seen, a_plan(), GRID, None)
    two = sweep(seen, a_plan(), GRID, None, workers=3)
    assert [p["band_bps"] for p in one.params[:4]] == [0, 3, 40, 0]
    assert one.params == two.params
    for name in ("trades", "pnl", "fees", "spread", "drawdown", "stop_ms"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_progress_is_told_part_by_part_and_the_parts_change_nothing(monkeypatch):
    seen, told = random_walk(3000, 4), []
    whole = sweep(seen, a_plan(), GRID, HARD_LIMITS, workers=1)
    monkeypatch.setattr(sys.modules["tgtqr_lib.backtest.sweep"], "PART", 5)
    parts = sweep(
        seen, a_plan(), GRID, HARD_LIMITS, workers=1, progress=lambda *far: told.append(far)
    )
    assert sorted(done for done, _ in told)[-1] == 27 and len(told) == 6
    assert {count for _, count in told} == {27}
    np.testing.assert_array_equal(whole.pnl, parts.pnl)


def test_the_best_come_first():
    found = sweep(random_walk(3000, 4), a_plan(), GRID, None)
    best = found.best(3)
    assert best[0]["pnl"] == f"{found.pnl.max() / 10**8:.8f}"
    assert len(found.to_frame()) == len(found)


def test_two_symbols_and_perpetuals_are_run_one_by_one():
    both = {s: random_walk(900, 4, s) for s in ("BTCUSDT", "ETHUSDT")}
    agree(both, a_plan(), {"window": [4, 30]}, HARD_LIMITS)
    agree(random_walk(900, 4, market="linear"), a_plan(), {"window": [4, 30]}, HARD_LIMITS)


@pytest.mark.parametrize("grid", [{"window": []}, [], {"windows": [3]}, {"window": [1]}])
def test_a_grid_that_cannot_be_is_refused(grid):
    with pytest.raises(DomainError):
        sweep(random_walk(100, 1), a_plan(), grid, None)
