"""The crontab keeps every foreign byte, and the kit's own lines say all that cron does not know."""

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stage import command
from tgtqr_lib import schedule
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home

HOME = Home(Path("/srv/quant/a home"))
OTHER = Home(Path("/srv/quant/another"))
FOREIGN = "# mine\nMAILTO=me@example.org\n5 4 * * sun /usr/bin/backup 100\\% >/dev/null\n"
LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=30), max_size=6
)


@given(LINES)
def test_installing_then_removing_leaves_the_crontab_as_it_was(lines):
    before = "".join(line + "\n" for line in lines)
    assert schedule.without_block(HOME, schedule.with_block(HOME, before)) == before


def test_installing_twice_equals_installing_once():
    once = schedule.with_block(HOME, FOREIGN)
    assert once.startswith(FOREIGN) and once.count("# tgtqr begin") == 1
    assert schedule.with_block(HOME, once) == once


def test_an_old_block_is_renewed_in_its_place():
    begin, end = schedule.markers(HOME)
    renewed = schedule.with_block(HOME, f"{begin}\n0 0 * * * old\n{end}\n{FOREIGN}")
    assert "old" not in renewed
    assert renewed.startswith(begin) and renewed.endswith(f"{end}\n{FOREIGN}")


def test_two_homes_stand_side_by_side():
    both = schedule.with_block(OTHER, schedule.with_block(HOME, FOREIGN))
    assert schedule.without_block(OTHER, both) == schedule.with_block(HOME, FOREIGN)


def test_a_block_with_one_marker_is_not_touched():
    begin, _ = schedule.markers(HOME)
    with pytest.raises(StoreError, match="one is missing"):
        schedule.with_block(HOME, f"{begin}\n* * * * * half\n")


def test_a_tick_each_quarter_hour_a_beat_each_minute_and_a_report_at_five_past_midnight():
    _, tick, watch, report, _ = schedule.entries(HOME)
    assert tick.startswith("*/15 * * * * ") and watch.startswith("* * * * * ")
    assert report.startswith("5 0 * * * ")
    assert " tick >> " in tick and " watch --once >> " in watch and " report >> " in report


def test_every_line_has_a_lock_of_its_own():
    locks = [shlex.split(line.split(" ", 5)[5])[8] for line in schedule.entries(HOME)[1:-1]]
    assert [Path(lock).name for lock in locks] == [
        "cron-tick.lock", "cron-watch.lock", "cron-report.lock",
    ]  # fmt: skip


def test_a_line_spells_out_utc_home_lock_and_log():
    _, tick, *_ = schedule.entries(HOME)
    words = shlex.split(tick.split(" ", 5)[5])
    assert words[1:4] == ["TZ=UTC", "LANG=C.UTF-8", "TGTQR_HOME=/srv/quant/a home"]
    assert words[5:9] == ["-n", "-E", "75", "/srv/quant/a home/data/control/cron-tick.lock"]
    assert words[9] == str(Path(sys.executable).with_name("tgtqr"))
    assert words[-3:] == [">>", "/srv/quant/a home/outputs/logs/cron.log", "2>&1"]
    assert all(Path(words[i]).is_absolute() for i in (0, 4, 9))


def test_a_percent_sign_does_not_end_the_command():
    _, tick, *_ = schedule.entries(Home(Path("/srv/100%")))
    assert "/srv/100\\%" in tick and "0%" not in tick.replace("\\%", "")


def test_a_path_with_a_line_break_is_refused():
    with pytest.raises(DomainError, match="line break"):
        schedule.entries(Home(Path("/srv/a\nb")))


@pytest.fixture
def crontab(tmp_path, monkeypatch):
    """A `crontab` program that keeps its table in a file: the machine's own is never touched."""
    table, programs = tmp_path / "table", tmp_path / "bin"
    programs.mkdir()
    program = programs / "crontab"
    program.write_text(
        "#!/bin/sh\n"
        f"T={shlex.quote(str(table))}\n"
        'case "$1" in\n'
        '-l) [ -f "$T" ] && cat "$T" || { echo "no crontab for you" >&2; exit 1; } ;;\n'
        '-r) rm -f "$T" ;;\n'
        '-) cat > "$T" ;;\n'
        "esac\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return table


def a_scheduled_home(tmp_path) -> Home:
    home = Home(tmp_path / "home").make()
    home.settings.write_text('[simulator]\nurl = "http://127.0.0.1:9"\n', "utf-8")
    return home


def test_install_show_remove_by_the_command_line(crontab, tmp_path):
    home = a_scheduled_home(tmp_path)
    crontab.write_text(FOREIGN)
    assert command(home, "schedule", "show").stdout.startswith("schedule not installed")
    assert command(home, "schedule", "install").returncode == 0
    assert crontab.read_text() == schedule.with_block(home, FOREIGN)
    assert command(home, "schedule", "show").stdout.startswith("schedule installed")
    assert command(home, "schedule", "remove").returncode == 0
    assert crontab.read_text() == FOREIGN


def test_removing_the_only_block_removes_the_crontab(crontab, tmp_path):
    home = a_scheduled_home(tmp_path)
    assert command(home, "schedule", "install").returncode == 0
    assert command(home, "schedule", "remove").returncode == 0
    assert not crontab.exists()


def test_the_embedded_simulator_is_not_scheduled(crontab, tmp_path):
    done = command(Home(tmp_path / "home").make(), "schedule", "install")
    assert done.returncode == 2 and "no time of its own" in done.stderr
    assert not crontab.exists()


def test_without_cron_a_sentence_names_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="install the package cron"):
        schedule.read_crontab()


@pytest.mark.slow
def test_a_line_runs_as_cron_would_run_it(tmp_path):
    """/bin/sh, cron's own PATH and nothing else in the environment: the tick's code comes back."""
    home = a_scheduled_home(tmp_path)
    _, tick, *_ = schedule.entries(home)
    line = tick.split(" ", 5)[5].replace("\\%", "%")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": "/bin/sh"}
    done = subprocess.run(["/bin/sh", "-c", line], env=bare, cwd="/", timeout=60)
    assert done.returncode == 4  # nobody answers at that address
    assert "no usable answer" in (home.outputs / "logs" / "cron.log").read_text()
