"""What notebook 08 works out by hand, against golden inputs, the archive's own evidence and arithmetic."""

from __future__ import annotations

import gzip
import json
import logging
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.builders import a_portfolio, a_position
from tests.stage import PROJECT
from tgtqr_lib import journal
from tgtqr_lib.archive.opened import Archived, open_archived
from tgtqr_lib.archive.rerunning import Rerun, Result
from tgtqr_lib.canonical import dumps, plain
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.learn import reading_a_tick
from tgtqr_lib.learn.reading_a_tick import Again, OtherClose, Tick

GOLDEN = PROJECT / "tests" / "golden" / "ticks"


def golden(name: str) -> Tick:
    return Tick(open_archived(GOLDEN / f"{name}.ipynb.gz"), "golden")


def decided_from(inputs) -> Tick:
    """A tick whose archive is what `decide` makes of `inputs` now."""
    facts = {
        "tick_id": inputs.tick_id,
        "inputs": plain(inputs),
        "decision": plain(decide(inputs)),
        "digests": {},
    }
    return Tick(Archived(GOLDEN, {"cells": []}, facts, ""), "by hand")


ENTRY = golden("20250601T0000Z")  # BTC bought, ETH flat
EXITS = golden("20250601T0500Z")  # both sold


def cells(table, row: str) -> tuple[str, ...]:
    return next(tuple(cells) for name, *cells in table.rows if name == row)


def names() -> list[str]:
    return sorted(path.name.removesuffix(".ipynb.gz") for path in GOLDEN.glob("*.ipynb.gz"))


@pytest.mark.parametrize("name", names())
def test_every_golden_tick_comes_out_by_hand(name):
    tick = golden(name)

    assert list(reading_a_tick._disagreements(tick)) == []
    assert {one.code for one in reading_a_tick.by_hand(tick)} >= {
        "POSITION_LIMIT",
        "DAILY_BUDGET",
        "TOTAL_BUDGET",
        "DATA_STALE",
    }
    assert {row[-1] for row in reading_a_tick.verdicts(tick).rows} == {"yes"}


def test_a_figure_that_is_not_the_archives_is_named():
    facts = json.loads(json.dumps(ENTRY.sealed.facts))
    verdicts = facts["decision"]["choices"][0]["verdicts"]
    next(v for v in verdicts if v["code"] == "DAILY_BUDGET")["distance"] = "1.00"
    facts["decision"]["choices"][1]["signal"]["state"] = "LONG"
    facts["digests"]["inputs_sha256"] = "0" * 64
    sealed = Archived(ENTRY.sealed.path, ENTRY.sealed.notebook, facts, "")

    found = list(reading_a_tick._disagreements(Tick(sealed, "forged")))

    assert found == [
        "the signal of ETHUSDT",
        "DAILY_BUDGET of BTCUSDT",
        "the hash of the inputs",
    ]


def test_the_signal_by_hand_is_a_comparison_of_whole_numbers():
    # 3 x 5 against 4 + 6 + 5: a tie; a band of 10 % holds up to 1.1 x the mean
    assert reading_a_tick.state_by_hand([4, 6, 5], 0) == "HOLD"
    assert reading_a_tick.state_by_hand([4, 6, 6], 0) == "LONG"
    assert reading_a_tick.state_by_hand([4, 6, 4], 0) == "FLAT"
    assert reading_a_tick.state_by_hand([10, 10, 11], 1000) == "HOLD"


def test_the_signal_table_shows_both_sides():
    table = reading_a_tick.signal(ENTRY)

    closes = [Decimal(c) for c in plain(ENTRY.inputs)["markets"][0]["candles"]["close"].split()]
    assert cells(table, "60 × last close")[0] == f"{int(closes[-1] * 10 * 60):,}"
    assert cells(table, "sum of the 60 closes")[0] == f"{int(sum(closes[-60:]) * 10):,}"
    assert cells(table, "by hand") == cells(table, "in the archive") == ("LONG", "FLAT")


def test_the_order_table_is_the_worked_example_of_an_entry():
    # close 76,144.9 x 1.01 = 76,906.349, down to 76,906.3; 0.95 / 0.0769063 = 12.35 lots; 12 x 0.0769063 = 0.9228756;
    # 0.1 % of it is 0.0009228756, up to 0.00092288; together 0.92379848
    table = reading_a_tick.order(ENTRY)

    assert cells(table, "limit: down to the price step")[0] == "76,906.3"
    assert cells(table, "lots in 0.95, rounded down")[0] == "12"
    assert cells(table, "quantity × limit")[0] == "0.9228756"
    assert cells(table, "fee of 10 bps, rounded up")[0] == "0.00092288"
    assert cells(table, "reserve")[0] == "0.92379848"
    assert cells(table, "in the archive") == (
        "BUY 0.000012 at most 76906.3",
        "no order (ALREADY_FLAT)",
    )


def test_an_allowed_entry_counts_for_the_next_symbol():
    found = {(f.symbol, f.code): f for f in reading_a_tick.by_hand(ENTRY)}

    # nothing is wanted of ETH, but 0.92379848 of the 10.00 are spoken for
    assert found["ETHUSDT", "TOTAL_BUDGET"].value == Decimal("9.07620152")
    assert found["BTCUSDT", "POSITION_LIMIT"].distance == Decimal("0.07620152")


def test_every_line_of_the_inputs_is_explained():
    table = reading_a_tick.lines(ENTRY)

    sizes = {name: int(size.replace(",", "")) for name, size, *_ in table.rows}
    assert [*sizes] == sorted(json.loads(ENTRY.text))
    # each line is "key":value; with its commas and the two braces that is the whole text
    around = sum(len(name) + 3 for name in sizes) + len(sizes) - 1 + 2
    assert sum(sizes.values()) + around == len(ENTRY.text.encode())
    assert all(meaning for *_, meaning in table.rows)


def test_the_hash_of_the_decision_is_the_sealed_one():
    table = reading_a_tick.decision_digest(EXITS)

    assert cells(table, "equal") == ("yes",)
    assert cells(table, "decided now, by hashlib") == (EXITS.digests["decision_sha256"],)


# other closes


@pytest.mark.parametrize("tick", [ENTRY, EXITS])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_the_signal_flips_where_it_is_said_to(tick, symbol):
    flat_to, long_from = reading_a_tick.flip_steps(tick, symbol)

    def state(steps):
        changed = reading_a_tick.with_close(tick.inputs, symbol, steps)
        return str(decide(changed).choice(symbol).signal.state)

    assert [state(flat_to), state(long_from)] == ["FLAT", "LONG"]
    assert all(state(steps) == "HOLD" for steps in range(flat_to + 1, long_from))
    assert long_from - flat_to in (1, 2)  # without a band only a tie lies between


def test_with_a_band_it_holds_between_the_edges():
    plan = replace(ENTRY.inputs.plan, parameters={"window": 60, "band_bps": 5})
    tick = decided_from(replace(ENTRY.inputs, plan=plan))

    flat_to, long_from = reading_a_tick.flip_steps(tick, "BTCUSDT")
    rows = reading_a_tick.edges(tick, "BTCUSDT").rows

    # 10 bps and a little of 760,000 steps
    assert 760 < long_from - flat_to < 790
    assert [row[2] for row in rows[1:]] == ["FLAT", "HOLD", "HOLD", "LONG"]
    assert rows[2][3] == "SIGNAL_IN_BAND"


def test_dragging_the_close_decides_again():
    other = OtherClose(ENTRY, "BTCUSDT")

    assert "Order: BUY 0.000012 at most 76906.3" in other.draw(0)
    assert "ALREADY_FLAT" in other.draw(-20) and "No order" in other.draw(-20)
    assert "DATA_TICKER" in other.draw(250)  # the quote stayed where it was
    assert decide(other.at(0)).choices == ENTRY.decision.choices
    with pytest.raises(DomainError, match="expected 1 or more"):
        reading_a_tick.with_close(ENTRY.inputs, "BTCUSDT", 0)


def test_an_entry_is_refused_when_the_close_leaves_the_ticker():
    rows = reading_a_tick.refused_from(ENTRY, "BTCUSDT").rows

    last = ENTRY.view("BTCUSDT").quote.last
    allowed, refused = (Decimal(row[0].replace(",", "")) for row in rows[1:])
    assert allowed / last - 1 <= Decimal("0.02") < refused / last - 1
    assert refused - allowed == Decimal("0.1")
    assert rows[1][4].startswith("BUY") and rows[2][3] == "DATA_TICKER"


def test_where_something_is_held_there_is_no_entry_to_refuse():
    held = a_portfolio(a_position("BTCUSDT"), cash="9.06")
    tick = decided_from(replace(ENTRY.inputs, portfolio=held))

    rows = reading_a_tick.refused_from(tick, "BTCUSDT").rows

    assert [row[3] for row in rows] == ["ALREADY_LONG", "ALREADY_LONG"]


def test_a_tie_holds_and_its_neighbours_do_not():
    rows = reading_a_tick.around_a_tie(ENTRY, "BTCUSDT").rows

    tie = reading_a_tick.tied(ENTRY, "BTCUSDT").market("BTCUSDT").candles.close[-60:].tolist()
    assert 60 * tie[-1] == sum(tie)
    assert [row[2:4] for row in rows[1:]] == [
        ("HOLD", "SIGNAL_TIE"),
        ("LONG", "SIGNAL_LONG"),
        ("FLAT", "ALREADY_FLAT"),
    ]


# which tick, and the archive


@pytest.mark.slow
def test_a_home_without_ticks_gets_a_real_one_that_runs_again(tmp_path):
    tick = reading_a_tick.a_tick(home=Home(tmp_path / "nothing"))
    again = reading_a_tick.again(tick)

    assert not (tmp_path / "nothing").exists()
    assert logging.getLogger(journal.LOGGER).handlers == []  # its log went with its folder
    assert tick.decision.orders and tick.symbol == "BTCUSDT"
    assert tick.sealed.altered() == [] and again.rerun.result is Result.MATCH
    assert cells(again.table, "values that differ") == ("0",)

    # one digit, also of a close that no mean needs, is seen twice: in the cell and in its hash
    found = [words for name, words in reading_a_tick.tamper(tick).rows if name == "found"]
    assert len(found) == 2
    assert "BTCUSDT" in found[0] and "the metadata have" in found[0]
    assert "hash to" in found[1]
    assert cells(reading_a_tick.tamper(tick), "signals decided from it") == ("the same",)

    text = str(reading_a_tick.answer(tick, again))
    assert "9 verdicts and both hashes came out as they are" in text
    assert "it says MATCH" in text and "BTCUSDT would have said FLAT" in text


def test_a_tick_that_does_not_run_again_is_not_called_proven():
    drifted = Again(Rerun(ENTRY.inputs.tick_id, GOLDEN, Result.DECISION_DRIFT))

    text = str(reading_a_tick.answer(ENTRY, drifted))

    assert "it says DECISION-DRIFT. So the code of today is not the code of then" in text
    assert "That shows" not in text


def put(home: Home, *ticks: str) -> None:
    for name in ticks:
        folder = home.ticks / name[:4] / name[4:6] / name[6:8]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.ipynb.gz").write_bytes((GOLDEN / f"{name}.ipynb.gz").read_bytes())


def test_the_newest_tick_with_an_order_is_taken(tmp_path):
    home = Home(tmp_path)
    put(home, "20250601T0000Z", "20250601T0100Z", "20250601T0500Z", "20250601T0600Z")

    assert reading_a_tick.a_tick(home=home).inputs.tick_id == "20250601T0500Z"
    assert reading_a_tick.a_tick("20250601T0100Z", home).inputs.tick_id == "20250601T0100Z"


def test_without_an_order_the_newest_is_taken(tmp_path):
    home = Home(tmp_path)
    put(home, "20250601T0100Z", "20250601T0200Z")

    assert reading_a_tick.a_tick(home=home).inputs.tick_id == "20250601T0200Z"


def test_a_home_without_ticks_of_its_own_shows_one_of_its_demo(tmp_path):
    home = Home(tmp_path)
    put(Home(home.outputs / "demo"), "20250601T0000Z", "20250601T0500Z")

    tick = reading_a_tick.a_tick(home=home)

    assert (tick.inputs.tick_id, tick.source) == ("20250601T0500Z", "from the last demo")
    assert reading_a_tick.a_tick("20250601T0000Z", home).inputs.tick_id == "20250601T0000Z"


def put_as(home: Home, strategy: str, *ticks: str) -> None:
    """Golden ticks as if `strategy` had decided them."""
    put(home, *ticks)
    for name in ticks:
        path = next(home.ticks.rglob(f"{name}*"))
        notebook = json.loads(gzip.decompress(path.read_bytes()))
        inputs = json.loads(dumps(golden(name).inputs))
        inputs["plan"] |= {"strategy": strategy, "parameters": {}}
        notebook["metadata"]["tgtqr"]["inputs"] = inputs
        path.write_bytes(gzip.compress(json.dumps(notebook).encode()))


@pytest.mark.parametrize(
    "strategy, why",
    [
        (
            "ma_trend_filtered",
            "compares a close with a mean, but the order book and funding have a say in it, too",
        ),
        ("funding_carry_paper", "decides by funding, not by a mean of closes"),
        ("buy_and_hold", "compares no close with a mean"),
    ],
)
def test_a_tick_of_another_strategy_is_refused_with_the_true_reason(tmp_path, strategy, why):
    home = Home(tmp_path)
    put_as(home, strategy, "20250601T0000Z")

    with pytest.raises(DomainError) as refused:
        reading_a_tick.a_tick("20250601T0000Z", home)

    assert f"tick 20250601T0000Z: strategy {strategy} {why}; what is worked" in str(refused.value)
    assert "nothing else, as ma_trend does it" in str(refused.value)


def test_ticks_of_other_strategies_are_counted_when_one_is_made(tmp_path, monkeypatch):
    home = Home(tmp_path)
    put_as(home, "funding_carry_paper", *names()[:3])
    put_as(Home(home.outputs / "demo"), "ma_trend_filtered", *names()[3:5])
    path = next(home.ticks.rglob(f"{names()[2]}*"))
    path.write_bytes(path.read_bytes()[:500])
    monkeypatch.setattr(reading_a_tick, "made", lambda why: replace(ENTRY, source=why))

    assert reading_a_tick.a_tick(home=home).source == (
        "because of the 5 archived ticks looked at none can be explained here (2 of "
        "funding_carry_paper, 2 of ma_trend_filtered, 1 that cannot be read): what is worked out by hand "
        "is a close compared with a mean and nothing else, as ma_trend does it"
    )


def test_without_any_tick_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_a_tick, "made", lambda why: replace(ENTRY, source=why))

    found = reading_a_tick.a_tick(home=Home(tmp_path)).source

    assert found == "because there is no archived tick"


def test_a_damaged_tick_is_passed_over(tmp_path):
    home = Home(tmp_path)
    put(home, "20250601T0000Z", "20250601T0500Z")
    path = next(home.ticks.rglob("20250601T0500Z*"))
    path.write_bytes(path.read_bytes()[:500])

    assert reading_a_tick.a_tick(home=home).inputs.tick_id == "20250601T0000Z"


def test_a_tick_that_lacks_minutes_is_not_explained(tmp_path):
    inputs = json.loads(dumps(ENTRY.inputs))
    inputs["markets"][0]["problems"] = [{"code": "CANDLES_UNREADABLE", "text": "by hand"}]
    facts = {**ENTRY.sealed.facts, "inputs": inputs}
    sealed = Archived(tmp_path, ENTRY.sealed.notebook, facts, "")

    assert reading_a_tick._unfit(sealed) == "BTCUSDT was not seen in whole"
    assert reading_a_tick._unfit(ENTRY.sealed) == ""


def test_an_unknown_symbol_or_tick_is_told(tmp_path):
    with pytest.raises(DomainError, match="expected BTCUSDT, ETHUSDT"):
        ENTRY.view("XRPUSDT")
    with pytest.raises(DomainError, match="has no notebook"):
        reading_a_tick.a_tick("20250601T0000Z", Home(tmp_path))
