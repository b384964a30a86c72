"""The candles that `backtest` and `sweep` read: a file, or the lake; and the terms that both take."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tgtqr_lib.domain import DataError, DomainError, Limits, Plan
from tgtqr_lib.home import Home
from tgtqr_lib.limits import COLLAR_BPS, HARD, ORDER_TARGET_USDT, SYMBOLS
from tgtqr_lib.strategies import Strategy, strategy_named

MARKETS = ("spot", "linear")
FINEST_SPREAD = 4  # decimals of a basis point


def history_options(parser: argparse.ArgumentParser) -> None:
    """Declare where the candles come from and on what terms they are traded."""
    parser.add_argument("--symbol", choices=SYMBOLS, default=SYMBOLS[0], help="(BTCUSDT)")
    parser.add_argument(
        "--candles",
        type=Path,
        action="append",
        metavar="FILE",
        help="Parquet of one-minute candles, may be repeated; without it the lake, data/candles/",
    )
    parser.add_argument("--market", choices=MARKETS, default="spot", help="(spot)")
    parser.add_argument("--from", dest="start", metavar="DATE", help="first minute; default: all")
    parser.add_argument("--to", dest="end", metavar="DATE", help="up to, not including")
    parser.add_argument("--strategy", default="ma_trend", help="(ma_trend)")
    parser.add_argument(
        "--limits", choices=["on", "off"], default="on", help="off labels the result so (on)"
    )
    parser.add_argument("--spread-bps", default="1", metavar="BPS", help="ask over bid (1)")


def bars_of(options: argparse.Namespace) -> Any:
    """The candles that the options name, as `Bars`. Raises `DataError` when there are none."""
    from tgtqr_lib.backtest import Bars
    from tgtqr_lib.clock import parse_time, to_ms

    start = to_ms(parse_time(options.start)) if options.start else 0
    end = to_ms(parse_time(options.end)) if options.end else 253_402_300_800_000
    if start >= end:
        raise DomainError(f"--from {options.start} is not before --to {options.end}")
    if options.candles is None:
        from tgtqr_lib.clock import from_ms
        from tgtqr_lib.market.candles import Lake

        lake = Lake(Home.find(options.home).candles)
        span_of = from_ms(start), from_ms(min(end, 253_402_300_799_999))
        seen = lake.columns(options.symbol, *span_of, market=options.market)
        where = f"the lake has no candle of {options.symbol} {options.market}"
        found = Bars.of(seen) if len(seen) else None
    else:
        from tgtqr_lib.market.minutes import read_minutes

        for path in options.candles:
            if not path.is_file():
                raise DataError(f"--candles {path}: there is no such file")
        rows = read_minutes(
            options.candles,
            options.symbol,
            start if options.start else None,
            end if options.end else None,
        )
        _note_market(options)
        where = f"{options.candles[0].name} has no candle of {options.symbol}"
        columns = rows.open_ms, rows.open, rows.close
        found = Bars(options.symbol, rows.decimals, *columns, options.market) if len(rows) else None
    if found is None:
        span = f" from {options.start or 'the beginning'} to {options.end or 'the end'}"
        raise DataError(f"{where}{span}; `tgtqr data fetch` or `data import` brings some")
    return found


def _note_market(options: argparse.Namespace) -> None:
    """Say on standard error when a file calls its candles something else than they are taken for."""
    from tgtqr_lib.market.importer import markets_named
    from tgtqr_lib.market.minutes import calls_itself

    for path in options.candles:
        named = markets_named({calls_itself(path, options.symbol)})
        if named and options.market not in named:
            other = min(named)
            print(
                f"{path.name} calls its candles {other}; here they are {options.market}, with its fees "
                f"(--market {other} says otherwise)",
                file=sys.stderr,
            )


def funding_of(options: argparse.Namespace, bars: Any) -> dict[str, Any]:
    """The lake's settlements of a perpetual over the span of `bars`; says on standard error when it has none."""
    if bars.market != "linear":
        return {}
    from tgtqr_lib.clock import from_ms
    from tgtqr_lib.domain import MINUTE_MS
    from tgtqr_lib.market.funding_lake import FundingLake

    span = from_ms(int(bars.open_ms[0])), from_ms(int(bars.open_ms[-1]) + MINUTE_MS)
    rates = FundingLake(Home.find(options.home).data / "funding").read(bars.symbol, *span)
    if not len(rates):
        print(
            f"the lake has no funding of {bars.symbol} from {span[0]:%Y-%m-%d} to "
            f"{span[1]:%Y-%m-%d}, so none is paid",
            file=sys.stderr,
        )
        return {}
    return {bars.symbol: rates}


def with_needs(options: argparse.Namespace, bars: Any, strategy: Strategy) -> Any:
    """`bars` with the funding and the books of the lake that `strategy` reads.

    Raises `DataError` when the lake has none of them in the span.
    """
    if not strategy.needs:
        return bars
    from dataclasses import replace

    from tgtqr_lib.domain import MINUTE_MS
    from tgtqr_lib.market import beside

    home, closed = Home.find(options.home), bars.open_ms + MINUTE_MS
    return replace(
        bars, **{need: beside.read(home, bars.symbol, need, closed) for need in strategy.needs}
    )


def long_enough(bars: Any, lookback: int) -> None:
    """Raise `DataError` when no decision can be made for want of minutes."""
    if len(bars) < lookback:
        raise DataError(
            f"{bars.symbol}: {len(bars):,} minutes are there, and a decision needs {lookback:,}; "
            "a shorter window or a longer span does"
        )


def gaps_told(gaps: Sequence[Any]) -> str:
    """How many minutes are missing, and where most of them, in words."""
    if not gaps:
        return "no gap"
    from tgtqr_lib.clock import from_ms

    longest = max(gaps, key=lambda gap: gap.minutes)
    lost, many = sum(gap.minutes for gap in gaps), "s" if len(gaps) > 1 else ""
    return (
        f"{len(gaps):,} gap{many} of {lost:,} minutes, the longest of {longest.minutes:,} from "
        f"{from_ms(longest.first_ms):%Y-%m-%d %H:%M} UTC"
    )


def plan_of(options: argparse.Namespace, parameters: dict[str, int]) -> Plan:
    """What is to be done, checked. Raises `DomainError` for what the strategy does not have."""
    strategy = strategy_named(options.strategy)
    return Plan(strategy.name, strategy.checked(parameters), ORDER_TARGET_USDT, COLLAR_BPS)


def limits_of(options: argparse.Namespace) -> Limits | None:
    return HARD if options.limits == "on" else None


def spread_of(options: argparse.Namespace) -> Decimal:
    try:
        found = Decimal(options.spread_bps)
    except InvalidOperation:
        found = Decimal("nan")
    if not found.is_finite():
        raise DomainError(f"--spread-bps {options.spread_bps}: expected a number")
    if found.normalize().as_tuple().exponent < -FINEST_SPREAD:
        raise DomainError(
            f"--spread-bps {options.spread_bps}: expected at most {FINEST_SPREAD} decimals"
        )
    return found


def assigned(words: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` words as a mapping. Raises `DomainError` for anything else."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DomainError(f"{word}: expected NAME=VALUE, as in window=60")
        if name in found:
            raise DomainError(f"{name} stands twice; expected each name once")
        found[name] = value
    return found


def whole(name: str, text: str) -> int:
    """`text` as a whole number. Raises `DomainError` naming the parameter."""
    if not text.lstrip("-").isascii() or not text.lstrip("-").isdigit():
        raise DomainError(f"{name}={text}: expected a whole number")
    return int(text)
