"""The whole road, twice: prices of the source in, sealed notebooks out, every signal checked by hand."""

import json
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from tests.recorded import recorded
from tgtqr_lib import cli
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.market.recorded import RecordedSource
from tgtqr_lib.market.synthetic import SyntheticSource

pytestmark = pytest.mark.slow


def demo(tmp_path, capsys, *words: str) -> dict:
    assert cli.main(["demo", "--home", str(tmp_path), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def by_hand(source, symbol: str, boundary) -> tuple[str, Decimal, Decimal]:
    """Signal, close and mean of the hour before `boundary`, from the source's own integers."""
    end = to_ms(boundary)
    closes = source.candles(symbol, end - 3_600_000, end)["close"].tolist()
    assert len(closes) == 60
    scale = 10 ** source.price_decimals(symbol)
    close, mean = Fraction(closes[-1], scale), Fraction(sum(closes), 60 * scale)
    signal = "LONG" if close > mean else "FLAT" if close < mean else "HOLD"
    rounded = Decimal(round(mean * 10**8)) / 10**8
    return signal, Decimal(closes[-1]) / scale, rounded


def check(facts: dict, source, first: str, ticks: int) -> None:
    rows = iter(facts["decisions"])
    for number in range(ticks):
        boundary = parse_time(first) + timedelta(minutes=15 * number)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            row = next(rows)
            signal, close, mean = by_hand(source, symbol, boundary)
            assert row["tick_id"] == boundary.strftime("%Y%m%dT%H%MZ") and row["symbol"] == symbol
            assert row["signal"] == signal
            assert Decimal(row["close"]) == close and Decimal(row["mean"]) == mean
            if row["order"] and row["order"].startswith("BUY"):
                _, quantity, _, _, limit = row["order"].split()
                assert Decimal(limit) <= close * Decimal("1.01")
                assert Decimal(quantity) * Decimal(limit) <= Decimal("0.95")
    assert next(rows, None) is None and facts["ticks"] == len(facts["notebooks"]) == ticks


def money(facts: dict) -> None:
    """Cash is what the sealed notebooks' fills leave of 10.00."""
    cash = Decimal(10)
    for path in facts["notebooks"]:
        outcome = json.loads(Path(path).read_text("utf-8"))["metadata"]["tgtqr"]["outcome"]
        for act in outcome["acts"]:
            assert act["result"] == "FILLED"
            sign = -1 if act["side"] == "BUY" else 1
            cash += sign * Decimal(act["notional"]) - Decimal(act["fee"])
        assert Decimal(outcome["cash"]) == cash
    assert Decimal(facts["cash"]) == cash


def test_four_ticks_of_a_made_up_market_decide_what_a_pencil_decides(tmp_path, capsys):
    facts = demo(tmp_path, capsys, "--ticks", "4", "--seed", "2")
    check(facts, SyntheticSource(2), "2025-06-01T00:00Z", 4)
    money(facts)
    assert facts["fills"] > 0


def test_four_ticks_of_recorded_candles_decide_what_a_pencil_decides(tmp_path, capsys):
    path = recorded("candles_1m_bybit-linear.parquet")
    words = ("--ticks", "4", "--candles", str(path), "--from", "2025-06-01")
    facts = demo(tmp_path, capsys, *words)
    check(facts, RecordedSource(path), "2025-06-01T00:00Z", 4)
    money(facts)
