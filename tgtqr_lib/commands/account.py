"""Show the paper account, or open a fresh one with 10.00 USDT after a total stop; old accounts are kept."""

from __future__ import annotations

import argparse

from tgtqr_lib import books, gate, journal, latch, ledger, settings
from tgtqr_lib.commands.by import asked_by, by_option
from tgtqr_lib.commands.output import json_option, money, print_json
from tgtqr_lib.desk import open_desk
from tgtqr_lib.domain import GateRefused
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["show", "new"], nargs="?", default="show")
    parser.add_argument("--reason", help="why a new account is opened (required with new)")
    by_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    if options.what == "new":
        return _new(home, options)
    con = ledger.connect(home.ledger, create=False)
    try:
        facts = [_facts(con, row.body["account"]["id"]) for row in ledger.of_kind(con, "account")]
    finally:
        con.close()
    if options.json:
        print_json({"accounts": facts})
        return 0
    for one in facts:
        ended = f", ended by {one['ended']}" if one["ended"] else ""
        print(
            f"{one['id']}: opened {one['opened_at']} with {one['initial_equity']} USDT, "
            f"cash {one['cash']}, {one['fills']} fills, fees {one['fees']}{ended}"
        )
    return 0


def _facts(con, name: str) -> dict:
    from tgtqr_lib.canonical import restore
    from tgtqr_lib.domain import Account

    row = ledger.get(con, f"account/{name}")
    account = restore(Account, row.body["account"])
    found = books.fills(con, account)
    held = books.portfolio(con, account)
    ended = ledger.get(con, f"ended/{name}")
    return {
        "id": name,
        "opened_at": row.body["account"]["opened_at"],
        "reason": row.body["reason"],
        "initial_equity": f"{account.initial_equity:f}",
        "cash": f"{held.cash:f}",
        "fills": len(found),
        "fees": f"{books.fees_paid(found):f}",
        "ended": ended.body["cause"] if ended else None,
    }


def _new(home: Home, options: argparse.Namespace) -> int:
    reason = books.check_reason(options.reason, "tgtqr account new")
    with open_desk(home, settings.load(home)) as desk:
        journal.start(home)
        at = desk.exchange.time()
        present = books.account(desk.con)
        if present is not None and books.last_stop_cause(desk.con) is None:
            raise GateRefused(
                f"account {present.id} is not ended; a new one begins only after a total stop, "
                "or the loss limits would mean nothing"
            )
        if present is not None and (held := books.portfolio(desk.con, present)).held:
            raise GateRefused(
                f"cannot open a new account while {gate.held_text(held)}; "
                "expected nothing held (stop, and let the next beat sell)"
            )
        latch.stop(home, "a new account is opened; arm it to begin")
        gate.note_latch(desk.con, home, at)
        with ledger.writing(desk.con):
            fresh = books.open_account(desk.con, at, reason, by=asked_by(options))
        gate.bear_witness(desk.con, home)
        journal.event("account", account=fresh.id, cash=fresh.initial_equity, reason=reason)
    if options.json:
        print_json({"account": fresh.id, "cash": f"{fresh.initial_equity:f}"})
    else:
        print(
            f"account {fresh.id} is open with {money(fresh.initial_equity)}; the gate is STOPPED: "
            "`tgtqr arm --reason ...` begins"
        )
    return 0
