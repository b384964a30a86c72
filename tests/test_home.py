"""Where things lie: `TGTQR_HOME` moves all that the kit writes."""

from pathlib import Path

import tgtqr_lib
from tgtqr_lib.home import Home


def test_the_home_is_the_path_given_else_the_variable_else_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_HOME", str(tmp_path / "variable"))
    assert Home.find(tmp_path / "given").root == tmp_path / "given"
    assert Home.find().root == tmp_path / "variable"
    monkeypatch.setenv("TGTQR_HOME", "")
    assert Home.find().root == Path(tgtqr_lib.__file__).parents[1]


def test_a_home_is_absolute_so_that_it_stays_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Home.find("somewhere")
    monkeypatch.chdir("/")
    assert found.root == tmp_path / "somewhere"


def test_everything_lies_where_the_design_says(tmp_path):
    home = Home(tmp_path)
    inside = {
        home.ledger: "data/trading_data.db",
        home.candles: "data/candles",
        home.control: "data/control",
        home.ticks: "outputs/ticks",
        home.log: "outputs/logs/trading_system.log",
        home.settings: "settings.toml",
    }
    assert all(path == tmp_path / where for path, where in inside.items())


def test_making_a_home_twice_is_making_it_once(tmp_path):
    home = Home(tmp_path / "new").make().make()
    assert home.control.is_dir() and home.candles.is_dir() and home.ticks.is_dir()
    assert home.log.parent.is_dir() and not home.ledger.exists()
