"""Run scheduler, watch and page in the foreground until Ctrl-C: a tick each quarter hour, a beat each minute.

With the embedded simulator its clock runs, from where it stood, at --rate times real time.
"""

from __future__ import annotations

import argparse

from tgtqr_lib.commands.running import port_option, run_until_stopped
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=1.0, help="speed of the embedded simulator's clock (1)"
    )
    port_option(parser)


def run(options: argparse.Namespace) -> int:
    return run_until_stopped(
        Home.find(options.home), ticks=True, rate=options.rate, port=options.port
    )
