"""`replay`, `run` and the independent reference agree on every trade and to the last unit of money."""

import sys
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backtest.agree import all_three, same
from tests.backtest.series import START, a_plan, by_hand, random_walk
from tests.builders import HARD_LIMITS, limits
from tests.recorded import recorded
from tgtqr_lib.backtest import replay, run
from tgtqr_lib.domain import Candles
from tgtqr_lib.market.recorded import RecordedSource
from tgtqr_lib.market.synthetic import SyntheticSource

TIGHT = limits(total="1.00", daily="0.97")
QUICK = {"window": 4}
DAY = 1440


def candles_of(source, symbol, start_ms, end_ms, market="spot") -> Candles:
    """Candles of a source of prices."""
    rows = source.candles(symbol, start_ms, end_ms)
    columns = [rows[name] for name in ("open_ms", "open", "high", "low", "close", "volume")]
    return Candles(symbol, source.price_decimals(symbol), *columns, market)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
@pytest.mark.parametrize("within", [None, HARD_LIMITS])
def test_they_agree_on_a_made_up_market(symbol, within):
    seen = candles_of(SyntheticSource(7), symbol, START, START + 1000 * 60_000)
    found = all_three(seen, a_plan(), within)
    assert len(found.trades) > 3


@pytest.mark.parametrize("swing", [0.0003, 0.002, 0.01])
@pytest.mark.parametrize("within", [None, HARD_LIMITS, TIGHT])
def test_they_agree_on_random_walks_with_gaps(swing, within):
    seen = random_walk(1000, 5, swing=swing, missing=0.002, start=START + 700 * 60_000)
    all_three(seen, a_plan(window=15), within)


def flat_then(*levels, before=1000_000, minutes=15):
    """Quarter hours of constant price: 15 minutes of each level, after an hour at `before`."""
    closes = [before] * 60 + [level for level in levels for _ in range(minutes)]
    return [before, *closes[:-1]], closes


def test_an_empty_window_or_a_tie_holds():
    opens, closes = flat_then(1000_000, 1000_000)
    found = all_three(by_hand(opens, closes), a_plan(), HARD_LIMITS)
    assert found.trades == () and found.signals == {"LONG": 0, "FLAT": 0, "HOLD": 6}
    assert found.incomplete == 3  # 00:15, 00:30 and 00:45 have no hour behind them


def test_one_round_trip_by_pencil():
    # 00:15 up, 00:30 down, decided on 4 minutes; the fills are at the opens of 00:15 and 00:30
    closes = [1000_000] * 14 + [1000_100] * 1 + [1000_100] * 14 + [1000_000] * 3
    opens = [1000_000] * 15 + [1000_100] * 15 + [1000_000] * 2
    found = all_three(by_hand(opens, closes), a_plan(**QUICK), HARD_LIMITS)
    (trade,) = found.trades
    # limit 100,010.0 x 1.01 = 101,010.1, so 0.95 buys 9 lots; the open 100,010.0 + 5.0005 is 100,015.1
    assert (trade.quantity, trade.entry_price) == (Decimal("0.000009"), Decimal("100015.1"))
    # the sale gets 100,000.0 - 5 = 99,995.0
    assert trade.exit_price == Decimal("99995.0")
    # fees: 0.9001359 x 0.001 = 0.00090014 and 0.899955 x 0.001 = 0.00089996, both rounded up
    assert trade.fees == Decimal("0.00180010")
    assert trade.pnl == Decimal("0.89995500") - Decimal("0.90013590") - trade.fees
    assert found.equity_end == 10 + trade.pnl


def test_a_missing_minute_makes_the_window_hold_and_is_told():
    seen = random_walk(600, 3)
    holed = by_hand(seen.open, seen.close, missing=[300, 301])
    found = all_three(holed, a_plan(window=30), HARD_LIMITS)
    assert found.as_dict()["gaps"] == {
        "count": 1,
        "minutes": 2,
        "list": [{"symbol": "BTCUSDT", "from": "2025-11-22T05:00:00Z", "minutes": 2}],
    }
    # warm-up at :15, and the decisions of 05:15 and 05:30 reach over the hole
    assert found.incomplete == 1 + 2


def test_a_missing_quarter_hour_is_a_decision_that_holds():
    seen = random_walk(600, 3)
    holed = by_hand(seen.open, seen.close, missing=[299])
    found = all_three(holed, a_plan(window=5), HARD_LIMITS)
    assert found.decisions == 40 and found.incomplete == 1


def test_without_the_next_candle_nothing_fills():
    seen = random_walk(900, 8)
    every = run(seen, a_plan(window=5), HARD_LIMITS)
    at = int(every.column("entry_ms")[2])
    row = int(np.searchsorted(seen.open_ms, at))
    found = all_three(by_hand(seen.open, seen.close, missing=[row]), a_plan(window=5), HARD_LIMITS)
    assert at not in found.column("entry_ms")


@pytest.mark.parametrize("collar_bps", [0, 3, 100, 150])
def test_an_open_outside_the_collar_is_missed(collar_bps):
    seen = random_walk(1000, 4, swing=0.002)
    rng = np.random.default_rng(1)
    opens = np.rint(seen.open * (1 + rng.normal(0, 0.002, len(seen)))).astype(np.int64)
    plan = a_plan(window=5, collar_bps=collar_bps)
    found = all_three(by_hand(opens, seen.close), plan, HARD_LIMITS)
    free = run(by_hand(opens, seen.close), a_plan(window=5), HARD_LIMITS)
    assert (len(found.table) < len(free.table)) == (collar_bps in (0, 3, 150))


def test_an_open_far_from_the_close_is_doubted():
    seen = random_walk(1000, 4, swing=0.001)
    opens = np.where(np.arange(1000) % 60 == 0, seen.open * 103 // 100, seen.open)
    found = all_three(by_hand(opens, seen.close), a_plan(window=5), HARD_LIMITS)
    assert found.signals["HOLD"] >= 16


def test_a_jump_of_a_fifth_is_doubted():
    closes = np.array([1000_000] * 100 + [1200_000] * 100 + [959_999] * 200)
    closes += np.random.default_rng(3).integers(-50, 51, 400) * (np.arange(400) % 100 > 1)
    opens = np.concatenate((closes[:1], closes[:-1]))
    found = all_three(by_hand(opens, closes), a_plan(window=20), HARD_LIMITS)
    assert found.signals["HOLD"] > found.incomplete


def test_a_holding_worth_more_than_the_limit_is_trimmed():
    rises = [1000_000 + 3_000 * i for i in range(120)]
    opens = [rises[0], *rises[:-1]]
    found = all_three(by_hand(opens, rises), a_plan(window=5), HARD_LIMITS)
    # 9 lots at 111,111.1 are worth 1.00; the close of 01:00, 117,700.0, keeps 8 lots and sells 1
    first = found.trades[0]
    assert (first.kind, first.quantity) == ("trim", Decimal("0.000001"))
    assert found.open_positions[0].quantity < Decimal("0.000009")
    assert all_three(by_hand(opens, rises), a_plan(window=5), None).trades == ()


def test_days_open_at_the_close_of_2359_and_a_spent_day_refuses_entries():
    seen = random_walk(2 * DAY, 11, swing=0.0004, start=START + 720 * 60_000)
    found = all_three(seen, a_plan(window=3), limits(daily="0.98", total="5"))
    free = run(seen, a_plan(window=3), HARD_LIMITS)
    assert 0 < len(found.table) < len(free.table)
    days = found.column("entry_ms") // 86_400_000
    assert len(set(days.tolist())) == 3  # every new day trades again
    assert found.stop is None


@pytest.mark.parametrize("missing", [[719], [718, 719, 720], list(range(700, 760))])
def test_a_day_without_its_2359_does_not_open_while_something_is_held(missing):
    rises = [1000_000 + 10 * i for i in range(900)] + [1000_000 - 10 * i for i in range(300)]
    opens = [rises[0], *rises[:-1]]
    seen = by_hand(opens, rises, start=START + 720 * 60_000, missing=missing)
    all_three(seen, a_plan(window=5), limits(daily="0.98", total="5"))


def test_a_spent_budget_stops_for_good_at_its_minute():
    seen = random_walk(3 * DAY, 2, swing=0.0003)
    found = all_three(seen, a_plan(window=3), limits(daily="2", total="1.00"))
    assert found.stop.cause == "SPENT" and found.open_positions == ()
    assert found.column("exit_ms").max() < found.stop.at.timestamp() * 1000
    assert found.equity_units[-1] == found.cash_units >= 9 * 10**8


def test_no_price_path_breaks_a_floor():
    for seed in range(6):
        seen = random_walk(1000, seed, swing=0.02)
        found = run(seen, a_plan(window=3), limits(daily="1.2", total="1.2"))
        assert found.stop is None or found.stop.cause == "SPENT"
        assert found.equity_units.min() >= (10 - Decimal("1.2")) * 10**8


def test_limits_off_is_said():
    seen = random_walk(200, 1)
    assert any("limits off" in label for label in run(seen, a_plan(), None).labels)
    assert not any("limits off" in label for label in run(seen, a_plan(), HARD_LIMITS).labels)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 400),
    price=st.sampled_from([1, 3, 40, 9_500, 95_000, 470_000, 940_595, 1_045_999, 9_405_940]),
    swing=st.sampled_from([0.0001, 0.002, 0.02, 0.08]),
    missing=st.sampled_from([0, 0.01]),
    start=st.integers(0, 100),
    window=st.integers(2, 40),
    band_bps=st.sampled_from([0, 7, 60]),
    spread_bps=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1), Decimal(30)]),
    collar_bps=st.sampled_from([0, 10, 100]),
    within=st.sampled_from([None, HARD_LIMITS, TIGHT, limits(position="0.945", total="0.96")]),
)
def test_replay_and_run_agree_near_the_edges_of_lots(
    seed, rows, price, swing, missing, start, window, band_bps, spread_bps, collar_bps, within
):
    seen = random_walk(
        rows, seed, price=price, swing=swing, missing=missing, start=START + (1400 + start) * 60_000
    )
    plan = a_plan(window=window, band_bps=band_bps, collar_bps=collar_bps)
    all_three(seen, plan, within, spread_bps=spread_bps)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(30, 250),
    swing=st.sampled_from([0.0005, 0.01, 0.05]),
    missing=st.sampled_from([0, 0.01, 0.3]),
    shift=st.integers(-40, 40),
    within=st.sampled_from([None, HARD_LIMITS, limits(total="1.9", daily="1.95")]),
)
def test_two_symbols_share_the_cash(seed, rows, swing, missing, shift, within):
    start = START + 1380 * 60_000
    both = {
        "ETHUSDT": random_walk(
            rows, seed + 1, "ETHUSDT", swing=swing, missing=missing, start=start
        ),
        "BTCUSDT": random_walk(
            rows, seed, "BTCUSDT", swing=swing, missing=missing, start=start + shift * 60_000
        ),
    }
    found = all_three(both, a_plan(window=4), within)
    assert found.symbol == "BTCUSDT+ETHUSDT"


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(30, 300),
    swing=st.sampled_from([0.0005, 0.01]),
    missing=st.sampled_from([0, 0.02]),
    rates=st.lists(st.integers(-9 * 10**8, 9 * 10**8), min_size=12, max_size=12),
    within=st.sampled_from([None, HARD_LIMITS, limits(total="0.96", daily="0.96")]),
)
def test_perpetuals_pay_funding_at_every_settlement_held_through(
    seed, rows, swing, missing, rates, within
):
    start = START + 1380 * 60_000
    at = START + 1320 * 60_000 + 3_600_000 * np.arange(12)
    funding = {"BTCUSDT": SimpleNamespace(at_ms=at, units=np.array(rates))}
    seen = random_walk(rows, seed, swing=swing, missing=missing, start=start, market="linear")
    found = all_three(seen, a_plan(window=4), within, funding=funding)
    assert any("infeasible" in label for label in found.labels)


@pytest.mark.parametrize("total, daily, name", [("0.96", "2", "total"), ("5", "1.0", "2025-11-22")])
def test_only_funding_can_break_a_floor(total, daily, name):
    # 9 % a minute is no market, but the only way to a breach: the reserve does not know of funding
    rises = [1000_000 + 10 * i for i in range(300)]
    seen = by_hand([rises[0], *rises[:-1]], rises, market="linear")
    rates = SimpleNamespace(
        at_ms=START + 60_000 * np.arange(60, 300), units=np.full(240, 9 * 10**8)
    )
    within = limits(total=total, daily=daily)
    found = all_three(seen, a_plan(window=4), within, funding={"BTCUSDT": rates})
    assert found.stop.cause == "BREACH" and name in found.stop.text
    (sale,) = found.trades
    assert sale.kind == "stop" and sale.exit_at == found.stop.at  # sold at the next minute's open
    assert found.decisions == found.stop.at.timestamp() // 900 - START // 900_000


def test_perpetuals_have_no_lots():
    seen = random_walk(300, 3, market="linear")
    found = run(seen, a_plan(window=4), None)
    assert (found.column("quantity") % 100 != 0).any()


@pytest.mark.parametrize(
    "name, symbol, first",
    [
        ("candles_1m_kucoin-spot.parquet", "BTCUSDT", 5_000),
        ("candles_1m_kucoin-spot.parquet", "ETHUSDT", 20_000),
        ("candles_1m_bybit-spot_20221213.parquet", "BTCUSDT", 0),
    ],
)
def test_they_agree_on_recorded_candles(name, symbol, first):
    source = RecordedSource(recorded(name))
    whole = candles_of(source, symbol, 0, 2**60)
    all_three(whole[first : first + 1440], a_plan(), HARD_LIMITS)


@pytest.mark.parametrize("margin", [0, 60, 10_000])
def test_a_trailing_window_decides_like_all_of_history(monkeypatch, margin):
    # replay freezes 60 minutes before the lookback, as a tick does; more or fewer change nothing
    seen = random_walk(700, 9, missing=0.003)
    usual = replay(seen, a_plan(), HARD_LIMITS)
    monkeypatch.setattr(sys.modules["tgtqr_lib.backtest.replay"], "MARGIN", margin)
    same(replay(seen, a_plan(), HARD_LIMITS), usual)
    same(run(seen, a_plan(), HARD_LIMITS), usual)


def test_trades_are_told_as_the_objects_tell_them():
    for binding in (HARD_LIMITS, None):
        found = run(random_walk(6000, seed=9), a_plan(window=20), binding)
        assert len(found.trades) > 10
        assert found.as_dict()["trades"] == [trade.plain() for trade in found.trades]
