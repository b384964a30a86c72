"""Sealing: the file is whole or not there, where its day says, and holds what was decided and done."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import inputs
from tests.stage import decide_without_a_kernel
from tgtqr_lib import archive
from tgtqr_lib.canonical import dumps, plain, sha256
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.domain import StoreError

OUTCOME = {
    "tick_id": "20261122T1015Z",
    "state": "done",
    "reason": "SIGNAL_LONG",
    "text": "",
    "acts": [],
    "account": "paper-1",
    "cash": "10.00",
    "equity": "10.00",
    "positions": [],
    "sealed_at": "2026-11-22T10:15:05Z",
    "duration_s": "1.5",
    "ledger": {"seq": 7, "head": "ab"},
}


@pytest.fixture
def executed(home):
    """The executed notebook of the builders' tick, where papermill leaves it."""
    path = archive.running_path(home, "20261122T1015Z")
    path.parent.mkdir(parents=True)
    decide_without_a_kernel(None, path, {"inputs": dumps(inputs())}, None, cell_timeout_s=1)
    return path


def seal(home, executed) -> dict:
    facts = archive.seal(home, archive.read_executed(executed), OUTCOME, (7, "ab"))
    return json.loads((home.root / facts["notebook"]).read_text("utf-8"))


def test_a_tick_lies_by_its_day(home):
    path = archive.sealed_path(home, "20261122T1015Z")
    assert path == home.ticks / "2026" / "11" / "22" / "20261122T1015Z.ipynb"
    assert archive.running_path(home, "20261122T1015Z").parent == path.parent


def test_a_seal_holds_inputs_decision_outcome_digests_ledger_and_code(home, executed):
    facts = seal(home, executed)["metadata"]["tgtqr"]
    decision = decide(inputs())
    assert facts["inputs"] == plain(inputs()) and facts["decision"] == plain(decision)
    digests = facts["digests"]
    parts = ("seal", "inputs", "decision", "outputs", "outcome")
    assert set(digests) == {f"{part}_sha256" for part in parts}
    assert digests["inputs_sha256"] == sha256(inputs())
    assert digests["decision_sha256"] == decision_sha256(decision)
    assert digests["outcome_sha256"] == sha256(OUTCOME)
    assert facts["outcome"] == OUTCOME and facts["ledger"] == {"seq": 7, "head": "ab"}
    assert set(facts["code"]) == {"version", "library_sha256", "python"}


def test_a_seal_ends_with_what_was_done(home, executed):
    last = seal(home, executed)["cells"][-1]
    assert last["metadata"]["tags"] == ["outcome"] and last["cell_type"] == "markdown"
    assert "ledger event 7" in "".join(last["source"])


def test_sealing_twice_gives_the_same_bytes(home, executed):
    seal(home, executed)
    path = archive.sealed_path(home, "20261122T1015Z")
    first = path.read_bytes()
    seal(home, executed)
    assert path.read_bytes() == first


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_seal_that_fails_leaves_the_old_file_and_no_half(home, executed, monkeypatch, step):
    seal(home, executed)
    path = archive.sealed_path(home, "20261122T1015Z")
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(StoreError, match=r"20261122T1015Z.ipynb: cannot be written .No space left"):
        archive.seal(home, archive.read_executed(executed), OUTCOME | {"text": "x"}, (8, "cd"))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == [executed.name, path.name]


@pytest.mark.parametrize("content", [None, "", '{"cells": [', "\x00"])
def test_a_notebook_that_was_cut_short_is_none(tmp_path, content):
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    assert archive.read_executed(path) is None


@pytest.mark.parametrize("text", ["\u0000", "\u0000x", '"\\u00001\\u0000"', "é ▲ \U0001f600"])
def test_any_text_survives_the_spelling(text):
    notebook = {
        "cells": [{"source": [text], "outputs": []}],
        "metadata": {"tgtqr": {"inputs": {"t": text}}},
    }
    assert json.loads(archive.spelled(notebook)) == notebook


def test_the_code_version_is_the_hash_of_the_files_a_decision_depends_on():
    version = archive.code_version()
    assert len(version["library_sha256"]) == 64 and version == archive.code_version()


def test_the_code_version_covers_every_file_that_a_decision_and_its_page_load():
    """Whatever a kernel loads of the kit for the tick notebook is among the files that are hashed."""
    code = (
        "import sys, tgtqr_lib.charts, tgtqr_lib.tick_page, tgtqr_lib.decide, tgtqr_lib.canonical\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('tgtqr_lib.')), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    root = Path(archive.__file__).parents[1]
    hashed = {str(p) for pattern in archive.sealing.CORE for p in root.glob(pattern)}
    loaded = set(done.stdout.split())
    assert len(loaded) > 10 and loaded <= hashed, sorted(loaded - hashed)
