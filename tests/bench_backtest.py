"""Backtests beside their peers, on the same year of minutes and in one run; part of `make bench`.

The peers live in an environment of their own, `.venv-peers`, made at the first call. Each engine is one
process that is warm when it is timed, and all take turns, so what the machine does besides hits all alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from tests.stage import PROJECT

TGTQR = Path(sys.executable).with_name("tgtqr")
PEERS = PROJECT / ".venv-peers"
NEEDED = PROJECT / "tests" / "peers" / "requirements.txt"
RUNNER = PROJECT / "tests" / "peers" / "runner.py"
SYMBOL = "BTCUSDT"
YEAR_MS = 365 * 86_400_000
WINDOWS = [round(30 + 570 * j / 199) for j in range(200)]
BANDS = [0, 5, 10, 20, 40]

Row = tuple[str, Sequence[float], str, float | None, bool]


def row(name: str, took: Sequence[float], unit: str, target: float | None, least=False) -> Row:
    return name, took, unit, target, least


class Peer:
    """A peer's engine in a process of its own."""

    def __init__(self, engine: str, path: Path) -> None:
        command = [PEERS / "bin" / "python", RUNNER, engine, path]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        self._answer()

    def __call__(self, **given: object) -> dict:
        self.process.stdin.write(json.dumps(given) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return json.loads(line)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait(60)


def peers_there() -> str | None:
    """Make the peers' environment if it is not there; why it cannot be, or None."""
    stamp = PEERS / ".ready"
    if stamp.is_file() and stamp.read_text() == NEEDED.read_text():
        return None
    print(f"{'installing the peers into .venv-peers, once':<44}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS], check=True)
    pip = [PEERS / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", NEEDED]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    subprocess.run([PEERS / "bin" / "python", "-m", "compileall", "-qq", "-j", "0", PEERS / "lib"])
    stamp.write_text(NEEDED.read_text())
    return None


def files(folder: Path, year: Path) -> tuple[Path, Path]:
    """One symbol of `year` in the kit's layout, and the same candles in the peers'."""
    import duckdb

    ours, theirs = folder / "ours.parquet", folder / "peers.parquet"
    rows = f"FROM '{year}' WHERE symbol = '{SYMBOL}' ORDER BY ts"
    layout = "(FORMAT parquet, COMPRESSION zstd)"
    duckdb.execute(f"COPY (SELECT * {rows}) TO '{ours}' {layout}")
    columns = "epoch_ms(ts) AS ts, open, high, low, close, volume"
    duckdb.execute(f"COPY (SELECT {columns} {rows}) TO '{theirs}' {layout}")
    return ours, theirs


def plan():
    from tgtqr_lib.domain import Plan

    return Plan("ma_trend", {}, Decimal("0.95"), 100)


def ours_once(path: Path):
    """From the Parquet file to trades and equity, no limit binding."""
    from tgtqr_lib.backtest import Bars, run
    from tgtqr_lib.market.minutes import read_minutes

    seen = read_minutes([path], SYMBOL)
    bars = Bars(seen.symbol, seen.decimals, seen.open_ms, seen.open, seen.close)
    return run(bars, plan(), None)


def sweep_once(path: Path):
    """From the Parquet file to the figures of 1,000 combinations."""
    from tgtqr_lib.backtest import Bars, sweep
    from tgtqr_lib.market.minutes import read_minutes

    seen = read_minutes([path], SYMBOL)
    bars = Bars(seen.symbol, seen.decimals, seen.open_ms, seen.open, seen.close)
    grid = {"window": WINDOWS, "band_bps": BANDS}
    return sweep(bars, plan(), grid, None, workers=os.cpu_count() or 1)


def timed(work, *given) -> tuple[float, object]:
    began = time.perf_counter()
    found = work(*given)
    return time.perf_counter() - began, found


def same_trades(found, peer: dict, name: str) -> None:
    """Stop unless entries and exits are those of the peer."""
    for column in ("entry_ms", "exit_ms"):
        own = found.column(column)
        other = np.array(peer["entries" if column == "entry_ms" else "exits"])[: len(own)]
        if not np.array_equal(own, other):
            raise SystemExit(f"{name} trades at other minutes than we do")


def runs_beside(ours: Path, theirs: Path, runs: int) -> list[Row]:
    """One run from Parquet to trades and equity: ours, and how many times longer each peer takes."""
    engines = {
        name: Peer(name, theirs) for name in ("vectorbt", "vectorbt-rules", "backtesting.py")
    }
    took: dict[str, list[float]] = {name: [] for name in ("ours", *engines)}
    try:
        for turn in range(runs + 1):  # the first one warms and is not counted
            seconds = {}
            seconds["ours"], found = timed(ours_once, ours)
            for name, peer in engines.items():
                told = peer()
                seconds[name] = told["seconds"]
                same_trades(found, told, name)
            for name in took if turn else ():
                took[name].append(seconds[name])
    finally:
        for peer in engines.values():
            peer.end()
    ratios = {
        name: [peer / own for peer, own in zip(took[name], took["ours"], strict=True)]
        for name in engines
    }
    print(f"{f'entries and exits of all engines: {len(found.table):,}, identical':<44}")
    return [
        row("a year, Parquet to trades, warm", [1000 * s for s in took["ours"]], "ms", 20),
        row("  vectorbt (rust)", [1000 * s for s in took["vectorbt"]], "ms", None),
        row("  vectorbt takes times as long", ratios["vectorbt"], "x", 3, True),
        row("  vectorbt with rules, times as long", ratios["vectorbt-rules"], "x", 25, True),
        row("  backtesting.py, times as long", ratios["backtesting.py"], "x", 100, True),
    ]


def sweeps_beside(ours: Path, theirs: Path, runs: int) -> list[Row]:
    """1,000 combinations from Parquet to every trade with its fees, and vectorbt's fastest."""
    peer, took, ratios = Peer("vectorbt-sweep", theirs), [], []
    try:
        for turn in range(min(runs, 5) + 1):
            own, found = timed(sweep_once, ours)
            told = peer(windows=WINDOWS, bands=BANDS)
            off = np.abs(np.array(told["trades"]) - found.trades).max()
            if off > 1:  # a mean of floats may lie on the other side of a tie
                raise SystemExit(f"vectorbt counts other trades than we do, by up to {off}")
            if turn:
                took.append(own)
                ratios.append(told["seconds"] / own)
    finally:
        peer.end()
    return [
        row("1,000 combinations from Parquet, warm", took, "s", None),
        row("  vectorbt (rust) takes times as long", ratios, "x", 35, True),
    ]


def five_years(folder: Path, runs: int) -> list[Row]:
    """Five years of both symbols in one run, from candles in memory and from the lake."""
    from tgtqr_lib.backtest import Bars, run
    from tgtqr_lib.clock import from_ms
    from tgtqr_lib.domain import Candles
    from tgtqr_lib.limits import SYMBOLS
    from tgtqr_lib.market.candles import Lake
    from tgtqr_lib.market.synthetic import SyntheticSource

    source, lake, first = SyntheticSource(1), Lake(folder / "years"), 1_609_459_200_000
    for symbol in SYMBOLS:
        for year in range(5):
            rows = source.candles(symbol, first + year * YEAR_MS, first + (year + 1) * YEAR_MS)
            columns = [np.ascontiguousarray(rows[name]) for name in rows.dtype.names]
            lake.write(Candles(symbol, source.price_decimals(symbol), *columns), "synthetic")
    span = from_ms(first), from_ms(first + 5 * YEAR_MS)
    seen = {symbol: Bars.of(lake.columns(symbol, *span)) for symbol in SYMBOLS}
    took, read = [], []
    for _ in range(runs + 1):
        took.append(timed(run, seen, plan(), None)[0])
        began = time.perf_counter()
        for symbol in SYMBOLS:
            lake._kept.clear()
            lake.columns(symbol, *span)
        read.append(time.perf_counter() - began)
    return [
        row("five years of two symbols, one run, warm", took[1:], "s", 0.2),
        row("  reading them from the lake", read[1:], "s", None),
    ]


def slider(folder: Path, runs: int) -> list[Row]:
    """From a moved slider of `explore.ipynb` to its pictures, a year of minutes, in the kernel."""
    from tgtqr_lib import research

    page = research.Explorer(home=folder / "explore", rest_s=60.0)
    took = []
    for window in range(30, 30 + 7 * (runs + 1), 7):
        began = time.perf_counter()
        page.sliders["window"].value = window  # the handlers run before this returns
        took.append(1000 * (time.perf_counter() - began))
        if page.result.params["window"] != window:
            raise SystemExit("the slider moved and the pictures did not follow")
    return [row("explore: slider to new pictures, a year", took[1:], "ms", 200)]


def cold(ours: Path, runs: int) -> list[Row]:
    """`tgtqr backtest --json` as a whole process."""
    command = [TGTQR, "backtest", "--candles", ours, "--limits", "off", "--json"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    took = [
        timed(lambda: subprocess.run(command, env=environment, capture_output=True, check=True))[0]
        for _ in range(runs + 1)
    ]
    return [row("tgtqr backtest --json, cold process", took[1:], "s", 1.2)]


def figures(folder: Path, runs: int, year: Path) -> list[Row]:
    """Rows for the table: name, figures, unit, target, whether it is the least."""
    ours, theirs = files(folder, year)
    rows = []
    if (problem := peers_there()) is None:
        rows += runs_beside(ours, theirs, runs)
        rows += sweeps_beside(ours, theirs, runs)
    else:
        print(f"the peers cannot be installed, so nothing is compared: {problem}")
        took = [timed(ours_once, ours)[0] for _ in range(runs + 1)][1:]
        rows.append(row("a year, Parquet to trades, warm", [1000 * s for s in took], "ms", 20))
    return rows + five_years(folder, runs) + slider(folder, runs) + cold(ours, runs)


if __name__ == "__main__":
    import tempfile

    from tests.bench import line, year_file

    with tempfile.TemporaryDirectory() as name:
        for one in figures(Path(name), 5, year_file(Path(name))):
            print(line(*one), statistics.median(one[1]))
