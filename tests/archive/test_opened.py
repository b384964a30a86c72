"""Opening: what is no sealed tick is refused by name, and every edit of evidence is named."""

import errno
import gzip
import json
import os
import shutil

import pytest

from tests.archive.conftest import ENTRY, QUIET, edit, notebook_of
from tgtqr_lib.archive.opened import find, find_sealed, notebooks_in, open_archived
from tgtqr_lib.domain import Damaged, DomainError, StoreError, TgtqrError


def changed(path, change) -> None:
    """Apply `change` to the notebook's JSON."""
    notebook = json.loads(path.read_text("utf-8"))
    change(notebook)
    path.chmod(0o644)
    path.write_text(json.dumps(notebook), "utf-8")


def cell(notebook, name):
    return next(c for c in notebook["cells"] if name in (c["id"], *c["metadata"].get("tags", ())))


def facts(notebook):
    return notebook["metadata"]["tgtqr"]


def test_what_was_sealed_is_not_altered(archived):
    for path in notebooks_in(archived.ticks):
        assert open_archived(path).altered() == []


def test_the_inputs_come_back(archived):
    inputs = open_archived(notebook_of(archived, ENTRY)).inputs()
    assert inputs.tick_id == ENTRY
    # the hand market: flat at 100,000.0, 100,100.0 from 10:14 on
    assert f"{inputs.market('BTCUSDT').candles.last_close:f}" == "100100.0"


EDITS = {
    "a candle in the cell": (
        lambda n: cell(n, "injected-parameters").update(
            source="".join(cell(n, "injected-parameters")["source"]).replace(
                "100100.0", "100100.1", 1
            )
        ),
        "inputs: markets[BTCUSDT].candles 2026-11-22T10:14:00Z close differs: "
        "the metadata have 100100.0, the cell has 100100.1",
    ),
    "a candle in the metadata": (
        lambda n: facts(n)["inputs"]["markets"][0]["candles"].update(
            close=facts(n)["inputs"]["markets"][0]["candles"]["close"].replace(
                "100100.0", "100100.1"
            )
        ),
        "the metadata have 100100.1, the cell has 100100.0",
    ),
    "the decision in the metadata": (
        lambda n: facts(n)["decision"]["choices"][0].update(reason="SIGNAL_FLAT"),
        "decision: it hashes to",
    ),
    "the decision in its cell": (
        lambda n: cell(n, "sentinel")["outputs"][0]["data"]["application/vnd.tgtqr.decision+json"][
            "decision"
        ]["choices"][0].update(approved=False),
        "decision: choices[BTCUSDT].approved differs: the metadata have True, the last cell has False",
    ),
    "a sentence on the page": (
        lambda n: cell(n, "headline")["outputs"][0]["data"].update(
            {"text/markdown": "all is well"}
        ),
        "page: sources and outputs hash to",
    ),
    "a picture": (
        lambda n: cell(n, "charts")["outputs"][0]["data"].update({"image/png": "aGVsbG8="}),
        "page: sources and outputs hash to",
    ),
    "the code": (
        lambda n: cell(n, "headline").update(source="decision = None"),
        "page: sources and outputs hash to",
    ),
    "a picture in words": (
        lambda n: cell(n, "charts")["outputs"][0]["metadata"]["image/png"].update(
            alt="all is well"
        ),
        "page: sources and outputs hash to",
    ),
    "the ledger's head": (
        lambda n: facts(n)["ledger"].update(head="0" * 64),
        "seal: tick, ledger head and code hash to",
    ),
    "the code version": (
        lambda n: facts(n)["code"].update(python="3.99"),
        "seal: tick, ledger head and code hash to",
    ),
    "the outcome in the metadata": (
        lambda n: facts(n)["outcome"].update(cash="10.00"),
        "outcome: it hashes to",
    ),
    "the outcome on the page": (
        lambda n: cell(n, "outcome").update(source="## What was done\n\nNothing."),
        "outcome: the last cell does not say what the metadata say",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_named(archived, name):
    change, expected = EDITS[name]
    path = notebook_of(archived, ENTRY)
    changed(path, change)
    found = open_archived(path).altered()
    assert any(expected in sentence for sentence in found), found


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n["metadata"].pop("papermill"),
        lambda n: [c["metadata"].pop("papermill", None) for c in n["cells"]],
        lambda n: [c.update(id=f"x{i}") for i, c in enumerate(n["cells"])],
        lambda n: [c.update(execution_count=9) for c in n["cells"] if c["cell_type"] == "code"],
        lambda n: [c.update(source="".join(c["source"])) for c in n["cells"]],
    ],
    ids=["duration", "times", "ids", "counts", "one string for lines"],
)
def test_times_ids_and_metadata_are_no_evidence(archived, change):
    path = notebook_of(archived, ENTRY)
    changed(path, change)
    assert open_archived(path).altered() == []


BAD = {
    "not there": (None, DomainError, "there is no such notebook"),
    "empty": (b"", DomainError, "is not a notebook"),
    "a text": (b"hello", DomainError, "is not a notebook"),
    "a list": (b"[]", DomainError, "is not a notebook"),
    "another notebook": (b'{"cells": [], "metadata": {}}', DomainError, "no sealed tick"),
    "a newer schema": (
        b'{"cells": [], "metadata": {"tgtqr": {"schema": 2}}}', DomainError, "schema 2 .*a newer kit",
    ),
    "no schema": (b'{"cells": [], "metadata": {"tgtqr": {}}}', DomainError, "schema None"),
    "without its facts": (
        b'{"cells": [], "metadata": {"tgtqr": {"schema": 1}}}', Damaged, "has no 'code'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sealed_tick_is_refused_by_name(tmp_path, name):
    content, kind, words = BAD[name]
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(kind, match=words) as error:
        open_archived(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_notebook_cut_short_is_damaged(archived, share):
    path = notebook_of(archived, ENTRY)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(Damaged, match="is cut short or damaged"):
        open_archived(path)


def test_a_packed_notebook_is_the_same_and_one_cut_short_is_damaged(archived):
    path = notebook_of(archived, ENTRY)
    before = open_archived(path)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert find_sealed(archived, ENTRY) == packed
    assert open_archived(packed).sha256 == before.sha256
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(Damaged, match="cannot be unpacked"):
        open_archived(packed)


def test_a_tick_is_found_by_its_id_and_by_its_file(archived):
    path = notebook_of(archived, QUIET)
    assert find(archived, QUIET) == path and find(archived, str(path)) == path


@pytest.mark.parametrize(
    "word, words",
    [
        ("20261122T1100Z", "has no notebook; .* holds 3 from 20261122T1015Z to 20261122T1045Z"),
        ("yesterday", "'yesterday' is neither a file nor the id of a tick"),
        ("20261399T1100Z", "neither a file nor the id"),
    ],
)
def test_an_unknown_tick_is_named(archived, word, words):
    with pytest.raises(TgtqrError, match=words):
        find(archived, word)


def test_only_ticks_are_listed_oldest_first_and_each_once(archived, tmp_path):
    first = notebook_of(archived, ENTRY)
    shutil.copy(first, first.with_name(f"{ENTRY}.what-if.band_bps=5.ipynb"))
    shutil.copy(first, first.with_name(f".{ENTRY}.running.ipynb"))
    (first.parent / ".ipynb_checkpoints").mkdir()
    shutil.copy(first, first.parent / ".ipynb_checkpoints" / first.name)
    first.with_name(first.name + ".gz").write_bytes(gzip.compress(b"half done"))
    names = [path.name for path in notebooks_in(archived.ticks)]
    assert names == ["20261122T1015Z.ipynb", "20261122T1030Z.ipynb", "20261122T1045Z.ipynb"]
    assert notebooks_in(archived.ticks)[0] == first


def test_a_pipe_in_place_of_a_notebook_is_refused_not_waited_for(tmp_path):
    path = tmp_path / f"{ENTRY}.ipynb"
    os.mkfifo(path)
    with pytest.raises(TgtqrError, match="is no ordinary file"):
        open_archived(path)


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(archived, monkeypatch):
    usual = os.scandir

    def refused(path):
        if str(path).endswith("/22"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return usual(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(StoreError, match=r"/22: cannot be read .Permission denied"):
        notebooks_in(archived.ticks)


def test_an_edit_by_hand_is_what_the_helper_does(archived):
    path = notebook_of(archived, ENTRY)
    edit(path, "100100.0", "100100.7")
    assert open_archived(path).altered()
