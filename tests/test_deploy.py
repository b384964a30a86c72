"""The deployment's files: what can be said of them without installing. tests/deploy_drill.sh installs them."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tgtqr_lib import cli, schedule
from tgtqr_lib.home import PROJECT, Home

SCHEDULES = PROJECT / "schedules"
DEPLOY = SCHEDULES / "deploy_aws.sh"
SYSTEMD = SCHEDULES / "systemd"
SERVICES = sorted(path.name for path in SYSTEMD.glob("*.service"))
TIMERS = sorted(path.name for path in SYSTEMD.glob("*.timer"))
SCRIPTS = [DEPLOY, SCHEDULES / "etc" / "tgtqr.sh", PROJECT / "tests" / "deploy_drill.sh"]
PROGRAM = "/opt/tgtqr/current/.venv/bin/tgtqr"

systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"
)


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def a_root(folder: Path, os_release: str = "ID=debian\n") -> Path:
    """The root directory of a system that has nothing but its name."""
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "os-release").write_text(os_release)
    return folder


def everything(folder: Path) -> list[tuple[str, float, int]]:
    return [(str(p), p.lstat().st_mtime, p.lstat().st_mode) for p in sorted(folder.rglob("*"))]


# ---------------------------------------------------------------------- the script


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    shell = "sh" if script.read_text().startswith("#!/bin/sh") else "bash"
    assert run(shell, "-n", script).stderr == ""
    assert os.access(script, os.X_OK)
    if shutil.which("shellcheck"):
        assert run("shellcheck", script).stdout == ""


@pytest.mark.parametrize(
    "os_release, packages",
    [
        ("ID=debian\n", "python3 python3-venv make chrony logrotate systemd dbus util-linux"),
        ("ID=ubuntu\nID_LIKE=debian\n", "python3 python3-venv make chrony logrotate systemd dbus"),
        ('ID="amzn"\nID_LIKE="fedora"\n', "python3.11 make chrony logrotate systemd dbus"),
    ],
)
def test_a_dry_run_tells_every_change_and_makes_none(tmp_path, os_release, packages):
    root = a_root(tmp_path / "root", os_release)
    before = everything(root)

    done = run(DEPLOY, "install", "--dry-run", "--root", root)

    assert done.returncode == 0, done.stderr
    assert f"would: install the packages {packages}" in done.stdout
    for told in (
        "make the user tgtqr (trades), without a shell",
        "make the user tgtqr-page (serves the page), without a shell",
        "make folder /var/lib/tgtqr (0750, tgtqr:tgtqr)",
        "build its Python environment from the hashed requirements.txt",
        "enable tgtqr-tick.timer",
        *(f"write /etc/systemd/system/{name}" for name in SERVICES + TIMERS),
    ):
        assert f"would: {told}" in done.stdout
    # the link is switched when the release is built, so that a failure leaves the former one at work
    assert done.stdout.index("build its Python") < done.stdout.index("would: use release 0.1.0-")
    changes = done.stdout.count("would: ")
    assert done.stdout.endswith(f"{changes} changes; nothing was changed\n")
    assert everything(root) == before


def test_other_folders_are_taken_and_another_system_is_refused(tmp_path):
    root = a_root(tmp_path / "root")
    elsewhere = ["--prefix", "/srv/kit", "--home", "/srv/data"]
    done = run(DEPLOY, "install", "--dry-run", "--root", root, *elsewhere)
    assert "would: copy the code to /srv/kit/releases/0.1.0-" in done.stdout
    assert "would: make folder /srv/data/data/control (2770, tgtqr:tgtqr)" in done.stdout

    done = run(DEPLOY, "install", "--dry-run", "--root", a_root(tmp_path / "alpine", "ID=alpine\n"))
    assert done.returncode == 1
    assert "neither Debian, Ubuntu nor Amazon Linux (os-release says 'alpine" in done.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        ("", "usage: deploy_aws.sh COMMAND"),
        ("install upgrade", "two commands, install and upgrade; expected one"),
        ("--colour", "--colour is not known"),
        ("install --prefix opt", "--prefix opt: expected an absolute path of plain letters"),
        ("install --home /srv/../etc", "--home /srv/../etc: expected an absolute path"),
        ("install --prefix /", "--prefix /: expected an absolute path"),
        ("install --home /opt/tgtqr/home", "--home /opt/tgtqr/home lies in --prefix /opt/tgtqr"),
        ("install --domain page_example", "--domain page_example: expected a name"),
        ("install --region-check maybe", "--region-check maybe: expected refuse, warn or off"),
        ("install --keep 0", "--keep 0: expected 1 to 99"),
        ("install --wheels /nowhere", "--wheels /nowhere: there is no such folder"),
        ("install --root /nowhere", "--root /nowhere: there is no such folder"),
        ("install --root", "--root needs a value"),
        ("upgrade --dry-run --root ROOT", "there is nothing at /opt/tgtqr to upgrade"),
        ("rollback --dry-run --root ROOT", "there is no release before"),
    ],
)
def test_wrong_usage_is_refused_with_a_sentence(tmp_path, words, told):
    root = a_root(tmp_path / "root")
    done = run(DEPLOY, *words.replace("ROOT", str(root)).split())
    assert done.returncode == 2
    assert told in done.stderr


def test_a_page_without_a_password_gets_no_domain(tmp_path):
    root = a_root(tmp_path / "root")
    words = [DEPLOY, "install", "--dry-run", "--root", root, "--domain", "page.example.org"]
    (root / "etc" / "tgtqr").mkdir()
    env = root / "etc" / "tgtqr" / "page.env"

    env.write_text("TGTQR_PASSWORD_HASH=\n")
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected its password in /etc/tgtqr/page.env first" in done.stderr

    env.write_text("TGTQR_PASSWORD_HASH='argon2:$argon2id$v=19$...'\n")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert "would: write /etc/caddy/tgtqr.caddy" in done.stdout
    assert "would: add 'import /etc/caddy/tgtqr.caddy' to /etc/caddy/Caddyfile" in done.stdout


def test_what_a_command_needs_to_know_later_is_remembered(tmp_path):
    root = a_root(tmp_path / "root")
    (root / "etc" / "tgtqr").mkdir()
    (root / "etc" / "tgtqr" / "deploy.conf").write_text(
        "prefix=/srv/kit\nhome=/srv/data\ndomain=\n"
    )
    (root / "srv" / "kit").mkdir(parents=True)

    done = run(DEPLOY, "uninstall", "--dry-run", "--root", root)

    assert "would: remove /srv/kit\n" in done.stdout
    assert "would: remove /etc/tgtqr\n" in done.stdout
    assert "/opt/tgtqr" not in done.stdout
    assert "remove /srv/data" not in done.stdout


# ---------------------------------------------------------------------- the region


@pytest.fixture
def cloud():
    """EC2's metadata service and the exchange's public endpoint, on one server of this machine."""
    state = {"region": "eu-central-1", "exchange": 200}

    class Answers(BaseHTTPRequestHandler):
        def do_PUT(self):
            known = self.path == "/latest/api/token"
            known = known and self.headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"
            self.say(200 if known and state["region"] else 404, "a-token")

        def do_GET(self):
            if self.path == "/v5/market/time":
                self.say(state["exchange"], "{}")
            elif self.headers["X-aws-ec2-metadata-token"] != "a-token":  # as IMDSv2 alone does
                self.say(401, "")
            elif self.path == "/latest/meta-data/placement/region":
                self.say(200, state["region"])
            else:
                self.say(404, "")

        def say(self, status, text):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state["url"] = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "region, exchange, how, code, told",
    [
        ("eu-central-1", 200, "refuse", 0, "region: EC2, eu-central-1\nregion: Bybit answers"),
        ("us-east-1", 200, "refuse", 4, "the region us-east-1 is in the United States"),
        (
            "cn-north-1",
            200,
            "refuse",
            4,
            "the region cn-north-1 is in the United States or mainland China",
        ),
        ("us-gov-west-1", 403, "refuse", 4, "the region us-gov-west-1 is in the United States"),
        ("us-east-1", 200, "warn", 0, "WARNING: the region us-east-1 is in the United States"),
        ("ap-northeast-1", 403, "refuse", 4, "Bybit refuses this address (HTTP 403)"),
        ("ap-northeast-1", 503, "refuse", 0, "region: Bybit answered HTTP 503"),
        (None, 200, "refuse", 0, "region: no EC2 metadata"),
    ],
)
def test_a_region_that_bybit_refuses_is_refused(cloud, region, exchange, how, code, told):
    cloud |= {"region": region, "exchange": exchange}
    done = run(
        DEPLOY, "region", "--region-check", how,
        TGTQR_METADATA_URL=cloud["url"], TGTQR_EXCHANGE_URL=cloud["url"],
    )  # fmt: skip
    assert (done.returncode, told in done.stdout + done.stderr) == (code, True), done


# ---------------------------------------------------------------------- units


def verified(folder: Path) -> str:
    """What systemd-analyze says of the units in `folder`, with a program that is there."""
    for path in [*folder.glob("*.service"), *folder.glob("*.timer")]:
        path.write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    units = sorted([*folder.glob("*.service"), *folder.glob("*.timer")])
    done = run("systemd-analyze", "verify", *units)
    return done.stdout + done.stderr


@systemd
def test_systemd_finds_nothing_to_say_of_the_units(tmp_path):
    shutil.copytree(SYSTEMD, tmp_path / "units")
    assert verified(tmp_path / "units") == ""
    # its exit code does not tell of an unknown key, its words do
    wrong = tmp_path / "units" / "tgtqr-tick.service"
    wrong.write_text(wrong.read_text().replace("MemoryMax", "MemoryMost"))
    assert "MemoryMost" in verified(tmp_path / "units")


@systemd
@pytest.mark.parametrize("name", SERVICES)
def test_services_are_confined(tmp_path, name):
    shutil.copytree(SYSTEMD, tmp_path / "units")
    done = run("systemd-analyze", "security", "--offline=true", tmp_path / "units" / name)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure, done.stderr
    assert float(exposure[1]) <= 3.0


@systemd
@pytest.mark.parametrize(
    "name, elapses",
    [
        ("tgtqr-tick.timer", ["2026-11-22 23:45:00", "2026-11-23 00:00:00", "2026-11-23 00:15:00"]),
        ("tgtqr-report.timer", ["2026-11-23 00:05:00", "2026-11-24 00:05:00"]),
        ("tgtqr-backup.timer", ["2026-11-23 00:35:00", "2026-11-24 00:35:00"]),
    ],
)
def test_timers_go_by_utc(name, elapses):
    when = re.search("^OnCalendar=(.*)$", (SYSTEMD / name).read_text(), re.MULTILINE)[1]
    done = run(
        "systemd-analyze", "calendar", f"--iterations={len(elapses)}",
        "--base-time=2026-11-22 23:31:00 UTC", when, TZ="Asia/Tokyo",
    )  # fmt: skip
    for moment in elapses:
        assert f"{moment} UTC" in done.stdout


def test_a_tick_that_was_slept_through_is_not_made_up_for():
    assert "\nPersistent=false\n" in (SYSTEMD / "tgtqr-tick.timer").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_services_run_as_their_own_users_and_the_page_gets_no_keys(name):
    lines = (SYSTEMD / name).read_text().splitlines()
    page = name == "tgtqr-page.service"
    assert ("User=tgtqr-page" if page else "User=tgtqr") in lines
    files = [line for line in lines if line.startswith("EnvironmentFile=")]
    assert files in ([["EnvironmentFile=-/etc/tgtqr/page.env"]] if page else
                     [["EnvironmentFile=-/etc/tgtqr/tgtqr.env"], []])  # fmt: skip
    assert [line.split()[0] for line in lines if line.startswith("ExecStart=")] == [
        f"ExecStart={PROGRAM}"
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_the_words_of_the_units_are_commands_of_the_kit(name, monkeypatch, capsys):
    words = re.search("^ExecStart=(.*)$", (SYSTEMD / name).read_text(), re.MULTILINE)[1].split()[1:]

    def reached(options):  # the parser took the words; nothing is run
        raise SystemExit(0)

    module = importlib.import_module(f"tgtqr_lib.commands.{words[0]}")
    monkeypatch.setattr(module, "run", reached)
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 0, capsys.readouterr().err


# ---------------------------------------------------------------------- cron, and the rest


def test_the_crontab_is_what_tgtqr_schedule_would_install():
    here = str(Path(sys.executable).with_name("tgtqr"))
    lines = [
        line.replace(here, PROGRAM)
        .replace(shutil.which("flock"), "/usr/bin/flock")
        .replace(shutil.which("env"), "/usr/bin/env", 1)
        for line in schedule.entries(Home(Path("/var/lib/tgtqr")))
    ]
    crontab = (SCHEDULES / "crontab").read_text()
    assert schedule.installed(Home(Path("/var/lib/tgtqr")), crontab) == lines
    # nothing else in it runs
    rest = [line for line in crontab.splitlines() if line and line not in lines]
    assert all(line.startswith(("#", "PATH=", "MAILTO=")) for line in rest)


def test_the_kits_own_log_is_not_rotated_twice():
    text = (SCHEDULES / "etc" / "logrotate").read_text()
    names = re.findall(r"/outputs/logs/(\S+)", "\n".join(
        line for line in text.splitlines() if not line.startswith("#")
    ))  # fmt: skip
    assert sorted(names) == ["cron.log", "post_mortem.log"]


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not here")
def test_caddy_takes_its_file():
    example = SCHEDULES / "etc" / "caddy.example"
    done = run("caddy", "validate", "--adapter", "caddyfile", "--config", example)
    assert done.returncode == 0, done.stderr


def test_the_wrapper_is_for_root_and_the_kits_user():
    words = [SCHEDULES / "etc" / "tgtqr.sh", "status"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not here, and root may use the wrapper")
        words = ["setpriv", "--reuid=65534", "--clear-groups", "sh", "-s", "status"]
        done = subprocess.run(
            words, input=(SCHEDULES / "etc" / "tgtqr.sh").read_text(), capture_output=True, text=True
        )  # fmt: skip
    else:
        done = run(*words)
    assert done.returncode == 2
    assert "expected root or the user tgtqr: sudo tgtqr status" in done.stderr


def test_the_guide_tells_of_every_unit_and_command():
    guide = (PROJECT / "docs" / "deploy.md").read_text()
    for name in (*SERVICES, *TIMERS):
        assert f"`{name}`" in guide, name
    for command in ("install", "upgrade", "rollback", "status", "region", "uninstall"):
        assert f"deploy_aws.sh {command}" in guide, command
