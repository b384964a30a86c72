"""A picture with sliders is a picture on a page without a kernel too."""

from __future__ import annotations

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.preprocessors import ExecutePreprocessor

from tgtqr_lib.learn import Play

CELL = """
from tgtqr_lib.learn import Play
Play(lambda n: f"<svg><title>drawn at {n}</title></svg>", n=(7, 1, 9, 1, "a number"))
"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    folder = tmp_path_factory.mktemp("play")
    runner = ExecutePreprocessor(timeout=60, kernel_name="python3")
    found, _ = runner.preprocess(made, {"metadata": {"path": folder}})
    return found


def test_the_live_widget_comes_first_and_its_picture_after_it(notebook):
    live, still = (output.data for output in notebook.cells[0].outputs)
    assert "application/vnd.jupyter.widget-view+json" in live
    assert "<title>drawn at 7</title>" in still["text/html"]


@pytest.mark.parametrize("state", [True, False])
def test_an_export_shows_the_picture_with_the_widgets_state_and_without(notebook, state):
    shown = notebook.copy()
    shown.metadata = notebook.metadata.copy()
    if not state:
        shown.metadata.pop("widgets")
    page, _ = HTMLExporter().from_notebook_node(shown)
    body = page.split("<body")[1].split("application/vnd.jupyter.widget-state+json")[0]
    assert body.count("<title>drawn at 7</title>") == 1
    assert "VBox(" not in body


def test_the_picture_that_stays_is_what_the_sliders_show():
    play = Play(lambda n: f"<p>{n}</p>", n=(1, 0, 9, 1, ""))
    assert "<p>4</p>" in play.set(n=4).still
