"""Order book indicators against arithmetic by hand; what a book does not have is absent, not zero."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tests.builders import NOW, candles
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import ABSENT, BookHistory, DataError, DomainError, History, Level, Quote
from tgtqr_lib.signals import SIGNALS
from tgtqr_lib.signals.book_features import features
from tgtqr_lib.signals.book_imbalance import imbalance
from tgtqr_lib.signals.micro_price import micro_price, offset
from tgtqr_lib.signals.spread import relative


def levels(*pairs: tuple[str, str]) -> tuple[Level, ...]:
    return tuple(Level(Decimal(price), Decimal(quantity)) for price, quantity in pairs)


def a_book(bids=(("99", "3"), ("98", "1")), asks=(("101", "1"), ("102", "5"))) -> Quote:
    return Quote("BTCUSDT", NOW, levels(*bids), levels(*asks), Decimal(100))


def deep(side: str, quantity: str, count: int) -> list[tuple[str, str]]:
    prices = range(99, 99 - count, -1) if side == "bid" else range(101, 101 + count)
    return [(str(price), quantity) for price in prices]


def test_imbalance_is_bids_less_asks_over_both():
    book = a_book()
    # one level: (3 - 1) / (3 + 1); two: (4 - 6) / 10
    assert imbalance(book.bids, book.asks, 1) == 500_000
    assert imbalance(book.bids, book.asks, 2) == -200_000


def test_imbalance_is_rounded_half_to_even_at_a_millionth():
    book = a_book(bids=[("99", "2")], asks=[("101", "1")])
    assert imbalance(book.bids, book.asks, 1) == 333_333  # a third


def test_a_book_thinner_than_asked_has_no_imbalance_at_that_depth():
    book = a_book()
    assert imbalance(book.bids, book.asks, 3) is None
    seen = features(book)
    assert (seen.imbalance_1, seen.imbalance_5, seen.imbalance_25) == (500_000, None, None)
    assert (seen.levels, seen.depth) == (2, None)


def test_micro_price_leans_to_the_side_with_less():
    bid, ask = levels(("99", "3"), ("101", "1"))
    # 99 x 1/4 + 101 x 3/4 = 100.5, half a percent above the mid of 100
    assert micro_price(bid, ask) == Fraction(201, 2)
    assert offset(bid, ask) == 500_000
    assert offset(*levels(("99", "1"), ("101", "1"))) == 0


def test_spread_is_relative_to_the_mid():
    assert relative(*levels(("99", "1"), ("101", "1"))) == 2_000_000  # 2 % in 1e-8
    assert relative(*levels(("104321.6", "1"), ("104321.7", "1"))) == 96  # 0.1 / 104321.65


def test_depth_is_what_twenty_five_levels_a_side_are_worth():
    book = a_book(bids=deep("bid", "1", 30), asks=deep("ask", "1", 26))
    # bids 99 down to 75, asks 101 up to 125: (99 + 75) / 2 x 25 + (101 + 125) / 2 x 25
    assert features(book).depth == 2175 + 2825
    assert features(book).levels == 26
    assert features(book).imbalance_25 == 0


@pytest.mark.parametrize(
    "bids, asks, told",
    [
        ([], [("101", "1")], "an empty side"),
        ([("99", "1")], [], "an empty side"),
        ([("101", "1")], [("101", "1")], "best bid 101 is not below best ask 101"),
        ([("102", "1")], [("101", "1")], "best bid 102 is not below best ask 101"),
        ([("99", "0")], [("101", "1")], "a figure that is not positive"),
    ],
)
def test_a_one_sided_crossed_or_empty_book_is_no_book(bids, asks, told):
    with pytest.raises(DataError, match=told):
        a_book(bids, asks)


def a_history(looks: dict[int, int]) -> History:
    """Ten minutes of candles; minute -> imbalance of the look taken when it began."""
    seen = candles([100] * 10, decimals=0)
    first = int(seen.open_ms[0])
    at = np.array([first + minute * 60_000 for minute in looks], dtype=np.int64)
    values = np.array(list(looks.values()), dtype=np.int64)
    return History(seen, book=BookHistory(at, dict.fromkeys(BookHistory.NAMES, values)))


def test_a_look_belongs_to_the_candle_that_closed_when_it_was_taken():
    found = SIGNALS["book_imbalance_5"](a_history({3: 250_000, 4: ABSENT, 6: -1_000_000}))
    # minute 3 begins when the third candle (row 2) closes
    expected = [np.nan, np.nan, 0.25, np.nan, np.nan, -1.0, np.nan, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(found, expected)


def test_spread_and_micro_price_are_told_in_basis_points():
    history = a_history({1: 10_000})  # 1e-8 of the mid
    assert SIGNALS["spread"](history)[0] == pytest.approx(1.0)
    assert SIGNALS["micro_price_offset"](history)[0] == pytest.approx(1.0)


def test_without_a_book_every_row_is_absent():
    bare = History(candles([100] * 10, decimals=0))
    for name in ("book_imbalance_1", "spread", "micro_price_offset"):
        assert np.isnan(SIGNALS[name](bare)).all()


def test_a_history_of_looks_refuses_to_be_born_wrong():
    column = np.array([1, 2], dtype=np.int64)
    columns = dict.fromkeys(BookHistory.NAMES, column)
    with pytest.raises(DomainError, match="not increasing whole minutes"):
        BookHistory(np.array([60_000, 60_000]), columns)
    with pytest.raises(DomainError, match="not increasing whole minutes"):
        BookHistory(np.array([60_000, 120_001]), columns)
    with pytest.raises(DomainError, match="not of one length"):
        BookHistory(np.array([60_000]), columns)
    with pytest.raises(DomainError, match=r"columns \['levels'\]"):
        BookHistory(np.array([60_000, 120_000]), {"levels": column})
    assert to_ms(NOW) % 60_000  # the builders' clock is no whole minute
