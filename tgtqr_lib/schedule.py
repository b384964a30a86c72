"""The crontab entries that run the kit unattended: a tick each quarter hour, a beat each minute, a report a day.

They stand between two marker lines that name the home; everything else in the crontab stays as it was, to
the byte. cron gives a command PATH=/usr/bin:/bin, no locale and no home of ours, so all of it is spelled out.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home

TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Job:
    """A line of the crontab: when, in cron's five fields, and which command with its own lock."""

    name: str
    when: str
    words: tuple[str, ...]


JOBS = (
    Job("tick", "*/15 * * * *", ("tick",)),
    Job("watch", "* * * * *", ("watch", "--once")),
    Job("report", "5 0 * * *", ("report",)),  # of the day that ended
)


def entries(home: Home) -> list[str]:
    """The block of `home`: its markers and a line a job, without line ends."""
    begin, end = markers(home)
    return [begin, *(_line(home, job) for job in JOBS), end]


def markers(home: Home) -> tuple[str, str]:
    """The lines before and after the block of `home`."""
    return f"# tgtqr begin {home.root}", f"# tgtqr end {home.root}"


def _line(home: Home, job: Job) -> str:
    flock, env = shutil.which("flock"), shutil.which("env")
    if flock is None or env is None:
        raise StoreError("schedule: `flock` is not there; install the package util-linux")
    program = Path(sys.executable).with_name("tgtqr")
    if not program.is_file():
        raise StoreError(f"schedule: {program} is not there; expected tgtqr beside its Python")
    lock = home.control / f"cron-{job.name}.lock"
    log = home.outputs / "logs" / "cron.log"
    # 75 is the code of a run that found the lock held, the same that tgtqr itself gives
    words = [
        env, "TZ=UTC", "LANG=C.UTF-8", f"TGTQR_HOME={home.root}",
        flock, "-n", "-E", "75", str(lock), str(program), *job.words,
    ]  # fmt: skip
    command = f"{shlex.join(words)} >> {shlex.quote(str(log))} 2>&1"
    if "\n" in command:
        raise DomainError(
            f"schedule: a path with a line break cannot stand in a crontab ({home.root})"
        )
    return f"{job.when} {command.replace('%', chr(92) + '%')}"  # cron takes a bare % for a line end


def installed(home: Home, crontab: str) -> list[str]:
    """The lines of the block of `home` in `crontab`; none when it is not there.

    Raises `StoreError` when only one of its markers is there: somebody edited it by hand.
    """
    begin, end = markers(home)
    lines = crontab.splitlines()
    if (begin in lines) != (end in lines):
        raise StoreError(
            f"crontab: of the lines {begin!r} and {end!r} one is missing; "
            "take the rest of the block out with `crontab -e`"
        )
    if begin not in lines:
        return []
    return lines[lines.index(begin) : lines.index(end) + 1]


def with_block(home: Home, crontab: str) -> str:
    """`crontab` with the block of `home` as it is now, in its old place or at the end."""
    block = "".join(line + "\n" for line in entries(home))
    old = installed(home, crontab)
    if old:
        return crontab.replace("".join(line + "\n" for line in old), block, 1)
    gap = "" if not crontab or crontab.endswith("\n") else "\n"
    return f"{crontab}{gap}{block}"


def without_block(home: Home, crontab: str) -> str:
    """`crontab` without the block of `home`, otherwise as it was."""
    old = installed(home, crontab)
    return crontab.replace("".join(line + "\n" for line in old), "", 1) if old else crontab


def read_crontab() -> str:
    """The user's crontab; empty when there is none. Raises `StoreError` when cron is not installed."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if "no crontab" in done.stderr:
        return ""
    raise StoreError(f"crontab: cannot be read ({done.stderr.strip() or done.returncode})")


def write_crontab(text: str) -> None:
    """Make `text` the user's crontab; an empty one is removed. Raises `StoreError` when cron refuses."""
    done = _crontab("-", text) if text else _crontab("-r")
    if done.returncode != 0 and not (not text and "no crontab" in done.stderr):
        raise StoreError(f"crontab: not taken ({done.stderr.strip() or done.returncode})")


def _crontab(option: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["crontab", option], input=text, capture_output=True, text=True, timeout=TIMEOUT_S
        )
    except FileNotFoundError:
        raise StoreError(
            "crontab: the command is not there; install the package cron (Debian, Ubuntu) or "
            "cronie, or run `tgtqr up` instead"
        ) from None
