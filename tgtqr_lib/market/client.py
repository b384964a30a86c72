"""One exchange host asked through ccxt's v5 methods, and what its bad days mean in a sentence.

ccxt does HTTP and the pacing; here a question is asked again within a time budget, and every failure
becomes one of two errors: `VenueUnavailable` (later it may be well) or `DataError` (it answered nonsense).
"""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import time
import types
from collections.abc import Iterator
from typing import Any

from tgtqr_lib.domain import DataError, VenueUnavailable

log = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 2.0
BUSY_CODES = {"10006", "10018", "10429"}  # too many requests: of a key, of an address, of everybody
# Server errors and time-outs. ccxt takes them for refusals; a question for public data can be repeated.
TEMPORARY_CODES = {"10000", "10016", "3400214"}
REFUSED_ADDRESS = 403

CHECK_NETWORK = "check the network, or whether the host is right"
WAIT_A_LITTLE = "Bybit has had too many requests; wait a minute, and run one fetch at a time"
ADDRESS = (
    "Bybit refuses this address: it is in the US, or it sent too many requests; from the US no public "
    "data can be had here, otherwise wait 10 minutes and ask again"
)
MAINTENANCE = (
    "Bybit is under maintenance or has trouble: see its status page and ask again later; if others reach "
    "it, check the network, or whether the host is right"
)
TLS = (
    "no secure connection could be made: an old or inspecting proxy stands in between, or the host "
    "does not speak HTTPS; check exchange_host and HTTPS_PROXY, and name a company's own certificate in "
    "REQUESTS_CA_BUNDLE"
)
NO_NAME = (
    "the name of the host is not known here: the network is down, or exchange_host is misspelt; "
    "check both"
)
PROXY = "the proxy does not answer; check HTTPS_PROXY"
WRONG_HOST = (
    "this is not Bybit's API; check exchange_host, expected something like https://api.bybit.com"
)
PAGE = (
    "this is a page, not data: either Bybit is under maintenance, then ask again later, or the host is not "
    "Bybit's API, then check exchange_host, expected something like https://api.bybit.com"
)


def ccxt_modules() -> tuple[Any, Any]:
    """ccxt's `bybit` and `base.errors` modules alone.

    `import ccxt` loads a hundred exchanges and takes 0.6 s, these two 0.15 s.
    """
    names = ("ccxt.bybit", "ccxt.base.errors")
    if "ccxt" not in sys.modules:
        found = importlib.util.find_spec("ccxt")
        hollow = types.ModuleType("ccxt")
        hollow.__path__ = list(found.submodule_search_locations)
        sys.modules["ccxt"] = hollow
        try:
            return tuple(importlib.import_module(name) for name in names)
        finally:
            del sys.modules["ccxt"]  # whoever imports ccxt later gets the whole of it
    return tuple(importlib.import_module(name) for name in names)


class Client:
    """Public v5 questions to one host.

    host       such as https://api.bybit.com
    simulated  the host is our own simulator, which is asked without pacing
    """

    def __init__(self, host: str, *, timeout_s: float = 10.0, simulated: bool = False) -> None:
        module, errors = ccxt_modules()
        self.host = host.rstrip("/")
        self.simulated = simulated
        self._budget_s = timeout_s
        self._unreachable = (errors.NetworkError,)
        self._error = errors.ExchangeError
        self._client = module.bybit(
            {
                "enableRateLimit": True,
                "timeout": int(min(timeout_s, 5.0) * 1000),
                "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}},
            }
        )
        self._client.has["fetchCurrencies"] = False
        self._client.urls["api"] = dict.fromkeys(self._client.urls["api"], self.host)
        # a company's proxy and certificates count for the real exchange, never for this machine's own
        self._client.session.trust_env = self.host.startswith("https://") and not simulated
        if simulated:
            # ccxt paces 100 ms a request for Bybit's limit per address and real second; the simulator
            # has no such limit, and its clock may stand still or run at a multiple of real time
            self._client.rateLimit = 0.01
            self._client.init_rest_rate_limiter()

    def close(self) -> None:
        """Close the connection that is kept open between questions."""
        self._client.session.close()

    def origin(self) -> str:
        """What is asked, as the lake notes it: "bybit", or which simulated market."""
        if not self.simulated:
            return "bybit"
        try:
            state = self._client.session.get(f"{self.host}/simulator/state", timeout=5).json()
            return f"simulator ({state['source']['name']})"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise VenueUnavailable(
                f"exchange {self.host}: no simulator answers there ({short(error)})"
            ) from None

    def ask(self, question: str, **parameters: Any) -> dict[str, Any]:
        """The `result` of a question such as "market_kline", asked again until the budget is spent.

        Raises `VenueUnavailable` when no usable answer comes, `DataError` when the exchange refuses the
        question or the answer is not Bybit's.
        """
        method = getattr(self._client, f"public_get_v5_{question}")
        deadline = time.monotonic() + self._budget_s
        pause = FIRST_RETRY_S
        while True:
            try:
                return self._result(method(dict(parameters)))
            except (*self._unreachable, self._error) as error:
                status, code, chain = facts_of(error)
                where = f"exchange {self.host}"
                if is_tls(chain):
                    raise VenueUnavailable(
                        f"{where}: no usable answer ({short(error)}); {TLS}"
                    ) from None
                if status == REFUSED_ADDRESS:  # asking on would only make a ban longer
                    raise VenueUnavailable(
                        f"{where}: no usable answer ({short(error)}); {ADDRESS}"
                    ) from None
                again = isinstance(error, self._unreachable)
                if not again and code not in BUSY_CODES | TEMPORARY_CODES:
                    raise DataError(f"{where}: {short(error)}") from None
                if time.monotonic() + pause >= deadline:
                    raise VenueUnavailable(
                        f"{where}: no usable answer within {self._budget_s:g} s ({short(error)}); "
                        f"{advice(status, code, chain)}"
                    ) from None
                log.info("exchange asked again", extra={"facts": {"error": short(error)}})
                time.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY_S)

    def _result(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
            advice = PAGE if isinstance(answer, str) else WRONG_HOST
            raise DataError(
                f"exchange {self.host}: the answer is not Bybit's ({str(answer)[:80]!r}); {advice}"
            )
        return answer["result"]


def facts_of(error: Exception) -> tuple[int | None, str | None, str]:
    """HTTP status and Bybit's retCode, where there are any, and the names and texts of all causes."""
    causes = list(_causes(error))
    found = (getattr(getattr(cause, "response", None), "status_code", None) for cause in causes)
    status = next((number for number in found if number is not None), None)
    code = re.search(r'"retCode"\s*:\s*"?(-?\d+)', str(error))
    return status, code and code[1], " ".join(f"{type(c).__name__}: {c}" for c in causes)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_tls(chain: str) -> bool:
    return "SSLError" in chain or "CERTIFICATE_VERIFY_FAILED" in chain


def advice(status: int | None, code: str | None, chain: str) -> str:
    """What a person can do about a host that gave no usable answer."""
    if status == 429 or code in BUSY_CODES:
        return WAIT_A_LITTLE
    if status == 404:
        return WRONG_HOST
    if (status is not None and status >= 500) or code in TEMPORARY_CODES:
        return MAINTENANCE
    if "ProxyError" in chain:
        return PROXY
    if any(word in chain for word in ("NameResolution", "getaddrinfo", "Failed to resolve")):
        return NO_NAME
    return CHECK_NETWORK


def short(error: Exception) -> str:
    text = re.sub(r"<(!DOCTYPE|html).*", "(a page)", " ".join(str(error).split()), flags=re.I)
    return f"{type(error).__name__}: {text[:200]}"
