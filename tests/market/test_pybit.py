"""Unmodified pybit against the simulator; only its `endpoint` is changed."""

import pytest
import requests
from pybit import _http_manager
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from tests.market.tables import ask
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

MINUTE = 60_000
QUARTER = to_ms(parse_time("2025-06-01T10:15:00Z"))
CATEGORIES = pytest.mark.parametrize("category", ["spot", "linear"])


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock(QUARTER + 3000)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def session(served):
    session = HTTP()
    session.endpoint = served.url
    yield session
    session.client.close()


@pytest.fixture
def faults(served):
    yield served.faults
    served.faults.clear()


def told(served, path: str) -> list | dict:
    """The same question without a client in between."""
    return ask(f"{served.url}/v5/market/{path}")[1]["result"]


def test_it_reads_time(session):
    assert session.get_server_time()["result"]["timeSecond"] == str((QUARTER + 3000) // 1000)


@CATEGORIES
def test_it_reads_instruments(session, category):
    listed = session.get_instruments_info(category=category)["result"]["list"]
    assert [one["symbol"] for one in listed] == ["BTCUSDT", "ETHUSDT"]
    steps = {one["symbol"]: float(one["priceFilter"]["tickSize"]) for one in listed}
    assert steps == {"BTCUSDT": 0.1, "ETHUSDT": 0.01}


@CATEGORIES
def test_it_pages_candles_both_ways_and_gets_the_same(session, category):
    asked = {"category": category, "symbol": "ETHUSDT", "interval": "1"}
    first = QUARTER - 299 * MINUTE
    forward, start = [], first
    while len(forward) < 300:
        page = session.get_kline(**asked, start=start, limit=90)["result"]["list"]
        forward = page + forward
        start = int(page[0][0]) + MINUTE
    backward, end = [], QUARTER
    while not backward or int(backward[-1][0]) > first:
        page = session.get_kline(**asked, start=first, end=end, limit=70)["result"]["list"]
        backward += page
        end = int(page[-1][0]) - MINUTE
    assert [int(row[0]) for row in forward] == list(range(QUARTER, first - 1, -MINUTE))
    assert forward == backward


def test_it_reads_what_the_server_says(session, served):
    linear = {"category": "linear", "symbol": "BTCUSDT"}
    query = "category=linear&symbol=BTCUSDT"
    for reply, path in (
        (session.get_mark_price_kline(**linear, interval=1, limit=3), "mark-price-kline?interval=1&limit=3"),
        (session.get_index_price_kline(**linear, interval=5, limit=3), "index-price-kline?interval=5&limit=3"),
        (session.get_tickers(**linear), "tickers?"),
        (session.get_orderbook(**linear, limit=500), "orderbook?limit=500"),
        (session.get_public_trade_history(**linear, limit=9), "recent-trade?limit=9"),
        (session.get_funding_rate_history(**linear, limit=9), "funding/history?limit=9"),
    ):  # fmt: skip
        assert reply["retMsg"] == "OK" and reply["time"] == QUARTER + 3000
        assert reply["result"] == told(served, f"{path}&{query}")
    assert len(session.get_tickers(category="spot")["result"]["list"]) == 2


def test_it_raises_on_what_bybit_refuses(session):
    with pytest.raises(InvalidRequestError, match="endTime is invalid") as refused:
        session.get_funding_rate_history(category="linear", symbol="BTCUSDT", startTime=QUARTER)
    assert refused.value.status_code == 10001
    with pytest.raises(InvalidRequestError, match="Not supported symbols"):
        session.get_kline(category="spot", symbol="XRPUSDT", interval=1)


@pytest.mark.parametrize(
    "kind, error, code",
    [
        ("5xx", FailedRequestError, 503),
        ("403", FailedRequestError, 403),
        ("429", FailedRequestError, 429),
        ("10016", InvalidRequestError, 10016),
        ("rubbish", FailedRequestError, 409),  # pybit's own code for what is not JSON
    ],
)
def test_it_raises_its_own_errors(session, faults, kind, error, code):
    faults.add(kind, uses=1)
    with pytest.raises(error) as raised:
        session.get_server_time()
    assert raised.value.status_code == code
    assert session.get_server_time()["retCode"] == 0


def test_a_cut_reply_is_an_error_of_the_library_below_it(session, faults):
    faults.add("cut", uses=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get_server_time()


def test_it_waits_until_the_time_in_the_header_and_asks_again(session, faults, monkeypatch):
    waits = []
    monkeypatch.setattr(_http_manager.time, "sleep", waits.append)
    faults.add("10006", uses=2)
    assert session.get_server_time()["retCode"] == 0
    # it holds the header against this machine's clock, though the exchange's stands in 2025
    assert len(waits) == 2 and all(0 < wait <= 1 for wait in waits)
