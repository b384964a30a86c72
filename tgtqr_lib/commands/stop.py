"""Stop at once: nothing that adds exposure happens afterwards, and what is held is sold by the next beat.

Works with a locked ledger and a full disk. Only `tgtqr arm --reason ...` opens the gate again.
"""

from __future__ import annotations

import argparse
import sys

from tgtqr_lib import latch
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="the stop command", help="kept with the stop")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    known = home.data.is_dir()
    before = latch.stopped_because(home)
    try:
        latch.stop(home, f"{options.reason} (by the command line)")
    except OSError as error:
        print(
            f"tgtqr stop: NOT STOPPED: {home.control} cannot be written ({error.strerror}); "
            "remove data/control/ARMED by hand",
            file=sys.stderr,
        )
        return 1
    told = _tell_the_ledger(home, options.reason)
    if not known:
        print(
            f"tgtqr stop: there was no home at {home.root} until now; if another one trades, stop that "
            "(--home or TGTQR_HOME)",
            file=sys.stderr,
        )
    state = "stopped already" if before else "STOPPED"
    if options.json:
        import json

        print(
            json.dumps(
                {"gate": "STOPPED", "home": str(home.root), "before": before, "in_ledger": told}
            )
        )
        return 0
    note = "" if told else " The ledger hears of it at the next beat or tick."
    print(
        f"{state} in {home.root}: {latch.stopped_because(home)}. What is held is sold by the next beat or tick.{note}"
    )
    return 0


def _tell_the_ledger(home: Home, reason: str) -> bool:
    """Book the stop when the ledger can be told at once; the latch holds without it."""
    if not home.ledger.is_file():
        return False
    try:
        from tgtqr_lib import gate  # after the latch, so that nothing here can hold it up

        return gate.tell_ledger_of_stop(home, reason, "the command line")
    except Exception:
        return False
