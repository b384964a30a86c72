"""Metrics against two libraries' values, against arithmetic by hand, and against laws they obey."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.backtest.metrics import (
    DAY_MS,
    METRICS,
    OPEN,
    Study,
    as_json,
    measure,
    monthly,
    study_of,
)
from tgtqr_lib.backtest.result import OpenPosition, Result
from tgtqr_lib.domain import MINUTE_MS, DomainError

T0 = 1_704_067_200_000  # 2024-01-01T00:00Z
HOUR_MS = 60 * MINUTE_MS

# 500 daily returns that any tool can make again
SERIES = 0.001 + 0.02 * np.sin(0.7 * np.arange(1, 501) ** 2)

# computed once with empyrical-reloaded 0.7.1 (annualization=365) and quantstats 0.0.86 (periods=365)
# under pandas 3.1.1 and numpy 2.4.6; the two agreed to 1e-14, and ffn 1.4.1 with them where it has the metric
LIBRARIES = {
    "net_return": 0.6131018598493352,
    "cagr": 0.417728624756881,
    "volatility": 0.2656693599292262,
    "sharpe": 1.4469501726197176,
    "sortino": 2.1925694992160203,
    "max_drawdown": 0.16646623156202736,
    "calmar": 2.5093895671040656,
}
PROFIT_FACTOR, WIN_RATE = 1.1860970628895604, 0.522  # quantstats, each day as a trade


def a_study(equity, trades=(), *, at_ms=None, start=10.0, **changes):
    """Marks at the end of each UTC day unless told otherwise, and trades as (entry, exit, quantity,
    entry price, exit price, fee at each end)."""
    equity = np.asarray(equity, dtype=np.float64)
    at_ms = T0 + DAY_MS * np.arange(1, len(equity) + 1) if at_ms is None else np.asarray(at_ms)
    columns = np.array(trades, dtype=np.float64).reshape(-1, 6).T
    entry, exit_, quantity, bought, sold, fee = columns
    pnl = np.where(exit_ == OPEN, 0.0, quantity * (sold - bought) - 2 * fee)
    given = Study(
        at_ms, equity, start, np.array(["BTCUSDT"] * len(pnl), dtype=object),
        entry.astype(np.int64), exit_.astype(np.int64), quantity, bought, sold, fee,
        np.where(exit_ == OPEN, 0.0, fee), pnl,
    )  # fmt: skip
    return replace(given, **changes)


def curve_of(returns, start=10.0):
    return start * np.cumprod(1 + np.asarray(returns))


@pytest.mark.parametrize("name", LIBRARIES)
def test_metrics_equal_those_of_two_libraries(name):
    found = measure(a_study(curve_of(SERIES)))
    assert found[name] == pytest.approx(LIBRARIES[name], rel=1e-11)


def test_trade_metrics_equal_those_of_a_library():
    trades = [(T0, T0 + HOUR_MS, 1.0, 1.0, 1.0 + r, 0.0) for r in SERIES]
    found = measure(a_study(curve_of(SERIES), trades))
    assert found["profit_factor"] == pytest.approx(PROFIT_FACTOR, rel=1e-11)
    assert found["win_rate"] == pytest.approx(WIN_RATE, rel=1e-12)


def test_every_metric_says_its_unit_formula_and_annualisation():
    for name, metric in METRICS.items():
        assert metric.unit and metric.formula and metric.annualisation, name
        yearly = "year" in metric.unit or name.startswith(("sharpe", "sortino", "calmar"))
        assert (metric.annualisation != "none") == yearly, name


def test_costs_stand_beside_gross():
    # bought 0.1 at 5 and sold at 6: 0.1 gross, the spread in; fees 2 x 0.003; spread 0.0011
    equity = [10.097 - 0.003, 10.094]
    trade = (T0 + HOUR_MS, T0 + 2 * HOUR_MS, 0.1, 5.0, 6.0, 0.003)
    found = measure(a_study(equity, [trade], spread=0.0011, funding=0.0002))
    assert found["net_pnl"] == pytest.approx(0.094)
    assert found["fees"] == pytest.approx(0.006)
    assert found["costs"] == pytest.approx(0.0073)
    assert found["gross_pnl"] == pytest.approx(0.1013)
    assert found["average_trade"] == pytest.approx(0.094)
    assert found["average_trade_gross"] == pytest.approx(0.1013)
    # 0.5 bought and 0.6 sold over a mean equity of 10.094, 2 days of 365
    assert found["turnover"] == pytest.approx(1.1 / 10.094 * 365 / 2)


def test_gross_equity_gives_back_each_cost_when_it_was_paid():
    at = T0 + MINUTE_MS * np.arange(1, 5)
    trade = (T0 + MINUTE_MS, T0 + 3 * MINUTE_MS, 1.0, 5.0, 5.0, 0.01)
    study = a_study([10.0, 9.99, 9.99, 9.98], [trade], at_ms=at)
    # the entry fills in the second minute, the exit in the fourth
    np.testing.assert_allclose(study.gross, [10.0, 10.0, 10.0, 10.0], atol=1e-12)


def test_the_spread_is_shared_out_by_notional():
    # 4 bought, 6 sold: of a spread of 0.1 the entry paid 0.04
    study = a_study([10.0, 10.0], [(T0, T0 + HOUR_MS, 1.0, 4.0, 6.0, 0.0)], spread=0.1)
    np.testing.assert_allclose(study.charges[:, 0], [0.04, 0.06])


def test_days_end_at_midnight_utc():
    # the mark of 00:00 ends the last minute of the day before
    at = [T0 + DAY_MS, T0 + DAY_MS + MINUTE_MS, T0 + 2 * DAY_MS]
    study = a_study([11.0, 12.0, 13.2], at_ms=at)
    np.testing.assert_allclose(study.returns, [0.1, 0.2])


def test_a_day_without_a_mark_is_a_day_without_a_change():
    study = a_study([11.0, 12.1], at_ms=[T0 + DAY_MS, T0 + 3 * DAY_MS])
    np.testing.assert_allclose(study.returns, [0.1, 0.0, 0.1])


def test_drawdown_counts_from_the_start_and_until_it_is_made_good():
    # 10 -> 8 is 20 % and 2 USDT; 12 -> 9.9 is 17.5 % and 2.1 USDT
    found = measure(a_study([9.0, 8.0, 10.0, 12.0, 9.9, 11.0]))
    assert found["max_drawdown"] == pytest.approx(0.2)
    assert found["max_drawdown_usdt"] == pytest.approx(2.1)
    # from the start, a minute before the first mark, to the third day's end
    assert found["drawdown_days"] == pytest.approx(2 + 1 / 1440)


def test_a_drawdown_that_lasts_counts_to_the_end():
    assert measure(a_study([12.0, 11.0, 11.0, 11.5]))["drawdown_days"] == pytest.approx(3)


def test_nothing_lost_is_no_drawdown():
    found = measure(a_study([10.0, 11.0, 12.0]))
    assert found["max_drawdown"] == found["drawdown_days"] == 0


@pytest.mark.parametrize(
    "holds, expected",
    [
        ([], 0.0),
        ([(0, 6)], 0.25),
        ([(0, 6), (12, 18)], 0.5),
        ([(0, 12), (6, 12)], 0.5),  # a trim overlaps the rest of its position
        ([(18, None)], 0.25),  # still held at the end
    ],
)
def test_exposure_is_the_time_held(holds, expected):
    trades = [
        (T0 + a * HOUR_MS, OPEN if b is None else T0 + b * HOUR_MS, 1.0, 1.0, 1.0, 0.0)
        for a, b in holds
    ]
    at = T0 + MINUTE_MS * np.arange(1, 1441)
    assert measure(a_study(np.full(1440, 10.0), trades, at_ms=at))["exposure"] == pytest.approx(
        expected
    )


def test_an_open_position_is_no_closed_trade_but_its_fee_is_paid():
    trades = [(T0, T0 + HOUR_MS, 1.0, 2.0, 3.0, 0.01), (T0 + HOUR_MS, OPEN, 1.0, 3.0, np.nan, 0.02)]
    found = measure(a_study([10.9, 10.96], trades))
    assert found["trades"] == 1
    assert found["fees"] == pytest.approx(0.04)
    assert found["gross_pnl"] == pytest.approx(1.0)


def test_less_than_a_year_has_no_growth_a_year():
    short, long = (measure(a_study(curve_of(SERIES[:days]))) for days in (364, 365))
    assert np.isnan(short["cagr"]) and np.isnan(short["calmar"])
    assert long["cagr"] == pytest.approx(long["net_return"])


@pytest.mark.parametrize("gone", [0.0, -3.0])
@pytest.mark.parametrize("row", [200, 399])
def test_equity_that_was_gone_has_no_growth_and_no_turnover(gone, row):
    curve, trades = np.full(400, 9.0), [(T0, T0 + HOUR_MS, 1.0, 2.0, 3.0, 0.0)]
    there = measure(a_study(curve, trades))
    curve[row] = gone
    found = measure(a_study(curve, trades))
    for name in ("cagr", "calmar", "turnover"):
        assert np.isfinite(there[name]) and np.isnan(found[name]), name
    # more than all can be lost with money that was not there: (9 - 10) / 10 less what is gone
    assert found["max_drawdown"] == pytest.approx(1 - gone / 10)


def test_what_has_no_meaning_is_null_in_json():
    shown = as_json(measure(a_study([10.0])))
    assert shown["sharpe"] == {"value": None, "unit": "ratio"}
    assert shown["net_return"] == {"value": 0.0, "unit": "fraction"}
    json.dumps(shown, allow_nan=False)


def test_equal_returns_have_no_sharpe_ratio():
    assert np.isnan(measure(a_study(curve_of([0.01] * 30)))["sharpe"])


def test_months_multiply_to_the_whole():
    found = monthly(a_study(curve_of(SERIES)))
    assert (min(found), max(found)) == ((2024, 1), (2025, 5))
    whole = np.prod([1 + net for net, _ in found.values()]) - 1
    assert whole == pytest.approx(LIBRARIES["net_return"])
    assert found[2024, 1][0] == pytest.approx(np.prod(1 + SERIES[:31]) - 1)


def test_a_month_shows_what_costs_took():
    # bought and sold at one price on the third day: 0.2 of fees, on 10 of equity
    study = a_study([10.0, 10.0, 9.8], [(T0 + 50 * HOUR_MS, T0 + 51 * HOUR_MS, 1.0, 5.0, 5.0, 0.1)])
    assert monthly(study)[2024, 1] == pytest.approx((-0.02, 0.0))


@pytest.mark.parametrize(
    "equity, at_ms",
    [([], []), ([1.0], [1, 2]), ([1.0, 2.0], [2, 2])],
    ids=["none", "uneven", "still"],
)
def test_marks_that_cannot_be_are_refused(equity, at_ms):
    with pytest.raises(DomainError):
        a_study(equity, at_ms=np.array(at_ms, dtype=np.int64))


@given(
    st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=60),
    st.floats(0.1, 1000, allow_nan=False),
)
def test_ratios_do_not_depend_on_the_size_of_the_account(returns, scale):
    small = measure(a_study(curve_of(returns), start=10.0))
    large = measure(a_study(scale * curve_of(returns), start=10.0 * scale))
    for name in ("net_return", "volatility", "max_drawdown", "drawdown_days"):
        assert large[name] == pytest.approx(small[name], rel=1e-6, abs=1e-9, nan_ok=True), name


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 5), st.floats(0.5, 2), st.floats(0, 0.1)),
        max_size=8,
    ),
    st.floats(0, 0.5),
    st.floats(-0.2, 0.2),
)
def test_gross_less_costs_is_net(holds, spread, funding):
    trades = [
        (T0 + a * HOUR_MS, T0 + (a + b) * HOUR_MS, 1.0, 1.0, price, fee)
        for a, b, price, fee in holds
    ]
    costs = (spread, funding) if trades else (0.0, 0.0)
    study = a_study([10.0, 11.0, 10.5], trades, spread=costs[0], funding=costs[1])
    found = measure(study)
    assert found["gross_pnl"] - found["costs"] == pytest.approx(found["net_pnl"], abs=1e-12)
    assert found["costs"] == pytest.approx(float(study.charges.sum()), abs=1e-12)
    assert study.gross[-1] == pytest.approx(study.equity[-1] + found["costs"], abs=1e-12)


def test_a_result_of_the_engine_is_read_with_its_units():
    # sold: 0.00001 BTC bought at 60000.0 and sold at 61000.0 with fees of 0.0006 and 0.00061;
    # held: as much at 61000.0, its fee 0.00061
    row = [0, T0, T0 + 2 * MINUTE_MS, 1000, 600_000, 610_000, 60_000, 61_000, 879_000, 0]
    held = OpenPosition(
        "BTCUSDT", datetime(2024, 1, 1, 0, 3, tzinfo=UTC), Decimal("0.00001"), Decimal("61000.0"),
        Decimal("0.61061"), Decimal("0.61"),
    )  # fmt: skip
    result = Result(
        symbols=("BTCUSDT",), market="spot", strategy="ma_hour", params={}, decimals=(1,), bars=4,
        gaps=(), table=np.array([row]), times_ms=T0 + MINUTE_MS * np.arange(4),
        equity_units=np.array([999_940_000, 999_940_000, 1_000_879_000, 1_000_818_000]),
        decisions=1, signals={}, incomplete=0, stop=None, labels=(), initial_units=10**9,
        cash_units=0, fees_units=182_000, spread_units=9_150, funding_units=0,
        open_positions=(held,),
    )  # fmt: skip
    study = study_of(result)
    assert study.at_ms.tolist() == (T0 + MINUTE_MS * np.arange(1, 5)).tolist()
    np.testing.assert_allclose(study.entry_fee, [0.0006, 0.00061])
    assert study.exit_ms.tolist() == [T0 + 2 * MINUTE_MS, OPEN]
    found = measure(study)
    assert found["net_pnl"] == pytest.approx(0.00818)
    assert found["costs"] == pytest.approx(0.00182 + 0.0000915)
    assert found["average_trade"] == pytest.approx(0.00879)
    assert found["exposure"] == pytest.approx(0.75)
