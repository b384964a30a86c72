"""The canary over a whole run of the suite: every test and every process it starts has the pair of `canary.py` for its
keys, and afterwards no file that any of them left holds it."""

from __future__ import annotations

import os
from pathlib import Path

from tests import canary

LEFT_BEHIND = 5  # the exit status of a run that leaves the canary somewhere


def give_keys() -> None:
    """Put the pair into the environment, where a user's keys would be."""
    os.environ["BYBIT_API_KEY"] = canary.CANARY_KEY
    os.environ["BYBIT_API_SECRET"] = canary.CANARY_SECRET


def pytest_sessionfinish(session, exitstatus) -> None:
    """Look through all that the run left; by the process that collects the results, when all others are done."""
    if hasattr(session.config, "workerinput"):
        return
    folder = Path(session.config._tmp_path_factory.getbasetemp())
    if canary.main([str(folder)]) != 0 and session.exitstatus == 0:
        session.exitstatus = LEFT_BEHIND
