"""The machine: room on its disk, memory, a kept clock, and the versions of what runs."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tgtqr_lib import __version__
from tgtqr_lib.gate import MB
from tgtqr_lib.home import PROJECT
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, failed, passed, skipped, warned

DAYS_OF_DISK = 30
MB_A_DAY = 8  # 96 sealed notebooks
COMMAND_S = 5
SYSTEMD = Path("/run/systemd/system")  # is there when systemd is the machine's first process
SHOWN = ("ccxt", "papermill", "voila", "duckdb")


def disk(case: Case) -> Answer:
    """There is room above the limit under which nothing is bought."""
    folder = next(p for p in (case.home.data, *case.home.data.parents) if p.exists())
    free, least = shutil.disk_usage(folder).free // MB, case.disk_mb
    said = f"{free:,} MB are free; below {least:,} nothing is bought"
    do = "make room, or `tgtqr archive prune --keep 90d`; a larger disk if it fills again"
    if free < least:
        return failed(said, do)
    if free < least + DAYS_OF_DISK * MB_A_DAY:
        return warned(f"{said}, in less than {DAYS_OF_DISK} days at {MB_A_DAY} MB a day", do)
    return passed(said)


def memory(case: Case) -> Answer:
    """There is memory for a tick's kernel and a page."""
    import psutil

    there, least = psutil.virtual_memory().available // MB, case.memory_mb
    said = f"{there:,} MB are available; a tick and a page need about {least:,}"
    if there < least:
        return warned(said, "stop what else runs here, add swap, or take an instance of 1 GB")
    return passed(said)


def time_sync(case: Case) -> Answer:
    """Something keeps this machine's clock."""
    do = "`apt install chrony` (or `dnf install chrony`), then `systemctl enable --now chrony`"
    tracking = _said("chronyc", "-n", "tracking")
    if tracking is not None:
        if re.search(r"Leap status\s*:\s*Normal", tracking):
            return passed("chrony keeps the clock")
        return warned(
            "chrony runs, but has not found the time yet", "`chronyc sources -v` shows why"
        )
    if not SYSTEMD.is_dir():
        return skipped(
            "not known: neither chrony nor systemd runs here; a container has its host's clock"
        )
    synchronized = _said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if synchronized is None:
        return skipped("not known: timedatectl does not answer")
    if synchronized.strip() == "yes":
        return passed("systemd says that the clock is synchronized")
    return warned("systemd says that the clock is not synchronized", do)


def versions(case: Case) -> Answer:
    """Python and libraries are those that were tested together."""
    found = {name: _version(name) for name in SHOWN}
    told = ", ".join(f"{name} {number}" for name, number in found.items())
    said = f"tgtqr {__version__}, Python {platform.python_version()}, {told}"
    locked = _locked()
    other = [
        f"{name} {locked[name]}" for name in SHOWN if locked.get(name, found[name]) != found[name]
    ]
    if other:
        return warned(
            f"{said}; tested with {', '.join(other)}",
            "`make env` installs what requirements.txt names",
        )
    return passed(said)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not installed"


def _locked() -> dict[str, str]:
    """Package -> version of requirements.txt; {} where the project's files are not there."""
    try:
        text = (PROJECT / "requirements.txt").read_text("utf-8")
    except OSError:
        return {}
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, flags=re.MULTILINE))


def _said(*words: str) -> str | None:
    """What a command prints; None when it is not there, fails or takes too long."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
