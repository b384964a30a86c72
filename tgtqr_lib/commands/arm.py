"""Allow trading again. Needs a reason, which is kept; refuses while anything is held or a floor is broken."""

from __future__ import annotations

import argparse

from tgtqr_lib import gate, journal, settings
from tgtqr_lib.books import check_reason
from tgtqr_lib.clock import iso
from tgtqr_lib.commands.by import asked_by, by_option
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.desk import check_account, open_desk, situation
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", help="why trading may go on (required)")
    by_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    reason = check_reason(options.reason, "tgtqr arm")
    chosen = settings.load(home)
    with open_desk(home, chosen) as desk:
        journal.start(home)
        at = desk.exchange.time()
        gate.note_latch(desk.con, home, at)
        inputs = situation(desk, at)
        check_account(desk)
        held = desk.sellable(inputs.portfolio)
        gate.arm(desk.con, home, inputs, reason, asked_by(options), held=held)
        journal.event("armed", at=iso(at), reason=reason)
    if options.json:
        print_json({"gate": "armed", "at": iso(at), "reason": reason})
    else:
        print(
            f"armed at {iso(at)}: {reason}\n"
            "Entries need a watch beat in the last 180 s: `tgtqr watch` or `tgtqr up` gives them "
            "(with the embedded simulator `tgtqr tick` does)."
        )
    return 0
