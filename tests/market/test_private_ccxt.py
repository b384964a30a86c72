"""Unmodified ccxt trades on the simulator's account; only its addresses are changed."""

import ccxt
import pytest

from tests.market.signed import KEY, SECRET
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource

NOW = to_ms(parse_time("2025-06-01T10:15:03Z"))
SYMBOL = "BTC/USDT"


@pytest.fixture(scope="module")
def served():
    with running(SyntheticSource(7), SimulatorClock(NOW), accounts=Accounts()) as simulator:
        yield simulator


@pytest.fixture
def exchange(served, request):
    # an account for each test: a name makes a new one
    served.accounts.open(KEY, SECRET, balances={"USDT": "1000"}, name=request.node.name)
    options = {
        "fetchMarkets": {"types": ["spot"]},
        "defaultType": "spot",
        "adjustForTimeDifference": True,  # the exchange's clock stands in 2025
        "recvWindow": 60_000,
    }
    exchange = ccxt.bybit(
        {"apiKey": KEY, "secret": SECRET, "options": options, "timeout": 30_000, "rateLimit": 1}
    )
    exchange.urls["api"] = dict.fromkeys(exchange.urls["api"], served.url)
    exchange.has["fetchCurrencies"] = False
    exchange.load_markets()
    # ccxt's clock goes on while the exchange's stands: begin half a minute behind it
    exchange.options["timeDifference"] += 30_000
    yield exchange
    served.faults.clear()
    exchange.session.close()


@pytest.fixture
def quote(exchange):
    ticker = exchange.fetch_ticker(SYMBOL)
    return ticker["bid"], ticker["ask"]


def limit(exchange, side, amount, price, in_force="IOC", **params):
    params = {"timeInForce": in_force, **params}
    return exchange.create_order(SYMBOL, "limit", side, amount, price, params)


def fetched(exchange, order_id):
    return exchange.fetch_order(order_id, SYMBOL, {"acknowledged": True})


def test_an_immediate_order_is_placed_and_found_by_its_id_and_the_clients(served, exchange, quote):
    _, ask = quote
    sent = limit(exchange, "buy", 0.001, ask, clientOrderId="20250601T1015Z-BTC-B")
    order = fetched(exchange, sent["id"])
    assert (order["status"], order["clientOrderId"]) == ("closed", "20250601T1015Z-BTC-B")
    assert (order["type"], order["side"], order["timeInForce"]) == ("limit", "buy", "IOC")
    assert (order["filled"], order["remaining"], order["average"]) == (0.001, 0, ask)
    assert order["timestamp"] == served.clock.now_ms()
    assert order["fee"] == {"cost": 0.000001, "currency": "BTC"}
    by_client = {"orderLinkId": "20250601T1015Z-BTC-B"}
    assert exchange.fetch_closed_orders(SYMBOL, params=by_client)[0]["id"] == sent["id"]
    (trade,) = exchange.fetch_my_trades(SYMBOL, params=by_client)
    assert (trade["order"], trade["price"], trade["amount"]) == (sent["id"], ask, 0.001)
    assert trade["takerOrMaker"] == "taker"
    assert trade["fee"] == {"cost": 0.000001, "currency": "BTC", "rate": 0.001}


def test_balances_are_what_was_bought_and_paid(exchange, quote):
    _, ask = quote
    limit(exchange, "buy", 0.001, ask)
    limit(exchange, "buy", 0.002, 0.996 * ask, in_force="GTC")
    price = exchange.fetch_open_orders(SYMBOL)[0]["price"]
    balance = exchange.fetch_balance()
    assert balance["BTC"]["total"] == balance["BTC"]["free"] == 0.000999
    assert balance["USDT"]["total"] == pytest.approx(1000 - 0.001 * ask, abs=1e-9)
    assert balance["USDT"]["used"] == pytest.approx(0.002 * price, abs=1e-9)


def test_an_order_that_finds_nothing_is_cancelled(exchange, quote):
    bid, _ = quote
    sent = limit(exchange, "buy", 0.001, bid)
    order = fetched(exchange, sent["id"])
    assert (order["status"], order["filled"]) == ("canceled", 0)
    assert [one["id"] for one in exchange.fetch_canceled_orders(SYMBOL)] == [sent["id"]]
    assert exchange.fetch_open_orders(SYMBOL) == [] == exchange.fetch_my_trades(SYMBOL)


def test_an_order_rests_until_it_is_cancelled(served, exchange, quote):
    bid, _ = quote
    for number in range(2):
        limit(exchange, "buy", 0.001, bid, "GTC", clientOrderId=f"rest-{number}")
        served.clock.step(0.001)
    first, second = exchange.fetch_open_orders(SYMBOL)
    assert (first["status"], first["clientOrderId"]) == ("open", "rest-0")
    assert exchange.cancel_order(second["id"], SYMBOL)["id"] == second["id"]
    assert exchange.fetch_open_order(first["id"], SYMBOL)["remaining"] == 0.001
    exchange.cancel_all_orders(SYMBOL)
    assert exchange.fetch_open_orders(SYMBOL) == []
    assert len(exchange.fetch_canceled_orders(SYMBOL)) == 2
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order(first["id"], SYMBOL)


def test_market_orders(exchange):
    bought = exchange.create_market_buy_order_with_cost(SYMBOL, 100)
    assert fetched(exchange, bought["id"])["cost"] == pytest.approx(100, abs=0.2)
    sold = exchange.create_market_sell_order(SYMBOL, 0.0005)
    assert fetched(exchange, sold["id"])["status"] == "closed"


def test_orders_come_in_pages(exchange, quote):
    _, ask = quote
    for number in range(7):
        limit(exchange, "buy", 0.0001, ask, clientOrderId=f"page-{number}")
    paged = {"paginate": True, "maxEntriesPerRequest": 3}
    everything = exchange.fetch_canceled_and_closed_orders(SYMBOL, params=paged)
    assert sorted(one["clientOrderId"] for one in everything) == [f"page-{n}" for n in range(7)]


def test_it_reads_fees(exchange):
    fee = exchange.fetch_trading_fee(SYMBOL)
    assert (fee["symbol"], fee["maker"], fee["taker"]) == (SYMBOL, 0.001, 0.001)


@pytest.mark.parametrize(
    "amount, shift, error, code",
    [
        (0.00001, 1, ccxt.InvalidOrder, 170140),
        (0.1, 1, ccxt.InsufficientFunds, 170131),
        (0.001, 1.006, ccxt.InvalidOrder, 170193),
    ],
)
def test_it_raises_its_own_errors(exchange, quote, amount, shift, error, code):
    with pytest.raises(error, match=str(code)):
        limit(exchange, "buy", amount, quote[1] * shift)


def test_a_client_id_is_refused_the_second_time(exchange, quote):
    limit(exchange, "buy", 0.001, quote[1], clientOrderId="once")
    with pytest.raises(ccxt.InvalidOrder, match="170141"):
        limit(exchange, "buy", 0.001, quote[1], clientOrderId="once")


@pytest.mark.parametrize(
    "answer, error",
    [
        ("cut", ccxt.NetworkError),
        ("closed", ccxt.NetworkError),
        ("504", ccxt.NetworkError),
        ("10000", ccxt.ExchangeError),  # to ccxt an error like any other: the outcome is unknown
        ("10016", ccxt.ExchangeError),
    ],
)
def test_an_acknowledgement_that_is_lost_is_an_error_and_the_order_is_there(
    served, exchange, quote, answer, error
):
    served.faults.add("ack_lost", answer=answer, uses=1)
    with pytest.raises(error):
        limit(exchange, "buy", 0.001, quote[1], clientOrderId="lost")
    (order,) = exchange.fetch_closed_orders(SYMBOL, params={"orderLinkId": "lost"})
    assert order["filled"] == 0.001


@pytest.mark.parametrize(
    "properties, error",
    [
        ({"read_only": True}, ccxt.PermissionDenied),
        ({"expires_at": NOW}, ccxt.AuthenticationError),
        ({"environment": "testnet"}, ccxt.AuthenticationError),
        ({"ips": ["203.0.113.7"]}, ccxt.PermissionDenied),
    ],
)
def test_a_key_that_is_not_good_raises_what_it_should(served, exchange, quote, properties, error):
    served.accounts.open(KEY, SECRET, **properties)
    with pytest.raises(error):
        limit(exchange, "buy", 0.001, quote[1])


def test_a_wrong_secret_and_a_wrong_clock_raise_what_they_should(exchange):
    exchange.secret = "another"
    with pytest.raises(ccxt.AuthenticationError, match="10004"):
        exchange.fetch_balance()
    exchange.secret = SECRET
    exchange.options["timeDifference"] += 60_000
    with pytest.raises(ccxt.InvalidNonce, match="10002"):
        exchange.fetch_balance()
