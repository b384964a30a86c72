"""A home with everything in order, and a crontab of its own."""

import os
import stat
from pathlib import Path

import pytest

from tests.preflight.lab import Lab, a_free_port
from tgtqr_lib import credentials, ledger, schedule
from tgtqr_lib.market.simulation.accounts import Accounts
from tgtqr_lib.market.simulator import running
from tgtqr_lib.market.simulator_clock import SimulatorClock
from tgtqr_lib.market.synthetic import SyntheticSource


@pytest.fixture
def crontab(tmp_path, monkeypatch) -> Path:
    """A `crontab` that keeps its table in a file, and no systemd: this machine's own are never looked at."""
    table, programs = tmp_path / "table", tmp_path / "bin"
    programs.mkdir()
    listed = f'[ -f "{table}" ] && exec cat "{table}"; echo "no crontab for you" >&2; exit 1'
    for name, text in (("crontab", listed), ("systemctl", "exit 1")):
        program = programs / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return table


@pytest.fixture
def lab(home, crontab, capsys, monkeypatch):
    """Everything in order; the keys are in `.env` alone."""
    for name in (credentials.KEY, credentials.SECRET):
        monkeypatch.delenv(name, raising=False)
    accounts = Accounts()
    with running(SyntheticSource(7), SimulatorClock.host(), accounts=accounts) as simulator:
        found = Lab(home, simulator, accounts, crontab, capsys)
        found.words += ["--port", str(a_free_port())]
        found.key()
        found.env()
        found.settings()
        con = ledger.connect(home.ledger)
        with ledger.writing(con):
            ledger.append(con, ledger.Event("note", "first", {"text": "a test"}))
        con.close()
        crontab.write_text(schedule.with_block(home, ""))
        yield found
