import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded_data() -> Path:
    """The folder of recorded market data, which is not part of the project."""
    beside = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("TGTQR_RECORDED_DATA", beside))
    if not folder.is_dir():
        pytest.skip("needs the recorded data (TGTQR_RECORDED_DATA)")
    return folder
