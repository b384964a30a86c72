"""notebooks/tick.ipynb: its shape, and that it decides the same wherever it runs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import nbformat
import pytest

from tests.builders import a_portfolio, a_position, a_quote, a_view, candles, healthy, inputs
from tests.golden import make_inputs
from tgtqr_lib import tick_page
from tgtqr_lib.canonical import dumps, load_inputs, plain
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.domain import Problem

PROJECT = Path(__file__).resolve().parents[2]
NOTEBOOK = PROJECT / "notebooks" / "tick.ipynb"

CELLS = nbformat.read(NOTEBOOK, as_version=4).cells
CODE = [cell for cell in CELLS if cell.cell_type == "code"]

# every way in which something can be missing, and a stop that is left with a position
PROBLEMS = {
    "nothing seen": inputs(
        a_view(seen=candles([]), quote=None, problems=[Problem("DATA_ODD", "<html> | *502*")]),
        a_view("ETHUSDT", seen=candles([], "ETHUSDT"), quote=None, instrument=None),
        health=healthy(last_beat_at=None),
        days=(),
    ),
    "gap, late, no quote": inputs(
        a_view(seen=candles([100] * 50 + [101] * 11, missing=[30, 31]), quote=a_quote(101)),
        a_view("ETHUSDT", seen=candles([100] * 61, "ETHUSDT", missing=[-1]), quote=None),
    ),
    "stopped, something held": inputs(
        a_view(state="FLAT"),
        a_view("ETHUSDT"),
        portfolio=a_portfolio(a_position()),
        health=healthy(stopped="breach"),
    ),
    "one symbol": inputs(a_view(), portfolio=a_portfolio(cash="8.5")),
}


def run(frozen: str, out: Path) -> nbformat.NotebookNode:
    """The notebook executed by papermill as a tick does it."""
    import papermill

    return papermill.execute_notebook(
        str(NOTEBOOK), str(out), parameters={"inputs": frozen}, progress_bar=False
    )


def outputs_of(notebook) -> list:
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


# its shape


def test_it_is_valid_and_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))

    nbformat.validate(notebook)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["language_info"]["name"] == "python"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert all(cell.execution_count is None and cell.outputs == [] for cell in CODE)
    assert len({cell.id for cell in CELLS}) == len(CELLS)


def test_parameters_come_first_then_imports_and_the_decision_comes_last():
    assert CELLS[0].cell_type == "markdown"
    assert CODE[0].metadata.tags == ["parameters"]
    assert CODE[0].metadata.jupyter.source_hidden is True
    assert CODE[0].source.startswith('inputs: str = "tests/golden/inputs-20250601T1015Z.json"')
    statements = ast.parse(CODE[1].source).body
    assert all(isinstance(statement, (ast.Import, ast.ImportFrom)) for statement in statements)
    assert CODE[-1] is CELLS[-1]
    tagged = [tick_page.TAG in cell.metadata.get("tags", []) for cell in CODE]
    assert tagged == [False] * (len(CODE) - 1) + [True]


def test_its_cells_are_short_and_call_the_library():
    grammar = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.With, ast.Try)
    for cell in CODE:
        assert 1 <= len(cell.source.splitlines()) <= 8
        tree = ast.parse(cell.source)
        assert not [node for node in ast.walk(tree) if isinstance(node, grammar)]
        imported = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        assert all(node.module.split(".")[0] == "tgtqr_lib" for node in imported)


def test_its_inputs_are_made_by_our_own_code():
    assert make_inputs.FILE.read_text("utf-8") == dumps(make_inputs.make()) + "\n"


def test_its_inputs_tell_the_story_they_were_chosen_for():
    btc, eth = decide(load_inputs(make_inputs.FILE)).choices

    # closes 58506.8 and 2400.03, collar 100 bps: 59091.868 and 2376.0297, rounded down to the price step
    assert (str(btc.signal.state), btc.order.limit) == ("LONG", Decimal("59091.8"))
    assert (str(eth.signal.state), eth.order.limit) == ("FLAT", Decimal("2376.02"))
    assert btc.order.quantity == Decimal("0.000016")  # 0.95 / 0.0590918 is 16.08 lots
    assert eth.order.quantity == Decimal("0.00039")  # all that was bought at 09:30


# what it does


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """The notebook executed on the golden inputs, and the file papermill wrote."""
    out = tmp_path_factory.mktemp("golden") / "tick.ipynb"
    return run(dumps(load_inputs(make_inputs.FILE)), out), out


@pytest.mark.slow
def test_it_decides_as_the_library_does(golden):
    notebook, out = golden
    decision = decide(load_inputs(make_inputs.FILE))

    found = tick_page.read_sentinel(json.loads(out.read_text("utf-8")))

    assert found == tick_page.read_sentinel(notebook)
    assert found["inputs_sha256"] == decision.inputs_sha256
    assert found["decision_sha256"] == decision_sha256(decision)
    assert found["decision"] == plain(decision)


@pytest.mark.slow
def test_its_first_result_is_the_headline_and_every_part_is_there(golden):
    notebook, _ = golden
    shown = [out for outputs in outputs_of(notebook) for out in outputs]

    assert "BTCUSDT: LONG, buy 16 lots" in shown[0].data["text/markdown"]
    assert sum("image/png" in out.data for out in shown) == 2
    assert sum("text/html" in out.data for out in shown) == 2  # summary, verdicts
    assert all("text/plain" in out.data for out in shown)
    assert [out.output_type for out in shown].count("stream") == 0


@pytest.mark.slow
def test_what_it_shows_names_no_machine_and_is_small(golden):
    notebook, _ = golden
    text = json.dumps(notebook.cells, indent=1)

    assert str(PROJECT) not in text
    assert len(text) < 75_000


@pytest.mark.slow
def test_a_second_run_shows_the_same_bytes(golden, tmp_path):
    notebook, _ = golden

    again = run(dumps(load_inputs(make_inputs.FILE)), tmp_path / "again.ipynb")

    assert outputs_of(again) == outputs_of(notebook)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_comes_to_its_end_whatever_is_missing(name, tmp_path):
    frozen = PROBLEMS[name]

    notebook = run(dumps(frozen), tmp_path / "tick.ipynb")

    found = tick_page.read_sentinel(notebook)
    assert found["decision_sha256"] == decision_sha256(decide(frozen))
    kinds = {out.output_type for outputs in outputs_of(notebook) for out in outputs}
    assert kinds == {"execute_result", "display_data"}  # nothing on standard error


@pytest.mark.slow
def test_it_fails_without_a_sentinel_on_inputs_that_cannot_be_read(tmp_path):
    out = tmp_path / "tick.ipynb"

    with pytest.raises(Exception, match="DomainError"):
        run('{"schema":1}', out)

    assert tick_page.read_sentinel(json.loads(out.read_text("utf-8"))) is None


@pytest.mark.slow
def test_an_executed_copy_runs_again_elsewhere_and_writes_nothing(golden, tmp_path, monkeypatch):
    """By nbclient, in an empty folder, with a home and caches that are empty too."""
    from nbclient import NotebookClient

    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    for name in ("HOME", "IPYTHONDIR", "MPLCONFIGDIR", "TGTQR_HOME"):
        monkeypatch.setenv(name, str(home / name))
    if PROJECT.as_posix() not in os.environ.get("PYTHONPATH", ""):
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    copy = nbformat.from_dict(json.loads(json.dumps(golden[0])))
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None

    NotebookClient(
        copy, timeout=60, kernel_name="python3", resources={"metadata": {"path": here}}
    ).execute()

    assert tick_page.read_sentinel(copy) == tick_page.read_sentinel(golden[0])
    assert outputs_of(copy) == outputs_of(golden[0])
    assert list(here.iterdir()) == []
    assert not (home / "TGTQR_HOME").exists()


@pytest.mark.slow
def test_nbval_runs_it():
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "notebooks/tick.ipynb"]

    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CODE)} passed" in done.stdout


@pytest.mark.slow
def test_its_imports_are_light():
    """What the kernel loads: no frames, no plotting windows, no exchange, no database, no settings."""
    code = (
        "import sys\n"
        f"{CODE[1].source}\n"
        "heavy = {'pandas', 'matplotlib.pyplot', 'ccxt', 'duckdb', 'sqlite3', 'pydantic', 'requests'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_problems_are_problems():
    reasons = {
        name: [c.reason for c in decide(frozen).choices] for name, frozen in PROBLEMS.items()
    }

    assert reasons["nothing seen"][0] == "DATA_INVALID"
    assert reasons["gap, late, no quote"] == ["DATA_GAP", "DATA_LATE"]
    assert reasons["stopped, something held"] == ["SIGNAL_FLAT", "GATE_STOPPED"]
    assert reasons["one symbol"] == ["DAILY_BUDGET"]
