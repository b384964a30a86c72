"""The watch keeps a look at the books every minute when asked to, and is never disturbed by it."""

from __future__ import annotations

import json

from tests.stage import minutes, moment
from tgtqr_lib import cli, ledger
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import DataError, VenueUnavailable
from tgtqr_lib.market import sealed
from tgtqr_lib.market.book_lake import BookLake
from tgtqr_lib.recording import Looks

SPAN = moment("2026-11-22T00:00"), moment("2026-11-23T00:00")


def looks(stage, symbol="BTCUSDT"):
    return BookLake(stage.home.book).read(symbol, *SPAN)


def log(stage) -> str:
    return stage.home.log.read_text("utf-8")


def test_without_the_setting_nothing_is_recorded(stage):
    seen = stage.beat("10:16:03")
    assert not stage.home.book.exists()
    assert seen.looks is None and seen.plain()["looks"] is None


def test_every_beat_keeps_a_look_at_each_book(stage):
    stage.configure("record_book = true")
    for at in minutes("10:16", 3):
        assert stage.beat(at).looks == Looks(2)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        found = looks(stage, symbol)
        assert found.at_ms.tolist() == [to_ms(moment(at)) for at in ("10:16", "10:17", "10:18")]
        # a spread of 1 bp on 100,000 and 2,500: 10,000 of 1e-8, give or take a price step a side
        assert all(9_900 <= spread <= 18_100 for spread in found.columns["spread"])
        assert set(found.columns["levels"]) == {25}


def test_a_second_beat_in_the_minute_adds_nothing(stage):
    stage.configure("record_book = true")
    stage.beat("10:16:03")
    again = stage.beat("10:16:33").looks
    assert len(looks(stage)) == 1
    assert again == Looks(0) and again.lines == ("0 kept, this minute has them already",)


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
    assert seen.looks == Looks(1, ("BTCUSDT: the order book has an empty side",))
    assert seen.looks.lines == ("1 kept", "BTCUSDT: the order book has an empty side")
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


def test_whatever_goes_wrong_with_a_book_the_beat_goes_on(stage, monkeypatch):
    stage.configure("record_book = true")

    def quote(symbol):
        raise KeyError(symbol)

    monkeypatch.setattr(stage.desk.exchange, "quote", quote)
    seen = stage.beat("10:16:03")
    assert seen.equity == 10 and seen.looks.kept == 0
    assert seen.looks.problems == ("KeyError: 'BTCUSDT'", "KeyError: 'ETHUSDT'")


def test_another_writer_is_no_matter_of_the_beat(stage):
    stage.configure("record_book = true")
    with sealed.locked(BookLake(stage.home.book).folder):
        seen = stage.beat("10:16:03")
    assert seen.equity == 10 and seen.looks.kept == 0
    assert "another process has been writing here" in seen.looks.problems[0]


def damaged(stage) -> None:
    """The file of BTCUSDT is no longer what was written."""
    (path,) = stage.home.book.rglob("BTCUSDT-*.parquet")
    path.write_bytes(b"PAR1 no more")


def test_a_damaged_file_is_told_by_every_beat_and_the_other_symbol_is_kept(stage):
    stage.configure("record_book = true")
    stage.beat("10:16:03")
    damaged(stage)
    for at in ("10:17:03", "10:18:03"):
        seen = stage.beat(at)
        assert seen.equity == 10 and seen.looks.kept == 1
        (problem,) = seen.looks.problems
        assert "BTCUSDT-2026-11-22.parquet is not what was written" in problem
        assert "cannot be fetched again" in problem
    assert len(looks(stage, "ETHUSDT")) == 3
    told = [line for line in log(stage).splitlines() if " book_not_kept " in line]
    assert len(told) == 2 and all(" WARNING book_not_kept " in line for line in told)


def command(stage, capsys, *words: str) -> str:
    assert cli.main([*words, "--home", str(stage.home.root)]) == 0
    return capsys.readouterr().out


def test_lost_checksums_are_told_in_the_line_of_the_beat_and_in_json(stage, capsys):
    stage.configure("record_book = true")
    stage.at("10:16:03")
    assert "  looks at the order books: 2 kept\n" in command(stage, capsys, "watch", "--once")
    (stage.home.book / "spot" / "SHA256SUMS").unlink()

    stage.at("10:17:03")
    assert "books: 0 kept\n    " in command(stage, capsys, "watch", "--once")
    stage.at("10:18:03")
    facts = json.loads(command(stage, capsys, "watch", "--once", "--json"))["looks"]
    assert facts["kept"] == 0
    assert [("has no line in SHA256SUMS" in text) for text in facts["problems"]] == [True, True]


def test_status_tells_the_age_of_the_newest_look_or_what_is_wrong(stage, capsys):
    stage.at("10:16:03")
    command(stage, capsys, "watch", "--once")
    assert "order book" not in command(stage, capsys, "status")

    stage.configure("record_book = true")
    assert "the order book of ETHUSDT: none yet\n" in command(stage, capsys, "status")
    command(stage, capsys, "watch", "--once")
    stage.at("10:17:45")  # 102 s after 10:16:03
    assert "of BTCUSDT: the newest is 102 s old\n" in command(stage, capsys, "status")
    damaged(stage)
    assert "parquet is not what was written" in command(stage, capsys, "status")
    first, second = json.loads(command(stage, capsys, "status", "--json"))["looks"]
    assert (first["symbol"], first["newest"], first["age_s"]) == ("BTCUSDT", None, None)
    assert "is not what was written" in first["problem"]
    assert (second["newest"], second["age_s"]) == ("2026-11-22T10:16:03Z", 102)


def test_data_of_a_damaged_file_of_looks_end_a_command_with_5(stage, capsys):
    stage.configure("record_book = true")
    stage.beat("10:16:03")
    damaged(stage)
    assert cli.main(["data", "verify", "--home", str(stage.home.root)]) == 5
    assert "cannot be fetched again" in "".join(capsys.readouterr())
