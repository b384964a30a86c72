"""A sealed tick in JupyterLab: it runs, says that it is a re-run, and cannot be saved over."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_server.services.contents.filemanager import FileContentsManager
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from tests.dashboard.browser import a_browser
from tests.research.lab import lab, opened
from tests.stage import files, raw, rise
from tgtqr_lib import jupyter
from tgtqr_lib.archive.opened import find_sealed, open_archived
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.tick_page import banner

TICK = "20261122T1015Z"


@pytest.fixture
def sealed(stage) -> Path:
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    return find_sealed(stage.home, TICK)


def manager_of(folder: Path, kind=AsyncLargeFileManager):
    """A contents manager of Jupyter's server, with the extension loaded as the server loads it."""
    manager = kind(root_dir=str(folder))
    jupyter._load_jupyter_server_extension(SimpleNamespace(contents_manager=manager))
    return manager


def copy_of(home: Home, root: Path) -> Home:
    """A copy of `home` that nobody has open, so that its files can be compared to the byte."""
    shutil.copytree(home.root, root, ignore=shutil.ignore_patterns("trading_data.db*"))
    source, target = raw(home), sqlite3.connect(Home(root).ledger)
    source.backup(target)
    source.close()
    target.close()
    return Home(root)


def notebook_of(path: Path) -> dict:
    return {"type": "notebook", "format": "json", "content": json.loads(path.read_text("utf-8"))}


def test_a_sealed_file_is_for_reading_alone(sealed):
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o444


def test_it_opens_as_read_only_and_others_do_not(sealed):
    other = sealed.with_name("mine.ipynb")
    other.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    manager = manager_of(sealed.parent)

    async def writable(name: str, **how) -> bool:
        return (await manager.get(name, **how))["writable"]

    assert asyncio.run(writable(sealed.name)) is False
    assert asyncio.run(writable(sealed.name, content=False)) is False
    assert asyncio.run(writable("mine.ipynb")) is True
    folder = asyncio.run(manager.get(""))
    told = {one["name"]: one["writable"] for one in folder["content"]}
    assert told == {sealed.name: False, "mine.ipynb": True}


def test_a_manager_that_does_not_wait_is_told_as_well(sealed):
    manager = manager_of(sealed.parent, FileContentsManager)

    assert manager.get(sealed.name)["writable"] is False
    with pytest.raises(HTTPError, match="sealed evidence"):
        manager.save(notebook_of(sealed), sealed.name)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"type": "file", "format": "text", "content": "overwritten"},
        {"type": "file", "format": "text", "content": "in parts", "chunk": 1},
    ],
)
def test_saving_over_it_is_refused_however_it_is_sent(sealed, change):
    before = sealed.read_bytes()
    manager = manager_of(sealed.parent)

    with pytest.raises(HTTPError, match="sealed evidence; save a copy") as refused:
        asyncio.run(manager.save(notebook_of(sealed) | change, sealed.name))

    assert refused.value.status_code == 403
    assert sealed.read_bytes() == before
    assert [path.name for path in sealed.parent.iterdir()] == [sealed.name]


def test_a_copy_under_another_name_is_saved_again_and_again_and_is_no_evidence(sealed):
    manager = manager_of(sealed.parent)
    before = sealed.read_bytes()
    for _ in range(2):
        asyncio.run(manager.save(notebook_of(sealed), "mine.ipynb"))

    copy = sealed.with_name("mine.ipynb")
    assert "tgtqr" not in json.loads(copy.read_text("utf-8"))["metadata"]
    with pytest.raises(DomainError, match="no sealed tick"):
        open_archived(copy)
    assert open_archived(sealed).tick_id == TICK and sealed.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"metadata": {"tgtqr": 1}}', '{"metadata": {"tgtqr": {"a": 1}}}', "\x00"],
)
def test_what_is_no_sealed_tick_may_be_written(tmp_path, content):
    path = tmp_path / "other.ipynb"
    path.write_text(content)

    assert not jupyter.is_sealed(path)
    assert not jupyter.is_sealed(tmp_path / "nothing.ipynb") and not jupyter.is_sealed(tmp_path)


def test_it_is_switched_on_for_an_environment_once_and_again(tmp_path):
    first = jupyter.switch_on(tmp_path)
    second = jupyter.switch_on(tmp_path)

    assert first == second == tmp_path / "etc/jupyter/jupyter_server_config.d/tgtqr.json"
    chosen = json.loads(first.read_text("utf-8"))["ServerApp"]["jpserver_extensions"]
    assert chosen == {jupyter._jupyter_server_extension_points()[0]["module"]: True}


def test_make_env_has_switched_it_on_here():
    assert (Path(sys.prefix) / jupyter.CONFIG).is_file(), "run `make env`"


@pytest.mark.slow
def test_run_all_in_jupyterlab_changes_neither_archive_nor_ledger(real_stage, tmp_path):
    stage = real_stage
    rise(stage)
    stage.arm()
    assert stage.tick("10:15").state == "done"
    home = copy_of(stage.home, tmp_path / "copy")
    path = find_sealed(home, TICK)
    kept = path.read_bytes()
    assert banner.text.split("**")[1] not in kept.decode()  # the kit's own run was none
    before = files(home.ticks), files(home.data)
    with (
        lab(home, tmp_path / "lab", path, root=path.parent) as link,
        a_browser() as browser,
        opened(browser, link) as (page, errors),
    ):
        page.get_by_text("This is a re-run.").wait_for()
        sentinel = page.locator(".jp-OutputArea-output", has_text="SHA-256: inputs")
        sentinel.last.wait_for()
        page.wait_for_function(
            "[...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')]"
            ".every(one => /\\[\\d+\\]:/.test(one.textContent))"
        )
        page.keyboard.press("Control+s")
        page.get_by_text(f"{path.name} is read-only").first.wait_for()
        refused = page.evaluate(
            """async ([name, token]) => {
              const got = await fetch(`/api/contents/${name}?token=${token}`).then(r => r.json());
              const said = await fetch(`/api/contents/${name}?token=${token}`, {
                method: 'PUT', headers: {Authorization: `token ${token}`},
                body: JSON.stringify({type: 'notebook', format: 'json', content: got.content})});
              return [said.status, (await said.json()).message];
            }""",
            [path.name, link.split("token=")[1]],
        )
        assert refused == [403, jupyter.REFUSAL]
        assert errors == []
    assert path.read_bytes() == kept
    assert (files(home.ticks), files(home.data)) == before  # and nothing beside them, no checkpoint
