"""A backup brings back what was lost; nothing is deleted, the kit is stopped, and a crash is made up for."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.backup.conftest import (
    ENTRY,
    EXIT,
    NAME,
    NOW,
    QUIET,
    back_up,
    flip,
    lose,
    notebook_of,
    rows,
    verify,
)
from tests.stage import files, open_stage
from tgtqr_lib import gate, latch, ledger
from tgtqr_lib.backup import checking, layout, restoring
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.domain import Busy, Damaged, DomainError, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Event

LATER = NOW + timedelta(hours=1)
TICKS = (ENTRY, QUIET, EXIT)


def restore(home, path=None, reason="a test", now=LATER):
    backup = layout.find(path or home.root / "backups")
    with checking.checked(backup) as found, restoring.nothing_runs(home):
        return restoring.restore(home, found, reason, "a test", now)


def go_on(home, count=3):
    """Let the ledger and its witness go on by `count` events."""
    con = ledger.connect(home.ledger, create=False)
    for number in range(count):
        with ledger.writing(con):
            ledger.append(con, Event("later", f"later/{number}", {}))
    gate.bear_witness(con, home)
    con.close()


def run_later(home, tick="20261122T1100Z"):
    """A notebook as a tick after the backup would leave it."""
    shutil.copy(notebook_of(home, QUIET), notebook_of(home, tick))
    return tick


def without_companions(folder) -> dict[str, str]:
    return {
        name: hash_ for name, hash_ in files(folder).items() if not name.endswith(("-shm", "-wal"))
    }


# ---- what was lost comes back


def test_after_losing_data_and_ticks_everything_is_back_and_verifies(home):
    before, sealed = rows(home), {tick: notebook_of(home, tick).read_bytes() for tick in TICKS}
    others = files(home.funding) | files(home.data / "alerts.json")
    back_up(home)
    lose(home)
    done = restore(home)
    assert verify(home) == []
    now = rows(home)
    assert now[: len(before)] == before
    assert [(row.kind, row.body.get("what")) for row in now[len(before) :]] == [
        ("restored", None),
        ("gate", "stopped"),
    ]
    assert {tick: notebook_of(home, tick).read_bytes() for tick in TICKS} == sealed
    assert all(notebook_of(home, tick).stat().st_mode & 0o777 == 0o444 for tick in TICKS)
    assert files(home.funding) | files(home.data / "alerts.json") == others
    assert (done.replaced, done.plan.later) == (None, [])


def test_a_restored_home_is_stopped_with_the_restore_as_its_reason(home):
    back_up(home)
    assert latch.stopped_because(home) is None
    restore(home, reason="the disk died")
    assert latch.stopped_because(home) == f"restored from backup {NAME}: the disk died"
    assert not latch.is_armed(home)


def test_an_older_reason_to_be_stopped_is_kept_behind(home):
    back_up(home)
    latch.stop(home, "I went on holiday")
    restore(home)
    assert latch.stopped_because(home) == (
        f"restored from backup {NAME}: a test (it was stopped before: I went on holiday)"
    )


def test_the_chain_tells_of_the_restore_and_the_witness_is_content(home):
    made = back_up(home)
    go_on(home)
    present = rows(home)[-1]
    restore(home, reason="why not")
    (row,) = [row for row in rows(home) if row.kind == "restored"]
    told = {k: row.body[k] for k in ("backup", "seq", "head", "replaced", "reason", "restored_at")}
    assert told == {
        "backup": NAME, "seq": made.seq, "head": made.head, "replaced": [present.seq, present.hash],
        "reason": "why not", "restored_at": "2026-11-23T18:05:01Z",
    }  # fmt: skip
    with ledger.reading(home.ledger) as con:
        assert gate.witness_problem(con, home) is None
    restore(home, now=LATER + timedelta(hours=1))  # each restore is an event of its own ledger
    assert verify(home) == []


def test_the_ledger_that_was_there_is_kept_whole(home):
    back_up(home)
    go_on(home)
    before = rows(home)
    done = restore(home)
    assert done.plan.lost_events(layout.find(home.root / "backups")) == 3
    kept = done.replaced / "data"
    assert done.replaced.parent == home.data
    with ledger.reading(kept / "trading_data.db") as con:
        assert ledger.between(con, 1, 10**9) == before
    assert (kept / "ledger.witness").read_text() == f"{before[-1].seq} {before[-1].hash}\n"


def test_a_damaged_ledger_is_replaced_and_kept_as_it_is(home):
    back_up(home)
    flip(home.ledger, 20)
    damaged = home.ledger.read_bytes()
    done = restore(home)
    assert verify(home) == []
    assert (done.replaced / "data" / "trading_data.db").read_bytes() == damaged


def test_notebooks_that_were_lost_or_altered_come_back_and_the_altered_are_kept(home):
    right = notebook_of(home, QUIET).read_bytes()
    back_up(home)
    notebook_of(home, ENTRY).unlink()
    flip(notebook_of(home, QUIET))
    wrong = notebook_of(home, QUIET).read_bytes()
    done = restore(home)
    assert verify(home) == []
    assert notebook_of(home, QUIET).read_bytes() == right
    assert notebook_of(Home(done.replaced), QUIET).read_bytes() == wrong


def test_a_notebook_packed_since_makes_room_for_the_one_that_the_ledger_sealed(home):
    back_up(home)
    path = notebook_of(home, QUIET)
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(b"{}"))
    path.unlink()
    restore(home)
    assert verify(home) == [] and path.is_file() and not packed.exists()


def test_ticks_after_the_backup_are_named_and_their_notebooks_stay_twice(home):
    back_up(home)
    tick = run_later(home)
    content = notebook_of(home, tick).read_bytes()
    done = restore(home)
    assert done.plan.later == [tick]
    assert notebook_of(home, tick).read_bytes() == content
    assert notebook_of(Home(done.replaced), tick).read_bytes() == content  # a replay writes over
    assert verify(home) == [
        f"tick {tick}: the ledger knows nothing of its notebook ({notebook_of(home, tick)})"
    ]
    assert [row.body["later"] for row in rows(home) if row.kind == "restored"] == [[tick]]


def test_the_embedded_clock_passes_the_newest_notebook_that_stays(home):
    back_up(home)  # the clock stands at 10:45:03
    run_later(home)
    restore(home)
    # 61 seconds after 11:00, when that tick can no longer be run
    assert json.loads((home.data / "simulator.json").read_text()) == {
        "time": "2026-11-22T11:01:01Z"
    }


def test_the_embedded_exchange_is_not_put_back(home):
    back_up(home)
    now = '{"time": "2026-11-22T12:00:03Z", "wallet": 7}\n'
    (home.data / "simulator.json").write_text(now, "utf-8")
    assert restore(home).plan.differ == ["data/simulator.json"]
    assert (home.data / "simulator.json").read_text("utf-8") == now


def test_settings_that_are_there_stay_and_the_difference_is_told(home):
    back_up(home)
    home.settings.write_text('market = "bybit"\n', "utf-8")
    assert restore(home).plan.differ == ["settings.toml"]
    assert home.settings.read_text("utf-8") == 'market = "bybit"\n'


def test_a_lake_that_went_on_is_left_alone(home):
    back_up(home)
    lake = home.funding / "linear"
    (lake / "BTCUSDT.parquet").unlink()
    (lake / "ETHUSDT.parquet").write_bytes(b"newer")
    restore(home)
    assert sorted(path.name for path in lake.iterdir()) == ["ETHUSDT.parquet"]


# ---- a drill


def test_a_drill_changes_nothing_and_tells_what_a_restore_would_do(home):
    made = back_up(home)
    go_on(home, 5)
    tick = run_later(home)
    notebook_of(home, EXIT).unlink()
    before = without_companions(home.root)
    with checking.checked(layout.find(home.root / "backups")) as found:
        done = restoring.drill(home, found, LATER)
    assert without_companions(home.root) == before
    assert (done.problems, done.gate) == ((), f"restored from backup {NAME}: a drill")
    assert done.plan.later == [tick] and done.plan.lost_events(found.backup) == 5
    assert done.plan.bring == [f"outputs/ticks/2026/11/22/{EXIT}.ipynb"]
    assert done.plan.ledger[0] == made.seq + 5


# ---- backups that are none


KINDS = [
    "manifest.json", "SHA256SUMS", "settings.toml", "data/trading_data.db.gz", "data/ledger.witness",
    "data/alerts.json", "data/simulator.json", "data/simulator_account.jsonl", "data/funding/linear/BTCUSDT.parquet",
    f"outputs/ticks/2026/11/22/{QUIET}.ipynb",
]  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_one_bit_in_any_file_of_a_backup_is_found_and_nothing_is_touched(home, name):
    made = back_up(home)
    flip(made.path / name)
    lose(home)
    before = files(home.root)
    with pytest.raises((Damaged, DomainError)) as error:
        restore(home)
    assert isinstance(error.value, Damaged)  # exit code 5
    assert str(made.path) in str(error.value)
    assert files(home.root) == before


def test_a_notebook_missing_in_a_backup_is_named(home):
    made = back_up(home)
    notebook_of(Home(made.path), EXIT).unlink()
    with pytest.raises(Damaged, match=f"{EXIT}.ipynb is missing; nothing was restored"):
        restore(home)


def reseal(path, name):
    """Make the checksum of `name` anew, as a forger would."""
    sums = path / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {name}")]
    lines.append(f"{hashlib.sha256((path / name).read_bytes()).hexdigest()}  {name}")
    sums.write_text("\n".join(lines) + "\n")


def test_a_notebook_forged_with_its_checksum_is_found_by_the_ledger(home):
    made = back_up(home)
    name = f"outputs/ticks/2026/11/22/{ENTRY}.ipynb"
    flip(made.path / name)
    reseal(made.path, name)
    with pytest.raises(Damaged, match=f"tick {ENTRY}: "):
        restore(home)


def test_a_ledger_forged_with_its_checksum_is_found_by_its_chain(home, tmp_path):
    made = back_up(home)
    packed, plain = made.path / layout.LEDGER, tmp_path / "plain.db"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    con = sqlite3.connect(plain, isolation_level=None)
    con.execute("DROP TRIGGER events_are_not_edited")
    con.execute("UPDATE events SET body = body || ' ' WHERE seq = 4")
    con.close()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    reseal(made.path, layout.LEDGER)
    with pytest.raises(Damaged, match=r"event 4 .* its hash does not match its content"):
        restore(home)


@pytest.mark.parametrize("name", ["data/control/ARMED", "../outside", "data/book/../../x/y"])
def test_a_backup_that_would_write_elsewhere_is_refused(home, name):
    made = back_up(home)
    target = made.path / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("armed\n")
    reseal(made.path, name)
    with pytest.raises(Damaged, match="which is no part of a backup"):
        restore(home)


def test_a_newer_layout_asks_for_a_newer_kit(home):
    made = back_up(home)
    manifest = made.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"layout": 1', '"layout": 2'))
    reseal(made.path, "manifest.json")
    with pytest.raises(StoreError, match="layout 2, expected 1; a newer kit made it") as error:
        restore(home)
    assert not isinstance(error.value, Damaged)


def test_a_folder_that_is_no_backup_is_told(home, tmp_path):
    with pytest.raises(DomainError, match="holds no backup"):
        restore(home, tmp_path)
    with pytest.raises(DomainError, match="is no folder"):
        restore(home, tmp_path / "nowhere")
    made = back_up(home)
    (made.path / "manifest.json").unlink()
    with pytest.raises(Damaged, match=r"manifest\.json is missing"):
        restore(home, made.path)


def test_the_backup_of_another_home_is_refused(home, tmp_path):
    with open_stage(tmp_path / "other") as other:
        other.arm("10:29")
        go_on(other.home, 50)  # to have events that the notebooks of this home have seen
        theirs = back_up(other.home).path
    before = without_companions(home.root)
    with pytest.raises(DomainError, match="is of another home: its ledger begins with"):
        restore(home, theirs)
    assert before.items() <= without_companions(home.root).items()
    assert latch.stopped_because(home) is None
    shutil.rmtree(home.data)  # and without a ledger its notebooks tell
    with pytest.raises(DomainError, match="none of the notebooks in this home"):
        restore(home, theirs)
    assert not home.ledger.exists()


# ---- others at work


@pytest.mark.parametrize("lock", ["tick.lock", "watch.lock", "watching.lock", "up.lock"])
def test_no_restore_while_a_tick_or_a_watch_runs(home, lock):
    back_up(home)
    before = rows(home)
    running = one_at_a_time(home.control / lock, "test")
    with running, pytest.raises(Busy, match="of this home runs; end it"):
        restore(home)
    assert rows(home) == before and latch.stopped_because(home) is None


# ---- killed at any moment

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate", "sqlite3.connect"}


@contextmanager
def killed_at(number: int):
    """Kill this process at the `number`-th change of the disk, as Python's audit sees them."""
    seen = [0]

    def look(event, values):
        writes = event == "open" and isinstance(values[1], str) and set(values[1]) & set("wax+")
        if event in CHANGES or writes:
            seen[0] += 1
            if seen[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    yield


def restored_in_a_child(home, found, number) -> bool:
    """Whether a restore in a process of its own was killed at its `number`-th change."""
    child = os.fork()
    if child == 0:
        try:
            with killed_at(number), restoring.nothing_runs(home):
                restoring.restore(home, found, "a test", "a test", LATER)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.fixture
def quick_path(tmp_path):
    """A folder in memory where there is one: each of many restores waits for the disk many times."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_restore_killed_anywhere_is_completed_by_the_next_and_loses_nothing(home, quick_path):
    shutil.rmtree(home.candles)
    back_up(home)
    shutil.move(home.root / "backups", quick_path / "backups")
    go_on(home)
    tick = run_later(home)
    notebook_of(home, ENTRY).unlink()
    flip(notebook_of(home, QUIET))
    altered, before = notebook_of(home, QUIET).read_bytes(), rows(home)
    with sqlite3.connect(home.ledger) as con:  # no -wal, so that copies are whole
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    con.close()
    kills, number = 0, 0
    with checking.checked(layout.find(quick_path / "backups")) as found:
        while True:
            number += 1
            there = Home(quick_path / f"home-{number}")
            shutil.copytree(home.root, there.root)
            if not restored_in_a_child(there, found, number):
                break
            kills += 1
            if present := present_rows(there):
                changed = present[: len(before)] != before
                assert not changed or latch.stopped_because(there) is not None
            with restoring.nothing_runs(there):
                restoring.restore(there, found, "a test", "a test", LATER + timedelta(minutes=1))
            check_restored(there, tick, altered, before)
            shutil.rmtree(there.root)
    check_restored(there, tick, altered, before)
    assert kills > 40  # locks, latch, marker, notebooks, stage, swap, witness


def present_rows(home):
    return rows(home) if home.ledger.is_file() else None


def check_restored(home, tick, altered, before):
    """All is in place, the kit is stopped, and all that was there is somewhere still."""
    assert [text.split(":")[0] for text in verify(home)] == [f"tick {tick}"]
    assert latch.stopped_because(home).startswith("restored from backup")
    assert sum(row.kind == "restored" for row in rows(home)) == 1
    assert not (home.data / "restoring.json").exists() and not (home.data / ".restoring").exists()
    replaced = list(home.data.glob("replaced-*"))
    assert any(path.read_bytes() == altered for one in replaced for path in one.rglob("*.ipynb"))
    kept = [path for one in replaced for path in one.rglob("trading_data.db")]
    assert len(kept) == 1
    with ledger.reading(kept[0]) as con:
        assert ledger.between(con, 1, 10**9) == before
