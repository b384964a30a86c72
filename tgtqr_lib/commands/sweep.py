"""A grid of parameters over history, every combination by the rules of a tick, into one Parquet file.

  tgtqr sweep window=30:600:5 band_bps=0,5,10,20,40
  tgtqr sweep --candles FILE.parquet --limits off window=30:600:5 --out sweep.parquet
  tgtqr sweep --workers 8 window=2:1440 band_bps=0:600
  tgtqr sweep --cluster tcp://10.0.0.5:8786 window=2:1440 band_bps=0:600

A range is FIRST:LAST:STEP, both ends included. Threads share the work; with --workers processes of this machine
do, with --cluster the workers of a Dask scheduler that runs already, each with the same tgtqr_lib. The file is
the same, byte for byte. A large grid is told with its estimated time before it begins.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tgtqr_lib.commands import history
from tgtqr_lib.commands.output import json_option, print_json, written_whole
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.strategies import Strategy, strategy_named

MOST = 10_000_000
MOST_WORKERS = 256
TOLD_FROM = 20_000
BYTES_EACH = 140  # beside the 270 MB of the process itself
BEST = 10
SCHEMES = ("tcp://", "tls://")


def arguments(parser: argparse.ArgumentParser) -> None:
    history.history_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(outputs/sweeps/<symbol>-<strategy>.parquet)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", metavar="N", help="processes of this machine (threads instead)")
    where.add_argument("--cluster", metavar="tcp://HOST:PORT", help="a running Dask scheduler")
    parser.add_argument("grid", nargs="+", metavar="NAME=VALUES", help="60 or 30,60 or 30:600:5")
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    grid = {name: values(name, text) for name, text in history.assigned(options.grid).items()}
    strategy = strategy_named(options.strategy)
    for name, numbers in grid.items():
        for number in {numbers[0], numbers[-1]}:
            strategy.checked({name: number})
    count = math.prod(len(numbers) for numbers in grid.values())
    if count > MOST:
        raise DomainError(f"the grid has {count:,} combinations; expected at most {MOST:,}")
    workers = _workers(options)
    path = options.out or _usual(options)
    if path.exists() and not path.is_file():  # before the work, not after it
        raise DomainError(f"{path}: is no ordinary file; expected the name of one to write")
    plan = history.plan_of(options, {})
    limits, spread = history.limits_of(options), history.spread_of(options)
    bars = history.with_needs(options, history.bars_of(options), strategy)
    needed = _fewest_minutes(strategy, plan, grid)
    history.long_enough(bars, needed)
    funding = history.funding_of(options, bars)
    if count >= TOLD_FROM:
        print(_told(options, workers, bars, plan, grid, limits, spread), file=sys.stderr)
    began = time.perf_counter()
    terms = {"spread_bps": spread, "progress": Progress(), "funding": funding}
    found = _swept(options.cluster, workers, bars, plan, grid, limits, **terms)
    took = time.perf_counter() - began
    write(found, path)
    if options.json:
        gaps = bars.gaps()
        facts = {"combinations": len(found), "file": str(path), "best": found.best(BEST)}
        facts |= {"bars": len(bars), "gaps": {"count": len(gaps)}}
        facts["gaps"]["minutes"] = sum(gap.minutes for gap in gaps)
        print_json(facts | {"labels": list(found.labels), "wall_s": round(took, 4)})
        return 0
    print(f"{len(found):,} combinations of {len(bars):,} minutes in {took:.3f} s: {path}")
    print("\n".join(f"  {label}" for label in (history.gaps_told(bars.gaps()), *found.labels)))
    print(f"\n{'net USDT':>14}{'gross':>14}{'fees':>14}{'trades':>9}  parameters")
    for row in found.best(BEST):
        text = ", ".join(f"{name} {value}" for name, value in row["params"].items())
        print(f"{row['pnl']:>14}{row['gross']:>14}{row['fees']:>14}{row['trades']:>9,}  {text}")
    if len(found) > 1:
        print(f"\nthe best of {len(found):,} tries: ask whether it is luck before believing it")
    return 0


def _fewest_minutes(strategy: Strategy, plan, grid) -> int:
    """The shortest lookback that any combination may have, by the ends of each parameter's values."""
    usual = strategy.checked(plan.parameters)
    ends = [
        {name: n for name, n in zip(grid, point, strict=True)}
        for point in itertools.product(*({min(v), max(v)} for v in grid.values()))
    ]
    return min(strategy.lookback(**(usual | point)) for point in ends)


def _told(
    options: argparse.Namespace, workers: int | None, bars, plan, grid, limits, spread
) -> str:
    """What a large sweep will take, by a sample of it."""
    from tgtqr_lib.backtest.sweep import Job

    job = Job.of(bars, plan, grid, limits, spread_bps=spread)
    count, processors = len(job.points), os.cpu_count() or 1
    seconds = count * job.seconds_each() / min(workers or processors, processors)
    where = " on this machine alone" if options.cluster else ""
    return (
        f"{count:,} combinations of {len(bars):,} minutes: about {seconds:,.0f} s{where} and "
        f"{count * BYTES_EACH / 1e6:,.0f} MB"
    )


def _workers(options: argparse.Namespace) -> int | None:
    """How many processes were asked for. Raises `DomainError` for what is no number or address."""
    if options.cluster is not None and not options.cluster.startswith(SCHEMES):
        raise DomainError(f"--cluster {options.cluster}: expected tcp://HOST:PORT")
    if options.workers is None:
        return None
    found = history.whole("--workers", options.workers)
    if not 1 <= found <= MOST_WORKERS:
        raise DomainError(f"--workers {found} is out of range; expected 1 to {MOST_WORKERS}")
    return found


def _swept(cluster: str | None, workers: int | None, *job, progress: Progress, **terms):
    """The sweep by threads, by processes of this machine, or on a cluster."""
    if cluster is None and workers is None:
        from tgtqr_lib.backtest import sweep

        return sweep(*job, progress=progress, **terms)
    from tgtqr_lib.backtest.cluster import local, sweep_on

    if cluster is not None:
        return sweep_on(cluster, *job, progress=progress, **terms)
    with local(workers) as client:
        return sweep_on(client, *job, progress=progress, **terms)


class Progress:
    """Tells on standard error how far a sweep is: on one line of a terminal, else a line now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.began = clock, clock()
        self.terminal = sys.stderr.isatty()
        self.every_s = 0.2 if self.terminal else 5.0
        self.next = self.began + (1.0 if self.terminal else self.every_s)
        self.shown = False

    def __call__(self, done: int, count: int) -> None:
        now = self.clock()
        if done == count:
            if self.shown and self.terminal:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            return
        if now < self.next:
            return
        self.next, self.shown = now + self.every_s, True
        left = (now - self.began) / done * (count - done)
        text = f"{done:,} of {count:,} combinations, about {left:,.0f} s left"
        end = "" if self.terminal else "\n"
        print(f"\r\x1b[K{text}" if self.terminal else text, end=end, file=sys.stderr, flush=True)


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
    """Write a sweep as Parquet, whole or not at all; money as DECIMAL of 1e-8, as it was counted.

    The same result makes the same bytes: one thread writes, in the order of the grid.
    """
    import duckdb

    from tgtqr_lib.market.duck import literal

    money = ("pnl", "gross", "fees", "spread", "funding", "drawdown")
    parameters = found.params.columns()
    table = parameters | {name: getattr(found, name) for name in ("trades", *money)}
    table |= {"stop_ms": found.stop_ms, "stop_cause": found.stop_cause}
    exact = ", ".join(
        f"({name}::DECIMAL(18, 0) * 0.00000001)::DECIMAL(18, 8) AS {name}" for name in money
    )
    stop = "CASE WHEN stop_ms < 0 THEN NULL ELSE make_timestamp(stop_ms * 1000) END AS stop_at"
    cause = "nullif(stop_cause, '') AS stop_cause"
    columns = ", ".join([*(f'"{name}"' for name in parameters), "trades", exact, stop, cause])
    con = duckdb.connect()
    con.execute("SET threads = 1")
    con.register("sweep", table)
    with written_whole(path) as fresh:
        con.execute(
            f"COPY (SELECT {columns} FROM sweep) TO {literal(fresh)} "
            "(FORMAT parquet, COMPRESSION zstd)"
        )
