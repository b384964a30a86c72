"""The paper broker fills from the quote it is shown, and nothing else."""

from decimal import Decimal

import pytest

from tests.builders import FEES, a_quote, a_sale, an_entry
from tgtqr_lib.brokers import BROKERS
from tgtqr_lib.brokers.paper import PaperBroker


def broker() -> PaperBroker:
    return BROKERS["paper"](FEES)


def test_paper_is_the_only_broker_that_fills_by_itself():
    assert {"paper": PaperBroker} == BROKERS


def test_an_entry_walks_the_asks_and_pays_the_fee():
    quote = a_quote(asks=[("104330.0", "0.000004"), ("104340.0", "1")])
    (fill,) = broker().submit(an_entry("0.000009", "105364.9"), quote)
    # 4 lots at 104330.0 and 5 at 104340.0: 0.41732 + 0.5217 = 0.93902, and a thousandth of it
    assert (fill.notional, fill.fee) == (Decimal("0.93902000"), Decimal("0.00093902"))
    assert [(level.price, level.quantity) for level in fill.levels] == [
        (Decimal("104330.0"), Decimal("0.000004")),
        (Decimal("104340.0"), Decimal("0.000005")),
    ]
    assert (fill.at, fill.order_id) == (quote.at, "20261122T1015Z-BTC-B")


@pytest.mark.parametrize("limit, filled", [("104321.8", True), ("104321.7", False)])
def test_an_entry_fills_at_its_limit_and_not_above(limit, filled):
    # the best ask is one step over the middle of 104321.7
    assert bool(broker().submit(an_entry(limit=limit), a_quote("104321.7"))) is filled


@pytest.mark.parametrize("limit, filled", [("104321.6", True), ("104321.7", False)])
def test_a_sale_fills_at_its_limit_and_not_below(limit, filled):
    assert bool(broker().submit(a_sale(limit=limit), a_quote("104321.7"))) is filled


def test_a_thin_book_fills_a_part():
    quote = a_quote(asks=[("104330.0", "0.000004")])
    (fill,) = broker().submit(an_entry("0.000009", "105364.9"), quote)
    assert fill.quantity == Decimal("0.000004")
