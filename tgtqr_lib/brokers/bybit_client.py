"""One Bybit account asked through ccxt's signed v5 methods, and what each answer means for an order.

A question can be asked again; an order cannot. So a GET ends in its result, in `Refused` or in
`VenueUnavailable`, and a POST in its result, in `Refused` (nothing was done, for certain) or in
`OutcomeUnknown` (it may have been carried out: look it up before anything else).
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from tgtqr_lib.clock import to_ms
from tgtqr_lib.credentials import Credentials, redact
from tgtqr_lib.domain import BrokerError, DataError, VenueUnavailable
from tgtqr_lib.hosts import check_trading_url, guard
from tgtqr_lib.market.client import (
    ADDRESS,
    FIRST_RETRY_S,
    LONGEST_RETRY_S,
    REFUSED_ADDRESS,
    advice,
    ccxt_modules,
    facts_of,
)

RECV_WINDOW_MS = 5000  # a signed request that arrives later than this is refused by the exchange
MEASURE_AGAIN_S = 600.0

# Answers after which a POST may have been carried out, beside every code that is not known below.
DUPLICATE_CODES = frozenset({"170141", "110072", "10014"})
# The exchange's words for "I looked at it and did nothing". Whatever is not here is unknown, not refused.
KEY_CODES = {
    "10003": "the key is not valid here; demo keys are not testnet keys",
    "10004": "the signature is wrong; check the secret",
    "10005": "the key may not do this; it needs permission to trade spot, and must not be read-only",
    "10007": "the key was not found in the request",
    "10008": "the account is suspended",
    "10009": "this address is banned",
    "10010": "the key is bound to other IP addresses",
    "10020": "the account is not a unified trading account",
    "10024": "Bybit's compliance rules refuse this account",
    "10027": "trading is banned for this account",
    "10028": "only unified trading accounts can do this",
    "10032": "demo trading does not have this question",
    "33004": "the key has expired; make a new one",
    "-2015": "the key is not valid here, has expired, or is bound to other IP addresses",
}
PASSING_CODES = {
    "10002": "the request was too old or from the future; check this machine's clock",
    "10006": "too many requests with this key; it is asked again later",
    "10018": "too many requests from this address; it is asked again later",
    "10429": "too many requests at Bybit; it is asked again later",
    "170222": "too many orders in this time; the next tick tries again",
    **dict.fromkeys(
        ("170132", "170133", "170192", "170193", "170194", "170371", "170372"),
        "the limit is further from the market than the exchange allows now; the next tick decides anew",
    ),
}
ORDER_CODES = frozenset(
    {
        "10001", "10017", "10029", "170010", "170033", "170105", "170115", "170116", "170117", "170121",
        "170124", "170130", "170131", "170134", "170135", "170136", "170137",
        "170140", "170148", "170151", "170157", "170197", "170198",
        "170199", "170200", "170201", "170209", "170213", "170217", "170221", "170224", "170227",
        "170228", "170229", "170241", "110001", "110003", "110004", "110007",
        "110012", "110094",
    }
)  # fmt: skip
DEFINITE_CODES = frozenset(KEY_CODES) | frozenset(PASSING_CODES) | ORDER_CODES


class Refused(BrokerError):
    """The exchange looked at the request and did nothing of it; `code` is its own."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def of_the_key(self) -> bool:
        """Whether key or account are refused, not this request."""
        return self.code in KEY_CODES

    @property
    def passes(self) -> bool:
        """Whether the same request could be taken a little later."""
        return self.code in PASSING_CODES


class Duplicate(BrokerError):
    """The exchange has had an order of this client id before."""


class OutcomeUnknown(BrokerError):
    """A POST that may have been carried out."""


class PrivateClient:
    """Signed v5 questions and orders at one trading host.

    host       of the allow-list in `hosts.py`, or a simulator on the loopback interface
    simulated  the host is our own simulator, whose clock is the only one
    """

    def __init__(
        self,
        host: str,
        credentials: Credentials,
        *,
        timeout_s: float = 10.0,
        simulated: bool = False,
    ) -> None:
        check_trading_url(host)
        module, errors = ccxt_modules()
        self.host = host.rstrip("/")
        self.simulated = simulated
        self._budget_s = timeout_s
        self._unreachable = (errors.NetworkError,)
        self._error = errors.ExchangeError
        self._client = module.bybit(
            {
                "apiKey": credentials.key.reveal(),
                "secret": credentials.secret.reveal(),
                "enableRateLimit": True,
                "timeout": int(min(timeout_s, 5.0) * 1000),
                "options": {"defaultType": "spot", "recvWindow": RECV_WINDOW_MS},
            }
        )
        urls = self._client.urls
        # every host that ccxt could choose is this one, whatever mode somebody switches on
        for name in ("api", "test", "demotrading"):
            urls[name] = dict.fromkeys(urls[name], self.host)
        self._client.hostname = ""
        self._client.session.trust_env = self.host.startswith("https://") and not simulated
        guard(self._client.session, self.host)
        self._signed_at_ms: int | None = None
        self._client.nonce = self._nonce
        self._offset_ms = 0
        self._measured: float | None = None
        if simulated:
            self._client.rateLimit = 0.01  # as in market/client.py
            self._client.init_rest_rate_limiter()

    def close(self) -> None:
        """Close the connection that is kept open between questions."""
        self._client.session.close()

    def now_ms(self) -> int:
        """Exchange time, ms; asked each time of a simulator, carried on by this machine's clock otherwise."""
        if self.simulated:
            return self._server_ms()
        if self._measured is None or time.monotonic() - self._measured > MEASURE_AGAIN_S:
            before = _host_ms()
            there = self._server_ms()
            self._offset_ms = (before + _host_ms()) // 2 - there
            self._measured = time.monotonic()
        return _host_ms() - self._offset_ms

    def ask(self, question: str, **parameters: Any) -> dict[str, Any]:
        """The `result` of a signed GET such as "order_realtime", asked again until the budget is spent.

        Raises `Refused` for a definite no, `VenueUnavailable` when no usable answer comes.
        """
        deadline = time.monotonic() + self._budget_s
        pause = FIRST_RETRY_S
        while True:
            try:
                return self._call("get", question, parameters, self.now_ms())
            except (*self._unreachable, self._error, DataError) as error:
                status, code, chain = facts_of(error)
                if code in DEFINITE_CODES - set(PASSING_CODES):
                    raise self._refused(error, code) from None
                self._measured = None  # a clock that was set since shows as 10002
                again = status != REFUSED_ADDRESS and not isinstance(error, DataError)
                if not again or time.monotonic() + pause >= deadline:
                    raise VenueUnavailable(
                        f"account at {self.host}: no usable answer ({_short(error)}); "
                        f"{_advice(status, code, chain)}"
                    ) from None
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY_S)

    def tell(self, what: str, *, at_ms: int | None = None, **parameters: Any) -> dict[str, Any]:
        """The `result` of a signed POST such as "order_create", sent once and never again.

        `at_ms` is the exchange time it is signed with: `RECV_WINDOW_MS` later the exchange refuses it, so
        that a request which was held up cannot be carried out after its fate was decided.

        Raises `Refused`, `Duplicate` or `OutcomeUnknown`.
        """
        try:
            return self._call("post", what, parameters, self.now_ms() if at_ms is None else at_ms)
        except (*self._unreachable, self._error, DataError, VenueUnavailable) as error:
            _, code, _ = facts_of(error)
            if code in DUPLICATE_CODES:
                raise Duplicate(
                    f"account at {self.host}: this client id was used ({_short(error)})"
                ) from None
            if code in DEFINITE_CODES:
                raise self._refused(error, code) from None
            raise OutcomeUnknown(
                f"account at {self.host}: whether {what} was carried out is not known ({_short(error)})"
            ) from None

    def _call(
        self, verb: str, question: str, parameters: dict[str, Any], at_ms: int
    ) -> dict[str, Any]:
        self._signed_at_ms = at_ms
        answer = getattr(self._client, f"private_{verb}_v5_{question}")(dict(parameters))
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            raise DataError(f"the answer is not Bybit's: {str(answer)[:80]!r}")
        return answer["result"]

    def _nonce(self) -> int:
        return self._signed_at_ms

    def _server_ms(self) -> int:
        try:
            answer = self._client.public_get_v5_market_time()
            return int(answer["result"]["timeNano"]) // 1_000_000
        except (*self._unreachable, self._error) as error:
            status, code, chain = facts_of(error)
            raise VenueUnavailable(
                f"account at {self.host}: no usable answer ({_short(error)}); "
                f"{_advice(status, code, chain)}"
            ) from None
        except (KeyError, TypeError, ValueError) as error:
            raise VenueUnavailable(
                f"account at {self.host}: its time is not readable ({_short(error)})"
            ) from None

    def _refused(self, error: Exception, code: str) -> Refused:
        meaning = KEY_CODES.get(code) or PASSING_CODES.get(code)
        text = f"Bybit refused it: {_short(error)}"
        return Refused(f"{text}; {meaning}" if meaning else text, code)


def _short(error: Exception) -> str:
    """What went wrong, in words that are the same each time and hold no key.

    Bybit's own may hold both key and time, in brackets: `error sign! origin_string[...]`.
    """
    text = redact(" ".join(str(error).split()))
    code = re.search(r'"retCode"\s*:\s*"?(-?\d+)', text)
    said = re.search(r'"retMsg"\s*:\s*"([^"]*)"', text)
    if code and said:
        return f"{code[1]} " + re.sub(r"\[[^]]*]", "", said[1])
    if (status := facts_of(error)[0]) is not None:  # a page, which says no more
        return f"HTTP {status}"
    return text[:200] if isinstance(error, DataError) else f"{type(error).__name__}: {text[:200]}"


def _advice(status: int | None, code: str | None, chain: str) -> str:
    """What a person can do about it."""
    if status == REFUSED_ADDRESS:
        return ADDRESS
    return PASSING_CODES.get(code or "") or advice(status, code, chain)


def _host_ms() -> int:
    return to_ms(datetime.now(UTC))
