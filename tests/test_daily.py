"""What a day came to: every figure worked out by hand on the stage's market, or counted anew from the ledger."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.stage import DAY, book_fill, files, minutes, moment, raw, rise
from tgtqr_lib import controls, daily, daily_page, gate, ledger
from tgtqr_lib.domain import DataError, DomainError, Fill, Level, Side, StoreError

NEXT = "2026-11-23"


@pytest.fixture
def traded(stage):
    """BTC bought at 10:15 and sold at 10:30, ETH bought at 10:45 and held, 11:00 and 11:15 missed."""
    rise(stage)
    stage.arm("10:14")
    stage.tick("10:15")
    for beat in minutes("10:15", 3):
        stage.beat(beat)
    stage.market.set("BTCUSDT", "10:25", "99000.0")
    stage.beat("10:29:03")
    stage.tick("10:30")
    stage.beat("10:30:05")
    stage.market.set("ETHUSDT", "10:44", "2510.00")
    stage.beat("10:44:03")
    stage.tick("10:45")
    stage.beat("10:45:04")
    stage.tick("11:30")
    return stage


def d(text: str) -> Decimal:
    return Decimal(text)


def test_the_days_money_is_what_a_pencil_gives(traded):
    (book,) = daily.of(traded.home, DAY).books
    # 9 lots at 100105.1 cost 0.9009459 and 0.00090095; sold at 98995 they bring 0.890955 less 0.00089096;
    # 37 lots at 2510.13 cost 0.9287481 and 0.00092875
    cash = d("10") - d("0.90184685") + d("0.89006404") - d("0.92967685")
    assert (book.start, book.cash) == (d("10.00"), cash)
    assert book.end == cash + d("0.00037") * d("2510")
    assert book.change == d("-0.01275966")
    assert book.fees == d("0.00090095") + d("0.00089096") + d("0.00092875")
    # 5.1 and 5.0 USDT beside the middle for 9 lots of a millionth, 0.13 for 37 of a hundred-thousandth
    assert book.spread == d("0.0000459") + d("0.000045") + d("0.0000481")
    # BTC fell by 1100 while 9 lots were held; ETH stands where it was bought
    assert book.earned == d("-0.0099")


def test_a_trade_is_told_from_middle_to_middle_with_all_that_both_fills_paid(traded):
    (book,) = daily.of(traded.home, DAY).books
    (trip,) = book.trips
    assert (trip.symbol, trip.quantity) == ("BTCUSDT", d("0.000009"))
    assert (trip.entry_price, trip.exit_price) == (d("100105.1"), d("98995"))
    assert (trip.entry_at, trip.exit_at) == (moment("10:15:03"), moment("10:30:03"))
    assert (trip.gross, trip.fees, trip.spread) == (d("-0.0099"), d("0.00179191"), d("0.0000909"))
    assert trip.net == d("-0.01178281") == d("0.89006404") - d("0.90184685")


def test_what_is_held_its_worst_case_and_every_distance(traded):
    (book,) = daily.of(traded.home, DAY).books
    (held,) = book.held
    assert (held.symbol, held.quantity, held.cost) == ("ETHUSDT", d("0.00037"), d("0.92967685"))
    assert (held.mark, held.worth, held.since) == (d("2510"), d("0.9287"), moment("10:45:03"))
    left = {name: distance for name, _, _, distance in book.distances}
    assert left == {
        "position BTCUSDT": d("1"),
        "position ETHUSDT": d("1") - d("0.92967685"),
        "day's floor": book.end - 8,
        "account's floor": book.end - 5,
    }
    # fees 0.00272066 and half spreads 0.000139 in the 76 minutes since 10:14
    assert book.runway == pytest.approx(
        (book.end - 5) / (d("0.00285966") * 24 * 60 / 76), rel=Decimal("1e-9")
    )


def test_every_quarter_hour_has_its_state_and_the_missed_ones_say_why(traded):
    found = daily.of(traded.home, DAY)
    assert found.counts == {"done": 4, "missed": 2}
    assert [(t.tick_id, t.text) for t in found.missed] == [
        ("20261122T1100Z", "it was not started within a minute of its time"),
        ("20261122T1115Z", "it was not started within a minute of its time"),
    ]
    assert found.unrecorded == 96 - 6 and not found.over and found.until == moment("11:30:00")
    assert [t.fills for t in found.ticks] == [1, 1, 1, 0, 0, 0]


def test_a_ticks_link_leads_from_the_reports_to_its_notebook(traded):
    links = [t.notebook for t in daily.of(traded.home, DAY).ticks]
    assert links[3:5] == [None, None]
    reports = traded.home.outputs / "reports"
    for link in (*links[:3], links[5]):
        assert (reports / link).resolve().is_file() and not link.startswith("/")
    (traded.home.ticks / "2026/11/22/20261122T1015Z.ipynb").unlink()
    assert daily.of(traded.home, DAY).ticks[0].notebook is None


def test_reasons_are_counted_as_a_loop_over_the_ledger_counts_them(traded):
    found = {(r.symbol, r.code): r.count for r in daily.of(traded.home, DAY).reasons}
    counted = Counter()
    for _, _, key, body, _ in raw(traded.home).execute("SELECT * FROM events"):
        if key.endswith("/decision"):
            counted.update((c["symbol"], c["reason"]) for c in json.loads(body)["choices"])
    assert found == {**counted, ("-", "MISSED"): 2}


@pytest.mark.parametrize("code", [*daily.RULES, *daily.MEANINGS])
def test_every_reason_has_a_meaning_in_words(code):
    words = daily.meaning(code)
    assert len(words.split()) > 4 and not words.startswith("Refuse")


def test_what_a_rule_refused_is_told_with_its_sentence_and_how_often(stage):
    rise(stage)
    stage.beat("10:14:03")
    assert stage.tick("10:15").state == "refused"
    stage.beat("10:29:03")
    stage.tick("10:30")
    found = daily.of(stage.home, DAY)
    btc = next(r for r in found.refusals if r.symbol == "BTCUSDT")
    assert (btc.code, btc.count, btc.ordered) == ("GATE_STOPPED", 2, 2)
    assert (btc.first, btc.last) == ("20261122T1015Z", "20261122T1030Z")
    assert btc.text.startswith("stopped: ")
    assert found.counts["refused"] >= 1 and not found.fills
    assert "GATE_STOPPED" in daily_page.refusals(found).markdown.replace("\\", "")


def test_a_stop_without_a_time_belongs_to_the_day_of_its_neighbours(traded):
    gate.stop(traded.home, "enough", "me")
    traded.beat("11:31:03")
    today = daily.of(traded.home, DAY)
    assert [(g.what, g.by, g.reason) for g in today.gates] == [
        ("armed", "a test", "a test"),
        ("stopped", "me", "enough"),
    ]
    assert today.gates[1].at is None and today.gate_before is None
    # the watch sells what is held at once, and that sale has a time
    assert today.gates[1].until == moment("11:31:03")
    traded.tick(f"{NEXT}T00:15")
    tomorrow = daily.of(traded.home, NEXT)
    assert tomorrow.gates == () and tomorrow.gate_before.reason == "enough"
    assert len(daily.of(traded.home, DAY).gates) == 2


def test_a_changed_setting_is_told_with_who_and_why(traded):
    con = traded.desk.con
    with ledger.writing(con):
        wish = controls.consider(
            con, traded.desk.settings, moment("11:31"), {"parameters.band_bps": 5}
        )
        controls.apply(con, wish, at=moment("11:31"), who="ann", by="the page", reason="less noise")
    traded.market.set("ETHUSDT", "11:35", "2510.00")
    traded.beat("11:44:03")
    traded.tick("11:45")  # finds it in force, which is not told again
    (change,) = daily.of(traded.home, DAY).changes
    assert (change.name, change.old, change.new) == ("parameters.band_bps", "0", "5")
    assert (change.at, change.by, change.reason) == (moment("11:31"), "ann, the page", "less noise")


def test_a_setting_that_a_tick_finds_changed_in_the_file_is_told(traded):
    traded.configure('order_target_usdt = "0.90"')
    traded.beat("11:44:03")
    traded.tick("11:45")
    (change,) = daily.of(traded.home, DAY).changes
    assert (change.name, change.old, change.new) == ("order_target_usdt", "0.95", "0.90")
    assert change.by == "found in force by a tick"


def test_a_day_without_a_mark_has_a_sentence_in_place_of_the_picture(traded):
    found = daily.of(traded.home, DAY)
    bare = replace(found, books=(replace(found.books[0], marks=(), end=None),))
    assert "No minute of the day was marked" in daily_page.equity(bare).markdown
    assert "equity 10.0000 → -" in daily_page.sentence(bare)


def test_over_midnight_the_end_of_one_day_is_the_start_of_the_next(stage):
    rise(stage, since="23:44")
    stage.arm("23:44")
    stage.tick("23:45")
    stage.market.set("BTCUSDT", "23:59", "101000.0")
    stage.beat("23:59:03")
    stage.market.set("BTCUSDT", f"{NEXT}T00:10", "99000.0")
    stage.tick(f"{NEXT}T00:00")
    stage.beat(f"{NEXT}T00:00:05")
    stage.beat(f"{NEXT}T00:14:03")
    stage.tick(f"{NEXT}T00:15")
    stage.beat(f"{NEXT}T00:15:05")
    first, second = daily.of(stage.home, DAY), daily.of(stage.home, NEXT)
    # cash 9.09815315 and 9 lots at the close of 23:59
    assert first.books[0].end == d("9.09815315") + d("0.909") == second.books[0].start
    assert first.over and first.until == datetime(2026, 11, 23, tzinfo=UTC)
    assert (len(first.fills), len(second.fills)) == (1, 1)
    assert first.books[0].trips == ()
    (trip,) = second.books[0].trips
    assert (
        trip.entry_at == moment("23:45:03") and trip.fees == d("0.00090095") + second.books[0].fees
    )
    assert second.books[0].change == second.books[0].end - d("10.00715315")
    assert "11-22 23:45-00:15" in daily_page.trades(second).html


def a_fill(side: str, quantity: str, price: str, mid: str, fee: str, minute: int) -> Fill:
    amount, paid = Decimal(quantity), Decimal(price)
    at = datetime(2026, 11, 22, 10, minute, tzinfo=UTC)
    level = Level(paid, amount)
    return Fill(
        f"{side}{minute}", "BTCUSDT", Side(side), amount, amount * paid, Decimal(fee), at, (level,), Decimal(mid)
    )  # fmt: skip


def test_a_sale_of_a_part_closes_its_share_and_the_shares_add_up():
    bought = a_fill("BUY", "3", "101", "100", "0.10", 0)
    fills = [
        bought,
        a_fill("SELL", "1", "119", "120", "0.02", 1),
        a_fill("SELL", "2", "89", "90", "0.03", 2),
    ]
    (one, two), held = daily.trips_of(fills)
    assert held == {}
    # a third of 3 USDT of spread and of 0.10 of fee, then the rest
    assert (one.gross, one.spread, one.fees) == (d("20"), d("2"), d("0.05333333"))
    assert (two.gross, two.spread, two.fees) == (d("-20"), d("4"), d("0.09666667"))
    assert one.net + two.net == 119 + 178 - 303 - d("0.15")
    with pytest.raises(StoreError, match="more BTCUSDT than is held"):
        daily.trips_of(fills[1:])


def test_a_fee_taken_in_the_coin_is_part_of_what_was_paid():
    # 3 at 101 cost 303 and bring 2.997; 0.003 at 101 is 0.303. 2 of them cost 303 x 2 / 2.997
    bought = replace(a_fill("BUY", "3", "101", "100", "0.003", 0), fee_currency="BTC")
    (one,), since = daily.trips_of([bought, a_fill("SELL", "2", "119", "120", "0.238", 1)])
    assert one.net.quantize(d("0.000001")) == d("35.559798")  # 238 - 0.238 - 202.202202
    # 0.303 x 2 / 2.997 and 0.238; 3 x 2 / 2.997 and 2
    assert (one.fees, one.spread) == (d("0.20220220") + d("0.238"), d("2.00200200") + 2)
    assert one.entry_price == d("101") and since == {"BTCUSDT": bought.at}


def test_a_day_without_ticks_names_the_days_there_are(traded):
    with pytest.raises(DataError, match=r"2026-11-21: no tick .* from 2026-11-22 to 2026-11-22"):
        daily.check_day(traded.home, "2026-11-21")


@pytest.mark.parametrize(
    "day", ["2026-11-31", "20261122", "2026-W47-7", "yesterday", "2026-11-22 ", ""]
)
def test_what_is_no_day_is_refused(traded, day):
    with pytest.raises(DomainError, match="is no day"):
        daily.check_day(traded.home, day)


def test_a_home_without_a_ledger_is_told_so(tmp_path):
    from tgtqr_lib.home import Home

    with pytest.raises(DataError, match="has no ledger"):
        daily.latest_day(Home(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_without_a_day_it_is_yesterday_or_the_newest_with_ticks(traded):
    day, why = daily.latest_day(traded.home)
    assert day == DAY and "2026-11-21 has none" in why
    traded.beat(f"{NEXT}T00:05:03")
    assert daily.latest_day(traded.home) == (DAY, "")
    traded.beat(
        "2026-11-25T10:00:03"
    )  # nothing ran on the 24th, but the day's quarter hours were missed
    day, why = daily.latest_day(traded.home)
    assert (day, why) == ("2026-11-24", "")


def test_reading_a_day_changes_no_file(traded):
    before = files(traded.home.data)
    daily.of(traded.home, DAY)
    daily.parity(traded.home, DAY)
    assert files(traded.home.data) == before
    con = ledger.reading(traded.home.ledger)
    with pytest.raises(StoreError, match="readonly"), con as opened:
        opened.execute("DELETE FROM marks")


def test_an_edited_ledger_is_told(traded):
    assert daily.of(traded.home, DAY).chain.problems == ()
    con = raw(traded.home)
    con.execute("DROP TRIGGER events_are_not_edited")
    con.execute(
        "UPDATE events SET body = replace(body, '0.90094590', '0.90094591') WHERE kind = 'fill'"
    )
    found = daily.of(traded.home, DAY)
    assert any("does not match its content" in text for text in found.chain.problems)
    assert "in the ledger" in daily_page.headline(found).markdown


def test_two_accounts_in_a_day_are_told_apart(traded):
    from tgtqr_lib import books

    con = traded.desk.con
    book_fill(traded, "SELL", "0.00037", "0.9287", "0.00092870", "ETHUSDT")
    with ledger.writing(con):
        books.open_account(con, traded.desk.exchange.time(), "again", "me")
    traded.beat("11:32:03")
    first, second = daily.of(traded.home, DAY).books
    assert (first.account.id, second.account.id) == ("paper-1", "paper-2")
    assert len(first.fills) == 4 and second.fills == () and second.end == d("10.00")
    assert "equity of paper-1" in daily_page.sentence(daily.of(traded.home, DAY))


def test_trouble_with_parity_is_told_and_not_raised(traded, monkeypatch):
    from tgtqr_lib import parity

    def broken(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(parity, "parity", broken)
    found = daily.parity(traded.home, DAY)
    assert found.equal is None and "could not be compared: ZeroDivisionError: oh" in found.text
    assert "Not known" in daily_page.parity(found).html


def test_the_sentence_has_sign_and_unit(traded):
    # 9.98724034 is 9.9872, and 10 less 0.01275966
    assert daily_page.sentence(daily.of(traded.home, DAY)) == (
        "22 November 2026: 6 ticks, 3 fills, fees 0.0027 USDT, "
        "equity 10.0000 → 9.9872 USDT (\N{MINUS SIGN}0.0128 USDT)"
    )
    assert daily_page.money(d("0.00001"), sign=True) == "0.0000 USDT"
    assert daily_page.money(d("1234.5"), sign=True) == "+1,234.5000 USDT"
    assert daily_page.money(None) == "-"


def test_the_picture_shows_fills_and_floor_and_is_the_same_every_time(traded):
    found = daily.of(traded.home, DAY)
    one = daily_page.equity_chart(found, found.books[0])
    assert one.png == daily_page.equity_chart(found, found.books[0]).png and len(one.png) < 60_000
    assert "from 10.0000 USDT to 9.9872 USDT" in one.text and "3 fills" in one.text
    assert "8.0000 USDT, is 1.9872 USDT further down" in one.text


def test_text_from_the_ledger_cannot_become_markup(traded):
    gate.stop(traded.home, "<img src=x onerror=alert(1)> | *bold*", "me")
    piece = daily_page.gate(daily.of(traded.home, DAY))
    assert "<img" not in piece.html and "<img" not in piece.markdown
