"""`tgtqr check`: exit 0 for an honest strategy, 5 for one that is not, a sentence for bad input."""

import json
import re

import duckdb
import pandas as pd
import pytest

from tests.backtest.series import random_walk
from tests.recorded import recorded
from tgtqr_lib import cli
from tgtqr_lib.strategies import STRATEGIES

OWN = '''
from fractions import Fraction

import numpy as np

from tgtqr_lib.strategies import Parameter, Strategy


def targets(history, *, minutes=30):
    """Long when the close is above the one `minutes` before, flat below."""
    said, closes = np.full(len(history), np.nan), history.close_steps
    moves = np.sign(closes[minutes:] - closes[:-minutes])
    said[minutes:][moves != 0] = (moves > 0)[moves != 0]
    return np.where(history.contiguous(minutes + 1), said, np.nan)


def lookback(*, minutes=30):
    return minutes + 1


def reference(history, *, minutes=30):
    whole = len(history) and history.contiguous(minutes + 1)[-1]
    return Fraction(int(history.close_steps[-1 - minutes])) if whole else None


STRATEGY = Strategy(
    "momentum", "long when it rose", targets, lookback, reference,
    {"minutes": Parameter(30, 2, 90, "minutes", "how far back")},
)
'''
PROBES = [
    "values", "determinism", "look-ahead", "warm-up", "reference", "fees", "open candle", "parity",
]  # fmt: skip


@pytest.fixture
def own(tmp_path):
    """A file with a strategy of one's own; `own(fault)` plants one by a textual change."""

    def write(was="", becomes="", name="mine.py"):
        assert was in OWN
        path = tmp_path / name
        path.write_text(OWN.replace(was, becomes) if was else OWN, "utf-8")
        return path

    return write


@pytest.fixture
def walk(tmp_path):
    """A walk of 1,700 minutes as a file of candles."""
    seen = random_walk(1_700, seed=4)
    frame = pd.DataFrame({"ts": pd.to_datetime(seen.open_ms, unit="ms", utc=True)})
    for name in ("open", "high", "low", "close"):
        frame[name] = getattr(seen, name) / 10.0**seen.decimals
    frame["volume"], frame["symbol"] = 1.0, seen.symbol
    con = duckdb.connect()
    con.register("candles", frame)
    con.execute(f"COPY candles TO '{tmp_path}/walk.parquet' (FORMAT parquet)")
    return tmp_path / "walk.parquet"


def said(capsys, *words, code=0) -> dict:
    assert cli.main([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_seed_strategy_passes_on_the_synthetic_market(capsys):
    assert cli.main(["check", "ma_trend"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # window at 2 and at 1440, band at 1000, and what was asked about
    assert "× 4 parameter sets" in "".join(lines)
    assert lines[0].startswith("ma_trend (window 60, band_bps 0) on BTCUSDT spot, ")
    table = [
        re.match(r"(\S+(?: \S+)*) +(passed|FAILED|not judged) +\S", line) for line in lines[2:-2]
    ]
    assert [found.groups() for found in table if found] == [(name, "passed") for name in PROBES]
    assert lines[-1] == "ma_trend passed all 8 probes"


def test_a_file_of_candles_and_parameters_are_taken(capsys, walk):
    facts = said(capsys, "check", "ma_trend", "window=30", "band_bps=2", "--candles", walk)
    assert facts["strategy"] == "ma_trend" and facts["params"] == {"window": 30, "band_bps": 2}
    assert [probe["name"] for probe in facts["probes"]] == PROBES
    assert all(probe["passed"] is True and probe["detail"] for probe in facts["probes"])
    assert "from 2025-11-22T00:00:00Z" in facts["history"]


def test_a_strategy_of_ones_own_passes_and_is_not_kept(capsys, walk, own):
    facts = said(capsys, "check", own(), "minutes=20", "--candles", walk)
    assert facts["strategy"] == "momentum" and facts["passed"] is True
    assert "momentum" not in STRATEGIES


@pytest.mark.parametrize(
    "was, becomes, probe",
    [
        ("said, np.nan)\n", "np.roll(said, -1), np.nan)\n", "look-ahead"),
        ("return minutes + 1", "return minutes", "warm-up"),
        ("history.contiguous(minutes + 1), said", "True, said", "warm-up"),
        ("= (moves > 0)", "= 0.5 * (moves > 0)", "values"),
    ],
)
def test_a_strategy_with_a_fault_exits_5_and_names_it(capsys, walk, own, was, becomes, probe):
    path = own(was, becomes)
    facts = said(capsys, "check", path, "--candles", walk, code=5)
    failed = [one for one in facts["probes"] if one["state"] == "failed"]
    assert [one["name"] for one in failed] == [probe]
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", failed[0]["detail"])
    assert not any(one["passed"] for one in failed) and facts["passed"] is False
    assert cli.main(["check", str(path), "--candles", str(walk)]) == 5
    assert f"momentum FAILED {probe}; " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (["nope"], 2, "strategy 'nope' is unknown; expected one of ['buy_and_hold', 'flat', "),
        (["no/such.py"], 2, "no/such.py: there is no such file"),
        (["ma_trend", "windoo=3"], 2, "unknown parameter 'windoo'"),
        (["ma_trend", "window=1"], 2, "window 1 is out of range; expected 2 to 1440"),
        (["ma_trend", "window=x"], 2, "window=x: expected a whole number"),
        (["ma_trend", "window"], 2, "expected NAME=VALUE"),
        (["ma_trend", "--to", "2025-06-01T05:59"], 4, "359 minutes are too few for a lookback of 60"),
        (["ma_trend", "--from", "2026-01-02", "--to", "2026-01-01"], 2, "is not before"),
        (["ma_trend", "--from", "1999-01-02", "--to", "1999-01-03"], 4, "no candle from 1999-01-02"),
        (["ma_trend", "--from", "noon"], 2, "time 'noon' is not ISO 8601"),
        (["ma_trend", "--candles", "no.parquet"], 4, "there is no such file"),
        (["ma_trend", "--lake"], 4, "the lake has no candle of BTCUSDT spot"),
        (["ma_trend", "--lake", "--candles", "no.parquet"], 2, "expected one of them"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(capsys, words, code, sentence):
    assert cli.main(["check", *words]) == code
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.out == "" and shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "was, becomes, sentence",
    [
        ("STRATEGY = Strategy(", "OTHER = Strategy(", "STRATEGY is None; expected a Strategy"),
        (
            "import numpy as np",
            "import numpi as np",
            "ModuleNotFoundError: No module named 'numpi'",
        ),
        ("def lookback", "de lookback", "SyntaxError"),
        ('"momentum"', '"ma_trend"', "strategy 'ma_trend' is another one already"),
    ],
)
def test_a_file_that_defines_no_strategy_gets_a_sentence(capsys, own, was, becomes, sentence):
    assert cli.main(["check", str(own(was, becomes))]) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err and shown.out == ""


@pytest.mark.slow
def test_the_seed_strategy_passes_on_recorded_candles(capsys):
    path = recorded("candles_1m_bybit-spot_20221213.parquet")
    facts = said(capsys, "check", "ma_trend", "--candles", path)
    assert facts["passed"] is True, facts
