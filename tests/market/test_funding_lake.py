"""Funding rates in the lake: what goes in comes out, and what cannot be is refused or seen."""

import hashlib
from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from tests.recorded import recorded
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import DataError, DomainError, StoreError
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates, settlement_grid
from tgtqr_lib.market.importer import import_file

HOUR = 3_600_000
DAY_MS = to_ms(parse_time("2025-06-01"))
EARLY, LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def rates(
    hours, units=None, minutes=480, source="bybit linear; by hand", symbol="BTCUSDT"
) -> FundingRates:
    """Settlements at `hours` of 2025-06-01, by default each at a rate of its own, every second negative."""
    hours = list(hours)
    if units is None:
        units = [int((-1) ** (h // 8) * (1_000_000 + h)) for h in hours]
    return FundingRates.of(symbol, [DAY_MS + h * HOUR for h in hours], units, minutes, source)


def everything(lake, symbol="BTCUSDT") -> list[tuple]:
    found = lake.read(symbol, EARLY, LATE)
    return list(
        zip(
            found.at_ms.tolist(),
            found.units.tolist(),
            found.minutes.tolist(),
            found.source,
            strict=True,
        )
    )


def as_list(given: FundingRates) -> list[tuple]:
    columns = given.at_ms.tolist(), given.units.tolist(), given.minutes.tolist(), given.source
    return list(zip(*columns, strict=True))


@pytest.fixture
def lake(tmp_path) -> FundingLake:
    return FundingLake(tmp_path / "funding")


@pytest.fixture
def file(lake):
    lake.write(rates(range(0, 72, 8)))
    return lake.root / "linear" / "BTCUSDT.parquet"


def test_what_was_written_is_read_in_whatever_order_it_came(lake):
    for part in ([32, 40], [0, 8], [16, 24], [8, 16]):
        lake.write(rates(part))
    assert everything(lake) == as_list(rates(range(0, 48, 8)))
    assert everything(lake, "ETHUSDT") == []
    at = [datetime.fromtimestamp(DAY_MS / 1000 + h * 3600, UTC) for h in (8, 24)]
    assert lake.read("BTCUSDT", *at).at_ms.tolist() == [DAY_MS + 8 * HOUR, DAY_MS + 16 * HOUR]


def test_writing_twice_equals_writing_once(lake, file):
    before = file.read_bytes()
    report = lake.write(rates(range(0, 72, 8)))
    assert (report.added, report.kept, report.revised, file.read_bytes()) == (0, 9, 0, before)
    assert str(lake.write(rates([72]))) == (
        "BTCUSDT linear funding: 1 settlements added, 0 were there."
    )


def test_any_engine_reads_the_file(file):
    first = duckdb.sql(f"SELECT epoch_ms(ts), * EXCLUDE (ts) FROM '{file}' LIMIT 2").fetchall()
    # 1,000,000 and -1,000,008 units of 1e-10
    assert first == [
        (DAY_MS, 0.0001, 480, "bybit linear; by hand"),
        (DAY_MS + 8 * HOUR, -0.0001000008, 480, "bybit linear; by hand"),
    ]
    line = (file.parent / "SHA256SUMS").read_text()
    assert line == f"{hashlib.sha256(file.read_bytes()).hexdigest()}  BTCUSDT.parquet\n"


def test_another_rate_for_a_known_settlement_is_an_error_unless_revised(lake, file):
    before = file.read_bytes()
    other = rates([64, 72], units=[5, 6], source="elsewhere")
    with pytest.raises(DataError) as caught:
        lake.write(other)
    # 64 hours after 2025-06-01, the ninth settlement, is 16:00 of the third day
    assert (
        "BTCUSDT funding: the settlement of 2025-06-03T16:00:00Z is in the lake as 0.0001000064"
        in str(caught.value)
    )
    assert "came as 0.0000000005 (elsewhere); 1 such, expected none" in str(caught.value)
    assert file.read_bytes() == before
    report = lake.write(other, revise=True)
    assert (report.added, report.revised) == (1, 1)
    assert everything(lake)[-2:] == as_list(other)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (rates([0, 0]), "not in order of time, or one came twice"),
        (rates([8, 0]), "not in order of time"),
        (rates([0], units=[10**10]), "2025-06-01T00:00:00Z at 1., 480 minutes, is no rate"),
        (rates([0, 4]), "04:00:00Z .* is not on the grid of its interval"),
        (rates([0], minutes=77), "77 minutes, has an interval not among"),
    ],
)
def test_rates_that_cannot_be_are_not_written(lake, wrong, sentence):
    with pytest.raises(DataError, match=sentence):
        lake.write(wrong)
    assert not lake.root.exists()


def test_questions_without_a_zone_or_a_symbol_are_refused(lake):
    with pytest.raises(DomainError, match="has no time zone"):
        lake.read("BTCUSDT", datetime(2025, 6, 1), LATE)
    with pytest.raises(DomainError, match="not a symbol"):
        lake.read("../etc", EARLY, LATE)


def test_verify_gives_figures_and_gaps(lake):
    assert lake.verify().ok and lake.verify().series == ()
    lake.write(rates([0, 8, 32, 40, 56]))  # without 16 and 24, and 48
    (figures,) = lake.verify().series
    assert (figures.rows, figures.gaps, figures.missing) == (5, 2, 3)
    assert str(figures) == (
        "BTCUSDT linear funding: 5 settlements, 2025-06-01 00:00 to 2025-06-03 08:00 UTC, "
        "3 missing in 2 gaps."
    )


def test_a_flipped_bit_is_seen(lake, file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"BTCUSDT.parquet is not what was written"):
        everything(lake)
    with pytest.raises(StoreError, match=r"BTCUSDT.parquet is not what was written"):
        lake.write(rates([200]))
    assert [problem.code for problem in lake.verify().problems] == ["FILE_ALTERED"]


def test_a_lost_file_and_a_strange_one_are_seen(lake, file):
    (lake.root / "notes.txt").write_text("")
    (file.parent / "list.csv").write_text("")
    file.unlink()
    codes = sorted(problem.code for problem in lake.verify().problems)
    assert codes == ["FILE_LOST", "STRANGE_FILE", "STRANGE_FILE"]
    with pytest.raises(StoreError, match="is in SHA256SUMS but not there"):
        everything(lake)


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ("(0, 0.1, 480), (0, 0.1, 480)", "1 rows where an earlier row has the same time"),
        ("(8, 0.1, 480), (0, 0.1, 480)", "1 rows before the one above them"),
        ("(4, 0.1, 480)", "1 rows off the grid of their interval, first at 2025-06-01T04:00:00Z"),
        ("(7, 0.1, 7)", "1 rows with an interval that no settlement has"),
        ("(0, 1.5, 480)", "a rate is not a fraction below 1"),
        ("(0, NULL, 480)", "a value is missing"),
    ],
)
def test_verify_names_what_is_wrong_inside_a_file(lake, file, rows, sentence):
    file.unlink()
    select = (
        f"SELECT to_timestamp(({DAY_MS} + h * {HOUR}) / 1000) AS ts, rate::double AS rate, "
        f"m::bigint AS interval_minutes, 'x' AS source FROM (VALUES {rows}) t(h, rate, m)"
    )
    duckdb.sql(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    (file.parent / "SHA256SUMS").write_text(f"{checksum}  BTCUSDT.parquet\n")
    assert sentence in "\n".join(problem.text for problem in lake.verify().problems)


@pytest.mark.parametrize(
    "start, end, minutes, hours",
    [(0, 24, 480, [0, 8, 16]), (1, 9, 480, [8]), (-1, 3, 60, [-1, 0, 1, 2])],
)
def test_settlements_lie_on_multiples_of_the_interval_since_midnight(start, end, minutes, hours):
    found = settlement_grid(DAY_MS + start * HOUR, DAY_MS + end * HOUR, minutes)
    assert found.tolist() == [DAY_MS + h * HOUR for h in hours]


# import


def a_file(tmp_path, rows, name="funding.parquet"):
    path = tmp_path / name
    columns = "ts timestamptz, symbol varchar, rate double, source varchar"
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE rows ({columns})")
        con.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
        con.execute(f"COPY rows TO '{path}' (FORMAT parquet)")
    return path


def a_row(hour, rate=0.0001, symbol="BTCUSDT", source="bybit linear; x"):
    return (
        f"2025-06-{1 + int(hour) // 24:02}T{int(hour) % 24:02}:{round(hour % 1 * 60):02}Z",
        symbol,
        rate,
        source,
    )


def test_a_file_of_rates_becomes_a_series_a_symbol(lake, tmp_path):
    rows = [a_row(8), a_row(0, -0.00375), a_row(16), a_row(24)]
    rows += [a_row(h, 0.00022753, "ETHUSDT") for h in (0, 8, 16)]
    report = import_file(a_file(tmp_path, rows), Lake(tmp_path / "candles"), funding=lake)
    assert (report.rows, report.refused, [w.added for w in report.writes]) == (7, 0, [4, 3])
    assert lake.read("BTCUSDT", EARLY, LATE).units.tolist() == [-37_500_000, *[1_000_000] * 3]
    assert set(lake.read("ETHUSDT", EARLY, LATE).units.tolist()) == {2_275_300}
    assert lake.verify().ok


@pytest.mark.parametrize(
    "row, reason",
    [
        (
            a_row(26, float("nan")),
            "the rate is not a finite fraction below 1: 2025-06-02T02:00:00Z, rate nan",
        ),
        (a_row(32, 1.0), "the rate is not a finite fraction below 1"),
        (
            a_row(26.5),
            "the time is not a whole 480 minutes, nor of another interval: 2025-06-02T02:30:00Z",
        ),
        (a_row(8, 0.5), "an earlier row has the same time"),
        (a_row(32, None), "a value is missing: rate"),
        (a_row(32, symbol=None), "a value is missing: symbol"),
    ],
)
def test_a_wrong_settlement_is_refused_by_number_and_reason(lake, tmp_path, row, reason):
    rows = [a_row(0), a_row(8), row, a_row(16), a_row(24)]
    report = import_file(a_file(tmp_path, rows), Lake(tmp_path / "candles"), funding=lake)
    (refusal,) = report.refusals
    assert (refusal.row, report.refused, report.writes[0].added) == (3, 1, 4)
    assert refusal.reason.startswith(reason)


def test_a_contradiction_in_one_symbol_leaves_all_as_they_were(lake, tmp_path):
    lake.write(rates([0], units=[5], symbol="ETHUSDT"))
    rows = [a_row(h) for h in (0, 8, 16)] + [a_row(h, symbol="ETHUSDT") for h in (0, 8, 16)]
    path = a_file(tmp_path, rows)
    with pytest.raises(DataError, match="ETHUSDT funding: the settlement of 2025-06-01T00:00:00Z"):
        import_file(path, Lake(tmp_path / "candles"), funding=lake)
    assert everything(lake) == [] and len(everything(lake, "ETHUSDT")) == 1
    report = import_file(path, Lake(tmp_path / "candles"), funding=lake, revise=True)
    assert [w.revised for w in report.writes] == [0, 1]


def test_intervals_that_no_perpetual_has_and_spot_are_refused(lake, tmp_path):
    path = a_file(tmp_path, [a_row(h) for h in range(0, 30, 3)])
    with pytest.raises(DataError, match="the settlements are 180 minutes apart; expected one of"):
        import_file(path, Lake(tmp_path / "candles"), funding=lake)
    with pytest.raises(DomainError, match="spot has no funding; expected linear"):
        import_file(path, Lake(tmp_path / "candles"), funding=lake, market="spot")
    assert not lake.root.exists()


@pytest.mark.parametrize(
    "name, first, rows, gaps, missing",
    [
        ("bybit-linear", "2021-01-01", 4890, 0, 0),
        ("binance-usdm", "2020-01-01", 4696, 1, 1292),
    ],
)
def test_recorded_rates_keep_their_figures(lake, tmp_path, name, first, rows, gaps, missing):
    path = recorded(f"funding_8h_{name}.parquet")
    report = import_file(path, Lake(tmp_path / "candles"), funding=lake)
    assert (report.rows, report.refused) == (2 * rows, 0)
    checked = lake.verify()
    assert checked.ok
    for figures in checked.series:
        assert (figures.rows, figures.gaps, figures.missing) == (rows, gaps, missing)
        assert f"{figures.first:%Y-%m-%d}" == first
        assert f"{figures.last:%Y-%m-%d %H:%M}" == "2025-06-18 16:00"
    # every rate as it was, to the last digit
    known = duckdb.sql(f"SELECT rate FROM '{path}' WHERE symbol = 'ETHUSDT' ORDER BY ts").fetchall()
    found = lake.read("ETHUSDT", EARLY, LATE).units / 10**10
    assert np.abs(found - np.array(known).ravel()).max() <= (5e-11 if report.rounded_prices else 0)
