"""The perpetual market: another series than spot, a small premium away from it, with funding."""

from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.market.tables import MINUTE, Table, ask, at, flat
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import DataError
from tgtqr_lib.market import duck
from tgtqr_lib.market.simulation.funding import rate_of
from tgtqr_lib.market.simulation.prices import path, so_far
from tgtqr_lib.market.simulation.recorded_funding import RecordedFunding
from tgtqr_lib.market.simulation.venue import Venue
from tgtqr_lib.market.simulation.waves import Waves
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.source import CANDLE
from tgtqr_lib.market.synthetic import SyntheticSource

QUARTER = to_ms(parse_time("2025-06-01T10:15:00Z"))
SETTLED = to_ms(parse_time("2025-06-01T08:00:00Z"))
EIGHT_HOURS = 8 * 60 * MINUTE
DAY = 24 * 60 * MINUTE
VENUE = Venue(SyntheticSource(7))
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock(QUARTER + 33_000)) as simulator:
        yield simulator


def result(simulator, path: str, **asked) -> dict:
    query = "&".join(
        f"{n}={v}" for n, v in {"category": "linear", "symbol": "BTCUSDT", **asked}.items()
    )
    status, reply = ask(f"{simulator.url}/v5/market/{path}?{query}")
    assert (status, reply["retCode"]) == (200, 0), reply
    return reply["result"]


def listed(simulator, path: str, **asked) -> list:
    return result(simulator, path, **asked)["list"]


# --- prices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_it_keeps_close_to_spot_and_is_not_spot(symbol):
    spot = VENUE.spot.minutes(symbol, QUARTER - 30 * DAY, QUARTER, QUARTER)
    linear = VENUE.linear.minutes(symbol, QUARTER - 30 * DAY, QUARTER, QUARTER)
    np.testing.assert_array_equal(linear["open_ms"], spot["open_ms"])
    basis = linear["close"] / spot["close"] - 1
    assert np.abs(basis).max() < 0.002
    assert 0.0001 < basis.std() < 0.0008
    # it comes and goes slowly: from minute to minute it hardly moves, over a day it does
    assert np.abs(np.diff(basis)).max() < 0.0001
    assert np.abs(basis[1440:] - basis[:-1440]).mean() > 0.0001


def test_the_symbols_have_premiums_of_their_own_and_a_seed_its_own():
    def basis(venue, symbol):
        spot, linear = (
            market.minutes(symbol, QUARTER - DAY, QUARTER, QUARTER)["close"]
            for market in (venue.spot, venue.linear)
        )
        return linear / spot - 1

    bitcoin, ether = (basis(VENUE, symbol) for symbol in SYMBOLS)
    assert np.abs(bitcoin - ether).mean() > 1e-5
    assert np.abs(bitcoin - basis(Venue(SyntheticSource(8)), "BTCUSDT")).mean() > 1e-5
    np.testing.assert_array_equal(bitcoin, basis(Venue(SyntheticSource(7)), "BTCUSDT"))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_candles_are_well_formed_and_join(symbol):
    rows = VENUE.linear.minutes(symbol, QUARTER - 3 * DAY, QUARTER, QUARTER)
    assert len(rows) == 3 * 1440
    assert (rows["high"] >= np.maximum(rows["open"], rows["close"])).all()
    assert (rows["low"] <= np.minimum(rows["open"], rows["close"])).all()
    assert (rows["low"] > 0).all()
    # spot opens at most a step from the last close; rounding both to steps adds one
    assert np.abs(rows["open"][1:] - rows["close"][:-1]).max() <= 2


def test_a_finer_source_does_not_make_the_perpetuals_step_finer():
    with running(Table(flat(0, 104_321_701), decimals=3), SimulatorClock(at(0, 3))) as simulator:
        (row,) = listed(simulator, "kline", interval=1)
        assert Decimal(row[4]) % Decimal("0.1") == 0
        assert abs(Decimal(row[4]) / Decimal("104321.701") - 1) < Decimal("0.002")
        (rules,) = listed(simulator, "instruments-info")
        assert Decimal(rules["priceFilter"]["tickSize"]) == Decimal("0.1")


@pytest.mark.parametrize(
    "symbol, tick, lot", [("BTCUSDT", "0.1", "0.001"), ("ETHUSDT", "0.01", "0.01")]
)
def test_everything_lies_on_the_listed_steps(served, symbol, tick, lot):
    (rules,) = listed(served, "instruments-info", symbol=symbol)
    lots = rules["lotSizeFilter"]
    assert Decimal(rules["priceFilter"]["tickSize"]) == Decimal(tick)
    assert (Decimal(lots["qtyStep"]), lots["minNotionalValue"]) == (Decimal(lot), "5")
    assert rules["fundingInterval"] == 480
    book = result(served, "orderbook", symbol=symbol, limit=500)
    rows = listed(served, "kline", symbol=symbol, interval=1)
    trades = listed(served, "recent-trade", symbol=symbol)
    prices = [p for p, _ in book["a"] + book["b"]] + [p for row in rows for p in row[1:5]]
    prices += [trade["price"] for trade in trades]
    sizes = [q for _, q in book["a"] + book["b"]] + [row[5] for row in rows]
    sizes += [trade["size"] for trade in trades]
    assert all(Decimal(price) % Decimal(tick) == 0 for price in prices)
    assert all(Decimal(size) % Decimal(lot) == 0 for size in sizes)


def test_candle_ticker_book_and_trades_agree_all_through_a_minute():
    with running(SyntheticSource(7), SimulatorClock(QUARTER)) as simulator:
        highs, lows = [], []
        for _ in range(60):
            newest = listed(simulator, "kline", interval=1, limit=1)[0]
            opened, high, low, close, volume, _ = map(float, newest[1:])
            (ticker,) = listed(simulator, "tickers")
            book = result(simulator, "orderbook", limit=1)
            assert low <= min(opened, close) and high >= max(opened, close)
            assert float(ticker["lastPrice"]) == close
            assert [ticker["bid1Price"], ticker["bid1Size"]] == book["b"][0]
            assert [ticker["ask1Price"], ticker["ask1Size"]] == book["a"][0]
            assert float(ticker["bid1Price"]) < close < float(ticker["ask1Price"])
            mark = listed(simulator, "mark-price-kline", interval=1, limit=1)[0]
            index = listed(simulator, "index-price-kline", interval=1, limit=1)[0]
            assert (ticker["markPrice"], ticker["indexPrice"]) == (mark[4], index[4])
            trades = listed(simulator, "recent-trade")
            now = [t for t in trades if int(t["time"]) >= QUARTER]
            assert all(low <= float(t["price"]) <= high for t in now)
            assert sum(float(t["size"]) for t in now) <= volume + 0.0011
            highs.append(high)
            lows.append(low)
            simulator.clock.step(1)
        assert highs == sorted(highs) and lows == sorted(lows, reverse=True)
        whole = listed(simulator, "kline", interval=1, limit=2)[1]
        assert float(whole[2]) >= highs[-1] and float(whole[3]) <= lows[-1]


def test_for_the_first_ten_seconds_the_price_stays_at_the_open():
    with running(SyntheticSource(7), SimulatorClock(QUARTER)) as simulator:
        for seconds in (0, 5, 10):
            simulator.clock.set(QUARTER + seconds * 1000)
            _, *prices, _, _ = listed(simulator, "kline", interval=1, limit=1)[0]
            assert len(set(prices)) == 1


def test_mark_and_index_candles_have_five_columns_and_lie_near_the_price(served):
    spot = listed(served, "kline", interval=1, category="spot")
    linear = listed(served, "kline", interval=1)
    mark = listed(served, "mark-price-kline", interval=1)
    index = listed(served, "index-price-kline", interval=1)
    assert {len(row) for row in mark + index} == {5}
    assert [row[0] for row in mark] == [row[0] for row in index] == [row[0] for row in linear]
    assert [row[1:5] for row in index] == [row[1:5] for row in spot]
    gaps = [abs(float(m[4]) / float(t[4]) - 1) for m, t in zip(mark, linear, strict=True)]
    assert max(gaps) < 0.0003 and np.mean(gaps) > 0  # it leaves out what comes and goes in minutes


def test_the_category_of_candles_defaults_to_linear(served):
    query = f"{served.url}/v5/market/kline?symbol=BTCUSDT&interval=1&limit=5"
    assert ask(query)[1]["result"] == result(served, "kline", interval=1, limit=5)
    spot = ask(f"{query}&category=spot")[1]["result"]
    assert spot["category"] == "spot"
    assert spot["list"] != ask(query)[1]["result"]["list"]


def test_pages_of_both_directions_hold_the_same_rows(served):
    first = QUARTER - 700 * MINUTE
    forward, start = [], first
    while page := listed(served, "kline", interval=1, start=start, limit=300):
        forward = page + forward
        start = int(page[0][0]) + MINUTE
    backward, end = [], QUARTER
    while end >= first:
        page = listed(served, "kline", interval=1, start=first, end=end, limit=250)
        backward += page
        end = int(page[-1][0]) - MINUTE
    assert forward == backward and len(forward) == 701


@pytest.mark.parametrize("category, usual", [("linear", 25), ("spot", 1)])
def test_a_book_has_the_usual_depth_of_its_category(served, category, usual):
    assert len(result(served, "orderbook", category=category)["b"]) == usual


def test_a_ticker_says_what_a_client_needs_to_take_it_for_a_perpetual(served):
    (ticker,) = listed(served, "tickers")
    interest, value = Decimal(ticker["openInterest"]), Decimal(ticker["openInterestValue"])
    assert abs(value / (interest * Decimal(ticker["markPrice"])) - 1) < Decimal("1e-6")
    assert int(ticker["nextFundingTime"]) == SETTLED + EIGHT_HOURS  # 16:00 after 10:15
    assert ticker["fundingIntervalHour"] == "8"
    hour = listed(served, "kline", interval=1, start=QUARTER - 60 * MINUTE, limit=1)[0]
    assert float(hour[3]) <= float(ticker["prevPrice1h"]) <= float(hour[2])


# --- trades ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "category, usual, most, lot", [("spot", 60, 60, 1e-6), ("linear", 500, 1000, 1e-3)]
)
def test_trades_are_newest_first_and_explain_the_minutes_volume(served, category, usual, most, lot):
    trades = listed(served, "recent-trade", category=category)
    assert len(trades) == usual
    assert len(listed(served, "recent-trade", category=category, limit=most)) == most
    times = [int(t["time"]) for t in trades]
    assert times == sorted(times, reverse=True) and times[0] <= QUARTER + 33_000
    assert len({t["execId"] for t in trades}) == usual
    assert {t["side"] for t in trades} == {"Buy", "Sell"}
    # the running minute: what was traded up to the last trade, in proportion to the time gone
    running_minute = listed(served, "kline", category=category, interval=1, limit=1)[0]
    now = [t for t in trades if int(t["time"]) >= QUARTER]
    traded = sum(float(t["size"]) for t in now)
    share = (int(now[0]["time"]) - QUARTER) / 33_000
    assert traded == pytest.approx(float(running_minute[5]) * share, abs=2 * lot)
    assert len(now) == 33  # one a second, each of them within its own
    assert [(int(t["time"]) - QUARTER) // 1000 for t in now[::-1]] == list(range(33))


def test_trades_are_the_same_whenever_and_wherever_they_are_asked_for():
    with running(SyntheticSource(7), SimulatorClock(QUARTER)) as simulator:
        before = listed(simulator, "recent-trade", limit=200)
        simulator.clock.step(77)
        after = listed(simulator, "recent-trade", limit=200)
    known = {trade["execId"]: trade for trade in before}
    shared = [trade for trade in after if trade["execId"] in known]
    assert len(shared) > 100
    assert all(known[trade["execId"]] == trade for trade in shared)
    with running(SyntheticSource(8), SimulatorClock(QUARTER)) as simulator:
        other = listed(simulator, "recent-trade", limit=200)
    assert [t["price"] for t in other] != [t["price"] for t in before]


def test_trades_leave_gaps_where_candles_do():
    table = Table(flat(-300, 1000), flat(-2, 1010), flat(0, 1020))
    with running(table, SimulatorClock(at(0, 10))) as simulator:
        trades = listed(simulator, "recent-trade", category="spot")
        prices = [t["price"] for t in trades]
        assert prices == ["102"] * prices.count("102") + ["101"] * prices.count("101")
        assert 8 <= prices.count("102") <= 10
        trades = listed(simulator, "recent-trade", limit=1000)
        assert len(trades) > 120  # the hour-old minute as well
        assert int(trades[-1]["time"]) < at(-299)


@given(
    low=st.integers(1, 10**6),
    spread=st.integers(0, 1000),
    start=st.floats(0, 1),
    close=st.floats(0, 1),
    elapsed=st.integers(0, 60_000),
)
def test_trades_take_the_same_road_as_the_running_candle(low, spread, start, close, elapsed):
    row = (at(0), low + round(spread * start), low + spread, low, low + round(spread * close), 1)
    rows = np.array([row], CANDLE)
    assert path(rows, np.array([elapsed]))[0] == so_far(rows[0], elapsed)[4]


# --- funding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "premiums, rate",
    [
        ([0.0] * 480, 10_000),  # 0 + clamp(0.01 % - 0) = 0.01 %
        ([0.0006] * 480, 10_000),  # 0.06 % + clamp(-0.05 %): the edge of the dead zone
        ([0.00061] * 480, 11_000),  # beyond it: 0.061 % - 0.05 %
        ([-0.0004] * 480, 10_000),  # the other edge
        ([-0.001] * 480, -50_000),  # -0.1 % + 0.05 %
        ([0.01] * 480, 375_000),  # 0.95 %, held at 0.375 %
        ([-0.01] * 480, -375_000),
        ([0.003, 0.0], 50_000),  # weights 1 and 2: 0.1 % - 0.05 %
        ([0.0, 0.003], 150_000),  # 0.2 % - 0.05 %
        ([0.000600005], 10_001),  # 10000.5 units, half up
        ([0.0006000049], 10_000),
    ],
)
def test_a_rate_is_made_by_bybits_formula(premiums, rate):
    assert rate_of(np.array(premiums)) == rate


def test_settlements_are_every_eight_hours_newest_first(served):
    rates = listed(served, "funding/history", limit=50)
    times = [int(r["fundingRateTimestamp"]) for r in rates]
    assert times == [SETTLED - n * EIGHT_HOURS for n in range(50)]
    assert len(listed(served, "funding/history")) == 200
    values = [Decimal(r["fundingRate"]) for r in listed(served, "funding/history")]
    assert all(value == round(value, 8) for value in values)
    assert Decimal("0.0001") in values and len(set(values)) > 10  # the dead zone, and beyond it
    assert all(abs(value) <= Decimal("0.00375") for value in values)


def test_funding_pages_by_end_time_without_gap_or_repeat(served):
    whole = listed(served, "funding/history", limit=30)
    paged, end = [], QUARTER
    while len(paged) < 30:
        page = listed(served, "funding/history", limit=7, endTime=end)
        paged += page
        end = int(page[-1]["fundingRateTimestamp"]) - 1
    assert paged[:30] == whole
    both = listed(served, "funding/history", startTime=SETTLED - 2 * EIGHT_HOURS, endTime=SETTLED)
    assert both == whole[:3]  # both ends count
    # more than a page: the newest, as Bybit gives them
    many = listed(served, "funding/history", startTime=0, endTime=SETTLED, limit=3)
    assert many == whole[:3]
    assert listed(served, "funding/history", endTime=QUARTER + DAY, limit=30) == whole  # no future


def test_the_rate_in_sight_becomes_the_settled_one():
    with running(SyntheticSource(7), SimulatorClock(SETTLED)) as simulator:
        seen = []
        for minutes in (0, 100, 300, 479):
            simulator.clock.set(SETTLED + minutes * MINUTE)
            seen.append(listed(simulator, "tickers")[0]["fundingRate"])
        assert int(listed(simulator, "tickers")[0]["nextFundingTime"]) == SETTLED + EIGHT_HOURS
        simulator.clock.step(60)
        newest = listed(simulator, "funding/history", limit=1)[0]
        assert int(newest["fundingRateTimestamp"]) == SETTLED + EIGHT_HOURS
        assert seen[-1] == newest["fundingRate"]


def test_a_perpetual_above_spot_pays_more_than_one_below():
    rates, premiums = [], []
    for end in range(SETTLED - 60 * EIGHT_HOURS, SETTLED, EIGHT_HOURS):
        ((_, rate),) = VENUE.funding("BTCUSDT").settled("BTCUSDT", end, end, 1)
        spot, linear = (
            market.minutes("BTCUSDT", end - EIGHT_HOURS, end, end)["close"]
            for market in (VENUE.spot, VENUE.linear)
        )
        rates.append(rate)
        premiums.append((linear / spot - 1).mean())
    assert np.corrcoef(rates, premiums)[0, 1] > 0.5


def test_there_is_no_settlement_before_there_is_a_price():
    with running(Table(flat(0, 1000)), SimulatorClock(at(0) + 2 * DAY)) as simulator:
        times = [int(r["fundingRateTimestamp"]) for r in listed(simulator, "funding/history")]
    # the first candle opens at 12:00, so 16:00 is the first; then every eight hours to 08:00
    assert times == [at(0) + n * 4 * 60 * MINUTE for n in (11, 9, 7, 5, 3, 1)]


FUNDING_ROWS = """
select * from (values
  (timestamptz '2025-06-01 00:00:00+00', 'BTCUSDT', 0.0001, 'x'),
  (timestamptz '2025-06-01 08:00:00+00', 'BTCUSDT', -0.00012345, 'x'),
  (timestamptz '2025-06-01 16:00:00+00', 'BTCUSDT', 0.0003, 'x')
) t(ts, symbol, rate, source)"""


def funding_file(folder, rows: str = FUNDING_ROWS):
    file = folder / "funding.parquet"
    with duck.connect() as con:
        con.execute("set timezone = 'UTC'")
        con.execute(f"copy ({rows}) to {duck.literal(file)} (format parquet)")
    return file


def test_recorded_rates_go_before_made_up_ones_and_show_no_future(tmp_path):
    funding = RecordedFunding(funding_file(tmp_path))
    clock = SimulatorClock(QUARTER)
    with running(SyntheticSource(7), clock, funding=funding) as simulator:
        rates = listed(simulator, "funding/history")
        assert [(r["fundingRate"], int(r["fundingRateTimestamp"])) for r in rates] == [
            ("-0.00012345", SETTLED),
            ("0.0001", SETTLED - EIGHT_HOURS),
        ]
        assert listed(simulator, "tickers")[0]["fundingRate"] == "-0.00012345"
        assert len(listed(simulator, "funding/history", symbol="ETHUSDT")) == 200  # not in the file
        clock.set(SETTLED - EIGHT_HOURS - 1)
        assert listed(simulator, "funding/history") == []


@pytest.mark.parametrize(
    "change, sentence",
    [
        (("t(ts,", "t(moment,"), "has no column ts; funding has ts, symbol, rate"),
        (("0.0003", "0.3"), "rate 0.3 at 2025-06-01T16:00:00Z, expected a fraction"),
        (("0.0003", "null"), "rate nan"),
        (("16:00:00", "08:00:00"), "two rates at 2025-06-01T08:00:00Z"),
        (("16:00:00", "16:00:01"), "not a whole minute"),
        (("'BTCUSDT'", "'XRPUSDT'"), "holds no rate of BTCUSDT or ETHUSDT"),
    ],
)
def test_recorded_rates_that_cannot_be_are_refused_in_a_sentence(tmp_path, change, sentence):
    file = funding_file(tmp_path, FUNDING_ROWS.replace(*change))
    with pytest.raises(DataError, match=sentence):
        RecordedFunding(file)
    with pytest.raises(DataError, match="absent"):
        RecordedFunding(tmp_path / "absent.parquet")


def test_bybits_own_recorded_rates_are_served(recorded_data):
    funding = RecordedFunding(recorded_data / "data/funding_8h_bybit-linear.parquet")
    assert funding.symbols == SYMBOLS
    clock = SimulatorClock("2025-06-10T10:15:03Z")
    with running(SyntheticSource(7), clock, funding=funding) as simulator:
        times = [int(r["fundingRateTimestamp"]) for r in listed(simulator, "funding/history")]
    newest = to_ms(parse_time("2025-06-10T08:00Z"))
    assert times == [newest - n * EIGHT_HOURS for n in range(200)]


# --- slow noise -----------------------------------------------------------------------------------


@settings(max_examples=30)
@given(start=st.integers(0, 40_000_000), count=st.integers(1, 4000), every=st.integers(1, 50))
def test_waves_have_one_value_a_minute_whatever_is_asked_with_it(start, count, every):
    minutes = np.arange(start, start + count, every)
    waves = Waves(5, ((480, 1.0), (60, 0.5)))
    together = waves.at(minutes)
    assert together[-1] == Waves(5, ((480, 1.0), (60, 0.5))).at(minutes[-1:])[0]
    assert np.abs(together).max() <= 3.47 * 1.5  # a node is a normal number, within 3.47


def test_a_wave_goes_straight_from_node_to_node():
    values = Waves(5, ((60, 1.0),)).at(np.arange(600))
    for here, there in pairwise(range(0, 600, 60)):
        line = np.linspace(values[here], values[there], 61)
        np.testing.assert_allclose(values[here : there + 1], line, atol=1e-12)
    assert abs(np.diff(values[::60])).min() > 0
