"""Who asked for a change: the command line, or the page, which calls the very same command."""

from __future__ import annotations

import argparse
import getpass

from tgtqr_lib.controls import COMMAND_LINE, PAGE

WORDS = {"command": COMMAND_LINE, "page": PAGE}


def by_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--by`, which the help does not show."""
    parser.add_argument("--by", choices=sorted(WORDS), default="command", help=argparse.SUPPRESS)


def asked_by(options: argparse.Namespace) -> str:
    """As the ledger keeps it: `the page` or `the command line`."""
    return WORDS[options.by]


def local_user() -> str:
    """The name of the local user, `unknown` when the machine has none for this process."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):
        return "unknown"
    return name if name and name.isprintable() else "unknown"
