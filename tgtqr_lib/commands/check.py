"""Does a strategy keep its promises? Look-ahead, warm-up, parity of tick and backtest, fees, and more.

  tgtqr check ma_trend
  tgtqr check my_strategy.py window=30
  tgtqr check ma_trend window=240 --candles FILE.parquet --symbol ETHUSDT --from 2025-01-01

STRATEGY is the name of a registered one or a Python file that defines STRATEGY, which is executed. It is tried
on a synthetic market unless --candles or --lake says otherwise; funding and order books that it reads come from
the same market, or from the lake. Exit code 5 when a probe fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from tgtqr_lib.commands import history
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import Candles, DataError, DomainError
from tgtqr_lib.limits import SYMBOLS
from tgtqr_lib.strategies import Strategy, strategy_named

DRIFT = 5
SEED = 1
SYNTHETIC_START = "2025-06-01"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("strategy", metavar="STRATEGY", help="a name, or a file of your own")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="of the strategy")
    parser.add_argument("--symbol", choices=SYMBOLS, default=SYMBOLS[0], help="(BTCUSDT)")
    parser.add_argument("--market", choices=history.MARKETS, default="spot", help="(spot)")
    parser.add_argument(
        "--candles",
        type=Path,
        action="append",
        metavar="FILE",
        help="Parquet of one-minute candles, may be repeated",
    )
    parser.add_argument("--lake", action="store_true", help="candles of the lake, data/candles/")
    parser.add_argument("--from", dest="start", metavar="DATE", help="first minute")
    parser.add_argument("--to", dest="end", metavar="DATE", help="up to, not including")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib.backtest.probes import check

    if options.lake and options.candles:
        raise DomainError("--lake and --candles were both given; expected one of them")
    strategy = strategy_of(options.strategy)
    given = history.assigned(options.parameters)
    parameters = strategy.checked({name: history.whole(name, text) for name, text in given.items()})
    if options.lake or options.candles:
        candles = history.with_needs(options, history.bars_of(options), strategy)
    else:
        candles = synthetic(options, strategy, parameters)
    findings = check(strategy, candles, **parameters)
    if options.json:
        print_json(findings.plain())
    else:
        print(findings)
    return DRIFT if findings.failed else 0


def strategy_of(text: str) -> Strategy:
    """The registered strategy called `text`, or the one that the file `text` defines as STRATEGY.

    Raises `DomainError` when there is neither, or the file cannot be executed.
    """
    path = Path(text)
    if path.suffix != ".py":
        return strategy_named(text)
    if not path.is_file():
        raise DomainError(f"{path}: there is no such file; expected one that defines STRATEGY")
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path.resolve())
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look a module up by its name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise DomainError(f"{path}: {type(error).__name__}: {error}") from error
    found = getattr(module, "STRATEGY", None)
    if not isinstance(found, Strategy):
        raise DomainError(f"{path}: STRATEGY is {found!r}; expected a Strategy")
    return found


def synthetic(options: argparse.Namespace, strategy: Strategy, parameters: dict[str, int]) -> Any:
    """A made-up market from --from to --to, usually as many minutes as the probes want."""
    from tgtqr_lib.backtest.probes import minutes_wanted
    from tgtqr_lib.clock import parse_time, to_ms
    from tgtqr_lib.market import made_up
    from tgtqr_lib.market.synthetic import SyntheticSource

    start = parse_time(options.start or SYNTHETIC_START)
    end = start + timedelta(minutes=minutes_wanted(strategy, parameters))
    if options.end:
        end = parse_time(options.end)
    if start >= end:
        raise DomainError(f"--from {options.start} is not before --to {options.end}")
    source = SyntheticSource(SEED)
    rows = source.candles(options.symbol, to_ms(start), to_ms(end))
    if not len(rows):
        raise DataError(f"{source.name}: no candle from {options.start} to {options.end}")
    columns = (rows[name] for name in ("open_ms", *Candles.COLUMNS))
    decimals = source.price_decimals(options.symbol)
    candles = Candles(options.symbol, decimals, *columns, options.market)
    return made_up.history(source, candles, strategy.needs)
