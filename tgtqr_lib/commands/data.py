"""Market data in data/candles, data/funding and data/book: fetch it from the exchange, import files, verify all of it.

  tgtqr data fetch --from 2025-06-01                  one-minute candles of BTCUSDT and ETHUSDT, spot
  tgtqr data fetch --from 2025-01-01 --to 2025-07-01 --market linear --funding --mark
  tgtqr data fetch --funding                          funding alone, back to the perpetual's first day
  tgtqr data import candles_1m_bybit-linear.parquet mine.csv
  tgtqr data verify

What was fetched once is not asked for again: a fetch that was interrupted goes on where the lake ends.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.desk import make_folders
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.market.series_id import SYMBOL

if TYPE_CHECKING:
    from tgtqr_lib.market.book_lake import BookLake
    from tgtqr_lib.market.candles import Lake
    from tgtqr_lib.market.funding_lake import FundingLake

MARKETS = ("spot", "linear")
LINE_EVERY_S = 5.0

FETCH = """Fetch closed one-minute candles that the lake does not have, up to the exchange's time.

Without --from, --funding fetches settlements alone, from the day on which the exchange says the perpetual
began, at the interval that it names for the symbol. Minutes that do not come are asked for again; those
that the exchange does not have are noted, and `data verify` lists them. With the embedded simulator the
exchange's time is that home's clock. Exits 4 when the exchange does not answer, or sent a candle that
cannot be."""
IMPORT = """Import Parquet or CSV files of candles (1m, 5m, 15m or 1h) or funding rates.

Columns: ts, open, high, low, close, volume, or ts, rate; symbol and source where they are known. In a CSV
the time may be called ts, time, timestamp, open_time or date, and be ISO 8601 (UTC without a zone) or a
Unix time in s, ms or us, one of them a file. Quotes, trades and order books are not kept. Every wrong row
is named by number and reason, and the others are brought in; exits 4 when there was one."""
VERIFY = """Compare every file with its checksum, look at every row, and tell the figures of each series.

Gaps and wild prices are told and fail nothing; exits 5 when a file is altered, lost or wrong."""


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="what", required=True, metavar="import|fetch|verify")
    fetch = _action(actions, "fetch", FETCH)
    fetch.add_argument(
        "--from", dest="start", metavar="DATE", help="first minute; not needed for --funding alone"
    )
    fetch.add_argument(
        "--to", dest="end", metavar="DATE", help="up to, not including; default: now"
    )
    fetch.add_argument(
        "--symbol",
        action="append",
        metavar="SYMBOL",
        help="may be repeated; default: as in settings",
    )
    fetch.add_argument("--market", choices=MARKETS, help="default: spot")
    fetch.add_argument("--funding", action="store_true", help="also funding rates; means linear")
    fetch.add_argument("--mark", action="store_true", help="also mark-price candles; means linear")
    fetch.add_argument(
        "--revise", action="store_true", help="replace candles of another venue in the lake"
    )
    fetch.add_argument(
        "--retry", action="store_true", help="ask again for candles on record as absent"
    )
    files = _action(actions, "import", IMPORT)
    files.add_argument("files", nargs="*", type=Path, help="Parquet or CSV files")
    files.add_argument("--symbol", help="store a file of one symbol under this name")
    files.add_argument("--market", choices=MARKETS, help="instead of what the file says")
    files.add_argument("--source", help="kept as the rows' origin, instead of what the file says")
    files.add_argument("--revise", action="store_true", help="replace rows that differ in the lake")
    _action(actions, "verify", VERIFY)


def _action(actions: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # the home may be named before the action or after it
    action.add_argument("--home", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    json_option(action)
    return action


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib.market.book_lake import BookLake
    from tgtqr_lib.market.candles import Lake
    from tgtqr_lib.market.funding_lake import FundingLake

    home = Home.find(options.home)
    make_folders(home)
    lake, funding = Lake(home.candles), FundingLake(home.funding)
    if options.what == "verify":
        return _verify(lake, funding, BookLake(home.book), options)
    if options.what == "fetch":
        return _fetch(home, lake, funding, options)
    return _import(lake, funding, options)


def _import(lake: Lake, funding: FundingLake, options: argparse.Namespace) -> int:
    from tgtqr_lib.market.importer import import_file

    if not options.files:
        raise DomainError(
            "data import: no file was named; expected one Parquet or CSV file or more"
        )
    if options.symbol is not None and not SYMBOL.fullmatch(options.symbol):
        raise DomainError(
            f"data import: --symbol {options.symbol!r} is no symbol; expected one like BTCUSDT"
        )
    for path in options.files:
        if path.is_dir():
            raise DataError(f"{path}: is a folder; expected a Parquet or CSV file")
        if not path.is_file():
            raise DataError(f"{path}: there is no such file; nothing was imported")
    reports, seconds = [], []
    for path in options.files:
        began = time.perf_counter()
        with _progress(path.name, "rows") as progress:
            report = import_file(
                path,
                lake,
                funding=funding,
                symbol=options.symbol,
                market=options.market,
                source=options.source,
                revise=options.revise,
                progress=progress,
            )
        reports.append(report)
        seconds.append(time.perf_counter() - began)
        if not options.json:
            print(f"{report}\nIn {seconds[-1]:.2f} s, {report.rows / seconds[-1]:,.0f} rows/s.")
    if options.json:
        timed = [
            report.as_dict() | {"wall_s": round(took, 3)}
            for report, took in zip(reports, seconds, strict=True)
        ]
        print_json({"files": timed})
    return 4 if any(report.refused for report in reports) else 0


def _fetch(home: Home, lake: Lake, funding: FundingLake, options: argparse.Namespace) -> int:
    from tgtqr_lib import settings as typed
    from tgtqr_lib.clock import parse_time
    from tgtqr_lib.market.embedded import open_market
    from tgtqr_lib.market.fetch import fetch_candles, fetch_funding
    from tgtqr_lib.market.history import ExchangeHistory

    settings = typed.load(home)
    market = options.market or ("linear" if options.funding or options.mark else "spot")
    if market == "spot" and (options.funding or options.mark):
        raise DomainError(
            "data fetch: spot has neither funding nor mark prices; say --market linear"
        )
    alone = options.start is None
    if alone and (not options.funding or options.mark):
        raise DomainError("data fetch: expected --from DATE, the first minute to fetch")
    reports = []
    with open_market(home, settings) as (exchange, _):
        now = exchange.time()
        end = parse_time(options.end) if options.end else now
        history = ExchangeHistory(exchange, market)
        how = {"revise": options.revise}
        candles = how | {"retry": options.retry}
        for symbol in options.symbol or settings.symbols:
            start = history.launched(symbol) if alone else parse_time(options.start)
            span = (start, end, now)
            kinds = () if alone else (False, True) if options.mark else (False,)
            for mark in kinds:
                kind = f"{symbol} {market}{' mark' if mark else ''}"
                with _progress(kind, "minutes") as progress:
                    report = fetch_candles(
                        history, lake, symbol, *span, mark=mark, progress=progress, **candles
                    )
                reports.append(_told(report, options))
            if options.funding:
                report = fetch_funding(history, funding, symbol, *span, **how)
                reports.append(_told(report, options))
    if options.json:
        print_json({"series": [report.as_dict() for report in reports]})
    return 4 if any(report.odd for report in reports) else 0


def _told(report, options: argparse.Namespace):
    if not options.json:
        print(report, flush=True)
    return report


def _verify(lake: Lake, funding: FundingLake, book: BookLake, options: argparse.Namespace) -> int:
    report = lake.verify() + funding.verify() + book.verify()
    if options.json:
        print_json(report.as_dict())
    else:
        print(report)
    return 0 if report.ok else 5


@contextmanager
def _progress(name: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how far something has come: a bar in a terminal, else a line now and then; on standard error."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(desc=name, unit=f" {unit}", unit_scale=True, file=sys.stderr) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield show
        return
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= LINE_EVERY_S:
            told = time.monotonic()
            print(f"{name}: {done:,} of {total:,} {unit}", file=sys.stderr, flush=True)

    yield tell
