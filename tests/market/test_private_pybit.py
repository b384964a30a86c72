"""Unmodified pybit trades on the simulator's account; only its `endpoint` is changed."""

from decimal import Decimal

import pytest
from pybit import _http_manager
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from tests.market.signed import KEY, SECRET
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

SPOT = {"category": "spot", "symbol": "ETHUSDT"}


@pytest.fixture(scope="module")
def served():
    # pybit stamps its requests with this machine's time and nothing else
    with running(SyntheticSource(7), SimulatorClock.host(), accounts=Accounts()) as simulator:
        yield simulator


@pytest.fixture
def session(served, request):
    served.accounts.open(KEY, SECRET, balances={"USDT": "1000"}, name=request.node.name)
    session = HTTP(api_key=KEY, api_secret=SECRET)
    session.endpoint = served.url
    yield session
    served.faults.clear()
    session.client.close()


@pytest.fixture
def ask(session):
    return session.get_tickers(**SPOT)["result"]["list"][0]["ask1Price"]


def buy(session, price, **more):
    order = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "timeInForce": "IOC"}
    # the clock runs: more than the price of a moment ago, and inside Bybit's bound of 0.5 %
    price = Decimal(price) * Decimal("1.003") // Decimal("0.01") * Decimal("0.01")
    return session.place_order(**SPOT, **order | {"price": f"{price}"} | more)["result"]


def test_an_order_is_placed_and_found(session, ask):
    placed = buy(session, ask, orderLinkId="20250601T1015Z-ETH-B")
    assert placed["orderLinkId"] == "20250601T1015Z-ETH-B"
    for found in (
        session.get_open_orders(**SPOT, orderId=placed["orderId"]),
        session.get_open_orders(**SPOT, orderLinkId="20250601T1015Z-ETH-B"),
        session.get_order_history(**SPOT, orderLinkId="20250601T1015Z-ETH-B"),
    ):
        (order,) = found["result"]["list"]
        assert (order["orderId"], order["orderStatus"]) == (placed["orderId"], "Filled")
    (execution,) = session.get_executions(**SPOT)["result"]["list"]
    assert (execution["orderId"], execution["execQty"]) == (placed["orderId"], "0.01")
    assert (execution["execFee"], execution["feeCurrency"]) == ("0.00001", "ETH")
    (account,) = session.get_wallet_balance(accountType="UNIFIED", coin="ETH")["result"]["list"]
    assert account["coin"][0]["walletBalance"] == "0.00999"


def test_an_order_rests_and_is_cancelled(session, ask):
    low = Decimal(ask) * Decimal("0.9")
    rest = {"timeInForce": "GTC"}
    first, second = (buy(session, low, **rest, orderLinkId=name) for name in ("first", "second"))
    open_ones = session.get_open_orders(**SPOT)["result"]["list"]
    assert [one["orderId"] for one in open_ones] == [second["orderId"], first["orderId"]]
    assert session.cancel_order(**SPOT, orderLinkId="first")["result"] == first
    assert session.cancel_all_orders(**SPOT)["result"]["list"] == [second]
    assert session.get_open_orders(**SPOT)["result"]["list"] == []
    with pytest.raises(InvalidRequestError, match="Order does not exist") as refused:
        session.cancel_order(**SPOT, orderLinkId="first")
    assert refused.value.status_code == 170213


def test_executions_come_in_pages(session, ask):
    for number in range(5):
        buy(session, ask, orderLinkId=f"n{number}")
    found, cursor = [], None
    while True:
        page = session.get_executions(**SPOT, limit=2, cursor=cursor)["result"]
        found += [one["orderLinkId"] for one in page["list"]]
        if not (cursor := page["nextPageCursor"]):
            break
    assert found == ["n4", "n3", "n2", "n1", "n0"]


def test_it_reads_fees_the_key_the_account_and_that_there_are_no_positions(session):
    (fee,) = session.get_fee_rates(**SPOT)["result"]["list"]
    assert fee == {"symbol": "ETHUSDT", "takerFeeRate": "0.001", "makerFeeRate": "0.001"}
    key = session.get_api_key_information()["result"]
    assert (key["apiKey"], key["secret"], key["readOnly"]) == (KEY, "", 0)
    assert {g: names for g, names in key["permissions"].items() if names} == {"Spot": ["SpotTrade"]}
    assert session.get_account_info()["result"]["unifiedMarginStatus"] == 5
    positions = session.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"]
    assert [one["size"] for one in positions] == ["0"]


def test_it_raises_its_own_errors(session, served, ask, monkeypatch):
    with pytest.raises(InvalidRequestError, match="Order value exceeded lower limit"):
        buy(session, ask, qty="0.001")
    buy(session, ask, orderLinkId="once")
    with pytest.raises(InvalidRequestError, match="Duplicate clientOrderId") as refused:
        buy(session, ask, orderLinkId="once")
    assert refused.value.status_code == 170141
    served.faults.add("ack_lost", answer="504", uses=1)
    with pytest.raises(FailedRequestError) as lost:
        buy(session, ask, orderLinkId="lost")
    assert lost.value.status_code == 504
    (order,) = session.get_open_orders(**SPOT, orderLinkId="lost")["result"]["list"]
    assert order["orderStatus"] == "Filled"
    session.api_secret = "another"
    with pytest.raises(InvalidRequestError, match="error sign!") as refused:
        session.get_account_info()
    assert refused.value.status_code == 10004


def test_out_of_time_it_widens_its_window_and_asks_again(session, served, monkeypatch):
    monkeypatch.setattr(_http_manager.time, "sleep", lambda _: None)
    served.faults.add("clock_ahead", seconds=6, endpoint="/v5/account/info")
    assert session.get_account_info()["retCode"] == 0  # 5,000 ms are not enough, 7,500 are
    served.faults.clear()
    served.faults.add("clock_ahead", seconds=60, endpoint="/v5/account/info")
    with pytest.raises(FailedRequestError, match=r"(?i)retries exceeded maximum"):
        session.get_account_info()
