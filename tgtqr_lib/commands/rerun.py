"""Execute archived tick notebooks again on their own inputs and compare everything they say.

NOTEBOOK is a file, or the id of a tick such as 20261122T1015Z; with --all every tick of the archive, or of the
folder named instead. Needs no ledger and no network. MATCH: all equal; VALUE-DRIFT: other numbers, the same
decision; DECISION-DRIFT: another decision. Exit code 5 for any drift or altered file.

--set and --strategy ask what would have been: the copy is written beside the original, marked as a what-if, and
its differences are no drift for the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tgtqr_lib.commands.changes import change_options, duration, since_option
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import Damaged, DomainError
from tgtqr_lib.home import Home

SHOWN = 12  # differences of a notebook that are printed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "notebook", nargs="?", metavar="NOTEBOOK|TICK_ID", help="with --all: a folder"
    )
    parser.add_argument("--all", action="store_true", help="every tick of the archive")
    since_option(parser)
    parser.add_argument("--workers", type=int, help="how many at a time (one a core)")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the executed copy there")
    change_options(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib.archive import opened, rerunning
    from tgtqr_lib.what_if import from_words

    what_if = from_words(options.set, options.strategy)
    paths = _paths(options, opened)
    if options.keep and (options.all or what_if is not None):
        raise DomainError("--keep goes with one faithful re-run; a what-if has a file of its own")
    if options.workers is not None and options.workers < 1:
        raise DomainError(f"--workers {options.workers}: expected 1 or more")

    def keep(sealed: opened.Archived) -> Path | None:
        return options.keep if what_if is None else rerunning.what_if_path(sealed, what_if)

    results, failed = [], []
    for number, one in enumerate(
        rerunning.rerun_all(paths, what_if=what_if, workers=options.workers, keep=keep), 1
    ):
        (failed if isinstance(one, rerunning.Failed) else results).append(one)
        if not options.json:
            _tell(one, number, len(paths), rerunning)
    counts = {kind: sum(r.result == kind for r in results) for kind in rerunning.Result}
    if options.json:
        print_json(
            {
                "results": [one.plain() for one in results],
                "failed": [{"notebook": str(f.path), "error": str(f.error)} for f in failed],
                "match": counts["MATCH"],
                "value_drift": counts["VALUE-DRIFT"],
                "decision_drift": counts["DECISION-DRIFT"],
            }
        )
    elif len(paths) > 1:
        told = [f"{n} {kind}" for kind, n in counts.items() if n or kind == "MATCH"]
        told += [f"{len(failed)} cannot be run"] if failed else []
        print(f"{len(paths)} ticks: {', '.join(told)}")
    if failed:
        if len(paths) == 1:
            raise failed[0].error
        return 5 if any(isinstance(f.error, Damaged) for f in failed) else 2
    drifted = counts["VALUE-DRIFT"] + counts["DECISION-DRIFT"]
    altered = any(one.altered for one in results)
    return 5 if altered or (drifted and what_if is None) else 0


def _paths(options: argparse.Namespace, opened) -> Sequence[Path]:
    home = Home.find(options.home)
    if not options.all:
        if options.notebook is None:
            raise DomainError("expected a notebook, the id of a tick, or --all")
        if options.since:
            raise DomainError("--since goes with --all")
        return [opened.find(home, options.notebook)]
    folder = Path(options.notebook) if options.notebook else home.ticks
    if not folder.is_dir():
        raise DomainError(f"{folder}: is no folder; expected one with tick notebooks")
    paths = opened.notebooks_in(folder)
    others = sum(
        f.suffix == ".ipynb" and opened.NAME.fullmatch(f.name) is None
        for f in opened.files_in(folder)
        if not f.name.startswith(".")
    )
    if others and options.notebook:
        print(
            f"{others} notebooks in {folder} are not named like ticks and left out", file=sys.stderr
        )
    if options.since and paths:
        newest = opened.moment_of(paths[-1])
        paths = opened.notebooks_in(folder, newest - duration(options.since) + timedelta(minutes=1))
    if not paths:
        raise DomainError(f"{folder}: holds no tick notebook")
    return paths


def _tell(one, number: int, count: int, rerunning) -> None:
    place = f"[{number}/{count}] " if count > 1 else ""
    if isinstance(one, rerunning.Failed):
        if count > 1:
            print(f"{place}{one.error}", file=sys.stderr)
        return
    print(f"{place}{one.tick_id} {one.result}" + (f" with {one.what_if}" if one.what_if else ""))
    for sentence in one.altered:
        print(f"  ALTERED {sentence}")
    for difference in one.differences[:SHOWN]:
        print(f"  {difference}")
    if len(one.differences) > SHOWN:
        print(f"  and {len(one.differences) - SHOWN} more; --json tells them all")
    for note in one.notes:
        print(f"  {note}")
    if not one.same_code:
        print(f"  made by {one.made_by}; run again by the code of today, which is another")
    elif count == 1:
        print(f"  made by {one.made_by}, as of today")
    if one.saved is not None:
        print(f"  written to {one.saved}")
