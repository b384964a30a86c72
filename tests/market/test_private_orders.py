"""Spot orders on the simulator: what the book gives, what rests, what is cancelled, refused and listed.

The market is one candle at 100.0 USDT: best bid 99.9, best ask 100.1, a level every 0.1. What a level holds is read
from the public book; the rest is arithmetic.
"""

from contextlib import contextmanager
from decimal import Decimal

import pytest

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, ask, at, flat
from tgtqr_lib.domain import DomainError
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

RATE = Decimal("0.001")
# the price goes to 90.0 after a minute and to 110.0 after two
SOURCE = Table(flat(0, 1000), flat(1, 900), flat(2, 1100))


@contextmanager
def opened(balances=None, minimum_usdt="5", source=SOURCE):
    accounts = Accounts()
    accounts.open(KEY, SECRET, balances=balances or {"USDT": "10000", "BTC": "100"})
    clock = SimulatorClock(at(0, 3))
    with running(source, clock, accounts=accounts, minimum_usdt=minimum_usdt) as simulator:
        client = Signed(simulator)
        yield client
        client.close()


@pytest.fixture
def client():
    with opened() as one:
        yield one


def levels(client, side: str) -> list[tuple[Decimal, Decimal]]:
    """Price and coins of each level of the public book, best first."""
    path = "/v5/market/orderbook?category=spot&symbol=BTCUSDT&limit=10"
    book = ask(client.simulator.url + path)[1]["result"][side]
    return [(Decimal(price), Decimal(size)) for price, size in book]


def executions(client, **asked):
    return client.ask("execution/list", category="spot", **asked)["list"]


def refused(reply) -> tuple[int, str]:
    assert reply["result"] == {}
    return reply["retCode"], reply["retMsg"]


# --- what is filled at once ---


def test_a_purchase_in_the_best_level_is_filled_and_its_fee_is_taken_in_the_coin(client):
    order = client.placed("Buy", "0.05", "100.1", orderLinkId="20250601T1200Z-BTC-B")
    assert order["orderLinkId"] == "20250601T1200Z-BTC-B" and order["orderStatus"] == "Filled"
    # 0.05 x 100.1 = 5.005; 0.1 % of 0.05 BTC
    assert (order["cumExecQty"], order["cumExecValue"], order["avgPrice"]) == (
        "0.05",
        "5.005",
        "100.1",
    )
    assert (order["cumExecFee"], order["cumFeeDetail"]) == ("0.00005", {"BTC": "0.00005"})
    assert (order["leavesQty"], order["rejectReason"]) == ("0", "EC_NoError")
    assert client.wallet() == {"USDT": Decimal("9994.995"), "BTC": Decimal("100.04995")}
    (one,) = executions(client, orderId=order["orderId"])
    assert (one["execPrice"], one["execQty"], one["execValue"]) == ("100.1", "0.05", "5.005")
    assert (one["execFee"], one["feeCurrency"], one["feeRate"]) == ("0.00005", "BTC", "0.001")
    assert (one["isMaker"], one["leavesQty"], one["execTime"]) == (False, "0", str(at(0, 3)))


def test_a_sale_pays_its_fee_in_usdt(client):
    order = client.placed("Sell", "0.051001", "99.9")
    assert order["cumExecValue"] == "5.0949999"  # 0.051001 x 99.9
    assert order["cumFeeDetail"] == {"USDT": "0.0050949999"}
    # 10000 + 5.0949999 - 0.0050949999, and 100 - 0.051001
    assert client.wallet() == {"USDT": Decimal("10005.0899049001"), "BTC": Decimal("99.948999")}


def test_several_levels_are_several_executions_each_at_its_own_price(client):
    (first, held), (second, more) = levels(client, "a")[:2]
    wanted = held + more / 2 // Decimal("0.000001") * Decimal("0.000001")
    order = client.placed("Buy", f"{wanted}", "100.5")
    newest, oldest = executions(client, orderId=order["orderId"])
    assert (oldest["execPrice"], oldest["execQty"]) == (str(first), f"{held.normalize():f}")
    assert Decimal(oldest["leavesQty"]) == Decimal(newest["execQty"]) == wanted - held
    assert (newest["execPrice"], newest["leavesQty"]) == (str(second), "0")
    value = held * first + (wanted - held) * second
    assert Decimal(order["cumExecValue"]) == value
    assert order["avgPrice"] == f"{(value / wanted).quantize(Decimal('1e-8')).normalize():f}"


def test_what_an_ioc_order_finds_no_counterpart_for_is_cancelled(client):
    held = levels(client, "a")[0][1]
    order = client.placed("Buy", f"{held + 1}", "100.1")
    assert (order["orderStatus"], order["rejectReason"]) == (
        "PartiallyFilledCanceled",
        "EC_CancelForNoFullFill",
    )
    assert Decimal(order["cumExecQty"]) == held and order["leavesQty"] == "0"
    order = client.placed("Buy", "0.1", "100.0")  # the best ask is 100.1
    assert (order["orderStatus"], order["cumExecQty"]) == ("Cancelled", "0")
    assert (order["avgPrice"], order["rejectReason"]) == ("", "EC_NoImmediateQtyToFill")
    assert client.locked("USDT") == 0


def test_fill_or_kill_is_all_or_nothing(client):
    held = levels(client, "a")[0][1]
    killed = client.placed("Buy", f"{held + 1}", "100.1", timeInForce="FOK")
    assert (killed["orderStatus"], killed["cumExecQty"]) == ("Cancelled", "0")
    filled = client.placed("Buy", f"{held}", "100.1", timeInForce="FOK")
    assert filled["orderStatus"] == "Filled"


def test_post_only_rests_or_is_cancelled(client):
    crossing = client.placed("Buy", "0.1", "100.1", timeInForce="PostOnly")
    assert (crossing["orderStatus"], crossing["rejectReason"]) == (
        "Cancelled",
        "EC_PostOnlyWillTakeLiquidity",
    )
    assert client.placed("Buy", "0.1", "99.9", timeInForce="PostOnly")["orderStatus"] == "New"


def test_market_orders_by_coins_and_by_value(client):
    sold = client.placed("Sell", "0.1")
    assert (sold["orderStatus"], sold["price"], sold["timeInForce"]) == ("Filled", "0", "IOC")
    assert sold["cumExecValue"] == "9.99"
    bought = client.placed("Buy", "0.1", marketUnit="baseCoin")
    assert (bought["orderStatus"], bought["cumExecValue"]) == ("Filled", "10.01")
    # 10 USDT / 100.1 = 0.099900099..., of which whole lots are 0.0999: 9.99999; the rest of the USDT stays
    by_value = client.placed("Buy", "10")
    assert (by_value["qty"], by_value["cumExecQty"], by_value["cumExecValue"]) == (
        "10",
        "0.0999",
        "9.99999",
    )
    assert by_value["orderStatus"] == "PartiallyFilledCanceled"
    exact = client.placed("Buy", "10.01")
    assert (exact["orderStatus"], exact["cumExecQty"]) == ("Filled", "0.1")


# --- what rests ---


def test_a_resting_purchase_locks_its_money_and_is_filled_when_the_price_comes(client):
    order = client.placed("Buy", "1", "99.9", timeInForce="GTC")
    assert (order["orderStatus"], order["leavesQty"], order["leavesValue"]) == ("New", "1", "99.9")
    assert client.locked("USDT") == Decimal("99.9") and client.wallet()["USDT"] == 10000
    client.simulator.clock.set(at(1, 3))  # 90.0: everybody sells below 99.9
    done = client.order(order["orderId"])
    assert (done["orderStatus"], done["avgPrice"], done["cumExecFee"]) == (
        "Filled",
        "99.9",
        "0.001",
    )
    assert done["updatedTime"] == str(at(1, 3)) and done["createdTime"] == str(at(0, 3))
    (one,) = executions(client, orderId=order["orderId"])
    assert one["isMaker"] is True
    assert (client.locked("USDT"), client.wallet()["USDT"]) == (0, Decimal("9900.1"))


def test_a_resting_sale_locks_its_coins_and_can_be_cancelled(client):
    order = client.placed("Sell", "2", "105", timeInForce="GTC", orderLinkId="mine")
    assert client.locked("BTC") == 2
    reply = client.post("order/cancel", category="spot", symbol="BTCUSDT", orderLinkId="mine")
    assert reply["result"] == {"orderId": order["orderId"], "orderLinkId": "mine"}
    gone = client.order(order["orderId"])
    assert (gone["orderStatus"], gone["cancelType"]) == ("Cancelled", "CancelByUser")
    assert client.locked("BTC") == 0
    again = client.post("order/cancel", category="spot", orderId=order["orderId"])
    assert refused(again) == (170213, "Order does not exist.")


def test_what_a_gtc_order_takes_at_once_is_filled_and_the_rest_waits(client):
    held = levels(client, "b")[0][1]
    order = client.placed("Sell", f"{held + 1}", "99.9", timeInForce="GTC")
    assert (order["orderStatus"], order["leavesQty"]) == ("PartiallyFilled", "1")
    # the level that it took is not there again before the next minute
    assert client.order(order["orderId"])["leavesQty"] == "1"
    cancelled = client.post("order/cancel-all", category="spot")["result"]
    assert cancelled == {
        "list": [{"orderId": order["orderId"], "orderLinkId": ""}],
        "success": "1",
    }
    assert client.order(order["orderId"])["orderStatus"] == "PartiallyFilledCanceled"


def test_what_is_locked_cannot_be_spent_again():
    with opened({"USDT": "100"}) as client:
        client.placed("Buy", "0.9", "99.9", timeInForce="GTC")  # 89.91; 10.09 are left
        assert refused(client.place("Buy", "0.101", "100.1")) == (170131, "Insufficient balance.")
        assert client.placed("Buy", "0.1", "100.1")["orderStatus"] == "Filled"


# --- what is refused ---

LONG = "a" * 37


@pytest.mark.parametrize(
    "order, code, words",
    [
        (("Buy", "0.049", "100.1"), 170140, "Order value exceeded lower limit."),  # 4.9049
        (("Sell", "0.05", "99.9"), 170140, "Order value exceeded lower limit."),  # 4.995
        (("Buy", "4.99"), 170140, "Order value exceeded lower limit."),
        (("Buy", "0.1000001", "100.1"), 170137, "Order quantity has too many decimals."),
        (("Buy", "0.1", "100.11"), 170134, "Order price has too many decimals."),
        (("Buy", "0", "100.1"), 170136, "Order quantity exceeded lower limit."),
        (("Buy", "-1", "100.1"), 170136, "Order quantity exceeded lower limit."),
        (("Buy", "84", "100.1"), 170135, "Order quantity exceeded upper limit."),
        (("Sell", "42"), 170135, "Order quantity exceeded upper limit."),
        (("Buy", "8000001"), 170124, "Order amount too large."),
        (("Buy", "0.1", "0"), 170133, "Order price lower than the minimum."),
        # the limit may be 0.5 % away from 100.0
        (("Buy", "0.1", "100.6"), 170193, "Buy order price cannot be higher than 100.5USDT."),
        (("Sell", "0.1", "99.4"), 170194, "Sell order price cannot be lower than 99.5USDT."),
        (("Buy", "0.1", "ten"), 170130, "Data sent for parameter 'price' is not valid."),
        (("Buy", "1e-1", "100.1"), 170130, "Data sent for parameter 'qty' is not valid."),
        (("Buy", ["1"], "100.1"), 170130, "Data sent for parameter 'qty' is not valid."),
        (("Buy", "NaN", "100.1"), 170130, "Data sent for parameter 'qty' is not valid."),
        (("Buy", "", "100.1"), 170105, "Parameter 'qty' was empty."),
        (("Up", "0.1", "100.1"), 170117, "Invalid side."),
        (("Sell", "0.1", "99.9", {"symbol": "ETHUSDT"}), 170121, "Invalid symbol."),
        (("Buy", "0.1", "100.1", {"timeInForce": "GTD"}), 170115, "Invalid timeInForce."),
        (("Buy", "0.1", "100.1", {"orderType": "Stop"}), 170116, "Invalid orderType."),
        (("Buy", "0.1", "100.1", {"triggerPrice": "99"}), 170202, "Invalid orderFilter parameter."),
        (("Buy", "0.1", "100.1", {"orderLinkId": LONG}), 10001, "params error: orderLinkId is inv"),
        (("Buy", "0.1", "100.1", {"orderLinkId": "a b"}), 10001, "params error: orderLinkId is in"),
        (("Buy", "0.1", "100.1", {"category": "linear"}), 110066, "Trading is currently not allow"),
        (("Buy", "0.1", "100.1", {"category": "tulips"}), 10001, "params error: Category is inval"),
    ],
)  # fmt: skip
def test_an_order_that_breaks_a_rule_is_refused_and_leaves_nothing(
    orders_client, order, code, words
):
    *order, more = order if isinstance(order[-1], dict) else (*order, {})
    reply = orders_client.place(*order, **more)
    assert refused(reply)[0] == code and reply["retMsg"].startswith(words), reply
    assert orders_client.ask("order/realtime", category="spot", openOnly="1")["list"] == []


@pytest.fixture(scope="module")
def orders_client():
    with opened({"USDT": "100000000", "BTC": "1000"}) as one:
        yield one


def test_money_that_is_not_there_cannot_be_spent():
    with opened({"USDT": "10", "BTC": "0.06"}) as client:
        for order in (("Buy", "0.1", "100.1"), ("Sell", "0.060001", "99.9"), ("Buy", "10.000001")):
            assert refused(client.place(*order)) == (170131, "Insufficient balance.")
        assert refused(client.place("Buy", "0.1", marketUnit="baseCoin"))[0] == 170131  # 10.01
        assert client.wallet() == {"USDT": 10, "BTC": Decimal("0.06")}


def test_a_clients_id_is_good_once_even_when_its_order_is_long_over(client):
    client.placed("Buy", "0.1", "100.1", orderLinkId="once")
    for order in (("Buy", "0.1", "100.1"), ("Sell", "0.2", "99.9"), ("Buy", "0.001", "100.1")):
        reply = client.place(*order, orderLinkId="once")
        assert refused(reply) == (170141, "Duplicate clientOrderId.")
    assert len(executions(client)) == 1
    reply = client.place("Buy", "0.1", "100.1", orderLinkId="once", category="linear")
    assert refused(reply) == (110072, "OrderLinkedID is duplicate")


@pytest.mark.parametrize("asked", [{"orderId": "123"}, {"orderLinkId": "nobodys"}, {}])
def test_an_order_that_is_not_there_cannot_be_cancelled(client, asked):
    reply = client.post("order/cancel", category="spot", symbol="BTCUSDT", **asked)
    assert refused(reply) == (170213, "Order does not exist.")


@pytest.mark.parametrize("minimum, allowed", [("1", True), ("1.002", False)])
def test_the_least_value_of_an_order_can_be_chosen(minimum, allowed):
    with opened(minimum_usdt=minimum) as client:
        path = "/v5/market/instruments-info?category=spot&symbol=BTCUSDT"
        (listed,) = ask(client.simulator.url + path)[1]["result"]["list"]
        assert listed["lotSizeFilter"]["minOrderAmt"] == minimum
        reply = client.place("Buy", "0.01001", "100.1")  # 1.002001
        reply = client.place("Buy", "0.01", "100.1")  # 1.001
        assert reply["retCode"] == (0 if allowed else 170140)


def test_a_least_value_that_cannot_be_is_refused():
    for minimum in ("-1", "five", "1001", "NaN"):
        with pytest.raises(DomainError, match="expected a decimal number from 0 to 1,000"):
            opened(minimum_usdt=minimum).__enter__()


# --- what is listed ---


def test_open_orders_and_closed_ones_are_listed_apart(client):
    filled = client.placed("Buy", "0.1", "100.1", orderLinkId="f")
    resting = client.placed("Buy", "0.1", "99.9", timeInForce="GTC", orderLinkId="r")

    def ids(path, **asked):
        return [one["orderId"] for one in client.ask(path, category="spot", **asked)["list"]]

    f, r = filled["orderId"], resting["orderId"]
    assert (f, r) == tuple(sorted((f, r))) and f.isdigit() and len(f) == 19
    assert ids("order/realtime") == [r] == ids("order/realtime", openOnly=0)
    assert ids("order/realtime", openOnly=1) == [f] == ids("order/history")
    assert ids("order/realtime", orderLinkId="f") == [f] == ids("order/history", orderId=f)
    assert ids("order/history", orderId=r) == []  # not over
    assert ids("order/realtime", orderId=r, orderLinkId="f") == [r]  # the exchange's id goes first
    assert ids("order/realtime", symbol="ETHUSDT") == [] == ids("order/realtime", orderId="1")
    assert ids("order/history", orderStatus="Filled") == [f]
    assert ids("order/history", orderStatus="Cancelled") == []
    for path in ("order/realtime", "order/history", "execution/list"):
        assert client.ask(path, category="linear", symbol="BTCUSDT")["list"] == []


def test_of_orders_that_are_over_the_latest_500_are_remembered_without_the_history(client):
    first = client.placed("Buy", "0.1", "100.1")["orderId"]
    resting = client.placed("Buy", "0.1", "99.9", timeInForce="GTC")["orderId"]
    for _ in range(498):
        client.place("Buy", "0.1", "100.0")

    def found(path: str, order_id: str) -> int:
        return len(client.ask(path, category="spot", orderId=order_id)["list"])

    assert found("order/realtime", first) == 1
    client.place("Buy", "0.1", "100.0")
    assert (found("order/realtime", first), found("order/history", first)) == (0, 1)
    client.place("Buy", "0.1", "100.0")
    assert found("order/realtime", resting) == 1  # it is open


@pytest.mark.parametrize(
    "path, usual, most", [("order/history", 20, 50), ("execution/list", 50, 100)]
)
def test_pages_follow_each_other_newest_first_without_gap_or_repetition(client, path, usual, most):
    for number in range(105):
        client.place("Buy", "0.1", "100.1", orderLinkId=f"n{number}")
        client.simulator.clock.step(0.001 * (number % 2))  # two in the same millisecond
    everything = [f"n{number}" for number in range(104, -1, -1)]
    assert len(client.ask(path, category="spot")["list"]) == usual
    found, cursor = [], ""
    while True:
        page = client.ask(path, category="spot", limit=most, **{"cursor": cursor} if cursor else {})
        found += [one["orderLinkId"] for one in page["list"]]
        if not (cursor := page["nextPageCursor"]):
            break
        client.place("Buy", "0.1", "100.1")  # what comes meanwhile moves nothing
    assert found == everything
    for limit in (0, most + 1):
        assert client.get(path, category="spot", limit=limit)["retCode"] == 10001
    assert client.get(path, category="spot", cursor="x")["retCode"] == 10001


def test_times_bound_what_is_listed_to_seven_days(client):
    client.placed("Buy", "0.1", "100.1")
    client.simulator.clock.step(1)
    client.placed("Buy", "0.1", "100.1")
    day = 86_400_000

    def count(**asked):
        return len(executions(client, **asked))

    assert count(startTime=at(0, 3)) == 2 and count(startTime=at(0, 3) + 1) == 1
    assert count(endTime=at(0, 3)) == 1 and count(endTime=at(0, 3) - 1) == 0
    assert count(startTime=at(0, 3), endTime=at(0, 3) + 7 * day) == 2
    asked = {"category": "spot", "startTime": at(0), "endTime": at(0) + 7 * day + 1}
    assert client.get("execution/list", **asked)["retCode"] == 10001
    client.simulator.clock.set(at(0, 3.5) + 7 * day)
    assert count() == 1  # the last seven days


def test_an_order_without_a_fill_is_in_the_history_for_a_day():
    with opened() as client:
        none = client.placed("Buy", "0.1", "100.0")
        some = client.placed("Buy", "0.1", "100.1")
        asked = {"category": "spot"}
        assert len(client.ask("order/history", **asked)["list"]) == 2
        client.simulator.clock.set(at(0, 3) + 86_400_001)
        (left,) = client.ask("order/history", **asked)["list"]
        assert left["orderId"] == some["orderId"] and none["orderStatus"] == "Cancelled"


def test_a_wallet_shows_what_there_is_and_what_it_is_worth():
    with opened({"USDT": "10", "BTC": "0.5"}) as client:
        (account,) = client.ask("account/wallet-balance", accountType="UNIFIED")["list"]
        assert account["totalEquity"] == "60"  # 10 + 0.5 x 100.0
        assert [one["coin"] for one in account["coin"]] == ["USDT", "BTC"]
        assert {one["coin"]: one["usdValue"] for one in account["coin"]} == {
            "USDT": "10",
            "BTC": "50",
        }
        client.placed("Sell", "0.2", "105", timeInForce="GTC")
        (account,) = client.ask("account/wallet-balance", accountType="UNIFIED", coin="ETH")["list"]
        assert [(one["coin"], one["walletBalance"]) for one in account["coin"]] == [("ETH", "0")]
        assert (account["totalEquity"], account["totalAvailableBalance"]) == ("60", "40")
        for asked in ({}, {"accountType": "FUND"}, {"accountType": "UNIFIED", "coin": "XRP"}):
            assert client.get("account/wallet-balance", **asked)["retCode"] == 10001


def test_there_are_no_positions_and_perpetuals_cost_what_bybit_takes(client):
    (flat_one,) = client.ask("position/list", category="linear", symbol="BTCUSDT")["list"]
    assert (flat_one["size"], flat_one["side"]) == ("0", "")
    assert client.ask("position/list", category="linear", settleCoin="USDT")["list"] == []
    assert client.get("position/list", category="linear")["retCode"] == 10001
    (fees,) = client.ask("account/fee-rate", category="linear", symbol="BTCUSDT")["list"]
    assert (fees["takerFeeRate"], fees["makerFeeRate"]) == ("0.00055", "0.0002")


def test_before_the_first_candle_nothing_is_traded_and_everything_else_answers(client):
    resting = client.placed("Buy", "0.1", "99.9", timeInForce="GTC")
    client.simulator.clock.set(at(-1))
    assert refused(client.place("Buy", "0.1", "100.1")) == (
        170151,
        "The trading pair is not open yet.",
    )
    assert client.order(resting["orderId"])["orderStatus"] == "New"
    assert client.wallet()["USDT"] == 10000
    (one,) = client.ask("position/list", category="linear", symbol="BTCUSDT")["list"]
    assert one["markPrice"] == ""


@pytest.mark.parametrize(
    "path, asked",
    [
        ("order/history", {"category": "spot", "cursor": "9" * 5000 + ":1"}),
        ("order/history", {"category": "spot", "startTime": "٣"}),
        ("order/realtime", {"category": ""}),
        ("execution/list", {"category": "spot", "limit": "9" * 5000}),
    ],
)
def test_odd_questions_are_refused_and_the_connection_lives(client, path, asked):
    assert client.get(path, **asked)["retCode"] == 10001
    client.window = "9" * 5000
    assert client.get("account/info")["retCode"] == 10002
    client.window = "5000"
    _, reply, _ = client.send("POST", "/v5/order/create", "[" * 90_000)
    assert reply["retCode"] == 10001
    assert client.get("account/info")["retCode"] == 0
