"""Write, remove or show the crontab entries: a tick each quarter hour, a beat each minute, at 00:05 the day's
report, in UTC.

Only the lines between the kit's own markers are touched; installing twice equals installing once.
"""

from __future__ import annotations

import argparse

from tgtqr_lib import schedule, settings
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.desk import make_folders
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["install", "remove", "show"])
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    home = Home.find(options.home)
    chosen = settings.load(home)  # a home whose settings are wrong is not worth a schedule
    crontab = schedule.read_crontab()
    present = schedule.installed(home, crontab)
    if options.what == "install":
        if chosen.market == "simulator" and chosen.simulator.url is None:
            raise DomainError(
                "schedule: the embedded simulator has no time of its own; expected market = 'bybit', "
                "or the url of a running simulator, in settings.toml"
            )
        make_folders(home)
        wanted = schedule.with_block(home, crontab)
    else:
        wanted = schedule.without_block(home, crontab)
    if options.what != "show" and wanted != crontab:
        schedule.write_crontab(wanted)
        present = schedule.installed(home, wanted)
    if options.json:
        print_json({"home": str(home.root), "installed": bool(present), "lines": present[1:-1]})
        return 0
    told = {
        "install": "installed",
        "remove": "removed",
        "show": "installed" if present else "not installed",
    }
    print(f"schedule {told[options.what]} for {home.root}")
    for line in present[1:-1] or ():
        print(f"  {line}")
    return 0
