from pathlib import Path

import duckdb
import numpy as np
import pytest

from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import DataError
from tgtqr_lib.market.recorded import RecordedSource

NOON = to_ms(parse_time("2025-06-01T12:00Z"))
MINUTE = 60_000
EVER = 2**62
GOOD = [
    # minute, open, high, low, close, volume, symbol
    (0, 104321.7, 104330.0, 104300.5, 104310.25, 1.5, "BTCUSDT"),
    (1, 104310.25, 104310.25, 104310.25, 104310.25, 0.000001, "BTCUSDT"),
    (5, 104000, 104001, 103999, 104000.5, 0, "BTCUSDT"),
    (0, 2511.03, 2512.0, 2510.5, 2511.0, 12.34, "ETHUSDT"),
]


@pytest.fixture
def write(tmp_path: Path):
    """Write rows as a Parquet file of the layout of the recorded candles and return its path."""

    def write_rows(rows, name="candles_1m_test.parquet", columns="*"):
        path = tmp_path / name
        with duckdb.connect() as con:
            con.execute(
                "create table candles (ts timestamptz, open double, high double, low double, "
                "close double, volume double, symbol varchar, source varchar)"
            )
            for minute, *prices_and_volume, symbol in rows:
                at = None if minute is None else round(NOON + minute * MINUTE)
                con.execute(
                    "insert into candles values "
                    "(make_timestamptz(? * 1000), ?, ?, ?, ?, ?, ?, 'by hand')",
                    [at, *prices_and_volume, symbol],
                )
            con.execute(f"copy (select {columns} from candles) to '{path}' (format parquet)")
        return path

    return write_rows


def test_prices_become_steps_of_the_fewest_decimals_that_hold_the_series(write):
    source = RecordedSource(write(GOOD))
    assert source.symbols == ("BTCUSDT", "ETHUSDT")
    assert source.price_decimals("BTCUSDT") == source.price_decimals("ETHUSDT") == 2
    assert source.candles("BTCUSDT", 0, EVER).tolist() == [
        (NOON, 10432170, 10433000, 10430050, 10431025, 1_500_000),
        (NOON + MINUTE, 10431025, 10431025, 10431025, 10431025, 1),
        (NOON + 5 * MINUTE, 10400000, 10400100, 10399900, 10400050, 0),
    ]
    assert source.candles("ETHUSDT", 0, EVER).tolist() == [
        (NOON, 251103, 251200, 251050, 251100, 12_340_000)
    ]


def test_a_range_is_closed_at_its_start_and_open_at_its_end_and_gaps_stay_gaps(write):
    source = RecordedSource(write(GOOD))
    for start, end, minutes in ((0, 1, [0]), (1, 5, [1]), (2, 5, []), (1, 6, [1, 5]), (6, 99, [])):
        rows = source.candles("BTCUSDT", NOON + start * MINUTE, NOON + end * MINUTE)
        assert ((rows["open_ms"] - NOON) // MINUTE).tolist() == minutes


def test_more_than_six_decimals_are_rounded_to_six_and_counted(write):
    row = (0, 100.12345678, 100.2, 100.0, 100.1234567, 1, "BTCUSDT")
    source = RecordedSource(write([row]))
    assert source.price_decimals("BTCUSDT") == 6
    assert source.rounded == {"BTCUSDT": 2}
    assert source.candles("BTCUSDT", 0, EVER)[["open", "close"]].tolist() == [
        (100_123_457, 100_123_457)
    ]


def test_several_files_are_one_series_and_dollars_stand_for_tethers(write):
    first = write([(1, 9, 9, 9, 9, 1, "BTCUSD"), (0, 8, 8, 8, 8, 1, "BTCUSD")], "a.parquet")
    second = write([(2, 7, 7, 7, 7, 1, "BTCUSD"), (2, 5, 5, 5, 5, 1, "ETHUSD")], "b.parquet")
    source = RecordedSource(first, second)
    assert source.candles("BTCUSDT", 0, EVER)["close"].tolist() == [8, 9, 7]
    assert source.candles("ETHUSDT", 0, EVER)["close"].tolist() == [5]
    assert source.name == "recorded candles, a.parquet, b.parquet"


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ([(m, 9, 9, 9, 9, 1, "BTCUSDT") for m in (0, 5, 10)], "5 minutes apart, expected 1"),
        ([(m, 9, 9, 9, 9, 1, "BTCUSDT") for m in (0, 1, 1)], "two candles open at .*12:01"),
        ([(0.5, 9, 9, 9, 9, 1, "BTCUSDT")], "not a whole minute"),
        ([(None, 9, 9, 9, 9, 1, "BTCUSDT")], "missing"),
        ([(0, 9, 9, 9, 9, 1, "XRPUSDT")], "unknown symbol XRPUSDT, expected BTCUSDT"),
        ([(0, 9, 9, 9, float("nan"), 1, "BTCUSDT")], "price or volume that cannot be"),
        ([(0, 9, 9, 9, None, 1, "BTCUSDT")], "price or volume that cannot be"),
        ([(0, 9, float("inf"), 9, 9, 1, "BTCUSDT")], "price or volume that cannot be"),
        ([(0, 0, 9, 0, 9, 1, "BTCUSDT")], "price or volume that cannot be"),
        ([(0, 9, 8, 8, 8, 1, "BTCUSDT")], r"price or volume that cannot be \(1 such"),
        ([(0, 9, 9, 9, 9, -1, "BTCUSDT")], "price or volume that cannot be"),
        ([(0, 9, 9, 9, 9, None, "BTCUSDT")], "price or volume that cannot be"),
        ([], "holds no candle"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(write, rows, sentence):
    with pytest.raises(DataError, match=sentence):
        RecordedSource(write(rows))


def test_other_layouts_and_files_are_refused_in_a_sentence(write, tmp_path):
    with pytest.raises(DataError, match="no column high, volume; candles have ts, open"):
        RecordedSource(write(GOOD, columns="ts, open, low, close, symbol"))
    with pytest.raises(DataError, match="column ts is BIGINT, expected a timestamp"):
        RecordedSource(write(GOOD, columns="* replace (epoch_ms(ts) as ts)"))
    (tmp_path / "notes.txt").write_text("not candles")
    with pytest.raises(DataError, match=r"notes\.txt: cannot be read as Parquet"):
        RecordedSource(tmp_path / "notes.txt")
    with pytest.raises(DataError, match=r"absent\.parquet: cannot be read as Parquet"):
        RecordedSource(tmp_path / "absent.parquet")
    with pytest.raises(DataError, match="no file"):
        RecordedSource()


def test_a_symbol_the_file_does_not_hold_is_refused(write):
    source = RecordedSource(write(GOOD[:3]))
    assert source.symbols == ("BTCUSDT",)
    with pytest.raises(DataError, match="ETHUSDT: not in recorded candles"):
        source.candles("ETHUSDT", 0, EVER)
    with pytest.raises(DataError, match="ETHUSDT"):
        source.price_decimals("ETHUSDT")


# How many decimals each file's prices have was counted with other tools; see the data's own notes.
FILES = [
    ("candles_1m_binance-usdm", "BTCUSDT", "BTCUSDT", 108_506, 1),
    ("candles_1m_binance-usdm", "ETHUSDT", "ETHUSDT", 129_373, 2),
    ("candles_1m_bybit-linear", "BTCUSDT", "BTCUSDT", 29_215, 1),
    ("candles_1m_bybit-spot_20221213", "BTCUSDT", "BTCUSDT", 1_440, 2),
    ("candles_1m_kucoin-spot", "ETHUSDT", "ETHUSDT", 43_199, 2),
    ("candles_1m_bitfinex-spot_ETHUSD", "ETHUSDT", "ETHUSD", 629_319, 6),
]


@pytest.mark.parametrize("name, symbol, named, count, decimals", FILES)
def test_recorded_files_are_held_to_the_digit(recorded_data, name, symbol, named, count, decimals):
    path = recorded_data / f"data/{name}.parquet"
    source = RecordedSource(path)
    rows = source.candles(symbol, 0, EVER)
    assert (len(rows), source.price_decimals(symbol)) == (count, decimals)
    with duckdb.connect() as con:
        stored = con.execute(
            f"select open, high, low, close from '{path}' where symbol = '{named}' order by ts"
        ).fetchnumpy()
    for column, prices in stored.items():
        exact = rows[column] / 10**decimals == prices
        assert np.count_nonzero(~exact) <= source.rounded[symbol]
        np.testing.assert_allclose(rows[column] / 10**decimals, prices, rtol=0, atol=0.5001e-6)
    assert (source.rounded[symbol] > 0) == ("bitfinex" in name)


@pytest.mark.parametrize(
    "name", ["candles_5m_bybit-spot", "candles_15m_bybit-linear", "candles_1h_binance-spot"]
)
def test_recorded_files_of_longer_candles_are_refused(recorded_data, name):
    with pytest.raises(DataError, match=r"(5|15|60) minutes apart, expected 1"):
        RecordedSource(recorded_data / f"data/{name}.parquet")


@pytest.mark.parametrize("name", ["funding_8h_bybit-linear", "quotes_1m_bybit_BTCUSDT_20221213"])
def test_recorded_files_of_other_things_are_refused(recorded_data, name):
    with pytest.raises(DataError, match="no column"):
        RecordedSource(recorded_data / f"data/{name}.parquet")
