"""Import recorded one-minute candles into the lake, or verify every file in it.

import names every wrong row by number and reason and brings in the others. verify exits 5 when a file is
altered, lost or wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.importer import import_file


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["import", "verify"])
    parser.add_argument("files", nargs="*", type=Path, help="Parquet files to import")
    parser.add_argument("--symbol", help="store a file of one symbol under this name")
    parser.add_argument(
        "--market", choices=["spot", "linear"], help="instead of what the file says"
    )
    parser.add_argument("--source", help="kept as the rows' origin, instead of what the file says")
    parser.add_argument(
        "--revise", action="store_true", help="replace minutes that differ in the lake"
    )
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    lake = Lake(Home.find(options.home).make().candles)
    return _verify(lake, options) if options.what == "verify" else _import(lake, options)


def _import(lake: Lake, options: argparse.Namespace) -> int:
    if not options.files:
        raise DomainError("data import: no file was named; expected one Parquet file or more")
    for path in options.files:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file")
    reports = []
    for path in options.files:
        report = import_file(
            path,
            lake,
            symbol=options.symbol,
            market=options.market,
            source=options.source,
            revise=options.revise,
            progress=_progress(path.name) if sys.stderr.isatty() else None,
        )
        reports.append(report)
        if not options.json:
            print(report)
    if options.json:
        print_json({"files": [report.as_dict() for report in reports]})
    return 4 if any(report.refused for report in reports) else 0


def _verify(lake: Lake, options: argparse.Namespace) -> int:
    report = lake.verify()
    if options.json:
        print_json(report.as_dict())
    else:
        print(report)
    return 0 if report.ok else 5


def _progress(name: str):
    def show(done: int, total: int) -> None:
        end = "\n" if done >= total else "\r"
        print(f"{name}: {done:,} of {total:,} rows", end=end, file=sys.stderr, flush=True)

    return show
