"""The page of a backtest: its numbers, that it stands alone, and that it can always be drawn."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tests.backtest.test_metrics import T0, a_study
from tgtqr_lib.backtest.luck import assess
from tgtqr_lib.backtest.metrics import DAY_MS, METRICS, OPEN
from tgtqr_lib.backtest.report import (
    TRADES_SHOWN,
    Report,
    Table,
    _draw_equity,
    _draw_trades,
    _Trades,
    shown,
    thinned,
    time_ticks,
)
from tgtqr_lib.backtest.result import Result, Stop
from tgtqr_lib.charts import PALETTE
from tgtqr_lib.domain import MINUTE_MS, Candles

HOUR_MS = 60 * MINUTE_MS


def candles(hours=48):
    steps = 60_000 + (200 * np.sin(np.arange(hours * 60) / 90)).astype(np.int64)
    at = T0 + MINUTE_MS * np.arange(len(steps))
    return Candles("BTCUSDT", 1, at, steps, steps, steps, steps, steps)


def trading(count):
    """A study of two days with `count` trades of an hour, each a fee of 0.002 and a gain or loss of 0.01."""
    at = T0 + MINUTE_MS * np.arange(1, 2881)
    trades = [
        (T0 + i * HOUR_MS, T0 + (i + 1) * HOUR_MS, 0.0001, 6000.0, 6000.0 + (-1) ** i * 100, 0.001)
        for i in range(count)
    ]
    paid = 0.002 * count - (0.01 if count % 2 else 0.0)
    return a_study(np.linspace(10, 10 - paid, 2880), trades, at_ms=at)


REPORT = Report(trading(20), "BTCUSDT spot, ma_hour", ("A note.",), (candles(),))


def figure_of(draw, *arguments):
    figure = Figure(figsize=(7, 4))
    FigureCanvasAgg(figure)
    draw(figure, *arguments)
    return figure


def test_the_headline_is_gross_less_costs():
    # 20 trades: 0.04 of fees on 10
    assert REPORT.headline == (
        "net -0.40% = gross +0.00% less costs 0.40%, 20 trades in 2 days, 2024-01-01 to 2024-01-02"
    )


def test_costs_lead_from_gross_to_net():
    rows = {row[0]: row[1:] for row in REPORT.costs.rows}
    assert list(rows) == ["gross", "fees", "spread", "funding", "net"]
    # traded: 20 x (0.6 + 0.6 in the mean) = 24 USDT; 0.04 of it are 16.67 basis points
    assert rows["fees"] == ("-0.0400", "-0.40%", "-16.67")
    assert rows["net"] == ("-0.0400", "-0.40%", "-16.67")
    assert rows["gross"][1] == "+0.00%"
    assert rows["funding"] == ("+0.0000", "+0.00%", "+0.00")


def test_months_are_rows_and_years_are_columns():
    at = [
        int(np.datetime64(day, "ms").astype(np.int64))
        for day in ("2024-12-01", "2025-01-01", "2025-02-01")
    ]
    table = Report(a_study([10.0, 11.0, 9.9], at_ms=at)).months
    assert table.head == ("net", "2024", "2025")
    rows = {row[0]: row[1:] for row in table.rows}
    # the mark of midnight belongs to the month that it ends
    assert rows["Nov"] == ("+0.00%", "")
    assert rows["Dec"] == ("+10.00%", "")
    assert rows["Jan"] == ("", "-10.00%")
    assert rows["net"] == ("+10.00%", "-10.00%")
    assert rows["gross"] == ("+10.00%", "-10.00%")
    assert rows["costs"] == ("+0.00%", "+0.00%")


def test_every_metric_and_its_formula_are_on_the_page():
    text = REPORT._repr_markdown_()
    for name, metric in METRICS.items():
        assert f"| {name.replace('_', ' ')} |" in text or f"**{name}**" in text
        assert metric.formula in text


def test_tables_in_markdown_have_as_many_cells_in_every_row():
    for table in (REPORT.costs, REPORT.months, REPORT.metrics, REPORT.formulas):
        cells = {
            len(re.findall(r"(?<!\\)\|", line)) for line in table._repr_markdown_().split("\n")
        }
        assert cells == {len(table.head) + 1}


def test_the_page_loads_nothing_and_forbids_itself_to(tmp_path):
    page = REPORT.to_html(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    addresses = re.findall(r"(?:src|srcset|href|action|data)=['\"]([^'\"]{0,30})", page)
    assert len(addresses) == 4  # two pictures in two widths
    assert all(address.startswith("data:image/png;base64,") for address in addresses)
    assert not re.search(r"url\(|@import|<script|<link|https?:", page)


def test_the_same_report_is_the_same_file(tmp_path):
    first, second = tmp_path / "1.html", tmp_path / "2.html"
    REPORT.to_html(first)
    Report(trading(20), "BTCUSDT spot, ma_hour", ("A note.",), (candles(),)).to_html(second)
    assert first.read_bytes() == second.read_bytes()


def test_what_is_written_by_others_is_text_not_markup():
    page = replace(REPORT, label="<b>x</b>", notes=("<script>1</script>",))._repr_html_()
    assert "<b>x" not in page and "<script>" not in page
    assert "&lt;script&gt;" in page


def test_pictures_use_the_palette_alone_and_say_what_they_show():
    for picture in (REPORT.equity_chart, *REPORT.trade_charts):
        for chart in (picture.wide, picture.narrow):
            seen = Image.open(io.BytesIO(chart.png)).convert("RGB")
            colours = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in seen.getcolors()}
            assert colours <= set(PALETTE)
            assert len(colours) > 3
            assert "BTCUSDT" in chart.text
        assert picture.wide.png != picture.narrow.png


def test_nothing_is_told_by_colour_alone():
    figure = figure_of(_draw_trades, _Trades(REPORT.study, candles()))
    words = " ".join(text.get_text() for text in figure.texts)
    assert "▲ entry" in words and "▼ exit" in words
    styles = {line.get_linestyle() for line in figure.axes[0].lines if line.get_marker() == "None"}
    assert len(styles) == 2  # won and lost
    figure = figure_of(_draw_equity, REPORT.study)
    assert {line.get_linestyle() for line in figure.axes[0].lines} == {"-", "--"}


@pytest.mark.parametrize("count", [1, TRADES_SHOWN, TRADES_SHOWN + 5])
def test_the_last_trades_are_marked_where_they_happened(count):
    scene = _Trades(trading(count), candles())
    lines = figure_of(_draw_trades, scene).axes[0].lines
    entries = [line.get_xdata()[0] for line in lines if line.get_marker() == "^"]
    assert len(entries) == min(count, TRADES_SHOWN)
    assert max(entries) * DAY_MS == pytest.approx(T0 + (count - 1) * HOUR_MS)
    assert scene.title == f"BTCUSDT, the last {len(entries)} of {count} trades"


def test_an_open_trade_or_another_symbol_is_not_marked():
    study = a_study([10.0, 10.0], [(T0, OPEN, 0.1, 60.0, np.nan, 0.0)])
    assert len(_Trades(study, candles()).rows) == 0
    other = replace(candles(), symbol="ETHUSDT")
    assert len(_Trades(REPORT.study, other).rows) == 0


@pytest.mark.parametrize(
    "study",
    [
        a_study([10.0]),
        a_study([10.0, 10.0, 10.0]),
        a_study([10.0, 9.0], [(T0, OPEN, 0.1, 60.0, np.nan, 0.01)]),
        a_study(np.linspace(10, 0.001, 800)),
    ],
    ids=["one mark", "nothing happened", "still held", "nearly gone"],
)
def test_every_study_can_be_shown(study, tmp_path):
    report = Report(study, candles=(candles(1),))
    assert report.to_html(tmp_path / "r.html").stat().st_size > 5_000
    assert "nan" not in report._repr_markdown_().lower()


def test_luck_is_part_of_the_page():
    returns = np.random.Generator(np.random.PCG64(1)).normal(0, 0.01, 60)
    luck = assess(returns, resamples=200)
    page = replace(REPORT, luck=luck)
    assert luck.lines[0] in page._repr_markdown_() and luck.lines[0] in page._repr_html_()
    assert "Is it luck?" not in REPORT._repr_html_()


def test_a_result_of_the_engine_names_itself_and_why_it_stopped():
    stop = Stop(datetime(2024, 1, 1, tzinfo=UTC), "SPENT", "The budget is spent.")
    result = Result(
        symbols=("BTCUSDT",), market="spot", strategy="ma_hour", params={"window": 60}, decimals=(1,),
        bars=2, gaps=(), table=np.zeros((0, 10), dtype=np.int64),
        times_ms=T0 + MINUTE_MS * np.arange(2), equity_units=np.array([10**9, 10**9]), decisions=0,
        signals={}, incomplete=0, stop=stop, labels=("limits off",), initial_units=10**9,
        cash_units=10**9, fees_units=0, spread_units=0, funding_units=0, open_positions=(),
    )  # fmt: skip
    report = Report.of(result)
    assert report.label == "BTCUSDT spot, ma_hour (window 60)"
    assert report.notes == ("limits off", "The budget is spent.")
    assert report.values["trades"] == 0


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("net_return", 0.1234, "+12.34%"), ("max_drawdown", 0.1234, "12.34%"),
        ("net_pnl", -1.5, "-1.5000"), ("average_trade", -0.00123, "-0.001230"),
        ("trades", 1234.0, "1,234"), ("sharpe", float("nan"), "n/a"),
    ],
)  # fmt: skip
def test_values_are_written_for_people(name, value, expected):
    assert shown(name, value) == expected


def test_a_bar_in_a_cell_does_not_break_the_table():
    assert "a\\|b" in Table(("x", "y"), (("a|b", "1"),))._repr_markdown_()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 20))
def test_a_thinned_line_keeps_its_ends_and_extremes(values, points):
    values = np.array(values)
    rows = thinned(np.arange(len(values)), values, points)
    assert (np.diff(rows) > 0).all()
    assert rows[0] == 0 and rows[-1] == len(values) - 1
    assert values[rows].min() == values.min() and values[rows].max() == values.max()
    assert len(rows) <= max(2 * points + 2, 1)


@given(st.integers(0, 10**12), st.integers(MINUTE_MS, 20 * 365 * DAY_MS), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low, span, most):
    ticks, unit = time_ticks(T0 + low, T0 + low + span, most)
    assert len(ticks) <= most
    assert all(T0 + low <= tick <= T0 + low + span for tick in ticks)
    assert all(tick % (15 * MINUTE_MS if unit == "m" else DAY_MS) == 0 for tick in ticks)


def test_pyplot_is_not_loaded():
    code = "import sys, tgtqr_lib.backtest.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
