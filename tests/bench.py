"""`make bench`: the figures of the road beside their targets, medians of at least five runs in one go.

Nothing here is a test; a machine that is slower shows larger figures, so ratios are measured side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil

TGTQR = Path(sys.executable).with_name("tgtqr")
FIRST = datetime(2025, 6, 1, tzinfo=UTC)
BARE = "import pandas\nimport duckdb\n"


def timed(command: Sequence[str | Path], environment: dict[str, str]) -> float:
    """Seconds of wall time of a command as a whole process. Raises when it fails."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    took = time.perf_counter() - began
    if done.returncode not in (0, 3):
        raise SystemExit(f"{command} ended {done.returncode}: {done.stderr[-2000:]}")
    return took


@contextmanager
def simulator() -> Iterator[str]:
    """The address of a simulator in a process of its own, its clock standing."""
    command = [sys.executable, "-m", "tgtqr_lib.market.simulator", "--port", "0", "--seed", "1"]
    process = subprocess.Popen(
        [*command, "--at", FIRST.isoformat(), "--with-parent"],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait()


def set_clock(url: str, moment: datetime) -> None:
    import urllib.request

    body = json.dumps({"set": moment.isoformat()}).encode()
    request = urllib.request.Request(
        f"{url}/simulator/clock", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).read()


def bare_notebook(folder: Path) -> Path:
    """A notebook that only imports pandas and duckdb."""
    import nbformat

    cell = nbformat.v4.new_code_cell(BARE)
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": spec})
    path = folder / "bare.ipynb"
    nbformat.write(notebook, path)
    return path


def ticks_and_beats(folder: Path, runs: int) -> dict[str, list[float]]:
    """Interleaved cold runs of a bare papermill, a tick, a beat and a stop against one simulator."""
    figures: dict[str, list[float]] = {"bare": [], "tick": [], "watch": [], "stop": []}
    notebook, home = bare_notebook(folder), folder / "home"
    with simulator() as url:
        environment = os.environ | {"TGTQR_HOME": str(home), "TGTQR_SIMULATOR__URL": url}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        papermill = Path(sys.executable).with_name("papermill")
        for run in range(runs + 1):  # the first one warms the disk's cache and is not counted
            boundary = FIRST + run * timedelta(minutes=15)
            set_clock(url, boundary - timedelta(seconds=57))
            beat = timed([TGTQR, "watch", "--once"], environment)
            timed([TGTQR, "arm", "--reason", "bench"], environment)
            set_clock(url, boundary + timedelta(seconds=3))
            bare = timed([papermill, notebook, folder / "out.ipynb"], environment)
            tick = timed([TGTQR, "tick"], environment)
            stop = timed([TGTQR, "stop"], environment)
            set_clock(url, boundary + timedelta(seconds=63))
            timed([TGTQR, "watch", "--once"], environment)  # sells, so that the next arm may pass
            if run:
                for name, took in zip(figures, (bare, tick, beat, stop), strict=True):
                    figures[name].append(took)
    return figures


def peak_memory(folder: Path) -> float:
    """Peak MB of a tick and its kernel together (proportional set size, summed over the processes)."""
    environment = os.environ | {"TGTQR_HOME": str(folder / "memory")}
    process = psutil.Popen(
        [TGTQR, "tick"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peak = 0.0
    while process.poll() is None:
        total = 0
        for one in (process, *_children(process)):
            try:
                total += one.memory_full_info().pss
            except psutil.Error:
                continue
        peak = max(peak, total / 1e6)
        time.sleep(0.02)
    return peak


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def demo(folder: Path, ticks: int) -> tuple[float, float]:
    """Seconds of a demo as a whole process, and the size of its largest sealed tick in kB."""
    home = folder / "demo"
    command = [TGTQR, "demo", "--home", home, "--ticks", str(ticks), "--json"]
    took = timed(command, dict(os.environ))
    sizes = [path.stat().st_size for path in home.rglob("outputs/ticks/**/2*.ipynb")]
    return took, max(sizes) / 1000


def last_candles(folder: Path, runs: int) -> list[float]:
    """Milliseconds of the last 61 candles out of five years, on a warm connection."""
    from tgtqr_lib.domain import Candles
    from tgtqr_lib.market.candles import Lake
    from tgtqr_lib.market.synthetic import SyntheticSource

    source, lake, day_ms = SyntheticSource(1), Lake(folder / "lake"), 86_400_000
    first = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp() * 1000)
    last = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    for start in range(first, last, 365 * day_ms):
        rows = source.candles("BTCUSDT", start, min(start + 365 * day_ms, last))
        columns = [np.ascontiguousarray(rows[name]) for name in rows.dtype.names]
        lake.write(Candles("BTCUSDT", source.price_decimals("BTCUSDT"), *columns), "synthetic")
    rng, took = np.random.default_rng(1), []
    for _ in range(runs + 1):
        minute = int(rng.integers(first // 60_000 + 61, last // 60_000))
        before = datetime.fromtimestamp(minute * 60, UTC)
        began = time.perf_counter()
        found = lake.last("BTCUSDT", 61, before)
        took.append(1000 * (time.perf_counter() - began))
        if len(found) != 61:
            raise SystemExit(f"the lake gave {len(found)} candles before {before}")
    return took[1:]


def idle(folder: Path, seconds: float = 60.0) -> tuple[float, float]:
    """MB (proportional set size) and per cent of a core of `tgtqr up` between two ticks."""
    environment = os.environ | {"TGTQR_HOME": str(folder / "up")}
    subprocess.run([TGTQR, "watch", "--once"], env=environment, check=True, capture_output=True)
    with psutil.Popen(
        [TGTQR, "up", "--no-page"], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        try:
            time.sleep(8)  # the start is over
            before = sum(process.cpu_times()[:2])
            time.sleep(seconds)
            used = sum(process.cpu_times()[:2]) - before
            return process.memory_full_info().pss / 1e6, 100 * used / seconds
        finally:
            process.terminate()
            process.wait(60)


def year_file(folder: Path) -> Path:
    """A Parquet file of one made-up year of both symbols: 1,051,200 candles."""
    import duckdb
    import pandas as pd

    from tgtqr_lib.limits import SYMBOLS
    from tgtqr_lib.market.synthetic import SyntheticSource

    source, day_ms, frames = SyntheticSource(1), 86_400_000, []
    first = int(FIRST.timestamp() * 1000)
    for symbol in SYMBOLS:
        rows = source.candles(symbol, first, first + 365 * day_ms)
        frame = pd.DataFrame({name: rows[name] for name in rows.dtype.names})
        prices = ["open", "high", "low", "close"]
        frame[prices] = frame[prices] / 10 ** source.price_decimals(symbol)
        frame["volume"] = frame["volume"] / 1e6
        frame["symbol"] = symbol
        frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table["ts"] = pd.to_datetime(table.pop(table.columns[0]), unit="ms", utc=True)
    path = folder / "year.parquet"
    table["source"] = "synthetic spot; seed 1"
    connection = duckdb.connect()
    connection.register("candles", table)
    connection.execute(f"COPY candles TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return path


def imports(path: Path, folder: Path, runs: int) -> tuple[list[float], list[float]]:
    """Rows a second of the import, and seconds of the whole command, each into an empty home."""
    speeds, commands = [], []
    for run in range(runs + 1):
        home = folder / f"import-{run}"
        environment = os.environ | {"TGTQR_HOME": str(home)}
        began = time.perf_counter()
        done = subprocess.run(
            [TGTQR, "data", "import", "--json", path],
            env=environment,
            capture_output=True,
            check=True,
        )
        if run:
            commands.append(time.perf_counter() - began)
            speeds.append(
                sum(one["rows"] / one["wall_s"] for one in json.loads(done.stdout)["files"])
            )
        shutil.rmtree(home)
    return speeds, commands


def month_fetched(folder: Path, runs: int) -> list[float]:
    """Seconds of `data fetch` of 30 days of both symbols from a simulator in another process."""
    took = []
    with simulator() as url:
        set_clock(url, FIRST + timedelta(days=30))
        for run in range(runs):
            home = folder / f"month-{run}"
            environment = os.environ | {"TGTQR_HOME": str(home), "TGTQR_SIMULATOR__URL": url}
            command = [TGTQR, "data", "fetch", "--from", FIRST.date().isoformat()]
            took.append(timed(command, environment))
            shutil.rmtree(home)
    return took


def line(
    name: str, figures: Sequence[float], unit: str, target: float | None, at_least: bool = False
) -> str:
    middle = statistics.median(figures)
    spread = f"{min(figures):.2f} to {max(figures):.2f}, n={len(figures)}"
    verdict, aim = "", "-"
    if target is not None:
        reached = middle >= target if at_least else middle <= target
        verdict = "reached" if reached else "MISSED"
        aim = f"{'>=' if at_least else '<='} {target:g}"
    digits = 3 if middle < 1 else 2
    return f"{name:<44}{middle:>9.{digits}f} {unit:<3} {aim:>8}  {verdict:<8} ({spread})"


@contextmanager
def workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tgtqr-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="runs of each figure (5)")
    parser.add_argument("--demos", type=int, default=5, help="whole demos of 96 ticks (5)")
    options = parser.parse_args(arguments)
    with workplace() as folder:
        print(f"{'figure':<44}{'median':>9}     {'target':>8}")
        took = ticks_and_beats(folder, options.runs)
        ratios = [tick / bare for tick, bare in zip(took["tick"], took["bare"], strict=True)]
        print(line("bare papermill (pandas, duckdb)", took["bare"], "s", None))
        print(line("tgtqr tick, start to sealed", took["tick"], "s", None))
        print(line("tgtqr tick / bare papermill, paired", ratios, "x", 1.6))
        print(line("tgtqr watch --once", took["watch"], "s", 1.0))
        print(line("tgtqr stop", took["stop"], "s", 0.5))
        memory = [peak_memory(folder) for _ in range(options.runs)]
        print(line("peak memory of tick and kernel", memory, "MB", 400))
        print(line("last 61 candles of five years, warm", last_candles(folder, 50), "ms", 10))
        rests = [idle(folder) for _ in range(min(options.runs, 3))]
        print(line("tgtqr up, idle", [memory for memory, _ in rests], "MB", 150))
        print(line("tgtqr up, idle", [share for _, share in rests], "%", 1.0))
        year = year_file(folder)
        speeds, commands = imports(year, folder, options.runs)
        print(
            line(
                "candle import, million rows a second", [s / 1e6 for s in speeds], "M/s", 1.0, True
            )
        )
        print(line("its whole command, 1,051,200 rows", commands, "s", None))
        print(line("a month of two symbols fetched", month_fetched(folder, options.runs), "s", 60))
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from tests import (
            bench_archive,
            bench_backtest,
            bench_deployment,
            bench_page,
            bench_sweep,
        )

        for rows in (
            bench_backtest.figures(folder, options.runs, year),
            bench_sweep.figures(folder, options.runs),
            bench_page.figures(folder, options.runs),
            bench_archive.figures(folder, options.runs),
            bench_deployment.figures(folder, options.runs),
        ):
            for row in rows:
                print(line(*row), flush=True)
        if options.demos:
            demos = [demo(folder, 96) for _ in range(options.demos)]
            print(line("demo of 96 ticks", [took for took, _ in demos], "s", 180))
            print(line("largest sealed tick", [size for _, size in demos], "kB", 100))
    return 0


if __name__ == "__main__":
    sys.exit(main())
