import http.client
import json
import socket

import pytest

from tests.market.tables import MINUTE, Table, ask, at, flat, kline
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

TICKER = "/v5/market/tickers?category=spot&symbol=BTCUSDT"
BOOK = "/v5/market/orderbook?category=spot&symbol=BTCUSDT&limit=1"
QUARTER = to_ms(parse_time("2025-06-01T10:15:00Z"))


@pytest.fixture(scope="module")
def served():
    """The synthetic market of seed 7, standing 3 s after a quarter hour."""
    with running(SyntheticSource(7), SimulatorClock(QUARTER + 3000)) as simulator:
        yield simulator


# --- the protocol ---------------------------------------------------------------------------------


def test_time_is_the_clocks_and_nothing_elses(served):
    reply = ask(f"{served.url}/v5/market/time")[1]
    assert reply["time"] == QUARTER + 3000
    assert reply["result"]["timeSecond"] == str((QUARTER + 3000) // 1000)
    assert reply["result"]["timeNano"] == f"{QUARTER + 3000}000000"


def test_instruments_have_bybits_steps_and_least_amounts(served):
    listed = ask(f"{served.url}/v5/market/instruments-info?category=spot")[1]["result"]["list"]
    found = {
        i["symbol"]: (
            i["priceFilter"]["tickSize"],
            i["lotSizeFilter"]["basePrecision"],
            i["lotSizeFilter"]["minOrderAmt"],
        )
        for i in listed
    }
    assert found == {"BTCUSDT": ("0.1", "0.000001", "5"), "ETHUSDT": ("0.01", "0.00001", "5")}
    one = ask(f"{served.url}/v5/market/instruments-info?category=spot&symbol=ETHUSDT")[1]
    assert [i["symbol"] for i in one["result"]["list"]] == ["ETHUSDT"]


def test_a_finer_source_makes_the_price_step_finer():
    with running(Table(flat(0, 1_043_217_01), decimals=3), SimulatorClock(at(0, 3))) as simulator:
        listed = ask(f"{simulator.url}/v5/market/instruments-info?category=spot")[1]["result"][
            "list"
        ]
        assert [i["priceFilter"]["tickSize"] for i in listed] == ["0.001"]
        assert kline(simulator.url)[0][4] == "104321.701"


@pytest.mark.parametrize(
    "query, message",
    [
        ("kline?category=inverse&symbol=BTCUSDT&interval=1", "params error: Category is invalid"),
        ("mark-price-kline?category=spot&symbol=BTCUSDT", "params error: Category is invalid"),
        ("index-price-kline?category=spot&symbol=BTCUSDT", "params error: Category is invalid"),
        (
            "tickers?symbol=BTCUSDT",
            "params error: Category is invalid",
        ),  # no default but for candles
        ("funding/history?category=spot&symbol=BTCUSDT", "Illegal category"),
        ("funding/history?category=linear&symbol=BTCUSD", "params error: symbol invalid"),
        (
            "funding/history?category=linear&symbol=BTCUSDT&limit=201",
            "params error: limit is invalid",
        ),
        (
            "funding/history?category=linear&symbol=BTCUSDT&startTime=1700000000000",
            "params error: endTime is invalid",
        ),
        (
            "funding/history?category=linear&symbol=BTCUSDT&startTime=2&endTime=1",
            "params error: startTime is later than endTime",
        ),
        ("recent-trade?category=spot&symbol=BTCUSDT&limit=61", "params error: limit is invalid"),
        (
            "recent-trade?category=linear&symbol=BTCUSDT&limit=1001",
            "params error: limit is invalid",
        ),
        ("orderbook?category=linear&symbol=BTCUSDT&limit=501", "params error: limit is invalid"),
        ("tickers?category=option", "params error: Category is invalid"),
        ("orderbook?category=spot&symbol=XRPUSDT", "Not supported symbols"),
        ("orderbook?category=spot", "Not supported symbols"),
        ("tickers?category=spot&symbol=btcusdt", "Not supported symbols"),
        ("instruments-info?category=linear&symbol=BTCUSD", "params error: symbol invalid"),
        ("tickers?category=linear&symbol=XRPUSDT", "params error: symbol invalid"),
        ("kline?category=spot&symbol=BTCUSDT", "params error: intervalTime is invalid"),
        ("kline?category=spot&symbol=BTCUSDT&interval=1m", "params error: intervalTime is invalid"),
        ("kline?category=spot&symbol=BTCUSDT&interval=1&limit=0", "params error: limit is invalid"),
        (
            "kline?category=spot&symbol=BTCUSDT&interval=1&limit=1001",
            "params error: limit is invalid",
        ),
        (
            "kline?category=spot&symbol=BTCUSDT&interval=1&limit=ten",
            "params error: limit is invalid",
        ),
        (
            "kline?category=spot&symbol=BTCUSDT&interval=1&start=-5",
            "params error: start is invalid",
        ),
        (
            "kline?category=spot&symbol=BTCUSDT&interval=1&end=%C2%B2",
            "params error: end is invalid",
        ),
        (
            "kline?category=spot&symbol=BTCUSDT&interval=1&start=120000&end=60000",
            "params error: start is later than end",
        ),
        ("orderbook?category=spot&symbol=BTCUSDT&limit=201", "params error: limit is invalid"),
    ],
)
def test_what_bybit_would_not_serve_is_answered_as_bybit_does(served, query, message):
    status, reply = ask(f"{served.url}/v5/market/{query}")
    assert status == 200
    assert reply == {
        "retCode": 10001,
        "retMsg": message,
        "result": {},
        "retExtInfo": {},
        "time": QUARTER + 3000,
    }


def test_spot_has_an_empty_list_for_a_symbol_it_does_not_know(served):
    status, reply = ask(f"{served.url}/v5/market/instruments-info?category=spot&symbol=XRPUSDT")
    assert (status, reply["retCode"], reply["result"]["list"]) == (200, 0, [])


@pytest.mark.parametrize("path", ["/v5/order/amend", "/v5/market/insurance", "/", "/v5"])
def test_there_is_nothing_else(served, path):
    assert ask(served.url + path)[0] == 404
    assert ask(served.url + path, {"symbol": "BTCUSDT"})[0] == 404


# --- candles --------------------------------------------------------------------------------------


def test_candles_are_the_sources_own_newest_first_and_the_newest_is_running(served):
    rows = kline(served.url, limit=4)
    source = SyntheticSource(7).candles("BTCUSDT", QUARTER - 3 * MINUTE, QUARTER + MINUTE)
    assert [int(row[0]) for row in rows] == source["open_ms"][::-1].tolist()
    opened = f"{source['open'][-1] / 10:.1f}".removesuffix(".0")
    assert rows[0][1:5] == [opened] * 4  # 3 s in, the price has not moved
    for row, candle in zip(rows[1:], source[-2::-1], strict=True):
        expected = [candle[name] / 10 for name in ("open", "high", "low", "close")]
        assert [float(text) for text in row[1:5]] == expected
        assert float(row[5]) == candle["volume"] / 1e6
        assert float(row[6]) == pytest.approx(float(row[5]) * sum(expected) / 4)
        assert len(row) == 7


def test_the_running_candle_the_ticker_and_the_book_agree_all_through_a_minute(served):
    with running(SyntheticSource(7), SimulatorClock(QUARTER)) as simulator:
        whole = SyntheticSource(7).candles("BTCUSDT", QUARTER, QUARTER + MINUTE)[0]
        for _ in range(60):
            _, opened, high, low, close, *_ = map(float, kline(simulator.url, limit=1)[0])
            ticker = ask(simulator.url + TICKER)[1]["result"]["list"][0]
            book = ask(simulator.url + BOOK)[1]["result"]
            assert opened == whole["open"] / 10
            assert whole["low"] / 10 <= low <= close <= high <= whole["high"] / 10
            assert float(ticker["lastPrice"]) == close
            assert [ticker["bid1Price"], ticker["bid1Size"]] == book["b"][0]
            assert [ticker["ask1Price"], ticker["ask1Size"]] == book["a"][0]
            assert float(ticker["bid1Price"]) < close < float(ticker["ask1Price"])
            simulator.clock.step(1)
        # the minute is over: now the candle is whole
        assert [float(text) for text in kline(simulator.url, limit=2)[1][1:5]] == [
            whole[name] / 10 for name in ("open", "high", "low", "close")
        ]


def test_pages_default_to_200_and_hold_1000(served):
    assert len(kline(served.url)) == 200
    assert len(kline(served.url, limit=1000)) == 1000


def minutes(rows: list[list[str]]) -> list[int]:
    return [(int(row[0]) - QUARTER) // MINUTE for row in rows]


def test_start_and_end_are_inclusive_and_start_means_the_candle_it_lies_in(served):
    first, last = QUARTER - 10 * MINUTE, QUARTER - 7 * MINUTE
    assert minutes(kline(served.url, start=first, end=last)) == [-7, -8, -9, -10]
    # as Bybit answered start=1683472808000, 8 s into a minute, end=1683472876000: two candles
    assert minutes(kline(served.url, start=first + 8000, end=last + 16_000)) == [-7, -8, -9, -10]
    assert minutes(kline(served.url, start=first, end=last - 1)) == [-8, -9, -10]


def test_a_page_begins_at_start_alone_and_else_ends_at_end(served):
    start = QUARTER - 1000 * MINUTE
    assert minutes(kline(served.url, start=start, limit=3)) == [-998, -999, -1000]
    assert minutes(kline(served.url, start=start, end=QUARTER - MINUTE, limit=2)) == [-1, -2]
    assert minutes(kline(served.url, end=start, limit=2)) == [-1000, -1001]
    assert minutes(kline(served.url, end=QUARTER + 99 * MINUTE, limit=2)) == [0, -1]  # no future
    assert kline(served.url, start=QUARTER + MINUTE) == []


def test_paging_through_the_server_both_ways_gives_the_same_rows(served):
    first = QUARTER - 2500 * MINUTE
    forward, start = [], first
    while page := kline(served.url, start=start, limit=1000):
        forward = page + forward
        start = int(page[0][0]) + MINUTE
    backward, end = [], QUARTER
    while end >= first:
        page = kline(served.url, start=first, end=end, limit=700)
        backward += page
        end = int(page[-1][0]) - MINUTE
    assert forward == backward
    assert minutes(forward) == list(range(0, -2501, -1))


@pytest.mark.parametrize(
    "interval, length",
    [(n, int(n)) for n in ("3", "5", "15", "30", "60", "120", "240", "360", "720")] + [("D", 1440)],
)
def test_longer_intervals_begin_on_their_grid_and_hold_their_minutes(served, interval, length):
    newest, whole = kline(served.url, interval=interval, limit=2)
    assert int(newest[0]) == QUARTER // (length * MINUTE) * length * MINUTE
    assert int(newest[0]) - int(whole[0]) == length * MINUTE
    rows = SyntheticSource(7).candles("BTCUSDT", int(whole[0]), int(newest[0]))
    assert len(rows) == length
    assert [float(text) for text in whole[1:6]] == [
        rows["open"][0] / 10,
        rows["high"].max() / 10,
        rows["low"].min() / 10,
        rows["close"][-1] / 10,
        rows["volume"].sum() / 1e6,
    ]
    running_minute = kline(served.url, limit=1)[0]
    assert newest[4] == running_minute[4]


def test_a_symbol_without_a_price_yet_has_no_ticker_and_no_candle():
    with running(Table(flat(5, 1000)), SimulatorClock(at(0))) as simulator:
        for path in ("tickers?category=spot", "orderbook?category=spot&symbol=BTCUSDT"):
            assert ask(f"{simulator.url}/v5/market/{path}")[1]["retMsg"] == "Not supported symbols"
        assert kline(simulator.url) == []


# --- the controls ---------------------------------------------------------------------------------


def test_clock_and_faults_are_turned_over_http():
    with running(Table(flat(0, 1000)), SimulatorClock(at(0))) as simulator:
        clock, faults = (f"{simulator.url}/simulator/{name}" for name in ("clock", "faults"))
        status, state = ask(clock, {"set": "2025-06-01T12:00:59Z"})
        assert (status, state["clock"]["now_ms"]) == (200, at(0, 59))
        assert ask(clock, {"step_s": 0.5})[1]["clock"]["now"] == "2025-06-01T12:00:59.500Z"
        assert ask(clock, {"set": at(7), "rate": 0})[1]["clock"]["now_ms"] == at(7)
        state = ask(faults, {"add": {"kind": "delay", "seconds": 0, "uses": 3}})[1]
        assert [fault["kind"] for fault in state["faults"]] == ["delay"]
        ask(f"{simulator.url}/v5/market/time")
        state = ask(f"{simulator.url}/simulator/state")[1]
        assert state["faults"][0]["uses"] == 2
        assert state["requests"] == {"/v5/market/time": 1}
        assert state["source"] == {"name": "a table", "symbols": ["BTCUSDT"]}
        assert state["clock"] == {"now": "2025-06-01T12:07:00Z", "now_ms": at(7), "rate": 0}
        assert ask(faults, {"clear": True})[1]["faults"] == []


@pytest.mark.parametrize(
    "path, body, sentence",
    [
        ("clock", {"set": "noon"}, "noon"),
        ("clock", {"sett": 1}, "unknown sett, expected set, step_s, rate"),
        ("clock", {}, "nothing to do, expected set, step_s, rate"),
        ("clock", [1], "expected a JSON object"),
        ("clock", {"rate": float("nan")}, "rate nan"),
        ("faults", {"add": "delay"}, "expected an object"),
        ("faults", {"add": {}}, "unknown"),
        ("faults", {"clear": False}, "expected true"),
    ],
)
def test_a_control_that_makes_no_sense_is_refused_in_a_sentence(served, path, body, sentence):
    status, reply = ask(f"{served.url}/simulator/{path}", body)
    assert status == 400
    assert sentence in reply["error"]
    assert served.clock.now_ms() == QUARTER + 3000


def test_a_body_that_is_not_json_is_refused(served):
    connection = http.client.HTTPConnection(served.url.removeprefix("http://"))
    connection.request("POST", "/simulator/clock", b"{")
    reply = connection.getresponse()
    assert reply.status == 400 and "not JSON" in json.load(reply)["error"]
    connection.request("POST", "/simulator/clock", headers={"Content-Length": "999999999"})
    assert connection.getresponse().status == 400
    connection.close()


# --- the server -----------------------------------------------------------------------------------


def test_a_connection_is_kept_and_a_reply_comes_in_one_piece(served):
    with socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2]))) as client:
        for _ in range(3):
            client.sendall(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n")
            reply = client.recv(65_536)
            head, body = reply.split(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert json.loads(body)["retCode"] == 0
            assert b"Date:" not in head


def test_it_listens_on_the_loopback_interface_only(served):
    assert served.url.startswith("http://127.0.0.1:")


def test_a_stopped_simulator_gives_back_its_port_and_ends_its_connections():
    clock = SimulatorClock(at(0))
    with running(Table(flat(0, 1000)), clock) as simulator:
        port = int(simulator.url.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v5/market/time")
        assert connection.getresponse().read()
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("GET", "/v5/market/time")
        connection.getresponse()
    connection.close()
    with running(Table(flat(0, 1000)), clock, port=port) as simulator:
        assert ask(f"{simulator.url}/v5/market/time")[0] == 200
