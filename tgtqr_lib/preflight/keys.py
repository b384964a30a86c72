"""The key: valid here, not expired, and able to trade spot and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tgtqr_lib.brokers.bybit_client import Refused
from tgtqr_lib.clock import parse_time
from tgtqr_lib.credentials import SECRET
from tgtqr_lib.domain import DomainError, VenueUnavailable
from tgtqr_lib.limits import CLOCK_OFFSET_MS
from tgtqr_lib.preflight import signed
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, NotKnown, failed, passed, skipped, warned

SOON_DAYS = 7
NEVER = 1971  # an expiry before this year is none: keys that are bound to addresses do not expire
SPOT_ONLY = "make a key that may only trade spot"
SPOT = "SpotTrade"
HARMLESS = frozenset({SPOT, "ExchangeHistory"})
WALLET, WITHDRAW = "Wallet", "Withdraw"  # every permission of this group moves money
HOME_OF_KEYS = {
    "demo": "at bybit.com, after switching to Demo Trading",
    "testnet": "at testnet.bybit.com",
}

TIME_REFUSED, UNKNOWN_KEY, WRONG_SIGNATURE = "10002", "10003", "10004"
# the check that reports a refusal; all others of the key then skip
TOLD_BY = {
    "33004": "key_expiry",
    "-2015": "key_expiry",
    "10005": "key_may_trade",
    "10010": "key_address",
}


def key_valid(case: Case) -> Answer:
    """The exchange takes the key, here: demo, testnet and real accounts have keys of their own."""
    account = case.needs_account().account
    try:
        signed.prove(case)
    except Refused as error:
        return _refused(case, error, account)
    except VenueUnavailable as error:
        if signed.code_of(error) == TIME_REFUSED:
            return _refused(case, Refused(str(error), TIME_REFUSED), account)
        return failed(str(error), "try again later; look at Bybit's status page")
    return passed(f"{case.account_host()} takes it as a key of a {account} account")


def _refused(case: Case, error: Refused, account: str) -> Answer:
    if error.code in TOLD_BY:
        return skipped(f"refused for another reason; see {TOLD_BY[error.code]}")
    if error.code == TIME_REFUSED and abs(case.clock_offset_ms()) > CLOCK_OFFSET_MS:
        return skipped("signed requests are refused while the clock is off; see clock")
    if error.code == UNKNOWN_KEY:
        return failed(
            f"the exchange knows no such key for a {account} account (10003): a demo key is not a "
            "testnet key, and a key of a real account is neither",
            f"make the key {HOME_OF_KEYS[account]}, or set the account that it belongs to",
        )
    if error.code == WRONG_SIGNATURE:
        return failed(
            "the signature is refused (10004): the secret is not the one of this key",
            f"copy {SECRET} again as Bybit showed it, or make a new key",
        )
    return failed(str(error), "look at the key and the account on Bybit's page")


def key_expiry(case: Case) -> Answer:
    """The key has not expired, and how long it lasts."""
    renew = f"make a new key {HOME_OF_KEYS[case.needs_account().account]}, and put it into .env"
    facts = _facts(case, "key_expiry")
    if isinstance(facts, Refused):
        return failed(f"the key has expired ({facts.code})", renew)
    try:
        until = parse_time(str(facts["expiredAt"]))
    except (KeyError, DomainError):
        raise NotKnown("the exchange does not say when the key expires") from None
    if until.year < NEVER:
        return passed("it does not expire")
    days = (until - _now(case)).days
    if days < 0:
        return failed(f"the key expired on {until:%Y-%m-%d}", renew)
    said = f"it expires on {until:%Y-%m-%d}, in {days} days"
    if days < SOON_DAYS:
        return warned(said, renew)
    return passed(f"{said}; a key that is bound to addresses does not")


def key_may_trade(case: Case) -> Answer:
    """The key is not read-only and may trade spot."""
    facts = _facts(case, "key_may_trade")
    if isinstance(facts, Refused):
        return failed(f"the key is not permitted to do what it must ({facts.code})", SPOT_ONLY)
    if Decimal(str(facts.get("readOnly", 1))) != 0:
        return failed("the key is read-only: it cannot trade", SPOT_ONLY)
    if SPOT not in _permissions(facts):
        return failed("the key may not trade spot", SPOT_ONLY)
    return passed("it may read, and trade spot")


def key_cannot_withdraw(case: Case) -> Answer:
    """The key can move no money out of the account; what else it may is named."""
    facts = _facts(case, "")
    granted = _permissions(facts)
    wallet = {str(name) for name in facts["permissions"].get(WALLET, ())}
    if moves := sorted(granted & (wallet | {WITHDRAW})):
        return failed(f"the key may move money: {', '.join(moves)}", f"delete it, and {SPOT_ONLY}")
    if more := sorted(granted - HARMLESS):
        return warned(f"the key may do more than trade spot: {', '.join(more)}", SPOT_ONLY)
    return passed("it may neither withdraw nor transfer")


def key_address(case: Case) -> Answer:
    """The key works from this machine's address alone."""
    facts = _facts(case, "key_address")
    if isinstance(facts, Refused):
        return failed(
            f"the key is bound to other addresses than this machine's ({facts.code})",
            "add this machine's public address to the key on Bybit's page",
        )
    bound = [one for one in facts.get("ips", []) if one != "*"]
    if bound:
        return passed(f"it is bound to {len(bound)} address{'es' * (len(bound) != 1)}")
    return warned(
        "the key works from every address in the world",
        "bind it to this machine's public address on Bybit's page; it then does not expire either",
    )


def _facts(case: Case, name: str) -> Any:
    """What the exchange says of the key, or the `Refused` that the check `name` is to report."""
    try:
        signed.prove(case)
        return signed.key_facts(case)
    except Refused as error:
        if TOLD_BY.get(error.code) == name:
            return error
        raise NotKnown(f"not known; see {TOLD_BY.get(error.code, 'key_valid')}") from None
    except VenueUnavailable:
        raise NotKnown("not known; see key_valid") from None


def _permissions(facts: Mapping[str, Any]) -> set[str]:
    """Every single permission of the key, of all its groups. Raises `NotKnown` when it is not told."""
    groups = facts.get("permissions")
    if not isinstance(groups, dict):
        raise NotKnown("the exchange does not say what the key may do; look at it on Bybit's page")
    return {str(name) for group in groups.values() for name in group}


def _now(case: Case) -> datetime:
    return case.exchange().time()
