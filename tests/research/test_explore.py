"""The page of explore.ipynb without a browser: its widgets, its figures, and what goes wrong in words."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime

import pytest

from tests.builders import candles
from tgtqr_lib import research
from tgtqr_lib.limits import HARD
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.research.explore import AtRest
from tgtqr_lib.strategies import STRATEGIES


@pytest.fixture
def page(home):
    return research.Explorer(home, days=40, rest_s=0.05)


def figure(page, name: str) -> str:
    return re.search(rf"data-{name}='([^']*)'", page.parts["figures"].value)[1]


def until(true) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def mapped(page) -> bool:
    return "waits" not in page.parts["map"]._dom_classes


def test_sliders_are_the_strategys_declared_parameters(page):
    declared = STRATEGIES["ma_trend"].parameters

    assert list(page.sliders) == list(declared)
    for name, slider in page.sliders.items():
        parameter = declared[name]
        assert (slider.min, slider.max, slider.value) == (
            parameter.low,
            parameter.high,
            parameter.default,
        )
        assert parameter.unit in slider.description


def test_a_moved_slider_shows_the_backtest_of_its_value(page, home):
    before = {name: part.value for name, part in page.parts.items()}

    page.sliders["window"].value = 200

    past = research.history(home=home, days=40)
    found = research.tested(past, research.plan(window=200))
    assert figure(page, "net") == f"{found.pnl:f}"
    assert figure(page, "fees") == f"{found.fees:f}"
    assert figure(page, "window") == "200"
    until(lambda: mapped(page))
    same = {name for name, part in page.parts.items() if part.value == before[name]}
    assert same == {"said"}  # the history is the same


def test_the_map_is_drawn_once_the_slider_rests_and_of_where_it_rests(page):
    for window in (100, 110, 120):
        page.sliders["window"].value = window
        assert not mapped(page)

    until(lambda: mapped(page))

    assert "window 120, band_bps 0: net" in page.parts["map"].value
    # 40 values, 2 x 120 / 40 = 6 apart, of which the lowest from 2 on is 6
    assert [page.found.params[row]["window"] for row in (0, -1)] == [6, 240]
    chosen = f"{page.result.pnl:+.4f}".replace("-", "−")
    assert f"chosen {chosen}" in page.parts["map"].value


def test_symbol_span_and_limits_are_those_chosen(page, home):
    page.symbol.value = "ETHUSDT"
    page.span.value = 7
    week = research.history("ETHUSDT", home, 40).last(7)

    assert figure(page, "net") == f"{research.tested(week, research.plan()).pnl:f}"
    assert "10,080 made-up minutes" in page.parts["said"].value

    page.limits.value = True
    found = research.tested(week, research.plan(), HARD)
    assert figure(page, "net") == f"{found.pnl:f}"
    assert "Limits off" not in page.parts["said"].value


def with_candles(home) -> None:
    """Two days of both symbols in the lake, and nothing beside them."""
    until_day = datetime(2025, 6, 2, tzinfo=UTC)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        seen = candles([100 + i % 5 for i in range(2880)], symbol, until=until_day)
        Lake(home.candles).write(seen, "an exchange")


def shown(page) -> set[str]:
    """The parts of the page with anything to see."""
    empty = "<div class='tgtqr-x'></div>"
    return {name for name, part in page.parts.items() if part.value not in ("", empty)}


def test_a_handlers_error_is_a_sentence_on_the_page_and_nothing_older_is_beside_it(home, capsys):
    with_candles(home)
    page = research.Explorer(home, days=40)
    (home.candles / "spot" / "ETHUSDT" / "2025-06.parquet").write_bytes(b"PAR1 no more")

    page.symbol.value = "ETHUSDT"

    assert "Not shown: " in page.parts["said"].value
    assert "2025-06.parquet is not what was written" in page.parts["said"].value
    assert shown(page) == {"said"} and page.result is None and page.found is None
    assert capsys.readouterr() == ("", "")

    page.symbol.value = "BTCUSDT"
    assert "Not shown" not in page.parts["said"].value
    assert shown(page) == set(page.parts)


@pytest.mark.parametrize(
    "name, lacks", [("funding_carry_paper", "funding"), ("ma_trend_filtered", "book")]
)
def test_a_strategy_whose_data_are_not_there_leaves_nothing_of_the_one_before(home, name, lacks):
    with_candles(home)
    page = research.Explorer(home, days=40, rest_s=0.05)
    page.sliders["window"].value = 200  # its map is asked for, and not wanted any more
    page.strategy.value = name
    until(lambda: not page._at_rest._running)

    assert f"Not shown: the lake has no {lacks} of BTCUSDT" in page.parts["said"].value
    assert shown(page) == {"said"} and mapped(page)
    assert page.result is None and page.found is None

    page.strategy.value = "ma_trend"
    until(lambda: page.found is not None)
    assert shown(page) == set(page.parts) and page.result.strategy == "ma_trend"


@pytest.mark.parametrize("name", ["buy_and_hold", "flat"])
def test_a_strategy_without_parameters_has_no_map_of_another_one(page, name):
    assert "backtests in" in page.parts["map"].value

    page.strategy.value = name

    assert f"{name} has no parameters to vary" in page.parts["map"].value
    assert "backtests in" not in page.parts["map"].value and page.found is None
    assert page.result.strategy == name and mapped(page)


def test_the_map_of_another_choice_is_gone_at_once(home):
    page = research.Explorer(home, days=40, rest_s=1.0)

    page.symbol.value = "ETHUSDT"

    assert "<svg" not in page.parts["map"].value and page.found is None
    assert "is being computed" in page.parts["map"].value
    until(lambda: page.found is not None)
    chosen = f"{page.result.pnl:+.4f}".replace("-", "−")
    assert f"chosen {chosen}" in page.parts["map"].value


def test_a_value_out_of_range_is_a_sentence_on_the_page(page):
    page.sliders["window"].max = 100_000  # as a visitor could over the socket
    page.sliders["window"].value = 50_000

    said = "strategy ma_trend: window 50000 is out of range; expected 2 to 1440 minutes"
    assert said in page.parts["said"].value


def test_a_page_that_cannot_begin_says_why(home):
    page = research.Explorer(home, market="linear")

    assert "no candle of BTCUSDT linear, and made-up history is spot" in page.parts["said"].value
    assert page.result is None


def test_only_the_newest_of_what_was_asked_is_wanted():
    rest, done, begun, go_on = AtRest(0.01), [], threading.Event(), threading.Event()

    def slow(wanted):
        begun.set()
        go_on.wait(30)
        done.append(("slow", wanted()))

    rest.ask(slow)
    assert begun.wait(30)
    rest.ask(lambda wanted: done.append(("skipped", wanted())))
    rest.ask(lambda wanted: done.append(("newest", wanted())))
    go_on.set()
    until(lambda: len(done) == 2)

    assert done == [("slow", False), ("newest", True)]
