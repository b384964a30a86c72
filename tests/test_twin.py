"""The twin: worked out by hand on the stage's market, and by a second loop in fractions from the rules alone."""

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.stage import DAY, book_fill, moment, raw, rise
from tgtqr_lib import books, cli, daily, daily_page, ledger, twin
from tgtqr_lib.dashboard.facts import Reader
from tgtqr_lib.dashboard.sections import performance
from tgtqr_lib.domain import Account, Fill, Level, Side
from tgtqr_lib.twin import words

NEXT = "2026-11-23"
MINUS = "\N{MINUS SIGN}"


def d(text: str) -> Decimal:
    return Decimal(text)


@pytest.fixture
def traded(stage):
    """BTC bought at 10:15 and sold at 10:30 after a fall of 1.1 %, ETH bought at 10:45 and held."""
    rise(stage)
    stage.arm("10:14")
    stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:25", "99000.0")
    stage.beat("10:29:03")
    stage.tick("10:30")
    stage.market.set("ETHUSDT", "10:44", "2510.00")
    stage.beat("10:44:03")
    stage.tick("10:45")
    stage.beat("10:45:04")
    return stage


@pytest.fixture
def fallen(stage):
    """A fall of 5.1 % before the sale of 10:30; bought again at 10:45, sold at 11:00."""
    rise(stage)
    stage.arm("10:14")
    stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:25", "95000.0")
    stage.beat("10:29:03")
    stage.tick("10:30")
    stage.market.set("BTCUSDT", "10:44", "101000.0")
    stage.beat("10:44:03")
    stage.tick("10:45")
    stage.market.set("BTCUSDT", "10:50", "98000.0")
    stage.beat("10:59:03")
    return stage


def told(stage) -> twin.Twin:
    """The whole account's twin, as the page has it."""
    con = stage.desk.con
    return twin.whole(con, twin.read(con, books.account(con)))


# the size


@pytest.mark.parametrize(
    "minimum, price, lot, lots",
    [
        # 0.97 x 100105.1 is 97101.947: 52 lots of it are 5.0493, 51 are 4.9522; 53 lots keep 52.947 after the fee
        ("5.00", "100105.1", "0.000001", 53),
        # 0.97 x 2510.13 is 2434.8261: 206 lots are 5.0157, 205 are 4.9914; 207 lots keep 206.793, 206 only 205.794
        ("5.00", "2510.13", "0.00001", 207),
        # of a price at which 5.00 is met exactly, 50 lots; 50.0500 with the fee, so 51
        ("5.00", "103092.783505154639175257731958762886597938144329896907", "0.000001", 51),
        # as before October 2025: 11 lots are 1.0681, 10 are 0.9710; 12 lots keep 11.988
        ("1.00", "100105.1", "0.000001", 12),
    ],
)
def test_the_smallest_size_is_the_one_that_can_be_sold_after_a_fall(minimum, price, lot, lots):
    assert twin.smallest(d(minimum), d(price), d(lot), d("10")) == lots * d(lot)


def test_one_lot_less_could_not_be_sold_again():
    chance = random.Random(8)
    for _ in range(300):
        lot = Fraction(1, 10 ** chance.randint(2, 6))
        price = Fraction(chance.randint(1, 10**7), 100)
        least = Fraction(chance.choice(["1", "5", "5.5"]))
        lots = twin.smallest(*map(_decimal, (least, price, lot)), d("10")) / _decimal(lot)

        def sold(count, lot=lot, price=price):
            return math.floor(count * Fraction(999, 1000)) * lot * price * Fraction(97, 100)

        assert sold(int(lots)) >= least > sold(int(lots) - 1)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / value.denominator


# a day by hand


def test_both_books_are_what_a_pencil_gives(traded):
    found = told(traded)
    # paper: 9 lots at 100105.1 and at 98995, 37 lots at 2510.13 held at 2510
    assert found.paper.result == d("-0.01275966")
    assert found.paper.traded == d("0.9009459") + d("0.890955") + d("0.9287481")
    # twin: 53 lots at 100105.1 cost 5.3055703; the fee is 0.053 lots, 52 of 52.947 lots are sold at 98995 for 5.14774
    # less 0.00514774; 207 lots at 2510.13 cost 5.1959691 and leave 206.793 lots
    assert (found.twin.bought, found.twin.sold) == (d("5.3055703") + d("5.1959691"), d("5.14774"))
    # 0.053 lots at 100105.1, 0.1 % of 5.14774, 0.207 lots at 2510.13, each rounded up
    assert found.twin.fees == d("0.00530558") + d("0.00514774") + d("0.00519597")
    held = {p.symbol: p.quantity for p in found.twin.held}
    assert held == {"BTCUSDT": d("0.000000947"), "ETHUSDT": d("0.00206793")}
    # the dust at 99000 is 0.093753, the ETH at 2510 is 5.1905043
    assert found.twin.worth == d("0.093753") + d("5.1905043")
    cash = d("5.14774") - d("0.00514774") - d("5.3055703") - d("5.1959691")
    assert found.twin.result == cash + found.twin.worth == d("-0.07468984")
    # the dust keeps 947 of 52947 of what the BTC cost, 5.3055703, which is 0.0948944244, rounded up
    dust = d("0.09489443")
    assert found.twin.realised == d("5.14259226") - (d("5.3055703") - dust)
    assert found.twin.bps == found.twin.result / (found.twin.bought + found.twin.sold) * 10_000
    assert (found.orders, found.legal, found.refusals, found.minimum) == (3, 0, (), d("5.00"))


def test_the_days_part_equals_the_report_and_says_it_in_two_sentences(traded):
    report = daily.of(traded.home, DAY)
    (book,) = report.books
    today, whole = book.twins
    assert today == whole == told(traded)
    assert today.paper.result == book.change
    words_told = daily_page.twin(report).markdown.replace("\\", "")
    assert "takes no order below 5.00 USDT, so none of these trades was possible" in words_told
    # 10.5015394 in two purchases; 0.0747 of 15.6492794 traded and 0.0128 of 2.720649
    assert (
        "At the smallest size that works, 5.25 USDT a purchase, the same decisions would have lost 0.0747 USDT "
        f"({MINUS}47.7 bps of what was traded); on paper they lost 0.0128 USDT ({MINUS}46.9 bps)."
    ) in words_told
    assert "Computed, nothing was sent" in words_told and "best ask or bid" in words_told


def test_a_sale_that_the_exchange_would_refuse_is_told_and_what_it_left_is_held(fallen):
    found = told(fallen)
    (refusal,) = found.refusals
    # 52 lots at the limit, 95000 less 1 %
    assert (refusal.quantity, refusal.worth) == (d("0.000052"), d("0.000052") * d("94050.0"))
    assert (refusal.at, refusal.until) == (moment("10:30:03"), None)
    assert (found.paper.buys, found.paper.sales) == (2, 1)
    assert (found.twin.buys, found.twin.sales, found.unmade) == (1, 0, 1)
    lines = words.differences(found)
    assert lines[0] == (
        "The sale of BTC at 10:30 was worth 4.89 USDT at its limit, below 5.00: it would have been refused; "
        "it is still held."
    )
    assert lines[1].startswith("1 purchase was left out")
    # 98000 less 1 % is 97020, and 52 lots of that are 5.04504
    fallen.tick("11:00")
    found = told(fallen)
    assert found.refusals == (replace(refusal, until=moment("11:00:03")),)
    assert (found.twin.buys, found.twin.sales) == (1, 1)
    assert found.twin.sold == d("0.000052") * d("97995.1")
    assert "it would have been refused; held until 11:00." in words.differences(found)[0]


def test_a_trim_is_the_paper_accounts_own_affair(stage):
    rise(stage)
    stage.arm("10:14")
    stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:25", "112000.0")  # 9 lots are worth 1.008
    stage.beat("10:29:03")
    stage.tick("10:30")
    assert stage.held() == {"BTCUSDT": "0.000008"}
    found = told(stage)
    assert (found.paper.sales, found.twin.sales, found.trims) == (1, 0, 1)
    assert [p.quantity for p in found.twin.held] == [d("0.000052947")]
    stage.market.set("BTCUSDT", "10:35", "99000.0")
    stage.beat("10:44:03")
    stage.tick("10:45")
    found = told(stage)
    assert (found.paper.sales, found.twin.sales, found.trims) == (2, 1, 1)
    assert found.twin.sold == d("0.000052") * d("98995.0")
    assert "1 sale of a part was left out" in words.differences(found)[0]


def test_days_add_up_to_the_whole_and_what_is_held_overnight_is_valued_once(stage):
    rise(stage, since="23:44")
    stage.arm("23:44")
    stage.tick("23:45")
    stage.market.set("BTCUSDT", "23:59", "101000.0")
    stage.beat("23:59:03")
    stage.beat(f"{NEXT}T00:00:03")  # marks the minute of 23:59
    stage.market.set("BTCUSDT", f"{NEXT}T00:10", "99000.0")
    stage.beat(f"{NEXT}T00:14:03")
    stage.tick(f"{NEXT}T00:15")
    stage.beat(f"{NEXT}T00:15:05")
    first = daily.of(stage.home, DAY).books[0].twins
    second = daily.of(stage.home, NEXT).books[0].twins
    # 53 lots for 5.3055703 are 52.947 at 101000; they go for 98995, but for 0.947 that stay at 99000
    assert first[0].twin.result == d("5.347647") - d("5.3055703")
    assert second[0].twin.result == d("5.14259226") + d("0.093753") - d("5.347647")
    assert first[0].twin.result + second[0].twin.result == second[1].twin.result
    assert second[1] == told(stage)
    assert [one.paper.result for one in (first[0], second[0])] == [
        daily.of(stage.home, day).books[0].change for day in (DAY, NEXT)
    ]
    assert (first[0].twin.sales, second[0].twin.buys, second[1].twin.buys) == (0, 0, 1)


# a second loop


def rows(seed: int, count: int) -> list[twin.Seen]:
    """Purchases and sales of both symbols by turns, with falls of up to 9 % and some trims."""
    chance, at = random.Random(seed), datetime(2026, 1, 1, tzinfo=UTC)
    lots = {"BTCUSDT": d("0.000001"), "ETHUSDT": d("0.00001")}
    usual = {"BTCUSDT": 100_000, "ETHUSDT": 2_500}
    held: dict[str, Decimal] = {}
    found = []
    for _ in range(count):
        at += timedelta(minutes=15 * chance.randint(1, 20))
        symbol = chance.choice(list(lots))
        far = chance.random() < 0.2
        price = usual[symbol] * (chance.uniform(0.91, 1.05) if far else chance.uniform(0.99, 1.01))
        mid = Decimal(round(price * 10)) / 10
        bid, ask = mid - d("0.1"), mid + d("0.1")
        if symbol not in held:
            side, best, limit = Side.BUY, ask, mid * d("1.01")
            quantity = held[symbol] = (d("0.95") // (limit * lots[symbol])) * lots[symbol]
        else:
            side, best, limit = Side.SELL, bid, mid * d("0.99")
            quantity = held[symbol]
            if chance.random() < 0.1 and quantity > lots[symbol]:
                quantity = lots[symbol]
            held[symbol] -= quantity
            if not held[symbol]:
                del held[symbol]
        name = f"{at:%Y%m%dT%H%MZ}-{symbol[:3]}-{side[0]}"
        notional = (quantity * best).quantize(d("0.00000001"))
        fill = Fill(
            name, symbol, side, quantity, notional, d("0.001"), at, (Level(best, quantity),), mid
        )
        found.append(
            twin.Seen(fill, quantity, limit.quantize(d("0.1")), bid, ask, mid, d("5"), False)
        )
    return found


def in_fractions(seen: list[twin.Seen]) -> tuple[Fraction, dict[str, Fraction], int, int]:
    """Cash, coins, refused sales and purchases not made, by the rules of the decision record alone."""
    unit = Fraction(1, 10**8)
    cash, coins, paper, wanted = Fraction(0), {}, {}, set()
    refused = unmade = 0
    for one in seen:
        symbol, quantity = one.fill.symbol, Fraction(one.quantity)
        lot = Fraction(1, 10**6) if symbol == "BTCUSDT" else Fraction(1, 10**5)
        if one.fill.side is Side.BUY:
            paper[symbol] = quantity
            if symbol in wanted:
                unmade += 1
                continue
            ask, lots = Fraction(one.ask), 1
            while math.floor(lots * Fraction(999, 1000)) * lot * ask * Fraction(97, 100) < 5:
                lots += 1
            cash -= math.ceil(lots * lot * ask / unit) * unit
            coins[symbol] = coins.get(symbol, Fraction(0)) + lots * lot * Fraction(999, 1000)
            wanted.add(symbol)
            continue
        whole = quantity == paper[symbol]
        paper[symbol] -= quantity
        if not whole or symbol not in wanted:
            continue
        lots = coins[symbol] // lot
        if lots * lot * Fraction(one.limit) < 5:
            refused += 1
            continue
        brought = lots * lot * Fraction(one.bid)
        cash += math.floor(brought / unit) * unit - math.ceil(brought / 1000 / unit) * unit
        coins[symbol] -= lots * lot
        wanted.discard(symbol)
    return cash, {symbol: left for symbol, left in coins.items() if left}, refused, unmade


@pytest.mark.parametrize("seed", range(4))
def test_the_book_equals_a_second_loop_in_fractions_to_the_last_digit(seed):
    seen, book = rows(seed, 400), twin.Book()
    for one in seen:
        book.take(one)
    found = book.span({})
    cash, coins, refused, unmade = in_fractions(seen)
    assert {p.symbol: Fraction(p.quantity) for p in found.twin.held} == coins
    assert Fraction(found.twin.result - found.twin.worth) == cash
    assert (len(found.refusals), found.unmade) == (refused, unmade)
    assert refused > 0 and unmade > 0 and found.trims > 0 and found.twin.sales > 20
    # the days, each for itself, are the whole again
    days = sorted({f"{one.fill.at:%Y-%m-%d}" for one in seen})
    parts = [book.span({}, day, day) for day in days]
    assert sum(p.twin.result for p in parts) == found.twin.result
    assert sum(p.paper.result for p in parts) == found.paper.result
    assert sum(p.orders for p in parts) == found.orders == len(seen)


def test_a_sale_in_two_parts_is_one_sale_of_the_twin():
    bought = rows(1, 1)[0]
    book, half = twin.Book(), bought.quantity
    book.take(bought)
    lot = bought.lot
    for at, quantity, filled in ((1, half, half - lot), (2, lot, lot)):
        fill = replace(
            bought.fill, side=Side.SELL, quantity=filled, at=bought.fill.at + timedelta(minutes=at)
        )
        sold = replace(bought, fill=fill, quantity=quantity, limit=bought.bid)
        book.take(sold)
    found = book.span({})
    assert (found.paper.sales, found.twin.sales, found.trims) == (2, 1, 0)


# where it is read from


def test_reading_on_equals_reading_at_once_and_reading_twice_changes_nothing(fallen):
    con = fallen.desk.con
    account = books.account(con)
    early = twin.read(con, account)
    before = twin.whole(con, early)
    assert twin.whole(con, twin.read(con, account, early)) == before
    fallen.tick("11:00")
    on = twin.read(con, account, early)
    assert on is early and twin.whole(con, on) == told(fallen) != before


def test_another_ledger_or_account_is_read_from_its_beginning(traded, tmp_path):
    con = traded.desk.con
    known = twin.read(con, books.account(con))
    known.head = "0" * 64
    anew = twin.read(con, books.account(con), known)
    assert anew is not known and twin.whole(con, anew) == told(traded)
    with ledger.writing(con):
        second = books.open_account(con, traded.desk.exchange.time(), "again")
    assert twin.whole(con, twin.read(con, second, anew)).orders == 0


def test_an_account_at_the_exchange_has_no_twin(traded):
    at_exchange = Account("demo-2", d("100"), moment("10:00"), "demo", d("10"))
    assert twin.read(traded.desk.con, at_exchange) is None
    report = daily.of(traded.home, DAY)
    other = replace(report, books=(replace(report.books[0], twins=None),))
    assert "nothing to make again" in daily_page.twin(other).markdown
    seen = replace(Reader(traded.home).snapshot(), twin=None)
    assert "really have happened" not in performance.html(seen, "all")


def test_an_account_that_has_not_traded_says_so(stage):
    stage.arm("10:14")
    found = told(stage)
    assert found.orders == 0 and found.twin.bps is None and found.twin.purchase is None
    assert words.sentences(found) == ["Nothing was traded, so there is nothing to make again."]
    assert words.plain(found)["twin"]["bps_of_traded"] is None
    assert "really have happened" not in performance.html(Reader(stage.home).snapshot(), "all")
    stage.tick("10:15")
    assert "Nothing was traded" in daily_page.twin(daily.of(stage.home, DAY)).markdown


def test_the_minimum_is_the_one_recorded_with_the_order(traded):
    con = traded.desk.con
    fill = books.fills(con, books.account(con))[0]
    body = ledger.get(con, f"order/{fill.order_id}").body

    def minimum(feasible: str) -> tuple[Decimal, bool]:
        found = twin.reading.seen(fill, body | {"order": body["order"] | {"feasible": feasible}})
        return found.minimum, found.legal

    assert minimum("no, needs 1.00") == (d("1.00"), False)
    # 9 lots at their limit of 101101.0 are 0.909909: its minimum cannot be larger
    assert minimum("yes") == (d("0.909909"), True)
    assert minimum("") == (d("5.00"), False)


def test_a_fill_whose_order_is_lost_or_spoilt_still_counts(traded):
    whole = told(traded)
    con = raw(traded.home)
    con.execute("DROP TRIGGER events_are_not_edited")
    con.execute("DROP TRIGGER events_are_not_deleted")
    con.execute("DELETE FROM events WHERE key = 'order/20261122T1015Z-BTC-B'")
    con.execute(
        'UPDATE events SET body = replace(body, \'"ask":"2510.13"\', \'"ask":"NaN"\') WHERE kind = \'order\''
    )
    con.close()
    found = told(traded)
    assert found.orders == 3 and found.twin.buys == whole.twin.buys
    assert daily.of(traded.home, DAY).chain.problems


def test_a_fill_booked_without_a_quote_counts_at_its_own_price(traded):
    book_fill(traded, "SELL", "0.00037", "0.9287", "0.00092870", "ETHUSDT")
    found = told(traded)
    # its order names no limit worth the name, so the exchange would have refused it
    assert (found.orders, len(found.refusals)) == (4, 1)


# where it is told


def test_the_page_says_it_with_figures_and_how_they_were_made(traded):
    seen = Reader(traded.home).snapshot()
    assert seen.twin == told(traded)
    html = performance.html(seen, "all")
    assert "What would really have happened on the exchange since 2026-11-22." in html
    assert f"would have lost 0.0747 USDT ({MINUS}47.7 bps of what was traded)" in html
    assert "<details><summary>How that was made" in html and words.HOW in html


def test_the_page_reads_only_what_is_new(traded):
    reader = Reader(traded.home)
    first = reader.snapshot().twin
    traded.market.set("ETHUSDT", "10:50", "2460.00")
    traded.beat("10:59:03")
    traded.tick("11:00")
    second = reader.snapshot().twin
    assert (first.twin.sales, second.twin.sales) == (1, 2) and second == told(traded)


def test_the_status_has_it_as_facts_and_as_a_line(traded, capsys):
    assert cli.main(["status", "--json", "--home", str(traded.home.root)]) == 0
    facts = json.loads(capsys.readouterr().out)["twin"]
    assert facts["twin"]["result"] == f"{told(traded).twin.result:f}"
    assert facts["twin"]["held"] == {"BTCUSDT": "0.000000947", "ETHUSDT": "0.00206793"}
    assert (facts["orders"], facts["legal_orders"], facts["refused_sales"]) == (3, 0, [])
    assert cli.main(["status", "--home", str(traded.home.root)]) == 0
    assert (
        "twin    Bybit would take 5.25 USDT a purchase: lost 0.0747 USDT" in capsys.readouterr().out
    )


def test_many_refusals_are_counted_after_the_first_ones(fallen):
    found = told(fallen)
    many = replace(found, refusals=found.refusals * 9)
    lines = words.differences(many)
    assert lines[words.TOLD] == "3 more sales would have been refused."
    assert words.bps(d("-0.04")) == "0.0 bps" and words.bps(d("0.05001")) == "+0.1 bps"
