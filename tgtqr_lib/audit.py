"""Auditing the ledger: does the chain hold, and do its events make sense together?"""

from __future__ import annotations

import sqlite3

from tgtqr_lib import gate, ledger
from tgtqr_lib.books import FINAL_STATES
from tgtqr_lib.canonical import restore
from tgtqr_lib.domain import Account, Fill, TgtqrError
from tgtqr_lib.home import Home
from tgtqr_lib.portfolio import apply, fold


def verify(con: sqlite3.Connection, home: Home) -> tuple[int, list[str]]:
    """How many events there are, and a sentence for everything that is wrong with them.

    Checks the file, the chain of hashes, the witness, the fold of every account's fills, and that each
    fill has its order and each tick one known final state.
    """
    problems = ledger.check_file(con)
    events, broken = ledger.verify_chain(con)
    problems += broken
    if not problems:  # what an edited event says is not worth reading
        problems += _books(con)
    if (problem := gate.witness_problem(con, home)) is not None:
        problems.append(problem)
    return events, problems


def _books(con: sqlite3.Connection) -> list[str]:
    problems = []
    orders = {row.key.removeprefix("order/"): row for row in ledger.of_kind(con, "order")}
    for row in ledger.of_kind(con, "account"):
        account = restore(Account, row.body["account"], f"event {row.seq}")
        portfolio = fold(account.initial_equity, ())
        for fill_row in ledger.with_prefix(con, f"fill/{account.id}/"):
            order = orders.get(fill_row.key.split("/")[-1])
            if order is None or order.seq > fill_row.seq:
                problems.append(f"event {fill_row.seq} ({fill_row.key}): a fill without its order")
            try:
                fill = restore(Fill, fill_row.body, f"event {fill_row.seq}")
                portfolio = apply(portfolio, fill)
            except TgtqrError as error:
                problems.append(f"event {fill_row.seq} ({fill_row.key}): {error}")
    for row in ledger.of_kind(con, "tick"):
        state = row.body.get("state")
        if row.key.endswith("/final") and state not in FINAL_STATES:
            problems.append(f"event {row.seq} ({row.key}): state {state!r} is not a final state")
    return problems
