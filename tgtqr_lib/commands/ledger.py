"""Verify the ledger, show its events, export it, back the home up, and bring a backup back.

verify names every event that is edited, lost or unreadable and exits 5 when there is one; with --archive also
every tick notebook that is missing, extra or altered. show prints the newest events. export writes ticks,
decisions, fills and equity to a DuckDB file for other tools.

backup makes a checked copy of ledger, notebooks and settings while the kit works, in HOME/backups unless --to says
otherwise; never of .env. It exits 5 when a notebook of the home is missing or altered. With --keep N older backups
go, except the newest N and one a day for 30 days.

restore checks the backup at PATH wholly (the newest one when PATH holds several; HOME/backups without PATH) and
exits 5 when it is damaged. Then it makes it the home's ledger and archive; what was there moves to
data/replaced-<time>/, and the kit is stopped until `tgtqr arm`. With --drill it does so in a temporary home, tells
what a restore would do, and changes nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tgtqr_lib import audit, ledger
from tgtqr_lib.commands.output import json_option, print_json, written_whole
from tgtqr_lib.domain import DomainError, TgtqrError
from tgtqr_lib.home import Home

ONLY_WITH = {
    "archive": "verify",
    "kind": "show",
    "duckdb": "export",
    "to": "backup",
    "keep": "backup",
    "drill": "restore",
    "reason": "restore",
    "path": "restore",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["verify", "show", "export", "backup", "restore"])
    parser.add_argument(
        "path", nargs="?", type=Path, metavar="PATH", help="restore: a backup, or their folder"
    )
    parser.add_argument(
        "--archive", action="store_true", help="check the sealed notebooks against the ledger, too"
    )
    parser.add_argument("--last", type=int, default=20, help="how many events show prints (20)")
    parser.add_argument("--kind", help="only events of this kind")
    parser.add_argument("--duckdb", type=Path, metavar="FILE", help="export: the file to write")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="backup: where to (HOME/backups)")
    parser.add_argument("--keep", type=int, metavar="N", help="backup: then remove older ones")
    parser.add_argument(
        "--drill", action="store_true", help="restore: try it in a temporary home only"
    )
    parser.add_argument("--reason", help="restore: why; the ledger keeps it")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    for name, what in ONLY_WITH.items():
        if getattr(options, name) not in (None, False) and options.what != what:
            shown = str(options.path) if name == "path" else f"--{name}"
            raise DomainError(f"{shown} goes with `tgtqr ledger {what}`, not with {options.what}")
    home = Home.find(options.home)
    if options.what in ("backup", "restore"):
        from tgtqr_lib.commands import backups  # verify needs none of it

        return getattr(backups, options.what)(home, options)
    if options.what == "export":
        return _export(home, options)
    con = ledger.connect(home.ledger, create=False)
    try:
        return _verify(con, home, options) if options.what == "verify" else _show(con, options)
    finally:
        con.close()


def _export(home: Home, options: argparse.Namespace) -> int:
    if options.duckdb is None:
        raise DomainError("tgtqr ledger export needs a file; expected --duckdb FILE")
    from tgtqr_lib.research import export

    export.check_target(options.duckdb)
    with written_whole(options.duckdb) as fresh:
        rows = export.export(home, fresh)
    if options.json:
        print_json({"file": str(options.duckdb), "rows": rows})
        return 0
    told = ", ".join(f"{count:,} {name}" for name, count in rows.items())
    print(f"{options.duckdb}: {told}")
    return 0


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
