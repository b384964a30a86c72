"""A home with everything in order, to be broken in one place: for the tests of preflight.

The exchange is the simulator on this machine's own time, asked by signed requests; home, `.env`, ledger and
listening port are real, and the crontab is a program of the test's own.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from tests.stage import command
from tgtqr_lib import cli
from tgtqr_lib.home import Home
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import Simulator
from tgtqr_lib.preflight import CHECKS

HOOK = "aHookThatIsSecret"
KEY, SECRET = "kPreflightKey00001", "sPreflightSecret00000000000000000001"
ALERTS = f"TGTQR_ALERTS=json://127.0.0.1:9/{HOOK}"
ENOUGH = "1"  # MB: what this machine has is no subject of these tests


@dataclass
class Lab:
    """A home with everything in order, and an exchange that knows its key."""

    home: Home
    simulator: Simulator
    accounts: Accounts
    crontab: Path
    told: object
    account: str = "demo"
    scale: str = "10"
    url: str = ""
    patience_s: int = 5
    lines: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def key(self, **properties) -> None:
        """Give the account's key these properties in place of the old ones."""
        usual = {"balances": {"USDT": "100"}, "ips": ["127.0.0.1"], "environment": "demo"}
        self.accounts.open(KEY, SECRET, **(usual | properties))

    def env(self, secret: str = SECRET, mode: int = 0o600) -> None:
        """Write `.env` with key, secret and an address for messages."""
        path = self.home.root / ".env"
        lines = [f"BYBIT_API_KEY={KEY}", f"BYBIT_API_SECRET={secret}"]
        path.write_text("\n".join([*lines, ALERTS, ""]), "utf-8")
        path.chmod(mode)

    def settings(self) -> None:
        """Write settings.toml as the other fields say."""
        scale = [] if self.account == "paper" else [f"demo_limits_scale = {self.scale}"]
        own = [
            f'account = "{self.account}"',
            *scale,
            f"exchange_timeout_s = {self.patience_s}",
            *self.lines,
        ]
        url = ["[simulator]", f'url = "{self.url or self.simulator.url}"', ""]
        self.home.settings.write_text("\n".join([*own, *url]), "utf-8")

    def look(self) -> tuple[int, dict[str, dict[str, str]]]:
        """`tgtqr preflight --json`: its exit code, and what each check says."""
        code = cli.main(["preflight", "--json", *self._words()])
        return code, found_in(self._heard())

    def shown(self) -> str:
        """The table that a person sees."""
        cli.main(["preflight", *self._words()])
        return self._heard()

    def _heard(self) -> str:
        """What was printed since; nothing of the key in it."""
        heard = self.told.readouterr()
        for secret in (KEY, SECRET, HOOK):
            assert secret not in heard.out + heard.err
        return heard.out

    def by_command_line(self) -> tuple[int, dict[str, dict[str, str]]]:
        """The same as `look`, in a process of its own."""
        done = command(self.home, "preflight", "--json", *self._words(), PATH=os.environ["PATH"])
        assert done.stderr == ""
        assert KEY not in done.stdout and SECRET not in done.stdout and HOOK not in done.stdout
        return done.returncode, found_in(done.stdout)

    def _words(self) -> list[str]:
        return ["--home", str(self.home.root), "--memory-mb", ENOUGH, *self.words]


def found_in(text: str) -> dict[str, dict[str, str]]:
    """Each check's answer by its name; every one is there, in order, with exactly its four words."""
    checks = json.loads(text)["checks"]
    assert [one["name"] for one in checks] == list(CHECKS)
    assert all(set(one) == {"name", "state", "detail", "do"} for one in checks)
    assert all(one["do"] for one in checks if one["state"] in ("warn", "fail"))
    return {one["name"]: one for one in checks}


def in_state(found: dict[str, dict[str, str]], *states: str) -> set[str]:
    return {name for name, one in found.items() if one["state"] in states}


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
