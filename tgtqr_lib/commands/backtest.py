"""One strategy over history, by the rules of a tick: numbers, trades, and a page.

  tgtqr backtest --candles FILE.parquet --symbol BTCUSDT window=60 band_bps=0
  tgtqr backtest --from 2025-01-01 --limits off --html run.html

Decisions fall each quarter hour on closed minutes and fill at the next minute's open, across the spread, with
fees and the loss limits. The first run after an installation compiles for some seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from tgtqr_lib.commands import history
from tgtqr_lib.commands.compiling import told_while_compiling
from tgtqr_lib.commands.output import json_option, print_json, written_whole
from tgtqr_lib.strategies import minutes_needed, strategy_named

SHOWN = ("total_return", "sharpe", "max_drawdown", "trades", "win_rate", "exposure")


def arguments(parser: argparse.ArgumentParser) -> None:
    history.history_options(parser)
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page")
    parser.add_argument("--trades", type=Path, metavar="FILE", help="also write trades as Parquet")
    parser.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="of the strategy")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib import backtest
    from tgtqr_lib.backtest import kernel, metrics

    given = history.assigned(options.parameters)
    plan = history.plan_of(
        options, {name: history.whole(name, text) for name, text in given.items()}
    )
    limits, spread = history.limits_of(options), history.spread_of(options)
    bars = history.with_needs(options, history.bars_of(options), strategy_named(plan.strategy))
    history.long_enough(bars, minutes_needed(plan))
    funding = history.funding_of(options, bars)
    began = time.perf_counter()
    with told_while_compiling(kernel.walk):
        result = backtest.run(bars, plan, limits, spread_bps=spread, funding=funding)
    took = time.perf_counter() - began
    values = metrics.as_json(metrics.measure(metrics.study_of(result)))
    if options.html:
        from tgtqr_lib.backtest.report import Report

        Report.of(result, (bars.candles(),)).to_html(options.html)
    if options.trades:
        _write_trades(result, options.trades)
    if options.json:
        print_json(result.as_dict() | {"metrics": values, "wall_s": round(took, 4)})
    else:
        print("\n".join(_page(result, values, took)))
    return 0


def _write_trades(result, path: Path) -> None:
    import duckdb

    from tgtqr_lib.market.duck import literal

    con = duckdb.connect()
    con.register("trades", result.to_frame())
    with written_whole(path) as fresh:
        con.execute(f"COPY trades TO {literal(fresh)} (FORMAT parquet, COMPRESSION zstd)")


def _page(result, values, took: float) -> list[str]:
    from tgtqr_lib.clock import from_ms, iso

    first, last = (iso(from_ms(int(result.times_ms[i]))) for i in (0, -1))
    parameters = ", ".join(f"{name} {value}" for name, value in result.params.items())
    lines = [
        f"{result.symbol} {result.market}, {result.strategy} ({parameters})",
        f"{result.bars:,} minutes from {first} to {last}, in {took:.3f} s",
        f"  {history.gaps_told(result.gaps)}",
        *(f"  {label}" for label in result.labels),
        "",
        f"gross   {result.gross:>14.8f} USDT before costs",
        f"fees    {-result.fees:>14.8f}",
        f"spread  {-result.spread:>14.8f}",
    ]
    if result.funding:
        lines.append(f"funding {-result.funding:>14.8f}")
    lines += [f"net     {result.pnl:>14.8f} USDT in {len(result.table):,} trades", ""]
    for name, one in values.items():
        value = "-" if one["value"] is None else f"{one['value']:,.6g}"
        lines.append(f"  {name.replace('_', ' '):<28}{value:>14} {one['unit']}")
    if result.stop:
        lines += ["", f"stopped {iso(result.stop.at)} by {result.stop.cause}: {result.stop.text}"]
    return lines
