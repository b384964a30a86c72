"""Re-runs: a sealed tick gives itself again, anywhere, and an edit of it does not pass."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.archive.conftest import ENTRY, EXIT, QUIET, edit, notebook_of
from tests.archive.test_opened import cell, changed, facts
from tests.stage import PROJECT, command, files
from tgtqr_lib.archive.digests import sha256_of
from tgtqr_lib.archive.opened import open_archived
from tgtqr_lib.archive.rerunning import Failed, Result, rerun, rerun_all
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.what_if import WhatIf, from_words

pytestmark = pytest.mark.slow


def again(path, pool, **how):
    return rerun(open_archived(path), pool, **how)


def told(found):
    return [str(one) for one in found.differences]


def test_every_tick_of_a_folder_without_a_ledger_matches_itself(archived, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for tick in (ENTRY, QUIET, EXIT):
        shutil.copy(notebook_of(archived, tick), folder)
    before = files(folder)
    home = Home(tmp_path / "nothing")
    done = command(home, "rerun", "--all", str(folder), "--json", timeout_s=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["match"], found["value_drift"], found["decision_drift"]) == (3, 0, 0)
    assert [one["tick_id"] for one in found["results"]] == [ENTRY, QUIET, EXIT]
    assert all(one["same_code"] and not one["differences"] for one in found["results"])
    assert files(folder) == before and not home.data.exists()


def test_it_needs_no_network(archived, tmp_path):
    """In a namespace without any network interface that is up, or with sockets refused where that cannot be."""
    words = [sys.executable, "-m", "tgtqr_lib.cli", "rerun", str(notebook_of(archived, ENTRY))]
    cut = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        possible = subprocess.run([*cut, "true"], capture_output=True, timeout=10).returncode == 0
    except FileNotFoundError:
        possible = False
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TGTQR_")}
    if not possible:
        (tmp_path / "sitecustomize.py").write_text(REFUSE_SOCKETS, "utf-8")
        environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(
        [*(cut if possible else []), *words],
        capture_output=True, text=True, timeout=120, cwd=PROJECT, env=environment,
    )  # fmt: skip
    assert done.stdout.startswith(f"{ENTRY} MATCH"), done.stderr


REFUSE_SOCKETS = """
import socket
class Refused(socket.socket):
    def __init__(self, family=-1, *rest, **named):
        if family in (-1, socket.AF_INET, socket.AF_INET6):
            raise OSError("no network")
        super().__init__(family, *rest, **named)
socket.socket = Refused
"""


def test_one_digit_of_one_candle_is_a_drift_that_names_the_minute(archived, pool):
    path = notebook_of(archived, ENTRY)
    # in the cell alone: 100,100.0 becomes 100,100.1, and the mean moves by a sixtieth of a tenth
    source = "".join(cell(json.loads(path.read_text()), "injected-parameters")["source"])
    changed(path, lambda n: cell(n, "injected-parameters").update(
        source=source.replace("100100.0", "100100.1", 1)
    ))  # fmt: skip
    found = again(path, pool)
    # the limit is 1 % above the close, rounded down to a tenth: 101,101.0 and 101,101.1
    assert found.result is Result.DECISION_DRIFT
    minute = "inputs.markets[BTCUSDT].candles 2026-11-22T10:14:00Z close: 100100.0 -> 100100.1"
    assert minute in told(found)
    limit = "decision.choices[BTCUSDT].order.limit: 101101.0 -> 101101.1"
    assert limit in told(found)
    assert any("inputs: markets[BTCUSDT].candles" in sentence for sentence in found.altered)


def test_a_digit_that_changes_no_decision_is_a_value_drift(archived, pool):
    path = notebook_of(archived, QUIET)  # long already: there is no order whose limit could move
    source = "".join(cell(json.loads(path.read_text()), "injected-parameters")["source"])
    changed(path, lambda n: cell(n, "injected-parameters").update(
        source=source.replace("100100.0", "100100.1", 1)
    ))  # fmt: skip
    found = again(path, pool)
    assert found.result is Result.VALUE_DRIFT and found.altered
    assert any(".signal.mean" in line for line in told(found))


def test_an_edited_page_is_a_value_drift_that_names_the_cell(archived, pool):
    path = notebook_of(archived, QUIET)
    edit(path, "held already, no order", "all is well, no order")
    found = again(path, pool)
    assert found.result is Result.VALUE_DRIFT
    assert [line.split(":")[0] for line in told(found)] == ["cell 4 text/markdown line 3"]


def test_an_edited_decision_is_a_decision_drift(archived, pool):
    path = notebook_of(archived, ENTRY)
    changed(path, lambda n: facts(n)["decision"]["choices"][0].update(approved=False))
    found = again(path, pool)
    assert found.result is Result.DECISION_DRIFT
    assert "decision.choices[BTCUSDT].approved: False -> True" in told(found)


def test_code_in_the_notebook_that_ends_early_is_told(archived, pool):
    path = notebook_of(archived, ENTRY)
    changed(path, lambda n: cell(n, "headline").update(source="raise SystemExit"))
    found = again(path, pool)
    assert found.result is Result.DECISION_DRIFT and found.altered
    assert found.differences[0].where == "decision"


def test_another_code_version_runs_and_says_so(archived, pool):
    path = notebook_of(archived, QUIET)

    def older(notebook):
        facts(notebook)["code"].update(version="0.0.9", library_sha256="f" * 64)
        seal = [facts(notebook)[key] for key in ("tick_id", "ledger", "code")]
        facts(notebook)["digests"]["seal_sha256"] = sha256_of(seal)

    changed(path, older)
    found = again(path, pool)
    assert found.result is Result.MATCH and not found.same_code
    assert found.made_by.startswith("tgtqr 0.0.9, library ffffffffffff, Python ")


def test_a_what_if_lies_beside_the_original_and_says_what_it_is(archived):
    before = files(archived.root)
    done = command(archived, "rerun", ENTRY, "--set", "band_bps=20", "--json", timeout_s=120)
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(done.stdout)["results"]
    # 100,100.0 is 9.8 bps above the mean of fifty-nine times 100,000.0 and itself: inside 20 bps
    assert one["result"] == "DECISION-DRIFT" and one["what_if"] == "band_bps=20"
    said = {d["where"]: (d["before"], d["after"]) for d in one["differences"]}
    assert said["decision.choices[BTCUSDT].reason"] == ("SIGNAL_LONG", "SIGNAL_IN_BAND")
    copy = notebook_of(archived, ENTRY).with_name(f"{ENTRY}.what-if.band_bps=20.ipynb")
    assert one["saved"] == str(copy)
    notebook = json.loads(copy.read_text())
    assert notebook["cells"][0]["source"].startswith(
        f"**WHAT-IF** of tick {ENTRY}, with `band_bps=20`"
    )
    assert "tgtqr" not in notebook["metadata"]  # nobody takes it for evidence
    now = files(archived.root)
    now.pop(copy.relative_to(archived.root).as_posix())
    assert {k: v for k, v in now.items() if not k.startswith("tmp/")} == before
    assert command(archived, "ledger", "verify", "--archive").returncode == 0


def test_a_copy_is_never_written_over_the_original(archived, pool):
    path = notebook_of(archived, ENTRY)
    with pytest.raises(DomainError, match="is the sealed original"):
        again(path, pool, keep=path)


@pytest.mark.parametrize("target", ["ticks", "data", "text"])
def test_a_copy_is_never_written_over_what_is_no_copy(archived, target):
    path = {
        "ticks": notebook_of(archived, QUIET),
        "data": archived.ledger,
        "text": archived.root / "mine.ipynb",
    }[target]
    if target == "text":
        path.write_text("my own notes", "utf-8")
    before = path.read_bytes()
    done = command(archived, "rerun", ENTRY, "--keep", str(path), timeout_s=120)
    assert done.returncode == 2 and str(path) in done.stderr
    assert path.read_bytes() == before


def test_a_copy_may_be_written_again(archived, pool, tmp_path):
    keep = tmp_path / "copy.ipynb"
    for _ in range(2):
        assert again(notebook_of(archived, ENTRY), pool, keep=keep).saved == keep
    notebook = json.loads(keep.read_text())
    assert notebook["cells"][0]["source"].startswith(f"**RE-RUN** of tick {ENTRY}")
    with pytest.raises(DomainError, match="is a re-run's copy or a what-if, but no sealed tick"):
        open_archived(keep)


def test_a_notebook_under_the_name_of_another_is_no_match(archived, pool):
    path = notebook_of(archived, QUIET)
    path.unlink()
    shutil.copy(notebook_of(archived, ENTRY), path)
    found = again(path, pool)
    assert found.result is Result.VALUE_DRIFT
    assert found.altered == (
        f"tick: the file is named after {QUIET} and holds the notebook of {ENTRY}",
    )


def test_a_what_if_that_changes_nothing_says_so(archived, pool):
    found = again(notebook_of(archived, QUIET), pool, what_if=from_words(["collar_bps=99"]))
    assert "signals, orders and reasons are the same" in found.notes


def test_notebooks_with_other_names_are_counted_not_hidden(archived, tmp_path):
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(notebook_of(archived, ENTRY), folder)
    shutil.copy(notebook_of(archived, QUIET), folder / "my tick.ipynb")
    done = command(archived, "rerun", "--all", str(folder), timeout_s=120)
    assert done.returncode == 0 and done.stdout.startswith(f"{ENTRY} MATCH")
    assert "1 notebooks in" in done.stderr and "left out" in done.stderr


def test_a_window_that_the_notebook_cannot_fill_is_refused(archived, pool):
    # a tick holds its 60 minutes and 60 more
    with pytest.raises(DomainError, match="window=500 needs 500 minutes, the notebook holds 120"):
        again(notebook_of(archived, ENTRY), pool, what_if=WhatIf(parameters={"window": 500}))


def test_a_longer_window_within_the_notebook_is_run(archived, pool):
    found = again(notebook_of(archived, ENTRY), pool, what_if=from_words(["window=120"]))
    # the mean of 119 times 100,000.0 and 100,100.0
    assert "decision.choices[BTCUSDT].signal.mean: 100001.66666667 -> 100000.83333333" in told(
        found
    )


def test_one_bad_notebook_holds_up_no_other(archived):
    bad = notebook_of(archived, QUIET)
    bad.chmod(0o644)
    bad.write_text("{", "utf-8")
    paths = [notebook_of(archived, tick) for tick in (ENTRY, QUIET, EXIT)]
    first, failed, last = rerun_all(paths, workers=2)
    assert first.result is last.result is Result.MATCH
    assert isinstance(failed, Failed) and "cut short" in str(failed.error)


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["rerun"], 2, "expected a notebook, the id of a tick, or --all"),
        (["rerun", "20261122T1100Z"], 2, "has no notebook"),
        (["rerun", "/nowhere.ipynb"], 2, "there is no such notebook"),
        (["rerun", "notebooks/tick.ipynb"], 2, "no sealed tick"),
        (["rerun", "--all", "/nowhere"], 2, "is no folder"),
        (["rerun", ENTRY, "--since", "30d"], 2, "--since goes with --all"),
        (["rerun", "--all", "--since", "soon"], 2, "'soon' is not a span of time"),
        (["rerun", ENTRY, "--set", "band_bps"], 2, "expected NAME=VALUE"),
        (["rerun", ENTRY, "--set", "band=1"], 2, "unknown parameter 'band'"),
        (["rerun", ENTRY, "--strategy", "none"], 2, "strategy 'none' is unknown"),
        (["rerun", ENTRY, "--workers", "0"], 2, "expected 1 or more"),
    ],
)
def test_bad_input_is_a_sentence(archived, words, code, said):
    done = command(archived, *words, timeout_s=120)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_notebook_cut_short_is_a_failed_verification(archived):
    path = notebook_of(archived, ENTRY)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:5000])
    done = command(archived, "rerun", ENTRY, timeout_s=120)
    assert done.returncode == 5 and "is cut short or damaged" in done.stderr


def test_since_takes_the_newest_ticks(archived):
    done = command(archived, "rerun", "--all", "--since", "30m", "--json", timeout_s=120)
    assert [one["tick_id"] for one in json.loads(done.stdout)["results"]] == [QUIET, EXIT]
