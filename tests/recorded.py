"""Recorded market data, which is not part of the project: tests that need it are skipped without it."""

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).parents[2] / "shared" / "data"


def folder() -> Path:
    """Where recorded files would lie."""
    return Path(os.environ.get("TGTQR_RECORDED_DATA", BESIDE))


def recorded(name: str) -> Path:
    """The recorded file `name`; skips the test when it is not on this machine.

    The folder is TGTQR_RECORDED_DATA, or `shared/data` beside the project.
    """
    path = folder() / name
    if not path.is_file():
        pytest.skip(f"needs the recorded data: {name} in TGTQR_RECORDED_DATA")
    return path
