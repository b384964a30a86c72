"""Kernels start ahead, know nothing of their surroundings, and leave nothing behind."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tgtqr_lib import kernel
from tgtqr_lib.domain import DomainError
from tgtqr_lib.kernel import NotebookFailed, kernels, run_notebook

pytestmark = pytest.mark.slow


def page(folder: Path, *cells: str, parameters="x: int = 1  # a number") -> Path:
    """A notebook of `cells` after its parameter cell."""
    made = [
        {"cell_type": "code", "execution_count": None, "id": f"c{i}", "outputs": [], "source": [source],
         "metadata": {"tags": ["parameters"]} if i == 0 else {}}
        for i, source in enumerate([parameters, *cells])
    ]  # fmt: skip
    kernelspec = {
        "display_name": "stray",
        "language": "python",
        "name": "a-kernel-that-is-not-there",
    }
    notebook = {
        "cells": made,
        "metadata": {"kernelspec": kernelspec},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = folder / "page.ipynb"
    path.write_text(json.dumps(notebook), "utf-8")
    return path


def shown(path: Path) -> str:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "".join("".join(o.get("text", "")) for cell in cells for o in cell.get("outputs", []))


def test_a_kernel_knows_the_parameters_and_no_secret_and_no_home(tmp_path, pool, monkeypatch):
    for name in ("BYBIT_API_SECRET", "TGTQR_MARKET", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP"):
        monkeypatch.setenv(name, "canary")
    with kernels(tmp_path) as fresh:  # started now, not before the variables were set
        source = page(tmp_path, "import os, json; print(x, json.dumps(dict(os.environ)))")
        target = tmp_path / "out.ipynb"
        run_notebook(source, target, {"x": 42}, fresh, cell_timeout_s=30)
    number, text = shown(target).split(" ", 1)
    assert number == "42" and "canary" not in text
    names = {name for name in json.loads(text) if not name.startswith(("JPY_", "PYDEVD_", "LC_"))}
    assert not {name for name in names if name.startswith(("TGTQR_", "BYBIT_", "AWS_"))}


def test_an_unknown_parameter_is_refused_before_a_kernel_is_taken(tmp_path):
    with (
        kernels(tmp_path) as fresh,
        pytest.raises(DomainError, match="parameter 'y' is not declared"),
    ):
        run_notebook(page(tmp_path), tmp_path / "out.ipynb", {"y": 1}, fresh, cell_timeout_s=30)
    assert not (tmp_path / "out.ipynb").exists()


def test_each_run_has_a_kernel_of_its_own_and_a_failed_one_is_written_too(tmp_path, pool):
    source = page(tmp_path, "import os; print(os.getpid())\nassert x < 3, 'x is too much'")
    pids = []
    for value in (1, 2):
        run_notebook(source, tmp_path / "out.ipynb", {"x": value}, pool, cell_timeout_s=30)
        pids.append(int(shown(tmp_path / "out.ipynb")))
    with pytest.raises(
        NotebookFailed, match=r"page.ipynb: cell 2 failed: AssertionError: x is too much"
    ):
        run_notebook(source, tmp_path / "out.ipynb", {"x": 3}, pool, cell_timeout_s=30)
    pids.append(int(shown(tmp_path / "out.ipynb")))
    assert len(set(pids)) == 3
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists() and _alive(pid)]


def _alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state != "Z"


@pytest.fixture
def short_folder(monkeypatch):
    """An empty folder for temporary files whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_in_a_folder_whose_name_is_too_long_for_a_socket_tmp_is_used(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with kernels(tmp_path) as fresh:
        fresh.prepare()
        assert str(fresh._next.result().sockets).startswith("/tmp/")
    assert list(folder.iterdir()) == []


def test_a_pool_that_is_closed_leaves_no_kernel_and_no_socket(tmp_path, short_folder):
    folder = short_folder
    with kernels(tmp_path) as fresh:
        fresh.prepare()
        manager = fresh._next.result()
        pid = manager.provisioner.process.pid
        assert list(folder.iterdir()) and _alive(pid)
    assert list(folder.iterdir()) == []
    assert not Path(f"/proc/{pid}").exists() or not _alive(pid)


# a process of its own: what other tests leave behind, and lose, would be counted as well
COUNTS = """
import contextlib, json, os, sys
from pathlib import Path
from tgtqr_lib.kernel import NotebookFailed, kernels, run_notebook

folder, seen = Path(sys.argv[1]), []
with kernels(folder) as pool:
    for name in ("good", "bad", "good", "bad"):
        with contextlib.suppress(NotebookFailed):
            run_notebook(folder / name / "page.ipynb", folder / "out.ipynb", {"x": 2}, pool, cell_timeout_s=30)
        seen.append([len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))])
print(json.dumps(seen))
"""


def test_runs_leave_no_thread_and_no_open_file(tmp_path):
    for name, cell in (("good", "x"), ("bad", "1 / 0")):
        (tmp_path / name).mkdir()
        page(tmp_path / name, cell)
    done = subprocess.run(
        [sys.executable, "-c", COUNTS, tmp_path], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    # a running kit makes 35,000 ticks a year, and a process may have 1024 files
    assert seen[1] == seen[2] == seen[3]


def test_a_kernel_that_cannot_start_is_an_error_of_that_run_alone(tmp_path, monkeypatch):
    source, usual = page(tmp_path, "print('hello')"), kernel._start_kernel
    with kernels(tmp_path) as fresh:
        monkeypatch.setattr(kernel, "_start_kernel", lambda folder: os.stat(folder / "nowhere"))
        with pytest.raises(OSError):
            run_notebook(source, tmp_path / "out.ipynb", {}, fresh, cell_timeout_s=30)
        monkeypatch.setattr(kernel, "_start_kernel", usual)
        run_notebook(source, tmp_path / "out.ipynb", {}, fresh, cell_timeout_s=30)
    assert shown(tmp_path / "out.ipynb") == "hello\n"
