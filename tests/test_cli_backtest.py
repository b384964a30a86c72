"""`tgtqr backtest` and `tgtqr sweep`: the same figures as the library's, and a sentence for bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.backtest import reference
from tests.backtest.agree import reference_terms
from tests.backtest.series import a_plan, by_hand, random_walk
from tgtqr_lib import cli
from tgtqr_lib.backtest import run
from tgtqr_lib.limits import HARD
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates

TGTQR = Path(sys.executable).with_name("tgtqr")
SHORT = 1500  # minutes


@pytest.fixture
def walk():
    return random_walk(SHORT, seed=5)


@pytest.fixture
def file(tmp_path, walk):
    """The walk as a file of one-minute candles."""
    frame = pd.DataFrame({"ts": pd.to_datetime(walk.open_ms, unit="ms", utc=True)})
    for name in ("open", "high", "low", "close"):
        frame[name] = getattr(walk, name) / 10.0**walk.decimals
    frame["volume"], frame["symbol"] = 1.0, walk.symbol
    con = duckdb.connect()
    con.register("candles", frame)
    con.execute(f"COPY candles TO '{tmp_path}/walk.parquet' (FORMAT parquet)")
    return tmp_path / "walk.parquet"


def said(capsys, *words) -> dict:
    assert cli.main([str(word) for word in words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_trades_are_those_of_an_independent_loop(capsys, file, walk):
    facts = said(capsys, "backtest", "--candles", file, "window=30", "band_bps=2", "--json")
    plan = a_plan(window=30, band_bps=2)
    expected = reference.backtest(*reference_terms({walk.symbol: walk}, plan, HARD))
    found = [(t["entry_price"], t["exit_price"], t["fees"], t["pnl"]) for t in facts["trades"]]
    told = [
        tuple(float(figure) for figure in (trade[4], trade[5], trade[6], trade[7]))
        for trade in expected.trades
    ]
    assert len(found) == len(told) > 5
    np.testing.assert_array_equal(np.array(found, dtype=float), np.array(told))
    keys = "symbol strategy params bars gaps trades metrics equity_end wall_s"
    assert set(keys.split()) <= set(facts)
    assert all({"value", "unit"} <= set(one) for one in facts["metrics"].values())


def test_limits_off_is_said_on_every_result(capsys, file):
    facts = said(capsys, "backtest", "--candles", file, "--limits", "off", "--json")
    assert any("limits off" in label for label in facts["labels"])
    assert cli.main(["backtest", "--candles", str(file), "--limits", "off"]) == 0
    assert "limits off" in capsys.readouterr().out


def test_trades_and_page_are_written(capsys, file, tmp_path):
    page, trades = tmp_path / "run.html", tmp_path / "trades.parquet"
    facts = said(
        capsys, "backtest", "--candles", file, "--html", page, "--trades", trades, "--json"
    )
    assert len(duckdb.read_parquet(str(trades)).fetchall()) == len(facts["trades"])
    text = page.read_text("utf-8")
    assert "ma_trend" in text and not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def test_a_sweep_holds_what_single_runs_say(capsys, file, tmp_path):
    out = tmp_path / "sweep.parquet"
    words = ("sweep", "--candles", file, "window=20:40:10", "band_bps=0,3", "--out", out, "--json")
    facts = said(capsys, *words)
    assert (facts["combinations"], facts["file"]) == (6, str(out))
    rows = duckdb.read_parquet(str(out)).fetchdf()
    assert list(zip(rows["window"], rows["band_bps"], strict=True)) == [
        (20, 0), (20, 3), (30, 0), (30, 3), (40, 0), (40, 3),
    ]  # fmt: skip
    one = said(capsys, "backtest", "--candles", file, "window=30", "band_bps=3", "--json")
    assert f"{rows['pnl'][3]:.8f}" == f"{float(one['pnl']):.8f}"
    assert rows["trades"][3] == len(one["trades"])
    best = max(rows["pnl"])
    assert float(facts["best"][0]["pnl"]) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (["backtest", "windoo=3"], 2, "unknown parameter 'windoo'"),
        (["backtest", "window=9999"], 2, "expected 2 to 1440"),
        (["backtest", "window=x"], 2, "window=x: expected a whole number"),
        (["backtest", "window"], 2, "expected NAME=VALUE"),
        (["backtest", "--strategy", "nope"], 2, "expected one of ['buy_and_hold', 'flat', "),
        (
            ["backtest", "--symbol", "ETHUSDT"],
            4,
            "ETHUSDT: not in walk.parquet, expected one of BTCUSDT",
        ),
        (["backtest", "--from", "2030-01-01"], 4, "from 2030-01-01"),
        (["backtest", "--from", "2026-02-01", "--to", "2026-01-01"], 2, "is not before"),
        (["backtest", "--spread-bps", "wide"], 2, "--spread-bps wide"),
        (["backtest", "--spread-bps", "nan"], 2, "--spread-bps nan: expected a number"),
        (["backtest", "--spread-bps", "0.33333"], 2, "expected at most 4 decimals"),
        (
            ["backtest", "--to", "2025-11-22T01:00", "window=61"],
            4,
            "60 minutes are there, and a decision needs 61",
        ),
        (["sweep", "--to", "2025-11-22T01:00", "window=61:90"], 4, "a decision needs 61"),
        (["sweep", "window=60", "--out", "/"], 2, "is no ordinary file"),
        (["backtest", "--trades", "/dev/null"], 2, "/dev/null: is no ordinary file"),
        (["sweep", "window=30:20"], 2, "holds no number"),
        (["sweep", "window=1:5"], 2, "expected 2 to 1440"),
        (["sweep", "window=2:1440", "band_bps=0:1000", "window=3"], 2, "stands twice"),
        (["sweep", "window=2:1440:1:1"], 2, "FIRST:LAST"),
    ],
)
def test_bad_input_gets_a_sentence(capsys, file, words, code, sentence):
    given = [words[0], "--candles", str(file), *words[1:]]
    assert cli.main(given) == code
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.out == ""


def test_a_file_that_is_not_there_and_an_empty_lake(capsys, tmp_path):
    assert cli.main(["backtest", "--candles", str(tmp_path / "no.parquet")]) == 4
    assert "there is no such file" in capsys.readouterr().err
    assert cli.main(["backtest", "--home", str(tmp_path / "new")]) == 4
    assert "data fetch" in capsys.readouterr().err


def test_whoever_waits_for_the_compiler_is_told_so(file, tmp_path):
    command = [TGTQR, "backtest", "--candles", file, "--json"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        for _ in range(2)
    )
    assert first.returncode == second.returncode == 0
    assert first.stderr.count("compiling, once") == 1
    told = [json.loads(one.stdout) | {"wall_s": 0} for one in (first, second)]
    assert told[0] == told[1]


def test_a_perpetual_of_the_lake_pays_its_funding_and_says_when_there_is_none(capsys, tmp_path):
    day = 86_400_000
    seen = random_walk(3 * 1440, seed=5, market="linear")
    Lake(tmp_path / "data" / "candles").write(seen, "an exchange")
    words = ("backtest", "--home", tmp_path, "--market", "linear", "--json")
    assert cli.main([str(word) for word in words]) == 0
    shown = capsys.readouterr()
    without = json.loads(shown.out)
    assert "no funding of BTCUSDT" in shown.err and without["funding"] == "0.00000000"

    first = int(seen.open_ms[0]) // day * day
    at = first + np.arange(1, 9) * day // 3
    rates = FundingRates.of("BTCUSDT", at, [50_000_000] * 8, 480, "an exchange")
    FundingLake(tmp_path / "data" / "funding").write(rates)
    paid = said(capsys, *words)
    expected = run(seen, a_plan(), HARD, funding={"BTCUSDT": rates})
    assert paid["funding"] == f"{expected.funding:f}" != without["funding"]
    swept = said(capsys, "sweep", *words[1:], "window=60")
    assert swept["best"][0]["funding"] == paid["funding"]


def test_what_is_missing_is_told_with_the_longest_gap(capsys, tmp_path, walk):
    cut = by_hand(walk.open, walk.close, missing=[*range(300, 305), *range(700, 800)])
    Lake(tmp_path / "data" / "candles").write(cut, "an exchange")
    for words in (["backtest"], ["sweep", "window=30"]):
        assert cli.main([words[0], "--home", str(tmp_path), *words[1:]]) == 0
        assert "2 gaps of 105 minutes, the longest of 100 from" in capsys.readouterr().out


def test_a_file_of_perpetuals_taken_as_spot_is_told(capsys, file, tmp_path):
    other = tmp_path / "other.parquet"
    duckdb.execute(
        f"COPY (SELECT *, 'bybit linear; somewhere' AS source FROM '{file}') TO '{other}'"
    )
    for market, told in (("spot", True), ("linear", False)):
        assert cli.main(["backtest", "--candles", str(other), "--market", market]) == 0
        assert ("other.parquet calls its candles linear" in capsys.readouterr().err) == told
