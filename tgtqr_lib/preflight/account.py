"""The account behind the key: its type, its money, its coins, its fees."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from tgtqr_lib.brokers.bybit_client import Refused
from tgtqr_lib.domain import ZERO, VenueUnavailable
from tgtqr_lib.execution import BPS, fees_on
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.preflight import ledgers, signed
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, NotKnown, failed, passed, warned

UNIFIED, QUOTE = "UNIFIED", "USDT"
NOT_UNIFIED = {"10020", "10028"}  # only unified accounts can be asked this


def account_type(case: Case) -> Answer:
    """It is a unified trading account, the only kind whose spot wallet the kit can read."""
    do = "upgrade it to a unified trading account on Bybit's page"
    _valid(case)
    try:
        kinds = {str(one.get("accountType")) for one in signed.wallet(case).get("list", [])}
    except Refused as error:
        if error.code in NOT_UNIFIED:
            return failed(f"the account is not a unified trading account ({error.code})", do)
        return failed(str(error), "look at the account on Bybit's page")
    except VenueUnavailable as error:
        return failed(str(error), "try again later; look at Bybit's status page")
    if kinds == {UNIFIED}:
        return passed("a unified trading account")
    return failed(f"the account is of type {', '.join(sorted(kinds)) or 'unknown'}", do)


def balance(case: Case) -> Answer:
    """There is USDT enough: for what the account is to begin with, and then for what the limits let it buy."""
    chosen = case.needs_account()
    held = ledgers.of_the_settings(case)
    if held is None:
        need = INITIAL_EQUITY * chosen.demo_limits_scale
        what = f"a new account of the kit begins with {need:.2f}"
    else:
        each = chosen.limits.position_usdt * chosen.demo_limits_scale
        need = sum((max(each - held.cost_of(symbol), ZERO) for symbol in chosen.symbols), ZERO)
        what = f"the limits let it buy for {need:.2f} more"
    there = _coins(case, free=True).get(QUOTE, ZERO)
    if there >= need:
        return passed(f"{there:,.2f} USDT are free; {what}")
    source = (
        "ask for demo funds on Bybit's page (Demo Trading, Assets)"
        if chosen.account == "demo"
        else "ask for test coins on testnet.bybit.com (Assets)"
    )
    return failed(f"only {there:,.2f} USDT are free; {what}", source)


def coins(case: Case) -> Answer:
    """Ledger and account agree; before the first tick: the account holds nothing but USDT."""
    case.needs_account()
    there = _coins(case)
    if ledgers.of_the_settings(case) is not None:
        problem = ledgers.disagreement(case)
        if problem is None:
            return passed("the account holds what the ledger says")
        return failed(
            problem,
            "nothing is bought meanwhile; when you know what moved: `tgtqr account accept --reason ...`",
        )
    if strange := [
        f"{there[coin]:f} {coin}" for coin in sorted(there) if coin != QUOTE and there[coin]
    ]:
        return warned(
            f"the account holds {', '.join(strange)} that the ledger does not know",
            "nothing, if they are yours: the first tick notes them, and the kit never sells them",
        )
    return passed("the account holds USDT alone")


def fee_rates(case: Case) -> Answer:
    """The account pays what the kit's table says, from which every worst case is reserved."""
    chosen = case.needs_account()
    _valid(case)
    table, rates = fees_on(case.exchange().time().date()), {}
    for symbol in chosen.symbols:
        try:
            rates[symbol] = _taker_bps(signed.fee_facts(case, symbol))
        except (KeyError, IndexError, InvalidOperation):
            raise NotKnown(f"the exchange's answer has no fee for {symbol}") from None
        except (Refused, VenueUnavailable) as error:
            return failed(str(error), "try again later; look at the account on Bybit's page")
    told = ", ".join(f"{symbol} {_percent(bps)}" for symbol, bps in rates.items())
    said = f"taker fees {told}; the table has {_percent(table.bps)}"
    if any(bps > table.bps for bps in rates.values()):
        return failed(
            f"{said}, so that too little is reserved",
            "correct FEE_TABLE in tgtqr_lib/execution.py before trading",
        )
    if any(bps < table.bps for bps in rates.values()):
        return warned(
            f"{said}: the ledger books more than is paid", "correct FEE_TABLE if it stays so"
        )
    return passed(said)


def _taker_bps(facts: dict[str, Any]) -> Decimal:
    return (Decimal(str(facts["list"][0]["takerFeeRate"])) * BPS).normalize()


def _percent(bps: Decimal) -> str:
    return f"{(bps / 100).normalize():f} %"


def _valid(case: Case) -> None:
    """Raise `NotKnown` unless the exchange takes the key."""
    try:
        signed.prove(case)
    except (Refused, VenueUnavailable) as error:
        if signed.code_of(error) not in NOT_UNIFIED:
            raise NotKnown(
                "not asked while the key is not taken; see the checks of the key"
            ) from None


def _coins(case: Case, *, free: bool = False) -> dict[str, Decimal]:
    _valid(case)
    try:
        return signed.coins(case, free=free)
    except (Refused, VenueUnavailable):
        raise NotKnown("not known; see account_type") from None
