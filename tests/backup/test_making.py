"""A backup is made while the kit works, is sound, takes little room, and never holds a secret."""

import gzip
import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from tests.backup.conftest import (
    ENTRY,
    EXIT,
    NAME,
    NOW,
    QUIET,
    SECRET,
    back_up,
    flip,
    notebook_of,
    rows,
    verify,
)
from tests.stage import PROJECT, environment, files, open_stage
from tgtqr_lib import books, ledger
from tgtqr_lib.archive import pruning
from tgtqr_lib.backup import checking, folders, layout, thinning
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.domain import Busy, Damaged, DomainError, StoreError
from tgtqr_lib.home import Home

HOUR = timedelta(hours=1)


def checked(path):
    with checking.checked(layout.find(path)) as found:
        return found


def test_a_backup_holds_ledger_notebooks_and_settings_with_the_checksum_of_each(home):
    made = back_up(home)
    assert made.path == home.root / "backups" / NAME
    there = files(made.path)
    own = [f"outputs/ticks/2026/11/22/{tick}.ipynb" for tick in (ENTRY, EXIT, QUIET)]
    assert sorted(there) == sorted([
        "SHA256SUMS", "manifest.json", "settings.toml", "data/trading_data.db.gz", "data/ledger.witness",
        "data/alerts.json", "data/simulator.json", "data/simulator_account.jsonl",
        "data/funding/linear/BTCUSDT.parquet", *own,
    ])  # fmt: skip
    # the standard tool reads the checksums, so that no kit is needed to check a backup
    told = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=made.path, capture_output=True, text=True
    )
    assert told.returncode == 0 and len(told.stdout.splitlines()) == len(there) - 1
    for name in own:
        assert there[name] == hashlib.sha256((home.root / name).read_bytes()).hexdigest()


def test_the_ledger_in_a_backup_is_an_sqlite_file_with_every_event_and_mark(home, tmp_path):
    packed = back_up(home).path / "data/trading_data.db.gz"
    (tmp_path / "plain.db").write_bytes(gzip.decompress(packed.read_bytes()))
    query = "SELECT seq, hash FROM events ORDER BY seq"
    marks = "SELECT * FROM marks ORDER BY minute_ms"
    plain, live = sqlite3.connect(tmp_path / "plain.db"), sqlite3.connect(home.ledger)
    assert plain.execute(query).fetchall() == live.execute(query).fetchall()
    assert plain.execute(marks).fetchall() == live.execute(marks).fetchall()
    facts = json.loads((packed.parents[1] / "manifest.json").read_text("utf-8"))
    assert (facts["ledger"]["seq"], facts["ledger"]["head"]) == live.execute(
        "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    plain.close()
    live.close()


def test_a_backup_holds_no_secret_no_control_file_and_no_candles(home):
    (home.control / "session.key").write_text(SECRET, "utf-8")
    (home.candles / "secret.parquet").write_text(SECRET, "utf-8")
    made = back_up(home)
    for path in made.path.rglob("*"):
        assert path.name not in (".env", "ARMED", "STOP", "session.key")
        if path.is_file():
            content = path.read_bytes()
            content += gzip.decompress(content) if path.suffix == ".gz" else b""
            assert SECRET.encode() not in content
    assert ".env" in layout.open_backup(made.path).facts["left_out"]


def test_what_did_not_change_is_the_same_file_in_the_next_backup(home):
    first, second = back_up(home), back_up(home, NOW + HOUR)
    assert (first.notebooks, first.linked, second.notebooks, second.linked) == (3, 0, 3, 3)
    for tick in (ENTRY, QUIET, EXIT):
        one, two = (notebook_of(Home(made.path), tick).stat() for made in (first, second))
        assert one.st_ino == two.st_ino != notebook_of(home, tick).stat().st_ino
    shutil.rmtree(first.path)  # each backup is whole by itself
    assert checked(second.path).notebooks == 3


def test_a_backup_copied_elsewhere_is_whole(home, tmp_path):
    back_up(home)
    shutil.copytree(back_up(home, NOW + HOUR).path, tmp_path / "elsewhere")
    assert checked(tmp_path / "elsewhere").notebooks == 3


def test_two_backups_of_one_second_have_names_of_their_own_in_order(home):
    names = [back_up(home).path.name for _ in range(3)]
    assert names == [NAME, f"{NAME}-02", f"{NAME}-03"]
    assert layout.find(home.root / "backups").name == names[-1]


WRITER = """
import sys
from pathlib import Path
from tgtqr_lib import gate, ledger
from tgtqr_lib.home import Home
from tgtqr_lib.ledger import Event
home = Home(Path(sys.argv[1]))
con = ledger.connect(home.ledger, create=False)
for number in range(10**9):
    with ledger.writing(con):
        ledger.append(con, Event("load", f"load/{number}", {"number": number, "text": "x" * 2000}))
    gate.bear_witness(con, home)
    if number == 10:
        print("on", flush=True)
"""


def test_every_backup_made_while_another_process_writes_is_sound(home):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home.root)],
        stdout=subprocess.PIPE,
        env=environment(home),
        cwd=PROJECT,
    )
    try:
        assert writer.stdout.readline() == b"on\n"
        made = [back_up(home, NOW + HOUR * i) for i in range(6)]
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
    heads = [one.seq for one in made]
    assert heads == sorted(set(heads))  # it did write meanwhile
    hashes = {row.seq: row.hash for row in rows(home)}
    for one in made:
        found = checked(one.path)
        assert (found.events, found.known) == (one.seq, ())
        assert one.head == hashes[one.seq]


def test_a_tick_under_way_is_waited_for(home):
    con = ledger.connect(home.ledger, create=False)
    held, tick = threading.Event(), "20261122T1100Z"

    def run():
        with one_at_a_time(home.control / "tick.lock", "tick"):
            with ledger.writing(con):
                books.book_tick(con, tick, "claim", {})
            held.set()
            while not list((home.root / "backups").glob(".partial-*/data")):
                pass  # the backup has begun
            final = {"state": "failed", "reason": "TICK_FAILED", "text": ""}
            with ledger.writing(con):
                books.book_tick(con, tick, "final", final)

    thread = threading.Thread(target=run)
    thread.start()
    held.wait()
    made = back_up(home)
    thread.join()
    con.close()
    assert made.under_way == []
    assert [row.key for row in rows(home)][-1] == f"tick/{tick}/final" and made.seq == len(
        rows(home)
    )


def test_what_a_crash_left_is_not_waited_for_and_its_page_comes_along(home):
    tick = "20261122T1100Z"
    con = ledger.connect(home.ledger, create=False)
    with ledger.writing(con):
        books.book_tick(con, tick, "claim", {})
    con.close()
    gone = subprocess.Popen(["true"])
    gone.wait()
    (home.control / "tick.lock").write_text(f"{gone.pid}\n")
    running = notebook_of(home, tick).with_name(f".{tick}.running.ipynb")
    running.write_text("{}", "utf-8")
    made = back_up(home)
    assert made.under_way == [tick]
    assert (made.path / running.relative_to(home.root)).read_text("utf-8") == "{}"


# ---- a home that is not well


def test_a_home_without_a_ledger_says_so(tmp_path):
    empty = Home(tmp_path / "empty")
    with pytest.raises(StoreError, match=r"there is none, so there is nothing to back up"):
        folders.check_home(empty)
    empty.make()
    ledger.connect(empty.ledger).close()
    with pytest.raises(StoreError, match="has no events yet"):
        back_up(empty)
    assert layout.backups_in(empty.root / "backups") == []


def left_in(home) -> list[str]:
    return sorted(path.name for path in (home.root / "backups").iterdir())


def test_an_edited_ledger_is_not_backed_up_and_nothing_half_made_is_left(home):
    con = sqlite3.connect(home.ledger, isolation_level=None)
    con.execute("DROP TRIGGER events_are_not_edited")
    con.execute("UPDATE events SET body = body || ' ' WHERE seq = 5")
    con.close()
    with pytest.raises(Damaged, match=r"not backed up: event 5 .* its hash does not match"):
        back_up(home)
    assert left_in(home) == [".gitignore", ".lock"]


def test_a_ledger_that_lost_its_newest_events_is_not_backed_up(home):
    home.witness.write_text(f"999 {'a' * 64}\n", "ascii")
    with pytest.raises(Damaged, match="its witness has seen event 999"):
        back_up(home)


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from tgtqr_lib.cli import main
sys.exit(main(["ledger", "backup"]))
"""


# the ledger does not fit (its -shm, 32,768 bytes, must); the ledger fits and a file of 2 MB does not
@pytest.mark.parametrize("room", [40_000, 1_000_000])
def test_a_full_disk_is_told_and_leaves_the_backups_that_were_there(home, room):
    back_up(home)
    (home.funding / "linear" / "ETHUSDT.parquet").write_bytes(b"x" * 2_000_000)
    before = files(home.root / "backups")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(room)],
        capture_output=True, text=True, env=environment(home), cwd=PROJECT,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "backup" in done.stderr and done.stderr.count("\n") == 1
    assert files(home.root / "backups") == before


def test_a_lost_or_altered_notebook_is_taken_from_the_backup_before_and_named(home):
    back_up(home)
    notebook_of(home, ENTRY).unlink()
    flip(notebook_of(home, QUIET))
    made = back_up(home, NOW + HOUR)
    assert made.wrong == [
        f"tick {ENTRY}: its notebook is missing; kept as in {NAME}",
        f"tick {QUIET}: its notebook is not what was sealed; kept as in {NAME}",
    ]
    assert checked(made.path).known == ()


def test_without_a_backup_before_what_is_wrong_is_kept_as_it_is_and_named(home):
    notebook_of(home, ENTRY).unlink()
    flip(notebook_of(home, QUIET))
    made = back_up(home)
    assert [text.split(":")[0] for text in made.wrong] == [f"tick {ENTRY}", f"tick {QUIET}"]
    found = checked(made.path)
    assert found.notebooks == 2 and {text[:19] for text in found.known} == {
        f"tick {ENTRY}",
        f"tick {QUIET}",
    }
    again = back_up(home, NOW + HOUR)  # it does not become right by being the same as before
    assert [text.split(":")[0] for text in again.wrong] == [f"tick {ENTRY}", f"tick {QUIET}"]


def test_a_notebook_that_the_ledger_does_not_know_is_kept_and_named(home):
    shutil.copy(notebook_of(home, QUIET), notebook_of(home, "20261122T1100Z"))
    made = back_up(home)
    assert (made.unknown, made.wrong, made.notebooks) == (["20261122T1100Z"], [], 4)
    assert len(checked(made.path).known) == 1


def test_pruned_notebooks_are_backed_up_as_they_are_and_older_backups_stay_whole(home):
    first = back_up(home)
    con = ledger.connect(home.ledger, create=False)
    list(pruning.prune(con, home, pruning.plan(home, NOW + 9 * HOUR)))
    con.close()
    second = back_up(home, NOW + HOUR)
    assert second.wrong == [] and (second.notebooks, second.linked) == (3, 0)
    assert [checked(one.path).notebooks for one in (first, second)] == [3, 3]
    assert verify(home) == []


# ---- where they go and how long they stay


@pytest.mark.parametrize("place", ["data", "data/backups", "outputs/ticks/backups"])
def test_backups_do_not_lie_in_what_they_are_to_outlive(home, place):
    with (
        pytest.raises(DomainError, match="would be lost with it"),
        folders.folder_of(home, home.root / place),
    ):
        pass


def test_one_backup_at_a_time(home):
    with folders.folder_of(home, None), pytest.raises(Busy, match="another backup"):
        back_up(home)


def test_a_folder_serves_one_home(home, tmp_path):
    with open_stage(tmp_path / "other") as other:
        other.arm("10:29")
        back_up(other.home, to=tmp_path / "common")
    with pytest.raises(DomainError, match="a backup of another ledger"):
        back_up(home, NOW + HOUR, to=tmp_path / "common")


def test_what_a_killed_backup_left_is_removed_by_the_next(home):
    back_up(home)
    (home.root / "backups" / ".partial-20261123T160000Z" / "data").mkdir(parents=True)
    assert layout.find(home.root / "backups").name == NAME
    back_up(home, NOW + HOUR)
    assert left_in(home) == [".gitignore", ".lock", NAME, "20261123T180501Z"]


def test_the_newest_stay_and_one_a_day_for_thirty_days():
    # hourly from 1 September 00:00 to 23 November 17:00; 30 days back from then is 24 October
    start = NOW.replace(month=9, day=1, hour=0, minute=0, second=0)
    hours = 83 * 24 + 18
    names = [f"{start + HOUR * i:%Y%m%dT%H%M%SZ}" for i in range(hours)]
    stay = sorted(set(names) - set(thinning.chosen(names, 24, NOW)))
    # 24 hours back from 17:00 reach 18:00 of the 22nd; of 30 days, 25 October to 23 November, the last hour each
    newest = names[-24:]
    daily = [f"202610{d}T230000Z" for d in range(25, 32)]
    daily += [f"202611{d:02d}T230000Z" for d in range(1, 23)]
    assert newest[0] == "20261122T180000Z"
    assert stay == sorted({*newest, *daily})


def test_keeping_removes_whole_backups_and_nothing_else(home):
    for i in range(4):
        back_up(home, NOW + timedelta(minutes=i))
    (home.root / "backups" / "mine").mkdir()
    with folders.folder_of(home, None) as folder:
        gone = thinning.thin(folder, 2, NOW + HOUR)
    assert gone == [NAME, "20261123T170601Z"]
    assert left_in(home) == [".gitignore", ".lock", "20261123T170701Z", "20261123T170801Z", "mine"]
    assert checked(home.root / "backups").notebooks == 3
