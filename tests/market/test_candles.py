import hashlib
import os
import subprocess
import sys
import tempfile
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgtqr_lib.domain import Busy, Candles, DataError, DomainError, StoreError
from tgtqr_lib.market import sealed
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.gaps import Gap, joined
from tgtqr_lib.market.series_id import SeriesId

MINUTE_MS = 60_000
TURN = datetime(2025, 6, 1, tzinfo=UTC)  # a month ends and another begins
TURN_MS = 1_748_736_000_000
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
FAR_OFF = datetime(2100, 1, 1, tzinfo=UTC)


def a_series(minutes, price=1043217, decimals=1, symbol="BTCUSDT", market="spot") -> Candles:
    """Candles at `minutes` counted from the turn of the month, every one at its own price."""
    minutes = np.array(list(minutes), dtype=np.int64)
    close = price + minutes % 1000 * 10 + 7  # the last digit is not 0: the decimals are needed
    return Candles(
        symbol,
        decimals,
        TURN_MS + minutes * MINUTE_MS,
        open=close - 3,
        high=close + 1,
        low=close - 4,
        close=close,
        volume=1_500_000 + minutes,
        market=market,
    )


def everything(lake: Lake, symbol="BTCUSDT", market="spot") -> Candles:
    return lake.read(symbol, LONG_AGO, FAR_OFF, market)


def minutes_of(candles: Candles) -> list[int]:
    return ((candles.open_ms - TURN_MS) // MINUTE_MS).tolist()


def minute(n: float) -> datetime:
    return TURN + timedelta(minutes=n)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(tmp_path / "candles")


@pytest.fixture
def month_file(lake) -> Path:
    """The file of a month with a day of candles."""
    lake.write(a_series(range(1440)), "a test")
    return lake.root / "spot" / "BTCUSDT" / "2025-06.parquet"


@st.composite
def candle_series(draw) -> Candles:
    """Up to 60 candles in three months, with gaps, in the fewest decimals that hold them."""
    days = st.sampled_from([-32, -31, -1, 0, 1, 29, 30, 31])
    at = st.tuples(days, st.integers(-3, 3)).map(lambda pair: pair[0] * 1440 + pair[1])
    minutes = sorted(draw(st.sets(at, max_size=60)))
    four = st.lists(st.integers(1, 10**9), min_size=4, max_size=4).map(sorted)
    prices = np.array([draw(four) for _ in minutes], dtype=np.int64).reshape(-1, 4)
    upward = np.array([draw(st.booleans()) for _ in minutes], dtype=bool)
    volume = [draw(st.integers(0, 10**12)) for _ in minutes]
    decimals = draw(st.integers(0, 6))
    while decimals and not (prices % 10).any():
        prices, decimals = prices // 10, decimals - 1
    low, one, other, high = prices.T
    return Candles(
        "BTCUSDT",
        decimals,
        TURN_MS + np.array(minutes, dtype=np.int64) * MINUTE_MS,
        open=np.where(upward, one, other),
        high=high,
        low=low,
        close=np.where(upward, other, one),
        volume=np.array(volume, dtype=np.int64),
    )


# what goes in comes out


@given(candle_series())
@settings(max_examples=40)
def test_what_was_written_is_read(candles):
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(root)
        lake.write(candles, "a test")
        assert everything(lake) == candles


@given(candle_series(), st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_the_order_of_writes_does_not_matter_and_overlaps_do_no_harm(candles, random):
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(root)
        cuts = sorted(random.randint(0, len(candles)) for _ in range(4))
        parts = [candles[: cuts[2]], candles[cuts[1] : cuts[3]], candles[cuts[0] :]]
        random.shuffle(parts)
        for part in parts:
            lake.write(part, "a test")
        assert everything(lake) == candles


@given(candle_series(), st.integers(1, 70), st.integers(-40 * 1440, 40 * 1440))
@settings(max_examples=25)
def test_the_last_candles_are_the_end_of_all_before(candles, n, before):
    with tempfile.TemporaryDirectory() as root:
        lake = Lake(root)
        lake.write(candles, "a test")
        earlier = [t for t in candles.open_ms.tolist() if t < TURN_MS + before * MINUTE_MS]
        last = lake.last("BTCUSDT", n, minute(before))
        assert last.open_ms.tolist() == earlier[-n:]
        assert last == lake.read("BTCUSDT", LONG_AGO, minute(before)).tail(n) or not len(last)


def test_writing_twice_equals_writing_once(lake, month_file):
    before = month_file.read_bytes(), month_file.stat().st_mtime_ns
    report = lake.write(a_series(range(1440)), "another source")
    assert (report.added, report.kept, report.revised, report.months) == (0, 1440, 0, ())
    assert (month_file.read_bytes(), month_file.stat().st_mtime_ns) == before


def test_a_report_counts_what_was_new(lake):
    report = lake.write(a_series(range(-10, 5)), "a test")
    assert (report.added, report.kept, report.months) == (15, 0, ("2025-05", "2025-06"))
    report = lake.write(a_series(range(3, 8)), "a test")
    assert (report.added, report.kept, report.months) == (3, 2, ("2025-06",))
    assert str(report) == "BTCUSDT spot: 3 minutes added, 2 were there; 1 month written."
    assert report.as_dict()["months"] == ["2025-06"]


def test_nothing_is_written_for_no_candles(lake):
    assert lake.write(a_series([]), "a test").added == 0
    assert not lake.root.exists()


def test_an_empty_lake_has_nothing(lake):
    assert len(everything(lake)) == len(lake.last("BTCUSDT", 61, TURN)) == 0
    assert lake.months("BTCUSDT") == ()
    assert lake.verify().ok
    assert str(lake.verify()) == "The lake is empty."


def test_spot_and_linear_never_mix(lake):
    lake.write(a_series(range(3)), "a test")
    lake.write(a_series(range(3), price=999, market="linear"), "a test")
    assert everything(lake) == a_series(range(3))
    assert everything(lake, market="linear") == a_series(range(3), price=999, market="linear")


def test_intervals_and_the_mark_price_never_mix_either(lake):
    shelves = [
        ({}, "linear"),
        ({"mark": True}, "linear-mark"),
        ({"interval": "5m"}, "linear-5m"),
        ({"mark": True, "interval": "1h"}, "linear-mark-1h"),
    ]
    for n, (how, _) in enumerate(shelves, start=1):
        series = a_series(range(0, n * 60, 60), price=1000 * n, market="linear")
        lake.write(series, "a test", **how)
    for n, (how, folder) in enumerate(shelves, start=1):
        expected = a_series(range(0, n * 60, 60), price=1000 * n, market="linear")
        assert lake.read("BTCUSDT", LONG_AGO, FAR_OFF, "linear", **how) == expected
        assert lake.last("BTCUSDT", 99, FAR_OFF, "linear", **how) == expected
        assert lake.months("BTCUSDT", "linear", **how) == ("2025-06",)
        assert (lake.root / folder / "BTCUSDT" / "2025-06.parquet").is_file()
    report = lake.verify()
    assert report.ok
    found = {(s.interval, s.mark): (s.rows, s.missing) for s in report.series}
    # the last two of 0, 60, 120 minutes are 11 candles of 5 minutes apart each
    assert found == {
        ("1m", False): (1, 0),
        ("1m", True): (2, 59),
        ("5m", False): (3, 22),
        ("1h", True): (4, 0),
    }
    assert "BTCUSDT linear mark 1h: 4 candles" in str(report)


@pytest.mark.parametrize(
    "how, sentence",
    [
        ({"interval": "3m"}, "interval '3m' is unknown; expected one of 1m, 5m, 15m, 1h"),
        ({"mark": True}, "only linear has a mark price, not spot"),
    ],
)
def test_a_series_that_cannot_be_is_refused(lake, how, sentence):
    with pytest.raises(DomainError, match=sentence):
        lake.read("BTCUSDT", LONG_AGO, FAR_OFF, **how)
    with pytest.raises(DomainError, match=sentence):
        lake.write(a_series([0]), "a test", **how)


def test_a_candle_off_its_grid_is_not_written(lake):
    with pytest.raises(DataError, match="00:03:00Z cannot be: the time is not a whole 5m"):
        lake.write(a_series([3]), "a test", interval="5m")
    assert not lake.root.exists()


# some columns


def test_columns_are_those_of_the_candles_without_the_rest(lake):
    lake.write(a_series(range(-10, 10)), "a test")
    found = lake.columns("BTCUSDT", minute(-5), minute(5), ("open", "close"))
    candles = a_series(range(-5, 5))
    assert (found.decimals, found.open_ms.tolist()) == (1, candles.open_ms.tolist())
    assert set(found.columns) == {"open", "close"}
    assert found["open"].tolist() == candles.open.tolist()
    assert found["close"].tolist() == candles.close.tolist()
    volume = lake.columns("BTCUSDT", minute(-5), minute(5), ["volume"])["volume"]
    assert volume.tolist() == candles.volume.tolist()
    assert len(lake.columns("ETHUSDT", minute(-5), minute(5))) == 0
    with pytest.raises(DomainError, match="column 'price' is unknown"):
        lake.columns("BTCUSDT", minute(-5), minute(5), ["price"])


def test_columns_are_kept_in_memory_only_while_no_file_changes(lake, month_file):
    first = lake.columns("BTCUSDT", LONG_AGO, FAR_OFF)
    assert lake.columns("BTCUSDT", LONG_AGO, FAR_OFF) is first
    with pytest.raises(ValueError):
        first["close"][0] = 1  # who shares an array must not be able to change it
    lake.write(a_series([1440]), "a test")
    second = lake.columns("BTCUSDT", LONG_AGO, FAR_OFF)
    assert (len(first), len(second)) == (1440, 1441)
    lake.write(a_series([-1]), "a test")  # a month that was not there before
    assert len(lake.columns("BTCUSDT", LONG_AGO, FAR_OFF)) == 1442
    month_file.write_bytes(b"rotten")
    with pytest.raises(StoreError, match=r"2025-06.parquet is not what was written"):
        lake.columns("BTCUSDT", LONG_AGO, FAR_OFF)


def test_decimals_are_those_of_the_candles_that_are_asked_for(lake):
    lake.write(a_series([0], decimals=2), "a test")
    lake.write(a_series([5], price=104321_0, decimals=1), "a test")
    assert lake.read("BTCUSDT", minute(0), minute(1)).decimals == 2
    assert lake.read("BTCUSDT", minute(5), minute(6)).decimals == 1
    assert everything(lake).decimals == 2


# bounds


@pytest.mark.parametrize(
    "start, end, found",
    [
        (0, 3, [0, 1, 2]),
        (-1, 1, [-1, 0]),
        (0.5, 2.5, [1, 2]),  # a candle is in by its open
        (2, 2, []),
        (3, 1, []),
        (9, 99, [9]),
        (10, 99, []),
    ],
)
def test_a_range_has_its_start_and_not_its_end(lake, start, end, found):
    lake.write(a_series(range(-10, 10)), "a test")
    assert minutes_of(lake.read("BTCUSDT", minute(start), minute(end))) == found


def test_a_bound_a_microsecond_after_a_minute_leaves_that_minute_out(lake):
    lake.write(a_series(range(3)), "a test")
    late = minute(1) + timedelta(microseconds=1)
    assert minutes_of(lake.read("BTCUSDT", late, FAR_OFF)) == [2]
    assert minutes_of(lake.last("BTCUSDT", 9, late)) == [0, 1]


def test_other_zones_mean_the_same_instant(lake):
    lake.write(a_series(range(3)), "a test")
    tokyo = minute(1).astimezone(timezone(timedelta(hours=9)))
    assert minutes_of(lake.read("BTCUSDT", tokyo, FAR_OFF)) == [1, 2]


@pytest.mark.parametrize(
    "ask, sentence",
    [
        (lambda lake: lake.read("BTCUSDT", datetime(2025, 6, 1), FAR_OFF), "start .* no time zone"),
        (lambda lake: lake.read("BTCUSDT", TURN, datetime(2025, 6, 1)), "end .* no time zone"),
        (lambda lake: lake.last("BTCUSDT", 61, datetime(2025, 6, 1)), "before .* no time zone"),
        (lambda lake: lake.last("BTCUSDT", 0, TURN), "last 0 candles"),
        (lambda lake: lake.read("BTCUSDT", TURN, FAR_OFF, "swap"), "'swap' is unknown"),
        (lambda lake: lake.read("../../etc", TURN, FAR_OFF), "not a symbol"),
        (lambda lake: lake.months("BTC/USDT"), "not a symbol"),
    ],
)
def test_wrong_questions_are_refused_in_a_sentence(lake, ask, sentence):
    with pytest.raises(DomainError, match=sentence):
        ask(lake)


def test_the_last_candles_go_back_over_gaps_and_months_but_no_further_than_needed(lake):
    lake.write(a_series([-90 * 1440, *range(-40, -10), *range(20, 25)]), "a test")
    folder = lake.root / "spot" / "BTCUSDT"
    assert lake.months("BTCUSDT") == ("2025-03", "2025-05", "2025-06")
    (folder / "2025-03.parquet").write_bytes(b"rotten")
    assert minutes_of(lake.last("BTCUSDT", 2, minute(24))) == [22, 23]
    assert minutes_of(lake.last("BTCUSDT", 7, minute(99))) == [-12, -11, *range(20, 25)]
    with pytest.raises(StoreError, match=r"2025-03.parquet is not what was written"):
        lake.last("BTCUSDT", 36, minute(99))


# contradictions


def test_another_value_for_a_known_minute_is_an_error_and_nothing_is_written(lake, month_file):
    before = month_file.read_bytes()
    other = a_series(range(-5, 1500), price=1043218)
    with pytest.raises(DataError) as caught:
        lake.write(other, "elsewhere")
    text = str(caught.value)
    # minute 0: close 1043217 + 7 in steps of 0.1, and one step more
    assert "BTCUSDT spot: the candle of 2025-06-01T00:00:00Z" in text
    assert "close 104322.4, volume 1.5 (a test)" in text
    assert "close 104322.5, volume 1.5 (elsewhere)" in text
    assert "1,440 such in 2025-06" in text
    assert month_file.read_bytes() == before
    assert lake.months("BTCUSDT") == ("2025-06",)
    assert lake.verify().ok


@pytest.mark.parametrize("name", Candles.COLUMNS)
def test_a_difference_in_any_column_is_a_contradiction(lake, name):
    lake.write(a_series([0]), "a test")
    shift = {"high": 1, "low": -1}.get(name, -1)
    one = a_series([0])
    columns = {column: getattr(one, column) for column in Candles.COLUMNS}
    columns[name] = columns[name] + shift
    with pytest.raises(DataError, match="came as"):
        lake.write(Candles("BTCUSDT", 1, one.open_ms, **columns), "a test")


def test_revising_replaces_what_differs_and_keeps_the_rest(lake, month_file):
    report = lake.write(a_series(range(10, 20), price=1043218), "elsewhere", revise=True)
    assert (report.added, report.kept, report.revised) == (0, 0, 10)
    candles = everything(lake)
    assert candles[:10] == a_series(range(10))
    assert candles[10:20] == a_series(range(10, 20), price=1043218)
    assert candles[20:] == a_series(range(20, 1440))
    rows = duckdb.sql(f"SELECT source, count(*) FROM '{month_file}' GROUP BY 1 ORDER BY 1")
    assert rows.fetchall() == [("a test", 1430), ("elsewhere", 10)]


def test_a_candle_that_cannot_be_is_not_written(lake):
    one = a_series([0])
    columns = {name: getattr(one, name) for name in Candles.COLUMNS} | {"high": one.low}
    with pytest.raises(DataError, match="2025-06-01T00:00:00Z cannot be: the high is below"):
        lake.write(Candles("BTCUSDT", 1, one.open_ms, **columns), "a test")
    with pytest.raises(DataError, match="volume is negative"):
        columns = {name: getattr(one, name) for name in Candles.COLUMNS} | {"volume": -one.volume}
        lake.write(Candles("BTCUSDT", 1, one.open_ms, **columns), "a test")
    assert not lake.root.exists()


# the file


def test_any_engine_reads_the_file(month_file):
    columns = duckdb.sql(f"DESCRIBE FROM '{month_file}'").fetchall()
    assert [(name, kind) for name, kind, *_ in columns] == [
        ("ts", "TIMESTAMP WITH TIME ZONE"),
        *[(name, "DOUBLE") for name in ("open", "high", "low", "close", "volume")],
        ("source", "VARCHAR"),
    ]
    schema = duckdb.sql(f"FROM parquet_schema('{month_file}')")
    assert "isAdjustedToUTC=1" in str(schema.filter("name = 'ts'").fetchall())
    packed = duckdb.sql(f"SELECT DISTINCT compression FROM parquet_metadata('{month_file}')")
    assert packed.fetchall() == [("ZSTD",)]
    first = duckdb.sql(f"SELECT epoch_ms(ts), * EXCLUDE (ts) FROM '{month_file}' LIMIT 1")
    # close 1043217 + 7 steps of 0.1; open three less, high one more, low four less
    assert first.fetchall() == [
        (TURN_MS, 104322.1, 104322.5, 104322.0, 104322.4, 1.5, "a test"),
    ]


def test_checksums_are_as_sha256sum_writes_them(month_file):
    lines = (month_file.parent / "SHA256SUMS").read_text()
    assert lines == f"{hashlib.sha256(month_file.read_bytes()).hexdigest()}  2025-06.parquet\n"


def test_a_folder_name_with_wildcards_is_a_folder_name(tmp_path):
    lake = Lake(tmp_path / "it's [a] *?")
    lake.write(a_series(range(3)), "a test")
    lake.write(a_series(range(2, 5)), "a test")
    assert everything(lake) == a_series(range(5))
    assert lake.verify().ok


def test_importing_the_lake_loads_no_engine():
    code = (
        "import sys, tgtqr_lib.market.candles as _; print({'duckdb', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# damage


def damage_is_seen(lake: Lake, code: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        everything(lake)
    with pytest.raises(StoreError, match=sentence):
        lake.last("BTCUSDT", 61, minute(1440))
    with pytest.raises(StoreError, match=sentence):
        lake.write(a_series([2000]), "a test")
    report = lake.verify()
    assert [problem.code for problem in report.problems] == [code]
    assert not report.ok


def test_a_flipped_bit_is_seen_wherever_it_is(lake, month_file):
    sound = month_file.read_bytes()
    everything(lake)  # a file that was found sound is looked at again when it has changed
    for place in range(0, len(sound), len(sound) // 40):
        rotten = bytearray(sound)
        rotten[place] ^= 1 << place % 8
        month_file.write_bytes(rotten)
        with pytest.raises(StoreError, match=r"2025-06.parquet is not what was written"):
            everything(lake)
    damage_is_seen(lake, "FILE_ALTERED", "2025-06.parquet is not what was written")
    month_file.write_bytes(sound)
    assert everything(lake) == a_series(range(1440))


def test_a_file_that_is_altered_between_its_check_and_its_reading_is_seen(
    lake, month_file, monkeypatch
):
    other = Lake(lake.root.with_name("other"))
    other.write(a_series(range(1440), price=999), "a test")
    forged = (other.root / "spot" / "BTCUSDT" / "2025-06.parquet").read_bytes()
    fetch = Lake._fetch

    def altered_first(*arguments):
        month_file.write_bytes(forged)
        return fetch(*arguments)

    monkeypatch.setattr(Lake, "_fetch", altered_first)
    with pytest.raises(StoreError, match=r"2025-06.parquet is not what was written"):
        everything(lake)


@pytest.mark.parametrize("left", [0, 4, 1000, -1])
def test_a_truncated_file_is_seen(lake, month_file, left):
    month_file.write_bytes(month_file.read_bytes()[:left])
    damage_is_seen(lake, "FILE_ALTERED", "2025-06.parquet is not what was written")


def test_a_lost_file_is_not_taken_for_a_gap(lake, month_file):
    lake.write(a_series(range(-5, 0)), "a test")
    month_file.unlink()
    assert lake.months("BTCUSDT") == ("2025-05", "2025-06")
    damage_is_seen(lake, "FILE_LOST", "2025-06.parquet is in SHA256SUMS but not there")
    assert minutes_of(lake.read("BTCUSDT", LONG_AGO, TURN)) == [-5, -4, -3, -2, -1]


def test_a_file_without_a_checksum_is_not_believed(lake, month_file):
    (month_file.parent / "SHA256SUMS").unlink()
    damage_is_seen(lake, "FILE_UNLISTED", "2025-06.parquet has no line in SHA256SUMS")


def test_checksums_that_cannot_be_read_are_named(lake, month_file):
    (month_file.parent / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(StoreError, match="SHA256SUMS: line 1 is 'nonsense'"):
        everything(lake)
    codes = [problem.code for problem in lake.verify().problems]
    assert codes == ["CHECKSUMS_UNREADABLE", "FILE_UNLISTED"]


def test_a_damaged_month_can_be_given_up_and_written_anew(lake, month_file):
    lake.write(a_series(range(-5, 0)), "a test")
    month_file.write_bytes(b"")
    sums = month_file.parent / "SHA256SUMS"
    month_file.unlink()  # as the message says: the file and its line
    sums.write_text("".join(line for line in sums.open() if "2025-06" not in line))
    lake.write(a_series(range(1440)), "a test")
    assert everything(lake) == a_series(range(-5, 1440))
    assert lake.verify().ok


def test_a_failing_disk_leaves_the_lake_as_it_was(lake, month_file, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        lake.write(a_series(range(1430, 1500)), "a test")
    monkeypatch.undo()
    assert {path.name for path in month_file.parent.iterdir()} == {
        "2025-06.parquet",
        "SHA256SUMS",
        ".lock",
    }
    assert everything(lake) == a_series(range(1440))
    assert lake.verify().ok


# verify


def test_verify_gives_the_figures_of_each_series(lake):
    lake.write(a_series([-3, -2, 0, 1, 5]), "one")
    lake.write(a_series([7], symbol="ETHUSDT", market="linear"), "two")
    report = lake.verify()
    assert report.ok
    linear, spot = report.series
    assert (spot.market, spot.symbol, spot.months, spot.rows) == ("spot", "BTCUSDT", 2, 5)
    # -1 is missing, and 2, 3, 4
    assert (spot.gaps, spot.missing_minutes, spot.sources) == (2, 4, ("one",))
    assert (spot.first, spot.last) == (minute(-3), minute(5))
    assert (linear.market, linear.symbol, linear.rows, linear.gaps) == ("linear", "ETHUSDT", 1, 0)
    assert str(spot) == (
        "BTCUSDT spot: 5 candles in 2 months, 2025-05-31 23:57 to 2025-06-01 00:05 UTC, "
        "4 minutes missing in 2 gaps."
    )
    assert report.as_dict()["series"][1]["first"] == "2025-05-31T23:57:00Z"
    assert report.as_dict()["ok"] is True


@pytest.mark.parametrize("close, told", [(1200, 0), (1201, 1), (800, 0), (799, 1)])
def test_verify_tells_closes_that_jump_by_more_than_a_fifth(lake, close, told):
    # from 100.0 to 120.0 or 80.0 is a fifth; over a missing minute nothing is compared
    def flat(minutes, price):
        rows = [TURN_MS + m * MINUTE_MS for m in minutes]
        return Candles("BTCUSDT", 1, rows, *[[price] * len(rows)] * 4, [0] * len(rows))

    lake.write(flat([0, 1], 1000), "a test")
    lake.write(flat([2, 4], close), "a test")
    lake.write(flat([6], 100), "a test")
    report = lake.verify()
    assert (report.ok, report.series[0].jumps, report.series[0].wild) == (True, told, 0)
    assert [text[:16] for text in report.series[0].oddest] == ["2025-06-01 00:02"] * told


@pytest.mark.parametrize("low, told", [(1000, 0), (999, 1)])
def test_verify_tells_a_low_far_from_the_high(lake, low, told):
    one = [TURN_MS], [1200], [1200], [low], [1200], [0]
    lake.write(Candles("BTCUSDT", 1, *one), "a test")
    report = lake.verify()
    assert (report.ok, report.series[0].wild) == (True, told)


def test_gaps_on_record_are_listed_and_damage_to_them_is_seen(lake, month_file):
    series = SeriesId("BTCUSDT")
    lake.write(a_series([1500]), "a test")
    asked = datetime(2025, 7, 1, tzinfo=UTC)
    gap = Gap(TURN_MS + 1440 * MINUTE_MS, TURN_MS + 1450 * MINUTE_MS, asked, "bybit spot; host")
    lake.note_gaps(series, [gap])
    lake.note_gaps(series, [gap])
    assert lake.gaps(series) == (gap,)
    (figures,) = lake.verify().series
    assert (figures.missing, figures.known_missing) == (60, 10)
    assert figures.known == ("2025-06-02 00:00 to 2025-06-02 00:10 UTC",)
    lake.write(a_series([1440, 1441]), "a test")
    assert lake.verify().series[0].known_missing == 8
    path = month_file.parent / "gaps.csv"
    path.write_text(path.read_text().replace("00:10", "00:20"))
    assert [problem.code for problem in lake.verify().problems] == ["FILE_ALTERED"]
    with pytest.raises(StoreError, match=r"gaps.csv is not what was written"):
        lake.gaps(series)


def test_gaps_that_touch_are_one_and_sources_stay_apart():
    at = [datetime(2025, 7, day, tzinfo=UTC) for day in (1, 2)]
    found = joined(
        [
            Gap(20, 30, at[1], "a"),
            Gap(0, 10, at[0], "a"),
            Gap(10, 20, at[0], "a"),
            Gap(5, 9, at[0], "b"),
        ]
    )
    assert found == [Gap(0, 30, at[1], "a"), Gap(5, 9, at[0], "b")]


GOOD_ROW = "('2025-06-01T00:00Z'::timestamptz, 2.0, 3.0, 1.0, 2.5, 0.0, 'x')"


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (f"{GOOD_ROW}, {GOOD_ROW}", "1 rows where an earlier row has the same time"),
        (
            f"{GOOD_ROW}, ('2025-06-01T00:02Z', 2, 3, 1, 2, 0, 'x'), "
            "('2025-06-01T00:01Z', 2, 3, 1, 2, 0, 'x')",
            "1 rows before the one above them, first at 2025-06-01T00:01:00Z",
        ),
        (f"{GOOD_ROW}, ('2025-07-01T00:00Z', 2, 3, 1, 2, 0, 'x')", "1 rows of another month"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01:30Z', 2, 3, 1, 2, 0, 'x')", "not a whole minute"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 'nan'::double, 1, 2, 0, 'x')", "is not finite"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 3, 0, 2, 0, 'x')", "a price is not positive"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 1.5, 1, 2, 0, 'x')", "the high is below"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 3, 2.5, 2, 0, 'x')", "the low is above"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 3, 1, 2, -1, 'x')", "volume is negative"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 3, 1, NULL, 0, 'x')", "a value is missing"),
        (f"{GOOD_ROW}, ('2025-06-01T00:01Z', 2, 3, 1, 2, 0, NULL)", "a source is missing"),
    ],
)
def test_verify_names_what_is_wrong_inside_a_file(lake, month_file, rows, sentence):
    columns = "ts, open, high, low, close, volume, source"
    types = "ts, open::double open, high::double high, low::double low, close::double close"
    month_file.unlink()
    duckdb.sql(
        f"COPY (SELECT {types}, volume::double volume, source FROM (VALUES {rows}) t({columns})) "
        f"TO '{month_file}' (FORMAT parquet)"
    )
    checksum = hashlib.sha256(month_file.read_bytes()).hexdigest()
    (month_file.parent / "SHA256SUMS").write_text(f"{checksum}  2025-06.parquet\n")
    (problem,) = lake.verify().problems
    assert problem.code == "CONTENT_WRONG"
    assert "2025-06.parquet: " in problem.text
    assert sentence in problem.text


def test_verify_counts_prices_of_a_foreign_file_that_are_rounded_when_read(lake, month_file):
    month_file.unlink()
    row = "'2025-06-01T00:00Z'::timestamptz ts, 2.12345678::double open, 3::double high"
    rest = "1::double low, 2.5::double as close, 0::double volume, 'x' source"
    duckdb.sql(f"COPY (SELECT {row}, {rest}) TO '{month_file}' (FORMAT parquet)")
    checksum = hashlib.sha256(month_file.read_bytes()).hexdigest()
    (month_file.parent / "SHA256SUMS").write_text(f"{checksum}  2025-06.parquet\n")
    (series,) = lake.verify().series
    assert series.rounded == 1
    assert everything(lake).open.tolist() == [2_123_457]


def test_verify_names_a_file_with_other_columns_and_one_that_is_no_parquet(lake, month_file):
    duckdb.sql(f"COPY (SELECT 1 AS a) TO '{month_file}' (FORMAT parquet)")
    other = month_file.with_name("2025-07.parquet")
    other.write_bytes(b"PAR1 but not really")
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in (month_file, other)
    ]
    (month_file.parent / "SHA256SUMS").write_text("".join(lines))
    first, second = lake.verify().problems
    assert "2025-06.parquet: has the columns a INTEGER; expected ts, open" in first.text
    assert "2025-07.parquet: cannot be read as Parquet" in second.text
    with pytest.raises(StoreError):
        everything(lake)


def test_verify_names_what_does_not_belong(lake, month_file):
    (lake.root / "notes.txt").write_text("")
    (lake.root / "spot" / "list.csv").write_text("")
    (month_file.parent / "2025-13.parquet").write_text("")
    problems = lake.verify().problems
    assert {problem.code for problem in problems} == {"STRANGE_FILE"}
    assert len(problems) == 3


# several at once, and crashes


def test_a_second_writer_waits_and_then_gives_up(tmp_path):
    with sealed.locked(tmp_path / "x"), pytest.raises(Busy, match="another process"):  # noqa: SIM117
        with sealed.locked(tmp_path / "x", timeout_s=0.05):
            pass
    with sealed.locked(tmp_path / "x", timeout_s=0.05):
        pass


WRITER = """
    import sys
    from tests.market.test_candles import Lake, a_series
    lake = Lake(sys.argv[1])
    for n in range(int(sys.argv[2]), 40, 2):
        lake.write(a_series([n]), "a test")
        print(n, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_writers_lose_nothing_and_a_reader_always_sees_whole_candles(lake):
    writers = [start(WRITER, lake.root, first) for first in (0, 1)]
    while any(writer.poll() is None for writer in writers):
        if len(seen := everything(lake)):
            assert seen == a_series(minutes_of(seen))
    assert [writer.wait() for writer in writers] == [0, 0]
    assert everything(lake) == a_series(range(40))
    assert lake.verify().ok


def test_what_a_killed_writer_had_written_is_there(lake):
    for _ in range(3):
        writer = start(WRITER, lake.root, 0)
        done = [int(writer.stdout.readline()) for _ in range(5)]
        writer.kill()
        done += [int(line) for line in writer.communicate()[0].splitlines()]
        there = everything(lake)
        assert set(done) <= set(minutes_of(there))
        assert there == a_series(minutes_of(there))
        assert {problem.code for problem in lake.verify().problems} <= {"WRITE_CUT_SHORT"}
    lake.write(a_series([99]), "a test")
    assert lake.verify().ok


# Copies a lake, and kills a copy's writer before its first, second, ... call that touches the disk.
KILLER = """
    import os, shutil, signal, sys
    from tests.market.test_candles import Lake, a_series

    def mortal(call):
        def counted(*arguments):
            global lives
            if lives == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            lives -= 1
            return call(*arguments)
        return counted

    for lives in range(100):
        root = f"{sys.argv[1]}-{lives}"
        shutil.copytree(sys.argv[1], root)
        child = os.fork()  # nothing has started a thread yet
        if not child:
            os.fsync, os.replace = mortal(os.fsync), mortal(os.replace)
            Lake(root).write(a_series(range(-3, 5)), "a test")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(root, flush=True)
        if not os.WIFSIGNALED(status):
            break
"""


def test_a_writer_killed_at_any_step_leaves_each_month_old_or_new(lake):
    old, new = a_series(range(3)), a_series(range(-3, 5))
    lake.write(old, "a test")
    roots = start(KILLER, lake.root).communicate()[0].split()
    assert len(roots) > 10
    states, unsettled = set(), 0
    for root in roots:
        killed = Lake(root)
        lines = (Path(root) / "spot" / "BTCUSDT" / "SHA256SUMS").read_text().splitlines()
        in_between = len(lines) > len({line.split()[1] for line in lines})
        may, june = killed.read("BTCUSDT", LONG_AGO, TURN), killed.read("BTCUSDT", TURN, FAR_OFF)
        assert minutes_of(may) in ([], [-3, -2, -1])
        assert minutes_of(june) in ([0, 1, 2], [0, 1, 2, 3, 4])
        states.add((len(may), len(june)))
        codes = {problem.code for problem in killed.verify().problems}
        assert codes <= {"WRITE_CUT_SHORT"}
        assert codes or not in_between
        unsettled += in_between
        again = killed.write(new, "a test")
        assert again.added == 8 - len(may) - len(june)
        assert everything(killed) == new
        assert killed.verify().ok  # a write that changes nothing settles what was left, too
    assert {(0, 3), (3, 5)} <= states
    assert unsettled >= 3
