"""What each answer of the exchange means for an order: done nothing, used before, or not known.

The exchange of most of these tests is a small server that gives one answer to every order and counts them; the
real one, with wallet and executions, is met in `tests/test_orders.py`.
"""

import json
import threading
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.stage import moment
from tgtqr_lib.brokers.bybit import BybitBroker, Sent, State
from tgtqr_lib.brokers.bybit_client import (
    DEFINITE_CODES,
    DUPLICATE_CODES,
    KEY_CODES,
    ORDER_CODES,
    PASSING_CODES,
    Duplicate,
    OutcomeUnknown,
    PrivateClient,
    Refused,
)
from tgtqr_lib.credentials import Credentials, Secret
from tgtqr_lib.domain import Order, Side, VenueUnavailable
from tgtqr_lib.market.client import BUSY_CODES, TEMPORARY_CODES

KEYS = Credentials(Secret("a-key-of-this-test"), Secret("a-secret-of-this-test"))
AT = moment("10:15:03")
NOW_MS = int(AT.timestamp() * 1000)
# Bybit's words for these: timed out, server error, not known whether it was carried out
NOT_KNOWN = (
    "10000",
    "10016",
    "3400214",
    "170007",
    "170146",
    "170032",
    "170001",
    "170005",
    "999999",
)


class Answers:
    """One answer to every order, and what is told of it afterwards, by question."""

    url = ""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what another test made of it."""
        self.status, self.body = 200, b"{}"
        self.lists: dict[str, list[dict]] = {}
        self.posts: list[str] = []
        self.gets: list[str] = []
        self.now_ms = NOW_MS

    def says(self, code: str, text: str = "a text", result: dict | None = None) -> None:
        self.body = json.dumps(
            {"retCode": int(code), "retMsg": text, "result": result or {}, "time": NOW_MS}
        ).encode()


@contextmanager
def serving():
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answers.posts.append(self.path)
            self._send(answers.status, answers.body)

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            answers.gets.append(path)
            if path == "/v5/market/time":
                result = {"timeNano": str(answers.now_ms * 10**6), "timeSecond": "1"}
            elif path in answers.lists:
                result = {"list": answers.lists[path], "nextPageCursor": ""}
            else:
                self._send(answers.status, answers.body)
                return
            self._send(200, json.dumps({"retCode": 0, "retMsg": "OK", "result": result}).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def server():
    with serving() as found:
        yield found


@pytest.fixture
def answers(server):
    server.begin()
    return server


@pytest.fixture
def client(answers):
    found = PrivateClient(answers.url, KEYS, timeout_s=5, simulated=True)
    found._budget_s = 0.0
    yield found
    found.close()


def told(client):
    return client.tell("order_create", at_ms=NOW_MS, category="spot", orderLinkId="x")


# --- the lists ---


def test_no_code_is_both_definite_and_not():
    groups = [set(KEY_CODES), set(PASSING_CODES), set(ORDER_CODES), set(DUPLICATE_CODES)]
    for i, one in enumerate(groups):
        for other in groups[i + 1 :]:
            assert not one & other
    assert not DEFINITE_CODES & TEMPORARY_CODES
    assert not DEFINITE_CODES & set(NOT_KNOWN)
    assert not DUPLICATE_CODES & (TEMPORARY_CODES | set(NOT_KNOWN))
    assert set(PASSING_CODES) >= BUSY_CODES  # too many requests: refused at the door
    assert all(code.lstrip("-").isdigit() for code in DEFINITE_CODES | DUPLICATE_CODES)


# --- an order ---


@pytest.mark.parametrize("code", sorted(DEFINITE_CODES))
def test_a_definite_no_is_a_refusal_that_names_its_code(client, answers, code):
    answers.says(code, "Bybit's own words")
    with pytest.raises(Refused) as error:
        told(client)
    assert error.value.code == code
    assert str(error.value).startswith(f"Bybit refused it: {code} Bybit's own words")
    assert error.value.of_the_key is (code in KEY_CODES)
    assert error.value.passes is (code in PASSING_CODES)
    assert answers.posts == ["/v5/order/create"]


@pytest.mark.parametrize("code", sorted(DUPLICATE_CODES))
def test_an_id_that_was_used_is_not_a_refusal(client, answers, code):
    answers.says(code)
    with pytest.raises(Duplicate):
        told(client)
    assert len(answers.posts) == 1


@pytest.mark.parametrize("code", NOT_KNOWN)
def test_an_answer_that_says_neither_yes_nor_no_is_unknown_and_nothing_is_sent_again(
    client, answers, code
):
    answers.says(code)
    with pytest.raises(OutcomeUnknown, match="whether order_create was carried out is not known"):
        told(client)
    assert len(answers.posts) == 1


@pytest.mark.parametrize(
    "status, body",
    [
        (500, b"no JSON at all"),
        (502, b"<html>Bad Gateway</html>"),
        (504, b""),
        (403, b"<html>403 ERROR</html>"),
        (429, b"slow down"),
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"<html>maintenance</html>"),
        (200, b'{"retCode": 0, "retMsg": "OK"}'),
        (200, b'{"retCode": 0, "retMsg": "OK", "result": null}'),
        (200, b'{"retCode": null, "retMsg": "", "result": "x"}'),
        (401, b'{"retMsg": "no code"}'),
    ],
)
def test_whatever_is_not_bybits_own_answer_is_unknown(client, answers, status, body):
    answers.status, answers.body = status, body
    with pytest.raises(OutcomeUnknown):
        told(client)
    assert len(answers.posts) == 1


def test_nobody_there_is_unknown_too():
    # ccxt cannot tell a connection that was never made from one that broke after the order had gone
    with serving() as gone:
        url = gone.url
    client = PrivateClient(url, KEYS, timeout_s=1, simulated=True)
    with pytest.raises(OutcomeUnknown):
        told(client)
    client.close()


def test_a_yes_is_its_result(client, answers):
    answers.says("0", "OK", {"orderId": "1", "orderLinkId": "x"})
    assert told(client) == {"orderId": "1", "orderLinkId": "x"}


# --- a question ---


@pytest.mark.parametrize("code", ["10006", "10002", "10016", "10000", "3400214"])
def test_a_question_that_gets_no_answer_is_asked_again_in_its_time(answers, client, code):
    answers.says(code)
    client._budget_s = 0.6
    with pytest.raises(VenueUnavailable, match=f"no usable answer \\({code} a text\\)"):
        client.ask("account_wallet_balance", accountType="UNIFIED")
    assert (
        answers.gets.count("/v5/account/wallet-balance") == 2
    )  # after 0.25 s; 0.75 s are too many


@pytest.mark.parametrize("code", sorted(KEY_CODES))
def test_a_question_with_a_bad_key_is_not_asked_again(answers, client, code):
    answers.says(code)
    client._budget_s = 5.0
    with pytest.raises(Refused):
        client.ask("account_wallet_balance", accountType="UNIFIED")
    assert answers.gets.count("/v5/account/wallet-balance") == 1


def test_a_message_is_the_same_each_time_and_holds_no_key(answers, client):
    texts = set()
    for at in ("1732270000000", "1732270060000"):
        origin = f"{at}{KEYS.key.reveal()}5000accountType=UNIFIED"
        answers.says("10004", f"error sign! origin_string[{origin}]")
        with pytest.raises(Refused) as error:
            client.ask("account_wallet_balance", accountType="UNIFIED")
        texts.add(str(error.value))
        answers.says("10002", f"invalid request. req_timestamp[{at}],server_timestamp[{at}]")
        with pytest.raises(VenueUnavailable) as late:
            client.ask("account_wallet_balance", accountType="UNIFIED")
        texts.add(str(late.value))
    assert len(texts) == 2 and not any(KEYS.key.reveal() in text for text in texts)
    assert "Bybit refused it: 10004 error sign! origin_string; the signature is wrong" in str(error)


# --- what is told of an order ---

REALTIME, HISTORY, EXECUTIONS = "/v5/order/realtime", "/v5/order/history", "/v5/execution/list"
ORDER = Order("20261122T1015Z-BTC-B", "BTCUSDT", Side.BUY, Decimal("0.0001"), Decimal("100500"), AT)
SENT = Sent(ORDER, AT, Decimal("100100"))


def shown(**more) -> dict:
    """The order as Bybit shows it, all of it filled."""
    return {
        "orderId": "1", "orderLinkId": ORDER.id, "symbol": "BTCUSDT", "side": "Buy", "price": "100500",
        "qty": "0.0001", "orderStatus": "Filled", "cumExecQty": "0.0001", "createdTime": str(NOW_MS),
        "rejectReason": "EC_NoError",
    } | more  # fmt: skip


def executed(number: int, quantity: str = "0.0001", **more) -> dict:
    value = Decimal(quantity) * 100100
    return {
        "execId": str(number), "orderLinkId": ORDER.id, "execPrice": "100100", "execQty": quantity,
        "execValue": f"{value:f}", "execFee": f"{Decimal(quantity) / 1000:f}", "feeCurrency": "BTC",
        "execTime": str(NOW_MS + number), "execType": "Trade",
    } | more  # fmt: skip


def found(client, answers, order: dict | None, *executions: dict, history: bool = False):
    answers.lists = {REALTIME: [], HISTORY: [], EXECUTIONS: list(executions)}
    if order is not None:
        answers.lists[HISTORY if history else REALTIME] = [order]
    return BybitBroker(client).find(SENT)


@pytest.mark.parametrize("history", [False, True])
def test_all_of_it_is_filled_wherever_it_is_listed(client, answers, history):
    report = found(client, answers, shown(), executed(1), history=history)
    assert report.state is State.FILLED
    assert (report.fill.quantity, report.fill.notional) == (Decimal("0.0001"), Decimal("10.01"))
    assert (report.fill.fee, report.fill.fee_currency) == (Decimal("0.0000001"), "BTC")


def test_parts_are_summed_once_each_in_order_of_time(client, answers):
    parts = [executed(2, "0.00006"), executed(1, "0.00004"), executed(2, "0.00006")]
    report = found(client, answers, shown(), *parts)
    assert [level.quantity for level in report.fill.levels] == [
        Decimal("0.00004"),
        Decimal("0.00006"),
    ]
    assert int(report.fill.at.timestamp() * 1000) == NOW_MS + 2


def test_an_execution_of_another_order_or_kind_is_none(client, answers):
    strangers = [executed(2, orderLinkId="another"), executed(3, execType="Funding")]
    assert found(client, answers, shown(), executed(1), *strangers).fill.quantity == Decimal(
        "0.0001"
    )


def test_a_fee_without_a_currency_is_in_the_coin_that_came_in(client, answers):
    assert found(client, answers, shown(), executed(1, feeCurrency="")).fill.fee_currency == "BTC"


@pytest.mark.parametrize(
    "changed",
    [
        {"side": "Sell"},
        {"symbol": "ETHUSDT"},
        {"qty": "0.0002"},
        {"price": "100500.1"},
        {"createdTime": str(NOW_MS - 6001)},
    ],
)
def test_an_order_of_that_id_that_is_not_the_one_that_was_sent_is_foreign(client, answers, changed):
    report = found(client, answers, shown(**changed), executed(1))
    assert report.state is State.FOREIGN and report.fill is None
    assert f"{ORDER.id} is on the account already" in report.text


def test_clocks_of_servers_may_differ_by_the_window_and_a_second(client, answers):
    # the window of 5 s in which a signed request is good, and a second
    report = found(client, answers, shown(createdTime=str(NOW_MS - 6000)), executed(1))
    assert report.state is State.FILLED


@pytest.mark.parametrize(
    "status, state",
    [
        ("Cancelled", State.CANCELLED),
        ("Deactivated", State.CANCELLED),
        ("Rejected", State.REJECTED),
        ("New", State.UNKNOWN),
        ("PartiallyFilled", State.UNKNOWN),
        ("Untriggered", State.UNKNOWN),
        ("AStatusOfNextYear", State.UNKNOWN),
    ],
)
def test_the_status_of_an_order_of_which_nothing_was_filled(client, answers, status, state):
    report = found(client, answers, shown(orderStatus=status, cumExecQty="0"))
    assert report.state is state
    over = status in ("Cancelled", "Deactivated", "Rejected")
    assert answers.posts == ([] if over else ["/v5/order/cancel"])


def test_executions_without_their_order_are_no_fill_yet(client, answers):
    assert found(client, answers, None, executed(1)).state is State.UNKNOWN


@pytest.mark.parametrize("after_ms, state", [(65_000, "UNKNOWN"), (65_001, "NEVER_ARRIVED")])
def test_what_is_in_no_list_a_minute_after_it_could_arrive_never_was(
    client, answers, after_ms, state
):
    # signed at AT it is refused 5 s later; and a minute is left for the lists to show it
    answers.now_ms = NOW_MS + after_ms
    assert found(client, answers, None).state == state


@pytest.mark.parametrize(
    "broken",
    [
        shown(cumExecQty="many"),
        shown(cumExecQty="NaN"),
        shown(price="much"),
        shown(createdTime="soon"),
        {"orderLinkId": ORDER.id},
        "no order",
        None,
    ],
)
def test_an_answer_that_cannot_be_read_leaves_it_unknown(client, answers, broken):
    answers.now_ms = NOW_MS + 10**9  # however late it is
    answers.lists = {REALTIME: [broken], HISTORY: [], EXECUTIONS: [executed(1)]}
    assert BybitBroker(client).find(SENT).state is State.UNKNOWN


@pytest.mark.parametrize(
    "field, value", [("execPrice", "NaN"), ("execValue", "Infinity"), ("execFee", "")]
)
def test_an_execution_that_cannot_be_read_leaves_it_unknown(client, answers, field, value):
    assert found(client, answers, shown(), executed(1, **{field: value})).state is State.UNKNOWN


def test_a_fee_in_two_currencies_leaves_it_unknown(client, answers):
    parts = [executed(1, "0.00004"), executed(2, "0.00006", feeCurrency="MNT")]
    assert found(client, answers, shown(), *parts).state is State.UNKNOWN


@pytest.mark.parametrize("question", [REALTIME, HISTORY, EXECUTIONS])
def test_a_question_that_fails_leaves_it_unknown(client, answers, question):
    answers.now_ms = NOW_MS + 10**9
    answers.lists = {REALTIME: [], HISTORY: [], EXECUTIONS: []}
    del answers.lists[question]
    answers.says("10016")
    assert BybitBroker(client).find(SENT).state is State.UNKNOWN
