"""The sweep's figures over a made-up year of minutes, limits off; part of `make bench`."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tgtqr_lib.limits import COLLAR_BPS, ORDER_TARGET_USDT

DAY_MS = 86_400_000
FIRST = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000)
WINDOWS = range(30, 1030, 5)  # 200
HUNDRED = {"window": WINDOWS[::10], "band_bps": [0, 5, 10, 20, 40]}
THOUSAND = {"window": WINDOWS, "band_bps": [0, 5, 10, 20, 40]}
TEN_THOUSAND = {"window": range(30, 1030), "band_bps": [0, 3, 5, 8, 10, 15, 20, 25, 30, 40]}
MILLION = {"window": range(30, 1030), "band_bps": range(1000)}
GRIDS = {100: HUNDRED, 1000: THOUSAND, 10_000: TEN_THOUSAND}
ALONE = """
import json, re, sys
sys.path.insert(0, sys.argv[1])
from tests.bench_sweep import GRIDS, bars, plan
from tgtqr_lib.backtest import sweep
found = sweep(bars(), plan(), GRIDS[int(sys.argv[2])], None)
# getrusage would count what the parent had when it forked
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([len(found), int(peak[1]) * 1024 / 1e6]))
"""
Row = tuple


def bars():
    """A year of minutes of the synthetic market, 525,600 of them."""
    from tgtqr_lib.backtest import Bars
    from tgtqr_lib.market.synthetic import SyntheticSource

    source = SyntheticSource(1)
    rows = source.candles("BTCUSDT", FIRST, FIRST + 365 * DAY_MS)
    columns = (np.ascontiguousarray(rows[name]) for name in ("open_ms", "open", "close"))
    return Bars("BTCUSDT", source.price_decimals("BTCUSDT"), *columns)


def plan():
    from tgtqr_lib.domain import Plan

    return Plan("ma_trend", {}, ORDER_TARGET_USDT, COLLAR_BPS)


def seconds(year, runs: int) -> dict[int, list[float]]:
    """Wall seconds of the warm grids of 100, 1,000 and 10,000, taken in turn."""
    from tgtqr_lib.backtest import sweep

    took: dict[int, list[float]] = {count: [] for count in GRIDS}
    for run in range(runs + 1):
        for count, grid in GRIDS.items():
            began = time.perf_counter()
            found = sweep(year, plan(), grid, None)
            if len(found) != count:
                raise SystemExit(f"the sweep has {len(found)} combinations, expected {count}")
            if run:
                took[count].append(time.perf_counter() - began)
    return took


def peak(count: int) -> float:
    """MB that a process of its own has at most while it sweeps `count` combinations."""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", ALONE, root, str(count)], capture_output=True, text=True, check=True
    )
    found, memory = json.loads(done.stdout)
    if found != count:
        raise SystemExit(f"the sweep has {found} combinations, expected {count}")
    return memory


def on_workers(year, workers: int) -> tuple[float, float]:
    """Wall seconds of a million combinations on processes of this machine, and with their start."""
    from tgtqr_lib.backtest.cluster import local, sweep_on

    began = time.perf_counter()
    with local(workers) as client:
        started = time.perf_counter()
        sweep_on(client, year, plan(), MILLION, None)
        ended = time.perf_counter()
    return ended - started, ended - began


def figures(folder: Path, runs: int) -> Iterator[Row]:
    """Rows for the table: name, figures, unit, target, and whether it is a least one."""
    year = bars()
    took = seconds(year, max(runs, 5))
    yield "sweep of 1,000 over a year, warm", took[1000], "s", 0.10
    yield "sweep of 10,000 over a year, warm", took[10_000], "s", None
    for less, more in ((100, 1000), (1000, 10_000)):
        ratios = [b / a for a, b in zip(took[less], took[more], strict=True)]
        yield f"its cost, {more:,} to {less:,}", ratios, "x", 10
    for count, most in ((1000, 300), (10_000, 600)):
        memory = [peak(count) for _ in range(3)]
        yield f"its peak memory, {count:,}, whole process", memory, "MB", most
    pairs = [(on_workers(year, 1), on_workers(year, 2)) for _ in range(3)]
    yield "sweep of 1,000,000, one Dask worker", [one[0] for one, _ in pairs], "s", None
    ratios = [one[0] / two[0] for one, two in pairs]
    yield "two Dask workers against one", ratios, "x", 1.6, True
    whole = [one[1] / two[1] for one, two in pairs]
    yield "  the start of the processes included", whole, "x", None


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    for title, found, unit, target, *_ in figures(Path(), 7):
        shown = [round(one, 3) for one in found]
        print(
            f"{title:<44}{statistics.median(found):>9.3f} {unit:<3} {target}  {shown}", flush=True
        )
