"""Reading minutes of Parquet files: what DuckDB wrote comes back, and odd files get a sentence."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from tgtqr_lib.domain import DataError
from tgtqr_lib.market.minutes import read_minutes
from tgtqr_lib.market.recorded import RecordedSource

MINUTE = 60_000
START = 1_748_736_000_000  # 2025-06-01


def frame(of: str, rows: range, price: float, **more) -> pd.DataFrame:
    times = pd.to_datetime(START + np.array(rows) * MINUTE, unit="ms", utc=True)
    prices = {
        name: np.round(price + np.array(rows) / 10, 4) for name in ("open", "high", "low", "close")
    }
    return pd.DataFrame({"ts": times, **prices, "volume": 1.5, "symbol": of} | more)


def write(path, *frames: pd.DataFrame, kind: str = "ts"):
    con = duckdb.connect()
    con.register("rows", pd.concat(frames, ignore_index=True))
    con.execute(f"COPY (SELECT * REPLACE ({kind} AS ts) FROM rows) TO '{path}' (FORMAT parquet)")
    return path


def test_the_rows_are_those_of_the_other_reader(tmp_path):
    path = write(
        tmp_path / "two.parquet",
        frame("ETHUSDT", range(50), 2000.01),
        frame("BTCUSDT", range(200_000), 60_000),  # several row groups
    )
    for symbol in ("BTCUSDT", "ETHUSDT"):
        source = RecordedSource(path)
        expected = source.candles(symbol, 0, 10**15)
        found = read_minutes([path], symbol)
        assert found.decimals == source.price_decimals(symbol)
        for name in ("open_ms", "open", "close"):
            np.testing.assert_array_equal(getattr(found, name), expected[name])


@pytest.mark.parametrize("kind", ["ts::TIMESTAMP_S", "ts::TIMESTAMP_MS", "ts::TIMESTAMP_NS"])
def test_every_unit_of_time_is_read(tmp_path, kind):
    path = write(tmp_path / "unit.parquet", frame("BTCUSDT", range(30), 100), kind=kind)
    assert read_minutes([path], "BTCUSDT").open_ms[-1] == START + 29 * MINUTE


def test_files_are_one_series_in_any_order_and_bounds_are_kept(tmp_path):
    late = write(tmp_path / "late.parquet", frame("BTCUSDT", range(60, 90), 100))
    early = write(tmp_path / "early.parquet", frame("BTCUSDT", range(30), 100.05))
    found = read_minutes([late, early], "BTCUSDT", START + 10 * MINUTE, START + 70 * MINUTE)
    minutes = (found.open_ms - START) // MINUTE
    assert minutes.tolist() == [*range(10, 30), *range(60, 70)]
    assert (found.decimals, found.open[0], found.open[-1]) == (2, 10_105, 10_690)


def test_a_file_without_a_symbol_is_the_one_that_was_asked_for(tmp_path):
    bare = frame("any", range(40), 100).drop(columns="symbol")
    assert len(read_minutes([write(tmp_path / "bare.parquet", bare)], "ETHUSDT")) == 40


def test_dollars_stand_for_tethers(tmp_path):
    path = write(tmp_path / "usd.parquet", frame("BTCUSD", range(40), 100))
    assert len(read_minutes([path], "BTCUSDT")) == 40


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"open": np.inf}, "price inf at row 0"),
        ({"close": 0.0}, "price 0.0 at row 0"),
        ({"open": "12"}, "column open is String, expected numbers"),
        ({"ts": pd.Timestamp("2025-06-01T00:00:30Z")}, "no whole minute"),
        ({"ts": pd.Timestamp("2025-06-01T00:00:00Z")}, "two candles open at 2025-06-01T00:00:00"),
        ({"ts": "2025-06-01"}, "expected a timestamp"),
        ({"symbol": "DOGE"}, "BTCUSDT: not in odd.parquet, expected one of DOGE"),
    ],
)
def test_an_odd_file_gets_a_sentence(tmp_path, change, sentence):
    path = write(tmp_path / "odd.parquet", frame("BTCUSDT", range(20), 100, **change))
    with pytest.raises(DataError, match=sentence):
        read_minutes([path], "BTCUSDT")


def test_empty_cells_other_intervals_and_other_files_get_a_sentence(tmp_path):
    hole = frame("BTCUSDT", range(20), 100)
    hole["ts"] = hole["ts"].where(hole.index != 4)
    five = frame("BTCUSDT", range(0, 100, 5), 100)
    bare = frame("BTCUSDT", range(20), 100).drop(columns="close")
    for rows, sentence in (
        (hole, "column ts is empty in 1 rows"),
        (five, "candles are 5 minutes apart"),
        (bare, "has no column close"),
    ):
        with pytest.raises(DataError, match=sentence):
            read_minutes([write(tmp_path / "odd.parquet", rows)], "BTCUSDT")
    (tmp_path / "text.parquet").write_text("ts,open,close\n")
    with pytest.raises(DataError, match=r"text\.parquet: cannot be read as Parquet"):
        read_minutes([tmp_path / "text.parquet"], "BTCUSDT")
