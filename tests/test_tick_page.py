"""The pieces of the tick's page, read back from their HTML and Markdown."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from re import sub

import mistune
import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    NOW,
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
from tgtqr_lib import tick_page
from tgtqr_lib.canonical import plain
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.domain import Problem
from tgtqr_lib.risk import RULES

LATE = a_view(seen=candles(closes_for(), missing=[-1]))  # the minute before the boundary is missing
NASTY = "<script>alert(1)</script> & | *bold* `code` $x$ [a](b)"


class Tables(HTMLParser):
    """The rows of all tables as lists of texts; `styles` has each row's style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.styles: list[str] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
            self.styles.append(dict(attributes).get("style") or "")
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True
        if tag == "br" and self._inside:
            self.rows[-1][-1] += " / "

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.rows[-1][-1] += data


def table_of(piece) -> dict[str, list[str]]:
    """The rows of a piece's HTML tables by their first cell."""
    return {row[0]: row[1:] for row in Tables(piece.html).rows}


def shown(markdown: str) -> str:
    """What a reader of Markdown sees, without the tags."""
    return unescape(sub(r"<[^>]*>", "", mistune.html(markdown)))


# headline and signals


def test_the_headline_says_first_that_it_is_a_re_run_unless_the_kit_runs_it(monkeypatch):
    frozen = inputs()
    text = tick_page.headline(frozen, decide(frozen)).markdown
    assert shown(text).startswith("This is a re-run.")
    monkeypatch.setattr(tick_page.banner, "shown", False)
    assert "re-run" not in tick_page.headline(frozen, decide(frozen)).markdown


def test_the_headline_says_what_and_why_for_each_symbol(monkeypatch):
    monkeypatch.setattr(tick_page.banner, "shown", False)
    frozen = inputs()

    lines = shown(tick_page.headline(frozen, decide(frozen)).markdown).split("\n")

    # the worked examples of the design
    assert lines[0] == "20261122T1015Z, 2026-11-22 10:15:00 UTC"
    assert lines[1].startswith(
        "BTCUSDT: LONG, buy 9 lots (0.000009 BTC) at most 105,364.9 USDT. SIGNAL_LONG: close 104321.7"
    )
    assert lines[2].startswith(
        "ETHUSDT: LONG, buy 37 lots (0.00037 ETH) at most 2,536.14 USDT. SIGNAL_LONG: close 2511.03"
    )


@pytest.mark.parametrize(
    "frozen, said",
    [
        (inputs(a_view(state="FLAT")), "BTCUSDT: FLAT, nothing held, no order. ALREADY_FLAT: "),
        (
            inputs(portfolio=a_portfolio(a_position())),
            "BTCUSDT: LONG, held already, no order. ALREADY_LONG: ",
        ),
        (
            inputs(a_view(state="FLAT"), portfolio=a_portfolio(a_position(quantity="0.000001"))),
            "BTCUSDT: FLAT, sell 1 lot (0.000001 BTC) at least 103,278.4 USDT. SIGNAL_FLAT: ",
        ),
        (
            inputs(health=healthy(stopped="by hand")),
            "BTCUSDT: LONG, buy 9 lots (0.000009 BTC) refused. GATE_STOPPED: stopped: by hand",
        ),
        (inputs(LATE), "BTCUSDT: HOLD, no order. DATA_LATE: "),
    ],
)
def test_the_headline_of_other_decisions(frozen, said):
    assert said in shown(tick_page.headline(frozen, decide(frozen)).markdown)


@pytest.mark.parametrize(
    "view, plan, said",
    [
        # 59 closes of 104217.4 and one of 104321.7 have the mean 104219.13833
        (a_view(), PLAN, "BTCUSDT says LONG: the last close, 104,321.7 USDT, is 9.84 bps above "
         "the mean of the last 60 closes, 104,219.138 USDT."),
        # 59 closes of 104426.0 and one of 104321.7 have the mean 104424.26167
        (a_view(state="FLAT"), PLAN, "BTCUSDT says FLAT: the last close, 104,321.7 USDT, is 9.82 bps "
         "below the mean of the last 60 closes, 104,424.262 USDT."),
        (a_view(state="TIE"), PLAN, "BTCUSDT says HOLD: the last close, 104,321.7 USDT, is exactly on "
         "the mean of the last 60 closes, 104,321.700 USDT."),
        (a_view(), replace(PLAN, parameters={"window": 60, "band_bps": 20}), "BTCUSDT says HOLD: the "
         "last close, 104,321.7 USDT, is 9.84 bps above the mean of the last 60 closes, 104,219.138 "
         "USDT, inside the band of 20 bps in which nothing changes."),
        (LATE, PLAN, "BTCUSDT says HOLD, because there is doubt. BTCUSDT: last candle opened "
         "2026-11-22T10:13:00Z, expected 2026-11-22T10:14:00Z."),
    ],
)  # fmt: skip
def test_the_signal_is_a_sentence(view, plan, said):
    frozen = inputs(view, plan=plan)

    assert shown(tick_page.signals(frozen, decide(frozen)).markdown).strip() == said


# the summary


def test_the_summary_tells_what_was_known():
    held = a_portfolio(a_position("ETHUSDT", "0.0003", "0.75"), cash="1234.25", reserved="0.5")
    wide = a_quote(
        bids=[("99.5", 1)], asks=[("100.5", 1)], at=NOW - timedelta(seconds=1.5), last=100
    )
    closes = ["99"] * 60 + ["100"]
    frozen = inputs(
        a_view(seen=candles(closes, missing=[0, 3]), quote=wide),
        a_view("ETHUSDT"),
        portfolio=held,
        orders_today=3,
        health=healthy(clock_offset_ms=-120, disk_free_mb=1234),
    )

    rows = table_of(tick_page.summary(frozen))

    assert rows["exchange time"] == ["2026-11-22 10:15:03 UTC, 3 s later"]
    assert rows["gate"] == ["ARMED"]
    assert rows["health"] == [
        "last watch beat 3 s ago; ledger and witness agree; 1,234 MB of disk free; "
        "this clock -120 ms off the exchange's"
    ]
    assert rows["account"] == ["paper-1, opened 2026-11-01 00:00:00 UTC with 10.00 USDT"]
    assert rows["cash"] == ["1,234.25 USDT, 0.5 USDT of it reserved"]
    assert rows["positions"] == ["0.0003 ETH at a cost of 0.75 USDT"]
    assert rows["equity"] == [
        "1,235.00330900 USDT at the last closes"
    ]  # 0.0003 x 2511.03 = 0.753309
    assert rows["floor of the day"] == ["8.00 USDT on 2026-11-22, which began at 10.00 USDT"]
    assert rows["floor of the account"] == ["5.00 USDT"]
    assert rows["limits"] == ["1.00 USDT a position, 2.00 USDT lost a day, 5.00 USDT lost in all"]
    assert rows["orders so far"] == ["3 today"]
    assert rows["strategy"][0].endswith("(window 60 minutes, band_bps 0 basis points)")
    assert rows["an entry"] == ["buys for 0.95 USDT, at most 100 bps above the close"]
    assert rows["fees"] == ["10 bps in USDT, a table, since 2022-06-01"]
    assert rows["problems"] == ["none"]
    assert rows["inputs SHA-256"] == [decide(frozen).inputs_sha256]
    assert rows["closed minutes"] == [
        "59, 09:15 to 10:15 UTC, 1 missing",  # rows 0 and 3 of 61; only row 3 lies between
        "61, 09:14 to 10:15 UTC",
    ]
    assert rows["last close"] == ["100.0 USDT", "2,511.03 USDT"]
    assert rows["bid"][0] == "99.5 USDT"
    assert rows["spread"][0] == "100.00 bps"  # 1 of 100
    assert rows["quote's age"] == ["1.5 s", "0 s"]
    assert rows["one lot"] == ["0.000001 BTC", "0.00001 ETH"]
    assert rows["smallest legal order"] == ["5.00 USDT", "5.00 USDT"]


def test_the_summary_of_a_sorry_state_says_what_was_not_seen():
    frozen = inputs(
        a_view(
            seen=candles([]), quote=None, instrument=None, problems=[Problem("DATA_ODD", NASTY)]
        ),
        health=healthy(last_beat_at=None, stopped="breach", ledger_problem="2 events are lost"),
        portfolio=a_portfolio(a_position()),
        days=(),
    )

    rows = table_of(tick_page.summary(frozen))

    assert rows["gate"] == ["STOPPED: breach"]
    assert rows["health"][0].startswith("no watch beat yet; 2 events are lost; ")
    assert rows["equity"] == ["not known: something is held that has no close"]
    assert rows["floor of the day"] == ["the day is not open"]
    assert rows["closed minutes"] == ["none"]
    assert rows["problems"] == [f"BTCUSDT DATA_ODD: {NASTY}"]
    for name in ("last close", "bid", "ask", "spread", "quote's age", "price step", "one lot"):
        assert rows[name] == ["not seen"]


# the table of verdicts


def test_verdicts_have_value_limit_and_distance():
    frozen = inputs()

    rows = Tables(tick_page.verdicts(decide(frozen)).html).rows

    figures = {row[0].split(" / ")[0]: row[1:] for row in rows[: len(rows) // 2]}
    # 9 lots at 105364.9 with fee: 0.94923239, the design's example
    assert figures["allowed POSITION_LIMIT"] == ["0.94923239 USDT", "1.00 USDT", "0.05076761 USDT"]
    assert figures["allowed DAILY_BUDGET"] == ["9.05076761 USDT", "8.00 USDT", "1.05076761 USDT"]
    assert figures["allowed TOTAL_BUDGET"] == ["9.05076761 USDT", "5.00 USDT", "4.05076761 USDT"]
    assert figures["allowed MONITOR_LEASE"] == ["3.0 s", "180 s", "177.0 s"]
    assert figures["allowed ORDERS_TICK"] == ["1 order", "2 orders", "1 order"]
    # 104321.7 / 104217.4 - 1 = 0.10008 %
    assert figures["allowed DATA_JUMP"] == ["0.100 %", "20.000 %", "19.900 %"]
    assert figures["exempt LONG_ONLY"] == ["0.000009 BTC", "0 BTC", "-0.000009 BTC"]
    # for ETH the entry of BTC counts as spent: 9.05076761 - 0.93931018 = 8.11145743
    second = {row[0].split(" / ")[0]: row[1:] for row in rows[len(rows) // 2 :]}
    assert second["allowed DAILY_BUDGET"] == ["8.11145743 USDT", "8.00 USDT", "0.11145743 USDT"]


def test_every_rule_is_told_once_with_its_sentence():
    decision = decide(inputs(a_view()))

    piece = tick_page.verdicts(decision)

    html = unescape(piece.html.replace("<wbr>", ""))
    for verdict in decision.choices[0].verdicts:
        assert html.count(verdict.code) == 1 + (verdict.code in verdict.text)
        assert verdict.text in html
        assert verdict.code in piece.markdown


def test_refusals_come_first_and_stand_out_and_the_reason_is_above_them():
    frozen = inputs(a_view(), health=healthy(last_beat_at=None), portfolio=a_portfolio(cash="8.5"))
    piece = tick_page.verdicts(decide(frozen))

    tables = Tables(piece.html)

    assert piece.html.startswith("<p><b>BTCUSDT: MONITOR_LEASE</b> no watch beat yet")
    # 8.5 - 0.94923239 = 7.55076761 is 0.44923239 below the floor of 8.00
    assert tables.rows[1] == [
        "REFUSED MONITOR_LEASE / no watch beat yet; tgtqr watch gives one a minute", "", "", "",
    ]  # fmt: skip
    assert tables.rows[2][0].startswith("REFUSED DAILY_BUDGET / 7.55076761 USDT of cash")
    assert tables.rows[2][1:] == ["7.55076761 USDT", "8.00 USDT", "-0.44923239 USDT"]
    assert all("background" in style for style in tables.styles[1:3])
    assert not any("background" in style for style in tables.styles[3:])
    assert all("REFUSED" not in row[0] for row in tables.rows[3:])


def test_numbers_are_aligned_right_and_words_left():
    html = tick_page.verdicts(decide(inputs())).html

    assert "<td align=right>0.94923239 USDT</td>" in html
    assert "<td style=text-align:left>allowed POSITION_<wbr>LIMIT<br>" in html


def test_markdown_tells_the_same_figures_as_html():
    frozen = inputs()
    for piece in (tick_page.summary(frozen), tick_page.verdicts(decide(frozen))):
        lines = [line for line in piece.markdown.split("\n") if line.startswith("|")]
        told = [[shown(c).strip() for c in line.strip("| ").split(" | ")] for line in lines]
        cells = {cell for row in told for cell in row}
        for row in Tables(piece.html).rows:
            for cell in row[1:]:
                assert cell in cells or not cell


def test_every_figure_of_a_usual_tick_has_a_unit():
    rules = {v.code for c in decide(inputs()).choices for v in c.verdicts if v.value is not None}

    assert rules <= set(tick_page.UNITS)
    assert set(tick_page.UNITS) <= set(RULES)


@pytest.mark.parametrize(
    "value, unit, said",
    [
        (None, "USDT", ""),
        (Decimal("1234567.5"), "USDT", "1,234,567.5 USDT"),
        (Decimal("0.123456789"), "", "0.12345679"),
        (Decimal("0.2"), "%", "20.000 %"),
        (Decimal(1), "orders", "1 order"),
        (Decimal("1E-8"), "USDT", "0.00000001 USDT"),
    ],
)
def test_figures_are_readable(value, unit, said):
    assert tick_page.figure(value, unit) == said


# what others wrote


def test_foreign_text_is_never_markup():
    frozen = inputs(
        a_view(problems=[Problem("DATA_ODD", NASTY)]),
        health=healthy(stopped=NASTY),
        account=replace(inputs().account, id=NASTY),
        fees=replace(inputs().fees, source=NASTY),
    )
    decision = decide(frozen)
    pieces = [
        tick_page.headline(frozen, decision),
        tick_page.summary(frozen),
        tick_page.signals(frozen, decision),
        tick_page.verdicts(decision),
        tick_page.orders(decision),
    ]
    known = {"p", "b", "br", "small", "wbr", "table", "tr", "th", "td"}
    for piece in pieces:
        assert Tables(piece.html).tags <= known
        assert "<script" not in piece.markdown
        assert "script" not in Tables(mistune.html(piece.markdown)).tags
    assert sum(NASTY in unescape(piece.html.replace("<wbr>", "")) for piece in pieces) >= 2


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Z"])))
def test_escaped_markdown_shows_the_text_itself(text):
    flat = " ".join(text.split())

    rendered = mistune.html(f"a {tick_page.md(text)} z")

    assert rendered.startswith("<p>a ") and rendered.count("<") == 2
    assert " ".join(unescape(rendered[3:-5]).split()) == f"a {flat} z".replace("  ", " ")


# the sentinel


def executed(decision, **changes):
    """A notebook whose last cell shows the sentinel of `decision`."""
    data = tick_page.sentinel(decision)._repr_mimebundle_()
    cell = {
        "cell_type": "code",
        "id": "sentinel",
        "metadata": {"tags": ["decision"]},
        "execution_count": 9,
        "source": "",
        "outputs": [
            {"output_type": "execute_result", "execution_count": 9, "metadata": {}, "data": data}
        ],
    } | changes
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}


def test_the_sentinel_is_the_decision_in_plain_json():
    decision = decide(inputs())

    found = tick_page.read_sentinel(json.loads(json.dumps(executed(decision))))

    assert found == {
        "schema": 1,
        "tick_id": "20261122T1015Z",
        "inputs_sha256": decision.inputs_sha256,
        "decision_sha256": decision_sha256(decision),
        "decision": plain(decision),
    }


def test_the_sentinel_of_a_notebook_node_is_plain():
    found = tick_page.read_sentinel(nbformat.from_dict(executed(decide(inputs()))))

    assert type(found) is dict and type(found["decision"]["choices"][0]) is dict


def test_the_sentinel_is_readable():
    text = shown(tick_page.sentinel(decide(inputs()))._repr_mimebundle_()["text/markdown"])

    assert "20261122T1015Z-BTC-B" in text and "at most 105,364.9 USDT" in text
    assert "no, needs 5.00" in text
    assert "Reason: BTCUSDT SIGNAL_LONG, ETHUSDT SIGNAL_LONG." in text


def test_a_decision_without_orders_says_so():
    decision = decide(inputs(a_view(state="FLAT")))

    assert "No order." in shown(tick_page.orders(decision).markdown)


def test_exits_stand_before_entries():
    held = a_portfolio(a_position("ETHUSDT", "0.00037", "0.94"))
    frozen = inputs(a_view(), a_view("ETHUSDT", "FLAT"), portfolio=held)

    text = shown(tick_page.orders(decide(frozen)).markdown)

    assert text.index("20261122T1015Z-ETH-S") < text.index("20261122T1015Z-BTC-B")


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"tags": []}},
        {"metadata": {}},
        {"execution_count": None},
        {"outputs": []},
        {"cell_type": "markdown"},
        {"outputs": [{"output_type": "stream", "name": "stdout", "text": tick_page.MIME}]},
        {"outputs": [{"output_type": "display_data", "data": {tick_page.MIME: "{}"}}]},
        {"outputs": [{"output_type": "display_data", "data": {tick_page.MIME: {"schema": 1}}}]},
    ],
)
def test_no_whole_sentinel_is_none(changes):
    assert tick_page.read_sentinel(executed(decide(inputs()), **changes)) is None


def test_two_sentinels_are_none():
    notebook = executed(decide(inputs()))
    twice_shown = copy.deepcopy(notebook)
    twice_shown["cells"][0]["outputs"] *= 2

    assert tick_page.read_sentinel(twice_shown) is None
    assert tick_page.read_sentinel(notebook | {"cells": notebook["cells"] * 2}) is None
    assert tick_page.read_sentinel({}) is None


# what was done

FILLED = {
    "order_id": "20261122T1015Z-BTC-B",
    "symbol": "BTCUSDT",
    "side": "BUY",
    "quantity": "0.000009",
    "limit": "105364.9",
    "feasible": "no, needs 5.00",
    "result": "FILLED",
    "reason": "FILLED",
    "text": "bought",
    "price": "104327.0",
    "notional": "0.93894300",
    "fee": "0.00093895",
}
DONE = {
    "tick_id": "20261122T1015Z",
    "state": "done",
    "acts": [FILLED],
    "cash": "9.06011805",
    "equity": "9.99901335",
    "positions": [{"symbol": "BTCUSDT", "quantity": "0.000009", "cost": "0.93988195"}],
    "ledger": {"seq": 41, "head": "ab" * 32},
    "sealed_at": "2026-11-22T10:15:05Z",
    "duration_s": "1.402",
}


def test_an_outcome_tells_order_price_and_what_is_left():
    text = tick_page.outcome_markdown(DONE)

    assert text.startswith("## What was done\n\n**Done: 1 of 1 order filled.**\n")
    assert (
        "| 20261122T1015Z-BTC-B | BUY 0.000009 BTC | 105,364.9 USDT | FILLED | 104,327.0 USDT "
        "| 0.93894300 USDT | 0.00093895 USDT |"
    ) in text
    assert "On paper only. Possible on the exchange? BTCUSDT: no, needs 5.00 USDT." in text
    assert "cash 9.06011805 USDT, equity 9.99901335 USDT, held: 0.000009 BTC at a cost of" in text
    assert "2026-11-22T10:15:05Z, 1.402 s after the start; ledger event 41" in text


def test_an_order_that_did_not_fill_says_why():
    outside = FILLED | {
        "result": "OUTSIDE_COLLAR", "reason": "OUTSIDE_COLLAR", "text": "best price <b>1</b>",
        "price": None, "notional": None, "fee": None,
    }  # fmt: skip
    refused = outside | {"result": "REFUSED", "reason": "GATE_STOPPED", "feasible": "yes"}

    markdown = tick_page.outcome_markdown(DONE | {"acts": [FILLED, outside, refused]})

    assert "Done: 1 of 3 orders filled." in shown(markdown)
    assert "20261122T1015Z-BTC-B: best price <b>1</b>." in shown(markdown)
    assert "| REFUSED (GATE\\_STOPPED) | - | - | - |" in markdown


@pytest.mark.parametrize(
    "state, why",
    [
        ("done", "Done. Nothing was ordered: the decision above allows no order (because)."),
        ("refused", "Refused. Nothing was ordered: the gate kept the order back (because)."),
        ("failed", "Failed. Nothing was ordered: the tick failed, and a failed tick changes nothing more"),
        ("missed", "Missed. Nothing was ordered: the tick began too late, and a late tick never trades"),
        ("odd", "Odd. Nothing was ordered: no reason is recorded (because)."),
    ],
)  # fmt: skip
def test_an_outcome_without_orders_says_why(state, why):
    nothing = DONE | {"state": state, "acts": [], "positions": [], "text": "because"}

    text = shown(tick_page.outcome_markdown(nothing | {"equity": "-", "duration_s": "-"}))

    assert why in text
    assert "equity -, held: nothing." in text
