"""The closing sentences of the notebooks: right on data that loses, that gains, and that never trades."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib import research
from tgtqr_lib.backtest.probes import check
from tgtqr_lib.domain import DomainError
from tgtqr_lib.research import compare, costs, luck, walk
from tgtqr_lib.research.heatmap import Neighbours
from tgtqr_lib.research.past import Past

END = datetime(2025, 6, 1, tzinfo=UTC)
MADE_UP = "The prices are made up"


def past_of(closes) -> Past:
    return Past(candles(closes, until=END), "by hand", made_up=False)


@pytest.fixture(scope="module")
def half_a_year(tmp_path_factory) -> Past:
    return research.history(home=tmp_path_factory.mktemp("home"), days=180)


def rising(days: int = 3) -> Past:
    """Up a little every minute: the seed strategy buys once and is right."""
    return past_of([Decimal("100000.0") + i for i in range(days * 1440)])


def sawtooth(days: int = 3) -> Past:
    """A wave of an hour about one price: the seed strategy is always late."""
    wave = np.round(np.sin(np.arange(days * 1440) * np.pi / 37) * 300)
    return past_of([Decimal("100000.0") + int(step) for step in wave])


# 01


def test_a_loss_to_costs_is_said_with_its_figures(half_a_year):
    result = research.tested(half_a_year, research.plan())
    along = costs.Along.of(half_a_year, research.plan(), "band_bps", (0, 20))

    text = str(costs.answer(half_a_year, research.plan(), along))

    net, paid = result.pnl, result.fees + result.spread
    assert net < 0 and paid > -result.gross  # else this history tests nothing
    assert text.startswith("It loses to its costs: ")
    assert f"{-paid:+.4f} USDT of costs".replace("-", "−") in text
    assert f"{net:+.4f} USDT after them in {len(result.table):,} trades".replace("-", "−") in text
    assert MADE_UP in text


def test_a_gain_is_not_called_a_loss():
    result = research.tested(rising(), research.plan())

    said = costs.verdict(result)

    assert result.pnl > 0
    assert said.startswith("It earns more than its costs in this history")


def test_a_loss_before_costs_is_not_blamed_on_them():
    past = sawtooth()
    free = replace(research.tested(past, research.plan()), fees_units=0, spread_units=0)

    assert free.gross == free.pnl < 0
    assert costs.verdict(replace(free, spread_units=1)).startswith("It loses before any cost")


def test_no_trade_is_no_verdict():
    flat = past_of(["100000.0"] * 1440)

    assert costs.verdict(research.tested(flat, research.plan())).startswith("It never traded")


def test_the_best_value_along_a_parameter_is_marked(half_a_year):
    along = costs.Along.of(half_a_year, research.plan(), "band_bps", (0, 20, 40))

    each = [research.tested(half_a_year, research.plan(band_bps=b)).pnl for b in (0, 20, 40)]
    assert along.best == each.index(max(each))
    assert along.table.strong == {along.best}
    assert [float(row[4].replace("−", "-")) for row in along.table.rows] == [
        pytest.approx(float(net), abs=6e-5) for net in each
    ]


def test_what_if_fees_pays_what_it_says(half_a_year):
    table = research.what_if_fees(half_a_year, research.plan(), (0, 10))
    usual = research.tested(half_a_year, research.plan())

    free, full = (
        [float(c.replace("−", "-").replace(",", "")) for c in row[1:4]] for row in table.rows
    )
    assert full[2] == pytest.approx(float(usual.pnl), abs=6e-5)  # spot pays 10 bps
    assert free[0] == full[0]  # the trades are the same
    assert full[1] - free[1] == pytest.approx(float(usual.fees), abs=1.1e-4)


# 02


def test_the_best_of_many_tries_is_told_with_all_of_them(half_a_year):
    grid = {"window": (60, 240), "band_bps": (0, 40, 80)}

    trials = luck.Trials.of(half_a_year, research.plan(), grid)
    found = trials.luck()
    text = str(luck.answer(trials, found))

    assert len(trials.params) == found.trials == 6
    assert trials.sharpes[trials.best] == max(trials.sharpes)
    point = trials.params[trials.best]
    net = research.tested(half_a_year, research.plan(**point)).pnl
    assert trials.net[trials.best] == pytest.approx(float(net), abs=1e-9)
    assert f"The best of 6 tries (window {point['window']}, band_bps {point['band_bps']})" in text
    assert text.startswith(found.verdict)
    assert MADE_UP in text
    assert trials.top(3).rows[0][0] == f"window {point['window']}, band_bps {point['band_bps']}"


def test_too_few_days_are_told_in_a_sentence():
    trials = luck.Trials.of(sawtooth(5), research.plan(), {"window": (30, 60)})

    found = trials.luck()

    said = "5 days are too few to tell luck from skill; expected 30 or more."
    assert str(found) == str(luck.answer(trials, found)) == said


def test_tries_that_never_trade_are_told_in_a_sentence():
    with pytest.raises(DomainError, match="none of 2 combinations ever traded"):
        luck.Trials.of(past_of(["100000.0"] * 2880), research.plan(), {"window": (30, 60)})


# 03


def test_a_walk_chooses_on_the_past_alone_and_its_tests_join(half_a_year):
    grid = {"window": (60, 240), "band_bps": (0, 40)}

    walked = walk.Walk.of(half_a_year, research.plan(), grid, train_days=40, test_days=15)

    at = half_a_year.candles.open_ms
    # 180 days less 40 and a pause of one: 139 days in ten tests, the last one shorter
    assert [len(each.split.test) / 1440 for each in walked.forward.judged] == [15] * 9 + [4]
    whole = walk.Walk.of(half_a_year, research.plan(), grid, 40, 15, whole=True)
    assert [len(each.split.test) / 1440 for each in whole.forward.judged] == [15] * 9
    assert whole.end == (40 + 1 + 9 * 15) * 1440 and whole.kept.tolist() == walked.kept[:9].tolist()
    assert walked.forward.at_ms[0] == at[41 * 1440] + 60_000
    assert len(walked.forward.at_ms) == 139 * 1440
    first = walked.forward.judged[0]
    trained = half_a_year.candles[: 40 * 1440]
    nets = {
        (w, b): research.tested(Past(trained, "", True), research.plan(window=w, band_bps=b)).pnl
        for w in grid["window"]
        for b in grid["band_bps"]
    }
    best = max(nets, key=nets.get)
    assert (first.chosen["window"], first.chosen["band_bps"]) == best
    assert walked.promised[0] == pytest.approx(float(nets[best]) / 40, abs=1e-12)


def test_a_test_trades_from_its_first_quarter_hour_and_not_before(half_a_year):
    span = walk.Span(61 * 1440, 91 * 1440)

    judged = walk.judge(half_a_year, research.plan(), {"window": 240, "band_bps": 0}, span)

    assert len(judged.at_ms) == len(span)
    assert judged.at_ms[0] == half_a_year.candles.open_ms[span.start] + 60_000
    assert judged.equity[0] == judged.start == 10.0
    # without the lookback before it nothing could be decided in its first 240 minutes
    alone = research.tested(walk.part(half_a_year, span.start, span.end), research.plan(window=240))
    assert (alone.equity_units[:240] == alone.initial_units).all()
    assert (judged.equity[:240] != judged.start).any()


def test_the_answer_of_a_walk_has_the_sign_of_its_sum(half_a_year):
    walked = walk.Walk.of(half_a_year, research.plan(), {"window": (60,)}, 40, 15)
    text = str(walk.answer(walked))

    total = sum(each.gain for each in walked.forward.judged)
    assert total < 0
    assert text.startswith(f"Chosen on the past, it lost {total:.4f} USDT".replace("-", "−"))
    assert "in 10 tests of which 0 gained" in text
    gains = replace(walked, forward=replace(walked.forward, equity=walked.forward.equity + 99))
    assert str(walk.answer(gains)).startswith("Chosen on the past, it gained +")


def test_a_short_history_is_cut_in_proportion_and_a_shorter_one_told():
    walked = walk.Walk.of(sawtooth(24), research.plan(), {"window": (60,)})

    # a quarter of 24 days, a pause of one, and 17 days in tests of a twelfth
    assert len(walked.forward.judged[0].split.train[0]) == 6 * 1440
    assert [len(each.split.test) // 1440 for each in walked.forward.judged] == [2] * 8 + [1]
    with pytest.raises(DomainError, match=r"2\.0 days are too few to train on 1 and pause 1"):
        walk.Walk.of(rising(2), research.plan(), {"window": (60,)})


# 04


def test_plans_are_compared_with_holding():
    past = rising()
    compared = compare.Compared.of(past, research.plan())

    held = compared.results["buy_and_hold"]
    # the first decision is at 00:15 of the first day and fills at the open of 00:15, plus half a bp,
    # up to a step: 100015.0 x 1.00005 = 100020.00075 -> 100020.1; 0.95 / (close x 1.01) is 9 lots of 1e-6
    bought = Decimal("0.000009") * Decimal("100020.1")
    fee = (bought / 1000).quantize(Decimal("1e-8"), rounding="ROUND_UP")
    last = Decimal("0.000009") * Decimal(100_000 + 3 * 1440 - 1)
    assert held.pnl == last - bought - fee
    assert [row[0] for row in compared.table.rows] == ["ma trend", "buy and hold"]


def test_the_answer_says_who_is_beaten_and_who_is_not(half_a_year):
    plan = research.plan(window=720, band_bps=100)
    short = half_a_year.last(20)
    compared = compare.Compared.of(short, plan)
    findings = check("ma_trend", short.candles)

    text = str(compare.answer(compared, findings, Neighbours.of(short, plan)))

    ours, held = compared.results["ma_trend"].pnl, compared.results["buy_and_hold"].pnl
    word = "more than" if ours > held else "no more than"
    assert re.search(rf"trades: {word} buy and hold\.", text)
    assert text.startswith("ma trend passed every probe and made ")
    assert MADE_UP in text
