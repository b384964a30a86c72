"""A grid of parameters over history, every combination by the rules of a tick, into one Parquet file.

  tgtqr sweep window=30:600:5 band_bps=0,5,10,20,40
  tgtqr sweep --candles FILE.parquet --limits off window=30:600:5 --out sweep.parquet

A range is FIRST:LAST:STEP, both ends included. A large grid is told with its estimated time before it begins.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from tgtqr_lib.commands import history
from tgtqr_lib.commands.output import json_option, print_json
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.strategies import strategy_named

MOST = 10_000_000
TOLD_FROM = 20_000
COMBINATIONS_A_SECOND = 5_000  # a year of minutes, one core, roughly
BYTES_EACH = 400
BEST = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    history.history_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(outputs/sweeps/<symbol>-<strategy>.parquet)"
    )
    parser.add_argument("grid", nargs="+", metavar="NAME=VALUES", help="60 or 30,60 or 30:600:5")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    from tgtqr_lib import backtest

    grid = {name: values(name, text) for name, text in history.assigned(options.grid).items()}
    strategy = strategy_named(options.strategy)
    for name, numbers in grid.items():
        for number in {numbers[0], numbers[-1]}:
            strategy.checked({name: number})
    count = math.prod(len(numbers) for numbers in grid.values())
    if count > MOST:
        raise DomainError(f"the grid has {count:,} combinations; expected at most {MOST:,}")
    plan = history.plan_of(options, {})
    limits, spread = history.limits_of(options), history.spread_of(options)
    bars = history.bars_of(options)
    if count >= TOLD_FROM:
        seconds = count / COMBINATIONS_A_SECOND * len(bars) / 525_600
        print(
            f"{count:,} combinations of {len(bars):,} minutes: about {seconds:,.0f} s and "
            f"{count * BYTES_EACH / 1e6:,.0f} MB",
            file=sys.stderr,
        )
    began = time.perf_counter()
    found = backtest.sweep(bars, plan, grid, limits, spread_bps=spread)
    took = time.perf_counter() - began
    path = options.out or _usual(options)
    write(found, path)
    if options.json:
        facts = {"combinations": len(found), "file": str(path), "best": found.best(BEST)}
        print_json(facts | {"labels": list(found.labels), "wall_s": round(took, 4)})
        return 0
    print(f"{len(found):,} combinations of {len(bars):,} minutes in {took:.3f} s: {path}")
    print("\n".join(f"  {label}" for label in found.labels))
    print(f"\n{'net USDT':>14}{'gross':>14}{'fees':>14}{'trades':>9}  parameters")
    for row in found.best(BEST):
        text = ", ".join(f"{name} {value}" for name, value in row["params"].items())
        print(f"{row['pnl']:>14}{row['gross']:>14}{row['fees']:>14}{row['trades']:>9,}  {text}")
    print(f"\nthe best of {len(found):,} tries: ask whether it is luck before believing it")
    return 0


def values(name: str, text: str) -> list[int]:
    """The numbers of `60`, `30,60` or `30:600:5`. Raises `DomainError` for anything else."""
    if ":" not in text:
        return [history.whole(name, part) for part in text.split(",")]
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise DomainError(f"{name}={text}: expected FIRST:LAST or FIRST:LAST:STEP")
    first, last, step = (history.whole(name, part) for part in (*parts, "1")[:3])
    if step < 1 or last < first:
        raise DomainError(f"{name}={text}: holds no number; expected FIRST <= LAST and STEP >= 1")
    if (last - first) // step >= MOST:
        raise DomainError(f"{name}={text}: holds over {MOST:,} numbers")
    return list(range(first, last + 1, step))


def _usual(options: argparse.Namespace) -> Path:
    folder = Home.find(options.home).outputs / "sweeps"
    return folder / f"{options.symbol}-{options.strategy}.parquet"


def write(found, path: Path) -> None:
    """Write a sweep as Parquet, whole or not at all; money as DECIMAL of 1e-8, as it was counted."""
    import os

    import duckdb
    import pandas as pd

    from tgtqr_lib.market.duck import literal

    path.parent.mkdir(parents=True, exist_ok=True)
    money = ("pnl", "gross", "fees", "spread", "funding", "drawdown")
    names = list(found.params[0])
    frame = pd.DataFrame({name: [one[name] for one in found.params] for name in names})
    frame["trades"] = found.trades
    for name in money:
        frame[name] = getattr(found, name)
    frame["stop_ms"], frame["stop_cause"] = found.stop_ms, list(found.stop_cause)
    con = duckdb.connect()
    con.register("sweep", frame)
    exact = ", ".join(
        f"({name}::DECIMAL(18, 0) * 0.00000001)::DECIMAL(18, 8) AS {name}" for name in money
    )
    stop = "CASE WHEN stop_ms < 0 THEN NULL ELSE make_timestamp(stop_ms * 1000) END AS stop_at"
    columns = ", ".join(
        [
            *(f'"{name}"' for name in names),
            "trades",
            exact,
            stop,
            "nullif(stop_cause, '') AS stop_cause",
        ]
    )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    con.execute(
        f"COPY (SELECT {columns} FROM sweep) TO {literal(fresh)} (FORMAT parquet, COMPRESSION zstd)"
    )
    os.replace(fresh, path)
