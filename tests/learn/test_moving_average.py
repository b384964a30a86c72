"""What notebook 01 says of a moving average, against arithmetic and plain loops."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib import research
from tgtqr_lib.domain import Candles, DomainError, History
from tgtqr_lib.learn import moving_average
from tgtqr_lib.learn.moving_average import Days, Said, Ties, Turns, Whipsaw
from tgtqr_lib.research.past import Past

END = datetime(2025, 6, 1, tzinfo=UTC)


def past_of(closes, missing=(), until=END) -> Past:
    return Past(candles(closes, missing=missing, until=until), "by hand", made_up=False)


def walk(minutes: int, seed: int = 3) -> list[Decimal]:
    steps = 1_000_000 + np.cumsum(np.random.default_rng(seed).integers(-40, 41, minutes))
    return [Decimal(int(s)).scaleb(-1) for s in steps]


def loop_states(closes, window: int) -> list[int]:
    """State at each quarter hour by a plain loop over fractions; the first candle opens on one."""
    states, now = [], -1
    for end in range(15, len(closes) + 1, 15):
        if end >= window:
            mean = Fraction(sum(Fraction(c) for c in closes[end - window : end]), window)
            last = Fraction(closes[end - 1])
            now = 1 if last > mean else 0 if last < mean else now
        states.append(now)
    return states


@pytest.fixture(scope="module")
def a_month(tmp_path_factory) -> Past:
    return research.history(home=tmp_path_factory.mktemp("home"), days=30)


# lag


def test_a_mean_trails_a_trend_by_half_its_window():
    # of 3 closes 1, 2, 3 the mean is 2: one minute ago; of 60 it is (60 - 1) / 2
    assert moving_average.behind(3) == 1
    assert moving_average.behind(60) == 29.5


def test_after_a_turn_the_signal_says_flat_in_the_minute_that_a_loop_finds():
    for window, fall in [(10, 1.0), (60, 1.0), (60, 0.25), (60, 0.5), (37, 2.0)]:
        price = [Fraction(i) for i in range(-window + 1, 1)]
        late = 0
        while price[-1] >= sum(price[-window:]) / window:
            late += 1
            price.append(-Fraction(fall) * late)

        assert moving_average.after_turn(window, fall) == late


def test_the_share_of_the_window_that_a_turn_takes():
    # equal slopes: x solves 2 x^2 - 4 x + 1 = 0, which is 1 - 1 / sqrt(2)
    x = moving_average.turn_share(1.0)
    assert 2 * x * x - 4 * x + 1 == pytest.approx(0, abs=1e-12)
    assert moving_average.after_turn(10_000) == pytest.approx(10_000 * x, rel=1e-3)


def test_the_measured_minute_is_within_one_of_the_formula_on_either_side():
    falls = (0.01, 0.25, 0.5, 1.0, 4.0)
    off = [
        moving_average.after_turn(window, fall) - moving_average.turn_share(fall) * window
        for window in (10, 15, 60, 240) for fall in falls
    ]  # fmt: skip
    assert -1 < min(off) < 0 < max(off) < 1


def test_a_fall_that_is_none_is_refused_in_a_sentence():
    with pytest.raises(DomainError, match="fall 0, window 60; expected at least"):
        moving_average.after_turn(60, 0)


def test_highs_are_found_with_how_late_flat_was_and_what_it_cost():
    # two days rise and one and a half fall by 0.1 a minute from 20:07, all on the same line
    top = 1440 + 20 * 60 + 7
    closes = [Decimal("100000.0") - Decimal("0.1") * abs(i - top) for i in range(4 * 1440)]

    turns = Turns.of(past_of(closes), windows=(60,))

    # the top's candle closes at 20:08; 18 minutes later it would be flat (20:26), said at 20:30
    assert turns.minutes[60].tolist() == [22]
    # 22 steps of 0.1 below 100,000
    assert turns.given_up[60][0] == pytest.approx(2.2 / 100_000 * 10_000)
    assert turns.table.rows[0][:3] == ("60", "1", "22")


def test_a_history_without_highs_says_none():
    turns = Turns.of(past_of([Decimal(100_000 + i) for i in range(1440)]), windows=(60,))

    assert turns.table.rows[0][1:] == ("0", "none", "none", "none", "none")


# whipsaw


def test_states_and_flips_are_those_of_a_plain_loop():
    closes = walk(1440)

    said = Said.of(History(past_of(closes).candles), 60)

    expected = loop_states(closes, 60)
    assert said.states.tolist() == expected
    flips = [i for i in range(1, len(expected)) if -1 != expected[i - 1] != expected[i]]
    assert said.flips.tolist() == flips and len(flips) > 5
    assert said.flips_a_day == pytest.approx(len(flips) * 96 / (96 - 3))  # 3 came before the first
    back = [any(0 < j - i <= 4 for j in flips) for i in flips if i + 4 <= 95]
    assert said.taken_back == pytest.approx(sum(back) / len(back))


def test_a_gap_is_held_through():
    closes = [*[Decimal("100000.0")] * 59, *[Decimal("100001.0")] * 61]
    said = Said.of(History(past_of(closes, missing=[70]).candles), 60)

    # long at 01:00; at 01:15 and later the hour has a hole, so it goes on saying long
    assert said.states.tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]


def test_the_formula_of_chance_agrees_with_a_simulated_walk():
    days = 800
    steps = np.rint(np.random.default_rng(11).normal(0, 1000, days * 1440))
    close = 10**9 + np.cumsum(steps).astype(np.int64)
    at = 1_735_689_600_000 + 60_000 * np.arange(len(close))
    history = History(Candles("BTCUSDT", 1, at, close, close, close, close, 0 * close))

    for window in (15, 60, 240):
        counted = Said.of(history, window).flips_a_day
        # 10,000 flips and more, whose own chance is some 1 % of them
        assert counted == pytest.approx(moving_average.expected_flips(window), rel=0.025)


def test_a_shuffle_has_the_same_moves_in_another_order():
    past = past_of(walk(2880), missing=[100])

    made = moving_average.shuffled(past, 1)

    def moves(candles):
        kept = np.diff(candles.open_ms) == 60_000
        return np.diff(np.log(candles.close))[kept]

    np.testing.assert_allclose(
        np.sort(moves(made)), np.sort(moves(past.candles)), atol=2e-6
    )  # to half a step of 0.1 in 100,000, twice
    assert not np.array_equal(moves(made), moves(past.candles))
    assert History(made).contiguous(len(made))[-1]
    assert moving_average.shuffled(past, 1) == made != moving_average.shuffled(past, 2)


def test_whipsaw_counts_each_window_in_history_and_shuffles(a_month):
    found = Whipsaw.of(a_month, windows=(60,), draws=2)

    row = dict(zip(found.table.head, found.table.rows[0], strict=True))
    low, high = found.chance(60)
    assert float(row["flips a day, history"]) == pytest.approx(found.own[60].flips_a_day, abs=5e-3)
    assert 20 < low <= high < 35
    assert float(row["by formula"]) == pytest.approx(27.18, abs=0.01)


def test_too_short_a_history_is_told_in_a_sentence():
    with pytest.raises(DomainError, match="days are too few to count flips"):
        Whipsaw.of(past_of(walk(600)))


# the slider


def test_a_day_is_drawn_with_its_flips_and_what_it_held(a_month):
    page = Days(a_month).draw(60, 0, 0)

    # counted apart: all of the month's states, those of the last day alone
    said = Said.of(History(a_month.candles), 60)
    today = said.flips[said.at_ms[said.flips] > said.at_ms[-1] - 86_400_000]
    assert f": {len(today)} flips on 2025-12-31" in page
    assert page.count("<polygon") == len(today)
    hours = (said.states[-97:-1] == 1).sum() / 4
    assert f"Held for {hours:.2f} hours" in page


def test_a_wide_band_never_flips_and_a_missing_day_is_told(a_month):
    days = Days(a_month)

    assert "0 flips" in days.draw(60, 1000, 3)
    assert days.count == 30
    with pytest.raises(DomainError, match="day 30 is not there; expected 0 to 29"):
        days.draw(60, 0, 30)
    with pytest.raises(DomainError, match="no whole UTC day"):
        Days(past_of(walk(600)))


def test_only_whole_days_are_looked_at():
    past = past_of(walk(3 * 1440), until=END + timedelta(hours=7))

    assert Days(past).count == 2


# exactness


def test_every_hour_becomes_an_exact_tie():
    steps = np.array([[7, 1, 2, 9], [5, 5, 5, 6]], dtype=np.int64)

    tied = moving_average.tie_of(steps)

    # 7+1+2 = 10 = 3 x 3 + 1: close 3, first 6; 15 = 3 x 5: close 5
    assert tied.tolist() == [[6, 1, 2, 3], [5, 5, 5, 5]]
    assert all(4 * row[-1] == sum(row) for row in tied.tolist())


def test_whole_steps_hold_on_every_tie_and_floats_do_not():
    ties = Ties.of(past_of(walk(3000)), most=500)

    assert ties.hours.shape == (500, 60)
    assert ties.wrong(Ties.EXACT) == 0
    # the same by a loop: prices as floats, added one by one
    loop = 0
    for hour in ties.hours.tolist():
        total = 0.0
        for steps in hour:
            total += float(Decimal(steps).scaleb(-1))
        loop += total / 60 != float(Decimal(hour[-1]).scaleb(-1))
    assert ties.wrong(Ties.LOOP) == loop > 0
    assert ties.example.rows[0][1] == ties.example.rows[0][2]  # whole steps are equal there


def test_ties_of_the_history_itself_are_counted():
    ties = Ties.of(past_of([*[Decimal("100000.0")] * 70, Decimal("100000.1")]))

    assert (ties.minutes, ties.natural) == (12, 11)


def test_the_close_that_ties_an_hour_is_the_mean_of_the_others():
    closes = [Decimal("100000.0")] * 59 + [Decimal("100000.5")]

    table = moving_average.tie_close(past_of(closes))

    assert dict(row[:2] for row in table.rows)["so a tie of this hour"] == "at 100000.0"
    odd = moving_average.tie_close(past_of([Decimal("100000.1"), *closes[1:]]))
    assert dict(row[:2] for row in odd.rows)["so a tie of this hour"] == "is at no price"


# the answer


def test_the_answer_says_the_figures_it_is_made_from(a_month):
    turns, whipsaw = Turns.of(a_month), Whipsaw.of(a_month, draws=2)
    ties = Ties.of(a_month, most=200)

    text = str(moving_average.answer(turns, whipsaw, ties))

    assert "the price of 29.5 minutes ago" in text and "flat 18 minutes after a turn" in text
    assert f"{np.median(turns.minutes[60]):.0f} minutes in the median" in text
    assert f"It flipped {whipsaw.own[60].flips_a_day:.1f} times a day" in text
    assert "The prices are made up" in text


@pytest.mark.parametrize(
    ("own", "said"),
    [(27, "what chance does"), (30, "more often than in any shuffle"), (20, "less often")],
)
def test_history_is_compared_with_chance(own, said):
    assert said in moving_average._against_chance(own, 26, 28)
