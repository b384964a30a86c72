"""Show the account, or open a fresh one with 10.00 USDT (times its scale) after a total stop; old ones are kept.

On a demo or testnet account `accept` takes what it holds for right after somebody else moved money on it.
"""

from __future__ import annotations

import argparse

from tgtqr_lib import books, gate, journal, latch, ledger, orders, settings
from tgtqr_lib.commands.by import asked_by, by_option
from tgtqr_lib.commands.output import json_option, money, print_json
from tgtqr_lib.desk import Desk, difference, new_account, open_desk
from tgtqr_lib.domain import Account, DomainError, GateRefused
from tgtqr_lib.home import Home
from tgtqr_lib.orders import Comparison
from tgtqr_lib.sizing import floor_to


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["show", "new", "accept"], nargs="?", default="show")
    parser.add_argument("--reason", help="why (required with new and accept)")
    by_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    if options.what == "new":
        return _new(home, options)
    if options.what == "accept":
        return _accept(home, options)
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
        # an account that never traded has lost nothing: another venue or scale may begin
        fresh_venue = present is not None and not books.fills(desk.con, present)
        fresh_venue = fresh_venue and (present.venue, present.scale or 1) != (
            desk.venue,
            desk.scale,
        )
        if present is not None and books.last_stop_cause(desk.con) is None and not fresh_venue:
            raise GateRefused(
                f"account {present.id} is not ended; a new one begins only after a total stop, "
                "or the loss limits would mean nothing"
            )
        if present is not None and (held := desk.sellable(books.portfolio(desk.con, present))):
            raise GateRefused(
                f"cannot open a new account while {gate.held_text(held)}; "
                "expected nothing held (stop, and let the next beat sell)"
            )
        if present is not None:
            orders.look_up(desk)
            _check_no_open_order(desk)
        latch.stop(home, "a new account is opened; arm it to begin")
        gate.note_latch(desk.con, home, at)
        fresh = new_account(desk, at, reason, by=asked_by(options))
        gate.bear_witness(desk.con, home)
    if options.json:
        print_json({"account": fresh.id, "cash": f"{fresh.initial_equity:f}"})
    else:
        print(
            f"account {fresh.id} is open with {money(fresh.initial_equity)}; the gate is STOPPED: "
            "`tgtqr arm --reason ...` begins"
        )
    return 0


def _accept(home: Home, options: argparse.Namespace) -> int:
    reason = books.check_reason(options.reason, "tgtqr account accept")
    with open_desk(home, settings.load(home)) as desk:
        journal.start(home)
        at = desk.exchange.time()
        present = books.account(desk.con)
        if present is None or present.venue is None:
            raise GateRefused(
                "there is no account at the exchange; expected a demo or testnet account"
            )
        if (why := difference(desk.settings, present)) is not None:
            raise DomainError(why)
        orders.look_up(desk, answered_for=True)
        _check_no_open_order(desk)
        found = orders.compare(desk, present)
        _check_not_short(desk, present, found)
        moved = found.differences
        opening = books.opening_wallet(desk.con, present)
        opening = {coin: held + moved.get(coin, 0) for coin, held in opening.items()}
        with ledger.writing(desk.con):
            books.accept_wallet(desk.con, present, at, opening, reason, asked_by(options))
            books.book_account_look(desk.con, present, at, None, found.wallet)
        gate.bear_witness(desk.con, home)
        journal.event("account_accepted", account=present.id, reason=reason)
    told = {coin: f"{amount:+f}" for coin, amount in sorted(moved.items())}
    if options.json:
        print_json({"account": present.id, "moved": told})
    else:
        words = (
            ", ".join(f"{coin} {amount}" for coin, amount in told.items()) or "nothing had moved"
        )
        print(f"account {present.id}: accepted as it is now ({words})")
    return 0


def _check_no_open_order(desk: Desk) -> None:
    """Raise `GateRefused` while it is not known what came of an order at the exchange."""
    if waiting := books.open_intents(desk.con):
        names = ", ".join(row.key.removeprefix("intent/") for row in waiting)
        raise GateRefused(
            f"it is not known yet what came of {names}; the next beat of `tgtqr watch` looks it up, and "
            "`tgtqr account accept` gives up what is in no list after an hour"
        )


def _check_not_short(desk: Desk, account: Account, found: Comparison) -> None:
    """Raise `GateRefused` when the exchange account holds less than this ledger would sell or spend."""
    held = books.portfolio(desk.con, account)
    needed = {orders.CASH: held.cash}
    for position in held.positions:
        rule = desk.instruments().get(position.symbol)
        lots = floor_to(position.quantity, rule.lot) if rule else position.quantity
        needed[position.symbol.removesuffix(orders.CASH)] = lots
    for coin, least in needed.items():
        if found.wallet[coin] < least:
            raise GateRefused(
                f"the account holds {found.wallet[coin]:f} {coin}, and {least:f} of it are this ledger's; "
                "bring back what is missing, or begin in a home of its own (TGTQR_HOME)"
            )
