"""The strategy document: every figure in it comes from the code, and a faulty build is not taken for a good one."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.builders import candles
from tgtqr_lib.backtest import replay
from tgtqr_lib.backtest.bootstrap import Interval
from tgtqr_lib.domain import DataError, DomainError, StoreError
from tgtqr_lib.limits import HARD
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.research import plan
from tgtqr_lib.strategies import STRATEGIES
from tgtqr_lib.strategy_document import Pages, build, problems, write
from tgtqr_lib.strategy_document.figures import steps
from tgtqr_lib.strategy_document.mercy import mercy
from tgtqr_lib.strategy_document.results import before_costs, rank_correlation, too_short
from tgtqr_lib.strategy_document.study import (
    Evidence,
    candles_sha256,
    equal_engines,
    moves_beyond,
    ties,
)
from tgtqr_lib.strategy_document.tex import escape, number, percent

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "trading_strategy.tex"
DAYS = 40


def plain(tex: str) -> str:
    """A macro's number as Python reads it."""
    return (
        re.sub(r"\\mbox\{(.*)\}", r"\1", tex.replace("{,}", ""))
        .replace(r"\ensuremath{-}", "-")
        .replace(r"\ensuremath{+}", "+")
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("strategy")


@pytest.fixture(scope="module")
def evidence(folder) -> Evidence:
    return write(folder / "build", folder / "empty home", DAYS)


@pytest.fixture(scope="module")
def macros(folder, evidence) -> dict[str, str]:
    text = (folder / "build" / "macros.tex").read_text("utf-8")
    return dict(re.findall(r"^\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}$", text, re.MULTILINE))


# the figures


def test_limits_and_fees_are_those_of_the_design(macros):
    # the design's own words: 1.00 a symbol, 2.00 a day, 5.00 in all, of 10.00; 0.95 an order; 0.1 % on spot
    names = ("PositionLimit", "DailyLoss", "TotalLoss", "InitialEquity", "OrderTarget", "FeeBps")
    assert [macros[name] for name in names] == ["1.00", "2.00", "5.00", "10.00", "0.95", "10"]
    assert (macros["Window"], macros["TickMinutes"], macros["MinNotional"]) == ("60", "15", "5.00")


def test_a_round_trip_breaks_even_at_both_fees_and_the_spread(macros):
    # (1.00005 x 1.001) / (0.99995 x 0.999) = 1.00105005 / 0.99895005 = 1.0021022...
    assert macros["BreakEven"] == r"0.2102\,\%"


def test_what_fits_64_bits_is_told_rounded_down(macros):
    # 2^63 - 1 over 5 x 365 x 1440 = 2,628,000 minutes is 3,509,654,504,130 steps
    assert macros["IntMax"] == "9{,}223{,}372{,}036{,}854{,}775{,}807"
    assert plain(macros["YearsMinutes"]) == "2628000"
    assert plain(macros["PriceFinest"]) == "3509654" and plain(macros["MoneyFinest"]) == "35096"
    # over (10,000 + 1,000) x 1,440 it is 582,283,588,185 steps of 1e-6
    assert plain(macros["ComparisonPrice"]) == "582283"


def test_the_worked_example_is_right_in_whole_numbers(macros):
    # prices in tenths, quantities in millionths, money in 1e-8: a millionth at a tenth is ten units
    close = int(Fraction(plain(macros["ExClose"])) * 10)
    limit = close * 101 // 100
    lots = 95_000_000 // (limit * 10)
    notional = lots * limit * 10
    fee = -(-notional // 1000)
    assert Fraction(plain(macros["ExLimit"])) == Fraction(limit, 10)
    assert int(plain(macros["ExLots"])) == lots
    assert Fraction(plain(macros["ExQuantity"])) == Fraction(lots, 10**6)
    for name, units in (("ExNotional", notional), ("ExFee", fee), ("ExReserve", notional + fee)):
        assert Fraction(plain(macros[name])) * 10**8 == units, name


def test_the_example_walks_to_the_second_price_and_not_to_the_third(macros, folder):
    rows = (folder / "build" / "table-walk.tex").read_text("utf-8").splitlines()
    cells = [plain(row.removesuffix(r" \\")).split(" & ") for row in rows if row[0].isdigit()]
    price, offered, taken, cost = zip(*cells, strict=True)
    assert [int(n) > 0 for n in taken] == [True, True, False]
    assert int(taken[0]) == int(offered[0]) < int(plain(macros["ExLots"])) == sum(map(int, taken))
    assert Fraction(price[2]) > Fraction(plain(macros["ExLimit"])) >= Fraction(price[1])
    paid = sum(Fraction(p) * int(n) / 10**6 for p, n in zip(price, taken, strict=True))
    assert Fraction(plain(macros["ExPaid"])) == paid == sum(map(Fraction, cost))


def test_the_results_are_those_of_the_slow_backtest_through_the_code_of_a_tick(evidence):
    # given the first days of the same candles, through `decide` and `fill` minute by minute
    days = 3
    whole = {symbol: past.candles.head(days * 1440) for symbol, past in evidence.pasts.items()}
    slow = replay(whole, plan("ma_trend"), HARD)
    on = evidence.both.on
    np.testing.assert_array_equal(on.equity_units[: days * 1440], slow.equity_units)
    np.testing.assert_array_equal(on.table[: len(slow.table)], slow.table)
    assert len(slow.table) > 20


def test_gross_less_costs_is_net(macros):
    gross, costs, net = (float(plain(macros[f"Both{name}"])) for name in ("Gross", "Costs", "Net"))
    assert gross - costs == pytest.approx(net, abs=0.00011)
    parts = (float(plain(macros[f"Both{name}"])) for name in ("Fees", "Spread"))
    assert sum(parts) == pytest.approx(costs, abs=0.00011)


def test_made_up_prices_are_called_so(macros):
    assert macros["DataKind"] == "made-up" and "made up" in macros["DataNotice"]
    assert macros["DataDays"] == str(DAYS)


def test_recorded_prices_are_called_so_and_a_lake_with_one_symbol_is_refused(tmp_path):
    until = datetime(2025, 6, 3, tzinfo=UTC)
    closes = [10_000 + 7 * (i % 97) + i % 11 for i in range(3 * 1440)]
    lake = Lake(tmp_path / "data" / "candles")
    lake.write(candles(closes, "BTCUSDT", until=until), "a test")
    with pytest.raises(DataError, match="the lake has no candle of ETHUSDT"):
        Evidence.of(tmp_path)
    lake.write(candles(closes, "ETHUSDT", until=until), "a test")
    write(tmp_path / "build", tmp_path)
    text = (tmp_path / "build" / "macros.tex").read_text("utf-8")
    assert r"\newcommand{\DataKind}{recorded}" in text and "from a test" in text
    assert "The history is too short to tell luck from skill." in text


@pytest.mark.parametrize("minutes", [1728, 3 * 1440 - 1])
def test_too_short_a_history_is_refused_with_the_days_that_it_needs(tmp_path, minutes):
    until = datetime(2025, 6, 3, tzinfo=UTC)
    lake = Lake(tmp_path / "data" / "candles")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        lake.write(
            candles([10_000 + i % 97 for i in range(minutes)], symbol, until=until), "a test"
        )
    there = rf"BTCUSDT: there are {minutes / 1440:.1f} days of candles \({minutes:,} minutes\)"
    with pytest.raises(DataError, match=there + "; the strategy document needs 3 or more"):
        Evidence.of(tmp_path)


@pytest.mark.parametrize(
    "low, high, told",
    [(0.2, 2.0, "above zero"), (-2.0, -0.2, "below zero"), (-1.4, 2.4, "cannot be told from zero")],
)
def test_the_sentence_on_the_result_before_costs_follows_its_interval(low, high, told):
    text = before_costs(Interval((low + high) / 2, low, high, 0.95, 5.0, 100))
    assert told in text and f"{low:.2f} to {high:.2f}" in text
    others = {"above zero", "below zero", "cannot be told from zero"} - {told}
    assert not [other for other in others if other in text]


def test_the_result_before_costs_is_told_with_its_own_interval(evidence, macros):
    both = evidence.both
    ends = both.study.gross.reshape(DAYS, 1440)[:, -1]
    daily = np.diff(ends, prepend=10.0) / np.concatenate([[10.0], ends[:-1]])
    found = both.gross_interval
    assert found.estimate == pytest.approx(daily.mean() / daily.std(ddof=1) * 365**0.5)
    assert found.low < found.estimate < found.high
    assert f"Sharpe ratio was {found.estimate:.2f} a year" in plain(macros["BothVerdict"])


def test_every_test_of_the_walk_is_as_long_as_the_first(evidence, macros):
    # 40 days: 10 to train on, a day between, then tests of 3; 29 days leave 2 over
    for walked in evidence.walks.values():
        assert [len(each.split.test) for each in walked.forward.judged] == [3 * 1440] * 9
    assert (macros["TrainDays"], macros["TestDays"]) == ("10", "3")
    assert macros["TestLeftOut"].endswith("are left out: 2.0 of BTCUSDT and 2.0 of ETHUSDT.")
    assert too_short({"BTCUSDT": 0, "ETHUSDT": 0}) == ""


def test_only_strategies_that_need_candles_alone_are_compared(macros, evidence):
    run = {one.name for one in evidence.compared if one.result is not None}
    assert run == {name for name, strategy in STRATEGIES.items() if not strategy.needs}
    for name in set(STRATEGIES) - run:
        assert escape(name) in macros["LeftOut"]


def test_ties_are_counted_exactly_and_floats_are_not():
    # closes 3, 3, 4, 2 against pairs: 3 ties with (3, 3); 4 is above; 2 is below
    found = ties(candles([3, 3, 4, 2]), 2)
    assert (found.compared, found.tied, found.wrong) == (3, 1, 0)
    # 0.1 + 0.1 + 0.1 is not 0.3 in floats: a flat series of tenths ties at every row, and floats deny it
    flat = candles(["0.1"] * 12, decimals=1)
    assert ties(flat, 3).tied == 10 and ties(flat, 3).wrong > 0


def test_moves_are_those_between_quarter_hours():
    # closes at the quarter hours are 100, 103, 102: moves of 3 % and 0.97 %
    closes = [50] * 14 + [100] + [50] * 14 + [103] + [50] * 14 + [102]
    until = candles([1]).open_ms  # a builder's usual end is a quarter hour
    series = candles(closes)
    assert int(until[-1] + 60_000) % 900_000 == 0
    assert moves_beyond(series, 0.02) == 0.5
    assert moves_beyond(series, 0.031) == 0.0 and moves_beyond(series, 0.009) == 1.0


def test_ranks_correlate_as_spearman_says():
    # ranks 1, 2.5, 2.5, 4 and 4, 3, 2, 1, less their mean of 2.5:
    # sum xy = -4.5, sum xx = 4.5, sum yy = 5
    found = rank_correlation(np.array([5, 7, 7, 9]), np.array([40, 30, 20, 10]))
    assert found == pytest.approx(-4.5 / 22.5**0.5)
    assert np.isnan(rank_correlation(np.array([1, 1]), np.array([1, 2])))


def test_the_hash_of_candles_is_that_of_their_columns():
    series = candles([5, 6, 7], "ETHUSDT", decimals=2)
    whole = b"ETHUSDT spot 2\n"
    for name in ("open_ms", "open", "high", "low", "close", "volume"):
        whole += struct.pack("<3q", *(int(n) for n in getattr(series, name)))
    assert candles_sha256(series) == hashlib.sha256(whole).hexdigest()


def test_both_engines_are_compared_for_every_document(evidence):
    whole = {symbol: past.candles for symbol, past in evidence.pasts.items()}
    equal = equal_engines(whole, 1)
    assert (equal.days, equal.minutes) == (1, 1440) and equal.trades > 0


def test_a_market_without_mercy_takes_what_the_limits_allow_and_no_more():
    found = mercy()
    # each of the first two days loses both entries, the third has room for one of 0.91
    assert len(found.on.table) == 5 and found.on.stop.cause == "SPENT"
    assert (found.equity_on >= found.floor).all() and found.equity_on.min() >= 5
    days = found.equity_on.reshape(-1, 1440)
    opened = np.concatenate([[10.0], days[:-1, -1]])
    assert (opened - days.min(axis=1) <= 2).all()
    # without limits the same prices take more than there was
    assert found.equity_off.min() < 0 and len(found.off.table) == 32


def test_the_steps_of_the_map_span_its_values():
    assert steps(-7.0, -0.3, 0.05) == [-10.0, -5.0, -2.0, -1.0, -0.5, -0.2, -0.1, 0.0, 0.1]
    assert steps(0.0) == [0.0, 0.1]


# TeX


def test_numbers_have_thousands_and_a_true_minus():
    assert number(-1234567) == r"\ensuremath{-}1{,}234{,}567"
    assert number(0.00004, 3, sign=True) == "0.000" and number(float("nan"), 2) == "n/a"
    assert percent(0.1234, 1, sign=True) == r"\ensuremath{+}12.3\,\%"


def test_text_is_escaped_and_code_set_as_code():
    assert escape("50 % of `a_b` & -3 on 2025-01-02") == (
        r"50 \% of \texttt{a\_b} \& \ensuremath{-}3 on 2025-01-02"
    )
    with pytest.raises(DomainError, match="may not have"):
        escape("≠")
    with pytest.raises(DomainError, match="odd number of backticks"):
        escape("`a")


def test_macros_and_tables_refuse_what_tex_could_not_take():
    pages = Pages()
    pages.define(One="1")
    with pytest.raises(DomainError, match="twice"):
        pages.define(One="2")
    with pytest.raises(DomainError, match="letters"):
        pages.define(Year1="x")
    with pytest.raises(DomainError, match="2 cells, expected 1"):
        pages.table("t", "l", ("a",), [("b", "c")])


# the words


def uncommented(text: str) -> str:
    return re.sub(r"(?<!\\)%.*", "", text)


def body(text: str) -> str:
    """The words between the preamble and the references."""
    return uncommented(text).split(r"\begin{document}")[1].split(r"\begin{thebibliography}")[0]


# names, and constants of arithmetic; in formulas 0, 1 and 2 as well
ALLOWED = ("64-bit", "SHA-256", "2^{63}", "2^{64}")
FORMULA = re.compile(r"\$[^$]*\$|\\\[.*?\\\]|\\begin\{equation\}.*?\\end\{equation\}", re.DOTALL)


def typed_numbers(text: str) -> list[str]:
    """The numbers that somebody typed into the body of a document."""
    for word in ALLOWED:
        text = text.replace(word, " ")
    text = re.sub(r"\\(?:label|ref|eqref|cite)\{[^}]*\}", " ", text)
    formulas = [re.sub(r"(?<![\d.])[012](?![\d.])", " ", one) for one in FORMULA.findall(text)]
    return re.findall(r"\d[\d.,]*", " ".join([FORMULA.sub(" ", text), *formulas]))


def test_no_number_is_typed_by_hand():
    assert typed_numbers(body(SOURCE.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "planted, found",
    [
        ("lost 18.59 in all", ["18.59"]),
        ("a fee of $f=10$", ["10"]),
        (r"\[ x = 0.95 \]", ["0.95"]),
        (r"costs 1\usdt", ["1"]),
        (r"\cite{brock1992} in $2^{63}$ steps, $1+x_0/2$", []),
    ],
)
def test_the_search_for_typed_numbers_finds_them(planted, found):
    assert typed_numbers(planted) == found


def test_every_macro_of_the_code_is_used_and_every_one_used_is_defined(macros):
    # ours have a capital first; TeX's own of that kind are Greek letters and the like, none of which is used
    used = set(re.findall(r"\\([A-Z][A-Za-z]+)", body(SOURCE.read_text("utf-8"))))
    used |= set(
        re.findall(r"\\([A-Z][A-Za-z]+)", SOURCE.read_text("utf-8").split(r"\maketitle")[0])
    )
    assert used == set(macros)


def test_every_table_and_figure_of_the_code_is_shown_and_every_one_shown_is_made(folder, evidence):
    text = body(SOURCE.read_text("utf-8"))
    shown = {f"figure-{name}.pdf" for name in re.findall(r"\\drawn\{(.+?)\}", text)}
    shown |= {f"table-{name}.tex" for name in re.findall(r"\\tabled(?:small)?\{(.+?)\}", text)}
    made = {path.name for path in (folder / "build").glob("figure-*")}
    made |= {path.name for path in (folder / "build").glob("table-*")}
    assert shown == made


def test_every_table_figure_and_source_is_referred_to():
    text = uncommented(SOURCE.read_text("utf-8"))
    floats = {name for name in re.findall(r"\\label\{(.+?)\}", text) if name[:3] in ("tab", "fig")}
    assert floats <= set(re.findall(r"\\ref\{(.+?)\}", text)) and len(floats) > 15
    cited = {name for some in re.findall(r"\\cite\{(.+?)\}", text) for name in some.split(",")}
    assert cited == set(re.findall(r"\\bibitem\{(.+?)\}", text))


# the log

GOOD = "This is pdfTeX\nOutput written on trading_strategy.pdf (15 pages, 300000 bytes).\n"


@pytest.mark.parametrize(
    "line, words",
    [
        ("LaTeX Warning: Reference `tab:x' on page 3 undefined on input line 9.", "not defined"),
        ("LaTeX Warning: Citation `knuth' on page 1 undefined on input line 9.", "not defined"),
        ("LaTeX Warning: There were undefined references.", "not defined"),
        ("LaTeX Warning: There were multiply-defined labels.", "not defined"),
        (
            "LaTeX Warning: Label(s) may have changed. Rerun to get cross-references right.",
            "still move",
        ),
        ("Overfull \\hbox (11.0pt too wide) in paragraph at lines 3--4", "11.0 pt"),
        ("Overfull \\vbox (10.00001pt too high) has occurred", "10.00001 pt"),
        ("Missing character: There is no X in font ec-lmr10!", "Missing character"),
    ],
)
def test_the_log_of_a_faulty_document_is_not_accepted(line, words):
    (found,) = problems(GOOD + line + "\n")
    assert words in found


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Overfull \\hbox (9.0pt too wide) in paragraph at lines 3--4",
        "Overfull \\hbox (10.0pt too wide) in paragraph at lines 3--4",
        "Underfull \\hbox (badness 10000) in paragraph at lines 3--4",
    ],
)
def test_the_log_of_a_sound_document_is_accepted(line):
    assert problems(GOOD + line + "\n") == ()


# the build


def needs_pdflatex() -> None:
    """Skips the test without pdflatex, and fails it in continuous integration."""
    if shutil.which("pdflatex") is None:
        text = "no pdflatex here"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)


def a_document(folder: Path, words: str) -> Path:
    source = folder / "small.tex"
    source.write_text(rf"\documentclass{{article}}\begin{{document}}{words}\end{{document}}")
    (folder / "build").mkdir()
    return source


def test_without_pdflatex_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match=r"apt-get install .*texlive-latex-recommended"):
        build(SOURCE, tmp_path, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, text",
    [
        (r"see \ref{nowhere}", "nowhere"),
        (r"\cite{nobody}", "nobody"),
        (r"\noindent\hbox to 500pt{x}", "sticks out"),
        (r"\nothing", "Undefined control sequence"),
    ],
)
def test_pdflatex_is_not_believed_blindly(tmp_path, words, text):
    needs_pdflatex()
    with pytest.raises(StoreError, match=text):
        build(a_document(tmp_path, words), tmp_path / "build", 0)


@pytest.mark.slow
def test_references_are_settled_by_as_many_runs_as_they_need(tmp_path):
    needs_pdflatex()
    source = a_document(tmp_path, r"Section \ref{a}.\section{One}\label{a}")
    assert build(source, tmp_path / "build", 0).read_bytes().startswith(b"%PDF")


@pytest.fixture(scope="module")
def document(folder, evidence) -> Path:
    needs_pdflatex()
    return build(SOURCE, folder / "build", evidence.end_s)


@pytest.mark.slow
def test_the_document_builds_without_a_warning(document):
    log = document.with_suffix(".log").read_text("utf-8", errors="replace")
    assert "Warning" not in log and "Overfull" not in log and "Underfull" not in log


@pytest.mark.slow
def test_the_script_of_make_docs_makes_the_same_bytes_in_another_process(document, tmp_path):
    command = [sys.executable, "docs/make_strategy.py", "--out", tmp_path, "--days", str(DAYS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / "trading_strategy.pdf"
    made = [path for path in document.parent.iterdir() if path.suffix in (".tex", ".pdf")]
    assert [p.name for p in made if p.read_bytes() != (tmp_path / p.name).read_bytes()] == []
    assert len(made) > 20


@pytest.mark.slow
def test_the_script_tells_of_a_fault_with_its_exit_code(tmp_path):
    needs_pdflatex()
    command = [sys.executable, "docs/make_strategy.py", "--out", tmp_path, "--days", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("make docs: days 0 is out of range")


def test_make_and_continuous_integration_build_the_document():
    assert re.search(r"^docs: \$\(READY\) ## \S", (ROOT / "Makefile").read_text(), re.MULTILINE)
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines.index("make check") < lines.index("make docs") < lines.index("make test")
