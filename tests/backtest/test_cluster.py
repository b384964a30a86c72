"""A sweep on a Dask cluster: real workers, some of which die, and the result of one process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster

import tgtqr_lib
from tests.backtest.series import a_plan, random_walk
from tests.builders import HARD_LIMITS
from tgtqr_lib.backtest import cluster, sweep
from tgtqr_lib.backtest.cluster import local, sweep_on
from tgtqr_lib.domain import DataError, DomainError

pytestmark = pytest.mark.slow  # starts processes
GRID = {"window": range(20, 120), "band_bps": [0, 3, 40]}
COLUMNS = ("trades", "pnl", "fees", "spread", "funding", "drawdown", "stop_ms", "stop_cause")


def same(one, other):
    assert one.params == other.params and one.labels == other.labels and one.bars == other.bars
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture(scope="module")
def client():
    with local(2) as found:
        yield found


@contextmanager
def a_scheduler():
    """The address of a scheduler in this process that has no worker."""
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as found:  # fmt: skip
        yield found.scheduler_address


@pytest.mark.parametrize("within", [None, HARD_LIMITS])
def test_the_figures_are_those_of_one_process(client, within):
    seen = random_walk(4_000, 21, swing=0.003, missing=0.002)
    same(sweep_on(client, seen, a_plan(), GRID, within), sweep(seen, a_plan(), GRID, within))


def test_what_is_run_one_by_one_is_shared_out_too(client):
    both = {s: random_walk(600, 4, s) for s in ("BTCUSDT", "ETHUSDT")}
    grid = {"window": [4, 30], "band_bps": [0, 5]}
    here = sweep(both, a_plan(), grid, HARD_LIMITS)
    same(sweep_on(client, both, a_plan(), grid, HARD_LIMITS), here)


def test_an_address_will_do_and_nothing_is_left_there(client):
    seen, told = random_walk(2_000, 3), []
    address = client.scheduler.address
    found = sweep_on(address, seen, a_plan(), GRID, None, progress=lambda *far: told.append(far))
    same(found, sweep(seen, a_plan(), GRID, None))
    assert told[-1] == (300, 300) and len(told) > 2
    plugins = client.run(lambda dask_worker: sorted(dask_worker.plugins))
    assert not [n for names in plugins.values() for n in names if n.startswith("tgtqr-sweep")]
    tasks = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
    assert tasks == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_killed_midway_changes_nothing(workers):
    seen = random_walk(40_000, 5)
    grid = {"window": range(20, 1020), "band_bps": range(40)}
    killed = []
    with local(workers) as client:

        def kill_the_first(done: int, count: int) -> None:
            if not killed:
                pid = next(iter(client.run(os.getpid).values()))
                os.kill(pid, signal.SIGKILL)
                killed.append((pid, done, count))

        found = sweep_on(client, seen, a_plan(), grid, None, progress=kill_the_first)
        pid, done, count = killed[0]
        assert done < count == 40_000
        assert pid not in client.run(os.getpid).values()
    same(found, sweep(seen, a_plan(), grid, None))


def test_the_processes_and_their_folder_end_with_the_block(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with local(2) as client:
        pids = list(client.run(os.getpid).values())
        assert len(set(pids)) == 2 and list(tmp_path.glob("tgtqr-sweep-*"))
        ears = [
            one for pid in (os.getpid(), *pids) for one in psutil.Process(pid).net_connections()
        ]
        heard = {one.laddr.ip for one in ears if one.status == psutil.CONN_LISTEN}
        assert heard == {"127.0.0.1"}
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not list(tmp_path.glob("tgtqr-sweep-*"))


def test_bad_arguments_are_refused_before_anything_is_sent():
    with pytest.raises(DomainError, match="no point"):
        sweep_on("tcp://127.0.0.1:1", random_walk(100, 1), a_plan(), {"window": []}, None)


def test_a_scheduler_without_workers_is_named(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_S", 1)
    with a_scheduler() as address, pytest.raises(DataError, match=f"{address}: has no worker"):
        sweep_on(address, random_walk(100, 1), a_plan(), GRID, None)


def test_a_scheduler_lost_midway_is_told_in_a_sentence(tmp_path):
    seen, grid = random_walk(60_000, 5), {"window": range(20, 1020), "band_bps": range(40)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, quiet = f"tcp://127.0.0.1:{port}", {"stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m"]
    scheduler = subprocess.Popen(
        [*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
         "--dashboard-address", "127.0.0.1:0"], **quiet,
    )  # fmt: skip
    worker = subprocess.Popen(
        [*dask, "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard",
         "--nthreads", "1", "--local-directory", tmp_path], **quiet,
    )  # fmt: skip
    try:
        with pytest.raises(DataError, match=f"{address}: was lost before the sweep was done"):
            sweep_on(
                address, seen, a_plan(), grid, None, progress=lambda done, count: scheduler.kill()
            )
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait(10)


def other_version(folder: Path) -> None:
    whole = Path(tgtqr_lib.__file__).parent
    shutil.copytree(whole, folder / "tgtqr_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tgtqr_lib" / "__init__.py").write_text('__version__ = "0.0.9"\n')


def other_code(folder: Path) -> None:
    whole = Path(tgtqr_lib.__file__).parent
    shutil.copytree(whole, folder / "tgtqr_lib", ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "tgtqr_lib" / "backtest" / "money.py").open("a") as file:
        file.write("BPS = 9_999\n")


def none_at_all(folder: Path) -> None:
    (folder / "tgtqr_lib").mkdir()
    (folder / "tgtqr_lib" / "__init__.py").write_text("raise ImportError\n")


@pytest.mark.parametrize(
    "library, said",
    [
        (other_version, f"has tgtqr_lib 0.0.9; expected {tgtqr_lib.__version__}"),
        (other_code, "with other code than here"),
        (none_at_all, "has no tgtqr_lib"),
    ],
)
def test_workers_with_another_library_are_refused(tmp_path, library, said):
    library(tmp_path)
    with a_scheduler() as address:
        worker = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny",
             "--no-dashboard", "--local-directory", tmp_path / "work"],
            env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with Client(address, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
                with pytest.raises(DataError, match=said):
                    sweep_on(client, random_walk(100, 1), a_plan(), GRID, None)
        finally:
            worker.kill()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(10)


def test_what_is_no_dask_scheduler_is_not_believed():
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen()
        address = f"tcp://127.0.0.1:{line.getsockname()[1]}"
        talker = threading.Thread(target=lambda: line.accept()[0].sendall(b"HTTP/1.1 400 Bad\r\n"))
        talker.start()
        with pytest.raises(DataError, match=f"cluster {address}: no Dask scheduler answered"):
            sweep_on(address, random_walk(600, 4), a_plan(), {"window": [30]}, None)
        talker.join()
