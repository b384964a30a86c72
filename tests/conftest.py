"""One way to run: the same examples every time, no deadlines, nothing of the caller's own settings."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, configuration, settings

settings.register_profile(
    "tgtqr",
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tgtqr")
# a test run leaves nothing behind in the project
configuration.set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "tgtqr-hypothesis")

KEPT = {"TGTQR_RECORDED_DATA"}  # where recorded candles lie, if the machine has any


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path, monkeypatch):
    """Every test has an empty home and none of the caller's TGTQR_ variables."""
    for name in os.environ:
        if name.upper().startswith("TGTQR_") and name not in KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TGTQR_HOME", str(tmp_path / "home"))
