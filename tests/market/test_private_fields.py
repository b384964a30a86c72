"""Every private endpoint has Bybit's field names; the lists are Bybit's documentation, written down by hand."""

import json

import pytest

from tests.market.signed import KEY, SECRET, Signed
from tests.market.tables import Table, at, flat
from tgtqr_lib.market import bybit_v5
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock

IDS = "orderId orderLinkId"
ORDER = f"""{IDS} blockTradeId symbol price qty side isLeverage positionIdx orderStatus cancelType rejectReason
    avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee timeInForce orderType stopOrderType orderIv
    triggerPrice takeProfit stopLoss tpTriggerBy slTriggerBy triggerDirection triggerBy lastPriceOnCreated reduceOnly
    closeOnTrigger smpType smpGroup smpOrderId tpslMode tpLimitPrice slLimitPrice placeType createdTime updatedTime
    cumFeeDetail"""
CLOSED = f"{ORDER} slippageToleranceType slippageTolerance extraFees rpiTakerAccess rpiMatchedQty"
EXECUTION = """symbol orderType underlyingPrice orderLinkId side indexPrice orderId stopOrderType leavesQty execTime
    feeCurrency isMaker execFee feeRate execId tradeIv blockTradeId markPrice execPrice markIv orderQty orderPrice
    execValue execType execQty closedSize extraFees seq"""
ACCOUNT = """totalEquity accountIMRate accountIMRateByMp totalMarginBalance totalInitialMargin totalInitialMarginByMp
    accountType totalAvailableBalance accountMMRate accountMMRateByMp totalPerpUPL totalWalletBalance accountLTV
    totalMaintenanceMargin totalMaintenanceMarginByMp coin"""
COIN = """availableToBorrow bonus accruedInterest availableToWithdraw totalOrderIM equity totalPositionMM usdValue
    spotHedgingQty unrealisedPnl collateralSwitch borrowAmount totalPositionIM walletBalance cumRealisedPnl locked
    marginCollateral coin spotBorrow"""
INFO = """marginMode updatedTime unifiedMarginStatus dcpStatus timeWindow smpGroup isMasterTrader
    spotHedgingStatus"""
KEY_INFO = """id note apiKey readOnly secret permissions ips type deadlineDay expiredAt createdAt unified uta userID
    inviterID vipLevel mktMakerLevel affiliateID rsaPublicKey isMaster parentUid kycLevel kycRegion userIDInt64
    inviterIDInt64 affiliateIDInt64"""
PERMISSIONS = """ContractTrade Spot Wallet Options Derivatives CopyTrading BlockTrade Exchange NFT Affiliate Earn
    FiatP2P FiatConvertBroker FiatGlobalPay FiatBitPay BitCard ByXPost"""
POSITION = """positionIdx riskId riskLimitValue symbol side size avgPrice positionValue tradeMode positionStatus
    autoAddMargin adlRankIndicator leverage breakEvenPrice positionBalance markPrice liqPrice bustPrice positionMM
    positionMMByMp positionIM positionIMByMp tpslMode takeProfit stopLoss trailingStop unrealisedPnl curRealisedPnl
    cumRealisedPnl seq isReduceOnly mmrSysUpdateTime leverageSysUpdatedTime sessionAvgPrice createdTime updatedTime"""
PAGED = "list nextPageCursor category"
# path -> (fields of the result, fields of a row of its list)
FIELDS = {
    "order/create": (IDS, None),
    "order/cancel": (IDS, None),
    "order/cancel-all": ("list success", IDS),
    "order/realtime": (PAGED, ORDER),
    "order/history": (PAGED, CLOSED),
    "execution/list": (PAGED, EXECUTION),
    "account/wallet-balance": ("list", ACCOUNT),
    "account/info": (INFO, None),
    "account/fee-rate": ("list", "symbol takerFeeRate makerFeeRate"),
    "user/query-api": (KEY_INFO, None),
    "position/list": (PAGED, POSITION),
}
NUMBERS = """price qty avgPrice leavesQty leavesValue cumExecQty cumExecValue cumExecFee createdTime
    updatedTime execTime execFee feeRate execPrice execQty execValue walletBalance locked usdValue"""


def names(text: str) -> set[str]:
    return set(text.split())


@pytest.fixture(scope="module")
def replies():
    """path -> the whole reply of it."""
    accounts = Accounts()
    accounts.open(KEY, SECRET, balances={"USDT": "1000", "BTC": "1"})
    clock = SimulatorClock(at(0, 3))
    with running(Table(flat(0, 1000)), clock, accounts=accounts) as simulator:
        client = Signed(simulator)
        spot, buy = {"category": "spot", "symbol": "BTCUSDT"}, ("Buy", "0.1", "99.9")
        found = {"order/create": client.place("Buy", "0.1", "100.1", orderLinkId="x")}
        first, _ = (client.place(*buy, timeInForce="GTC")["result"] for _ in range(2))
        found["order/realtime"] = client.get("order/realtime", **spot)
        found["order/cancel"] = client.post("order/cancel", **spot, orderId=first["orderId"])
        found["order/cancel-all"] = client.post("order/cancel-all", **spot)
        for path in ("order/history", "execution/list", "account/fee-rate"):
            found[path] = client.get(path, **spot)
        found["account/wallet-balance"] = client.get(
            "account/wallet-balance", accountType="UNIFIED"
        )
        found["account/info"] = client.get("account/info")
        found["user/query-api"] = client.get("user/query-api")
        found["position/list"] = client.get("position/list", category="linear", symbol="BTCUSDT")
        yield found
        client.close()


def test_no_endpoint_is_forgotten(replies):
    assert {f"/v5/{path}" for path in FIELDS} == set(bybit_v5.PRIVATE)
    assert set(replies) == set(FIELDS)


@pytest.mark.parametrize("path", FIELDS)
def test_replies_have_bybits_field_names(replies, path):
    reply = replies[path]
    assert set(reply) == {"retCode", "retMsg", "result", "retExtInfo", "time"}
    assert (reply["retCode"], reply["retMsg"]) == (0, "OK")
    result, row = FIELDS[path]
    assert set(reply["result"]) == names(result)
    if row is not None:
        assert reply["result"]["list"] and all(
            set(one) == names(row) for one in reply["result"]["list"]
        )


def test_wallets_and_permissions_have_them_too(replies):
    (account,) = replies["account/wallet-balance"]["result"]["list"]
    assert [set(coin) for coin in account["coin"]] == [names(COIN)] * 2
    assert set(replies["user/query-api"]["result"]["permissions"]) == names(PERMISSIONS)


def test_numbers_of_money_and_time_are_text_without_an_exponent(replies):
    def check(value):
        for name, member in value.items() if isinstance(value, dict) else ():
            if name in names(NUMBERS) and member != "":
                assert isinstance(member, str) and member.replace(".", "", 1).isdigit(), name
            check(member)
        for member in value if isinstance(value, list) else ():
            check(member)

    for reply in replies.values():
        check(reply["result"])


EXAMPLES = {path: f"v5_{path.replace('/', '_')}" for path in FIELDS}


def kinds(value):
    """Name -> type of a JSON object, of the rows of its lists and so on; a list has what its first row has."""
    if isinstance(value, dict):
        return {name: kinds(member) for name, member in value.items()}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return type(value).__name__


@pytest.mark.parametrize("path", FIELDS)
def test_replies_look_like_the_examples_of_bybits_documentation(replies, recorded_data, path):
    file = recorded_data / f"fixtures/bybit-docs/{EXAMPLES[path]}.json"
    ours, example = kinds(replies[path]), kinds(json.loads(file.read_text()))
    if path == "account/info":
        ours.pop("time") and ours.pop("retExtInfo")
        example.pop("time", None), example.pop("retExtInfo", None)
    for rows in (ours, example):
        if path == "user/query-api":  # which permissions there are is each key's own
            rows["result"]["permissions"] = sorted(rows["result"]["permissions"])
        for row in rows["result"].get("list", []):
            row.pop("cumFeeDetail", None)  # the coins are each order's own
    assert ours == example
