"""Ledger and archive against each other: missing, extra and altered notebooks, each by its name."""

import json
import shutil
import sqlite3

import pytest

from tests.archive.conftest import ENTRY, EXIT, QUIET, edit, notebook_of
from tests.archive.test_opened import cell, changed, facts
from tests.stage import command
from tgtqr_lib import ledger
from tgtqr_lib.archive import witness
from tgtqr_lib.archive.digests import outputs_sha256, sha256_of


def problems(home):
    con = ledger.connect(home.ledger, create=False)
    try:
        return witness.check(con, home)
    finally:
        con.close()


def only(home) -> str:
    count, found = problems(home)
    assert count and len(found) == 1, found
    return found[0]


def test_what_was_sealed_agrees(archived):
    assert problems(archived) == (3, [])


def test_one_digit_of_one_candle_is_named_and_nothing_else(archived):
    path = notebook_of(archived, QUIET)
    source = "".join(cell(json.loads(path.read_text()), "injected-parameters")["source"])
    changed(path, lambda n: cell(n, "injected-parameters").update(
        source=source.replace("100100.0", "100100.1", 1)
    ))  # fmt: skip
    count, found = problems(archived)
    assert count == 3 and found and all(one.startswith(f"tick {QUIET}: altered: ") for one in found)
    assert "candles 2026-11-22T10:14:00Z close differs" in found[0]


def test_a_lost_notebook_is_named(archived):
    notebook_of(archived, QUIET).unlink()
    assert problems(archived)[1] == [
        f"tick {QUIET}: its notebook is missing (outputs/ticks/2026/11/22/{QUIET}.ipynb)"
    ]


def test_a_notebook_that_the_ledger_does_not_know_is_named(archived):
    other = notebook_of(archived, "20261122T1100Z")
    shutil.copy(notebook_of(archived, QUIET), other)
    assert only(archived) == (
        f"tick 20261122T1100Z: the ledger knows nothing of its notebook ({other})"
    )


def test_two_notebooks_that_changed_places_are_both_named(archived):
    one, two = (notebook_of(archived, tick) for tick in (ENTRY, EXIT))
    first, second = one.read_bytes(), two.read_bytes()
    for path, content in ((one, second), (two, first)):
        path.chmod(0o644)
        path.write_bytes(content)
    named = {line.split(":")[0] for line in problems(archived)[1]}
    assert named == {f"tick {ENTRY}", f"tick {EXIT}"}


def test_a_notebook_cut_short_is_named(archived):
    path = notebook_of(archived, ENTRY)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:9000])
    assert only(archived).startswith(f"tick {ENTRY}: ") and "cut short" in only(archived)


def test_an_edit_with_all_digests_made_anew_is_seen_by_the_ledger(archived):
    """Somebody who knows the kit forges a page so that it agrees with itself: the ledger has its hash."""
    path = notebook_of(archived, QUIET)

    def forge(notebook):
        cell(notebook, "headline")["outputs"][0]["data"]["text/markdown"] = "all is well"
        facts(notebook)["digests"]["outputs_sha256"] = outputs_sha256(notebook)

    changed(path, forge)
    assert only(archived) == f"tick {QUIET}: altered: its bytes are not those that were sealed"


def test_a_forged_outcome_is_seen_too(archived):
    path = notebook_of(archived, QUIET)

    def forge(notebook):
        facts(notebook)["outcome"]["cash"] = "10.00"
        facts(notebook)["digests"]["outcome_sha256"] = sha256_of(facts(notebook)["outcome"])

    changed(path, forge)
    assert problems(archived)[1] == [
        f"tick {QUIET}: altered: outcome: the last cell does not say what the metadata say"
    ]


def test_a_ledger_written_anew_is_seen_by_the_notebooks(archived, three_ticks):
    """The chain is whole again after the forgery, but a notebook saw another hash."""
    con = ledger.connect(archived.ledger, create=False)
    try:
        rows = [(r.seq, r.kind, r.key, r.body) for r in ledger.between(con, 1, ledger.head(con)[0])]
    finally:
        con.close()
    for name in ("trading_data.db", "trading_data.db-wal", "trading_data.db-shm"):
        (archived.data / name).unlink(missing_ok=True)
    con = ledger.connect(archived.ledger, create=True)
    with ledger.writing(con):
        for _, kind, key, body in rows:
            forged = dict(body, reason="nothing") if kind == "gate" else body
            ledger.append(con, ledger.Event(kind, key, forged))
    con.close()
    count, found = problems(archived)
    assert count == 3 and len(found) == 3
    assert all("the ledger was rewritten" in line for line in found)


@pytest.mark.parametrize("archive", [True, False])
def test_the_command_looks_at_notebooks_when_it_is_told_to(archived, archive):
    edit(notebook_of(archived, ENTRY), "SIGNAL_LONG", "SIGNAL_FLAT")
    words = ["ledger", "verify", "--json", *(["--archive"] if archive else [])]
    done = command(archived, *words)
    facts = json.loads(done.stdout)
    assert done.returncode == (5 if archive else 0)
    assert facts["ok"] is not archive and facts["notebooks"] == (3 if archive else None)
    assert all(f"tick {ENTRY}" in line for line in facts["problems"])
    assert bool(facts["problems"]) is archive


@pytest.mark.parametrize(
    "name",
    [
        "2026/11/23/20261122T1030Z.ipynb",
        "2026/11/22/20261122T1030Z copy.ipynb",
        "2026/11/22/20261122T1030Z.ipynb.xz",
        "notes.txt",
    ],
)
def test_a_file_that_is_none_of_the_archives_is_named(archived, name):
    path = archived.ticks / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(notebook_of(archived, QUIET), path)
    assert f"outputs/ticks/{name}: is no file of the archive" in problems(archived)[1]


def test_a_broken_ledger_hides_no_altered_notebook(archived):
    edit(notebook_of(archived, ENTRY), "SIGNAL_LONG", "SIGNAL_FLAT")
    with sqlite3.connect(archived.ledger) as con:
        for (name,) in con.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            con.execute(f"DROP TRIGGER {name}")
        con.execute(
            "UPDATE events SET body = replace(body, 'a test', 'nobody') WHERE kind = 'gate'"
        )
    done = command(archived, "ledger", "verify", "--archive", "--json")
    found = json.loads(done.stdout)["problems"]
    assert done.returncode == 5
    assert any("its hash does not match its content" in line for line in found)
    assert any(line.startswith(f"tick {ENTRY}: altered") for line in found)
