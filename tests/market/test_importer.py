import math
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tests.recorded import recorded
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.importer import import_file

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAR_OFF = datetime(2100, 1, 1, tzinfo=UTC)
LAYOUT = (
    "ts timestamptz, open double, high double, low double, close double, volume double, "
    "symbol varchar, source varchar"
)
NAN = math.nan
SOURCE = "bybit spot; by hand"


def a_row(at="12:00", open=2.0, high=3.0, low=1.0, close=2.5, volume=1.5, **other) -> tuple:
    """A good row of 2025-06-01, but for what is said."""
    symbol, source = other.get("symbol", "BTCUSDT"), other.get("source", SOURCE)
    return (at and f"2025-06-01T{at}Z", open, high, low, close, volume, symbol, source)


def minutes(n: int, step: int = 1, **other) -> list[tuple]:
    return [a_row(f"{m // 60:02}:{m % 60:02}", **other) for m in range(0, n * step, step)]


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "candles")


@pytest.fixture
def file_of(tmp_path):
    """Write rows as Parquet and return the path; `select` changes what the file holds of them."""

    def write(rows, name="candles.parquet", select="*") -> Path:
        path = tmp_path / name
        with duckdb.connect() as con:
            con.execute(f"CREATE TABLE rows ({LAYOUT})")
            if rows:
                con.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            con.execute(f"COPY (SELECT {select} FROM rows) TO '{path}' (FORMAT parquet)")
        return path

    return write


def stored(lake: Lake, symbol="BTCUSDT", market="spot"):
    return lake.read(symbol, LONG_AGO, FAR_OFF, market)


# good files


def test_a_file_becomes_candles(lake, file_of):
    rows = [
        a_row("12:00", close=2.75),
        a_row("12:02"),
        a_row("12:00", 5, 5, 5, 5, symbol="ETHUSDT"),
    ]
    report = import_file(file_of(rows), lake)
    candles = stored(lake)
    assert [candles.price(close) for close in candles.close] == [2.75, 2.5]
    assert candles.volume.tolist() == [1_500_000, 1_500_000]
    assert len(stored(lake, "ETHUSDT")) == 1
    assert (report.rows, report.refused) == (3, 0)
    assert [(w.symbol, w.added) for w in report.writes] == [("BTCUSDT", 2), ("ETHUSDT", 1)]
    assert lake.verify().series[0].sources == (SOURCE,)


def test_importing_twice_equals_importing_once(lake, file_of):
    path = file_of(minutes(5))
    import_file(path, lake)
    (write,) = import_file(path, lake).writes
    assert (write.added, write.kept, write.months) == (0, 5, ())


def test_rows_may_come_in_any_order_and_each_keeps_its_source(lake, file_of):
    rows = [*minutes(3, source="bybit spot; a"), a_row("00:05", source="kucoin spot; b")]
    import_file(file_of(rows[::-1]), lake)
    month = lake.root / "spot" / "BTCUSDT" / "2025-06.parquet"
    found = duckdb.sql(f"SELECT minute(ts AT TIME ZONE 'UTC'), source FROM '{month}'").fetchall()
    assert found == [(m, "bybit spot; a") for m in range(3)] + [(5, "kucoin spot; b")]


@pytest.mark.parametrize(
    "select",
    [
        "* REPLACE (ts AT TIME ZONE 'UTC' AS ts)",  # no zone means UTC
        "* REPLACE ((ts AT TIME ZONE 'UTC')::timestamp_ms AS ts)",
        "* REPLACE ((ts AT TIME ZONE 'UTC')::timestamp_ns AS ts)",
        "* REPLACE (open::decimal(18, 8) AS open, volume::decimal(9, 1) AS volume)",
        "* REPLACE (source::enum('bybit spot; by hand') AS source)",
        "close, low, ts, 'x' AS more, high, open, volume, symbol, source",
    ],
)
def test_other_spellings_of_the_same_file_give_the_same_candles(lake, file_of, select):
    import_file(file_of(minutes(3, open=2.25)), Lake(lake.root.with_name("plain")))
    import_file(file_of(minutes(3, open=2.25), select=select), lake)
    assert stored(lake) == stored(Lake(lake.root.with_name("plain")))


def test_months_may_come_in_any_order(lake, file_of):
    july = ("2025-07-01T00:00Z", 2, 3, 1, 2, 0, "BTCUSDT", SOURCE)
    report = import_file(file_of([a_row("00:01"), july, a_row("00:00")]), lake)
    assert report.writes[0].months == ("2025-06", "2025-07")
    assert (report.writes[0].added, len(stored(lake))) == (3, 3)


def test_progress_is_told_in_rows(lake, file_of):
    told = []
    rows = [*minutes(3), ("2025-07-01T00:00Z", 2, 3, 1, 2, 0, "BTCUSDT", SOURCE)]
    import_file(file_of(rows), lake, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 4), (4, 4)]


def test_more_than_six_decimals_are_rounded_and_counted(lake, file_of):
    rows = [
        a_row("12:00", open=2.12345678, volume=0.00000049),
        a_row("12:01", open=2.123456, volume=0.12345678),
    ]
    report = import_file(file_of(rows), lake)
    assert (report.rounded_prices, report.rounded_volumes) == (1, 2)
    assert stored(lake).open.tolist() == [2_123_457, 2_123_456]
    assert stored(lake).volume.tolist() == [0, 123_457]
    assert "Rounded to 6 decimals: 1 price, 2 volumes." in str(report)


# market, symbol and source


@pytest.mark.parametrize(
    "source, name, market",
    [
        ("bybit linear; somewhere/spot", "candles.parquet", "linear"),
        ("binance usdm; somewhere", "candles.parquet", "linear"),
        ("kucoin spot; linear-algebra", "candles_linear.parquet", "spot"),
        ("by hand", "candles_1m_bybit-linear_20221213.parquet", "linear"),
        (None, "candles_1m_kucoin-spot.parquet", "spot"),
    ],
)
def test_the_market_is_what_the_source_says_or_else_the_name(lake, file_of, source, name, market):
    select = "*" if source else "* EXCLUDE (source)"
    import_file(file_of(minutes(2, source=source), name, select), lake)
    assert len(stored(lake, market=market)) == 2


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (
            minutes(2, source="by hand"),
            "the file does not say; add --market spot or --market linear",
        ),
        (
            [*minutes(2), a_row(source="bybit linear; x")],
            "the file names linear and spot; add --market spot or --market linear",
        ),
    ],
)
def test_a_market_in_doubt_has_to_be_said(lake, file_of, rows, sentence):
    with pytest.raises(DataError, match=f"candles.parquet: the market is not clear, {sentence}"):
        import_file(file_of(rows), lake)
    assert not lake.root.exists()
    import_file(file_of(rows), lake, market="linear")
    assert len(stored(lake, market="linear")) == len(rows)


def test_a_market_that_is_said_counts_and_a_contradiction_is_noted(lake, file_of):
    report = import_file(file_of(minutes(2)), lake, market="linear")
    assert len(stored(lake, market="linear")) == 2
    assert report.notes == ("The file calls its candles spot; stored as linear, as you said.",)
    with pytest.raises(DomainError, match="market 'swap' is unknown"):
        import_file(file_of(minutes(2)), lake, market="swap")


def test_dollars_are_not_tethers_unless_said(lake, file_of):
    path = file_of(minutes(2, symbol="BTCUSD"))
    import_file(path, lake)
    assert (len(stored(lake, "BTCUSD")), len(stored(lake, "BTCUSDT"))) == (2, 0)
    import_file(path, lake, symbol="BTCUSDT")
    assert len(stored(lake, "BTCUSDT")) == 2


def test_a_name_for_a_file_of_two_symbols_is_refused(lake, file_of):
    path = file_of([a_row(), a_row(symbol="ETHUSDT")])
    with pytest.raises(DataError, match="holds BTCUSDT, ETHUSDT; expected one to store as XBT"):
        import_file(path, lake, symbol="XBT")


def test_symbol_and_source_can_be_said_when_the_file_has_none(lake, file_of):
    path = file_of(minutes(2), "spot.parquet", "* EXCLUDE (symbol, source)")
    with pytest.raises(DataError, match="names no symbol"):
        import_file(path, lake)
    import_file(path, lake, symbol="BTCUSDT")
    import_file(path, lake, symbol="ETHUSDT", source="a friend")
    assert [s.sources for s in lake.verify().series] == [("spot.parquet",), ("a friend",)]


def test_a_symbol_that_is_none_is_refused(lake, file_of):
    with pytest.raises(DataError, match="'BTC/USDT' is no symbol; say --symbol BTCUSDT"):
        import_file(file_of(minutes(2, symbol="BTC/USDT")), lake)


def test_a_candle_of_the_future_is_not_closed(lake, file_of):
    # 2090 has not come when this runs
    future = [(row[0].replace("2025", "2090"), *row[1:]) for row in minutes(2)]
    report = import_file(file_of(minutes(3) + future), lake)
    assert (report.writes[0].added, report.refused) == (3, 2)
    assert report.reasons == {"the candle is not closed yet, by this machine's clock": 2}


# wrong rows


@pytest.mark.parametrize(
    "row, reason",
    [
        (a_row("12:09", open=NAN), "a price or the volume is not finite"),
        (a_row("12:09", high=math.inf), "a price or the volume is not finite"),
        (a_row("12:09", volume=NAN), "a price or the volume is not finite"),
        (a_row("12:09", low=0.0), "a price is not positive in steps of 0.000001"),
        (a_row("12:09", low=-1.0), "a price is not positive in steps of 0.000001"),
        (a_row("12:09", low=0.0000004), "a price is not positive in steps of 0.000001"),
        (a_row("12:09", high=1.1e9), "a price or the volume is above 1,000,000,000"),
        (a_row("12:09", volume=-0.1), "the volume is negative"),
        (a_row("12:09", high=2.4), "the high is below another price of the candle"),
        (a_row("12:09", open=2.2, low=2.1, close=2.05), "the low is above another price"),
        (a_row("12:09:30"), "the time is not a whole minute"),
        (a_row("12:09:00.001"), "the time is not a whole minute"),
        (("1969-12-31T23:59Z", 2, 3, 1, 2, 0, "BTCUSDT", SOURCE), "the time is outside the years"),
        (a_row("12:01"), "an earlier row has the same time"),
        (a_row("12:01", close=2.75), "an earlier row has the same time"),
        (a_row(None), "a value is missing: ts"),
        (a_row("12:09", close=None, volume=None), "a value is missing: close, volume"),
        (a_row("12:09", source=None), "a value is missing: source"),
        (a_row("12:09", symbol=None), "a value is missing: symbol"),
    ],
)
def test_a_wrong_row_is_refused_by_number_and_reason_and_the_others_are_imported(
    lake, file_of, row, reason
):
    rows = [a_row("12:00"), a_row("12:01"), a_row("12:02"), row, a_row("12:03")]
    report = import_file(file_of(rows), lake)
    (refusal,) = report.refusals
    assert (refusal.row, report.refused) == (4, 1)
    assert refusal.reason.startswith(reason)
    assert list(report.reasons.values()) == [1]
    assert (report.rows, report.writes[0].added, len(stored(lake))) == (5, 4, 4)
    assert stored(lake).close.tolist() == [25, 25, 25, 25]
    assert "row 4, " in str(report)
    assert lake.verify().ok


def test_a_refusal_tells_time_and_numbers(lake, file_of):
    report = import_file(file_of([a_row("12:00"), a_row("12:01", high=2.25)]), lake)
    assert report.refusals[0].reason == (
        "the high is below another price of the candle: 2025-06-01T12:01:00Z, "
        "open 2.0, high 2.25, low 1.0, close 2.5, volume 1.5"
    )


def test_all_wrong_rows_are_counted_and_the_first_twenty_listed(lake, file_of):
    rows = minutes(60) + minutes(30, low=0.0, symbol="ETHUSDT") + minutes(5, volume=-1.0)
    report = import_file(file_of(rows), lake)
    assert report.refused == 35
    assert report.reasons == {
        "a price is not positive in steps of 0.000001": 30,
        "the volume is negative": 5,
    }
    assert [refusal.row for refusal in report.refusals] == list(range(61, 81))
    assert str(report).endswith("and 15 more")
    assert [write.symbol for write in report.writes] == ["BTCUSDT"]
    assert report.as_dict()["refusals"][0]["row"] == 61


# wrong files


@pytest.mark.parametrize(
    "select, sentence",
    [
        ("ts, symbol, open AS rate, source", "holds funding rates, expected candles"),
        ("ts, symbol, open AS bid, close AS ask", "holds quotes or trades, it seems .* alone"),
        ("* EXCLUDE (low)", "has no column low but ts, open"),
        ("* REPLACE (epoch_ms(ts) AS ts)", "column ts is BIGINT; expected TIMESTAMP, in UTC"),
        ("* REPLACE (close::float AS close)", "column close is FLOAT; expected DOUBLE"),
        ("* REPLACE (close::varchar AS close)", "column close is VARCHAR; expected DOUBLE"),
    ],
)
def test_a_file_of_something_else_is_refused(lake, file_of, select, sentence):
    with pytest.raises(DataError, match=sentence):
        import_file(file_of(minutes(3), select=select), lake)
    assert not lake.root.exists()


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "is no Parquet file, it is empty .a CSV's name ends in .csv.; expected candles"),
        (b"ts,open\n", r"is no Parquet file, it begins with b'ts,o'"),
        (b"PAR1 and nothing else", "cannot be read"),
    ],
)
def test_what_is_no_parquet_is_refused(lake, tmp_path, content, sentence):
    path = tmp_path / "spot.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"spot.parquet: {sentence}"):
        import_file(path, lake)


def test_a_truncated_file_is_refused(lake, file_of):
    path = file_of(minutes(100))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        import_file(path, lake)


def test_a_file_without_rows_and_no_file_at_all_are_refused(lake, file_of, tmp_path):
    with pytest.raises(DataError, match="has no rows; expected candles"):
        import_file(file_of([]), lake)
    with pytest.raises(DataError, match="there is no such file"):
        import_file(tmp_path / "nowhere.parquet", lake)


@pytest.mark.parametrize("step, interval", [(5, "5m"), (15, "15m"), (60, "1h")])
def test_other_intervals_are_series_of_their_own(lake, file_of, step, interval):
    import_file(file_of(minutes(60, volume=2.0)), lake)
    report = import_file(file_of(minutes(20, step)), lake)
    assert (report.writes[0].interval, report.writes[0].added) == (interval, 20)
    assert stored(lake).volume.tolist() == [2_000_000] * 60
    found = lake.read("BTCUSDT", LONG_AGO, FAR_OFF, interval=interval)
    assert set((found.open_ms[1:] - found.open_ms[:-1]).tolist()) == {step * 60_000}
    assert (len(found), lake.verify().ok) == (20, True)
    assert (lake.root / f"spot-{interval}" / "BTCUSDT" / "2025-06.parquet").is_file()


def test_a_candle_off_the_grid_of_its_interval_is_refused(lake, file_of):
    rows = [*minutes(20, 5), a_row("02:03")]
    (refusal,) = import_file(file_of(rows), lake).refusals
    assert refusal.row == 21
    assert refusal.reason.startswith("the time is not a whole 5m: 2025-06-01T02:03:00Z")


@pytest.mark.parametrize(
    "step, found", [(3, "3 minutes"), (30, "30 minutes"), (240, "240 minutes")]
)
def test_an_interval_that_the_lake_does_not_have_is_refused(lake, file_of, step, found):
    rows = [a_row(f"{m // 60:02}:{m % 60:02}") for m in range(0, 1440, step)]
    with pytest.raises(DataError, match=f"{found} apart; expected one of 1m, 5m, 15m, 1h"):
        import_file(file_of(rows), lake)
    assert not lake.root.exists()


def test_seconds_are_refused_and_gaps_are_not_taken_for_an_interval(lake, file_of):
    seconds = [a_row(f"12:00:{s:02}") for s in range(60)]
    with pytest.raises(DataError, match="the candles are 1 s apart"):
        import_file(file_of(seconds), lake)
    import_file(file_of([a_row(f"12:{m:02}") for m in (0, 5, 6, 11, 12, 17, 18)]), lake)
    assert len(stored(lake)) == 7


def test_a_contradiction_in_one_symbol_leaves_all_as_they_were(lake, file_of):
    import_file(file_of(minutes(3, symbol="ETHUSDT")), lake)
    before = stored(lake, "ETHUSDT")
    rows = minutes(3) + minutes(5, symbol="ETHUSDT", close=2.75)
    with pytest.raises(DataError, match="ETHUSDT spot: the candle of 2025-06-01T00:00:00Z is in"):
        import_file(file_of(rows), lake)
    assert stored(lake, "ETHUSDT") == before
    assert lake.months("BTCUSDT") == ()
    assert lake.verify().ok
    (_, revised) = import_file(file_of(rows), lake, revise=True).writes
    assert (revised.added, revised.revised) == (2, 3)


# recorded data: rows, first, last and gaps are those of its README


@pytest.mark.parametrize(
    "name, market, symbol, rows, first, last, gaps, missing",
    [
        ("bybit-linear", "linear", "BTCUSDT", 29_215, "2025-05-29 17:05", "2025-06-18 23:59", 0, 0),
        ("bybit-linear", "linear", "ETHUSDT", 29_214, "2025-05-29 17:06", "2025-06-18 23:59", 0, 0),
        ("bybit-linear_20221213", "linear", "BTCUSDT", 721, "2022-12-13 00:00", "2022-12-13 12:00", 0, 0),
        ("bybit-spot_20221213", "spot", "BTCUSDT", 1440, "2022-12-13 00:00", "2022-12-13 23:59", 0, 0),
        ("kucoin-spot", "spot", "BTCUSDT", 43_199, "2023-02-18 10:31", "2023-03-20 10:29", 0, 0),
        ("kucoin-spot", "spot", "ETHUSDT", 43_199, "2023-02-18 10:31", "2023-03-20 10:29", 0, 0),
        # between the stretches, from 2023-08-17 11:12 to 2025-05-04 15:32: 626 days, 4 h and 21 min
        ("binance-usdm", "linear", "BTCUSDT", 108_506, "2023-07-18 11:13", "2025-06-18 23:59", 1, 901_701),
        ("binance-usdm", "linear", "ETHUSDT", 129_373, "2023-07-03 23:26", "2025-06-18 23:59", 1, 901_701),
        (
            "bitfinex-spot_BTCUSD", "spot", "BTCUSD",
            1_726_424, "2013-04-01 00:07", "2018-03-31 23:59", 260_228, 903_009,
        ),
        (
            "bitfinex-spot_ETHUSD", "spot", "ETHUSD",
            629_319, "2016-03-09 16:04", "2018-03-31 23:59", 70_470, 454_037,
        ),
    ],
)  # fmt: skip
def test_recorded_candles_keep_their_figures(
    lake, name, market, symbol, rows, first, last, gaps, missing
):
    path = recorded(f"candles_1m_{name}.parquet")
    report = import_file(path, lake)
    assert report.refused == 0
    checked = lake.verify()
    assert checked.ok
    (figures,) = [s for s in checked.series if s.symbol == symbol]
    assert figures.market == market
    assert (figures.rows, figures.gaps, figures.missing_minutes) == (rows, gaps, missing)
    assert (f"{figures.first:%Y-%m-%d %H:%M}", f"{figures.last:%Y-%m-%d %H:%M}") == (first, last)
    # bad prints by the same README: candles with the high over the low above 1.2
    assert figures.wild == {"bitfinex-spot_BTCUSD": 36, "bitfinex-spot_ETHUSD": 4}.get(name, 0)
    if figures.wild == 36:  # among them the lows of 0.01, 1.00 and 13.00
        told = "\n".join(figures.oddest)
        assert "2013-04-16 04:38" in told and "low 0.01," in told
        assert "2013-07-01 18:01" in told and "2013-04-26 08:21" in told
        assert "worth a look: 36 candles with the high above" in str(checked)


def test_recorded_candles_come_back_to_the_last_digit(lake):
    path = recorded("candles_1m_kucoin-spot.parquet")
    import_file(path, lake)
    candles = stored(lake, "ETHUSDT")
    query = f"SELECT close FROM '{path}' WHERE symbol = 'ETHUSDT' ORDER BY ts"
    closes = [repr(close) for (close,) in duckdb.sql(query).fetchall()]
    assert candles.decimals == 2
    assert [repr(float(candles.price(steps))) for steps in candles.close] == closes


@pytest.mark.parametrize(
    "name, market, interval, symbol, rows, missing",
    [
        ("15m_bybit-linear", "linear", "15m", "BTCUSDT", 54_528, 0),
        ("15m_bybit-linear", "linear", "15m", "ETHUSDT", 52_704, 0),
        ("5m_bybit-linear", "linear", "5m", "BTCUSDT", 19_872, 0),
        ("5m_bybit-spot", "spot", "5m", "ETHUSDT", 48_672, 0),
        # 2018-04-01 to 2019-12-31 is not part of the file: 640 days, and 72 hours beside
        ("1h_binance-spot", "spot", "1h", "BTCUSDT", 36_802, 640 * 24 + 72),
        ("1h_binance-spot", "spot", "1h", "ETHUSDT", 36_802, 640 * 24 + 72),
    ],
)
def test_recorded_candles_of_other_intervals_keep_their_figures(
    lake, name, market, interval, symbol, rows, missing
):
    report = import_file(recorded(f"candles_{name}.parquet"), lake)
    assert report.refused == 0
    checked = lake.verify()
    assert checked.ok
    (figures,) = [s for s in checked.series if s.symbol == symbol]
    assert (figures.market, figures.interval) == (market, interval)
    assert (figures.rows, figures.missing) == (rows, missing)


@pytest.mark.parametrize(
    "name", ["quotes_1m_bybit_BTCUSDT_20221213", "trades_tick_binance-spot_BTCUSDT_20210108"]
)
def test_recorded_files_of_other_things_are_refused(lake, name):
    path = recorded(f"{name}.parquet")
    with pytest.raises(DataError, match="the lake keeps candles and funding rates alone"):
        import_file(path, lake)
    assert not lake.root.exists()
