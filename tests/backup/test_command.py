"""`tgtqr ledger backup | restore | export`: what a person types, reads and gets as exit code."""

import json
import shutil

import duckdb
import pytest

from tests.backup.conftest import ENTRY, QUIET, SECRET, flip, lose, notebook_of, rows, verify
from tests.stage import command, files
from tgtqr_lib import cli
from tgtqr_lib.backup import layout
from tgtqr_lib.desk import one_at_a_time
from tgtqr_lib.home import Home


def told(capsys, home, *words) -> tuple[int, str]:
    """Exit code and everything that `tgtqr ledger WORDS` prints."""
    code = cli.main(["ledger", *map(str, words), "--home", str(home.root)])
    out = capsys.readouterr()
    return code, out.out + out.err


def said(capsys, home, *words) -> tuple[int, dict]:
    code = cli.main(["ledger", *map(str, words), "--home", str(home.root), "--json"])
    return code, json.loads(capsys.readouterr().out)


# ---- backup, delete, restore


@pytest.mark.slow
def test_backup_delete_restore_and_no_tick_is_lost(tmp_path, capsys):
    home = Home(tmp_path / "home").make()
    home.settings.write_text("[simulator]\nseed = 7\n", "utf-8")

    def tgtqr(*words):
        code = cli.main([*words, "--home", str(home.root)])
        out = capsys.readouterr()
        assert code == 0, out.err
        return out.out

    tgtqr("watch", "--once", "--at", "2025-05-31T23:59:03")
    tgtqr("arm", "--reason", "the restore test")
    tgtqr("tick", "--at", "2025-06-01T00:00")
    ledger_before, notebooks = rows(home), files(home.ticks)
    assert len(notebooks) == 1
    # processes of their own, as a timer and a person start them
    assert command(home, "ledger", "backup").returncode == 0
    lose(home)
    done = command(home, "ledger", "restore", "--reason", "all was lost")
    assert done.returncode == 0 and "restored; the ledger ends at" in done.stdout
    facts = json.loads(tgtqr("ledger", "verify", "--archive", "--json"))
    assert (facts["ok"], facts["problems"], facts["notebooks"]) == (True, [], 1)
    assert files(home.ticks) == notebooks and rows(home)[: len(ledger_before)] == ledger_before
    # it is stopped, until a person arms it; then it goes on with the next tick
    status = json.loads(tgtqr("status", "--json"))
    assert status["gate"] == "STOPPED" and "restored from backup" in status["gate_reason"]
    assert status["last_tick"]["tick_id"] == "20250601T0000Z"
    tgtqr("watch", "--once")  # sells what the restored ledger holds
    tgtqr("arm", "--reason", "looked at it")
    assert json.loads(tgtqr("tick", "--json"))["tick_id"] == "20250601T0015Z"
    assert json.loads(tgtqr("ledger", "verify", "--archive", "--json"))["notebooks"] == 2


# ---- what is said


def test_backup_tells_where_it_is_what_is_in_it_and_what_is_not(home, capsys):
    code, text = told(capsys, home, "backup")
    assert code == 0 and SECRET not in text
    assert f"{home.root}/backups/" in text and "3 new notebooks" in text
    assert "not in it: .env, data/candles, data/control" in text
    code, facts = said(capsys, home, "backup", "--keep", 1)
    assert code == 0 and (facts["notebooks"], facts["linked"]) == (3, 3)
    # the first was made on the same day, so only the newer one stays
    assert len(facts["removed"]) == 1 and facts["backup"] not in facts["removed"][0]
    assert len(layout.backups_in(home.root / "backups")) == 1


def test_backup_of_a_home_with_a_lost_notebook_is_made_and_ends_with_5(home, capsys):
    notebook_of(home, ENTRY).unlink()
    code, text = told(capsys, home, "backup")
    assert code == 5 and f"tick {ENTRY}: its notebook is missing, and no backup here has it" in text
    code, text = told(capsys, home, "restore", "--drill")
    assert code == 0 and f"known since the backup was made: tick {ENTRY}" in text


def test_backup_without_a_ledger_makes_no_folder(tmp_path, capsys):
    code, text = told(capsys, Home(tmp_path / "empty"), "backup")
    assert code == 1 and "there is none, so there is nothing to back up" in text
    assert not (tmp_path / "empty").exists()


def test_backup_elsewhere(home, tmp_path, capsys):
    code, facts = said(capsys, home, "backup", "--to", tmp_path / "disk" / "two")
    assert code == 0 and facts["backup"].startswith(f"{tmp_path}/disk/two/")
    code, facts = said(capsys, home, "restore", tmp_path / "disk" / "two", "--drill")
    assert code == 0 and facts["drill"] and facts["ok"] and facts["lost_events"] == 0


def test_a_restore_names_the_ticks_that_came_after(home, capsys):
    told(capsys, home, "backup")
    shutil.copy(notebook_of(home, QUIET), notebook_of(home, "20261122T1100Z"))
    for words in (["restore", "--drill"], ["restore", "--reason", "a test"]):
        code, text = told(capsys, home, *words)
        assert code == 0
        assert "1 tick ran after this backup: 20261122T1100Z; its notebook stays" in text
    assert "STOPPED" in text and "tgtqr arm" in text and "data/replaced-" in text
    code, text = told(capsys, home, "verify", "--archive")
    assert code == 5 and "tick 20261122T1100Z: the ledger knows nothing of its notebook" in text


def test_a_lost_env_file_is_asked_for(home, capsys):
    told(capsys, home, "backup")
    (home.root / ".env").unlink()
    code, text = told(capsys, home, "restore")
    assert code == 0 and ".env is in no backup and not here" in text


def test_an_account_on_an_exchange_is_said_to_be_compared(home, capsys, monkeypatch):
    told(capsys, home, "backup")
    sentence = "the next beat compares the account with the ledger"
    assert sentence not in told(capsys, home, "restore", "--drill")[1]
    monkeypatch.setenv("TGTQR_ACCOUNT", "demo")
    assert sentence in told(capsys, home, "restore", "--drill")[1]


# ---- exit codes


def test_a_damaged_backup_ends_with_5_and_none_with_2(home, tmp_path, capsys):
    _, facts = said(capsys, home, "backup")
    flip(layout.find(home.root / "backups").path / layout.LEDGER)
    code, text = told(capsys, home, "restore", facts["backup"])
    assert code == 5 and "data/trading_data.db.gz is not what was written" in text
    assert text.count("\n") == 1
    assert told(capsys, home, "restore", tmp_path)[0] == 2
    assert told(capsys, home, "restore", home.settings)[0] == 2


def test_a_running_watch_ends_it_with_75(home, capsys):
    told(capsys, home, "backup")
    with one_at_a_time(home.control / "watching.lock", "watch"):
        code, text = told(capsys, home, "restore")
    assert code == 75 and "`tgtqr watch` of this home runs; end it" in text
    assert verify(home) == []


@pytest.mark.parametrize(
    "words",
    [
        ["backup", "--keep", "0"], ["backup", "--drill"], ["backup", "somewhere"], ["show", "--keep", "3"],
        ["verify", "--reason", "x"], ["export"], ["restore", "--to", "x"],
    ],
)  # fmt: skip
def test_what_does_not_go_together_ends_with_2(home, capsys, words):
    code, text = told(capsys, home, *words)
    assert code == 2 and text.count("\n") == 1
    assert not (home.root / "backups").exists()


# ---- export


def test_export_writes_the_ledger_for_other_tools(home, tmp_path, capsys):
    target = tmp_path / "snapshot.duckdb"
    for _ in range(2):  # a snapshot may replace a snapshot
        code, facts = said(capsys, home, "export", "--duckdb", target)
        assert code == 0 and facts["rows"]["ticks"] == 3 and facts["rows"]["fills"] == 2
    with duckdb.connect(str(target), read_only=True) as con:
        fills = con.sql("SELECT side, quantity::VARCHAR FROM fills ORDER BY seq").fetchall()
        # an entry of 9 lots at 100,100 and its exit
        assert fills == [("BUY", "0.00000900"), ("SELL", "0.00000900")]
        assert con.sql("SELECT count(*) FROM equity WHERE equity > 9").fetchall()[0][0] > 0
        states = con.sql("SELECT DISTINCT state FROM ticks").fetchall()
        assert states == [("done",)]
    assert sorted(path.name for path in tmp_path.glob("*snap*")) == ["snapshot.duckdb"]


def test_export_replaces_nothing_that_is_no_snapshot(home, tmp_path, capsys):
    precious = tmp_path / "notes.txt"
    precious.write_text("mine, and longer than twelve bytes")
    code, text = told(capsys, home, "export", "--duckdb", precious)
    assert code == 2 and "is there and no DuckDB file" in text
    assert precious.read_text().startswith("mine")
    code, text = told(capsys, Home(tmp_path / "empty"), "export", "--duckdb", tmp_path / "x.duckdb")
    assert code == 1 and "there is none" in text and not (tmp_path / "x.duckdb").exists()
