"""The demo: a day in a home of its own, begun afresh each time, and never over somebody's files."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.stage import decide_without_a_kernel
from tgtqr_lib import cli, demo, latch, ledger, settings, tick
from tgtqr_lib.archive.opened import find_sealed, open_archived
from tgtqr_lib.demo import MARKER, open_demo
from tgtqr_lib.domain import DomainError, StoreError
from tgtqr_lib.home import Home


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    monkeypatch.setattr(demo.Kernels, "prepare", lambda self: None)


def played(home: Home, ticks: int, **options) -> demo.Summary:
    with open_demo(home, **options) as show:
        for _ in show.ticks(ticks):
            pass
        return show.summary


@pytest.mark.slow
def test_the_demo_prints_what_the_design_promises_and_keeps_to_its_folder(tmp_path, capsys):
    assert cli.main(["demo", "--home", str(tmp_path / "h"), "--ticks", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    promised = {
        "home", "ticks", "notebooks", "decisions", "orders", "fills", "fees", "equity", "wall_s"
    }  # fmt: skip
    assert promised <= set(facts)
    home = Home(tmp_path / "h" / "outputs" / "demo")
    assert (facts["home"], facts["ticks"], len(facts["decisions"])) == (str(home.root), 2, 4)
    assert facts["notebooks"] == [
        str(home.ticks / "2025" / "06" / "01" / f"20250601T00{minute}Z.ipynb")
        for minute in ("00", "15")
    ]
    for path in facts["notebooks"]:
        assert (
            json.loads(Path(path).read_text("utf-8"))["metadata"]["tgtqr"]["outcome"]["state"]
            == "done"
        )
    keys = {"tick_id", "symbol", "signal", "close", "mean", "reason", "order"}
    assert all(keys <= set(row) for row in facts["decisions"])
    # everything but the demo's folder and its lock is as before
    assert sorted(p.name for p in (tmp_path / "h").iterdir()) == ["outputs"]
    assert sorted(p.name for p in (tmp_path / "h" / "outputs").iterdir()) == ["demo", "demo.lock"]
    # and one can go on from there
    capsys.readouterr()
    assert cli.main(["ledger", "verify", "--home", str(home.root)]) == 0
    capsys.readouterr()
    assert cli.main(["tick", "--home", str(home.root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tick_id"] == "20250601T0030Z"


def test_a_demo_begins_afresh_and_is_the_same_again(without_kernels, tmp_path):
    home = Home(tmp_path / "demo")
    first = played(home, 3).plain()
    (home.root / "outputs" / "leftover").write_text("x")
    second = played(home, 3).plain()
    assert not (home.root / "outputs" / "leftover").exists()
    del first["wall_s"], second["wall_s"]
    assert first == second


def test_seeds_make_different_markets(without_kernels, tmp_path):
    closes = []
    for seed in (1, 2):
        rows = played(Home(tmp_path / str(seed)), 1, seed=seed).plain()["decisions"]
        closes.append([row["close"] for row in rows])
    assert closes[0] != closes[1]


def test_every_minute_is_watched_and_every_quarter_ticks(without_kernels, tmp_path):
    home = Home(tmp_path / "demo")
    summary = played(home, 3)
    con = ledger.connect(home.ledger)
    minutes = [mark.minute_ms // 60_000 for mark in ledger.marks(con, "paper-1")]
    # of 00:00, 00:15 and 00:30 the tick is the event; a beat marks the minute before it
    assert minutes == sorted(set(minutes)) and len(minutes) == 1 + 14 + 14 + 14 - 1
    assert [result.state for result in summary.results] == ["done"] * 3
    assert not [row for row in ledger.of_kind(con, "tick") if row.body.get("state") == "missed"]
    con.close()


def test_the_money_of_the_summary_adds_up(without_kernels, tmp_path):
    summary = played(Home(tmp_path / "demo"), 8, seed=2)
    facts = [act for result in summary.results for act in result.plain()["acts"]]
    assert summary.orders == len(facts) and summary.fills == sum(
        a["result"] == "FILLED" for a in facts
    )
    fees = sum(int(float(a["fee"]) * 1e8 + 0.5) for a in facts if a["fee"])
    assert int(summary.fees * 10**8) == fees and summary.fills > 1


@pytest.mark.parametrize("there", ["data/trading_data.db", "notes.txt"])
def test_a_folder_that_is_not_a_demos_is_never_cleared(tmp_path, there):
    home = Home(tmp_path / "mine")
    (home.root / there).parent.mkdir(parents=True)
    (home.root / there).write_text("dear to me")
    with (
        pytest.raises(StoreError, match="it holds something that is not a demo's"),
        open_demo(home),
    ):
        pass
    assert (home.root / there).read_text() == "dear to me"


def test_an_empty_folder_is_fine(without_kernels, tmp_path):
    home = Home(tmp_path / "empty")
    home.root.mkdir()
    assert len(played(home, 1).results) == 1
    assert (home.root / MARKER).is_file() and latch.stopped_because(home) is None


def test_the_first_tick_of_a_day_is_its_midnight_with_history_before_it(without_kernels, tmp_path):
    summary = played(Home(tmp_path / "demo"), 1, first=datetime(2025, 7, 4, tzinfo=UTC))
    (result,) = summary.results
    assert result.tick_id == "20250704T0000Z" and result.decision.choices[0].signal.mean is not None


def test_a_demo_never_plays_at_a_real_exchange(tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_MARKET", "bybit")
    with (
        pytest.raises(DomainError, match="the demo plays its own simulator"),
        open_demo(Home(tmp_path / "d")),
    ):
        pass


def test_two_demos_at_once_are_refused(tmp_path, capsys):
    from tgtqr_lib.desk import one_at_a_time

    outputs = tmp_path / "outputs"
    outputs.mkdir()
    with one_at_a_time(outputs / "demo.lock", "demo"):
        assert cli.main(["demo", "--home", str(tmp_path), "--ticks", "1"]) == 75
    assert "another demo is running" in capsys.readouterr().err


def test_whoever_goes_on_without_the_environment_goes_on_with_its_strategy(
    without_kernels, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("TGTQR_STRATEGY", "funding_carry_paper")
    assert cli.main(["demo", "--home", str(tmp_path), "--ticks", "1"]) == 0
    home = Home(tmp_path / "outputs" / "demo")
    assert capsys.readouterr().out.splitlines()[-1] == f"  TGTQR_HOME={home.root} tgtqr tick"

    monkeypatch.delenv("TGTQR_STRATEGY")
    assert cli.main(["tick", "--home", str(home.root), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["tick_id"] == "20250601T0015Z"
    sealed = open_archived(find_sealed(home, facts["tick_id"]))
    assert sealed.inputs().plan.strategy == "funding_carry_paper"


def test_the_settings_of_the_environment_stay_with_the_demo(without_kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_PARAMETERS", '{"window": 90, "band_bps": 5}')
    monkeypatch.setenv("TGTQR_SYMBOLS", '["ETHUSDT"]')
    monkeypatch.setenv("TGTQR_LIMITS__DAILY_LOSS_USDT", "1.50")
    monkeypatch.setenv("TGTQR_EXCHANGE_HOST", 'https://a "quoted" one')
    monkeypatch.setenv("TGTQR_SIMULATOR__SPREAD_BPS", "3")
    home = Home(tmp_path / "demo")
    played(home, 1, seed=7)
    during = settings.load(home)
    for name in ("PARAMETERS", "SYMBOLS", "LIMITS__DAILY_LOSS_USDT", "EXCHANGE_HOST"):
        monkeypatch.delenv(f"TGTQR_{name}")
    monkeypatch.delenv("TGTQR_SIMULATOR__SPREAD_BPS")

    after = settings.load(home)

    assert after == during
    assert after.parameters == {"window": 90, "band_bps": 5} and after.symbols == ("ETHUSDT",)
    assert after.simulator.seed == 7 and after.simulator.spread_bps == 3
    assert str(after.limits.daily_loss_usdt) == "1.50"


def test_a_secret_of_the_environment_is_not_kept(without_kernels, tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_PASSWORD_HASH", "a-secret-hash")
    monkeypatch.setenv("BYBIT_API_SECRET", "another-secret")
    home = Home(tmp_path / "demo")
    played(home, 1)
    assert "secret" not in home.settings.read_text("utf-8").lower()
