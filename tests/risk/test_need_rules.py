"""DATA_BOOK and DATA_FUNDING: entries wait for what the strategy reads, exits do not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests.builders import BOUNDARY, NOW, a_sale, a_view, an_entry, candles, inputs, no_order
from tgtqr_lib.clock import to_ms
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import (
    FUNDING_UNREADABLE,
    QUOTE_UNREADABLE,
    BookFeatures,
    Funding,
    Plan,
    Problem,
    SignalState,
)
from tgtqr_lib.risk import data_book, data_funding
from tgtqr_lib.risk.data_invalid import check as data_invalid

HOUR_MS = 3_600_000
PLAN = Plan("ma_trend_filtered", {}, Decimal("0.95"), 100)
LOOK = BookFeatures(NOW, 25, 100, 0, 0, 0, 0, 50_000)
LAST = to_ms(BOUNDARY.replace(hour=8, minute=0))  # 10:15 knows the settlement of 08:00


def a_week(count=22, rate=100, lacking=(), hours=8) -> Funding:
    keep = [row for row in range(count) if row not in lacking]
    at = np.array([LAST - (count - 1 - row) * hours * HOUR_MS for row in keep])
    return Funding(at, np.full(len(at), rate * 10_000), np.full(len(at), hours * 60))


def seen(**changes):
    view = replace(a_view(), **{"funding": a_week(), "book": LOOK, **changes})
    return inputs(view, plan=PLAN)


def asked(rule, order, frozen):
    return rule.check(order, frozen, frozen.limits)


def test_with_both_there_entries_pass():
    for rule in (data_book, data_funding):
        assert asked(rule, an_entry(), seen()).allowed


@pytest.mark.parametrize(
    "rule, changes, told",
    [
        (data_book, {"book": None}, "BTCUSDT: there is no order book"),
        (
            data_book,
            {
                "book": None,
                "problems": (Problem(QUOTE_UNREADABLE, "best bid 2 is not below best ask 1"),),
            },
            "there is no order book; best bid 2 is not below best ask 1",
        ),
        (
            data_book,
            {"book": replace(LOOK, levels=4, imbalance_5=None)},
            "the order book has 4 levels a side, 5 are read",
        ),
        (data_funding, {"funding": None}, "BTCUSDT: there is no funding"),
        (
            data_funding,
            {"funding": None, "problems": (Problem(FUNDING_UNREADABLE, "no list came"),)},
            "there is no funding; no list came",
        ),
        (
            data_funding,
            {"funding": a_week(20)},
            "20 settlements do not make 7 days; the last settlement is of 2026-11-22T08:00:00Z",
        ),
        (data_funding, {"funding": a_week(lacking=(10,))}, "1 gaps in them"),
        (
            data_funding,
            {"funding": a_week(lacking=(21,))},
            "the last settlement is of 2026-11-22T00:00:00Z, and the one after it is missing",
        ),
    ],
)
def test_what_is_missing_refuses_an_entry_and_is_told(rule, changes, told):
    frozen = seen(**changes)
    verdict = asked(rule, an_entry(), frozen)
    assert not verdict.allowed and told in verdict.text
    for other in (a_sale(), no_order()):  # no exit waits for it, and nothing is no entry
        assert asked(rule, other, frozen).allowed


def test_a_changed_interval_is_told():
    old, new = a_week(40), a_week(5, hours=1)
    both = Funding(
        *(
            np.concatenate([getattr(old[: 40 - 1], name), getattr(new, name)])
            for name in Funding.COLUMNS
        )
    )
    # 00:00 settled after 8 hours, then 04:00 to 08:00 every hour: 01:00 to 03:00 are missing
    assert not asked(data_funding, an_entry(), seen(funding=both)).allowed
    new = a_week(8, hours=1)
    both = Funding(
        *(np.concatenate([getattr(old[:39], n), getattr(new, n)]) for n in Funding.COLUMNS)
    )
    # at 10:15 an hourly settlement of 08:00 is too old; at 08:30 it is the latest
    assert not asked(data_funding, an_entry(), seen(funding=both)).allowed
    early = candles([100] * 61, until=BOUNDARY.replace(hour=8, minute=30))
    verdict = asked(data_funding, an_entry(), seen(funding=both, candles=early))
    assert verdict.allowed and "their interval changed" in verdict.text


def test_funding_that_cannot_be_read_does_not_make_the_signal_hold():
    # given a position, prices below their mean, and nothing beside the candles
    falling = a_view(state="FLAT")
    view = replace(falling, problems=(Problem(FUNDING_UNREADABLE, "no list came"),))
    frozen = inputs(view, plan=PLAN)
    assert data_invalid(an_entry(), frozen, frozen.limits).allowed
    assert decide(frozen).choice("BTCUSDT").signal.state is SignalState.FLAT


def test_above_the_mean_without_a_book_holds_and_says_why():
    choice = decide(seen(book=None)).choice("BTCUSDT")
    assert choice.signal.state is SignalState.HOLD and choice.reason == "SIGNAL_FILTERED"
    assert "there is no book of 5 levels a side" in choice.reason_text
    assert choice.order is None


def test_above_the_mean_with_dear_funding_holds_and_says_so():
    choice = decide(seen(funding=a_week(rate=250))).choice("BTCUSDT")
    assert choice.reason == "SIGNAL_FILTERED"
    assert "funding, 2.5000 bps for 8 hours, is above 2" in choice.reason_text


def test_above_the_mean_with_everything_agreeing_buys():
    choice = decide(seen()).choice("BTCUSDT")
    assert choice.signal.state is SignalState.LONG and choice.approved
    assert [v.code for v in choice.verdicts][-2:] == ["DATA_BOOK", "DATA_FUNDING"]
    assert timedelta(seconds=3) == NOW - BOUNDARY
