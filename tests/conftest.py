"""One way to run: the same examples every time, no deadlines, nothing of the caller's own settings."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, configuration, settings

from tests import canary, canary_watch
from tests.account_stage import KEYS, exchange, machine
from tests.stage import NO_POST_MORTEM, decide_without_a_kernel, open_stage
from tgtqr_lib import tick
from tgtqr_lib.home import Home
from tgtqr_lib.kernel import kernels

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

# whatever runs has keys that must not be found afterwards, and not a caller's own
canary_watch.give_keys()
pytest_sessionfinish = canary_watch.pytest_sessionfinish

KEPT = {"TGTQR_RECORDED_DATA"}  # where recorded candles lie, if the machine has any


@pytest.fixture(autouse=True, scope="session")
def nothing_of_the_caller():
    """Fixtures that outlive a test see none of the caller's TGTQR_ variables either."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith("TGTQR_") and name not in KEPT:
                patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def a_home_of_its_own(tmp_path, monkeypatch):
    """Every test has an empty home and none of the caller's TGTQR_ variables."""
    for name in os.environ:
        if name.upper().startswith("TGTQR_") and name not in KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TGTQR_HOME", str(tmp_path / "home"))
    for name, value in NO_POST_MORTEM.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def home(tmp_path) -> Home:
    """An empty home with its folders."""
    return Home(tmp_path / "home").make()


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Kernels for the tests that execute notebooks, each started while the one before it works."""
    with kernels(tmp_path_factory.mktemp("kernels"), ahead=True) as found:
        yield found


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A home at work, whose ticks decide without a kernel."""
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    with open_stage(tmp_path / "home") as found:
        yield found


@pytest.fixture
def real_stage(tmp_path, pool):
    """A home at work, whose ticks execute the notebook in a kernel."""
    with open_stage(tmp_path / "home", pool) as found:
        yield found


@pytest.fixture
def account_home(tmp_path, monkeypatch):
    """Folder and keys for stages on an exchange account; at the end no file holds the keys."""
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    assert canary.main([str(tmp_path)]) == 0


@pytest.fixture
def account_stage(account_home):
    """A home at work whose orders go to an account at the simulator, at ten times the limits."""
    with (
        exchange() as (market, simulator),
        machine(account_home / "home", market, simulator) as found,
    ):
        yield found
