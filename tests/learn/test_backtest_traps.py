"""Notebook 06: each trap is planted as it is told, looks good, and is caught by what is said to catch it."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from tests.backtest.series import by_hand, random_walk
from tgtqr_lib import research
from tgtqr_lib.backtest import probes
from tgtqr_lib.backtest.metrics import sharpe
from tgtqr_lib.domain import DomainError, History
from tgtqr_lib.learn import Play, backtest_traps
from tgtqr_lib.learn.backtest_traps import OPEN_BAR, PEEKING, Coins, Noise
from tgtqr_lib.research.past import Past
from tgtqr_lib.strategies import STRATEGIES

MA = STRATEGIES["ma_trend"]
PHI = NormalDist().cdf


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Past:
    return research.history(home=tmp_path_factory.mktemp("home"), days=20)


@pytest.fixture(scope="module")
def caught(past):
    return backtest_traps.planted(past)


@pytest.fixture(scope="module")
def noise():
    return Noise.of(400, seed=3)


# a look ahead


def test_peeking_says_now_what_the_seed_strategy_says_later():
    history = History(random_walk(300, seed=1))
    honest, seen = MA(history), PEEKING(history, ahead=7)
    np.testing.assert_array_equal(seen[:-7], honest[7:])
    assert np.isnan(seen[-7:]).all()
    np.testing.assert_array_equal(PEEKING(history, ahead=0), honest)
    assert np.isnan(PEEKING(history.head(5), ahead=7)).all()


def test_no_minute_ahead_is_the_honest_backtest_and_fifteen_are_a_fortune(past):
    peek = backtest_traps.Peek(past)
    assert peek.seeing(0).pnl == peek.honest.pnl < 0
    assert peek.seeing(15).pnl > 0
    # costs are about the same; what is gained is what the market does in those minutes
    rows = peek.table((0, 15)).rows
    assert [row[0] for row in rows] == ["0", "15"] and rows[0][-1].startswith("−")


def test_the_slider_shows_both_results(past):
    peek = backtest_traps.Peek(past)
    play = Play(peek.draw, ahead=(15, 0, 60, 1, ""))
    assert f"+{peek.seeing(15).pnl:.4f} USDT after all costs" in play.html
    assert f"Honest: −{-peek.honest.pnl:.4f} USDT" in play.html
    assert "Seeing 1 minute ahead" in play.set(ahead=1).html
    assert PEEKING.name not in STRATEGIES  # known for as long as it runs


# an open candle


def test_the_open_bar_compares_with_the_close_of_the_bar_that_opens_then():
    # given quarter hours of one close each, from 00:00: 10, 20, 30, 40, 50, 5
    closes = np.repeat([10, 20, 30, 40, 50, 5], 15) * 1000
    history = History(by_hand(closes, closes))
    # the row that closes at 01:00 has closed bars 10 to 40, and 50 lies ahead: 50 is above (20+30+40+50)/4
    honest, open_bar = OPEN_BAR(history, still_open=0), OPEN_BAR(history, still_open=1)
    assert honest[59] == 1 and open_bar[59] == 1
    # at 01:15 50 has closed, 5 lies ahead: honest is long, the open bar knows better
    assert honest[74] == 1 and open_bar[74] == 0
    # in between the newest closed bar stays
    assert (honest[59:74] == 1).all() and np.isnan(honest[:59]).all()
    # at the end there is nothing ahead: the open bar is at its first price, which is the last close
    # 5 against (5 + 5 + 50 + 40) / 4
    assert open_bar[89] == 0


def test_bars_hold_in_a_gap_and_on_a_tie():
    closes = np.full(200, 1000)
    assert np.isnan(OPEN_BAR(History(by_hand(closes, closes)), still_open=0)).all()
    walk = random_walk(200, seed=2)
    rough = History(replace(by_hand(walk.open, walk.close, missing=[100])))
    assert np.isnan(OPEN_BAR(rough, still_open=1)[100:159]).all()
    assert np.isfinite(OPEN_BAR(rough, still_open=1)[159])


def test_both_are_wonderful_in_the_backtest_and_not_in_ticks(caught):
    honest, peeking, open_bar = caught
    assert honest.newest.equity_units[-1] == honest.ticked.equity_units[-1]
    for planted in (peeking, open_bar):
        assert planted.whole.pnl > 0 > honest.whole.pnl
        assert planted.newest.pnl > planted.ticked.pnl
    assert len(peeking.newest.table) and not len(peeking.ticked.table)
    table = backtest_traps.beside(caught)
    assert [row[0] for row in table.rows] == ["ma_trend", "peeking", "open_bar"]
    assert table.rows[1][3:] == ("0.0000", f"{len(peeking.newest.table)} / 0")


def test_check_names_the_first_minute_of_both_and_passes_the_honest_one(caught, past):
    honest, peeking, open_bar = caught
    assert honest.findings.passed and honest.sentence == "ma_trend passed all 8 probes"
    assert peeking.findings.failed == open_bar.findings.failed == ("look-ahead",)
    # 720 minutes from noon: the seed strategy is ready with the 60th, at 12:59, and seen 15 minutes early
    assert "at 2025-12-31T12:44:00Z" in peeking.sentence
    # a bar ahead is wrong at the first row that is ready at all, if its bar turns the comparison
    assert "at 2025-12-31T12:59:00Z" in open_bar.sentence
    assert backtest_traps.verdicts(caught).rows[0][1] == honest.sentence


def test_the_bars_without_the_open_one_are_honest(past):
    closed = replace(
        OPEN_BAR,
        name="closed_bars",
        targets=lambda history: OPEN_BAR.targets(history, still_open=0),
        lookback=lambda: 60,
        reference=lambda history: OPEN_BAR.reference(history, still_open=0),
        parameters={},
    )
    found = probes.check(closed, past.candles.tail(720))
    assert found["look-ahead"].passed and found["warm-up"].passed, found


# survivors


def test_holding_every_coin_is_a_fair_bet_whatever_was_delisted():
    # the mean of many coins of mean 1 and variance exp(0.64 x 2) - 1; 5 standard errors
    coins = Coins.of(8_000, seed=5)
    assert abs(coins.gain()) < 5 * (np.exp(1.28) - 1) ** 0.5 / 8_000**0.5
    assert 0.05 < 1 - coins.alive.mean() < 0.25


def test_the_top_of_the_list_gains_what_the_lognormal_says():
    # mean of the best fraction p of exp(N(-s^2/2, s^2)): phi(s - z) / p with phi(z) = 1 - p
    coins, s = Coins.of(8_000, seed=5, delisted_below=0.0), 0.8 * 2**0.5
    for percent in (10, 30, 100):
        p = percent / 100
        z = NormalDist().inv_cdf(1 - p) if p < 1 else -np.inf
        assert coins.gain(coins.listed(percent)) + 1 == pytest.approx(PHI(s - z) / p, rel=0.07)


def test_a_delisted_coin_stays_at_its_last_price_and_is_on_no_list():
    coins = Coins.of(500, seed=1)
    dead = np.flatnonzero(~coins.alive)
    first = (coins.paths[:, dead[0]] < 0.1).argmax()
    assert (coins.paths[first:, dead[0]] == coins.paths[first, dead[0]]).all()
    assert coins.paths[first - 1, dead[0]] >= 0.1
    share = int(coins.alive.mean() * 100)
    assert not set(coins.listed(share)) & set(dead)
    assert coins.survivors > coins.gain()


def test_the_longer_the_list_the_smaller_the_lie():
    coins = Coins.of(500, seed=1)
    gains = [coins.gain(coins.listed(percent)) for percent in (5, 20, 60, 100)]
    assert gains == sorted(gains, reverse=True) and gains[-1] == pytest.approx(coins.gain())
    play = Play(coins.draw, percent=(100, 1, 100, 1, ""))
    told = f"{coins.gain() * 100:+.1f} %".replace("-", "−")
    assert play.html.count(told) == 2
    with pytest.raises(DomainError, match="19 coins are too few"):
        Coins.of(19, 1)


# the best of many


def test_worthless_settings_have_the_ratios_of_their_returns(noise):
    for i in (0, 17, 399):
        assert noise.train[i] == pytest.approx(sharpe(noise.returns[:, i]))
    assert abs(noise.train.mean()) < 1 and abs(noise.test.mean()) < 1
    with pytest.raises(DomainError, match="expected 1 to 400"):
        noise.best(401)


def test_the_best_of_many_looks_good_and_means_nothing_a_year_later():
    # over twelve markets of noise: the expected best of 400 independent normal ratios of spread 1 is 2.96
    best, after, luck = [], [], []
    for seed in range(12):
        one = Noise.of(400, seed)
        best.append(one.train[one.best(400)])
        after.append(one.test[one.best(400)])
        luck.append(one.deflated(400))
    drawn = np.random.default_rng(0).standard_normal((4000, 400)).max(axis=1).mean()
    assert np.mean(best) == pytest.approx(drawn, abs=0.5)
    assert abs(np.mean(after)) < 3 * 12**-0.5  # of mean 0 and spread 1
    assert max(luck) < 0.95 < 0.99 < one.deflated_as_one(400)


def test_what_luck_shows_is_what_drawing_it_shows():
    chance = np.random.default_rng(1)
    for tries, days in ((26, 365), (1000, 730)):
        # a worthless ratio a day is normal with variance 1 / (days - 1)
        seen = chance.standard_normal((2000, tries)).max(axis=1).mean() / (days - 1) ** 0.5
        assert backtest_traps.by_luck(tries, days) == pytest.approx(seen * 365**0.5, rel=0.03)
    assert backtest_traps.by_luck(1) == 0


def test_the_slider_counts_the_tries(noise):
    play = Play(noise.draw, tries=(100, 1, 400, 1, ""))
    ratio = f"{noise.train[:100].max():.2f}"
    assert f"Best of 100: a Sharpe ratio of {ratio};" in play.html
    assert f"less than it did in {noise.deflated(100):.0%} of years (deflated Sharpe" in play.html
    assert f"a true ratio of 0, in {noise.deflated_as_one(100):.1%}" in play.html
    assert "Best of 1:" in play.set(tries=1).html


# the answer and the exercises


def test_the_answer_has_every_traps_figures(past, caught, noise):
    coins = Coins.of(500, seed=1)
    text = str(backtest_traps.answer(backtest_traps.Peek(past), caught, coins, noise))
    for one in caught[1:]:
        assert f"*{one.strategy.name}* made +{one.whole.pnl:.4f} USDT in the backtest" in text
        assert one.sentence in text
    assert f"{coins.survivors * 100:+.1f} %".replace("-", "−") in text
    assert (
        f"The best of 400 settings on noise had a Sharpe ratio of {noise.train.max():.2f}" in text
    )


def test_a_fault_that_check_missed_would_be_said(past, caught, noise):
    missed = replace(caught[1], findings=caught[0].findings)
    text = backtest_traps.answer(
        backtest_traps.Peek(past), (caught[0], missed), Coins.of(50, 1), noise
    )
    assert "It is not caught." in str(text)


def test_a_ratio_of_two_takes_few_tries_in_a_year_and_many_in_five():
    rows = backtest_traps.tries_for(2.0, (365, 1825)).rows
    for (_, tries), days in zip(rows, (365, 1825), strict=True):
        enough = int(tries.replace(",", ""))
        assert backtest_traps.by_luck(enough, days) >= 2 > backtest_traps.by_luck(enough - 1, days)
    assert rows[0] == ("365 days", "26")
    assert backtest_traps.tries_for(9.0, (3650,)).rows[0][1] == "more than 1,000,000,000"


def test_a_filled_gap_speaks_where_the_kit_holds():
    # given a price that rises a step a minute: the truth is always LONG; filled, a flat stretch of
    # 90 minutes ties at its end, when all 60 closes of the window are the same
    rising = np.arange(100_000, 100_000 + 3000)
    seen = Past(by_hand(rising, rising), "by hand", made_up=True)
    found = backtest_traps.filled(seen, outages=1, minutes=90)
    # quarter hours whose window of 60 touches 90 missing minutes: 90 + 59 rows, 9 or 10 of them
    assert found.decisions in (9, 10)
    # the last close of 60 equal ones ties, and holds: rows 59 to 89 of the gap, 2 or 3 quarter hours
    assert found.decisions - found.said in (2, 3) and found.wrong == 0
    assert found.table.rows[1][1] == f"{found.decisions}"


def test_some_of_what_a_filled_gap_says_is_wrong(past):
    found = backtest_traps.filled(past, outages=20, minutes=30)
    # 30 missing minutes touch 30 + 59 rows: 5 or 6 quarter hours each, fewer where two overlap
    assert 60 <= found.decisions <= 120 and 0 < found.wrong < found.said <= found.decisions
    # of 20 days no more than a quarter is taken: 28,800 / 120
    assert backtest_traps.filled(past, outages=1000, minutes=30).outages == 240
    with pytest.raises(DomainError, match="outages of 10000 minutes do not fit"):
        backtest_traps.filled(past, outages=1, minutes=10_000)
