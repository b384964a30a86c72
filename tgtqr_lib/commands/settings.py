"""Show what is in force and where it comes from, or change it: at the next tick, kept in the ledger.

  tgtqr settings show
  tgtqr settings change parameters.window=30 limits.daily_loss_usdt=1.50 --preview
  tgtqr settings loosen limits.daily_loss_usdt=2.00 --reason 'a quieter week'
  tgtqr settings reset parameters.window

change takes parameters, the order target and tighter limits; --preview shows what the last 24 hours would have
been with it, and changes nothing. loosen raises limits from the next UTC day on, never above the
hard ones. reset lets the settings file decide again.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tgtqr_lib import controls, gate, journal, ledger, settings
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.commands.by import asked_by, by_option, local_user
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.controls import RESET, Proposal
from tgtqr_lib.desk import Desk, open_desk
from tgtqr_lib.domain import BrokerError, DataError, DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.impact import Impact, impact

LOOK_BACK = timedelta(days=1)


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="what", required=True, metavar="show|change|loosen|reset")
    texts = {
        "show": "List every value in force, its range, and where it comes from.",
        "change": "Change parameters, the order target, or tighten limits; holds from the next tick.",
        "loosen": "Raise limits back, from the next UTC day on; needs a reason.",
        "reset": "Let the settings file decide again.",
    }
    for name, text in texts.items():
        action = actions.add_parser(name, help=text, description=text)
        # the home may be named before the action or after it
        action.add_argument(
            "--home", type=Path, default=argparse.SUPPRESS, help="where data/ and outputs/ lie"
        )
        if name != "show":
            metavar = "NAME" if name == "reset" else "NAME=VALUE"
            action.add_argument("names", nargs="+", metavar=metavar, help="as show lists them")
            action.add_argument("--reason", help="kept with the change")
            action.add_argument(
                "--preview",
                action="store_true",
                help="show before, after and the last 24 h; change nothing",
            )
            by_option(action)
        json_option(action)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    wanted = {} if options.what == "show" else _wanted(options)
    with open_desk(home, settings.load(home)) as desk:
        journal.start(home)
        if options.what == "show":
            return _show(desk, options)
        return (
            _preview(desk, wanted, options) if options.preview else _change(desk, wanted, options)
        )


def _wanted(options: argparse.Namespace) -> dict[str, Any]:
    """The names of the command line with their new values, as text."""
    wanted: dict[str, Any] = {}
    for word in options.names:
        name, equals, value = word.partition("=")
        if options.what == "reset":
            name, value = word, RESET
        elif not equals:
            raise DomainError(f"{word}: expected NAME=VALUE, as in parameters.window=30")
        if name in wanted:
            raise DomainError(f"{name} stands twice; expected each name once")
        wanted[name] = value
    return wanted


def _change(desk: Desk, wanted: Mapping[str, Any], options: argparse.Namespace) -> int:
    at, known = _time(desk, needed=options.what == "loosen")
    with ledger.writing(desk.con):  # checked and booked in one: nobody changes it in between
        proposal = _proposal(desk, wanted, at if known else None, options)
        row = controls.apply(
            desk.con,
            proposal,
            at=at,
            who=local_user(),
            by=asked_by(options),
            reason=options.reason,
        )
    gate.bear_witness(desk.con, desk.home)
    told = "; ".join(f"{c.name} {c.old} to {c.new}" for c in proposal.changes)
    journal.event("control", key=row.key, by=row.body["by"], since=row.body["from"], changes=told)
    facts = _facts(proposal, row.body["from"]) | {
        "at": row.body["at"],
        "key": row.key,
        "seq": row.seq,
        "reason": row.body["reason"],
        "impact": None,
    }
    if options.json:
        print_json(facts)
    else:
        print("\n".join([*_lines(facts), f"kept as {row.key} in the ledger (event {row.seq})"]))
    return 0


def _preview(desk: Desk, wanted: Mapping[str, Any], options: argparse.Namespace) -> int:
    at, known = _time(desk, needed=False)
    proposal = _proposal(desk, wanted, at if known else None, options)
    until = at or datetime.now(UTC)
    found = impact(desk.home, until - LOOK_BACK, until, proposal)
    since = "next UTC day" if proposal.loosens else controls.NEXT_TICK
    facts = _facts(proposal, since) | {
        "at": at and iso(at),
        "key": None,
        "seq": None,
        "reason": options.reason,
        "impact": found.plain(),
    }
    if options.json:
        print_json(facts)
    else:
        print("\n".join([*_lines(facts), "", *impact_lines(found), "", "Nothing was changed."]))
    return 0


def _proposal(
    desk: Desk, wanted: Mapping[str, Any], at: datetime | None, options: argparse.Namespace
) -> Proposal:
    loosen = options.what == "loosen"
    return controls.consider(desk.con, desk.settings, at, wanted, loosen=loosen)


def _time(desk: Desk, *, needed: bool) -> tuple[datetime | None, bool]:
    """The exchange's time and True; the last beat's (or None) and False when it does not answer.

    Raises what the exchange raises when the time is `needed`: nothing is loosened by a guessed day.
    """
    try:
        return desk.exchange.time(), True
    except (DataError, BrokerError):
        if needed:
            raise
        newest = ledger.newest_mark(desk.con)
        return from_ms(newest.beat_ms) if newest else None, False


def _facts(proposal: Proposal, since: str) -> dict[str, Any]:
    return {
        "changes": [{"name": c.name, "old": c.old, "new": c.new} for c in proposal.changes],
        "from": since,
        "loosens": proposal.loosens,
        "notes": list(proposal.notes),
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    width = max(len(change["name"]) for change in facts["changes"])
    since = f"from the {facts['from']}" if facts["from"][0] == "n" else f"from {facts['from']} UTC"
    return [
        *(f"{c['name']:<{width}}  {c['old']} -> {c['new']}  {since}" for c in facts["changes"]),
        *(f"note: {note}" for note in facts["notes"]),
    ]


def impact_lines(found: Impact) -> list[str]:
    """The impact for a person."""
    lines = [
        f"{found.ticks} ticks from {iso(found.since)} to {iso(found.until)} decided again: "
        f"{found.ticks_changed} would differ"
    ]
    for one in found.changed:
        before, after = (
            f"{o.signal}, {o.order if o.order and o.approved else 'no order'} ({o.reason})"
            for o in (one.before, one.after)
        )
        lines.append(f"  {one.tick_id} {one.symbol}: {before} -> {after}")
    lines += [f"  {name} cannot be told: {why}" for name, why in found.untold.items()]
    if found.absent:
        lines.append(f"  {found.absent} quarter hours have no notebook")
    return [*lines, f"Mind: {found.note}."]


def _show(desk: Desk, options: argparse.Namespace) -> int:
    at, _ = _time(desk, needed=False)
    at = at or datetime.now(UTC)
    rows = controls.sources(desk.con, desk.settings, at)
    if options.json:
        print_json(
            {
                "at": iso(at),
                "strategy": desk.settings.strategy,
                "settings": [row.plain() for row in rows],
            }
        )
        return 0
    print(f"in force at {iso(at)}, strategy {desk.settings.strategy}\n")
    for row in rows:
        waits = f"; {row.coming}" if row.coming else ""
        print(
            f"  {row.name:<24} {row.value:>8}  {row.low} to {row.high} {row.unit}: {row.text} "
            f"({row.source}{waits})"
        )
    if desk.scale != 1:
        print(f"\nOn the {desk.venue} account limits and order size count {desk.scale:f} times.")
    return 0
