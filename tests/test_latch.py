"""The stop latch: whoever stops wins, in every order, and stopping needs nothing."""

import errno
import os
import subprocess
import sys

import pytest

from tests.stage import PROJECT, command, raw
from tgtqr_lib import cli, latch, ledger


def arm(home) -> None:
    with latch.arming(home):
        pass


def armed(home) -> bool:
    return latch.stopped_because(home) is None


def test_a_fresh_home_is_stopped(home, tmp_path):
    assert (
        latch.stopped_because(home) == "never armed, or disarmed: data/control/ARMED is not there"
    )
    from tgtqr_lib.home import Home

    assert latch.stopped_because(Home(tmp_path / "nowhere")) is not None


def test_arming_opens_and_stopping_closes_with_the_reason(home):
    arm(home)
    assert armed(home)
    latch.stop(home, "too hot")
    assert latch.stopped_because(home) == "too hot"
    assert sorted(p.name for p in home.control.iterdir() if p.name != "arm.lock") == ["STOP"]


def test_touching_the_stop_file_by_hand_stops(home):
    arm(home)
    (home.control / "STOP").touch()
    assert latch.stopped_because(home) == "the file data/control/STOP is there"


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink(path.parent / "nowhere", path)])
def test_whatever_is_named_stop_stops(home, make):
    arm(home)
    make(home.control / "STOP")
    assert not armed(home)
    latch.stop(home, "again")
    assert not armed(home)


def test_removing_the_stop_file_by_hand_does_not_arm_again(home):
    arm(home)
    latch.stop(home, "x")
    (home.control / "STOP").unlink()
    assert not armed(home)


def test_stopping_twice_keeps_the_first_reason(home):
    arm(home)
    latch.stop(home, "first")
    latch.stop(home, "second")
    assert latch.stopped_because(home) == "first"


def test_a_control_folder_that_cannot_be_read_is_a_stop(home):
    home.control.rmdir()
    home.control.write_text("a file where a folder should be")
    assert "cannot be read" in latch.stopped_because(home)
    latch.stop(home, "x")  # nothing to do, and nothing to complain about
    assert not armed(home)


def test_armed_that_cannot_be_opened_is_a_stop(home):
    (home.control / "ARMED").mkdir()
    assert "cannot be read" in latch.stopped_because(home)


# --- a stop while arming ---


@pytest.mark.parametrize("before", [False, True], ids=["first time", "after a stop"])
@pytest.mark.parametrize("by_hand", [False, True], ids=["tgtqr stop", "touch STOP"])
def test_a_stop_before_the_gate_opens_wins(home, before, by_hand):
    if before:
        latch.stop(home, "earlier")
    with pytest.raises(latch.ArmRefused, match="a stop arrived while arming"), latch.arming(home):
        (home.control / "STOP").touch() if by_hand else latch.stop(home, "now")
    assert not armed(home)
    arm(home)  # nothing is left that would stop the next arming
    assert armed(home)


@pytest.mark.parametrize("step", ["rename", "_write", "_sync"])
def test_a_stop_at_any_step_of_arming_wins(home, monkeypatch, step):
    latch.stop(home, "earlier")
    owner = os if step == "rename" else latch
    usual, stops = getattr(owner, step), []

    def stop_first(*arguments):
        if not stops:
            stops.append(1)
            latch.stop(home, "")  # without words, which would need another `_write`
        return usual(*arguments)

    with pytest.raises(latch.ArmRefused), latch.arming(home):
        monkeypatch.setattr(owner, step, stop_first)
    assert stops and not armed(home)


@pytest.mark.parametrize("step", ["rename", "_write", "_sync"])
def test_a_stop_after_any_step_of_arming_wins(home, monkeypatch, step):
    latch.stop(home, "earlier")
    owner = os if step == "rename" else latch
    usual, stops = getattr(owner, step), []

    def stop_afterwards(*arguments):
        usual(*arguments)
        if not stops:
            stops.append(1)
            latch.stop(home, "")

    with pytest.raises(latch.ArmRefused), latch.arming(home):
        monkeypatch.setattr(owner, step, stop_afterwards)
    assert stops and not armed(home)


def test_arming_in_the_middle_of_a_stop_loses(home, monkeypatch):
    arm(home)
    usual = latch._create

    def arm_in_between(path):  # ARMED is unlinked, STOP is not there yet
        monkeypatch.setattr(latch, "_create", usual)
        arm(home)
        usual(path)

    monkeypatch.setattr(latch, "_create", arm_in_between)
    latch.stop(home, "now")
    assert not armed(home)


def test_two_stops_in_one_instant_are_two(home):
    # file systems keep times by the clock's tick of some milliseconds; a stop must not hide in one
    seen = set()
    for _ in range(50):
        latch._create(home.control / "STOP")
        seen.add(latch._identity(home.control / "STOP"))
    assert len(seen) == 50


def test_an_error_while_arming_leaves_the_kit_stopped(home):
    latch.stop(home, "earlier")
    with pytest.raises(ValueError), latch.arming(home):
        raise ValueError
    assert latch.stopped_because(home) == "earlier"


@pytest.mark.parametrize("step", ["_write", "_sync"])
def test_a_full_disk_while_arming_leaves_the_kit_stopped(home, monkeypatch, step):
    latch.stop(home, "earlier")
    usual = getattr(latch, step)

    def full(*arguments):
        usual(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"), latch.arming(home):
        monkeypatch.setattr(latch, step, full)
    assert not armed(home)


# --- stopping needs nothing ---


def test_stop_works_on_a_full_disk(home, monkeypatch):
    arm(home)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(latch, "_write", full)
    latch.stop(home, "a reason that finds no room")
    assert latch.stopped_because(home) == "the file data/control/STOP is there"


@pytest.mark.parametrize("broken", ["_unlink", "_create"])
def test_either_half_of_a_stop_is_enough(home, monkeypatch, broken):
    arm(home)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(latch, broken, refuse)
    latch.stop(home, "x")
    assert not armed(home)


def test_a_stop_that_cannot_hold_is_shouted_and_not_reported_as_done(home, monkeypatch, capsys):
    arm(home)

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    for half in ("_unlink", "_create", "_write"):
        monkeypatch.setattr(latch, half, refuse)
    code = cli.main(["stop", "--home", str(home.root)])
    shown = capsys.readouterr()
    assert code == 1 and armed(home) and shown.out == ""
    assert "NOT STOPPED" in shown.err and "Permission denied" in shown.err
    assert "remove data/control/ARMED by hand" in shown.err


def test_stop_with_a_ledger_that_another_process_holds(home):
    arm(home)
    ledger.connect(home.ledger).close()
    holder = raw(home)
    holder.execute("BEGIN IMMEDIATE")
    done = command(home, "stop", "--reason", "now", "--json")
    assert (done.returncode, '"in_ledger": false' in done.stdout) == (0, True), done.stderr
    assert latch.stopped_because(home) == "now (by the command line)"
    holder.execute("ROLLBACK")
    holder.close()


@pytest.mark.parametrize("content", [None, b"this is no ledger" * 99])
def test_stop_without_a_ledger_or_with_a_ruined_one(home, content):
    arm(home)
    if content is not None:
        home.ledger.write_bytes(content)
    done = command(home, "stop")
    assert done.returncode == 0 and done.stdout.startswith("STOPPED in ")
    assert not armed(home)


def loaded_by(code: str, *words: str) -> set[str]:
    """Every module in memory after `code` in a fresh Python."""
    tail = "\nimport sys; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *words],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_latch_imports_the_standard_library_only():
    found = loaded_by("import tgtqr_lib.latch")
    tops = {name.split(".")[0] for name in found} - {"__main__", "__mp_main__"}
    bare = {name.split(".")[0] for name in loaded_by("pass")}  # a venv's own start-up files
    assert tops - bare - set(sys.stdlib_module_names) == {"tgtqr_lib"}


HEAVY = {"ccxt", "duckdb", "matplotlib", "pandas", "papermill"}


@pytest.mark.slow
def test_stop_loads_nothing_heavy_even_when_it_tells_the_ledger(home):
    ledger.connect(home.ledger).close()
    arm(home)
    call = "from tgtqr_lib.cli import main; main(['stop', '--home', __import__('sys').argv[1]])"
    assert loaded_by(call, str(home.root)) & HEAVY == set()
    assert not armed(home)


@pytest.mark.slow
def test_a_beat_loads_nothing_that_is_not_needed_for_it(stage):
    call = "from tgtqr_lib.cli import main; assert main(['watch', '--once', '--home', __import__('sys').argv[1]]) == 0"
    found = loaded_by(call, str(stage.home.root))
    assert found & {"pandas", "duckdb", "matplotlib", "papermill"} == set()
    assert "tgtqr_lib.watch" in found
