"""Every registered strategy in real ticks: the notebook, the backtest of the same day and a re-run agree."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from tests.stage import DAY, moment, rise
from tgtqr_lib.archive.opened import open_archived
from tgtqr_lib.archive.rerunning import rerun
from tgtqr_lib.backtest.probes import check
from tgtqr_lib.clock import MINUTE, parse_time, to_ms
from tgtqr_lib.domain import Candles
from tgtqr_lib.market import made_up
from tgtqr_lib.market.book_lake import BookLake
from tgtqr_lib.market.synthetic import SyntheticSource
from tgtqr_lib.parity import parity
from tgtqr_lib.strategies import STRATEGIES

pytestmark = pytest.mark.slow
TIMES = ("10:15", "10:30", "10:45")


@pytest.mark.parametrize("name", STRATEGIES)
def test_tick_backtest_and_rerun_of_a_strategy_agree(name, real_stage, pool):
    # given a morning in which bitcoin rises above its mean and falls below it
    stage = real_stage
    stage.configure(f'strategy = "{name}"')
    rise(stage)
    stage.market.set("BTCUSDT", "10:44", "99900.0")
    stage.arm()
    # when three ticks are run, each by its notebook
    sealed = []
    for text in TIMES:
        stage.beat(f"{moment(text) - MINUTE:%Y-%m-%dT%H:%M}")
        result = stage.tick(text)
        assert result.state == "done", result.text
        sealed.append(stage.home.root / result.notebook)
    # then the backtest of the same day decides and trades the same
    found = parity(stage.home, stage.desk.con, date.fromisoformat(DAY))
    assert (len(found.ticks), found.equal) == (3, 3), found.plain()
    # and each notebook runs again to the same result
    for path in sealed:
        assert rerun(open_archived(path), pool).result == "MATCH"


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_probes_find_nothing(name):
    source, start = SyntheticSource(1), parse_time("2025-06-01T00:00Z")
    rows = source.candles("BTCUSDT", to_ms(start), to_ms(start + timedelta(days=4)))
    columns = (rows[column] for column in ("open_ms", *Candles.COLUMNS))
    seen = Candles("BTCUSDT", source.price_decimals("BTCUSDT"), *columns)
    found = check(name, made_up.history(source, seen, STRATEGIES[name].needs))
    assert not found.failed and all(one.passed for one in found.probes), str(found)


def inputs_of(stage, result) -> dict:
    text = (stage.home.root / result.notebook).read_text("utf-8")
    return json.loads(text)["metadata"]["tgtqr"]["inputs"]


def test_what_a_strategy_reads_is_frozen_and_what_it_does_not_read_is_not(real_stage):
    stage = real_stage
    stage.arm()
    plain = inputs_of(stage, stage.tick("10:15"))["markets"][0]
    assert not {"funding", "book"} & set(plain)
    stage.configure('strategy = "ma_trend_filtered"')
    stage.beat("10:29")
    result = stage.tick("10:30")
    view = inputs_of(stage, result)["markets"][0]
    # 10:30 knows 08:00; the week and one more, each of 8 hours
    settled = view["funding"]["settled"].split()
    assert (len(settled), settled[-1]) == (22, "2026-11-22T08:00:00Z")
    assert set(view["funding"]["minutes"].split()) == {"480"}
    # the book of 25 levels a side that is frozen with the quote, by hand
    bids, asks = (
        [tuple(map(float, pair.split(":"))) for pair in view["quote"][side].split()]
        for side in ("bids", "asks")
    )
    below, above = (sum(quantity for _, quantity in side[:5]) for side in (bids, asks))
    assert view["book"]["levels"] == len(bids) == len(asks) == 25
    assert view["book"]["imbalance_5"] == pytest.approx(
        (below - above) / (below + above) * 1e6, abs=0.51
    )


def test_the_look_of_a_tick_is_kept_for_backtests(real_stage):
    stage = real_stage
    stage.configure('strategy = "ma_trend_filtered"')
    stage.arm()
    result = stage.tick("10:15")
    book = BookLake(stage.home.book).read("BTCUSDT", moment("00:00"), moment("23:59"))
    assert book.at_ms.tolist() == [int(moment("10:15").timestamp()) * 1000]
    frozen = inputs_of(stage, result)["markets"][0]["book"]
    assert {name: int(column[0]) for name, column in book.columns.items()} == {
        name: frozen[name] for name in book.columns
    }
