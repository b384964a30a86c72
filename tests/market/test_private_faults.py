"""Each way in which an exchange can be bad to an order: what was carried out, what is said, what is shown."""

import http.client
import json
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, ask, at, flat
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation import private_faults
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

LOST = http.client.HTTPException, OSError
ORDER = ("Buy", "0.1", "100.1")
TIMEOUT, ERROR = (10000, "Server Timeout"), (10016, "Server error.")


@contextmanager
def opened(**options):
    accounts = Accounts()
    accounts.open(KEY, SECRET, balances={"USDT": "1000"})
    clock = SimulatorClock(at(0, 3))
    with running(Table(flat(0, 1000)), clock, accounts=accounts, **options) as simulator:
        client = Signed(simulator)
        client.account = accounts.account()
        yield client
        client.close()


@pytest.fixture
def client():
    with opened() as one:
        yield one


@pytest.fixture
def fault(client):
    return client.simulator.faults.add


def told(reply) -> tuple[int, str]:
    assert reply["result"] == {}
    return reply["retCode"], reply["retMsg"]


def listed(client, path: str, **asked) -> list:
    return client.ask(path, category="spot", **asked)["list"]


# --- what is answered, and whether it was carried out ---


def got(client, order=ORDER) -> object:
    """What a client gets for an order: code and words, an HTTP status, or `lost`."""
    body = {"category": "spot", "symbol": "BTCUSDT", "orderType": "Limit", "timeInForce": "IOC"}
    side, qty, price = order
    try:
        status, reply, _ = client.send(
            "POST",
            "/v5/order/create",
            json.dumps(body | {"side": side, "qty": qty, "price": price, "orderLinkId": "x"}),
        )
    except LOST:
        return "lost"
    return status if status != 200 else (reply["retCode"], reply["retMsg"])


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize(
    "answer, expected",
    [("cut", "lost"), ("closed", "lost"), ("504", 504), ("10000", TIMEOUT), ("10016", ERROR)],
)
def test_an_acknowledgement_is_lost_of_an_order_that_was_carried_out_or_was_not(
    client, fault, answer, expected, carried_out
):
    fault("ack_lost", answer=answer, carried_out=carried_out, uses=1)
    assert got(client) == expected
    found = listed(client, "order/realtime", orderLinkId="x")
    assert [one["orderStatus"] for one in found] == (["Filled"] if carried_out else [])
    # 1000 - 0.1 x 100.1
    assert client.wallet()["USDT"] == (Decimal("989.99") if carried_out else 1000)
    assert got(client) == ((170141, "Duplicate clientOrderId.") if carried_out else (0, "OK"))


def test_the_acknowledgement_of_a_cancellation_is_lost_too(client, fault):
    order = client.placed("Buy", "0.1", "99.9", timeInForce="GTC")
    fault("ack_lost", answer="10016", endpoint="/v5/order/cancel", uses=1)
    reply = client.post("order/cancel", category="spot", orderId=order["orderId"])
    assert told(reply) == ERROR
    assert client.order(order["orderId"])["orderStatus"] == "Cancelled"


@pytest.mark.parametrize(
    "kind, options, expected",
    [
        ("10000", {}, TIMEOUT),
        ("10016", {}, ERROR),
        ("10006", {}, (10006, "Too many visits. Exceeded the API Rate Limit.")),
        ("cut", {}, "lost"),
        ("5xx", {"status": 502}, 502),
        ("403", {}, 403),
        ("429", {}, 429),
        ("rubbish", {}, "lost"),
        ("maintenance", {}, 503),
    ],
)
def test_what_answers_in_place_of_the_exchange_carries_nothing_out(
    client, fault, kind, options, expected
):
    fault(kind, endpoint="/v5/order/create", uses=1, **options)
    if kind == "rubbish":
        assert client.place(*ORDER).startswith(b"<!DOCTYPE html>")
    else:
        assert got(client) == expected
    assert client.account.orders == {} and client.wallet() == {"USDT": 1000}
    assert got(client) == (0, "OK")


def test_a_reply_that_is_held_back_is_of_an_order_that_was_carried_out(client, fault):
    fault("delay", seconds=5, endpoint="/v5/order/create", uses=1)
    client._connection.timeout = 0.2
    assert got(client) == "lost"
    client._connection.timeout = 30
    assert [order.status for order in client.account.orders.values()] == ["Filled"]


def test_a_question_whose_answer_breaks_off_was_answered(client, fault):
    fault("cut", endpoint="/v5/order/realtime", uses=1)
    with pytest.raises(http.client.IncompleteRead) as half:
        listed(client, "order/realtime")
    assert half.value.partial.startswith(b'{"retCode":0')


def test_maintenance_is_of_everything_that_needs_a_key(client, fault):
    number = fault("maintenance")
    status, page, _ = client.send("GET", "/v5/account/info", "")
    assert status == 503 and b"System maintenance" in page
    assert ask(f"{client.simulator.url}/v5/market/time")[0] == 200
    client.simulator.faults.clear(number)
    fault("maintenance", endpoint="/v5/market/time")
    assert ask(f"{client.simulator.url}/v5/market/time")[0] == 503


def test_an_order_that_was_carried_out_is_called_a_duplicate(client, fault):
    fault("duplicate_answer", uses=2)
    assert got(client) == (170141, "Duplicate clientOrderId.")
    assert listed(client, "order/realtime", orderLinkId="x")[0]["orderStatus"] == "Filled"
    # of an order that is refused the truth is told
    assert told(client.place("Buy", "0.01", "100.1"))[0] == 170140


def test_some_of_an_order_is_filled_and_the_rest_is_cancelled(client, fault):
    fault("partial", fraction=0.3, uses=2)
    order = client.placed("Buy", "0.100001", "100.1")
    # 0.3 x 0.100001 = 0.0300003, in whole lots 0.03
    assert (order["orderStatus"], order["cumExecQty"]) == ("PartiallyFilledCanceled", "0.03")
    resting = client.placed("Buy", "0.1", "100.1", timeInForce="GTC")
    assert (resting["orderStatus"], resting["cumExecQty"]) == ("PartiallyFilledCanceled", "0.03")
    assert client.placed(*ORDER)["orderStatus"] == "Filled"
    fault("partial", fraction=0, uses=1)
    assert client.placed(*ORDER)["orderStatus"] == "Cancelled"


def test_an_order_is_accepted_and_then_rejected(client, fault):
    fault("rejected", uses=1)
    order = client.placed(*ORDER, orderLinkId="x")
    assert (order["orderStatus"], order["rejectReason"]) == ("Rejected", "EC_Others")
    assert (order["cumExecQty"], order["leavesQty"]) == ("0", "0")
    assert client.wallet() == {"USDT": 1000} and listed(client, "execution/list") == []
    assert got(client) == (170141, "Duplicate clientOrderId.")  # its id is used all the same


# --- what is shown ---


def test_an_order_is_not_found_at_first_and_there_later(client, fault):
    fault("not_found_at_first", seconds=2)
    assert client.place(*ORDER, orderLinkId="x")["retCode"] == 0
    paths = ("order/realtime", "order/history", "execution/list")
    for passed_s, shown in ((0, 0), (1.999, 0), (0.001, 1)):
        client.simulator.clock.step(passed_s)
        for path in paths:
            assert len(listed(client, path, orderLinkId="x")) == shown, (path, passed_s)
    # it was carried out all the while
    assert client.wallet()["USDT"] == Decimal("989.99")


def test_an_order_is_not_found_by_the_first_questions(client, fault):
    fault("not_found_at_first", count=2)
    client.place(*ORDER, orderLinkId="x")
    assert listed(client, "order/realtime", orderLinkId="other") == []  # a question about another
    seen = [
        len(listed(client, p, orderLinkId="x")) for p in ("order/realtime", "order/history") * 2
    ]
    assert seen == [0, 0, 1, 1]
    client.place(*ORDER, orderLinkId="y")
    assert [len(listed(client, "execution/list", orderLinkId="y")) for _ in range(3)] == [0, 0, 1]


@pytest.mark.parametrize("options, wait_s", [({"seconds": 3}, 3), ({"count": 1}, 0)])
def test_an_order_is_filled_and_its_executions_come_later(client, fault, options, wait_s):
    fault("executions_late", **options)
    order = client.placed(*ORDER)
    assert order["orderStatus"] == "Filled" and order["cumExecQty"] == "0.1"
    assert listed(client, "execution/list", orderId=order["orderId"]) == []
    client.simulator.clock.step(wait_s)
    assert len(listed(client, "execution/list", orderId=order["orderId"])) == 1


def test_executions_are_listed_twice(client, fault):
    for _ in range(2):
        client.placed(*ORDER)
    once = listed(client, "execution/list")
    fault("executions_twice", uses=1)
    twice = listed(client, "execution/list")
    assert twice == [once[0], once[0], once[1], once[1]]
    assert listed(client, "execution/list") == once


def test_executions_are_listed_out_of_order(client, fault):
    for _ in range(4):
        client.placed(*ORDER)
        client.simulator.clock.step(1)
    newest, second, third, oldest = listed(client, "execution/list")
    fault("executions_unordered", uses=1)
    assert listed(client, "execution/list") == [second, oldest, newest, third]
    assert listed(client, "execution/list") == [newest, second, third, oldest]


# --- how faults are chosen ---


def test_faults_of_orders_keep_to_symbol_uses_and_time(client, fault):
    fault("partial", symbol="ETHUSDT")
    fault("rejected", since=at(1))
    fault("duplicate_answer", until=at(0, 2) + 2000, uses=1)
    assert told(client.place(*ORDER))[0] == 170141
    assert client.placed(*ORDER)["orderStatus"] == "Filled"
    client.simulator.clock.set(at(1))
    assert client.placed(*ORDER)["orderStatus"] == "Rejected"


@pytest.mark.parametrize(
    "kind, options, words",
    [
        ("ack_lost", {"answer": "silence"}, "answer 'silence': expected one of cut, closed, 504"),
        ("ack_lost", {"carried_out": 1}, "carried_out 1: expected true or false"),
        ("ack_lost", {"endpoint": "/v5/order/realtime"}, "endpoint '/v5/order/realtime', expected"),
        ("partial", {"fraction": 1.5}, "fraction 1.5: expected a number from 0 to 1"),
        ("not_found_at_first", {"seconds": 1, "count": 1}, "expected seconds or count, not both"),
        ("executions_late", {"minute": 0}, "unknown minute"),
        ("jump", {"endpoint": "/v5/order/create"}, "expected one of /v5/market/kline"),
    ],
)
def test_a_fault_that_could_do_nothing_is_refused(fault, kind, options, words):
    with pytest.raises(DomainError, match=words):
        fault(kind, **options)


def test_every_fault_of_orders_has_a_test():
    tested = set(private_faults.FAULTS)
    text = Path(__file__).read_text("utf-8")
    assert {kind for kind in tested if f'"{kind}"' not in text} == set()


# --- limits ---


def test_a_key_may_place_twenty_orders_a_second(monkeypatch):
    from tgtqr_lib.market.simulation import rate_limit

    shown = [5_000_000_000]
    monkeypatch.setattr(rate_limit.time, "monotonic_ns", lambda: shown[0])
    with opened(rate_limit=True) as client:
        for _ in range(20):
            assert client.place(*ORDER)["retCode"] in (0, 170131)
        status, reply, headers = client.send("POST", "/v5/order/create", "{}")
        assert (status, told(reply)[0]) == (200, 10006)
        assert (headers["X-Bapi-Limit"], headers["X-Bapi-Limit-Status"]) == ("20", "0")
        assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) > at(0, 3)
        assert client.get("account/info")["retCode"] == 0  # each endpoint has its own
        shown[0] += 1_000_000_000
        _, _, headers = client.send("POST", "/v5/order/create", "{}")
        assert headers["X-Bapi-Limit-Status"] == "19"
