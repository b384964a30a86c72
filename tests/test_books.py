"""What the ledger's events mean: accounts, days, ticks, gate and settings."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.builders import HARD_LIMITS, a_fill, an_order
from tests.stage import moment
from tgtqr_lib import books, ledger
from tgtqr_lib.domain import DomainError, LedgerConflict, Side, StoreError

AT = moment("10:15:03")


@pytest.fixture
def con(home):
    connection = ledger.connect(home.ledger)
    yield connection
    connection.close()


@pytest.fixture
def account(con):
    with ledger.writing(con):
        return books.open_account(con, AT, "a test")


def book(con, account, name: str, side: Side, quantity="0.01", price="100", fee="0.001") -> None:
    order = an_order(side, quantity, price, id=name)
    fill = a_fill(side, quantity, price, fee)
    fill = type(fill)(**{f: getattr(fill, f) for f in fill.__slots__} | {"order_id": name})
    with ledger.writing(con):
        books.book_order(con, account, order, {"order": order, "result": "FILLED"}, fill)


def test_accounts_are_numbered_and_the_newest_is_the_present_one(con, account):
    assert (account.id, account.initial_equity) == ("paper-1", Decimal("10.00"))
    book(con, account, "a", Side.BUY)
    with ledger.writing(con):
        second = books.open_account(con, AT, "again")
    assert books.account(con) == second and second.id == "paper-2"
    assert books.portfolio(con, second).cash == 10
    assert books.portfolio(con, account).cash == Decimal("8.999")  # the old one is kept


def test_an_empty_ledger_has_no_account_tick_or_gate(con):
    assert books.account(con) is None and books.last_boundary(con) is None
    assert books.last_gate(con) is None and books.last_stop_cause(con) is None
    assert books.open_claims(con) == [] and books.unsealed(con) == []


def test_the_portfolio_is_the_fold_of_the_fills_in_their_order(con, account):
    book(con, account, "z", Side.BUY, "0.02")  # 2.00 and 0.001; keys are not in the order of time
    book(con, account, "a", Side.SELL, "0.01")  # 1.00 less 0.001
    portfolio = books.portfolio(con, account)
    assert portfolio.cash == Decimal("8.998")
    assert (portfolio.held[0].quantity, portfolio.held[0].cost) == (
        Decimal("0.01"),
        Decimal("1.0005"),
    )


def test_a_fill_of_more_than_is_held_is_not_booked(con, account):
    book(con, account, "a", Side.BUY, "0.01")
    head = ledger.head(con)
    with pytest.raises(DomainError, match=r"but 0.01 is held"):
        book(con, account, "b", Side.SELL, "0.02")
    assert ledger.head(con) == head  # neither the order nor the fill


def test_a_day_opens_once_at_cash_and_closes(con, account):
    book(con, account, "a", Side.BUY, "0.01")  # cash 8.999
    with ledger.writing(con):
        day = books.open_day(con, account, AT, {"BTCUSDT": Decimal("110")}, HARD_LIMITS)
        again = books.open_day(con, account, AT, {"BTCUSDT": Decimal("90")}, HARD_LIMITS)
    assert (day.date, day.start_equity, day.start_cash) == (
        "2026-11-22",
        Decimal("10.099"),
        Decimal("8.999"),
    )
    assert again == day == books.day(con, account, "2026-11-22")


def test_a_day_does_not_open_after_a_later_one(con, account):
    with ledger.writing(con):
        books.open_day(con, account, AT + timedelta(days=1), {}, HARD_LIMITS)
    with (
        pytest.raises(
            StoreError, match="2026-11-23 is open already; the exchange's clock went back"
        ),
        ledger.writing(con),
    ):
        books.open_day(con, account, AT, {}, HARD_LIMITS)


def test_orders_are_counted_by_their_utc_day(con, account):
    for name in ("20261122T2345Z-BTC-B", "20261122T2359Z-BTC-X", "20261123T0000Z-BTC-B"):
        order = an_order(id=name)
        with ledger.writing(con):
            books.book_order(con, account, order, {"order": order, "result": "REFUSED"}, None)
    assert books.orders_on(con, "2026-11-22") == 2 and books.orders_on(con, "2026-11-23") == 1
    assert books.order_ids(con, "20261122T2345Z") == ("20261122T2345Z-BTC-B",)
    assert books.own_order_ids(con, "20261122T2359Z") == ()
    assert books.booked_order(con, an_order(id="20261122T2345Z-BTC-B"))["account"] == "paper-1"


def test_a_claim_is_open_until_its_final_state(con):
    with ledger.writing(con):
        books.book_tick(con, "20261122T1015Z", "claim", {"at": AT})
    assert books.open_claims(con) == ["20261122T1015Z"]
    with ledger.writing(con):
        books.book_tick(con, "20261122T1015Z", "final", {"state": "done"})
    assert books.open_claims(con) == [] and books.last_boundary(con) == moment("10:15")


def test_a_tick_has_one_final_state(con):
    with ledger.writing(con):
        books.book_tick(con, "20261122T1015Z", "final", {"state": "done"})
    with pytest.raises(LedgerConflict), ledger.writing(con):
        books.book_tick(con, "20261122T1015Z", "final", {"state": "failed"})


def test_missed_ticks_lie_between_the_last_one_and_now(con):
    with ledger.writing(con):
        assert books.record_missed(con, moment("10:15"), "no tick yet") == []
        books.book_tick(con, "20261122T2330Z", "final", {"state": "done"})
        found = books.record_missed(con, moment("2026-11-23T00:15"), "asleep")
        again = books.record_missed(con, moment("2026-11-23T00:15"), "asleep")
    assert (found, again) == (["20261122T2345Z", "20261123T0000Z"], [])


def test_what_was_acted_on_is_unsealed_until_it_is_sealed(con):
    with ledger.writing(con):
        for name in ("20261122T1015Z", "20261122T1030Z"):
            books.book_tick(con, name, "acted", {"orders": []})
        books.book_tick(con, "20261122T1015Z", "sealed", {"notebook": "x", "sha256": "y"})
    assert books.unsealed(con) == ["20261122T1030Z"]


def test_settings_are_booked_when_they_change(con):
    with ledger.writing(con):
        for value in (1, 1, 2, 1):
            books.settings_in_force(con, AT, {"window": value})
    told = [(row.body["old"], row.body["new"]) for row in ledger.of_kind(con, "settings")]
    one, two = {"window": 1}, {"window": 2}
    assert told == [(None, one), (one, two), (two, one)]


def test_an_account_ends_once(con, account):
    with ledger.writing(con):
        books.book_end(con, account, "BREACH", AT, "x")
        books.book_end(con, account, "SPENT", AT, "y")
    assert books.last_stop_cause(con) == "BREACH"
    with ledger.writing(con):
        books.open_account(con, AT, "again")
    assert books.last_stop_cause(con) is None


def test_the_runway_is_what_is_left_over_the_cost_of_a_day(con, account):
    book(con, account, "a", Side.BUY, "0.01")
    found = books.fills(con, account)
    # fees of 0.001 in 12 hours are 0.002 a day; 8.999 - 5 lasts 1999.5 days
    after = account.opened_at + timedelta(hours=12)
    assert books.runway_days(account, Decimal("8.999"), found, after, Decimal(5)) == Decimal(
        "1999.5"
    )
    assert books.runway_days(account, Decimal("8.999"), [], after, Decimal(5)) is None


@pytest.mark.parametrize("reason", [None, "", " \t"])
def test_a_reason_is_needed(reason):
    with pytest.raises(DomainError, match="tgtqr arm needs a reason"):
        books.check_reason(reason, "tgtqr arm")
    assert books.check_reason(" because ", "tgtqr arm") == "because"
