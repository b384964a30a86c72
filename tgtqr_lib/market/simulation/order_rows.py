"""Orders and executions as rows of Bybit's lists."""

from __future__ import annotations

from decimal import Decimal

from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.account import ZERO, Execution, Order
from tgtqr_lib.market.simulation.v5 import Result
from tgtqr_lib.market.simulation.venue import Venue


def shown(value: Decimal) -> str:
    """A number as Bybit writes it: no exponent, no trailing zeros, no digit left out."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def open_row(order: Order) -> Result:
    """An order as /v5/order/realtime shows it."""
    left = order.left
    average = round(order.value / order.filled, 8) if order.filled else None
    return {
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": shown(order.price),
        "qty": shown(order.quantity),
        "side": order.side,
        "isLeverage": "0",
        "positionIdx": 0,
        "orderStatus": order.status,
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason,
        "avgPrice": "" if average is None else shown(average),
        "leavesQty": shown(left),
        "leavesValue": shown(left if order.by_value else left * order.price),
        "cumExecQty": shown(order.filled),
        "cumExecValue": shown(order.value),
        "cumExecFee": shown(order.fee),
        "timeInForce": order.in_force,
        "orderType": order.kind,
        "stopOrderType": "",
        "orderIv": "",
        "triggerPrice": "0.00",
        "takeProfit": "0.00",
        "stopLoss": "0.00",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": shown(order.last_price),
        "reduceOnly": False,
        "closeOnTrigger": False,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "tpslMode": "",
        "tpLimitPrice": "",
        "slLimitPrice": "",
        "placeType": "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
        "cumFeeDetail": {order.fee_coin: shown(order.fee)} if order.fee > ZERO else {},
    }


def closed_row(order: Order) -> Result:
    """An order as /v5/order/history shows it, with a few fields more."""
    return {
        **open_row(order),
        "slippageToleranceType": "UNKNOWN",
        "slippageTolerance": "",
        "extraFees": "",
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def execution_row(venue: Venue, execution: Execution, order: Order) -> Result:
    """An execution of `order` as /v5/execution/list shows it."""
    mark = venue.spot.mid(order.symbol, execution.at_ms)
    return {
        "symbol": order.symbol,
        "orderType": order.kind,
        "underlyingPrice": "",
        "orderLinkId": order.link_id,
        "side": order.side,
        "indexPrice": "",
        "orderId": order.order_id,
        "stopOrderType": "",
        "leavesQty": shown(execution.left),
        "execTime": str(execution.at_ms),
        "feeCurrency": order.fee_coin,
        "isMaker": execution.maker,
        "execFee": shown(execution.fee),
        "feeRate": shown(execution.fee_rate),
        "execId": execution.exec_id,
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": "" if mark is None else v5.text(int(mark), venue.spot.decimals(order.symbol)),
        "execPrice": shown(execution.price),
        "markIv": "",
        "orderQty": shown(ZERO if order.by_value else order.quantity),
        "orderPrice": shown(order.price),
        "execValue": shown(execution.value),
        "execType": "Trade",
        "execQty": shown(execution.quantity),
        "closedSize": "",
        "extraFees": "",
        "seq": execution.serial,
    }
