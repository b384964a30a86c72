"""Verify the ledger's chain and contents, or show its events.

verify names every event that is edited, lost or unreadable and exits 5 when there is one; with --archive also
every tick notebook that is missing, extra or altered.
"""

from __future__ import annotations

import argparse
import json

from tgtqr_lib import audit, ledger
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import TgtqrError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["verify", "show"])
    parser.add_argument(
        "--archive", action="store_true", help="check the sealed notebooks against the ledger, too"
    )
    parser.add_argument("--last", type=int, default=20, help="how many events show prints (20)")
    parser.add_argument("--kind", help="only events of this kind")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    con = ledger.connect(home.ledger, create=False)
    try:
        return _verify(con, home, options) if options.what == "verify" else _show(con, options)
    finally:
        con.close()


def _verify(con, home: Home, options: argparse.Namespace) -> int:
    events, problems = audit.verify(con, home)
    notebooks = None
    if options.archive:
        from tgtqr_lib.archive import witness

        try:
            notebooks, found = witness.check(con, home)
        except (
            TgtqrError,
            KeyError,
            TypeError,
        ) as error:  # a ledger that was edited may say anything
            if not problems:
                raise
            found = [f"the notebooks could not be checked: {error}"]
        problems = [*problems, *found]
    if options.json:
        seq, head = ledger.head(con)
        facts = {"events": events, "problems": problems, "seq": seq, "head": head}
        print_json({"ok": not problems, **facts, "notebooks": notebooks})
    else:
        for problem in problems:
            print(problem)
        verdict = (
            f"{len(problems)} problem{'s' * (len(problems) != 1)}"
            if problems
            else "the chain, every fill and the witness agree"
        )
        checked = f"{events} events"
        if notebooks is not None:
            checked += f" and {notebooks} notebooks"
            verdict = verdict.replace(" and the witness", ", the witness and the archive")
        print(f"{checked}: {verdict}")
    return 5 if problems else 0


def _show(con, options: argparse.Namespace) -> int:
    last = ledger.head(con)[0]
    if options.kind:
        rows = ledger.of_kind(con, options.kind, newest=options.last)
    else:
        rows = ledger.between(con, last - options.last + 1, last)
    if options.json:
        events = [
            {"seq": r.seq, "kind": r.kind, "key": r.key, "body": r.body, "hash": r.hash}
            for r in rows
        ]
        print_json({"events": events})
        return 0
    for row in rows:
        body = json.dumps(row.body, ensure_ascii=False)
        print(f"{row.seq:>6} {row.kind:<9} {row.key:<40} {body[:140]}")
    return 0
