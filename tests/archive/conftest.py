"""A home with three ticks that real kernels ran: an entry at 10:15, a quiet one at 10:30, an exit at 10:45."""

import shutil
from pathlib import Path

import pytest

from tests.stage import open_stage, rise
from tgtqr_lib.home import Home

ENTRY, QUIET, EXIT = "20261122T1015Z", "20261122T1030Z", "20261122T1045Z"


@pytest.fixture(scope="session")
def three_ticks(tmp_path_factory, pool) -> Path:
    """The home that the tests of this folder copy."""
    root = tmp_path_factory.mktemp("archive") / "home"
    with open_stage(root, pool) as stage:
        rise(stage)
        stage.arm()
        stage.tick("10:15")
        stage.beat("10:29")
        stage.tick("10:30")
        rise(stage, since="10:40", price="99000.0")
        stage.beat("10:44")
        stage.tick("10:45")
    return root


@pytest.fixture
def archived(three_ticks, tmp_path) -> Home:
    """A copy of the home with three ticks; its exchange is gone."""
    root = tmp_path / "archived"
    shutil.copytree(three_ticks, root)
    return Home(root)


def notebook_of(home: Home, tick: str) -> Path:
    return home.ticks / "2026" / "11" / "22" / f"{tick}.ipynb"


def edit(path: Path, before: str, after: str, count: int = 1) -> None:
    """Replace `before` in the file at `path`, `count` times, as an editor would."""
    text = path.read_text("utf-8")
    assert text.count(before) >= count > 0
    path.chmod(0o644)
    path.write_text(text.replace(before, after, count), "utf-8")
