from pathlib import Path

import pytest

from tests.recorded import folder


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder that holds `data/` and `fixtures/`, neither part of the project; skips without it."""
    parent = folder().parent
    if not all((parent / name).is_dir() for name in ("data", "fixtures")):
        pytest.skip("needs the recorded data (TGTQR_RECORDED_DATA)")
    return parent
