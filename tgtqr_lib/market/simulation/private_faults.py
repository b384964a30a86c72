"""Things that go wrong with orders: whether they were carried out, what is said of it, and what is shown of them.

A kind of `fault_kinds` that answers instead of Bybit (5xx, 403, 10006, 10016, cut, ...) means for a request that
changes something that it was not carried out; `delay` that it was. Here both can be chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tgtqr_lib.market.bybit_v5 import PRIVATE
from tgtqr_lib.market.simulation import v5
from tgtqr_lib.market.simulation.calls import Call, Kind, Page, Parameters
from tgtqr_lib.market.simulation.fault_kinds import ALL, PUBLIC

CREATE = "/v5/order/create"
CANCELS = ("/v5/order/cancel", "/v5/order/cancel-all")
REALTIME = "/v5/order/realtime"
HISTORY = "/v5/order/history"
EXECUTIONS = "/v5/execution/list"
ANSWERS = ("cut", "closed", "504", "10000", "10016")


def timeout(parameters: Parameters, call: Call) -> bool:
    """Answer retCode 10000."""
    call.refusal = v5.Refused("Server Timeout", v5.SERVER_TIMEOUT)
    return True


def ack_lost(parameters: Parameters, call: Call) -> bool:
    """Carry it out, or do not, and let the client get `answer` instead of what came of it."""
    call.carried, answer = parameters["carried_out"], parameters["answer"]
    if answer == "cut":
        call.cut = True
    elif answer == "closed":
        call.closed = True
    elif answer == "504":
        call.page = Page(504, "text/plain", b"HTTP 504, by a fault of the simulator")
    elif answer == "10000":
        call.refusal = v5.Refused("Server Timeout", v5.SERVER_TIMEOUT)
    else:
        call.refusal = v5.Refused("Server error.", v5.SERVER_ERROR)
    return True


def duplicate_answer(parameters: Parameters, call: Call) -> bool:
    """Carry it out and say that the client's id was used before."""
    call.carried = True
    call.refusal = v5.Refused("Duplicate clientOrderId.", v5.DUPLICATE)
    return True


def partial(parameters: Parameters, call: Call) -> bool:
    """Fill at most `fraction` of the order, in whole lots, and cancel the rest."""
    call.fraction = Decimal(str(parameters["fraction"]))
    return True


def rejected(parameters: Parameters, call: Call) -> bool:
    """Accept the order and reject it afterwards."""
    call.rejected = True
    return True


def maintenance(parameters: Parameters, call: Call) -> bool:
    """Answer 503 with a page that says so."""
    call.page = _MAINTENANCE
    return True


def not_found_at_first(parameters: Parameters, call: Call) -> bool:
    """Hide an order and its executions for `seconds` of exchange time, or from the first `count` questions."""
    return _hide(parameters, call, "createdTime")


def executions_late(parameters: Parameters, call: Call) -> bool:
    """Hide executions for `seconds` of exchange time, or from the first `count` questions; not their order."""
    return _hide(parameters, call, "execTime")


def executions_twice(parameters: Parameters, call: Call) -> bool:
    """List every execution twice."""
    rows = call.result["list"]
    call.result["list"] = [row for row in rows for _ in range(2)]
    return bool(rows)


def executions_unordered(parameters: Parameters, call: Call) -> bool:
    """List the executions with every other one first, so that time goes up and down."""
    rows = call.result["list"]
    call.result["list"] = rows[1::2] + rows[::2]
    return len(rows) > 1


def _hide(parameters: Parameters, call: Call, since: str) -> bool:
    rows = call.result["list"]
    ids = dict.fromkeys(row["orderId"] for row in rows)
    hidden = set(_asked_too_early(parameters, call, ids, since))
    call.result["list"] = [
        row
        for row in rows
        if row["orderId"] not in hidden and not _young(parameters, call, row, since)
    ]
    return len(call.result["list"]) < len(rows)


def _asked_too_early(
    parameters: Parameters, call: Call, ids: Iterable[str], since: str
) -> Iterable[str]:
    """Those of `ids` that were asked for less often than `count`; this question is counted."""
    for order_id in ids if "count" in parameters else ():
        before = call.account.asked.get((since, order_id), 0)
        if before < parameters["count"]:
            call.account.asked[since, order_id] = before + 1
            yield order_id


def _young(parameters: Parameters, call: Call, row: dict[str, str], since: str) -> bool:
    """Whether an order, or the order of an execution, is younger than `seconds`."""
    if "seconds" not in parameters:
        return False
    began_ms = row.get(since)
    if began_ms is None:  # an execution, of which the order's age is asked
        began_ms = call.account.orders[row["orderId"]].created_ms
    return call.now_ms - int(began_ms) < parameters["seconds"] * 1000


_MAINTENANCE = Page(
    503,
    "text/html",
    b"<!DOCTYPE html>\n<html><body>System maintenance. Please try again later.</body></html>\n",
)
_AT_FIRST = {"seconds": 5.0, "count": None}

FAULTS: dict[str, Kind] = {
    "10000": Kind(timeout, False, {}, ALL),
    "maintenance": Kind(maintenance, False, {}, tuple(PRIVATE), PUBLIC),
    "ack_lost": Kind(ack_lost, False, {"answer": "cut", "carried_out": True}, (CREATE,), CANCELS),
    "duplicate_answer": Kind(duplicate_answer, False, {}, (CREATE,)),
    "partial": Kind(partial, False, {"fraction": 0.5}, (CREATE,)),
    "rejected": Kind(rejected, False, {}, (CREATE,)),
    "not_found_at_first": Kind(
        not_found_at_first, True, _AT_FIRST, (REALTIME, HISTORY, EXECUTIONS)
    ),
    "executions_late": Kind(executions_late, True, _AT_FIRST, (EXECUTIONS,)),
    "executions_twice": Kind(executions_twice, True, {}, (EXECUTIONS,)),
    "executions_unordered": Kind(executions_unordered, True, {}, (EXECUTIONS,)),
}
