"""Unmodified ccxt against the simulator, both categories; only its addresses are changed."""

import math

import ccxt
import pytest

from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

MINUTE = 60_000
QUARTER = to_ms(parse_time("2025-06-01T10:15:00Z"))
SETTLED = to_ms(parse_time("2025-06-01T08:00:00Z"))
EIGHT_HOURS = 8 * 60 * MINUTE
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock(QUARTER + 3000)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def exchange(served):
    types = {"fetchMarkets": {"types": ["spot", "linear"]}}
    exchange = ccxt.bybit({"options": types, "timeout": 30_000, "rateLimit": 1})
    exchange.urls["api"] = {name: served.url for name in exchange.urls["api"]}
    exchange.has["fetchCurrencies"] = False
    exchange.load_markets()
    yield exchange
    exchange.session.close()


@pytest.fixture
def faults(served):
    yield served.faults
    served.faults.clear()


def test_it_reads_time(exchange):
    assert exchange.fetch_time() == QUARTER + 3000


def test_it_reads_the_markets_of_both_categories(exchange):
    assert sorted(exchange.symbols) == ["BTC/USDT", "BTC/USDT:USDT", "ETH/USDT", "ETH/USDT:USDT"]
    market = exchange.market(SPOT)
    assert market["spot"] and market["active"] and not market["contract"]
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.1, 0.000001)
    assert exchange.market("ETH/USDT")["precision"]["price"] == 0.01
    assert market["limits"]["cost"]["min"] == 5
    swap = exchange.market(SWAP)
    assert swap["swap"] and swap["linear"] and swap["active"] and swap["contractSize"] == 1
    assert (swap["precision"]["price"], swap["precision"]["amount"]) == (0.1, 0.001)
    assert (swap["limits"]["amount"]["min"], swap["limits"]["cost"]["min"]) == (0.001, 5)
    assert exchange.market("ETH/USDT:USDT")["precision"] == {"amount": 0.01, "price": 0.01}


def test_it_reads_candles_of_spot(exchange):
    since = QUARTER - 60 * MINUTE
    source = SyntheticSource(7).candles("ETHUSDT", since, since + 10 * MINUTE)
    assert exchange.fetch_ohlcv("ETH/USDT", "1m", since=since, limit=10) == [
        [int(row["open_ms"])]
        + [row[name] / 100 for name in ("open", "high", "low", "close")]
        + [row["volume"] / 1e6]
        for row in source
    ]
    newest = exchange.fetch_ohlcv("ETH/USDT", "1m", limit=2)
    assert [row[0] for row in newest] == [QUARTER - MINUTE, QUARTER]


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_it_pages_candles_both_ways_and_gets_the_same(exchange, symbol):
    first = QUARTER - 499 * MINUTE
    forward, since = [], first
    while len(forward) < 500:
        page = exchange.fetch_ohlcv(symbol, "1m", since=since, limit=120)
        forward += page
        since = page[-1][0] + MINUTE
    backward, until = [], QUARTER
    while not backward or backward[0][0] > first:
        page = exchange.fetch_ohlcv(symbol, "1m", limit=125, params={"until": until})
        backward = page + backward
        until = page[0][0] - MINUTE
    assert [row[0] for row in forward] == list(range(first, QUARTER + MINUTE, MINUTE))
    assert forward == backward


def test_it_reads_mark_and_index_candles(exchange):
    spot = exchange.fetch_ohlcv(SPOT, "1m", limit=5)
    swap = exchange.fetch_ohlcv(SWAP, "1m", limit=5)
    mark = exchange.fetch_mark_ohlcv(SWAP, "1m", limit=5)
    index = exchange.fetch_index_ohlcv(SWAP, "1m", limit=5)
    assert [row[1:5] for row in index] == [row[1:5] for row in spot]
    assert [row[0] for row in mark] == [row[0] for row in swap]
    for m, s in zip(mark, swap, strict=True):
        assert m[4] == pytest.approx(s[4], rel=3e-4) and m[5] is None


def test_it_reads_ticker_and_book_of_spot(exchange):
    opened = SyntheticSource(7).candles("BTCUSDT", QUARTER, QUARTER + 1)["open"][0] / 10
    ticker = exchange.fetch_ticker(SPOT)
    assert ticker["last"] == opened
    # half a basis point to each side, and up to a step of 0.1 for rounding away from the middle
    assert 0 <= opened * (1 - 0.5e-4) - ticker["bid"] < 0.1
    assert 0 <= ticker["ask"] - opened * (1 + 0.5e-4) < 0.1
    book = exchange.fetch_order_book(SPOT, 50)
    assert (book["bids"][0][0], book["asks"][0][0]) == (ticker["bid"], ticker["ask"])
    assert len(book["bids"]) == len(book["asks"]) == 50
    assert book["timestamp"] == QUARTER + 3000


def test_it_takes_the_tickers_of_each_category_for_what_they_are(exchange):
    swap, spot = exchange.fetch_ticker(SWAP), exchange.fetch_ticker(SPOT)
    assert (swap["symbol"], spot["symbol"]) == (SWAP, SPOT)
    assert 0 < abs(swap["last"] / spot["last"] - 1) < 0.002
    assert set(exchange.fetch_tickers([SWAP, "ETH/USDT:USDT"])) == {SWAP, "ETH/USDT:USDT"}
    assert set(exchange.fetch_tickers([SPOT])) == {SPOT}
    assert swap["indexPrice"] == spot["last"]
    assert swap["markPrice"] == exchange.fetch_mark_ohlcv(SWAP, "1m", limit=1)[0][4]
    book = exchange.fetch_order_book(SWAP, 500)
    assert len(book["bids"]) == len(book["asks"]) == 500
    assert (book["bids"][0][0], book["asks"][0][0]) == (swap["bid"], swap["ask"])


@pytest.mark.parametrize("symbol, most", [(SPOT, 60), (SWAP, 1000)])
def test_it_reads_trades(exchange, symbol, most):
    trades = exchange.fetch_trades(symbol, limit=most)
    assert len(trades) == most
    times = [trade["timestamp"] for trade in trades]
    assert times == sorted(times) and times[-1] <= QUARTER + 3000
    assert {trade["side"] for trade in trades} == {"buy", "sell"}
    assert min(trade["amount"] for trade in trades) > 0


def test_it_reads_funding(exchange):
    rates = exchange.fetch_funding_rate_history(SWAP, limit=10)
    times = [rate["timestamp"] for rate in rates]
    assert times == [SETTLED - n * EIGHT_HOURS for n in range(9, -1, -1)]
    # With `since` ccxt sends both ends, as Bybit demands, the last one `limit` intervals later. Both count, so
    # there is one settlement more than the page holds and the first is lost (ccxt issue 27745: since 00:00,
    # limit 100, first rate 08:00).
    since = SETTLED - 20 * EIGHT_HOURS
    page = exchange.fetch_funding_rate_history(SWAP, since=since, limit=5)
    assert [rate["timestamp"] for rate in page] == [since + n * EIGHT_HOURS for n in range(1, 6)]
    now = exchange.fetch_funding_rate(SWAP)
    assert now["fundingTimestamp"] == SETTLED + EIGHT_HOURS and now["interval"] == "8h"
    assert math.isfinite(now["fundingRate"])


@pytest.mark.parametrize(
    "fault, error",
    [
        ({"kind": "5xx"}, ccxt.ExchangeNotAvailable),
        ({"kind": "5xx", "status": 504}, ccxt.RequestTimeout),
        ({"kind": "403"}, ccxt.RateLimitExceeded),
        ({"kind": "429"}, ccxt.RateLimitExceeded),
        ({"kind": "10006"}, ccxt.RateLimitExceeded),
        ({"kind": "10016"}, ccxt.ExchangeError),  # which says nothing about what happened
        ({"kind": "cut"}, ccxt.NetworkError),
    ],
)
def test_it_raises_its_own_errors(exchange, faults, fault, error):
    faults.play([{**fault, "uses": 1}])
    with pytest.raises(error) as raised:
        exchange.fetch_ohlcv(SPOT, "1m", limit=3)
    # in ccxt a plain ExchangeError is not a network error: whoever retries must know
    assert isinstance(raised.value, ccxt.NetworkError) is (fault["kind"] != "10016")
    assert len(exchange.fetch_ohlcv(SPOT, "1m", limit=3)) == 3


def test_it_gives_up_on_a_reply_that_is_late(exchange, faults):
    faults.add("delay", seconds=60, uses=1)
    exchange.timeout = 200
    try:
        with pytest.raises(ccxt.RequestTimeout):
            exchange.fetch_time()
    finally:
        exchange.timeout = 30_000


def test_it_raises_on_what_bybit_refuses(exchange):
    with pytest.raises(ccxt.BadRequest, match="intervalTime is invalid"):
        exchange.fetch_ohlcv(SPOT, "1w")
    with pytest.raises(ccxt.BadRequest, match="limit is invalid"):
        exchange.fetch_trades(SPOT, limit=61)


def test_rubbish_looks_to_it_like_no_candles(exchange, faults):
    # ccxt returns text that is not JSON as it is, and finds no list in it: an empty list may be an outage
    faults.add("rubbish", uses=1)
    assert exchange.fetch_ohlcv(SPOT, "1m", limit=3) == []
    assert len(exchange.fetch_ohlcv(SPOT, "1m", limit=3)) == 3
