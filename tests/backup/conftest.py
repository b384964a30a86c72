"""A home with three sealed ticks, and helpers to lose and to damage things."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.stage import decide_without_a_kernel, open_stage, rise
from tgtqr_lib import audit, ledger, tick
from tgtqr_lib.archive import witness
from tgtqr_lib.backup import folders, making
from tgtqr_lib.home import Home

ENTRY, QUIET, EXIT = "20261122T1015Z", "20261122T1030Z", "20261122T1045Z"
NOW = datetime(2026, 11, 23, 17, 5, 1, tzinfo=UTC)
NAME = "20261123T170501Z"  # of a backup made at NOW
SECRET = "canary-3f9a77c1d0"  # made up, to be found nowhere


@pytest.fixture(scope="session")
def three_ticks(tmp_path_factory) -> Path:
    """The home that the tests of this folder copy, with a file of each kind that a home can have."""
    root = tmp_path_factory.mktemp("backup") / "home"
    with pytest.MonkeyPatch.context() as patch, open_stage(root) as stage:
        patch.setattr(tick, "run_notebook", decide_without_a_kernel)
        rise(stage)
        stage.arm()
        stage.tick("10:15")
        stage.beat("10:29")
        stage.tick("10:30")
        rise(stage, since="10:40", price="99000.0")
        stage.beat("10:44")
        stage.tick("10:45")
    home = Home(root)
    (home.data / "alerts.json").write_text('{"sent": []}\n', "utf-8")
    (home.data / "simulator.json").write_text('{"time": "2026-11-22T10:45:03Z"}\n', "utf-8")
    (home.data / "simulator_account.jsonl").write_text('{"what": "accounts"}\n', "utf-8")
    (home.funding / "linear").mkdir(parents=True)
    (home.funding / "linear" / "BTCUSDT.parquet").write_bytes(b"PAR1 rates PAR1")
    (home.root / ".env").write_text(f"BYBIT_API_KEY=key\nBYBIT_API_SECRET={SECRET}\n", "utf-8")
    (home.root / ".env").chmod(0o600)
    return root


@pytest.fixture
def home(three_ticks, tmp_path) -> Home:
    """A copy of the home with three ticks; its exchange is gone."""
    root = tmp_path / "home"
    shutil.copytree(three_ticks, root)
    return Home(root)


def notebook_of(home: Home, name: str) -> Path:
    return home.ticks / name[:4] / name[4:6] / name[6:8] / f"{name}.ipynb"


def back_up(home: Home, now: datetime = NOW, to: Path | None = None) -> making.Made:
    with folders.folder_of(home, to) as folder:
        return making.make(home, folder, now)


def lose(home: Home) -> None:
    """Lose `data/` and `outputs/ticks/` entirely."""
    shutil.rmtree(home.data)
    shutil.rmtree(home.ticks)


def verify(home: Home) -> list[str]:
    """What `tgtqr ledger verify --archive` finds wrong."""
    con = ledger.connect(home.ledger, create=False)
    try:
        return [*audit.verify(con, home)[1], *witness.check(con, home)[1]]
    finally:
        con.close()


def rows(home: Home) -> list[ledger.Row]:
    with ledger.reading(home.ledger) as con:
        return ledger.between(con, 1, 10**9)


def flip(path: Path, place: int | None = None) -> None:
    """Change one bit of the file at `path`, in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
