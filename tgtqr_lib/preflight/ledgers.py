"""What the ledger says of the account: which one it is, what it holds, and whether the exchange agrees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tgtqr_lib import books, orders
from tgtqr_lib.brokers.bybit import BybitBroker
from tgtqr_lib.desk import Desk
from tgtqr_lib.domain import Account, Portfolio, TgtqrError
from tgtqr_lib.preflight import signed
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import NotKnown
from tgtqr_lib.preflight.reading import untouched


def present(case: Case) -> tuple[Account, Portfolio] | None:
    """The ledger's present account and what it holds; None before the first one.

    Raises `NotKnown` when the ledger cannot be read.
    """

    def read() -> tuple[Account, Portfolio] | None:
        if not case.home.ledger.exists():
            return None
        with untouched(case.home.ledger) as con:
            account = books.account(con)
            return None if account is None else (account, books.portfolio(con, account))

    try:
        return case.once("the ledger's account", read)
    except TgtqrError:
        raise NotKnown("not known; see ledger") from None


def of_the_settings(case: Case) -> Portfolio | None:
    """What the ledger's account holds when it is the one of the settings, else None."""
    found = present(case)
    same = found is not None and found[0].venue == case.settings().account
    return found[1] if same else None


@contextmanager
def desk(case: Case) -> Iterator[tuple[Desk, Account]]:
    """A desk that can only read, at the account of the exchange, and the ledger's account."""
    broker = BybitBroker(signed.client(case))
    with untouched(case.home.ledger) as con:
        account = books.account(con)
        assert account is not None  # as `present` found
        yield Desk(case.home, case.settings(), con, case.exchange(), _broker=broker), account


def disagreement(case: Case) -> str | None:
    """What ledger and exchange account disagree about, as the gate would say it; None when they agree.

    Raises what the account raises when it cannot be read, and `NotKnown` while an order's fate is open.
    """
    with desk(case) as (opened, account):
        if waiting := books.open_intents(opened.con):
            many = f"{len(waiting)} order{'s' * (len(waiting) != 1)}"
            raise NotKnown(
                f"not known while the outcome of {many} is open; the next beat looks it up"
            )
        return orders.compare(opened, account).problem
