"""Signed requests: read, checked and carried out, or not, as the faults of the moment have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from tgtqr_lib.domain import StoreError
from tgtqr_lib.market.bybit_v5 import PRIVATE, PrivateEndpoint
from tgtqr_lib.market.faults import Faults
from tgtqr_lib.market.simulation import keys, v5
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulation.calls import Call, Page
from tgtqr_lib.market.simulation.http_server import Reply, json_reply
from tgtqr_lib.market.simulation.keys import Signed
from tgtqr_lib.market.simulation.rate_limit import SPENT, Allowance, RateLimit
from tgtqr_lib.market.simulation.v5_orders import Visit
from tgtqr_lib.market.simulation.venue import Venue

TIMEOUT = v5.Refused("Server Timeout", v5.SERVER_TIMEOUT)


class PrivateDesk:
    """Answers the owners of keys."""

    def __init__(
        self,
        venue: Venue,
        accounts: Accounts,
        environment: str,
        faults: Faults,
        limit: RateLimit,
        wait: Callable[[float], Any],
    ) -> None:
        """`environment` is the one whose keys are good here; `wait` holds a reply back."""
        self._venue, self._accounts, self._environment = venue, accounts, environment
        self._faults, self._limit, self._wait = faults, limit, wait

    def reply(self, method: str, path: str, signed: Signed, now_ms: int, left: Allowance) -> Reply:
        """The reply to a request whose address has `left` of its allowance."""
        endpoint = PRIVATE[path]
        if method != endpoint.method:
            return not_found(now_ms)
        asked, readable = _asked(method, signed.payload)
        call = Call(path, asked, now_ms)
        self._faults.on_request(call)
        try:
            body, allowance = self._answer(call, endpoint, signed, readable)
        except StoreError as error:
            page = Page(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", str(error).encode())
            return Reply(page)
        self._wait(call.delay_s)
        if call.page is not None:
            return Reply(call.page, {}, call.cut, call.closed)
        headers = (allowance or left).headers(call.shown_ms)
        return json_reply(HTTPStatus.OK, body, headers, call.cut, call.closed)

    def _answer(
        self, call: Call, endpoint: PrivateEndpoint, signed: Signed, readable: bool
    ) -> tuple[v5.Result, Allowance | None]:
        """The JSON that goes back, and what is left to the key where it is known."""
        refusal, allowance = call.refusal, None
        # A reply that breaks off was made; of a request that changes something no one can say so, and it was not.
        if not call.carried and (
            refusal is not None or call.page is not None or (endpoint.writes and call.fails)
        ):
            spent = SPENT if refusal is not None and refusal.code == v5.RATE_LIMIT else None
            return _refused(refusal or TIMEOUT, call), spent
        try:
            key = keys.check(signed, self._accounts.keys, self._environment, call.shown_ms)
            allowance = self._limit.take_of_key(signed.key, call.path, endpoint.a_second)
            if not allowance.allowed:
                raise v5.Refused("Too many visits. Exceeded the API Rate Limit.", v5.RATE_LIMIT)
            keys.may(key, endpoint.permission, endpoint.writes)
            if not readable:
                raise v5.Refused("Request parameter error.")
            with self._accounts.turn():
                account = self._accounts.account(key.environment, key.account)
                call.account = account
                visit = Visit(self._venue, self._accounts, account, key, call)
                visit.trading.settle()
                call.result = endpoint.answer(visit)
                if refusal is None:
                    self._faults.on_reply(call)
        except v5.Refused as refused:
            # Of an order that was refused, "duplicate" would be a lie.
            lost = refusal is not None and refusal.code != v5.DUPLICATE
            return _refused(refusal if lost else refused, call), allowance
        if refusal is not None:
            return _refused(refusal, call), allowance
        return v5.envelope(call.result, call.shown_ms), allowance


def not_found(now_ms: int) -> Reply:
    """What Bybit says of a path it does not have, or not for this method."""
    nowhere = v5.envelope({}, now_ms, v5.ROUTE_NOT_FOUND, "Route not found.")
    return json_reply(HTTPStatus.NOT_FOUND, nowhere)


def _refused(refused: v5.Refused, call: Call) -> v5.Result:
    return v5.envelope({}, call.shown_ms, refused.code, str(refused))


def _asked(method: str, payload: str) -> tuple[Mapping[str, Any], bool]:
    """The parameters of a request, numbers as text, and whether they could be read."""
    if method == "GET":
        return dict(parse_qsl(payload)), True
    try:
        body = json.loads(payload, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return {}, False
    if not isinstance(body, dict):
        return {}, False
    known = {name: value for name, value in body.items() if value is not None}
    return {
        name: value if isinstance(value, (str, bool)) else json.dumps(value)
        for name, value in known.items()
    }, True
