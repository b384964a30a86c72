"""The dashboard's figures, taken by a real browser from a real server; part of `make bench`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.dashboard.browser import a_browser, visiting
from tests.dashboard.serving import kernel_process, serving
from tests.stage import PROJECT
from tgtqr_lib.home import Home

TGTQR = Path(sys.executable).with_name("tgtqr")
PAGE = (PROJECT / "notebooks" / "dashboard.ipynb").as_posix()
GATE = "ACTIVE"
WAIT_S = 60.0


def played(folder: Path, ticks: int = 8) -> Home:
    """A home after some ticks of the demo."""
    done = subprocess.run(
        [TGTQR, "demo", "--home", folder, "--ticks", str(ticks), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Home(Path(json.loads(done.stdout)["home"]))


def until(true: Callable[[], object], every_s: float = 0.02) -> float:
    """Seconds until `true` says so."""
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > WAIT_S:
            raise SystemExit("the page did not do what was waited for")
        time.sleep(every_s)
    return time.perf_counter() - began


def heads(home: Home) -> int:
    with sqlite3.connect(home.ledger) as con:
        return con.execute("SELECT max(seq) FROM events").fetchone()[0]


def kernel_of(visit) -> psutil.Process:
    text = visit.page.locator("#jupyter-config-data").text_content()
    return kernel_process(json.loads(text)["kernelId"])


def paints(link: str, runs: int, browser, rest_s: float) -> dict[str, list[float]]:
    """Seconds from the visit to the gate in the header, and to the first section, `rest_s` after the last."""
    took: dict[str, list[float]] = {"gate": [], "section": []}
    for _ in range(runs):
        time.sleep(rest_s)  # so that the next kernel is ready, or is not
        began = time.perf_counter()
        with visiting(browser, link):
            took["section"].append(time.perf_counter() - began)
        began = time.perf_counter()
        context = browser.new_context()
        page = context.new_page()
        page.goto(link, wait_until="commit")
        until(lambda page=page: page.locator("#gate").inner_text() == GATE)
        took["gate"].append(time.perf_counter() - began)
        context.close()
    return took


def figures(folder: Path, runs: int) -> list[tuple[str, list[float], str, float | None]]:
    """Rows for the table: name, figures, unit, target."""
    home = played(folder / "page")
    rows: list[tuple[str, list[float], str, float | None]] = []
    with a_browser() as browser:
        with serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served:
            warm = paints(served.link, runs, browser, rest_s=12)
            rows.append(("page: gate in the header", warm["gate"], "s", None))
            rows.append(("page: first section, preheated", warm["section"], "s", 3.0))
            rows.append(
                (
                    "page: from an event to the screen",
                    events(home, served.link, runs, browser),
                    "s",
                    2.0,
                )
            )
        colds = []
        for _ in range(min(runs, 3)):
            with (
                serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
                visiting(browser, served.link),  # takes the kernel that was ready
            ):
                began = time.perf_counter()
                with visiting(browser, served.link):
                    colds.append(time.perf_counter() - began)
        rows.append(("page: first section, cold kernel", colds, "s", 8.0))
        rows.append(("page: tap on STOP to the latch", stops(folder, runs, browser), "s", 1.0))
        rows.append(
            ("page: STALE after the server died", staleness(home, min(runs, 3), browser), "s", 5.0)
        )
        rows += memory(folder, browser)
    return rows


def events(home: Home, link: str, runs: int, browser) -> list[float]:
    """Seconds from a tick's last event in the ledger to its row on the page."""
    took = []
    with visiting(browser, link) as visit:
        for _ in range(runs):
            done = subprocess.run(
                [TGTQR, "tick", "--home", home.root, "--json"], capture_output=True, text=True
            )
            began = time.perf_counter()
            tick = json.loads(done.stdout)["tick_id"]
            until(lambda tick=tick: visit.page.locator(f'a[href="tick/{tick}"]').count())
            took.append(time.perf_counter() - began)
    return took


def stops(folder: Path, runs: int, browser) -> list[float]:
    """Seconds from the tap to the file STOP."""
    took = []
    for run in range(runs):
        home = played(folder / f"stop-{run}", 1)
        with (
            serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
            visiting(browser, served.link) as visit,
        ):
            began = time.perf_counter()
            visit.page.evaluate("document.getElementById('stop').click()")
            until((home.control / "STOP").exists, 0.002)
            took.append(time.perf_counter() - began)
    return took


def staleness(home: Home, runs: int, browser) -> list[float]:
    """Seconds from the server's death to the word STALE."""
    took = []
    for _ in range(runs):
        with (
            serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
            visiting(browser, served.link) as visit,
        ):
            os.kill(served.process.pid, signal.SIGKILL)
            took.append(until(lambda visit=visit: visit.page.locator("body.stale").count()))
    return took


def memory(folder: Path, browser) -> list[tuple[str, list[float], str, float | None]]:
    """MB of a page's kernel, by how much an hour of ticks makes it grow, and of the server."""
    home = played(folder / "hour", 4)
    up = subprocess.Popen(
        [TGTQR, "up", "--home", home.root, "--rate", "60", "--no-page"], stdout=subprocess.DEVNULL
    )
    try:
        with (
            serving(home.root, TGTQR_DASHBOARD_NOTEBOOK=PAGE) as served,
            visiting(browser, served.link) as visit,
        ):
            visit.wait("figure.chart svg")
            kernel = kernel_of(visit)
            time.sleep(20)
            before = kernel.memory_full_info().uss / 1e6
            time.sleep(60)
            after = kernel.memory_full_info().uss / 1e6
            server = psutil.Process(served.process.pid).memory_full_info().uss / 1e6
    finally:
        up.terminate()
        up.wait(60)
    return [
        ("page: memory of one open page", [after], "MB", 150),
        ("page: its growth in an hour of ticks", [after - before], "MB", 20),
        ("page: memory of the server", [server], "MB", None),
    ]


if __name__ == "__main__":
    import tempfile

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        for title, took, unit, target in figures(Path(name), 5):
            print(
                f"{title:<44}{statistics.median(took):>9.2f} {unit:<3} <= {target}   {[round(t, 2) for t in took]}"
            )
