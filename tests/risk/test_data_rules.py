"""The rules of doubt: what is missing, late, open, odd or stale adds no exposure, and sells nothing."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.builders import (
    BOUNDARY,
    HARD_LIMITS,
    NOW,
    PLAN,
    a_portfolio,
    a_position,
    a_quote,
    a_sale,
    a_view,
    an_entry,
    candles,
    closes_for,
    inputs,
    no_order,
)
from tgtqr_lib.domain import Plan, Problem
from tgtqr_lib.risk import (
    DATA_RULES,
    RULES,
    data_gap,
    data_invalid,
    data_jump,
    data_late,
    data_stale,
    data_ticker,
    data_unclosed,
)

CLOSES = closes_for("LONG")
LONG_RUN = CLOSES[:1] * 100 + CLOSES
HELD = a_portfolio(a_position(quantity="0.000009"))


def seen(view, **changes):
    return inputs(view, portfolio=HELD, **changes)


def with_candles(*given, **how):
    return seen(a_view(seen=candles(*given, **how)))


def with_quote(quote, **changes):
    return seen(a_view(quote=quote), **changes)


def jumping(*last):
    """A long quiet hour at 1000, then these closes."""
    return with_candles([1000] * (61 - len(last)) + list(last))


def window(minutes):
    return Plan("ma_trend", {"window": minutes}, PLAN.order_target_usdt, PLAN.collar_bps)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


BOUNDARIES = [
    # DATA_INVALID: nothing odd was noted
    (data_invalid, seen(a_view()), True),
    (data_invalid, seen(a_view(problems=[Problem("CANDLES_UNREADABLE", "a NaN")])), False),
    # DATA_LATE: the minute before the boundary is there
    (data_late, with_candles(CLOSES), True),
    (data_late, with_candles(CLOSES, until=BOUNDARY - timedelta(minutes=1)), False),
    (data_late, with_candles(CLOSES, until=BOUNDARY + timedelta(minutes=1)), False),
    (data_late, with_candles([]), False),
    # DATA_UNCLOSED: open time + 60 s is not after the exchange's time
    (data_unclosed, seen(a_view(), exchange_time=BOUNDARY), True),
    (data_unclosed, seen(a_view(), exchange_time=BOUNDARY - timedelta(microseconds=1)), False),
    (data_unclosed, with_candles(CLOSES, until=BOUNDARY + timedelta(minutes=1)), False),
    # DATA_GAP: as many contiguous minutes as the strategy looks back
    (data_gap, with_candles(CLOSES[-60:]), True),
    (data_gap, with_candles(CLOSES[-59:]), False),
    (data_gap, with_candles(CLOSES[-1:]), False),
    (data_gap, with_candles([]), False),
    (data_gap, with_candles(LONG_RUN, missing=[-61]), True),
    (data_gap, with_candles(LONG_RUN, missing=[-60]), False),
    (data_gap, with_candles(LONG_RUN, missing=[-2]), False),
    (data_gap, seen(a_view(seen=candles(CLOSES[-30:])), plan=window(30)), True),
    (data_gap, seen(a_view(seen=candles(CLOSES[-29:])), plan=window(30)), False),
    # DATA_JUMP: under 20 % from close to close, either way
    (data_jump, jumping("1199.9"), True),
    (data_jump, jumping("1200.0"), False),
    (data_jump, jumping("800.1"), True),
    (data_jump, jumping("800.0"), False),
    (data_jump, jumping("1200.0", "1000.0"), False),  # a spike that is over is still in the window
    (
        data_jump,
        jumping(*["1250.0"] * 60),
        False,
    ),  # the first close of the window, to the one before
    (data_jump, jumping(*["1250.0"] * 61), True),  # before the window
    # DATA_STALE: at most 5 s old
    (data_stale, with_quote(a_quote(at=ago(5))), True),
    (data_stale, with_quote(a_quote(at=ago(5.000001))), False),
    (data_stale, with_quote(a_quote(at=ago(3600))), False),
    (data_stale, with_quote(None), False),
    # DATA_TICKER: within 2 % of the ticker's last price; the close is 104321.7
    (data_ticker, with_quote(a_quote(last="102276.2")), True),  # 104321.7 / 1.02 = 102276.176
    (data_ticker, with_quote(a_quote(last="102276.1")), False),
    (data_ticker, with_quote(a_quote(last="106450.7")), True),  # 104321.7 / 0.98 = 106450.714
    (data_ticker, with_quote(a_quote(last="106450.8")), False),
]


@pytest.mark.parametrize("rule, now, allowed", BOUNDARIES)
def test_an_entry_passes_up_to_the_limit_and_an_exit_always(rule, now, allowed):
    entry = rule.check(an_entry(), now, HARD_LIMITS)
    assert (entry.code, entry.allowed) == (rule.CODE, allowed)
    assert "BTCUSDT" in entry.text or not entry.allowed or entry.code == "DATA_INVALID"
    assert rule.check(a_sale(), now, HARD_LIMITS).allowed


@pytest.mark.parametrize("rule, now, allowed", BOUNDARIES)
def test_a_quiet_symbol_is_told_of_the_doubt(rule, now, allowed):
    # "every tick and symbol has one primary reason, also for nothing"
    assert rule.check(no_order(), now, HARD_LIMITS).allowed is allowed


@pytest.mark.parametrize(
    "closes, largest",
    [(["1199.9"], "0.1999"), (["1200.0"], "0.2"), (["1000.0", "700.0"], "0.3")],
)
def test_a_jump_keeps_its_figure_also_on_the_limit(closes, largest):
    verdict = data_jump.check(an_entry(), jumping(*closes), HARD_LIMITS)
    assert verdict.value == Decimal(largest) and verdict.limit == Decimal("0.20")
    assert verdict.distance == Decimal("0.20") - Decimal(largest)


def test_the_text_of_a_late_candle_names_what_is_there_and_what_was_expected():
    late = with_candles(CLOSES, until=BOUNDARY - timedelta(minutes=15))
    text = data_late.check(an_entry(), late, HARD_LIMITS).text
    assert text == (
        "BTCUSDT: last candle opened 2026-11-22T09:59:00Z, expected 2026-11-22T10:14:00Z"
    )


def test_the_text_of_a_jump_names_its_minute():
    text = data_jump.check(an_entry(), jumping("1500.0", "1500.0"), HARD_LIMITS).text
    assert "50.00%" in text and "2026-11-22T10:13:00Z" in text


def test_the_text_of_a_problem_is_kept():
    odd = [Problem("CANDLES_UNREADABLE", "close is nan"), Problem("B", "volume is None")]
    text = data_invalid.check(an_entry(), seen(a_view(problems=odd)), HARD_LIMITS).text
    assert "close is nan" in text and "volume is None" in text


def test_an_unreadable_quote_is_no_quote_and_its_reason_is_kept():
    # it refuses entries as a missing quote does; the candles are good, so the signal stands
    odd = Problem("QUOTE_UNREADABLE", "BTCUSDT: best bid nan")
    now = seen(a_view(quote=None, problems=[odd]))
    assert data_invalid.check(an_entry(), now, HARD_LIMITS).allowed
    verdict = data_stale.check(an_entry(), now, HARD_LIMITS)
    assert not verdict.allowed and "best bid nan" in verdict.text


def test_of_a_symbol_that_was_not_seen_nothing_is_bought_and_everything_can_be_sold():
    only_eth = inputs(a_view("ETHUSDT"), portfolio=HELD)
    refused = {c for c in DATA_RULES if not RULES[c](an_entry(), only_eth, HARD_LIMITS).allowed}
    assert refused >= {"DATA_INVALID", "DATA_LATE", "DATA_GAP", "DATA_STALE"}
    assert all(RULES[code](a_sale(), only_eth, HARD_LIMITS).allowed for code in DATA_RULES)


def test_a_future_minute_of_another_symbol_does_not_matter():
    late = candles(
        closes_for("LONG", "2511.03", decimals=2), "ETHUSDT", until=BOUNDARY - timedelta(1)
    )
    now = inputs(a_view(), a_view("ETHUSDT", seen=late, quote=None))
    assert all(RULES[code](an_entry(), now, HARD_LIMITS).allowed for code in DATA_RULES)
