"""Home, `.env`, settings and key: what the owner has set up."""

from __future__ import annotations

import os

from tgtqr_lib.credentials import KEY, SECRET
from tgtqr_lib.desk import difference
from tgtqr_lib.domain import DomainError
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.preflight import ledgers
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, failed, passed


def home(case: Case) -> Answer:
    """The folder is there. Nothing is made in it."""
    root = case.home.root
    if root.is_dir():
        made = (
            "" if case.home.data.is_dir() else "; data/ is made by the first command that needs it"
        )
        return passed(f"{root}{made}")
    what = "is not a folder" if root.exists() else "does not exist, and preflight makes nothing"
    return failed(
        f"{root} {what}", "correct --home or TGTQR_HOME; a new home is made by its first command"
    )


def env_file(case: Case) -> Answer:
    """`.env` can be read by its owner alone, and every line of it."""
    path = case.home.root / ".env"
    try:
        found = case.env_file()
    except DomainError as error:
        return failed(str(error), f"correct it; `chmod 600 {path}` keeps others out")
    if not found and not path.exists():
        return passed(f"there is no {path}, and none is needed for paper trading")
    names = ", ".join(sorted(found)) or "nothing"
    return passed(f"only its owner can read {path}; it sets {names}")


def settings(case: Case) -> Answer:
    """The settings can be read, and which market and account they name."""
    try:
        chosen = case.settings()
    except DomainError as error:
        return failed(
            str(error), f"correct {case.home.settings.name} or the variable that it names"
        )
    market = chosen.market
    if market == "simulator":
        market += f" at {chosen.simulator.url}" if chosen.simulator.url else ", embedded"
    scale = f", limits x {chosen.demo_limits_scale:f}" if chosen.account != "paper" else ""
    return passed(f"market {market}; account {chosen.account}{scale}; {chosen.strategy}")


def account(case: Case) -> Answer:
    """The ledger's account is the one that the settings name."""
    chosen = case.settings()
    found = ledgers.present(case)
    if found is None:
        scale = chosen.demo_limits_scale if chosen.account != "paper" else 1
        return passed(
            f"a {chosen.account} account with {INITIAL_EQUITY * scale:.2f} USDT begins with the first tick"
        )
    if (why := difference(chosen, found[0])) is not None:
        what, _, do = why.partition("; expected ")
        return failed(what, f"take {do}" if do else "correct `account` in settings.toml")
    return passed(f"{found[0].id}, as the settings say")


def key(case: Case) -> Answer:
    """There are key and secret for the account of the settings."""
    account = case.needs_account().account
    make_one = (
        "log in at bybit.com, switch to Demo Trading, then make a key under API"
        if account == "demo"
        else "make a key at testnet.bybit.com under API"
    )
    do = f"{make_one}; put it into {case.home.root / '.env'} as {KEY} and {SECRET}, then chmod 600"
    try:
        case.credentials()
    except DomainError as error:
        return failed(str(error), do)
    from_environment = bool(os.environ.get(KEY))
    return passed(
        f"key and secret are there, from {'the environment' if from_environment else '.env'}"
    )
