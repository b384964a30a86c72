"""Look before trading: exchange, region, clock, key, account, limits, disk, files, schedule, page; change nothing.

Each check says pass, warn, fail or skip (with the reason), and what to do. It asks a dead host once, so it
takes seconds. Nothing that it prints is secret.

Its exit code is 0 when nothing failed (warnings are allowed), else that of the first check that failed:
2 home, .env, settings and key; 4 exchange and account; 1 this machine.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tgtqr_lib import preflight
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.home import Home
from tgtqr_lib.limits import DISK_FREE_MB
from tgtqr_lib.preflight import Case, Finding, Kind, State

MEMORY_MB = 500
CODES = {None: 0, Kind.SETUP: 2, Kind.EXCHANGE: 4, Kind.MACHINE: 1}
COLOURS = {State.PASS: "32", State.WARN: "33", State.FAIL: "31", State.SKIP: "2"}
NARROWEST, WIDEST = 60, 110


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=5000, help="of the page (5000)")
    parser.add_argument(
        "--disk-mb", type=int, default=DISK_FREE_MB, metavar="MB",
        help=f"free disk below which it fails ({DISK_FREE_MB}, as at the gate)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-mb", type=int, default=MEMORY_MB, metavar="MB",
        help=f"available memory below which it warns ({MEMORY_MB})",
    )  # fmt: skip
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    case = Case(
        home=Home.find(options.home),
        port=options.port,
        disk_mb=options.disk_mb,
        memory_mb=options.memory_mb,
        doors=_jupyter_problem,
    )
    try:
        findings = preflight.look(case)
    finally:
        case.close()
    if options.json:
        print_json({"checks": [_plain(one) for one in findings]})
    else:
        width = min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)
        print("\n".join(table(findings, width, coloured=sys.stdout.isatty())))
    return CODES[preflight.first_failure(findings)]


def table(findings: Sequence[Finding], width: int, *, coloured: bool = False) -> Iterator[str]:
    """The findings as lines of at most `width`: state, name, detail; below a detail what to do.

    Checks that were skipped one after the other for the same reason share a line.
    """
    longest = max(len(one.name) for one in findings)
    margin = len("skip") + 2 + longest + 2
    for _, group in itertools.groupby(findings, key=_shared):
        one, *others = group
        also = f" (also {', '.join(other.name for other in others)})" if others else ""
        state = f"\033[{COLOURS[one.state]}m{one.state}\033[0m" if coloured else str(one.state)
        first, *more = _wrapped(one.detail + also, width - margin) or [""]
        yield f"{state}  {one.name:<{longest}}  {first}"
        for line in [*more, *_wrapped(one.do and f"do: {one.do}", width - margin, "    ")]:
            yield " " * margin + line
    yield preflight.tally(findings)


def _shared(one: Finding) -> tuple[str, str]:
    """What neighbours must have in common to share a line: all of it, or being skipped for one reason."""
    return (one.state, one.detail) if one.state is State.SKIP else (one.name, "")


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _plain(one: Finding) -> dict[str, Any]:
    return {"name": one.name, "state": str(one.state), "detail": one.detail, "do": one.do}


def _jupyter_problem() -> str | None:
    from tgtqr_lib.dashboard.self_check import extension_problem

    return extension_problem()
