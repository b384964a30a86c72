"""The watch keeps a look at the books every minute when asked to, and is never disturbed by it."""

from __future__ import annotations

from tests.stage import minutes, moment
from tgtqr_lib import ledger
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import DataError, VenueUnavailable
from tgtqr_lib.market.book_lake import BookLake

SPAN = moment("2026-11-22T00:00"), moment("2026-11-23T00:00")


def looks(stage, symbol="BTCUSDT"):
    return BookLake(stage.home.book).read(symbol, *SPAN)


def log(stage) -> str:
    return stage.home.log.read_text("utf-8")


def test_without_the_setting_nothing_is_recorded(stage):
    stage.beat("10:16:03")
    assert not stage.home.book.exists()


def test_every_beat_keeps_a_look_at_each_book(stage):
    stage.configure("record_book = true")
    for at in minutes("10:16", 3):
        stage.beat(at)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        found = looks(stage, symbol)
        assert found.at_ms.tolist() == [to_ms(moment(at)) for at in ("10:16", "10:17", "10:18")]
        # a spread of 1 bp on 100,000 and 2,500: 10,000 of 1e-8, give or take a price step a side
        assert all(9_900 <= spread <= 18_100 for spread in found.columns["spread"])
        assert set(found.columns["levels"]) == {25}


def test_a_second_beat_in_the_minute_adds_nothing(stage):
    stage.configure("record_book = true")
    stage.beat("10:16:03")
    stage.beat("10:16:33")
    assert len(looks(stage)) == 1


def test_a_book_that_cannot_be_read_is_told_and_the_beat_goes_on(stage, monkeypatch):
    stage.configure("record_book = true")
    real = stage.desk.exchange.quote

    def quote(symbol):
        if symbol == "BTCUSDT":
            raise DataError("BTCUSDT: the order book has an empty side")
        return real(symbol)

    monkeypatch.setattr(stage.desk.exchange, "quote", quote)
    seen = stage.beat("10:16:03")
    assert seen.equity == 10 and ledger.newest_mark(stage.desk.con) is not None
    assert len(looks(stage)) == 0 and len(looks(stage, "ETHUSDT")) == 1
    assert "book_not_seen" in log(stage) and "has an empty side" in log(stage)


def test_an_exchange_that_is_gone_for_the_book_alone_does_not_end_the_beat(stage, monkeypatch):
    stage.configure("record_book = true")

    def quote(symbol):
        raise VenueUnavailable(f"{symbol}: no answer in 5 s")

    monkeypatch.setattr(stage.desk.exchange, "quote", quote)
    assert stage.beat("10:16:03").equity == 10
    assert len(looks(stage)) == 0


def test_a_lake_that_cannot_be_written_is_told_and_the_beat_goes_on(stage):
    stage.configure("record_book = true")
    stage.home.book.parent.mkdir(exist_ok=True)
    stage.home.book.write_text("a file where a folder belongs")
    assert stage.beat("10:16:03").equity == 10
    assert "book_not_kept" in log(stage)
