"""What notebook 02 says of costs, against arithmetic and the kit's other code."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib import research
from tgtqr_lib.domain import DomainError
from tgtqr_lib.learn import costs
from tgtqr_lib.learn.costs import Caught, Holding, Runway
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.research.past import Past

END = datetime(2025, 6, 1, tzinfo=UTC)


def past_of(closes, symbol="BTCUSDT") -> Past:
    return Past(candles(closes, symbol, until=END), "by hand", made_up=False)


@pytest.fixture(scope="module")
def two_months(tmp_path_factory) -> Past:
    return research.history(home=tmp_path_factory.mktemp("home"), days=60)


@pytest.fixture(scope="module")
def caught(two_months) -> Caught:
    return Caught.of(two_months, research.plan())


# break-even


def test_a_round_trip_at_the_break_even_comes_to_nothing():
    for fee, spread in [(10, 1), ("5.5", "0.1"), (0, 3), (100, 0)]:
        move = costs.break_even(fee, spread)

        f, h = Fraction(fee) / 10_000, Fraction(spread) / 20_000
        paid = (1 + h) + f * (1 + h)
        got = (1 + move) * (1 - h) - f * (1 + move) * (1 - h)
        assert got == paid


def test_the_break_even_of_spot():
    # 1.00005 x 1.001 / (0.99995 x 0.999) - 1 = 0.0021 / 0.99895005
    assert costs.break_even(10, 1) == Fraction(210_000_000, 99_895_005_000)
    assert costs.break_even_bps(10, 1) == pytest.approx(21.0221, abs=1e-4)
    assert costs.break_even(0, 0) == 0


@pytest.mark.parametrize(("fee", "spread"), [(-1, 0), (0, -1), (10_000, 0), (0, 20_000)])
def test_impossible_costs_are_refused(fee, spread):
    with pytest.raises(DomainError, match="expected 0 to below 10,000"):
        costs.break_even(fee, spread)


def test_the_first_gain_is_found_to_the_price_step():
    # mid 100,000.0, ask 100,005.0; limit 101,000.0, so 9 lots of 0.000001: 0.900045 and a fee of 0.00090005 (up).
    # Sold at a bid b for 0.000009 b less 0.1 %: no loss from 0.000009 b - 0.00000001 ceil(0.9 b) >= 0.90094505.
    # b = 100,205.3: 0.9018477 - 0.00090185 = 0.90094585, enough; b = 100,205.2: 0.9018468 - 0.00090185 = 0.90094495.
    # A bid of 100,205.3 is the floor of mid x 0.99995 from a mid of 100,210.4 on (100,205.389).
    table = dict(costs.first_gain(past_of(["100000.0"] * 3), research.plan()).rows)

    assert table["the first price step without a loss"] == "100,210.4"
    assert table["result there"] == "+0.00000080"
    assert table["one step lower"] == "−0.00000010"
    # 100,000 x (1 + 0.0021 / 0.99895005)
    assert table["the formula breaks even at"] == "100,210.2207"


# what is caught


def test_moves_are_those_between_the_opens_of_each_trade(two_months, caught):
    trades = caught.result.trades
    opens = dict(zip(two_months.candles.open_ms, two_months.candles.open, strict=True))

    expected = [
        (opens[t.exit_at.timestamp() * 1000] / opens[t.entry_at.timestamp() * 1000] - 1) * 1e4
        for t in trades
    ]
    assert len(trades) > 500
    np.testing.assert_allclose(caught.moves, expected)
    assert caught.a_year == pytest.approx(len(trades) * 365 / 60)


def test_moves_above_break_even_are_the_trades_with_a_gain(caught):
    # the formula knows nothing of lots and rounding, which decide only what is next to it
    gained = caught.result.column("pnl") > 0
    apart = np.abs(caught.moves - caught.break_even) > 0.3
    assert apart.mean() > 0.95
    np.testing.assert_array_equal((caught.moves > caught.break_even)[apart], gained[apart])
    assert caught.beats == pytest.approx(caught.gained, abs=0.02)


def test_the_share_that_is_needed_would_break_even(caught):
    moves, p = caught.moves, caught.needed
    up, down = moves[moves > 0].mean(), moves[moves <= 0].mean()
    assert p * up + (1 - p) * down == pytest.approx(caught.break_even)


def test_a_strategy_that_never_sold_is_told_in_a_sentence():
    with pytest.raises(DomainError, match="made no round trip"):
        Caught.of(past_of(["100000.0"] * 1440), research.plan())


# fee, spread and time


def test_moves_after_a_time_skip_minutes_that_are_not_there():
    closes = [Decimal(100_000 + 100 * i) for i in range(90)]
    past = Past(candles(closes, until=END, missing=[60]), "by hand", made_up=False)
    holding = Holding(past, np.array([0, 30]), np.array([0, 30]))

    # the first has no minute an hour later; half an hour after each there is none for the second
    assert len(holding.moves(np.array([0]), 60)) == 0
    # 103,000 over 100,000
    np.testing.assert_allclose(holding.moves(np.array([0, 30]), 30), [300])


def test_the_slider_tells_the_share_that_a_loop_counts(two_months, caught):
    holding = Holding.of(caught)

    page = holding.draw(5, 2, 120)

    at, opens = two_months.candles.open_ms.tolist(), two_months.candles.open.tolist()
    place = {ms: row for row, ms in enumerate(at)}
    needed = Fraction(10_001, 10_000) * Fraction(10_005, 10_000)
    needed /= Fraction(9_999, 10_000) * Fraction(9_995, 10_000)
    seen = [
        Fraction(opens[place[ms + 7_200_000]], opens[place[ms]]) > needed
        for ms in caught.result.column("entry_ms").tolist()
        if ms + 7_200_000 in place
    ]
    assert f"{sum(seen) / len(seen):.1%} of {len(seen):,} moves beat that" in page
    assert page.startswith("<svg")


def test_a_time_longer_than_the_history_is_told(two_months, caught):
    with pytest.raises(DomainError, match="no entry has a price 100000 minutes later"):
        Holding.of(caught).draw(minutes=100_000)


def test_long_enough_is_the_first_time_at_which_half_the_moves_are_larger(caught):
    holding = Holding.of(caught)

    enough = holding.long_enough(caught.break_even)

    def larger(minutes):
        return np.median(np.abs(holding.moves(holding.quarters, minutes))) > caught.break_even

    assert [larger(m) for m in range(15, enough + 1, 15)] == [False] * (enough // 15 - 1) + [True]
    assert holding.long_enough(1e6) is None
    assert holding.table(21, (15, 60)).rows[1][0] == "60 minutes"


# a year, and the budget


def test_a_year_is_counted_from_the_order_target(caught):
    rows = costs.year(caught, research.plan()).rows

    # 2 x 0.95 x 0.1 % and 2 x 0.95 x 0.5 bps
    assert [row[1] for row in rows] == ["0.001900", "0.000095", "0.001995"]
    assert float(rows[2][2]) == pytest.approx(0.001995 * caught.a_year, abs=6e-3)
    paid = float(caught.result.fees + caught.result.spread) * 365 / 60
    assert float(rows[2][3]) == pytest.approx(paid, abs=6e-3)


def test_the_budget_lasts_as_long_as_it_is_not_spent(two_months, tmp_path, monkeypatch):
    monkeypatch.setenv("TGTQR_HOME", str(tmp_path))
    pasts = costs.alongside(two_months, 60)

    runway = Runway.of(pasts, research.plan())

    assert [*pasts] == ["BTCUSDT", "ETHUSDT"]
    fees = sum(float(research.tested(p, research.plan()).fees) for p in pasts.values()) / 60
    assert runway.lasts(Runway.FEES, Decimal(5)) == pytest.approx(5 / fees)
    # an order reserves between the target less a lot of either and 0.95 and its fee
    assert Decimal("4.04") < runway.usable < Decimal("4.15")
    assert runway.table.rows[-1][-1] == "not stopped in 60"  # the seed takes some 90 days
    assert runway.stopped_days is None
    # from the day told on the two are held at once no more, but for a mark or two below what cash is
    turn = int(runway.limited.times_ms[0] + runway.in_turns_days * 86_400_000)
    held = np.zeros((2, len(runway.limited.times_ms)), dtype=bool)
    columns = (runway.limited.column(name) for name in ("symbol", "entry_ms", "exit_ms"))
    for symbol, entry, out in zip(*columns, strict=True):
        held[symbol] |= (runway.limited.times_ms >= entry) & (runway.limited.times_ms < out)
    before = runway.limited.times_ms < turn
    at_once = held.all(axis=0)
    assert at_once[before].mean() > 0.3 and at_once[~before].mean() < 0.01
    assert Runway.of({"BTCUSDT": two_months}, research.plan()).in_turns_days is None


def test_what_earns_lasts_for_ever():
    rising = past_of([Decimal(100_000 + i) for i in range(3 * 1440)])

    runway = Runway.of({"BTCUSDT": rising}, research.plan())

    assert runway.a_day[Runway.ALL] < 0
    assert dict((row[0], row[2]) for row in runway.table.rows)[Runway.ALL] == "for ever"


def test_recorded_prices_are_not_set_beside_made_up_ones(tmp_path, monkeypatch, two_months):
    monkeypatch.setenv("TGTQR_HOME", str(tmp_path))
    Lake(tmp_path / "data" / "candles").write(
        candles(["100000.0"] * 1440, until=END), "an exchange"
    )
    past = research.history(days=1)

    assert not past.made_up
    assert [*costs.alongside(past, 1)] == ["BTCUSDT"]


# the answer


def test_the_answer_says_the_figures_it_is_made_from(two_months, caught):
    runway = Runway.of({"BTCUSDT": two_months}, research.plan())

    text = str(costs.answer(caught, Holding.of(caught), runway))

    assert "pays from a move of 21.02 bps on" in text
    assert f"{caught.beats:.0%} of them beat that" in text
    assert "the edge that is missing" in text
    assert "was not stopped in 60 days" in text and "The prices are made up" in text


def test_an_edge_that_pays_is_not_called_missing():
    # an hour up by 2 %, an hour down by 1 %, and so on: what is caught is large
    closes, price = [], 100_000.0
    for hour in range(72):
        for _ in range(60):
            price *= 1 + (0.02 if hour % 2 else -0.01) / 60
            closes.append(Decimal(round(price * 10)).scaleb(-1))
    found = Caught.of(past_of(closes), research.plan())

    assert found.moves.mean() > 21.03
    assert costs._edge(found) == "That is more than the costs take in this history."
