import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.market.tables import MINUTE, NOON, Table, at, flat
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.prices import so_far
from tgtqr_lib.market.source import CANDLE
from tgtqr_lib.market.spot import SpotMarket
from tgtqr_lib.market.synthetic import SyntheticSource

HOUR = 60 * MINUTE
DAY = 24 * HOUR
RISING = np.array((NOON, 1000, 1100, 900, 1050, 600), CANDLE)
FALLING = np.array((NOON, 1050, 1100, 900, 1000, 600), CANDLE)


@pytest.mark.parametrize(
    "candle, seconds, high, low, price, volume",
    [
        (RISING, 0, 1000, 1000, 1000, 0),
        (RISING, 10, 1000, 1000, 1000, 100),  # 600 x 10/60
        (RISING, 17.5, 1000, 950, 950, 175),  # half way from the open to the low at 25 s
        (RISING, 25, 1000, 900, 900, 250),
        (RISING, 40, 1050, 900, 1050, 400),  # three quarters of the way to the high at 45 s
        (RISING, 45, 1100, 900, 1100, 450),
        (RISING, 54, 1100, 900, 1070, 540),  # 9 of 15 seconds from 1100 to 1050
        (FALLING, 17.5, 1075, 1050, 1075, 175),  # a falling minute goes up first
        (FALLING, 54, 1100, 900, 960, 540),
    ],
)
def test_a_minute_goes_from_its_open_over_both_extremes_to_its_close(
    candle, seconds, high, low, price, volume
):
    opened, start, *rest = so_far(candle, round(seconds * 1000))
    assert (opened, start) == (NOON, candle["open"])
    assert rest == [high, low, price, volume]


@st.composite
def candles(draw):
    low = draw(st.integers(1, 10**9))
    high = low + draw(st.integers(0, 10**6))
    start, close = draw(st.integers(low, high)), draw(st.integers(low, high))
    return np.array((NOON, start, high, low, close, draw(st.integers(0, 10**12))), CANDLE)


@given(candle=candles(), first=st.integers(0, 59_999), second=st.integers(0, 59_999))
def test_a_running_candle_stays_within_its_minute_and_only_grows(candle, first, second):
    first, second = sorted((first, second))
    _, opened, high, low, price, volume = so_far(candle, first)
    _, _, later_high, later_low, _, later_volume = so_far(candle, second)
    assert candle["low"] <= later_low <= low <= min(opened, price)
    assert candle["high"] >= later_high >= high >= max(opened, price)
    assert 0 <= volume <= later_volume <= candle["volume"]
    assert opened == candle["open"]
    assert price == opened or first > 10_000


@given(candle=candles())
def test_a_whole_minute_is_the_candle_itself(candle):
    assert so_far(candle, 60_000) == candle.item()


def test_best_prices_are_half_a_spread_from_the_middle_rounded_away_from_it():
    # 104321.7 x 0.5 bp = 5.216085: bid 104316.483915 and ask 104326.916085, steps of 0.1
    market = SpotMarket(Table(flat(0, 1_043_217)))
    assert market.best("BTCUSDT", at(0, 5)) == (1_043_164, 1_043_270)
    # 10 bp: 104321.7 x 5 bp = 52.16085, so 104269.53915 and 104373.86085
    market = SpotMarket(Table(flat(0, 1_043_217)), spread_bps=10)
    assert market.best("BTCUSDT", at(0, 5)) == (1_042_695, 1_043_739)
    # 2000.0 x 1/2 of 100 bp = 10 exactly: nothing to round
    market = SpotMarket(Table(flat(0, 20_000)), spread_bps="100")
    assert market.best("BTCUSDT", at(0, 5)) == (19_900, 20_100)


@given(mid=st.integers(2, 10**9), spread=st.decimals("0.01", 1000, places=2))
def test_the_book_never_crosses_and_surrounds_the_middle(mid, spread):
    bid, ask = SpotMarket(Table(flat(0, mid)), str(spread)).best("BTCUSDT", at(0))
    assert 1 <= bid < mid < ask


@pytest.mark.parametrize("spread", [0, -1, 10_000, "nan", "wide", ""])
def test_a_spread_that_cannot_be_is_refused(spread):
    with pytest.raises(DomainError, match="spread_bps"):
        SpotMarket(Table(flat(0, 1000)), spread)


@pytest.mark.parametrize("symbol, least", [("BTCUSDT", 50_000), ("ETHUSDT", 100_000)])
def test_every_step_of_the_book_holds_enough_for_small_orders(symbol, least):
    # 0.05 BTC in lots of 0.000001 and 1 ETH in lots of 0.00001
    market = SpotMarket(SyntheticSource(7))
    bid, ask = market.best(symbol, NOON)
    bids, asks = market.book(symbol, NOON, 200)
    assert [price for price, _ in bids] == list(range(bid, bid - 200, -1))
    assert [price for price, _ in asks] == list(range(ask, ask + 200))
    assert min(lots for _, lots in bids + asks) >= least
    assert len({lots for _, lots in bids + asks}) > 300  # and not all the same


def test_a_price_holds_the_same_for_a_whole_minute():
    market = SpotMarket(SyntheticSource(7))
    books = [dict(market.book("BTCUSDT", NOON + 1000 * second, 200)[1]) for second in (0, 30, 59)]
    shared = books[0].keys() & books[1].keys() & books[2].keys()
    assert all(books[0][price] == books[1][price] == books[2][price] for price in shared)


def test_a_book_near_zero_has_no_price_below_one_step():
    bids, asks = SpotMarket(Table(flat(0, 4))).book("BTCUSDT", at(0), 50)
    assert [price for price, _ in bids] == [3, 2, 1]
    assert len(asks) == 50


def test_a_missing_minute_keeps_the_last_known_price():
    market = SpotMarket(Table(flat(0, 1000), flat(3, 2000)))
    assert market.mid("BTCUSDT", at(2, 59)) == 1000
    assert market.mid("BTCUSDT", at(3)) == 2000
    assert market.mid("BTCUSDT", at(60 * 24 * 700)) == 2000
    assert market.mid("BTCUSDT", at(-1)) is None
    assert market.book("BTCUSDT", at(-1), 5) is None
    assert market.last_day("BTCUSDT", at(-1)) is None


def test_prices_of_a_coarser_source_are_shown_in_the_exchanges_steps_and_finer_ones_as_they_are():
    coarse = SpotMarket(Table(flat(0, 1234), decimals=0))
    assert (coarse.decimals("BTCUSDT"), coarse.mid("BTCUSDT", at(0))) == (1, 12_340)
    fine = SpotMarket(Table(flat(0, 1234), decimals=3))
    assert (fine.decimals("BTCUSDT"), fine.mid("BTCUSDT", at(0))) == (3, 1234)


def test_the_last_day_is_the_24_hours_before_the_running_minute_with_it():
    rows = [
        flat(-1441, 500),  # just too old, but the last price before the day
        (-1440, 600, 700, 600, 650, 2_000_000),
        (-1, 800, 900, 550, 850, 3_000_000),
        (
            0,
            850,
            1000,
            400,
            900,
            6_000_000,
        ),  # rising: at 25 s it has reached its low and 25/60 volume
    ]
    day = SpotMarket(Table(*rows)).last_day("BTCUSDT", at(0, 25))
    assert (day.before, day.high, day.low) == (500, 900, 400)
    assert day.volume == 2_000_000 + 3_000_000 + 2_500_000
    # quote units: coins x average of the four prices in steps of 0.1, of the running one 850, 850, 400, 400
    expected = 2 * 63.75 + 3 * 77.5 + 2.5 * 62.5
    assert day.turnover == pytest.approx(expected)


def test_longer_candles_are_put_together_from_minutes():
    rows = [
        (-1, 9, 9, 9, 9, 1),
        (0, 10, 14, 9, 12, 1),
        (2, 12, 13, 7, 8, 2),
        (4, 8, 9, 8, 9, 4),
        (5, 30, 40, 20, 35, 8),
    ]
    market = SpotMarket(Table(*rows))
    five, _ = market.candles("BTCUSDT", 5 * MINUTE, 10, at(6), end_ms=at(10))
    assert five.tolist() == [
        (at(-5), 9, 9, 9, 9, 1),
        (at(0), 10, 14, 7, 9, 7),
        (at(5), 30, 40, 20, 35, 8),
    ]


@given(
    limit=st.integers(1, 30),
    gaps=st.sets(st.integers(0, 99), max_size=90),
    now=st.integers(0, 100),
)
def test_paging_forward_and_backward_gives_the_same_rows_also_over_gaps(limit, gaps, now):
    table = Table(*(flat(m, 1000 + m) for m in range(100) if m not in gaps))
    market = SpotMarket(table)
    known = table.candles("BTCUSDT", 0, at(now) + 1)["open_ms"].tolist()
    forward, start = [], at(0)
    while start <= at(now):
        page, _ = market.candles(
            "BTCUSDT", MINUTE, limit, at(now), start_ms=start, end_ms=at(now + 1), from_start=True
        )
        forward += page["open_ms"].tolist()
        start = forward[-1] + MINUTE if len(page) else at(now + 1)
    backward, end = [], at(now + 1)
    while end > at(0):
        page, _ = market.candles("BTCUSDT", MINUTE, limit, at(now), end_ms=end)
        backward = page["open_ms"].tolist() + backward
        end = backward[0] if len(page) else at(0)
    assert forward == backward == known
