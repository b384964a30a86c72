"""The options of commands that ask what would have been, and spans of time in words."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta

from tgtqr_lib.domain import DomainError

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def change_options(parser: argparse.ArgumentParser) -> None:
    """Declare `--set` and `--strategy`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter, order_target_usdt, collar_bps or limits.NAME; may be repeated",
    )
    parser.add_argument("--strategy", metavar="NAME", help="another strategy")


def since_option(parser: argparse.ArgumentParser) -> None:
    """Declare `--since`."""
    parser.add_argument("--since", metavar="SPAN", help="only the newest 30d, 12h, 90m of ticks")


def duration(text: str) -> timedelta:
    """`30d`, `12h`, `90m` or `2w` as a span. Raises `DomainError` for anything else."""
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if match is None:
        raise DomainError(f"{text!r} is not a span of time; expected one like 30d, 12h or 90m")
    return timedelta(**{UNITS[match[2]]: int(match[1])})
