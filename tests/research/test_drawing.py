"""Pictures: they keep what a line shows, are well-formed, and say what they show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tgtqr_lib import research
from tgtqr_lib.backtest.metrics import study_of
from tgtqr_lib.research import drawing
from tgtqr_lib.research.heatmap import Neighbours, near
from tgtqr_lib.strategies import Parameter


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    return research.history(home=tmp_path_factory.mktemp("home"), days=20)


@pytest.fixture(scope="module")
def study(past):
    return study_of(research.tested(past, research.plan()))


def texts(sketch) -> list[str]:
    """Every word of a picture, which must be well-formed XML."""
    return ["".join(node.itertext()) for node in ET.fromstring(sketch.svg).iter("text")]


@given(
    values=arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e6, 1e6)),
    columns=st.integers(1, 40),
)
def test_an_outline_keeps_every_stretch_and_its_extremes(values, columns):
    rows = drawing.outline(values, columns)

    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0 and rows[-1] == len(values) - 1
    assert len(rows) <= 2 * columns + 2
    size = -(-len(values) // columns)
    for start in range(0, len(values), size):
        stretch = values[start : start + size]
        kept = values[rows[(rows >= start) & (rows < start + size)]]
        assert kept.min() == stretch.min() and kept.max() == stretch.max()


@pytest.mark.parametrize(
    "low, high, most, expected",
    [
        (0.66, 10.3, 5, ([2, 4, 6, 8, 10], 0)),
        (9.93, 10.36, 5, ([10.0, 10.1, 10.2, 10.3], 1)),
        (70_100, 72_100, 5, ([70_500, 71_000, 71_500, 72_000], 0)),
        (-0.01, 0.01, 5, ([-0.01, -0.005, 0, 0.005, 0.01], 3)),
    ],
)
def test_ticks_are_round(low, high, most, expected):
    ticks, digits = drawing.round_ticks(low, high, most)

    assert (pytest.approx(ticks, abs=1e-9), digits) == expected


@pytest.mark.parametrize(
    "value, digits, sign, text",
    [
        (-1234.5, 2, False, "−1,234.50"),
        (0.25, 1, True, "+0.2"),
        (-0.00001, 2, True, "0.00"),
        (0.0, 0, True, "0"),
    ],
)
def test_numbers_have_a_true_minus_and_none_before_zero(value, digits, sign, text):
    assert drawing.number(value, digits, sign=sign) == text


def test_the_equity_picture_says_net_and_gross_with_their_unit(study):
    words = texts(drawing.equity(study))

    assert words[0] == "Equity, USDT"
    assert f"net {study.equity[-1]:.4f}" in words[1]
    assert f"gross, before costs {study.equity[-1] + study.costs:.4f}" in words[1]


def test_bars_of_costs_are_as_long_as_their_values(study):
    sketch = drawing.costs(study)

    widths = [float(r.get("width")) for r in ET.fromstring(sketch.svg).iter("rect")]
    gross = study.equity[-1] - study.start + study.costs
    values = np.abs([gross, study.fees, study.spread, study.equity[-1] - study.start])
    # a tenth of a pixel is written, and a bar is at least a pixel
    scale = max(widths) / values.max()
    np.testing.assert_allclose(widths, np.maximum(values * scale, 1), atol=0.11)
    names = [word for word in texts(sketch) if word in ("gross", "fees", "spread", "net")]
    assert names == ["gross", "fees", "spread", "net"]


def test_the_last_twenty_trades_are_marked(past, study):
    sketch = drawing.trades(study, past.candles)

    triangles = re.findall("<polygon", sketch.svg)
    assert len(triangles) == 40
    last = np.flatnonzero(study.closed)[-20:]
    won = int((study.pnl[last] > 0).sum())
    assert f"won {won}" in texts(sketch)[1] and f"lost {20 - won}" in texts(sketch)[1]


def test_no_trade_is_said_in_words(past):
    calm = study_of(research.tested(past.last(1), research.plan(window=1440)))

    assert "No trade was closed in this span." in texts(drawing.trades(calm, past.candles))


@given(data=st.data())
def test_neighbours_hold_the_chosen_value_and_stay_in_range(data):
    low = data.draw(st.integers(0, 50))
    high = low + data.draw(st.integers(0, 2000))
    chosen = data.draw(st.integers(low, high))
    count = data.draw(st.integers(1, 40))

    values = near(chosen, Parameter(chosen, low, high, "", ""), count)

    assert chosen in values
    assert len(values) <= count
    assert low <= values[0] and values[-1] <= high
    assert len(set(np.diff(values))) <= 1


def test_the_map_shows_what_run_says_of_every_point(past):
    plan = research.plan(window=30, band_bps=3)

    around = Neighbours.of(past, plan)
    root = ET.fromstring(around.sketch.svg)

    assert around.found.params[0] | {} == {"window": 2, "band_bps": 0}
    titles = [node.text for node in root.iter("title")]
    assert len(titles) == 1000
    for place in (0, 333, 999):
        point = dict(around.found.params[place])
        found = research.tested(past, research.plan(**point))
        named = f"window {point['window']}, band_bps {point['band_bps']}"
        assert titles[place] == (
            f"{named}: net {found.pnl:+.4f} USDT in {len(found.table):,} trades"
        )
    words = " ".join(texts(around.sketch))
    assert "window, minutes" in words and "band_bps, basis points" in words
    here = research.tested(past, plan)
    assert f"chosen {drawing.number(float(here.pnl), 4, sign=True)}" in words
