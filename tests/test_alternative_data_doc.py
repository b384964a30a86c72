"""docs/alternative_data.md: its tables are what the code prints, and its sentences are about them."""

import re
from collections.abc import Iterator

import pytest

from tests.learn.test_alternative_data import some_bars, some_rates
from tests.recorded import recorded
from tests.stage import PROJECT
from tgtqr_lib.learn import alternative_data
from tgtqr_lib.learn import alternative_tests as tests
from tgtqr_lib.learn.alternative_report import cost_bps

DOC = PROJECT / "docs" / "alternative_data.md"
TEXT = DOC.read_text("utf-8")
BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"
GENERATED = TEXT.split(BEGIN)[1].split(END)[0].strip()
ASKED = (
    "Claim.", "Evidence.", "Latency, history.", "Cost, licence.", "Pitfalls.", "In this kit.", "Verdict.",
)  # fmt: skip


def sections() -> dict[str, str]:
    """Heading of each second level -> the text below it."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def cells(text: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def anchor(heading: str) -> str:
    """The fragment under which a heading of Markdown is found."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_tables_are_those_that_the_code_makes_of_the_recorded_files(capsys):
    files = {
        "--funding": "funding_8h_bybit-linear", "--candles": "candles_15m_bybit-linear",
        "--perpetual": "candles_5m_bybit-linear", "--spot": "candles_5m_bybit-spot",
        "--hours": "candles_1h_binance-spot",
    }  # fmt: skip
    given = [
        part
        for option, name in files.items()
        for part in (option, str(recorded(f"{name}.parquet")))
    ]
    assert alternative_data.main(given) == 0
    printed = capsys.readouterr().out
    for now, there in zip(cells(printed), cells(GENERATED), strict=True):
        assert now == there  # figure by figure
    assert printed.strip() == GENERATED


def test_every_figure_of_the_conclusions_stands_in_the_tables():
    said = sections()["What the tables say"]
    figures = re.findall(r"[+−]?\d+\.\d+", said)
    assert len(figures) >= 12
    known = set(re.findall(r"[+−]?\d+\.\d+", GENERATED))
    known |= {figure.lstrip("+−") for figure in known}
    assert not [figure for figure in figures if figure not in known]


def test_nothing_in_the_tables_survives_costs_as_the_first_paragraph_says():
    tables = [rows for rows in re.split(r"^### ", GENERATED, flags=re.M) if rows]
    paying = next(table for table in tables if table.startswith("Does it pay?"))
    head, _, *rows = cells(paying)
    place, deflated = (
        head.index("p, best of tries"),
        next(i for i, c in enumerate(head) if "deflated" in c),
    )
    assert len(rows) == 8
    for row in rows:
        assert float(row[place].lstrip("<")) > 0.05
        assert float(row[deflated].rstrip("%")) < 95
    assert "none of the four pays after costs" in TEXT
    predicting = next(table for table in tables if table.startswith("Does it predict?"))
    head, _, *rows = cells(predicting)
    ratio = {row[0]: float(row[head.index("bps a fill")]) / 6 for row in rows}
    # "worth a fifth of what a fill costs"
    assert ratio["signed volume, BTCUSDT bybit linear, 15 min"] == pytest.approx(0.2, abs=0.05)


def test_what_was_tried_is_counted_rightly_and_costs_are_the_kits():
    market, settled = some_bars(), some_rates(some_bars())
    count = {
        "funding": len(tests.funding_family(market, settled).names),
        "flow": len(tests.flow_family(market, settled).names),
        "basis": len(tests.basis_family(market, market, settled).names),
        "calendar": len(tests.calendar_family(market, settled).names),
    }
    plain = re.sub(r"\s+", " ", TEXT)
    assert f"funding, {count['funding']} variants" in plain
    assert f"Signed volume, {count['flow']} (" in plain and f"Basis, {count['basis']} (" in plain
    assert f"Calendar, {count['calendar']} (" in plain
    assert f"deflated, {2 * sum(count.values())} tries" in GENERATED  # on two coins
    now = 1_750_000_000_000  # June 2025
    assert (cost_bps("linear", now), cost_bps("spot", now)) == (5.5 + 0.5, 10 + 0.5)
    assert "(5.5 bps perpetual, 10 bps spot)" in plain and "half of a spread of 1 bp" in plain


def test_every_kind_of_the_overview_has_a_section_that_answers_all_that_was_asked():
    found = sections()
    kinds = [row[0] for row in cells(found["At a glance"])][2:]
    links = [re.search(r"\(#(.+)\)", kind)[1] for kind in kinds]
    by_anchor = {anchor(heading): text for heading, text in found.items()}
    assert len(links) == 11 and set(links) <= set(by_anchor)
    for link in links:
        assert [word for word in ASKED if f"**{word}**" not in by_anchor[link]] == []


def test_linked_pages_exist():
    for target in re.findall(r"\]\(([^#)][^)]*)\)", TEXT):
        assert (DOC.parent / target).is_file(), target
