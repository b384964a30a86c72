"""Decide every archived tick again, without kernels, and list the decisions that come out otherwise.

Without a change the code of today stands against what was decided then; with --set, --strategy or --settings
other settings do. FOLDER holds tick notebooks (without it: the archive of the home). Each tick is decided with
the portfolio it had. Exit code 5 when --expect-none was given and a decision changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tgtqr_lib.commands.changes import change_options, duration, since_option
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="of tick notebooks")
    since_option(parser)
    change_options(parser)
    parser.add_argument("--settings", type=Path, metavar="FILE", help="a settings.toml to try")
    parser.add_argument(
        "--expect-none", action="store_true", help="exit code 5 when a decision changed"
    )
    parser.add_argument("--workers", type=int, help="processes (one a core)")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib import impact
    from tgtqr_lib.archive.opened import moment_of, notebooks_in

    if options.workers is not None and options.workers < 1:
        raise DomainError(f"--workers {options.workers}: expected 1 or more")
    what_if = _what_if(options)
    folder = options.folder or Home.find(options.home).ticks
    if not folder.is_dir():
        raise DomainError(f"{folder}: is no folder; expected one with tick notebooks")
    since = None
    if options.since:
        span, paths = duration(options.since), notebooks_in(folder)
        since = moment_of(paths[-1]) - span if paths else None
    told = (lambda done, count: None) if options.json or not sys.stderr.isatty() else _progress
    found = impact.review(folder, what_if, since=since, workers=options.workers, told=told)
    if options.json:
        print_json(found.plain())
    else:
        _print(found)
    return 5 if options.expect_none and (found.changed or found.untold) else 0


def _what_if(options: argparse.Namespace):
    from tgtqr_lib import settings
    from tgtqr_lib.what_if import from_settings, from_words

    if options.settings is None:
        return from_words(options.set, options.strategy)
    if options.set or options.strategy:
        raise DomainError("--settings stands alone; expected no --set and no --strategy beside it")
    return from_settings(settings.load_file(options.settings))


def _progress(done: int, count: int) -> None:
    end = "\n" if done == count else ""
    print(f"\r{done:,} of {count:,} ticks", end=end, file=sys.stderr, flush=True)


def _print(found) -> None:
    for one in found.changed:
        print(f"{one.tick_id} {one.symbol}")
        print(f"  before  {_words(one.before)}")
        print(f"  after   {_words(one.after)}")
        print(f"  {found.links[one.tick_id]}")
    for name, why in found.untold.items():
        print(f"{name}: cannot be told: {why}")
    if found.silent:
        print(f"{len(found.silent):,} ticks ended without a decision: none could change")
    change = f" with {found.what_if}" if found.what_if else " by the code of today"
    print(f"{found.ticks:,} ticks decided again{change}: {len(found.links):,} would differ")
    if found.changed:
        from tgtqr_lib.impact import NOTE

        print(f"({NOTE})")


def _words(outcome) -> str:
    refused = "" if outcome.approved or outcome.order is None else " refused"
    return f"{outcome.signal}, {outcome.order or 'no order'}{refused} ({outcome.reason})"
