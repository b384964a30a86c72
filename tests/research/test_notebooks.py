"""notebooks/explore.ipynb and notebooks/research/: their shape, and that they run in an empty home."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import nbformat
import pytest

from tests.builders import candles
from tests.stage import PROJECT
from tgtqr_lib.home import Home
from tgtqr_lib.market.candles import Lake

FOLDER = PROJECT / "notebooks"
NAMES = [
    "explore.ipynb",
    "research/01_what_the_costs_do.ipynb",
    "research/02_is_it_luck.ipynb",
    "research/03_walk_forward.ipynb",
    "research/04_write_your_own_strategy.ipynb",
]
OWN = NAMES[-1]  # its strategy is written in the notebook: that is its point
CELLS = {name: nbformat.read(FOLDER / name, as_version=4).cells for name in NAMES}


def code(name: str) -> list:
    return [cell for cell in CELLS[name] if cell.cell_type == "code"]


def test_every_research_notebook_is_looked_at():
    assert sorted(
        f"research/{path.name}" for path in (FOLDER / "research").glob("*.ipynb")
    ) == sorted(NAMES[1:])


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_and_committed_without_outputs(name):
    text = (FOLDER / name).read_text("utf-8")
    notebook = json.loads(text)

    nbformat.validate(notebook)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell.execution_count is None and cell.outputs == [] for cell in code(name))
    assert len({cell.id for cell in CELLS[name]}) == len(CELLS[name])
    assert not [word for word in ("/home/", "/root", "/tmp", str(PROJECT)) if word in text]


@pytest.mark.parametrize("name", NAMES)
def test_it_opens_with_words_then_parameters_then_imports(name):
    assert CELLS[name][0].cell_type == "markdown" and CELLS[name][0].source.startswith("# ")
    first, second, *_ = code(name)
    assert first.metadata.tags == ["parameters"]
    assert all(" = " in line and "  # " in line for line in first.source.splitlines())
    statements = ast.parse(second.source).body
    assert all(isinstance(one, (ast.Import, ast.ImportFrom)) for one in statements)


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_question_opens_it_and_an_answer_from_its_figures_closes_it(name):
    assert "?" in CELLS[name][0].source
    last = CELLS[name][-1]
    assert last.cell_type == "code" and ".answer(" in last.source
    assert CELLS[name][-2].source.startswith("## The answer")


@pytest.mark.parametrize("name", NAMES)
def test_its_cells_are_short_and_call_the_library(name):
    grammar = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.With, ast.Try)
    for cell in code(name):
        if name == OWN and cell.id == "strategy":
            continue
        assert 1 <= len(cell.source.splitlines()) <= 8, cell.source
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, grammar)]


def test_a_strategy_of_ones_own_takes_ten_lines_or_so():
    (cell,) = [cell for cell in code(OWN) if cell.id == "strategy"]

    assert len([line for line in cell.source.splitlines() if line.strip()]) <= 10


def nbval(name: str, home: Home) -> subprocess.CompletedProcess:
    known = {k: v for k, v in os.environ.items() if not k.startswith("TGTQR_")}
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", f"notebooks/{name}"]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, timeout=280,
        env=known | {"TGTQR_HOME": str(home.root)},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nbval_runs_it_in_an_empty_home(name, tmp_path):
    home = Home(tmp_path / "nothing")

    done = nbval(name, home)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(code(name))} passed" in done.stdout
    assert not home.root.exists()  # looking at history writes nothing


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_it_runs_on_a_lake_and_says_so(name, home, tmp_path):
    """100 days of a market that goes nowhere in waves of two hours, with a minute missing."""
    minutes = 100 * 1440
    closes = [100_000 + 500 * ((i // 60) % 2) + i % 13 for i in range(minutes)]
    seen = candles(closes, until=datetime(2025, 6, 1, tzinfo=UTC), missing=[5000])
    Lake(home.candles).write(seen, "an exchange")
    out = tmp_path / "done.ipynb"
    command = [
        sys.executable, "-m", "papermill", str(FOLDER / name), str(out), "-k", "python3",
        "-p", "symbol", "BTCUSDT", "--no-progress-bar",
    ]  # fmt: skip
    known = os.environ | {"TGTQR_HOME": str(home.root)}

    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=known)

    assert done.returncode == 0, done.stderr[-3000:]
    cells = nbformat.read(out, as_version=4).cells
    words = [
        "".join(o.get("data", {}).get("text/markdown", "") for o in c.get("outputs", []))
        for c in cells
    ]
    assert any("143,999 recorded minutes" in text for text in words)
    assert "**Answer.**" in words[-1]
    assert "made up" not in words[-1]
