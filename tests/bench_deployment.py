"""What a small server has to carry: the CPU time of a tick on one core, and the idle memory of all of it; part of
`make bench`."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psutil

from tests.bench import FIRST, TGTQR, set_clock, simulator
from tests.bench_page import PAGE, played
from tests.dashboard.browser import a_browser, visiting
from tests.dashboard.serving import serving

Row = tuple[str, list[float], str, float | None]
SETTLED_S = 30.0


def figures(folder: Path, runs: int) -> list[Row]:
    """Rows for the table: name, figures, unit, target."""
    spent, wall = ticks_on_one_core(folder, runs)
    return [
        ("server: CPU time of a tick, one core", spent, "s", 6.0),
        ("server: its wall time, one core", wall, "s", None),
        ("server: idle, watch and page open once", [idle(folder)], "MB", 500.0),
    ]


def ticks_on_one_core(folder: Path, runs: int) -> tuple[list[float], list[float]]:
    """CPU seconds of `tgtqr tick` and its kernel as whole processes, and wall seconds, all on one core."""
    spent, wall, home = [], [], folder / "one-core"
    core = {min(os.sched_getaffinity(0))}
    with simulator() as url:
        environment = os.environ | {"TGTQR_HOME": str(home), "TGTQR_SIMULATOR__URL": url}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for run in range(runs + 1):
            set_clock(url, FIRST + run * timedelta(minutes=15, seconds=0) + timedelta(seconds=3))
            before, began = _children_s(), time.perf_counter()
            subprocess.run(
                [TGTQR, "tick"], env=environment, check=False, capture_output=True,
                preexec_fn=lambda: os.sched_setaffinity(0, core),
            )  # fmt: skip
            if run:
                wall.append(time.perf_counter() - began)
                spent.append(_children_s() - before)
    return spent, wall


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def idle(folder: Path) -> float:
    """MB (proportional set size) of watch, page server and kernels while one visitor looks at the page."""
    home = played(folder / "server", 4)
    watch = psutil.Popen([TGTQR, "watch", "--home", home.root], stdout=subprocess.DEVNULL)
    try:
        with (
            serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
            a_browser() as browser,
            visiting(browser, served.link) as visit,
        ):
            visit.wait("figure.chart svg")
            time.sleep(SETTLED_S)
            server = psutil.Process(served.process.pid)
            every = (watch, server, *server.children(recursive=True))
            return sum(one.memory_full_info().pss for one in every) / 1e6
    finally:
        watch.terminate()
        watch.wait(60)


if __name__ == "__main__":
    import statistics
    import tempfile

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        for title, took, unit, target in figures(Path(name), int((sys.argv[1:] or ["5"])[0])):
            print(f"{title:<44}{statistics.median(took):>9.2f} {unit:<3} <= {target}   {took}")
