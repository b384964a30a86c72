"""notebooks/post_mortem.ipynb: its shape, an empty home, and a whole case under papermill, as the report shows it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.stage import NO_POST_MORTEM, PROJECT, files, minutes, raw, rise
from tgtqr_lib import gate
from tgtqr_lib.home import Home

NOTEBOOK = PROJECT / "notebooks" / "post_mortem.ipynb"
CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
CODE = [cell for cell in CELLS if cell.cell_type == "code"]


def environment(home: Home) -> dict[str, str]:
    known = {k: v for k, v in os.environ.items() if not k.startswith("TGTQR_")}
    return known | NO_POST_MORTEM | {"TGTQR_HOME": str(home.root)}


def ledger_of(home: Home) -> list[list[tuple]]:
    """Every row of the ledger; its file is open, and whoever reads that beside SQLite takes its locks away."""
    con = raw(home)
    try:
        return [con.execute(f"SELECT * FROM {table}").fetchall() for table in ("events", "marks")]
    finally:
        con.close()


def test_it_is_valid_and_committed_without_outputs():
    text = NOTEBOOK.read_text("utf-8")
    notebook = json.loads(text)

    nbformat.validate(notebook)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell.execution_count is None and cell.outputs == [] for cell in CODE)
    assert len({cell.id for cell in CELLS}) == len(CELLS)
    assert not [word for word in ("/home/", "/root", "/tmp", str(PROJECT)) if word in text]


def test_it_opens_with_words_then_parameters_then_imports_and_only_shows():
    assert CELLS[0].cell_type == "markdown" and CELLS[0].source.startswith("# ")
    assert CODE[0].metadata.tags == ["parameters"]
    names = [line.split(":")[0] for line in CODE[0].source.splitlines()]
    assert names == ["home", "tick"] and all("  # " in line for line in CODE[0].source.splitlines())
    assert all(
        isinstance(one, (ast.Import, ast.ImportFrom)) for one in ast.parse(CODE[1].source).body
    )
    grammar = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.With, ast.Try)
    for cell in CODE:
        assert 1 <= len(cell.source.splitlines()) <= 8
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, grammar)]


@pytest.mark.slow
def test_nbval_runs_it_in_an_empty_home(tmp_path):
    home = Home(tmp_path / "nothing")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "notebooks/post_mortem.ipynb"],
        cwd=PROJECT, capture_output=True, text=True, timeout=280, env=environment(home),
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CODE)} passed" in done.stdout
    assert not home.root.exists()  # looking back writes nothing


@pytest.mark.slow
def test_the_report_of_a_stopped_tick_tells_its_whole_story(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    for at in minutes("10:16", 5):
        stage.beat(at)
    gate.stop(stage.home, "enough", "the owner")
    stage.beat("10:21:03")
    before = files(stage.home.ticks), ledger_of(stage.home)

    done = stage.run("report", "--post-mortem", "20261122T1015Z", "--json", timeout_s=280)

    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    page = Path(found["page"]).read_text("utf-8")
    for words in (
        "by the owner: enough", "BTCUSDT: LONG, buy 9 lots", "band_bps=10", "HOLD (SIGNAL_IN_BAND)",
        "long above and flat below 100,000.000 USDT", "0.0000459", "by the safety sale 20261122T1021Z-BTC-X",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("data:image/png;base64,") == 4  # two symbols, before and after
    assert "answers in JupyterLab only" in page and "VBox" not in page and "Traceback" not in page
    cells = nbformat.read(found["notebook"], as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type in ("stream", "error")]
    assert (files(stage.home.ticks), ledger_of(stage.home)) == before
