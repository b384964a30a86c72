"""notebooks/learn/: their shape, and that each runs in an empty home in under a minute."""

from __future__ import annotations

import ast
import json

import nbformat
import pytest

from tests.research.test_notebooks import nbval
from tests.stage import PROJECT
from tgtqr_lib.home import Home

FOLDER = PROJECT / "notebooks" / "learn"
NAMES = [
    "01_moving_average.ipynb",
    "02_costs.ipynb",
    "03_funding_rates.ipynb",
    "04_order_book.ipynb",
    "05_risk_limits.ipynb",
    "06_backtest_traps.ipynb",
    "07_alternative_data.ipynb",
    "08_reading_a_tick.ipynb",
]
THERE = [name for name in NAMES if (FOLDER / name).is_file()]
CELLS = {name: nbformat.read(FOLDER / name, as_version=4).cells for name in THERE}
EXERCISES = 3


def code(name: str) -> list:
    return [cell for cell in CELLS[name] if cell.cell_type == "code"]


def test_every_notebook_of_the_course_is_looked_at():
    assert sorted(path.name for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", THERE)
def test_it_is_valid_and_committed_without_outputs(name):
    text = (FOLDER / name).read_text("utf-8")
    notebook = json.loads(text)

    nbformat.validate(notebook)
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert all(cell.execution_count is None and cell.outputs == [] for cell in code(name))
    assert len({cell.id for cell in CELLS[name]}) == len(CELLS[name])
    assert not [word for word in ("/home/", "/root", "/tmp", str(PROJECT)) if word in text]


@pytest.mark.parametrize("name", THERE)
def test_it_opens_with_a_question_then_parameters_then_imports(name):
    assert CELLS[name][0].cell_type == "markdown" and CELLS[name][0].source.startswith("# ")
    assert "?" in CELLS[name][0].source
    first, second, *_ = code(name)
    assert first.metadata.tags == ["parameters"]
    assert all(" = " in line and "  # " in line for line in first.source.splitlines())
    statements = ast.parse(second.source).body
    assert all(isinstance(one, (ast.Import, ast.ImportFrom)) for one in statements)


@pytest.mark.parametrize("name", THERE)
def test_its_cells_are_short_and_call_the_library(name):
    grammar = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.With, ast.Try)
    for cell in code(name):
        assert 1 <= len(cell.source.splitlines()) <= 8, cell.source
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, grammar)]


@pytest.mark.parametrize("name", THERE)
def test_it_answers_from_its_own_figures_and_then_gives_three_exercises_with_solutions(name):
    cells = CELLS[name]
    heads = [cell.source.splitlines()[0] for cell in cells if cell.cell_type == "markdown"]
    answer, exercises = heads.index("## The answer"), heads.index("## Exercises")
    assert answer < exercises
    tagged = [c for c in code(name) if "solution" in c.metadata.get("tags", [])]
    # folded away, so that a reader thinks first
    assert all(cell.metadata.jupyter == {"source_hidden": True} for cell in tagged)
    asked = [head for head in heads[exercises:] if head.startswith("### Exercise ")]
    assert len(asked) == EXERCISES and len(tagged) >= EXERCISES
    place = next(i for i, c in enumerate(cells) if c.source.startswith("## The answer"))
    assert cells[place + 1].cell_type == "code" and ".answer(" in cells[place + 1].source


@pytest.mark.slow
@pytest.mark.parametrize("name", THERE)
def test_nbval_runs_it_in_an_empty_home(name, tmp_path):
    home = Home(tmp_path / "nothing")

    done = nbval(f"learn/{name}", home)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(code(name))} passed" in done.stdout
    assert not home.root.exists()  # looking at history writes nothing
