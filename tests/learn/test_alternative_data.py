from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.recorded import recorded
from tgtqr_lib.clock import parse_time, to_ms
from tgtqr_lib.domain import DataError, DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.learn import Play, alternative_data
from tgtqr_lib.learn import alternative_tests as tests
from tgtqr_lib.learn.alternative_report import Finding, bars, chance, p_is, rates, read
from tgtqr_lib.learn.alternative_tests import DAY_MS, HOUR_MS, Bars, Family, Rates
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.market.funding_lake import FundingLake, FundingRates
from tgtqr_lib.research import history

START = to_ms(parse_time("2025-06-02T00:00Z"))  # a Monday
SETTLED = 8 * HOUR_MS


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("home") / "nothing")


@pytest.fixture(scope="module")
def market(nowhere):
    return alternative_data.market(alternative_data.history("BTCUSDT", 365, nowhere), nowhere)


def some_bars(hours: int = 24 * 70, seed: int = 1) -> Bars:
    chance = np.random.Generator(np.random.PCG64(seed))
    path = 100 * np.exp(np.cumsum(0.005 * chance.standard_normal(hours + 1)))
    at = START + np.arange(hours) * HOUR_MS
    return Bars("test", at, path[:-1], path[1:], chance.random(hours) + 0.1, HOUR_MS, 6.0)


def some_rates(market: Bars, seed: int = 2) -> Rates:
    chance = np.random.Generator(np.random.PCG64(seed))
    at = np.arange(int(market.at_ms[0]), int(market.at_ms[-1]) + 1, SETTLED)
    return Rates(at, 1e-4 * chance.standard_normal(len(at)))


def a_family(moves, paid, positions, cost_bps=10.0, hours=12) -> Family:
    positions = np.array(positions, dtype=float)
    at = START + np.arange(len(moves)) * hours * HOUR_MS
    names = tuple(f"v{i}" for i in range(positions.shape[1]))
    return Family("idea", "test", at, np.array(moves), np.array(paid), names, positions, cost_bps)


# ---------------------------------------------------------------- signals


def test_a_z_score_looks_at_the_last_values_only_and_is_absent_where_one_is_missing():
    values = np.array([3.0, 1.0, 4.0, np.nan, 5.0, 9.0, 2.0, 2.0, 2.0, 2.0])
    z = tests.trailing_z(values, 3)
    # 3, 1, 4: mean 8/3, squares about it 1/9 + 25/9 + 16/9 = 42/9, spread sqrt(14/9)
    assert z[2] == pytest.approx((4 - 8 / 3) / np.sqrt(14 / 9))
    # 5, 9, 2: mean 16/3, squares 1/9 + 121/9 + 100/9 = 222/9, spread sqrt(74/9)
    assert z[6] == pytest.approx((2 - 16 / 3) / np.sqrt(74 / 9))
    assert np.isnan(z[[0, 1, 3, 4, 5]]).all()
    assert np.isnan(z[[8, 9]]).all()  # all alike: no spread to measure by


def test_a_signal_held_for_three_steps_is_a_third_of_the_position_each():
    signal = np.array([1.0, 0.0, np.nan, -1.0])
    assert tests.held(signal, 3).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, -1 / 3])
    assert tests.held(signal, 1).tolist() == [1, 0, 0, -1]


def test_funding_is_paid_at_settlements_after_the_start_up_to_the_end():
    settled = Rates(np.array([100, 200, 300]), np.array([0.1, 0.02, 0.003]))
    start, end = np.array([99, 100, 100, 250]), np.array([100, 200, 300, 299])
    assert settled.paid(start, end).tolist() == pytest.approx([0.1, 0.02, 0.023, 0])
    assert Rates.none().paid(start, end).tolist() == [0, 0, 0, 0]


def test_funding_is_traded_at_the_first_open_after_its_settlement():
    market = some_bars()
    settled = some_rates(market)
    family = tests.funding_family(market, settled)
    row = 150
    place = int((settled.at_ms[row] - START) // HOUR_MS)
    assert family.at_ms[row] == settled.at_ms[row] + HOUR_MS
    # from the open an hour after this settlement to the open an hour after the next one
    assert family.moves[row] == pytest.approx(market.open[place + 9] / market.open[place + 1] - 1)
    assert family.paid[row] == settled.rate[row + 1]  # the next settlement is held through


def test_positions_never_know_a_rate_that_is_not_settled_yet():
    market = some_bars()
    settled = some_rates(market)
    cut = 140
    altered = Rates(settled.at_ms, np.where(np.arange(len(settled.rate)) > cut, 7.0, settled.rate))
    known, other = (tests.funding_family(market, each) for each in (settled, altered))
    np.testing.assert_array_equal(known.positions[: cut + 1], other.positions[: cut + 1])
    assert (known.positions[cut + 1 :] != other.positions[cut + 1 :]).any()
    early, wrong = (tests.funding_family(market, each, ahead=1) for each in (settled, altered))
    assert (early.positions[cut] != wrong.positions[cut]).any()  # the planted mistake does know


@pytest.mark.parametrize("ahead", [-2, -1, 1])
def test_reading_a_settlement_early_or_late_moves_the_signal_by_that_many_rows(ahead):
    market = some_bars()
    settled = some_rates(market)
    usual, moved = (tests.funding_family(market, settled, ahead=n) for n in (0, ahead))
    short = [i for i, name in enumerate(usual.names) if name.endswith("held 8 h")]
    rows = np.arange(100, 190)
    np.testing.assert_array_equal(
        moved.positions[rows][:, short], usual.positions[rows + ahead][:, short]
    )


@pytest.mark.parametrize("idea", ["flow", "basis"])
def test_hourly_positions_know_closed_candles_only(idea):
    market, spot = some_bars(), some_bars(seed=3)
    cut = 24 * 40  # the candle that opens then, and all later ones, change

    def altered(given: Bars) -> Bars:
        late = np.arange(len(given)) >= cut
        return replace(
            given, close=np.where(late, given.close * 1.1, given.close),
            volume=np.where(late, given.volume * 50, given.volume),
        )  # fmt: skip

    def family(near: Bars, far: Bars) -> Family:
        if idea == "flow":
            return tests.flow_family(near, Rates.none())
        return tests.basis_family(near, far, Rates.none())

    known, other = family(market, spot), family(altered(market), spot)
    np.testing.assert_array_equal(known.positions[: cut + 1], other.positions[: cut + 1])
    assert (known.positions != other.positions).any()


def test_signed_volume_is_rising_less_falling_volume_over_all_volume():
    market = some_bars()
    share = np.sign(market.close - market.open)  # one candle an hour: all of it, one way
    # by hand, at hour h: the candle closed by then against those of the week before it
    hour = 400
    week = share[hour - 168 : hour]
    z = (share[hour - 1] - week.mean()) / week.std()
    family = tests.flow_family(market, Rates.none())
    place = family.names.index("with z 1, 1 h, held 1 h")
    assert family.positions[hour, place] == (np.sign(z) if abs(z) >= 1 else 0)


def test_a_later_fill_has_the_same_positions_and_another_price():
    market = some_bars()
    usual, later = (tests.flow_family(market, Rates.none(), wait=n) for n in (0, 1))
    rows = slice(200, 1000)
    np.testing.assert_array_equal(usual.positions[rows], later.positions[rows])
    np.testing.assert_array_equal(later.at_ms[rows], usual.at_ms[rows] + HOUR_MS)
    np.testing.assert_array_equal(later.moves[rows], usual.moves[201:1001])


def test_a_weekday_is_held_all_day_and_an_hour_for_an_hour():
    family = tests.calendar_family(some_bars(), Rates.none())
    monday = family.positions[:, family.names.index("Monday")].reshape(-1, 24)
    assert monday.all(axis=1).tolist() == [day % 7 == 0 for day in range(70)]
    last = family.positions[:, family.names.index("23:00 to 00:00")].reshape(-1, 24)
    assert last[:-1, 23].all() and not last[:, :23].any()
    assert last[-1, 23] == 0  # no candle follows, so there is nothing to sell it at


def test_what_a_missing_candle_touches_is_not_held_and_an_empty_day_is_no_day():
    market = some_bars()
    keep = np.ones(len(market), dtype=bool)
    keep[100] = False
    keep[240:264] = False  # the 11th day
    holes = replace(
        market, at_ms=market.at_ms[keep], open=market.open[keep], close=market.close[keep],
        volume=market.volume[keep],
    )  # fmt: skip
    family = tests.calendar_family(holes, Rates.none())
    assert family.days == 69
    # the steps into and out of the missing candle, and into the empty day; row 240 is the day after
    assert not family.positions[[99, 100, 239]].any() and not family.moves[[99, 100, 239]].any()
    for row in (98, 101, 238, 240):
        assert family.positions[row].any() and family.moves[row]


def test_funding_with_a_gap_and_too_short_a_history_are_refused_in_a_sentence():
    market = some_bars()
    settled = some_rates(market)
    with pytest.raises(DataError, match="8 hours apart and without a gap"):
        tests.funding_family(market, Rates(np.delete(settled.at_ms, 7), np.delete(settled.rate, 7)))
    with pytest.raises(DataError, match="20 days with candles for calendar; expected 30"):
        tests.calendar_family(market.span(START, START + 20 * DAY_MS), Rates.none())
    with pytest.raises(DomainError, match="29 days of 2 variants; expected at least 30"):
        tests.against_chance(np.zeros((29, 2)))


# ---------------------------------------------------------------- returns


def test_net_is_the_move_less_funding_less_costs_of_what_was_turned_over():
    family = a_family(
        moves=[0.02, -0.01, 0.03, 0.0], paid=[0.001, 0.0, 0.002, 0.0],
        positions=[[1], [1], [-1], [0]],
    )  # fmt: skip
    # day one: buys 1 at 10 bps; 0.02 - 0.001 - 0.001, then -0.01
    # day two: sells 2, is short; -(0.03 - 0.002) - 0.002, then buys 1 back: -0.001
    assert family.net[:, 0].tolist() == pytest.approx([0.018 - 0.01, -0.028 - 0.002 - 0.001])
    # gross: the mean move is 0.01, so the steps count 0.01, -0.02, 0.02 and -0.01
    assert family.gross[:, 0].tolist() == pytest.approx([0.01 - 0.02, -0.02])


def test_always_long_earns_nothing_by_timing_whatever_the_market_does():
    family = a_family([0.05, 0.01, 0.02, 0.04], [0, 0, 0, 0], [[1], [1], [1], [1]], cost_bps=0)
    assert family.net.sum() == pytest.approx(0.12)
    assert family.gross.sum() == pytest.approx(0)


# ---------------------------------------------------------------- chance


def test_worthless_families_are_called_a_discovery_one_time_in_twenty():
    chance = np.random.Generator(np.random.PCG64(7))
    called, single = 0, 0
    for seed in range(200):
        found = tests.against_chance(0.01 * chance.standard_normal((120, 12)), 300, seed=seed)
        called += int(found.corrected.min() <= 0.05)
        single += int((found.alone <= 0.05).any())
    # binomial of 200 at 0.05: mean 10, and 20 or more once in 400; without the correction
    # 1 - 0.95^12 = 46 % of families
    assert 2 <= called <= 20
    assert 65 <= single <= 120


def test_a_single_p_value_is_that_of_the_normal_distribution_for_independent_days():
    daily = 0.01 * np.random.Generator(np.random.PCG64(3)).standard_normal((400, 1))
    daily += 0.0008 - daily.mean()
    score = 0.0008 / (daily.std(ddof=1) / 20)
    from statistics import NormalDist

    found = tests.against_chance(daily, 4_000, block=1.0)
    assert found.scores[0] == pytest.approx(score)
    assert found.alone[0] == pytest.approx(1 - NormalDist().cdf(score), abs=0.015)


def test_trying_the_same_thing_often_counts_as_trying_it_once():
    daily = 0.01 * np.random.Generator(np.random.PCG64(5)).standard_normal((200, 1)) + 0.001
    once, often = (tests.against_chance(np.repeat(daily, n, axis=1), 500) for n in (1, 30))
    assert often.corrected[0] == pytest.approx(once.alone[0])


def test_the_bar_rises_with_every_try_and_the_corrected_p_value_is_never_the_lower_one():
    daily = 0.01 * np.random.Generator(np.random.PCG64(6)).standard_normal((150, 40))
    found = tests.against_chance(daily, 400)
    assert (np.diff(found.bar) >= 0).all() and found.bar[-1] > found.bar[0] + 0.5
    assert (found.corrected >= found.alone).all()
    assert found.first == int(np.argmax(daily.mean(axis=0) / daily.std(axis=0)))


def test_a_variant_that_never_traded_is_no_discovery():
    daily = np.zeros((60, 2))
    daily[:, 1] = 0.01 * np.random.Generator(np.random.PCG64(8)).standard_normal(60)
    found = tests.against_chance(daily, 200)
    assert found.alone[0] == found.corrected[0] == 1.0
    assert found.first == 1


def test_holm_raises_each_p_value_by_how_many_are_left():
    # sorted 0.01 x 3, 0.03 x 2, then 0.04 x 1, which may not fall below 0.06
    assert tests.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert tests.holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_p_values_are_never_shown_as_nothing():
    assert [chance(p) for p in (0.0005, 0.001, 0.0499, 1.0)] == [
        "<0.001",
        "0.001",
        "0.050",
        "1.000",
    ]
    assert [p_is(p) for p in (0.0005, 0.034)] == ["p < 0.001", "p = 0.034"]


# ---------------------------------------------------------------- the notebook


def test_an_effect_is_found_where_it_was_planted_and_nowhere_else(market):
    plain = tests.against_chance(market.family.gross)
    planted = tests.against_chance(market.planted(20.0).gross)
    assert plain.corrected.min() > 0.2
    assert planted.corrected.min() < 0.01
    assert market.planted(20.0).names[planted.first].startswith("with z")
    against = tests.against_chance(market.planted(-20.0).gross)
    assert market.family.names[against.first].startswith("against z")
    table = alternative_data.found_or_not(market, 20.0)
    assert [row[4] for row in table.rows] == [
        chance(float(plain.corrected.min())), chance(float(planted.corrected.min())),
    ]  # fmt: skip


def test_only_moves_after_the_settlement_carry_the_planted_effect(market):
    rows = slice(50, 60)
    family = market.family
    settled = market.rates.rate
    for row in range(*rows.indices(len(family.moves))):
        place = int(np.searchsorted(market.rates.at_ms, family.at_ms[row] - HOUR_MS))
        week = settled[place - 20 : place + 1]
        spread = week.std()
        z = 0.0 if spread < 1e-12 else np.clip((settled[place] - week.mean()) / spread, -3, 3)
        added = market.planted(10.0).moves[row] - family.moves[row]
        assert added == pytest.approx(0.001 * z, abs=1e-12)


def test_made_up_rates_are_bybits_formula_and_follow_the_price_like_recorded_ones(market):
    assert market.made_up and market.past.made_up
    assert 0.05 < market.follows < 0.35
    assert np.median(market.rates.rate) == 1e-4  # the interest, inside the dead zone
    assert (np.diff(market.rates.at_ms) == SETTLED).all()


def test_reading_the_settlement_to_come_looks_better_than_anything_honest(market):
    early, usual = (
        tests.against_chance(tests.funding_family(market.bars, market.rates, ahead=n).gross)
        for n in (1, 0)
    )
    assert early.corrected.min() < 0.01 < 0.2 < usual.corrected.min()
    rows = alternative_data.too_early(market, (1, 0, -1, -2)).rows
    assert [row[0] for row in rows] == [
        "still to come", "just settled", "8 hours late", "16 hours late",
    ]  # fmt: skip


def test_the_sliders_draw_at_every_end_of_their_range(market):
    tried = alternative_data.Tries(market)
    page = Play(
        tried.draw,
        strength=(20.0, 0.0, 60.0, 1.0, "bps"), tries=(24, 1, 200, 1, "tries"),
        days=(365, 90, 365, 5, "days"),
    )  # fmt: skip
    assert ": found." in page.html and page.html.count("<circle") == 24
    assert "not to be told from luck" in page.set(strength=0.0).html
    for values in ({"tries": 1}, {"tries": 200, "days": 90}, {"strength": 60.0}):
        assert page.set(**values).html.count("<circle") == page.values["tries"]
    # the same effect among more tries is less of a discovery
    few, many = (tried.tried(20.0, n, 365)[1].corrected.min() for n in (24, 200))
    assert few < many
    # and in less history
    short = tried.tried(20.0, 24, 90)
    assert short[0].days == 90 and short[1].corrected.min() > few


def test_a_stronger_effect_is_found_and_coins_are_not(market):
    strong = [row[2] for row in alternative_data.strengths(market, (0, 40)).rows]
    assert float(strong[0]) > 0.2 and strong[1] == "<0.001"
    coins = alternative_data.worthless(market, (1, 150)).rows
    assert all(float(row[3]) > 0.05 for row in coins)
    assert float(coins[1][2]) < 0.05  # alone, the best of 150 would have passed


def test_half_of_the_days_choose_and_the_other_half_judges(market):
    rows = alternative_data.halves(market).rows
    assert [row[0].split(",")[0] for row in rows] == ["funding", "signed volume", "calendar"]
    for row in rows:
        (_, chosen_until), (judged_from, _) = (span.split(" to ") for span in (row[1], row[5]))
        assert chosen_until < judged_from


def test_the_answer_follows_the_figures(market):
    nothing = str(alternative_data.answer(market, alternative_data.findings(market), 20.0))
    assert nothing.startswith("No: of 71 tries on 3 kinds of data none can be told from luck")
    assert "20 bps planted on purpose is found" in nothing
    assert "still to come gives p < 0.001: the best-looking result here is a mistake" in nothing
    assert nothing.endswith("so only the method was on trial.")

    there = (Finding(market.planted(60.0)),)
    found = str(alternative_data.answer(market, there, 1.0))
    assert found.startswith(
        "Of 24 tries on 1 kinds of data something is there before costs: funding"
    )
    assert "After costs funding remains." in found
    assert "1 bps planted on purpose is missed" in found


def test_an_empty_home_gives_made_up_days_and_stays_empty(nowhere, market):
    assert market.past.made_up and not nowhere.root.exists()
    assert "made-up settlements" in market._repr_markdown_()


def a_lake(home: Home, days: int, settlements: bool) -> None:
    """Made-up minutes kept as if recorded, with a rate at every settlement."""
    past = history("BTCUSDT", Home(home.root / "none"), days)
    Lake(home.candles).write(past.candles, "a test")
    if settlements:
        at = np.arange(-(-int(past.candles.open_ms[0]) // SETTLED) * SETTLED,
                       int(past.candles.open_ms[-1]), SETTLED)  # fmt: skip
        units = 1_000_000 + 1000 * (np.arange(len(at)) % 7)
        FundingLake(home.data / "funding").write(
            FundingRates.of("BTCUSDT", at, units, 480, "a test")
        )


def test_a_lake_with_candles_and_funding_is_used_and_said_to_be_recorded(tmp_path):
    home = Home(tmp_path)
    a_lake(home, 130, settlements=True)
    past = alternative_data.history("BTCUSDT", 365, home)
    market = alternative_data.market(past, home)
    assert not past.made_up and not market.made_up
    assert market.rates.rate[:3].tolist() == pytest.approx([1e-4, 1.001e-4, 1.002e-4])
    answer = str(alternative_data.answer(market, alternative_data.findings(market), 20.0))
    assert "made up" not in answer


def test_a_lake_without_funding_gets_made_up_rates_and_the_answer_says_so(tmp_path):
    home = Home(tmp_path)
    a_lake(home, 121, settlements=False)
    market = alternative_data.market(alternative_data.history("BTCUSDT", 365, home), home)
    assert not market.past.made_up and market.made_up
    answer = str(alternative_data.answer(market, alternative_data.findings(market), 20.0))
    assert answer.endswith("The funding rates are made up, so nothing is said about real ones.")


def test_a_lake_of_a_few_days_is_not_enough_and_made_up_days_are_used(tmp_path):
    home = Home(tmp_path)
    a_lake(home, 3, settlements=True)
    assert alternative_data.history("BTCUSDT", 200, home).made_up


def test_hours_are_the_first_open_the_last_close_and_all_volume_of_their_minutes(market):
    candles, hours = market.past.candles, market.bars
    minutes = slice(60 * 100, 60 * 101)
    scale = 10.0**candles.decimals
    assert hours.at_ms[100] == candles.open_ms[6000]
    assert hours.open[100] == candles.open[minutes][0] / scale
    assert hours.close[100] == candles.close[minutes][-1] / scale
    assert hours.volume[100] == pytest.approx(candles.volume[minutes].sum() / 1e6)
    assert hours.cost_bps == 6.0  # 5.5 taker and half of 1 bp


# ---------------------------------------------------------------- files


def test_files_that_cannot_be_used_end_with_a_sentence_and_exit_code_2(tmp_path, capsys):
    absent = str(tmp_path / "absent.parquet")
    assert alternative_data.main(["--funding", absent, "--candles", absent]) == 2
    assert "absent.parquet: cannot be read" in capsys.readouterr().err


def test_recorded_files_are_read_as_they_are():
    path = recorded("candles_15m_bybit-linear.parquet")
    market = bars(path, "BTCUSDT", "linear")
    assert (len(market), market.step_ms, market.cost_bps) == (54_528, 15 * 60_000, 6.0)
    assert market.name == "BTCUSDT bybit linear, 15 min"
    settled = rates(recorded("funding_8h_bybit-linear.parquet"), "ETHUSDT")
    assert len(settled.at_ms) == 4_890
    assert all(b - a == SETTLED for a, b in pairwise(settled.at_ms.tolist()))
    with pytest.raises(DataError, match="0 rows of candles of XRPUSDT; expected 2 or more"):
        read(path, "XRPUSDT", "candles")
