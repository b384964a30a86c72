"""CSV files of candles: text becomes the very decimals it says, and every odd line is named by its number."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tgtqr_lib.domain import DataError
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake
from tgtqr_lib.market.importer import import_file

EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
NOON = 1_748_779_200  # 2025-06-01T12:00Z
HEADER = "ts,open,high,low,close,volume"


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "candles")


@pytest.fixture
def csv(tmp_path):
    def write(*lines: str, name="spot.csv", end="\n") -> Path:
        path = tmp_path / name
        path.write_bytes((end.join(lines) + end).encode())
        return path

    return write


def row(minute=0, prices="2.0,3.0,1.0,2.5", volume="1.5", time=None) -> str:
    return f"{time or f'2025-06-01T12:{minute:02}:00Z'},{prices},{volume}"


def stored(lake, symbol="BTCUSDT", **how):
    return lake.read(symbol, EARLY, LATE, **how)


def brought_in(path, lake, **how):
    return import_file(path, lake, **{"symbol": "BTCUSDT", "market": "spot", **how})


# good files


@pytest.mark.parametrize(
    "name", ["ts", "time", "timestamp", "open_time", "date", "Open_Time", '"ts"']
)
def test_the_time_may_have_several_names(lake, csv, name):
    report = brought_in(csv(HEADER.replace("ts", name), row(0), row(1)), lake)
    assert (report.rows, report.refused, report.writes[0].added) == (2, 0, 2)
    assert stored(lake).open_ms.tolist() == [NOON * 1000, NOON * 1000 + 60_000]


@pytest.mark.parametrize(
    "times",
    [
        ("2025-06-01T12:00:00Z", "2025-06-01T12:01:00Z"),
        ("2025-06-01 12:00", "2025-06-01 12:01"),  # no zone means UTC
        ("2025-06-01 12:00:00.000", "2025-06-01 12:01:00.000"),
        ("2025-06-01T14:00:00+02:00", "2025-06-01T14:01:00+02:00"),
        ("2025-06-01 12:00:00+00:00", "2025-06-01 12:01:00+00:00"),
        (str(NOON), str(NOON + 60)),
        (f"{NOON}.0", f"{NOON + 60}.0"),
        (f"{NOON}000", f"{NOON + 60}000"),
        (f"{NOON}000000", f"{NOON + 60}000000"),
    ],
)
def test_times_are_iso_or_unix_in_one_of_three_units(lake, csv, times):
    brought_in(csv(HEADER, *[row(time=time) for time in times]), lake)
    assert stored(lake).open_ms.tolist() == [NOON * 1000, NOON * 1000 + 60_000]


def test_a_time_without_a_zone_means_utc_wherever_the_machine_is(lake, csv):
    path = csv(HEADER, row(time="2025-06-01 12:00"), row(time="2025-06-01 12:01"))
    code = (
        "from tgtqr_lib.market.candles import Lake; from tgtqr_lib.market.importer import import_file; "
        f"import_file({str(path)!r}, Lake({str(lake.root)!r}), symbol='BTCUSDT')"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TZ": "Asia/Tokyo"}, check=True)
    assert stored(lake).open_ms.tolist() == [NOON * 1000, NOON * 1000 + 60_000]


def test_dates_alone_are_midnights_and_daily_candles_are_refused(lake, csv):
    lines = [row(time=f"2025-06-{day:02}") for day in (1, 2)]
    with pytest.raises(DataError, match="the candles are 1440 minutes apart"):
        brought_in(csv(HEADER, *lines), lake)


@pytest.mark.parametrize(
    "text, close",
    [
        ("104321.7", "104321.7"),
        ("0.1", "0.1"),
        ("104321.123456", "104321.123456"),  # twelve digits
        ("999999999.000001", "999999999.000001"),  # fifteen
        (" 2.5 ", "2.5"),
        ("2.5e3", "2500"),
        ('"2.5"', "2.5"),
    ],
)
def test_numbers_are_the_decimals_that_the_text_says(lake, csv, text, close):
    brought_in(csv(HEADER, row(prices=",".join([text] * 4))), lake)
    assert str(stored(lake).price(stored(lake).close[0])) == close


def test_more_than_six_decimals_are_rounded_and_counted(lake, csv):
    report = brought_in(
        csv(HEADER, row(prices="2.1234567,3,1,2.123456", volume="0.00000049")), lake
    )
    assert (report.rounded_prices, report.rounded_volumes) == (1, 1)
    assert (stored(lake).open[0], stored(lake).close[0]) == (2_123_457, 2_123_456)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_and_line_ends_of_others(lake, csv, separator, end):
    path = csv("\ufeff" + HEADER.replace(",", separator), row(0).replace(",", separator), end=end)
    assert brought_in(path, lake).writes[0].added == 1


def test_symbol_and_source_columns_count_as_in_parquet(lake, csv):
    path = csv(
        "close,low,symbol,high,open,volume,source,time,more",
        f'2.5,1,BTCUSDT,3,2,1,"bybit linear; a, b",{NOON},x',
        f"5,5,ETHUSDT,5,5,1,bybit linear; c,{NOON},x",
        f"2.5,1,BTCUSDT,3,2,1,bybit linear; c,{NOON + 60},x",
        name="some.csv",
    )
    report = import_file(path, lake)
    assert [(w.symbol, w.market, w.added) for w in report.writes] == [
        ("BTCUSDT", "linear", 2),
        ("ETHUSDT", "linear", 1),
    ]
    assert lake.verify().series[0].sources == ("bybit linear; a, b", "bybit linear; c")
    assert stored(lake, "ETHUSDT", market="linear").close.tolist() == [5]


def test_a_csv_and_a_parquet_of_the_same_candles_are_the_same(lake, csv, tmp_path):
    lines = [
        row(m, prices=f"{100 + m}.{m:02},{110 + m}.5,{90 + m}.25,{100 + m}") for m in range(60)
    ]
    path = csv(HEADER, *lines)
    brought_in(path, lake)
    parquet = tmp_path / "spot.parquet"
    duckdb.sql(f"COPY (SELECT * REPLACE (ts::timestamptz AS ts) FROM '{path}') TO '{parquet}'")
    other = Lake(tmp_path / "other")
    brought_in(parquet, other)
    assert len(stored(lake)) == 60 and stored(lake) == stored(other)


def test_funding_whose_interval_changes_in_the_file_keeps_each_interval(lake, csv, tmp_path):
    # a week by 8 hours, then 00:00, 04:00 ... 20:00 by 4, then by 8 again
    day = "2025-06-0{}T{:02}:00:00Z,BTCUSDT,0.0001"
    rates = [day.format(d, h) for d in range(1, 8) for h in (0, 8, 16)]
    rates += [day.format(8, h) for h in (0, 4, 8, 12, 16, 20)]
    rates += [day.format(9, h) for h in (0, 8, 16)]
    funding = FundingLake(tmp_path / "funding")
    report = import_file(csv("timestamp,symbol,fundingRate", *rates), lake, funding=funding)
    assert (report.refused, report.writes[0].added) == (0, 30)
    minutes = funding.read("BTCUSDT", EARLY, LATE).minutes.tolist()
    # 00:00 of the 8th ends 8 hours, 00:00 of the 9th ends 4
    assert minutes == [480] * 22 + [240] * 6 + [480] * 2
    assert funding.verify().ok and funding.verify().series[0].missing == 0


def test_other_intervals_and_funding_come_as_csv_too(lake, csv, tmp_path):
    lines = [row(time=str(NOON + 300 * n)) for n in range(12)]
    assert brought_in(csv(HEADER, *lines), lake).writes[0].interval == "5m"
    assert len(stored(lake, interval="5m")) == 12
    rates = [f"{NOON - 12 * 3600 + 28_800 * n}000,BTCUSDT,-0.0000{n}1" for n in range(3)]
    funding = FundingLake(tmp_path / "funding")
    report = import_file(csv("timestamp,symbol,fundingRate", *rates), lake, funding=funding)
    assert report.writes[0].added == 3
    assert funding.read("BTCUSDT", EARLY, LATE).units.tolist() == [-10_000, -110_000, -210_000]


# wrong lines


@pytest.mark.parametrize(
    "line, reason",
    [
        (row(9, prices="x,3,1,2"), "a value is not readable: '2025-06-01T12:09:00Z,x,3,1,2,1.5'"),
        (row(9, prices="1_0,30,1,20"), "a value is not readable"),
        (row(9, volume="1.5 BTC"), "a value is not readable"),
        (row(time="noon"), "a value is not readable: 'noon,"),
        (row(time="12"), "a value is not readable"),
        (row(time="06/01/2025 12:09"), "a value is not readable"),
        (row(9, prices="2,,1,2"), "a value is missing: '2025-06-01T12:09:00Z,2,,1,2,1.5'"),
        (row(9, volume=""), "a value is missing"),
        (row(9, prices="nan,3,1,2"), "a price or the volume is not finite"),
        (row(9, prices="2,inf,1,2"), "a price or the volume is not finite"),
        (row(9, prices="2,3,0,2"), "a price is not positive"),
        (row(9, prices="2,1.5,1,2"), "the high is below another price of the candle"),
        (row(time="2025-06-01T12:09:30Z"), "the time is not a whole minute"),
        (row(1, prices="2,3,1,2"), "an earlier row has the same time"),
        (row(time=f"{NOON + 540}"), "the time is in another unit than the file's other times"),
        (row(time=f"{NOON + 540}000"), "the time is in another unit than the file's other times"),
        (row(9) + ",7", "the line does not fit the header: Expected Number of Columns: 6 Found: 7"),
        (row(9).rsplit(",", 1)[0], "the line does not fit the header: .* 6 Found: 5"),
    ],
)
def test_a_wrong_line_is_refused_by_number_and_reason(lake, csv, line, reason):
    report = brought_in(csv(HEADER, row(0), row(1), row(2), line, row(3)), lake)
    (refusal,) = report.refusals
    assert (refusal.row, report.rows, report.refused, report.writes[0].added) == (4, 5, 1, 4)
    assert re.match(re.escape(reason).replace(r"\.\*", ".*"), refusal.reason), refusal.reason
    assert stored(lake).close.tolist() == [25] * 4


@pytest.mark.parametrize("unit", ["000", "000000"])
def test_mixed_units_are_refused_by_row_and_the_most_frequent_counts(lake, csv, unit):
    lines = [row(time=f"{NOON + 60 * n}{unit if n != 3 else ''}") for n in range(6)]
    report = brought_in(csv(HEADER, *lines), lake)
    assert [refusal.row for refusal in report.refusals] == [4]
    assert f"'{NOON + 180}," in report.refusals[0].reason
    assert len(stored(lake)) == 5


def test_rows_are_counted_by_lines_whatever_stands_between(lake, csv):
    odd = "2025-06-01T12:05:00Z,2"
    path = csv(HEADER, row(0), "", odd, row(1), "", row(2, prices="2,1,1,2"), odd + ",3", row(3))
    report = brought_in(path, lake)
    assert [refusal.row for refusal in report.refusals] == [3, 6, 7]
    assert report.reasons == {
        "the line does not fit the header": 2,
        "the high is below another price of the candle": 1,
    }
    assert report.writes[0].added == 3


def test_a_line_without_a_symbol_is_refused(lake, csv):
    lines = [f"{row(0)},BTCUSDT", f"{row(1)},", f"{row(2)},BTCUSDT"]
    report = import_file(csv(HEADER + ",symbol", *lines), lake)
    (refusal,) = report.refusals
    assert (refusal.row, refusal.symbol) == (2, "no symbol")
    assert refusal.reason.startswith("a value is missing: '2025-06-01T12:01:00Z")


# wrong files


@pytest.mark.parametrize(
    "header, sentence",
    [
        ("", "is empty; expected candles"),
        (
            "when,open,high,low,close,volume",
            "has no time: when, open, .*; expected candles .* called one of ts",
        ),
        ("ts,date,open,high,low,close,volume", "has the times ts and date"),
        ("ts,open,open,high,low,close,volume", "names two columns alike"),
        (
            "ts,open,high,low,close",
            "has no column volume but ts, open, high, low, close; expected candles",
        ),
        ("ts,bid,ask", "holds quotes or trades, it seems"),
        (row(0), "has no time: 2025-06-01t12:00:00z, 2.0"),  # no header at all
    ],
)
def test_a_wrong_header_is_refused_naming_found_and_expected(lake, csv, header, sentence):
    with pytest.raises(DataError, match=f"spot.csv: .*{sentence}"):
        brought_in(csv(header, row(0)), lake)
    assert not lake.root.exists()


def test_a_csv_without_rows_is_refused(lake, csv):
    with pytest.raises(DataError, match=r"spot.csv: has no rows"):
        brought_in(csv(HEADER), lake)


def test_a_csv_by_another_name_is_told_how_to_name_it(lake, csv):
    with pytest.raises(DataError, match=r"is no Parquet file, .* \(a CSV's name ends in \.csv\)"):
        brought_in(csv(HEADER, row(0), name="spot.txt"), lake)


def test_a_contradiction_writes_nothing_and_can_be_revised(lake, csv):
    brought_in(csv(HEADER, row(0), row(1)), lake)
    path = csv(HEADER, row(1, prices="2,3,1,2.25"), row(2))
    with pytest.raises(DataError, match=r"12:01:00Z is in the lake .* and came as"):
        brought_in(path, lake)
    assert len(stored(lake)) == 2
    assert brought_in(path, lake, revise=True).writes[0].revised == 1
