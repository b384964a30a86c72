"""Pruning: quiet ticks are thinned and still run again, others stay whole, and everything verifies."""

import gzip
import json
from datetime import UTC, datetime

import pytest

from tests.archive.conftest import ENTRY, EXIT, QUIET, edit, notebook_of
from tests.stage import command, files
from tgtqr_lib import ledger
from tgtqr_lib.archive import pruning, witness
from tgtqr_lib.archive.opened import find_sealed, open_archived
from tgtqr_lib.archive.rerunning import Result, rerun
from tgtqr_lib.dashboard.tick_html import tick_html

LATER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def con(archived):
    found = ledger.connect(archived.ledger, create=False)
    yield found
    found.close()


def prune(con, home, before=LATER):
    return list(pruning.prune(con, home, pruning.plan(home, before)))


def packed(home, tick):
    path = notebook_of(home, tick)
    return path.with_name(path.name + ".gz")


def test_the_quiet_are_thinned_and_the_others_packed_to_the_byte(archived, con):
    whole = {tick: notebook_of(archived, tick).read_bytes() for tick in (ENTRY, QUIET, EXIT)}
    (day,) = prune(con, archived)
    assert (day.thinned, day.packed, day.kept) == (1, 2, ())
    for tick in (ENTRY, EXIT):
        assert gzip.decompress(packed(archived, tick).read_bytes()) == whole[tick]
    thin = json.loads(gzip.decompress(packed(archived, QUIET).read_bytes()))
    assert not any(c.get("outputs") for c in thin["cells"])
    kept, before = thin["metadata"]["tgtqr"], json.loads(whole[QUIET])["metadata"]["tgtqr"]
    for name in ("decision", "outcome", "digests", "ledger", "code"):
        assert kept[name] == before[name]
    assert not any(notebook_of(archived, tick).exists() for tick in whole)
    sizes = {tick: packed(archived, tick).stat().st_size for tick in whole}
    assert sizes[QUIET] < sizes[ENTRY] / 3
    assert day.freed == sum(map(len, whole.values())) - sum(sizes.values())


def test_everything_verifies_afterwards(archived, con):
    prune(con, archived)
    assert witness.check(con, archived) == (3, [])
    assert command(archived, "ledger", "verify", "--archive").returncode == 0


@pytest.mark.slow
def test_a_thinned_tick_runs_again_and_proves_its_page_by_the_digest(archived, con, pool):
    prune(con, archived)
    found = rerun(open_archived(find_sealed(archived, QUIET)), pool)
    assert (found.result, found.differences, found.notes) == (Result.MATCH, (), ())


@pytest.mark.slow
def test_a_thinned_tick_with_another_page_is_a_drift(archived, con, pool):
    prune(con, archived)
    path = find_sealed(archived, QUIET)
    notebook = json.loads(gzip.decompress(path.read_bytes()))
    notebook["cells"][0]["source"] = "# Another title"
    path.write_bytes(gzip.compress(json.dumps(notebook).encode()))
    found = rerun(open_archived(path), pool)
    assert found.result is Result.VALUE_DRIFT
    assert [one.where for one in found.differences] == ["page (its outputs were pruned)"]


def test_a_thinned_tick_that_was_edited_is_named(archived, con):
    prune(con, archived)
    path = find_sealed(archived, QUIET)
    text = gzip.decompress(path.read_bytes()).decode()
    path.chmod(0o644)
    path.write_bytes(gzip.compress(text.replace("100100.0", "100100.1", 1).encode()))
    _, found = witness.check(con, archived)
    assert found and all(line.startswith(f"tick {QUIET}: altered: inputs") for line in found)


def test_young_ticks_stay_as_they_are(archived, con):
    before = files(archived.ticks)
    boundary = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    (day,) = prune(con, archived, boundary)
    assert (day.thinned, day.packed) == (0, 1)
    now = files(archived.ticks)
    assert {k for k in before if k not in now} == {f"2026/11/22/{ENTRY}.ipynb"}


def test_a_second_pruning_changes_nothing(archived, con):
    prune(con, archived)
    before, head = files(archived.ticks), ledger.head(con)
    assert prune(con, archived) == []
    assert (files(archived.ticks), ledger.head(con)) == (before, head)


def test_an_altered_notebook_is_left_as_evidence(archived, con):
    path = notebook_of(archived, QUIET)
    edit(path, "held already", "nothing held")
    content = path.read_bytes()
    (day,) = prune(con, archived)
    assert day.kept == (f"tick {QUIET}: it is not what the ledger sealed",)
    assert path.read_bytes() == content


@pytest.mark.parametrize("step", ["writing", "unlink"])
def test_a_crash_on_the_way_is_made_up_for(archived, con, monkeypatch, step):
    """It dies before the ledger knows, or before the old files are gone; nothing is lost or in doubt."""

    class Died(Exception):
        pass

    def die(*_, **__):
        raise Died

    owner = pruning.ledger if step == "writing" else pruning.Path
    monkeypatch.setattr(owner, step, die)
    with pytest.raises(Died):
        prune(con, archived)
    monkeypatch.undo()
    assert witness.check(con, archived) == (3, [])
    (day,) = prune(con, archived)
    assert (day.thinned, day.packed) == (1, 2)
    assert witness.check(con, archived) == (3, [])


def test_a_pruned_tick_says_so_when_it_is_asked_for_its_pictures(archived, con):
    prune(con, archived)
    done = command(archived, "archive", "show", QUIET)
    assert done.returncode == 4 and "its tables and pictures were pruned" in done.stderr
    assert f"tgtqr rerun {QUIET} --keep" in done.stderr
    done = command(archived, "archive", "show", ENTRY, "--no-open")
    assert done.returncode == 0
    page = (archived.outputs / "pages" / f"{ENTRY}.html").read_text("utf-8")
    assert "data:image/png;base64," in page and "<style>" in page
    assert "http://" not in page and "https://" not in page


def test_the_page_in_the_browser_opens_packed_ticks(archived, con):
    before = tick_html(archived, ENTRY, "x.css")
    prune(con, archived)
    assert tick_html(archived, ENTRY, "x.css") == before


def test_the_command_says_what_it_will_free_and_then_does_it(archived):
    # the newest of the three is the measure: of ticks older than 20 minutes there is one
    before = files(archived.ticks)
    done = command(archived, "archive", "prune", "--keep", "20m", "--dry-run")
    assert done.returncode == 0 and files(archived.ticks) == before
    assert done.stdout.startswith("1 of 3 ticks are older than 20m and not packed: about 0 to thin")
    done = command(archived, "archive", "prune", "--keep", "20m", "--json")
    facts = json.loads(done.stdout)
    assert (facts["ticks"], facts["thinned"], facts["packed"], facts["kept"]) == (1, 0, 1, [])
    assert facts["before"] == "2026-11-22T10:25Z"
    assert command(archived, "ledger", "verify", "--archive").returncode == 0


@pytest.mark.parametrize(
    "words, code, said",
    [
        (["prune"], 2, "expected --keep SPAN"),
        (["prune", "--keep", "ever"], 2, "'ever' is not a span of time"),
        (
            ["prune", "20261122T1015Z", "--keep", "90d"],
            2,
            "is one tick; expected --keep SPAN alone",
        ),
        (
            ["show", "20261122T1015Z", "--out", "data/trading_data.db"],
            2,
            "expected the name of a page",
        ),
        (["show"], 2, "expected the id of a tick"),
        (["show", "20261122T1100Z"], 2, "has no notebook"),
        (["show", "x"], 2, "neither a file nor the id of a tick"),
    ],
)
def test_bad_input_is_a_sentence(archived, words, code, said):
    done = command(archived, "archive", *words)
    assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr


def test_a_home_without_ticks_has_nothing_to_prune(home):
    done = command(home, "archive", "prune", "--keep", "90d")
    assert done.returncode == 4 and "holds no tick notebook" in done.stderr
