import http.client
import json
from decimal import Decimal
from threading import Thread

import pytest

from tests.market.tables import MINUTE, Table, ask, at, flat, kline
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.faults import FAULTS
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

KLINE = "/v5/market/kline"
TICKERS = "/v5/market/tickers"
BOOK = "/v5/market/orderbook"
SPOT = "?category=spot&symbol=BTCUSDT"


@pytest.fixture
def simulator():
    """Five minutes of prices 100.0, 101.0 ... 104.0, standing 3 s into the last of them."""
    table = Table(*(flat(minute, 1000 + 10 * minute) for minute in range(5)))
    with running(table, SimulatorClock(at(4, 3))) as simulator:
        yield simulator


def closes(simulator) -> dict[int, str]:
    """Close by minute after noon."""
    return {(int(row[0]) - at(0)) // MINUTE: row[4] for row in kline(simulator.url)}


WELL = {4: "104", 3: "103", 2: "102", 1: "101", 0: "100"}


def test_without_a_fault_all_is_well(simulator):
    assert closes(simulator) == WELL
    assert simulator.faults.active() == []


def test_the_last_closed_minute_goes_missing_for_so_many_requests(simulator):
    simulator.faults.add("missing_minute", uses=2)
    without = {4: "104", 2: "102", 1: "101", 0: "100"}
    assert [closes(simulator) for _ in range(3)] == [without, without, WELL]


def test_an_arbitrary_minute_is_missing_until_cleared(simulator):
    number = simulator.faults.add("missing_minute", minute="2025-06-01T12:01Z")
    simulator.clock.step(60)
    assert sorted(closes(simulator)) == [0, 2, 3, 4]
    simulator.faults.clear(number)
    assert sorted(closes(simulator)) == [0, 1, 2, 3, 4]


def test_a_missing_minute_follows_the_clock(simulator):
    simulator.faults.add("missing_minute")
    assert 3 not in closes(simulator)
    simulator.clock.step(60)
    assert 3 in closes(simulator) and 4 not in closes(simulator)


def test_uses_are_spent_only_by_requests_that_would_have_shown_the_minute(simulator):
    simulator.faults.add("missing_minute", uses=1)
    assert len(kline(simulator.url, limit=1)) == 1  # only the running minute
    assert len(kline(simulator.url, interval=5)) == 1  # not in minutes
    assert 3 not in closes(simulator)
    assert closes(simulator) == WELL


@pytest.mark.parametrize("kind, written", [("nan", "NaN"), ("zero", "0")])
def test_a_spoiled_close(simulator, kind, written):
    simulator.faults.add(kind, uses=1)
    assert closes(simulator) == {**WELL, 3: written}
    simulator.faults.add(kind, uses=1, minute=at(1))
    assert closes(simulator) == {**WELL, 1: written}
    assert closes(simulator) == WELL


def test_a_price_of_zero_in_ticker_and_book(simulator):
    simulator.faults.add("zero", endpoint=TICKERS)
    simulator.faults.add("nan", endpoint=BOOK)
    ticker = ask(simulator.url + TICKERS + SPOT)[1]["result"]["list"][0]
    assert (ticker["lastPrice"], ticker["bid1Price"], ticker["ask1Price"]) == ("0", "0", "0")
    book = ask(simulator.url + BOOK + SPOT)[1]["result"]
    assert (book["b"][0][0], book["a"][0][0]) == ("NaN", "NaN")
    assert closes(simulator) == WELL


def shown(simulator) -> tuple[str, str, int, int]:
    """Newest close, last price, the book's time and the exchange's."""
    newest = kline(simulator.url)[0][4]
    ticker = ask(simulator.url + TICKERS + SPOT)[1]["result"]["list"][0]
    book = ask(simulator.url + BOOK + SPOT)[1]
    return newest, ticker["lastPrice"], book["result"]["ts"], book["time"]


def test_a_stale_exchange_freezes_its_data_while_its_clock_goes_on(simulator):
    simulator.clock.set(at(2, 30))
    simulator.faults.add("stale")
    simulator.clock.set(at(4, 5))
    assert shown(simulator) == ("102", "102", at(2, 30), at(4, 5))
    time = ask(f"{simulator.url}/v5/market/time")[1]["result"]["timeSecond"]
    assert int(time) * 1000 == at(4, 5)
    simulator.faults.clear()
    assert shown(simulator) == ("104", "104", at(4, 5), at(4, 5))


def test_stale_data_may_be_of_a_moment_or_of_an_age(simulator):
    simulator.faults.add("stale", at="2025-06-01T12:01:00Z")
    assert shown(simulator) == ("101", "101", at(1), at(4, 3))
    simulator.faults.clear()
    simulator.faults.add("stale", age_s=90.5)
    assert shown(simulator) == ("102", "102", at(4, 3 - 90.5), at(4, 3))


def test_server_errors(simulator):
    simulator.faults.add("5xx", status=502, endpoint=KLINE, uses=1)
    simulator.faults.add("5xx", endpoint=TICKERS)
    assert ask(simulator.url + KLINE + SPOT + "&interval=1")[0] == 502
    assert ask(simulator.url + KLINE + SPOT + "&interval=1")[0] == 200
    assert ask(simulator.url + TICKERS + SPOT)[0] == 503
    assert ask(simulator.url + "/v5/market/time")[0] == 200


def raw(simulator, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET as they came over the wire."""
    connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=30)
    connection.request("GET", path)
    reply = connection.getresponse()
    try:
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


def test_a_refusal_of_the_content_network_is_a_page_and_no_json(simulator):
    simulator.faults.add("403")
    status, headers, body = raw(simulator, "/v5/market/time")
    assert (status, headers["Content-Type"]) == (403, "text/html")
    assert b"<H1>403 ERROR</H1>" in body and b"CloudFront" in body
    assert "X-Bapi-Limit" not in headers  # it never got as far as Bybit


def test_protection_of_the_system(simulator):
    simulator.faults.add("429", uses=1)
    assert raw(simulator, "/v5/market/time")[0] == 429
    assert raw(simulator, "/v5/market/time")[0] == 200


@pytest.mark.parametrize(
    "kind, message",
    [("10006", "Too many visits. Exceeded the API Rate Limit."), ("10016", "Server error.")],
)
def test_bybits_own_error_codes(simulator, kind, message):
    simulator.faults.add(kind)
    status, headers, body = raw(simulator, KLINE + SPOT + "&interval=1")
    reply = json.loads(body)
    assert (status, reply["retCode"], reply["retMsg"]) == (200, int(kind), message)
    assert (reply["result"], reply["time"]) == ({}, at(4, 3))
    assert (headers["X-Bapi-Limit-Status"] == "0") is (kind == "10006")


def test_a_cut_reply_announces_more_than_it_sends(simulator):
    simulator.faults.add("cut", uses=1)
    with pytest.raises(http.client.IncompleteRead) as broken:
        raw(simulator, KLINE + SPOT + "&interval=1")
    got, missing = len(broken.value.partial), broken.value.expected
    assert got > 0 and missing > 0 and abs(got - missing) <= 1  # half of it
    assert closes(simulator) == WELL


def test_rubbish_comes_with_status_200(simulator):
    simulator.faults.add("rubbish", uses=1)
    status, headers, body = raw(simulator, "/v5/market/time")
    assert (status, headers["Content-Type"]) == (200, "text/html")
    assert body.startswith(b"<!DOCTYPE html>")
    simulator.faults.add("rubbish", body="binary", uses=1)
    status, headers, body = raw(simulator, "/v5/market/time")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(ValueError):
        json.loads(body)


@pytest.mark.parametrize("kind, seconds", [("clock_ahead", 12.5), ("clock_behind", -12.5)])
def test_a_clock_that_is_wrong_shows_in_every_reply_and_leaves_the_data_alone(
    simulator, kind, seconds
):
    simulator.faults.add(kind, seconds=12.5)
    reply = ask(f"{simulator.url}/v5/market/time")[1]
    assert reply["time"] == at(4, 3 + seconds)
    assert int(reply["result"]["timeNano"]) == at(4, 3 + seconds) * 1_000_000
    book = ask(simulator.url + BOOK + SPOT)[1]
    assert (book["time"], book["result"]["ts"]) == (at(4, 3 + seconds), at(4, 3))
    assert closes(simulator) == WELL
    assert simulator.clock.now_ms() == at(4, 3)


@pytest.fixture
def both():
    """The synthetic market of both symbols, 33 s into a minute."""
    with running(SyntheticSource(7), SimulatorClock("2025-06-01T10:15:33Z")) as simulator:
        yield simulator


@pytest.mark.parametrize("path", ["kline", "tickers", "orderbook", "recent-trade"])
def test_the_wrong_symbol_is_the_other_ones_reply(both, path):
    def get(symbol):
        query = f"?category=spot&symbol={symbol}&interval=1"
        return ask(f"{both.url}/v5/market/{path}{query}")[1]["result"]

    ether = get("ETHUSDT")
    both.faults.add("wrong_symbol", symbol="BTCUSDT")
    assert get("BTCUSDT") == ether == get("ETHUSDT")
    both.faults.clear()
    assert get("BTCUSDT") != ether


def test_several_minutes_go_missing(simulator):
    simulator.faults.add("missing_minute", count=2, uses=1)
    assert sorted(closes(simulator)) == [0, 1, 4]
    simulator.faults.add("missing_minute", minute=at(2), count=3, uses=1)
    assert sorted(closes(simulator)) == [3, 4]
    assert closes(simulator) == WELL


def test_a_jump_is_a_quarter_and_its_candle_does_not_contradict_itself(simulator):
    simulator.faults.add("jump", uses=1)
    row = next(row for row in kline(simulator.url) if int(row[0]) == at(3))
    # 103 x 1.25 = 128.75, rounded half to even to the step of 0.1
    assert row[1:5] == ["103", "128.8", "103", "128.8"]
    simulator.faults.add("jump", percent=-50, minute=at(1), uses=1)
    row = next(row for row in kline(simulator.url) if int(row[0]) == at(1))
    assert row[1:5] == ["101", "101", "50.5", "50.5"]
    assert closes(simulator) == WELL


def test_a_jump_of_the_quotes_moves_the_whole_book(simulator):
    before = ask(simulator.url + BOOK + SPOT + "&limit=5")[1]["result"]
    simulator.faults.add("jump", endpoint=BOOK)
    simulator.faults.add("jump", endpoint=TICKERS)
    after = ask(simulator.url + BOOK + SPOT + "&limit=5")[1]["result"]
    for side in ("a", "b"):
        for (price, size), (there, same) in zip(before[side], after[side], strict=True):
            assert abs(Decimal(price) * Decimal("1.25") - Decimal(there)) <= Decimal("0.05")
            assert size == same
    ticker = ask(simulator.url + TICKERS + SPOT)[1]["result"]["list"][0]
    assert ticker["lastPrice"] == "130"  # 104 x 1.25


def test_a_book_loses_a_side_its_depth_or_its_order(simulator):
    def book():
        return ask(simulator.url + BOOK + SPOT + "&limit=5")[1]["result"]

    well = book()
    simulator.faults.add("one_sided", uses=1)
    assert book() == well | {"a": []}
    simulator.faults.add("thin", count=2, uses=1)
    assert book() == well | {side: well[side][:2] for side in ("a", "b")}
    simulator.faults.add("crossed", uses=1)
    assert book()["b"][0] == [well["a"][0][0], well["b"][0][1]]
    assert book() == well


def test_a_settlement_goes_missing(both):
    link = f"{both.url}/v5/market/funding/history?category=linear&symbol=BTCUSDT&limit=3"

    def settled():
        return [row["fundingRateTimestamp"] for row in ask(link)[1]["result"]["list"]]

    newest, middle, oldest = settled()
    both.faults.add("missing_settlement", uses=1)
    assert settled() == [middle, oldest]
    both.faults.add("missing_settlement", minute=int(middle), uses=1)
    assert settled() == [newest, oldest]


def test_rows_come_twice_or_out_of_order(simulator):
    def minutes():
        return [(int(row[0]) - at(0)) // MINUTE for row in kline(simulator.url)]

    simulator.faults.add("duplicate", uses=1)
    assert minutes() == [4, 3, 3, 2, 1, 0]
    simulator.faults.add("unsorted", uses=1)
    assert minutes() == [4, 2, 3, 1, 0]
    simulator.faults.add("unsorted", minute=at(0), uses=1)
    assert minutes() == [4, 3, 2, 1, 0]  # nothing before it to change places with
    simulator.faults.clear()
    simulator.faults.add("duplicate", minute=at(0))
    assert minutes() == [4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("path", ["recent-trade", "funding/history"])
def test_trades_and_funding_come_twice_or_out_of_order_too(both, path):
    def get():
        query = "?category=linear&symbol=BTCUSDT&limit=5"
        return ask(f"{both.url}/v5/market/{path}{query}")[1]["result"]["list"]

    well = get()
    both.faults.add("duplicate", endpoint=f"/v5/market/{path}", uses=1)
    assert get() == [well[0], *well]
    both.faults.add("unsorted", endpoint=f"/v5/market/{path}", uses=1)
    assert get() == [well[1], well[0], *well[2:]]


def test_candles_of_the_mark_price_can_be_spoilt_by_name(both):
    path = "/v5/market/mark-price-kline"
    query = "?category=linear&symbol=BTCUSDT&interval=1&limit=3"
    both.faults.add("nan", endpoint=path)
    rows = ask(both.url + path + query)[1]["result"]["list"]
    assert [row[4] == "NaN" for row in rows] == [False, True, False]
    assert "NaN" not in str(ask(both.url + KLINE + query)[1])


def test_a_fault_of_one_category_leaves_the_other_alone(both):
    both.faults.add("5xx", category="linear")
    assert ask(f"{both.url}{TICKERS}?category=spot")[0] == 200
    assert ask(f"{both.url}{TICKERS}?category=linear")[0] == 503
    assert ask(f"{both.url}{KLINE}?symbol=BTCUSDT&interval=1")[0] == 503  # the default


def test_a_fault_of_one_symbol_leaves_the_other_alone(simulator):
    simulator.faults.add("5xx", symbol="ETHUSDT")
    assert ask(simulator.url + TICKERS + SPOT)[0] == 200
    assert ask(simulator.url + TICKERS + SPOT.replace("BTC", "ETH"))[0] == 503
    assert ask(simulator.url + "/v5/market/time")[0] == 200


def test_a_delayed_reply_outlasts_a_client_with_less_patience(simulator):
    simulator.faults.add("delay", seconds=30, uses=1)
    impatient = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=0.2)
    impatient.request("GET", "/v5/market/time")
    with pytest.raises(TimeoutError):
        impatient.getresponse()
    assert ask(f"{simulator.url}/v5/market/time")[0] == 200
    impatient.close()


def test_stopping_does_not_wait_for_delayed_replies():
    answers = []
    with running(Table(flat(0, 1000)), SimulatorClock(at(0))) as simulator:
        simulator.faults.add("delay", seconds=3600)

        def wait():
            try:
                answers.append(ask(f"{simulator.url}/v5/market/time")[0])
            except OSError:
                answers.append(None)  # cut off, which is as good

        client = Thread(target=wait)
        client.start()
        while not ask(f"{simulator.url}/simulator/state")[1]["requests"]:
            pass
    client.join(timeout=30)
    assert len(answers) == 1


@pytest.mark.parametrize(
    "fault, sentence",
    [
        (
            {"kind": "flood"},
            "'flood': unknown, expected one of delay, 5xx, 403, 429, 10006, 10016, cut",
        ),
        ({"kind": None}, "unknown"),
        (
            {"kind": "delay", "second": 1},
            "unknown second, expected endpoint, symbol, category, uses, since, until, seconds",
        ),
        ({"kind": "delay", "self": 1}, "unknown self"),
        ({"kind": "delay", "seconds": "1"}, "seconds '1': expected a number"),
        ({"kind": "delay", "seconds": -1}, "seconds -1"),
        ({"kind": "5xx", "status": 404}, "status 404: expected a whole number from 500 to 599"),
        ({"kind": "5xx", "status": 500.5}, "whole"),
        (
            {"kind": "nan", "endpoint": "/v5/market/time"},
            "endpoint '/v5/market/time', expected one",
        ),
        ({"kind": "nan", "symbol": "XRPUSDT"}, "symbol 'XRPUSDT', expected one of BTCUSDT"),
        ({"kind": "nan", "uses": 0}, "uses 0"),
        ({"kind": "nan", "uses": 1.5}, "whole number"),
        ({"kind": "nan", "minute": "noon"}, "noon"),
        ({"kind": "stale", "at": at(0), "age_s": 3}, "at or age_s, not both"),
        (
            {"kind": "nan", "category": "inverse"},
            "category 'inverse', expected one of spot, linear",
        ),
        ({"kind": "rubbish", "body": "poem"}, "body 'poem': expected one of html, binary"),
        ({"kind": "missing_minute", "count": 0}, "count 0: expected a whole number from 1"),
        ({"kind": "jump", "percent": -100}, "percent -100: expected a number from -99"),
        ({"kind": "clock_ahead", "seconds": -1}, "seconds -1: expected a number from 0"),
        ({"kind": "403", "since": "soon"}, "soon"),
        ({"kind": "403", "until": at(4)}, "is not after its beginning"),  # the clock stands at 4:03
        ({"kind": "403", "since": at(9), "until": at(9)}, "is not after its beginning"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_in_a_sentence(simulator, fault, sentence):
    with pytest.raises(DomainError, match=sentence):
        simulator.faults.add(fault["kind"], **{k: v for k, v in fault.items() if k != "kind"})
    status, reply = ask(f"{simulator.url}/simulator/faults", {"add": fault})
    assert status == 400 and reply["error"]
    assert simulator.faults.active() == []


def test_every_kind_can_be_switched_on_with_what_it_has_and_is_listed(simulator):
    for kind in FAULTS:
        simulator.faults.add(kind)
    assert [fault["kind"] for fault in simulator.faults.active()] == list(FAULTS)
    simulator.faults.clear()
    assert closes(simulator) == WELL


def test_uses_are_counted_once_each_under_many_clients(simulator):
    simulator.faults.add("5xx", uses=10, endpoint="/v5/market/time")
    statuses = []

    def hammer():
        for _ in range(10):
            statuses.append(ask(f"{simulator.url}/v5/market/time")[0])

    clients = [Thread(target=hammer) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert (statuses.count(503), statuses.count(200)) == (10, 30)
