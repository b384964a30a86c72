"""The price chart: values, gaps, marks and words, and a picture that is the same everywhere."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.builders import (
    ETH,
    PLAN,
    a_portfolio,
    a_position,
    a_quote,
    a_view,
    candles,
    closes_for,
    healthy,
    inputs,
)
from tgtqr_lib import charts
from tgtqr_lib.charts import Scene, draw, price_and_mean, price_chart
from tgtqr_lib.decide import decide
from tgtqr_lib.strategies import STRATEGIES

WINDOW_2 = replace(PLAN, parameters={"window": 2})


def scene_of(frozen, symbol="BTCUSDT") -> Scene:
    return Scene(frozen, frozen.market(symbol), decide(frozen).choice(symbol))


def seen(closes, **changes):
    """A view of BTCUSDT with these closes, and a quote that agrees with the last."""
    shown = candles(closes, **changes)
    quote = a_quote(closes[-1]) if len(shown) else None
    return a_view("BTCUSDT", seen=shown, quote=quote)


def words(figure) -> str:
    """Everything written in a figure."""
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return "\n".join(text.get_text() for text in texts)


def chunks(png: bytes) -> list[bytes]:
    """The types of a PNG's chunks."""
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += length + 12
    return found


# what it shows


def test_closes_stand_at_the_end_of_their_minute_and_means_are_of_the_window():
    scene = scene_of(inputs(seen(["10", "20", "30", "50"]), plan=WINDOW_2))

    assert scene.minutes.tolist() == [-3, -2, -1, 0]  # the last close is the boundary's
    assert scene.closes.tolist() == [10, 20, 30, 50]
    assert np.isnan(scene.means[0])
    assert scene.means[1:].tolist() == [15, 25, 40]


def test_a_missing_minute_breaks_line_and_mean():
    scene = scene_of(inputs(seen(["10", "20", "99", "30", "50"], missing=[2]), plan=WINDOW_2))

    assert scene.minutes.tolist() == [-4, -3, -1, 0]
    assert scene.gaps == [(-3, -1)]
    assert np.isnan(scene.means).tolist() == [True, False, True, False]  # 30 has no neighbour
    price, mean, *_ = draw(scene).axes[0].lines
    assert np.isnan(price.get_xdata()).tolist() == [False, False, True, False, False]
    assert np.isnan(mean.get_ydata()).tolist() == [True, False, True, True, False]


def test_missing_last_minutes_are_a_gap_up_to_the_boundary():
    scene = scene_of(inputs(seen(["10", "20", "30", "40"], missing=[-1, -2]), plan=WINDOW_2))

    assert scene.gaps == [(-2, 0)]


def test_a_wide_gap_is_named():
    figure = draw(scene_of(inputs(seen(["10"] * 40, missing=range(10, 25)), plan=WINDOW_2)))

    assert "no data" in words(figure)


def test_two_hours_are_shown():
    scene = scene_of(inputs(seen(closes_for(rows=200))))

    assert scene.minutes[0] == -120
    assert len(scene.closes) == len(scene.means) == 121
    assert not np.isnan(scene.means).any()  # the hour before is used, not shown


def test_the_last_mean_is_the_signals():
    scene = scene_of(inputs())

    # 59 closes of 104321.7 x 0.999 = 104217.4 and one of 104321.7: their sum over 60
    assert scene.means[-1] == pytest.approx((59 * 104217.4 + 104321.7) / 60, abs=1e-6)
    assert float(scene.choice.signal.mean) == pytest.approx(scene.means[-1], abs=1e-6)


def test_a_strategy_without_a_window_shows_what_it_compares_with(monkeypatch):
    bare = replace(
        STRATEGIES["ma_trend"],
        parameters={},
        targets=lambda history: np.ones(len(history)),
        lookback=lambda: 1,
        reference=lambda history: 100,
    )
    monkeypatch.setitem(STRATEGIES, "bare", bare)
    scene = scene_of(inputs(seen(["10", "20"]), plan=replace(PLAN, strategy="bare", parameters={})))

    assert np.isnan(scene.means).all()
    assert "compared with\n10.00" in words(draw(scene))  # 100 steps of 0.1


# what was decided


@pytest.mark.parametrize(
    "frozen, label, shape, filled",
    [
        (inputs(), "▲ LONG, buy 9 lots at most 105,364.9 USDT", "^", True),
        (
            # 104321.7 x 0.99 = 103278.483, rounded down to 0.1
            inputs(a_view(state="FLAT"), portfolio=a_portfolio(a_position())),
            "▼ FLAT, sell 9 lots at least 103,278.4 USDT",
            "v",
            True,
        ),
        (inputs(a_view(state="FLAT")), "● FLAT, nothing held, no order", "o", True),
        (inputs(a_view(state="TIE")), "● HOLD, no order (SIGNAL_TIE)", "o", True),
        (
            inputs(health=healthy(stopped="by hand")),
            "△ LONG, buy 9 lots refused (GATE_STOPPED)",
            "^",
            False,
        ),
    ],
)
def test_the_decision_is_marked_and_named(frozen, label, shape, filled):
    figure = draw(scene_of(frozen))

    assert label in words(figure)
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == shape]
    assert mark.get_xydata().tolist() == [[0, 104321.7]]
    assert (mark.get_markerfacecolor() != "white") is filled


@pytest.mark.parametrize("collar_bps, drawn", [(2, True), (5, False), (100, False)])
def test_the_limit_is_drawn_unless_it_would_squash_the_prices(collar_bps, drawn):
    # closes span 104.3, so a quarter is 26; 2 bps above the highest close is 21 away, 5 bps is 52
    scene = scene_of(inputs(plan=replace(PLAN, collar_bps=collar_bps)))

    assert (scene.limit is not None) is drawn
    assert ("limit" in words(draw(scene))) is drawn


def test_the_last_values_are_named_at_the_right():
    text = words(draw(scene_of(inputs(seen(["10", "20", "30", "50"]), plan=WINDOW_2))))

    assert "close\n50" in text
    assert "mean of 2\n40.00" in text
    assert "USDT" in text


@given(st.lists(st.floats(0, 1), min_size=1, max_size=3).map(sorted))
def test_names_never_overlap(places):
    moved = charts._apart(places, 0.2)

    assert all(b - a >= 0.2 - 1e-9 for a, b in pairwise(moved))
    assert moved[0] >= 0.05 - 1e-9 and moved[-1] <= 0.95 + 1e-9


# nothing to show


@pytest.mark.parametrize("quote, instrument", [(a_quote(), None), (None, ETH), (None, None)])
def test_without_candles_there_is_a_frame_that_says_why(quote, instrument):
    frozen = inputs(a_view(seen=candles([]), quote=quote, instrument=instrument))
    scene = scene_of(frozen)
    figure = draw(scene)

    assert "There is no closed minute to draw." in words(figure)
    assert " ".join(scene.choice.reason_text.split()) in " ".join(words(figure).split())
    assert not figure.axes[0].lines
    assert price_chart(frozen, scene.view, scene.choice).png


@pytest.mark.parametrize(
    "closes", [["104321.7"], ["104321.7"] * 61, ["0.1", "99999.9"], ["10"] * 5]
)
def test_odd_series_are_drawn(closes):
    frozen = inputs(seen(closes))

    assert price_and_mean(frozen, decide(frozen)).charts[0].png


# the picture


def test_every_symbol_has_a_chart_with_words_for_those_who_cannot_see_it():
    frozen = inputs()

    btc, eth = price_and_mean(frozen, decide(frozen))

    assert btc.text.startswith("BTCUSDT: LONG, buy 9 lots at most 105,364.9 USDT. close 104321.7")
    assert eth.text.startswith("ETHUSDT: LONG, buy 37 lots at most 2,536.14 USDT. close 2511.03")
    data, metadata = btc._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]) == btc.png == btc._repr_png_()
    assert metadata["image/png"] == {"alt": btc.text, "width": 700}


def test_a_png_is_small_and_holds_nothing_but_the_picture():
    frozen = inputs(seen([104321 + i % 7 * 11 for i in range(121)]))
    (chart,) = price_and_mean(frozen, decide(frozen))

    assert set(chunks(chart.png)) == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}  # no dates, no names
    assert len(chart.png) < 12_000
    picture = Image.open(io.BytesIO(chart.png)).convert("RGB")
    used = {"#{:02X}{:02X}{:02X}".format(*rgb) for _, rgb in picture.getcolors()}
    assert used <= set(charts.PALETTE)
    assert {"#FFFFFF", charts.BLUE, charts.INK} <= used


def test_letters_have_enough_contrast_on_white():
    # WCAG 2.1: relative luminance, and at least 4.5 to 1 for text
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in (charts.BLUE, charts.GREEN, charts.RED, charts.BROWN, charts.INK):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5, colour


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes_whatever_the_machine_prefers(tmp_path):
    """In a fresh process: no font cache, and a matplotlibrc of someone with another taste."""
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 30\naxes.facecolor: black\nlines.marker: x\n"
    )
    code = (
        "import sys\n"
        "from tests.builders import inputs\n"
        "from tgtqr_lib import charts\n"
        "from tgtqr_lib.decide import decide\n"
        "frozen = inputs()\n"
        "sys.stdout.buffer.write(b''.join(c.png for c in charts.price_and_mean(frozen, decide(frozen))))\n"
        "heavy = {'pandas', 'matplotlib.pyplot', 'ccxt', 'duckdb', 'sqlite3', 'IPython'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {"MPLCONFIGDIR": str(tmp_path), "PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env=environment,
        capture_output=True,
        timeout=120,
    )

    frozen = inputs()
    assert done.stderr.decode() == ""
    assert done.stdout == b"".join(c.png for c in price_and_mean(frozen, decide(frozen)))


def test_drawing_leaves_the_callers_style_alone():
    import matplotlib

    with matplotlib.rc_context({"font.size": 23.0}):
        frozen = inputs()
        price_and_mean(frozen, decide(frozen))
        assert matplotlib.rcParams["font.size"] == 23.0


def test_prices_of_many_decimals_are_told_apart():
    closes = [Decimal("0.123456"), Decimal("0.123457"), Decimal("0.123458")]
    scene = scene_of(inputs(seen(closes, decimals=6), plan=WINDOW_2))

    labels = [label.get_text() for label in draw(scene).axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) > 1
