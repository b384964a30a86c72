"""research.connect(): seven views over lake and ledger, as exact as what was written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.stage import moment, rise
from tgtqr_lib import ledger, research
from tgtqr_lib.domain import BookFeatures, Candles, Damaged, StoreError
from tgtqr_lib.home import Home
from tgtqr_lib.market.book_lake import BookLake, Look
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.research.views import VIEWS

NAMES = ("candles", "funding", "book", "ticks", "decisions", "fills", "equity")
MAY_31_2358 = datetime(2025, 5, 31, 23, 58, tzinfo=UTC)


def written(symbol: str, market: str, first: float, decimals: int = 1) -> Candles:
    """Four minutes over the end of May 2025; closes rise by one step from `first`."""
    start = int(MAY_31_2358.timestamp() * 1000)
    close = round(first * 10**decimals) + np.arange(4)
    return Candles(
        symbol, decimals, start + np.arange(4) * 60_000, close, close + 2, close - 3, close,
        np.full(4, 1_500_001), market,
    )  # fmt: skip


@pytest.fixture
def lake(home) -> Lake:
    """Two symbols, two markets, two months, and what is no one-minute candle of trades."""
    lake = Lake(home.candles)
    lake.write(written("BTCUSDT", "spot", 100_000.1), "by hand")
    lake.write(written("BTCUSDT", "linear", 100_500.0), "by hand")
    lake.write(written("ETHUSDT", "spot", 2500.01, decimals=2), "other hand")
    lake.write(written("BTCUSDT", "linear", 100_400.0), "by hand", mark=True)
    hours = written("BTCUSDT", "spot", 1.0)
    start = int(datetime(2025, 5, 31, 20, tzinfo=UTC).timestamp() * 1000)
    hours = Candles(
        "BTCUSDT", 1, start + np.arange(4) * 3_600_000, hours.open, hours.high, hours.low,
        hours.close, hours.volume,
    )  # fmt: skip
    lake.write(hours, "by hand", interval="1h")
    return lake


def test_an_empty_home_has_all_views_empty_and_nothing_is_made(tmp_path):
    home = tmp_path / "nothing"

    con = research.connect(home)

    assert {name: con.execute(f"FROM {name}").fetchall() for name in NAMES} == {
        n: [] for n in NAMES
    }
    assert not home.exists()


@pytest.mark.parametrize("name", NAMES)
def test_every_view_has_its_declared_columns_empty_or_not(name, home, lake, tmp_path):
    for place in (tmp_path / "nothing", home.root):
        con = research.connect(place)
        found = con.execute(f"DESCRIBE {name}").fetchall()
        declared = [(c.name, c.type.replace(", ", ",")) for c in VIEWS[name].columns]
        assert [(row[0], row[1]) for row in found] == declared


def test_every_column_says_what_it_is(home):
    con = research.connect(home)

    rows = research.columns(con).fetchall()

    assert {row[0] for row in rows} == set(NAMES)
    assert ("fills", "fee", "DECIMAL(18,8)", "in units of fee_currency") in rows
    assert all(row[3] for row in rows)
    assert not [row for row in rows if row[2] in ("DOUBLE", "FLOAT", "TIMESTAMP")]


def test_nothing_is_fetched_from_anywhere(home):
    con = research.connect(home)

    found = con.execute(
        "SELECT current_setting('autoinstall_known_extensions'), "
        "current_setting('autoload_known_extensions'), current_setting('TimeZone')"
    ).fetchone()

    assert found == (False, False, "UTC")


def test_candles_are_exact_and_each_series_is_its_own(home, lake):
    con = research.connect(home)

    rows = con.execute("FROM candles ORDER BY market, symbol, ts").fetchall()

    assert len(rows) == 12  # three series of four minutes; the mark price and the hours are others
    assert rows[4] == (
        "spot", "BTCUSDT", MAY_31_2358, Decimal("100000.1"), Decimal("100000.3"),
        Decimal("99999.8"), Decimal("100000.1"), Decimal("1.500001"), "by hand",
    )  # fmt: skip
    # opens, highs and lows of the last minute of ETH, in June: 2500.01 + 3 steps of 0.01
    assert rows[-1][2] == MAY_31_2358 + timedelta(minutes=3)
    assert rows[-1][6] == Decimal("2500.04")
    # DECIMAL sums do not drift: 4 x 100000.1 + (0 + 1 + 2 + 3) x 0.1
    total = con.execute(
        "SELECT sum(close) FROM candles WHERE market = 'spot' AND symbol = 'BTCUSDT'"
    )
    assert total.fetchone()[0] == Decimal("400001.0")


def test_a_month_can_be_asked_for_by_utc_time(home, lake):
    con = research.connect(home)

    june = con.execute("SELECT count(*) FROM candles WHERE ts >= '2025-06-01'").fetchone()

    assert june == (6,)  # two minutes of each of three series


def test_funding_is_exact(home):
    at = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000) + np.arange(2) * 28_800_000
    rates = FundingRates.of("BTCUSDT", at, [1_000_000, -333_333], 480, "by hand")
    FundingLake(home.funding).write(rates)

    rows = research.connect(home).execute("FROM funding ORDER BY ts").fetchall()

    assert [(row[0], row[1], row[3], row[4]) for row in rows] == [
        ("linear", "BTCUSDT", Decimal("0.0001"), 480),
        ("linear", "BTCUSDT", Decimal("-0.0000333333"), 480),
    ]
    assert rows[1][2] == datetime(2025, 6, 1, 8, tzinfo=UTC)


def test_a_flipped_bit_is_told_and_named(home, lake):
    path = home.candles / "spot" / "BTCUSDT" / "2025-06.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    with pytest.raises(Damaged, match=r"2025-06\.parquet is not what was written"):
        research.connect(home)


def test_a_lost_month_is_told(home, lake):
    (home.candles / "spot" / "BTCUSDT" / "2025-05.parquet").unlink()

    with pytest.raises(Damaged, match=r"2025-05\.parquet is in SHA256SUMS but not there"):
        research.connect(home)


def test_odd_names_of_folders_are_no_patterns(tmp_path):
    home = Home(tmp_path / "it's [a] *? 50% #1").make()
    Lake(home.candles).write(written("BTCUSDT", "spot", 100_000.1), "by hand")
    with closing(ledger.connect(home.ledger)):
        pass

    con = research.connect(home)

    assert con.execute("SELECT count(*) FROM candles").fetchone() == (4,)
    assert con.execute("SELECT count(*) FROM fills").fetchone() == (0,)


# the ledger


@pytest.fixture
def played(stage):
    """10:15 buys BTC; 10:30 sells it and buys ETH; 10:45 is missed."""
    rise(stage)
    stage.arm()
    stage.market.set("BTCUSDT", "10:29", "99900.0")
    stage.market.set("ETHUSDT", "10:29", "2502.50")
    stage.tick("10:15")
    stage.beat("10:29")
    stage.tick("10:30")
    stage.tick("10:45", start_s=61)
    return stage


def test_fills_are_what_a_pencil_says(played):
    # the same figures are worked out in tests/test_tick.py: ask 100105.1, bid 99895.0, ask 2502.63
    rows = research.connect(played.home).execute(
        "SELECT order_id, side, quantity, price, notional, fee, fee_currency, filled_at, account "
        "FROM fills ORDER BY seq"
    )
    late = moment("10:30:03")

    assert rows.fetchall() == [
        ("20261122T1015Z-BTC-B", "BUY", Decimal("0.000009"), Decimal("100105.1"),
         Decimal("0.90094590"), Decimal("0.00090095"), "USDT", moment("10:15:03"), "paper-1"),
        ("20261122T1030Z-BTC-S", "SELL", Decimal("0.000009"), Decimal("99895.0"),
         Decimal("0.89905500"), Decimal("0.00089906"), "USDT", late, "paper-1"),
        ("20261122T1030Z-ETH-B", "BUY", Decimal("0.00037"), Decimal("2502.63"),
         Decimal("0.92597310"), Decimal("0.00092598"), "USDT", late, "paper-1"),
    ]  # fmt: skip


def test_ticks_are_told_with_their_ends(played):
    rows = research.connect(played.home).execute(
        "SELECT tick_id, boundary, state, reason, claimed_at, orders, notebook IS NULL FROM ticks"
    )

    assert rows.fetchall() == [
        ("20261122T1015Z", moment("10:15"), "done", "FILLED", moment("10:15:03"), 1, False),
        ("20261122T1030Z", moment("10:30"), "done", "FILLED", moment("10:30:03"), 2, False),
        ("20261122T1045Z", moment("10:45"), "missed", "MISSED", None, 0, True),
    ]


def test_decisions_have_a_row_for_each_symbol(played):
    rows = (
        research.connect(played.home)
        .sql(
            "SELECT tick_id, symbol, signal, close, mean, approved, side, quantity, limit_price, "
            "refused_by FROM decisions ORDER BY seq, symbol"
        )
        .fetchall()
    )

    assert len(rows) == 4
    # close 100100.0, mean (59 x 100000 + 100100) / 60; limit 100100 x 1.01, nine lots
    assert rows[0] == (
        "20261122T1015Z", "BTCUSDT", "LONG", Decimal("100100"), Decimal("100001.66666667"), True,
        "BUY", Decimal("0.000009"), Decimal("101101"), [],
    )  # fmt: skip
    assert rows[2][2:4] == ("FLAT", Decimal("99900"))


def test_a_refused_order_names_the_rules(stage):
    rise(stage)
    stage.beat("10:14")
    stage.tick("10:15")  # nobody has armed it

    rows = research.connect(stage.home).execute(
        "SELECT signal, approved, reason, refused_by, limit_price FROM decisions ORDER BY symbol"
    )

    assert rows.fetchone() == (
        "LONG", False, "GATE_STOPPED", ["GATE_STOPPED"], Decimal("101101"),
    )  # fmt: skip


def test_marks_are_units_of_a_hundred_millionth(played):
    with closing(sqlite3.connect(played.home.ledger)) as con:
        expected = con.execute(
            "SELECT minute_ms, cash, equity FROM marks ORDER BY minute_ms"
        ).fetchall()

    found = research.connect(played.home).execute(
        "SELECT epoch_ms(ts), cash * 100000000, equity * 100000000 FROM equity ORDER BY ts"
    )

    assert len(expected) >= 2
    assert [tuple(map(int, row)) for row in found.fetchall()] == expected


def test_it_holds_up_no_tick_and_sees_what_was_there(played):
    con = research.connect(played.home)
    before = con.execute("SELECT count(*) FROM ticks").fetchone()

    # a transaction that began before it, and one after it: neither waits
    with ledger.writing(played.desk.con):
        research.connect(played.home)
        ledger.append(played.desk.con, ledger.Event("gate", "gate/test", {"what": "armed"}))
    played.tick("11:00")

    assert con.execute("SELECT count(*) FROM ticks").fetchone() == before == (3,)
    assert research.connect(played.home).execute("SELECT count(*) FROM ticks").fetchone() == (4,)


def test_the_ledger_is_not_changed(played):
    head = played.head()
    with closing(research.connect(played.home)) as con:
        con.execute("FROM ticks").fetchall()

    assert played.head() == head


def test_a_file_that_is_no_ledger_is_told(home):
    home.ledger.write_bytes(b"not a database, and long enough to be looked at" * 20)

    with pytest.raises(StoreError, match=r"ledger .*cannot be read"):
        research.connect(home)


def test_a_newer_ledger_is_told(home):
    with closing(ledger.connect(home.ledger)) as con:
        con.execute("PRAGMA user_version = 7")

    with pytest.raises(StoreError, match="version 7, expected 1"):
        research.connect(home)


def test_looks_at_order_books_are_rows_with_nothing_where_a_book_was_too_thin(home):
    minute = datetime(2025, 6, 1, 10, 15, tzinfo=UTC)
    seen = BookFeatures(minute + timedelta(seconds=3), 4, 10_000, -17, 250_000, None, None, None)
    BookLake(home.book).write([Look("ETHUSDT", minute, seen, "tick")])

    (row,) = research.connect(home).execute("FROM book").fetchall()

    assert row == (
        "spot", "ETHUSDT", minute, 3000, 4, 10_000, -17, 250_000, None, None, None, "tick",
    )  # fmt: skip


def test_an_altered_file_of_looks_is_named(home):
    minute = datetime(2025, 6, 1, 10, 15, tzinfo=UTC)
    seen = BookFeatures(minute, 25, 1, 0, 0, 0, 0, 1)
    lake = BookLake(home.book)
    lake.write([Look("ETHUSDT", minute, seen, "watch")])
    with (lake.folder / "ETHUSDT-2025-06-01.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(Damaged, match="is not what was written"):
        research.connect(home)
