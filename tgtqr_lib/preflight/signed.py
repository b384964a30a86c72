"""What the account answers to signed questions, each asked once."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from tgtqr_lib.brokers.bybit_client import PrivateClient, Refused
from tgtqr_lib.domain import ZERO, VenueUnavailable
from tgtqr_lib.market.bybit import CATEGORY
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import NotKnown

CODE = re.compile(r'(?:"retCode"\s*:\s*"?|\()(-?\d{4,6})\b')  # as a sentence of the client has it
NOT_ON_DEMO = "10032"  # "Demo trading are not supported": Bybit's demo has no such question


def client(case: Case) -> PrivateClient:
    """Asks the account's host, which answers to the public, with the keys that were found."""
    chosen = case.needs_account()
    found, host = case.credentials(), case.account_host()

    def made() -> PrivateClient:
        simulated = chosen.market == "simulator"
        one = PrivateClient(host, found, timeout_s=case.timeout_s, simulated=simulated)
        case.at_the_end(one.close)
        return one

    return case.once("private client", made, "key_valid")


def ask(case: Case, question: str, **parameters: Any) -> dict[str, Any]:
    """The result of a signed question. Raises `Refused` or `VenueUnavailable`, each time the same."""
    asking = client(case)
    name = f"{question} {sorted(parameters.items())}"
    return case.once(name, lambda: asking.ask(question, **parameters))


def prove(case: Case) -> None:
    """Have the key taken once, by a question that every account answers.

    Raises `Refused` or `VenueUnavailable` when it is not, and `NotKnown` when it cannot be asked.
    """
    try:
        key_facts(case)
    except NotKnown:
        client(case)  # when that cannot be had, nothing can
        wallet(case)


def key_facts(case: Case) -> dict[str, Any]:
    """What the exchange says of the key itself. Raises as `prove`; `NotKnown` also where it does not tell."""
    return _unless_demo(case, "of its keys; look at the key on Bybit's page", "user_query_api")


def fee_facts(case: Case, symbol: str) -> dict[str, Any]:
    """The account's fees for `symbol`; raises as `key_facts`."""
    why = "its fees; those of the table are taken"
    return _unless_demo(case, why, "account_fee_rate", category=CATEGORY, symbol=symbol)


def _unless_demo(case: Case, why: str, question: str, **parameters: Any) -> dict[str, Any]:
    try:
        return ask(case, question, **parameters)
    except (Refused, VenueUnavailable) as error:
        if code_of(error) == NOT_ON_DEMO and case.settings().account == "demo":
            raise NotKnown(f"Bybit does not tell a demo account {why}") from None
        raise


def code_of(error: Exception) -> str | None:
    """Bybit's own code for an error, where there is one."""
    if isinstance(error, Refused):
        return error.code
    found = CODE.search(str(error))
    return found and found[1]


def wallet(case: Case) -> dict[str, Any]:
    """The unified account's balances, as the exchange tells them; raises as `ask`."""
    return ask(case, "account_wallet_balance", accountType="UNIFIED")


def coins(case: Case, *, free: bool = False) -> dict[str, Decimal]:
    """What the account has, coin -> quantity; with `free`, less what open orders lock. Raises as `ask`."""
    found: dict[str, Decimal] = {}
    for one in wallet(case).get("list", []):
        for coin in one.get("coin", []):
            locked = Decimal(coin.get("locked") or 0) if free else ZERO
            there = Decimal(coin.get("walletBalance") or 0) - locked
            found[str(coin["coin"])] = found.get(str(coin["coin"]), ZERO) + there
    return found
