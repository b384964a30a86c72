"""`tgtqr sweep` by threads, processes and a cluster: the same bytes, and nothing left when interrupted."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pandas as pd
import psutil
import pytest
from distributed import LocalCluster

from tests.backtest.series import random_walk
from tgtqr_lib import cli
from tgtqr_lib.backtest import cluster
from tgtqr_lib.commands.sweep import Progress

TGTQR = Path(sys.executable).with_name("tgtqr")
GRID = ("window=20:219", "band_bps=0,3,40")


def written(folder: Path, minutes: int) -> Path:
    """A walk as a file of one-minute candles."""
    walk = random_walk(minutes, seed=5, swing=0.0005)
    frame = pd.DataFrame({"ts": pd.to_datetime(walk.open_ms, unit="ms", utc=True)})
    for name in ("open", "high", "low", "close"):
        frame[name] = getattr(walk, name) / 10.0**walk.decimals
    frame["volume"], frame["symbol"] = 1.0, walk.symbol
    con = duckdb.connect()
    con.register("candles", frame)
    con.execute(f"COPY candles TO '{folder}/walk.parquet' (FORMAT parquet)")
    return folder / "walk.parquet"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("walk"), 5_000)


def swept(file: Path, out: Path, *words: str) -> bytes:
    command = ["sweep", "--candles", file, *GRID, "--out", out, "--json", *words]
    assert cli.main([str(word) for word in command]) == 0
    return out.read_bytes()


@pytest.mark.slow
def test_the_file_is_the_same_whoever_computed_it(capsys, file, tmp_path):
    out = tmp_path / "sweep.parquet"
    alone = swept(file, out)
    facts = json.loads(capsys.readouterr().out)
    assert facts["combinations"] == 600
    assert len(duckdb.read_parquet(str(out)).fetchall()) == 600
    for words in (["--workers", "1"], ["--workers", "2"]):
        assert swept(file, out, *words) == alone, words
        assert json.loads(capsys.readouterr().out)["best"] == facts["best"]
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
    ) as found:  # fmt: skip
        assert swept(file, out, "--cluster", found.scheduler_address) == alone
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.parquet"]


def test_a_cluster_that_does_not_answer_is_named(capsys, monkeypatch, file, tmp_path):
    monkeypatch.setattr(cluster, "ANSWER_S", 1)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        words = ["sweep", "--candles", file, *GRID, "--cluster", address, "--out", tmp_path / "x"]
        assert cli.main([str(word) for word in words]) == 4
    shown = capsys.readouterr()
    assert shown.err == f"tgtqr sweep: cluster {address}: no Dask scheduler answered within 1 s\n"
    assert shown.out == "" and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--workers", "0"], "--workers 0 is out of range; expected 1 to 256"),
        (["--workers", "two"], "--workers=two: expected a whole number"),
        (["--cluster", "10.0.0.5:8786"], "--cluster 10.0.0.5:8786: expected tcp://HOST:PORT"),
        (["window=2:1001", "band_bps=0:1000", "--workers", "2"], "has 1,001,000 combinations"),
        (["window="], "window=: expected a whole number"),
    ],
)
def test_bad_words_get_a_sentence(capsys, monkeypatch, file, words, said):
    monkeypatch.setattr("tgtqr_lib.commands.sweep.MOST", 1_000_000)
    given = [*words, *([] if "window" in " ".join(words) else GRID)]
    assert cli.main(["sweep", "--candles", str(file), *given]) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.out == ""


def test_a_large_grid_is_told_before_it_begins(capsys, file, tmp_path):
    out = tmp_path / "sweep.parquet"
    words = ["sweep", "--candles", file, "window=20:219", "band_bps=0:99", "--out", out, "--json"]
    assert cli.main([str(word) for word in words]) == 0
    shown = capsys.readouterr()
    told = r"20,000 combinations of 5,000 minutes: about \d+ s and 3 MB\n"
    assert re.match(told, shown.err)
    assert json.loads(shown.out)["combinations"] == 20_000


def test_progress_tells_what_is_left_and_leaves_a_terminal_clean(capsys, monkeypatch):
    moments = iter([0.0, 1.0, 6.0, 7.0, 12.0, 13.0])
    progress = Progress(lambda: next(moments))
    for done in (10, 25, 30, 60, 100):
        progress(done, 100)
    # 25 took 6 s, so the other 75 take 18; 60 took 12 s, so 40 take 8
    assert capsys.readouterr().err == (
        "25 of 100 combinations, about 18 s left\n60 of 100 combinations, about 8 s left\n"
    )
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    moments = iter([0.0, 2.0, 2.1, 4.0])
    progress = Progress(lambda: next(moments))
    for done in (50, 60, 100):
        progress(done, 100)
    assert capsys.readouterr().err == "\r\x1b[K50 of 100 combinations, about 2 s left\r\x1b[K"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "working", "threads"])
def test_ctrl_c_leaves_no_file_no_process_and_no_folder(tmp_path, moment):
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    out.mkdir()
    candles = written(tmp_path, 400_000)
    words = ["window=20:1419", "band_bps=0:999", "--limits", "off", "--out", out / "x.parquet"]
    how = [] if moment == "threads" else ["--workers", "2"]
    environment = os.environ | {"TMPDIR": str(temporary)}
    said = tmp_path / "said"
    with said.open("w") as errors:
        process = psutil.Popen(
            [TGTQR, "sweep", "--candles", candles, *words, *how], env=environment,
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    try:
        far_enough(process, moment, said)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        if process.is_running():
            os.killpg(process.pid, signal.SIGKILL)
    assert said.read_text().endswith("tgtqr: interrupted\n")
    assert "Traceback" not in said.read_text()
    assert not list(out.iterdir())
    assert not [path for path in temporary.iterdir() if path.name.startswith(("tgtqr", "dask"))]
    _, left = psutil.wait_procs(of_session(process.pid), timeout=10)
    assert not left


def of_session(number: int) -> list[psutil.Process]:
    """The processes of a session that live."""
    found = []
    for one in psutil.process_iter():
        try:
            alive = one.status() != psutil.STATUS_ZOMBIE
            if os.getsid(one.pid) == number and alive:
                found.append(one)
        except (psutil.Error, OSError):
            continue
    return found


def far_enough(process: psutil.Popen, moment: str, said: Path) -> None:
    """Wait until the workers are being started, or until some of the work is done."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert process.poll() is None, said.read_text()
        if moment == "starting" and len(process.children()) > 1:
            return
        if moment != "starting" and "combinations, about" in said.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"the sweep did not get as far as {moment}")
