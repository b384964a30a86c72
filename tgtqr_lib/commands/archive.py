"""Show a sealed tick as a page, or make old ticks take less room.

show TICK_ID writes the notebook as one HTML file, which loads nothing, and opens it. prune --keep 90d says what
it will free, then thins older quiet ticks to inputs and decision (they still run again) and packs the rest
whole; --dry-run only says it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tgtqr_lib.commands.changes import duration
from tgtqr_lib.commands.output import json_option, print_json, written_whole
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["show", "prune"])
    parser.add_argument("tick", nargs="?", metavar="TICK_ID", help="show: like 20261122T1015Z")
    parser.add_argument("--out", type=Path, metavar="FILE", help="show: where to write the page")
    parser.add_argument("--no-open", action="store_true", help="show: only write the page")
    parser.add_argument("--keep", metavar="SPAN", help="prune: what stays as it is, such as 90d")
    parser.add_argument("--dry-run", action="store_true", help="prune: only say what it would free")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    return _show(home, options) if options.what == "show" else _prune(home, options)


def _show(home: Home, options: argparse.Namespace) -> int:
    if options.tick is None or options.keep or options.dry_run:
        raise DomainError("show: expected the id of a tick, like 20261122T1015Z")
    from tgtqr_lib.archive.opened import find, open_archived
    from tgtqr_lib.dashboard.tick_html import page_of_file

    sealed = open_archived(find(home, options.tick))
    if sealed.pruned:
        raise DataError(
            f"tick {sealed.tick_id}: its tables and pictures were pruned; "
            f"`tgtqr rerun {options.tick} --keep FILE.ipynb` draws them again"
        )
    out = options.out or home.outputs / "pages" / f"{sealed.tick_id}.html"
    if out.suffix != ".html":
        raise DomainError(f"--out {out}: expected the name of a page, .html")
    with written_whole(out) as fresh:
        fresh.write_text(page_of_file(sealed.path, sealed.tick_id), "utf-8")
    if options.json:
        print_json({"tick_id": sealed.tick_id, "page": str(out), "altered": sealed.altered()})
    else:
        print(out)
        for sentence in sealed.altered():
            print(f"ALTERED {sentence}", file=sys.stderr)
        if sys.stdout.isatty() and not options.no_open and _has_screen():
            import webbrowser

            webbrowser.open(out.resolve().as_uri())
    return 5 if sealed.altered() else 0


def _has_screen() -> bool:
    return sys.platform == "darwin" or any(
        os.environ.get(v) for v in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _prune(home: Home, options: argparse.Namespace) -> int:
    if options.tick is not None:
        raise DomainError(f"prune: {options.tick} is one tick; expected --keep SPAN alone")
    if options.keep is None:
        raise DomainError("prune: expected --keep SPAN, such as --keep 90d")
    from tgtqr_lib import ledger
    from tgtqr_lib.archive import pruning
    from tgtqr_lib.archive.opened import moment_of, notebooks_in
    from tgtqr_lib.desk import TICK_LOCK, one_at_a_time

    paths = notebooks_in(home.ticks)
    if not paths:
        raise DataError(f"{home.ticks}: holds no tick notebook")
    before = moment_of(paths[-1]) - duration(options.keep)
    plan = pruning.plan(home, before)
    facts = {"before": f"{before:%Y-%m-%dT%H:%MZ}", "ticks": len(plan.paths), "bytes": plan.now}
    if not options.json:
        print(
            f"{len(plan.paths):,} of {len(paths):,} ticks are older than {options.keep} and not packed: about "
            f"{plan.thinned:,} to thin, the others to pack whole; frees about {plan.freed / 1e6:,.1f} MB "
            f"of {plan.now / 1e6:,.1f} MB"
        )
    if options.dry_run or not plan.paths:
        if options.json:
            print_json({**facts, "would_free": plan.freed, "would_thin": plan.thinned})
        return 0
    con = ledger.connect(home.ledger, create=False)
    try:
        with one_at_a_time(home.control / TICK_LOCK, "tick"):
            days = list(pruning.prune(con, home, plan))
    finally:
        con.close()
    thinned, packed, freed = (
        sum(getattr(d, n) for d in days) for n in ("thinned", "packed", "freed")
    )
    kept = [sentence for day in days for sentence in day.kept]
    if options.json:
        done = {"thinned": thinned, "packed": packed, "freed": freed, "kept": kept}
        print_json({**facts, **done})
    else:
        for sentence in kept:
            print(f"left as it is: {sentence}", file=sys.stderr)
        print(f"{thinned:,} thinned, {packed:,} packed whole, {freed / 1e6:,.1f} MB freed")
    return 5 if kept else 0
