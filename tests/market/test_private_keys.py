"""Who may ask: signatures, time, expiry, addresses, permissions; refused in Bybit's words and codes."""

import json
from contextlib import contextmanager

import pytest

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, ask, at, flat
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

WALLET = "/v5/account/wallet-balance"
UNIFIED = "accountType=UNIFIED"
OUT_OF_TIME = (
    "invalid request, please check your server timestamp or recv_window param. "
    "req_timestamp[{}],server_timestamp[{}],recv_window[{}]"
)
DENIED = "Permission denied, please check your API key permissions."


@contextmanager
def open_at(environment="demo", **properties):
    accounts = Accounts()
    accounts.open(KEY, SECRET, **properties)
    source = Table(flat(0, 1000))
    with running(
        source, SimulatorClock(at(0, 3)), accounts=accounts, environment=environment
    ) as simulator:
        client = Signed(simulator)
        yield client
        client.close()


@pytest.fixture(scope="module")
def client():
    with open_at() as opened:
        yield opened


@pytest.fixture(autouse=True)
def as_it_was(request):
    yield
    if "client" in request.fixturenames:
        client = request.getfixturevalue("client")
        client.key, client.secret, client.skew_ms, client.window = KEY, SECRET, 0, "5000"
        client.simulator.faults.clear()


def told(reply):
    return reply["retCode"], reply["retMsg"]


def test_a_signed_question_is_answered(client):
    status, reply, headers = client.send("GET", WALLET, UNIFIED)
    assert (status, *told(reply)) == (200, 0, "OK") and reply["time"] == at(0, 3)
    assert headers["X-Bapi-Limit"] == "50" and int(headers["X-Bapi-Limit-Status"]) < 50
    assert headers["X-Bapi-Limit-Reset-Timestamp"] == str(at(0, 3))


def test_the_signature_is_that_of_the_guide(client):
    # the example of Bybit's guide: timestamp + key + window + query, HMAC-SHA256 in hexadecimal digits;
    # the digest is that of `printf '%s' TEXT | openssl dgst -sha256 -hmac secret`
    from tgtqr_lib.market.simulation.keys import signature

    text = "1658384314791XXXXXXXXXX5000category=option&symbol=BTC-29JUL22-25000-C"
    assert (
        signature("secret", text)
        == "02e9182e346177050f199ce1e0703d738589e3763805ed71590ced65539a73a7"
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_changed_on_its_way_is_refused(client, method):
    if method == "GET":
        sent, signed = UNIFIED + "&coin=BTC", UNIFIED
        _, reply, _ = client.send("GET", WALLET, sent, signed)
    else:
        order = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit"}
        signed = json.dumps(order | {"qty": "0.1", "price": "100"})
        sent = signed.replace('"0.1"', '"0.9"')
        _, reply, _ = client.send("POST", "/v5/order/create", sent, signed)
    assert told(reply) == (10004, f"error sign! origin_string[{at(0, 3)}{KEY}5000{sent}]")
    assert client.ask("order/realtime", category="spot")["list"] == []


def test_the_body_counts_as_it_was_sent_and_not_as_it_is_read(client):
    body = '{ "category" : "spot" }'
    assert told(client.send("POST", "/v5/order/cancel-all", body)[1])[0] == 0
    same = '{"category":"spot"}'
    assert told(client.send("POST", "/v5/order/cancel-all", body, same)[1])[0] == 10004


def test_a_wrong_secret_is_refused(client):
    client.secret = SECRET + "x"
    assert told(client.get("account/info"))[0] == 10004


def test_an_unknown_key_is_refused(client):
    client.key = "another"
    assert told(client.get("account/info")) == (10003, "API key is invalid.")


@pytest.mark.parametrize("missing", ["X_BAPI_API_KEY", "X_BAPI_SIGN", "X_BAPI_TIMESTAMP"])
def test_a_request_that_is_not_signed_is_refused(client, missing):
    _, reply, _ = client.send("GET", WALLET, UNIFIED, **{missing: None})
    assert told(reply)[0] == 10001 and told(reply)[1].startswith("empty value: apiTimestamp[")


@pytest.mark.parametrize(
    "skew_ms, window, allowed",
    [
        (-5000, "5000", True),  # server_time - recv_window <= timestamp
        (-5001, "5000", False),
        (999, "5000", True),  # timestamp < server_time + 1000
        (1000, "5000", False),
        (-20000, "20000", True),
        (-101, "100", False),
        (0, "x", False),
    ],
)
def test_the_receive_window_goes_by_the_exchanges_clock(client, skew_ms, window, allowed):
    client.skew_ms, client.window = skew_ms, window
    reply = client.get("account/info")
    expected = OUT_OF_TIME.format(at(0, 3) + skew_ms, at(0, 3), window)
    assert told(reply) == ((0, "OK") if allowed else (10002, expected))


def test_without_a_window_it_is_five_seconds(client):
    client.window = ""
    for skew_ms, code in ((-5000, 0), (-5001, 10002)):
        client.skew_ms = skew_ms
        _, reply, _ = client.send("GET", "/v5/account/info", "", X_BAPI_RECV_WINDOW=None)
        assert told(reply)[0] == code


@pytest.mark.parametrize(
    "kind, seconds, code", [("clock_ahead", 6, 10002), ("clock_ahead", 4, 0), ("clock_behind", 1, 10002)]
)  # fmt: skip
def test_a_clock_that_is_off_counts_for_the_window(client, kind, seconds, code):
    client.simulator.faults.add(kind, seconds=seconds)
    assert told(client.get("account/info"))[0] == code


def test_a_key_of_another_environment_is_refused():
    with open_at(environment="testnet") as client:
        assert told(client.get("account/info"))[0] == 10003
        client.simulator.accounts.open(KEY, SECRET, environment="testnet")
        assert told(client.get("account/info"))[0] == 0


def test_an_expired_key_is_refused_from_its_last_moment_on():
    with open_at(expires_at=at(1)) as client:
        assert told(client.get("account/info"))[0] == 0
        info = client.ask("user/query-api")
        assert (info["expiredAt"], info["deadlineDay"]) == ("2025-06-01T12:01:00Z", 0)
        client.simulator.clock.set(at(1))
        assert told(client.get("account/info")) == (33004, "Your api key has expired.")


def test_an_address_that_is_not_on_the_keys_list_is_refused():
    words = "Unmatched IP, please check your API key's bound IP addresses."
    with open_at(ips=("203.0.113.7",)) as client:
        assert told(client.get("account/info")) == (10010, words)
        client.simulator.accounts.open(KEY, SECRET, ips=("203.0.113.7", "127.0.0.1"))
        assert told(client.get("account/info"))[0] == 0


def test_a_read_only_key_reads_and_orders_nothing():
    with open_at(read_only=True) as client:
        assert client.ask("order/realtime", category="spot")["list"] == []
        assert client.ask("user/query-api")["readOnly"] == 1
        assert told(client.place("Buy", "0.1", "100.1")) == (10005, DENIED)
        assert told(client.post("order/cancel-all", category="spot")) == (10005, DENIED)


def test_a_key_without_spot_trading_sees_no_orders():
    with open_at(permissions=("Withdraw", "AccountTransfer")) as client:
        assert told(client.get("order/realtime", category="spot")) == (10005, DENIED)
        granted = client.ask("user/query-api")["permissions"]
        assert granted["Wallet"] == ["AccountTransfer", "Withdraw"] and granted["Spot"] == []


def test_a_classic_account_has_no_unified_wallet():
    with open_at(account_type="CLASSIC") as client:
        assert told(client.get("account/wallet-balance", accountType="UNIFIED"))[0] == 10028
        assert client.ask("account/info")["unifiedMarginStatus"] == 1
        assert client.ask("user/query-api")["uta"] == 0


def test_what_a_key_is_can_change_and_two_keys_can_share_an_account():
    with open_at() as client:
        client.simulator.accounts.open("reader", "s", read_only=True)
        reader = Signed(client.simulator, "reader", "s")
        client.placed("Buy", "0.1", "100.5")
        assert reader.wallet() == client.wallet()
        assert told(reader.place("Sell", "0.1", "99.9"))[0] == 10005
        client.simulator.accounts.open(KEY, SECRET, fee_rate="0.002")
        fees = client.ask("account/fee-rate", category="spot", symbol="BTCUSDT")["list"]
        assert fees == [{"symbol": "BTCUSDT", "takerFeeRate": "0.002", "makerFeeRate": "0.002"}]
        reader.close()


def test_a_body_that_cannot_be_read_is_refused_after_its_signature(client):
    for body in ("", "[]", "{", '"text"'):
        assert told(client.send("POST", "/v5/order/create", body)[1]) == (
            10001,
            "Request parameter error.",
        )
        assert told(client.send("POST", "/v5/order/create", body, "x")[1])[0] == 10004


def test_a_path_takes_its_own_method_only(client):
    for method, path in (("POST", WALLET), ("GET", "/v5/order/create")):
        status, reply, _ = client.send(method, path, "")
        assert (status, *told(reply)) == (404, 10017, "Route not found.")
    status, reply = ask(f"{client.simulator.url}/v5/asset/withdraw/create", {"coin": "BTC"})
    assert (status, reply["retCode"]) == (404, 10017)


@pytest.mark.parametrize(
    "properties, words",
    [
        ({"environment": "mainnet"}, "environment 'mainnet': expected one of demo, testnet"),
        ({"permissions": ["Spot"]}, "permission 'Spot': expected one of Order, Position, SpotTrade"),
        ({"account_type": "SPOT"}, "account_type 'SPOT'"),
        ({"balances": {"XRP": "1"}}, "balances: XRP, expected USDT, BTC, ETH"),
        ({"balances": {"USDT": 1.5}}, "USDT 1.5: expected a decimal number as text"),
        ({"balances": {"USDT": "-1"}}, "USDT '-1'"),
        ({"fee_rate": "1"}, "fee_rate '1': expected a decimal number as text, 0 to 0.1"),
        ({"expires_at": "soon"}, "soon"),
    ],
)  # fmt: skip
def test_an_account_that_cannot_be_is_not_opened(properties, words):
    accounts = Accounts()
    with pytest.raises(DomainError, match=words):
        accounts.open(KEY, SECRET, **properties)
    assert accounts.state() == []


def test_neither_key_nor_secret_is_shown():
    with open_at() as client:
        shown = json.dumps(client.simulator.state()) + repr(client.simulator.accounts.keys[KEY])
        assert SECRET not in shown and KEY not in shown and '"key": "a-de..."' in shown
