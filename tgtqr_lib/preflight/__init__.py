"""The look before trading: one check a question, each with pass, warn, fail or skip and what to do.

`CHECKS` is all there is, in the order in which it is shown. A check rests on the facts of `case.py`, says one
sentence, and changes nothing. A new one is a function and a line here.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Sequence

from tgtqr_lib.credentials import redact
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.preflight import account, exchange, files, home_and_key, keys, machine, running
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import (
    Answer,
    Check,
    Finding,
    Kind,
    NotKnown,
    State,
    failed,
    skipped,
)

CHECKS: dict[str, Check] = {
    "home": Check(home_and_key.home, Kind.SETUP),
    "env_file": Check(home_and_key.env_file, Kind.SETUP),
    "settings": Check(home_and_key.settings, Kind.SETUP),
    "account": Check(home_and_key.account, Kind.SETUP),
    "exchange": Check(exchange.exchange, Kind.EXCHANGE),
    "region": Check(exchange.region, Kind.EXCHANGE),
    "clock": Check(exchange.clock, Kind.MACHINE),
    "instruments": Check(exchange.instruments, Kind.EXCHANGE),
    "smallest_order": Check(exchange.smallest_order, Kind.SETUP),
    "key": Check(home_and_key.key, Kind.SETUP),
    "key_valid": Check(keys.key_valid, Kind.SETUP),
    "key_expiry": Check(keys.key_expiry, Kind.SETUP),
    "key_may_trade": Check(keys.key_may_trade, Kind.SETUP),
    "key_cannot_withdraw": Check(keys.key_cannot_withdraw, Kind.SETUP),
    "key_address": Check(keys.key_address, Kind.SETUP),
    "account_type": Check(account.account_type, Kind.EXCHANGE),
    "balance": Check(account.balance, Kind.EXCHANGE),
    "coins": Check(account.coins, Kind.EXCHANGE),
    "fee_rates": Check(account.fee_rates, Kind.EXCHANGE),
    "disk": Check(machine.disk, Kind.MACHINE),
    "memory": Check(machine.memory, Kind.MACHINE),
    "time_sync": Check(machine.time_sync, Kind.MACHINE),
    "permissions": Check(files.permissions, Kind.MACHINE),
    "ledger": Check(files.book, Kind.MACHINE, patience_s=30.0),
    "schedule": Check(running.scheduled, Kind.MACHINE),
    "dashboard": Check(running.dashboard, Kind.MACHINE),
    "jupyter": Check(running.jupyter, Kind.MACHINE),
    "alerts": Check(running.alerts, Kind.MACHINE),
    "versions": Check(machine.versions, Kind.MACHINE),
}


def look(case: Case, checks: dict[str, Check] = CHECKS) -> list[Finding]:
    """The findings of `checks`, in their order; nothing is raised, and nothing in them is secret."""
    found = []
    for name, check in checks.items():
        answer = _answer(check, case)
        detail, do = (redact(" ".join(text.split())) for text in (answer.detail, answer.do))
        found.append(Finding(name, answer.state, detail, do))
    return found


def first_failure(findings: Iterable[Finding], checks: dict[str, Check] = CHECKS) -> Kind | None:
    """What the first check that failed is about; None when none failed."""
    return next((checks[one.name].kind for one in findings if one.state is State.FAIL), None)


def tally(findings: Sequence[Finding]) -> str:
    """How many there are of each state, such as `12 pass, 2 warn, 1 fail`; skips when there are any."""
    count = Counter(one.state for one in findings)
    states = [State.PASS, State.WARN, State.FAIL] + [State.SKIP] * bool(count[State.SKIP])
    return ", ".join(f"{count[state]} {state}" for state in states)


def _answer(check: Check, case: Case) -> Answer:
    """What the check says within its time; what goes wrong in it is a failure, in a sentence."""
    said: list[Answer] = []
    # a thread, as no call of a library can be trusted to keep to its own time limit
    looking = threading.Thread(target=lambda: said.append(_said(check, case)), daemon=True)
    looking.start()
    looking.join(check.patience_s)
    if said:
        return said[0]
    return failed(
        f"no answer within {check.patience_s:g} s",
        "look whether network and disk answer, and try again",
    )


def _said(check: Check, case: Case) -> Answer:
    try:
        return check.look(case)
    except NotKnown as error:
        return skipped(str(error))
    except TgtqrError as error:
        return failed(str(error), "see what it names, then run `tgtqr preflight` again")
    except Exception as error:
        what = str(error) or "without a word"
        return failed(
            f"the check itself failed: {type(error).__name__}: {what}",
            "report it, with this line",
        )
