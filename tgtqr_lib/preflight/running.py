"""What runs by itself: the schedule, the page and who can reach it, and the messages to the owner."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

from tgtqr_lib import schedule
from tgtqr_lib.alerts.addresses import open_all
from tgtqr_lib.credentials import ALERTS
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.preflight.case import Case
from tgtqr_lib.preflight.finding import Answer, NotKnown, failed, passed, skipped, warned

TIMER, WATCH = "tgtqr-tick.timer", "tgtqr-watch.service"
COMMAND_S = 5
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTENS = "0A"


def scheduled(case: Case) -> Answer:
    """Ticks are started by cron or by systemd, and by one of them alone."""
    if case.embedded:
        return skipped("the embedded simulator has no time of its own; `tgtqr up` plays it")
    timer, cron, no_cron = _is_enabled(TIMER), [], ""
    try:
        cron = schedule.installed(case.home, schedule.read_crontab())
    except StoreError as error:
        no_cron = "; cron is not installed here"
        if not timer and "is not there" not in str(error):
            return failed(str(error), "`crontab -e` shows the user's crontab")
    if timer and cron:
        return warned(
            f"cron and {TIMER} both start ticks; a lock lets one through",
            "`tgtqr schedule remove` takes cron's lines out",
        )
    if timer and not _is_enabled(WATCH):
        return warned(
            f"{TIMER} is enabled, {WATCH} is not: without a beat a minute nothing is bought",
            f"`systemctl enable --now {WATCH}`",
        )
    if timer:
        return passed(f"{TIMER} and {WATCH} are enabled")
    if cron:
        return _cron(case, cron)
    return warned(
        f"nothing starts ticks by itself{no_cron}",
        "`tgtqr schedule install` for cron, schedules/deploy_aws.sh for systemd, or `tgtqr up`",
    )


def _cron(case: Case, lines: list[str]) -> Answer:
    try:
        same = lines == schedule.entries(case.home)
    except (DomainError, StoreError) as error:
        return warned(f"cron has the lines, but {error}", "`tgtqr schedule install` renews them")
    if not same:
        return warned(
            "cron's lines are those of another version", "`tgtqr schedule install` renews them"
        )
    return passed(f"cron has the {len(lines) - 2} lines of this home")


def _is_enabled(unit: str) -> bool:
    """Whether systemd, where it is, starts `unit` by itself."""
    try:
        words = ["systemctl", "is-enabled", unit]
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "enabled"


def dashboard(case: Case) -> Answer:
    """Only this machine reaches the page's port."""
    try:
        addresses = listening_on(case.port)
    except OSError as error:
        return skipped(f"not known: {error.filename} cannot be read on this system")
    if not addresses:
        return passed(f"nothing listens on port {case.port}")
    outside = [one for one in addresses if not ipaddress.ip_address(one).is_loopback]
    if not outside:
        return passed(f"port {case.port} listens on this machine alone")
    return warned(
        f"port {case.port} listens at {', '.join(outside)}, so other machines may reach it",
        "serve at 127.0.0.1, the default, and come by `ssh -L` or through a proxy with TLS",
    )


def listening_on(port: int) -> list[str]:
    """The addresses at which some process listens on `port`. Raises `OSError` without /proc."""
    # psutil would tell the same, but by a walk through every process, whose sockets root alone may see
    found = []
    for table in SOCKETS:
        if table is SOCKETS[1] and not table.exists():
            continue  # a kernel without IPv6
        for line in table.read_text("ascii").splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            digits, _, number = local.partition(":")
            if state == LISTENS and int(number, 16) == port:
                found.append(_address(digits))
    return found


def _address(digits: str) -> str:
    """The address that the kernel writes as words of 32 bits, each in the machine's own byte order."""
    words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def jupyter(case: Case) -> Answer:
    """No Jupyter server of this environment would run code for the page's visitors."""
    problem = case.doors()
    if problem is None:
        return passed("Voila's extension for Jupyter servers is disabled")
    what, _, do = problem.partition("; ")
    return failed(what, do or "disable it")


def alerts(case: Case) -> Answer:
    """Messages to the owner have somewhere to go, and every address is one."""
    try:
        found = open_all(case.home)
    except DomainError:
        raise NotKnown("not known; see env_file") from None
    if not found:
        return warned(
            "nobody is told when the kit stops or misses ticks",
            f"put {ALERTS}='ntfy://...' into .env, then `tgtqr alert test`",
        )
    for one in found:
        if one.problem:
            what, _, do = one.problem.partition("; ")
            return failed(what, do or "correct it, then `tgtqr alert test`")
    return passed(f"messages go to {', '.join(one.name for one in found)}")
