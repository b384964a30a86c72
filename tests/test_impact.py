"""Impact: what past ticks would have decided with other settings, worked out by hand."""

import json
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from tests import builders
from tests.builders import a_portfolio, a_position, candles, closes_for
from tests.stage import decide_without_a_kernel, files, moment, rise
from tgtqr_lib import archive, controls
from tgtqr_lib.canonical import dumps
from tgtqr_lib.clock import tick_id
from tgtqr_lib.controls import Change, Proposal
from tgtqr_lib.decide import decide
from tgtqr_lib.freeze import freeze
from tgtqr_lib.impact import NOTE, Outcome, impact
from tgtqr_lib.settings import Settings

DAY_BEFORE, AT = moment("2026-11-21T10:15"), moment("10:15")


def proposal(changes: dict, *, loosen=False, now=None) -> Proposal:
    return controls.propose(now or Settings(), changes, loosen=loosen)


def seal(home, inputs) -> None:
    """Archive a tick with these inputs, as the runner does."""
    path = archive.running_path(home, inputs.tick_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    decide_without_a_kernel(None, path, {"inputs": dumps(inputs)}, None, cell_timeout_s=1)
    outcome = {
        "tick_id": inputs.tick_id, "state": "done", "reason": "", "text": "", "acts": [], "account": "paper-1",
        "cash": "10.00", "equity": "10.00", "positions": [], "sealed_at": "-", "duration_s": "1",
        "ledger": {"seq": 1, "head": "ab"},
    }  # fmt: skip
    archive.seal(home, archive.read_executed(path), outcome, (1, "ab"))


def a_tick(boundary=AT, views=None, **changes):
    """The builders' inputs, moved to `boundary`: BTC alone unless views are given."""
    views = views or (builders.a_view("BTCUSDT", seen=rising(boundary)),)
    at = boundary + timedelta(seconds=3)
    quotes = [
        builders.replace(v, quote=builders.a_quote(builders.CLOSES[v.symbol], v.symbol, at=at))
        for v in views
    ]
    changes.setdefault("health", builders.healthy(last_beat_at=at))
    return builders.inputs(
        *quotes, tick_id=tick_id(boundary), boundary=boundary, exchange_time=at, **changes
    )


def rising(boundary=AT, rows=61):
    """`rows` closes; the last is 104321.7, those before a thousandth lower."""
    return candles(closes_for("LONG", "104321.7", rows), until=boundary)


def only(found):
    (one,) = found.changed
    return one


# closes 104217.4 (59 of the last 60) and 104321.7: mean 104219.138..., the last close 9.8404 bps above it


@pytest.mark.parametrize("band, differs", [(9, False), (10, True)])
def test_a_band_wider_than_the_distance_holds_instead_of_buying(home, band, differs):
    seal(home, a_tick())
    found = impact(home, DAY_BEFORE, AT, proposal({"parameters.band_bps": band}))
    assert (found.ticks, found.ticks_changed, found.absent) == (1, int(differs), 95)
    if differs:
        one = only(found)
        assert (one.tick_id, one.symbol) == ("20261122T1015Z", "BTCUSDT")
        # 104321.7 x 1.01 = 105364.917; 0.95 / 0.105364... = 9 lots
        bought = Outcome("LONG", "BUY 0.000009 at most 105364.9", True, "SIGNAL_LONG")
        assert one.before == bought
        assert one.after == Outcome("HOLD", None, False, "SIGNAL_IN_BAND")


def test_a_smaller_order_target_buys_fewer_lots(home):
    seal(home, a_tick())
    # 0.5 / (105364.9 x 0.000001) = 4.745: four lots
    one = only(impact(home, DAY_BEFORE, AT, proposal({"order_target_usdt": "0.5"})))
    assert one.after == Outcome("LONG", "BUY 0.000004 at most 105364.9", True, "SIGNAL_LONG")


@pytest.mark.parametrize("limit, differs", [("0.94923239", False), ("0.94923238", True)])
def test_a_limit_below_the_cost_refuses_the_entry(home, limit, differs):
    # 9 x 0.1053649 = 0.9482841 and a fee of 0.0009482841, rounded up: 0.94923239
    seal(home, a_tick())
    found = impact(home, DAY_BEFORE, AT, proposal({"limits.position_usdt": limit}))
    assert found.ticks_changed == int(differs)
    if differs:
        assert only(found).after == Outcome(
            "LONG", "BUY 0.000009 at most 105364.9", False, "POSITION_LIMIT"
        )


def test_a_loosened_limit_lets_pass_what_was_refused(home):
    tight = Settings(limits={"position_usdt": "0.5"})
    seal(home, a_tick(limits=builders.limits(position="0.5")))
    change = proposal({"limits.position_usdt": "1"}, loosen=True, now=tight)
    one = only(impact(home, DAY_BEFORE, AT, change))
    assert (one.before.reason, one.after.reason) == ("POSITION_LIMIT", "SIGNAL_LONG")


def test_each_tick_keeps_the_portfolio_it_had_and_that_is_said(home):
    # not held at 10:00: bought either way; held at 10:15: no order either way, whatever 10:00 had become
    seal(home, a_tick(moment("10:00")))
    held = a_portfolio(a_position("BTCUSDT", "0.000009", "0.94"), cash="9.06")
    seal(home, a_tick(portfolio=held))
    found = impact(home, DAY_BEFORE, AT, proposal({"order_target_usdt": "0.5"}))
    assert [one.tick_id for one in found.changed] == ["20261122T1000Z"]
    assert "portfolio it had" in NOTE and found.plain()["note"] == NOTE


def test_a_tick_counts_once_and_its_symbols_are_told_apart(home):
    views = (
        builders.a_view("BTCUSDT", seen=rising()),
        builders.a_view(
            "ETHUSDT", seen=candles(closes_for("FLAT", "2511.03", decimals=2), "ETHUSDT")
        ),
    )
    seal(home, a_tick(views=views))
    found = impact(home, DAY_BEFORE, AT, proposal({"parameters.band_bps": 50}))
    told = [(one.symbol, one.before.reason, one.after.reason) for one in found.changed]
    assert told == [
        ("BTCUSDT", "SIGNAL_LONG", "SIGNAL_IN_BAND"),
        ("ETHUSDT", "ALREADY_FLAT", "SIGNAL_IN_BAND"),
    ]
    assert found.ticks_changed == 1


def test_the_span_begins_after_since_and_ends_with_until(home):
    for text in ("09:45", "10:00", "10:15", "10:30"):
        seal(home, a_tick(moment(text)))
    found = impact(home, moment("09:45"), moment("10:29:59"), proposal({"parameters.band_bps": 50}))
    assert [one.tick_id for one in found.changed] == ["20261122T1000Z", "20261122T1015Z"]
    assert (found.ticks, found.absent) == (2, 0)


# --- longer lookbacks ---


def history(changes: dict[int, str], usual="100000.0", minutes=600) -> list[Decimal]:
    """Closes of the minutes before 10:15; `changes` maps minutes before it to a price from there on."""
    closes = [Decimal(usual)] * minutes
    for back in sorted(changes, reverse=True):
        closes[minutes - back :] = [Decimal(changes[back])] * back
    return closes


def part(closes, boundary, rows=120, **options):
    """What the tick at `boundary` saw of `closes`, which end at 10:15."""
    end = len(closes) - int((AT - boundary).total_seconds() // 60)
    return candles(closes[end - rows : end], until=boundary, **options)


def seal_all(home, closes, boundaries, **options):
    for text in boundaries:
        boundary = moment(text)
        view = builders.a_view("BTCUSDT", seen=part(closes, boundary, **options))
        seal(home, a_tick(boundary, (view,)))


QUARTERS = ["09:00", "09:15", "09:30", "09:45", "10:00", "10:15"]
# 104250.0 up to an hour and a half ago, then 104200.0, and 104321.7 in the last minute: above the mean of 60
# always; of 180 minutes: 90 x 104250.0 + 89 x 104200.0 + 104321.7 is 104225.95 a minute, so LONG as well
LONGER = {90: "104200.0", 1: "104321.7"}


def test_a_longer_window_is_decided_on_the_candles_of_the_ticks_before(home):
    # of 180 minutes, 90 at 104900.0: mean (90 x 104900 + 89 x 104200 + 104321.7) / 180 = 104550.67: FLAT
    closes = history({600: "104900.0"} | LONGER)
    seal_all(home, closes, QUARTERS)
    found = impact(home, moment("10:00"), AT, proposal({"parameters.window": 180}))
    one = only(found)
    assert (one.tick_id, one.before.signal, one.after.signal) == ("20261122T1015Z", "LONG", "FLAT")
    assert one.after.reason == "ALREADY_FLAT" and found.untold == {}


def test_the_same_longer_window_stays_long_when_the_older_minutes_were_cheaper(home):
    seal_all(home, history({600: "104250.0"} | LONGER), QUARTERS)
    found = impact(home, moment("10:00"), AT, proposal({"parameters.window": 180}))
    assert (found.ticks, found.changed, found.untold) == (1, (), {})


def test_what_the_archive_does_not_hold_cannot_be_told(home):
    # the oldest tick, 09:00, saw from 07:00 on; 180 minutes and the one before them begin at 07:14 for 10:15,
    # at 06:59 for 10:00
    seal_all(home, history(LONGER), QUARTERS)
    found = impact(home, moment("09:45"), AT, proposal({"parameters.window": 180}))
    assert found.ticks == 1
    assert found.untold == {
        "20261122T1000Z": "BTCUSDT: 181 minutes are needed, the ticks up to it have seen 180"
    }
    assert found.plain()["cannot_be_told"][0]["tick_id"] == "20261122T1000Z"


def test_a_tick_never_sees_a_candle_that_is_later_than_itself(home):
    # at 10:00 all is 104200.0, a tie for any window; what follows until 10:15 would make it none
    closes = history({15: "90000.0", 1: "104321.7"}, usual="104200.0")
    seal_all(home, closes, QUARTERS)
    found = impact(home, moment("09:45"), moment("10:00"), proposal({"parameters.window": 150}))
    assert (found.ticks, found.changed) == (1, ())


def test_a_stretch_that_no_tick_saw_is_not_bridged(home):
    # 10:15 saw from 08:15 on; the tick before it, 08:00, until 08:00
    seal_all(home, history(LONGER), ["07:30", "07:45", "08:00", "10:15"])
    found = impact(home, moment("10:00"), AT, proposal({"parameters.window": 180}))
    assert found.untold == {
        "20261122T1015Z": "BTCUSDT: 181 minutes are needed, the ticks up to it have seen 120"
    }


def test_a_minute_that_was_missing_then_is_a_gap_also_for_the_longer_window(home):
    closes = history(LONGER)
    # 07:59, an hour and 60 minutes before 10:00 - 1: rows from the start of what 09:45 and before saw
    for text in QUARTERS:
        boundary = moment(text)
        seen = part(closes, boundary)
        seen = seen[np.flatnonzero(seen.open_ms != int(moment("07:59").timestamp() * 1000))]
        seal(home, a_tick(boundary, (builders.a_view("BTCUSDT", seen=seen),)))
    found = impact(home, moment("10:00"), AT, proposal({"parameters.window": 180}))
    assert only(found).after.reason == "DATA_GAP" and only(found).after.signal == "HOLD"


def test_ticks_in_finer_and_coarser_steps_join_exactly(home):
    closes = history({600: "104900.0"} | LONGER)
    for i, text in enumerate(QUARTERS):
        boundary = moment(text)
        view = builders.a_view("BTCUSDT", seen=part(closes, boundary, decimals=1 + i % 3))
        seal(home, a_tick(boundary, (view,)))
    found = impact(home, moment("10:00"), AT, proposal({"parameters.window": 180}))
    assert only(found).after.signal == "FLAT"


def test_a_shorter_window_needs_no_other_tick(home):
    # of the last 2 minutes: 104217.4 and 104321.7 - LONG as before
    seal(home, a_tick())
    found = impact(home, DAY_BEFORE, AT, proposal({"parameters.window": 2}))
    assert (found.ticks, found.changed) == (1, ())


# --- what cannot be told ---


def with_facts(text, **changes):
    notebook = json.loads(text)
    notebook["metadata"]["tgtqr"].update(changes)
    return json.dumps(notebook)


def sealed_file(home):
    return archive.sealed_path(home, "20261122T1015Z")


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: "[]", "cannot be read"),
        (lambda text: json.dumps({"metadata": {}}), "cannot be read"),
        (lambda text: json.dumps({"metadata": {"tgtqr": None}}), "cannot be read"),
        (lambda text: with_facts(text, decision=None), "ended without a decision"),
        (lambda text: with_facts(text, inputs={"schema": 9}), "schema 9 is unknown"),
    ],
)  # fmt: skip
def test_a_notebook_that_tells_nothing_is_named_with_the_reason(home, spoil, why):
    seal(home, a_tick())
    sealed_file(home).chmod(0o644)
    sealed_file(home).write_text(spoil(sealed_file(home).read_text("utf-8")), "utf-8")
    found = impact(home, DAY_BEFORE, AT, proposal({"parameters.band_bps": 50}))
    assert found.ticks == 0 and why in found.untold["20261122T1015Z"]


def test_parameters_of_another_strategy_cannot_be_told(home):
    seal(home, a_tick())
    change = Proposal("other", (Change("parameters.window", "60", "30"),))
    found = impact(home, DAY_BEFORE, AT, change)
    assert found.untold == {"20261122T1015Z": "it ran strategy ma_trend, not other"}


def test_an_empty_archive_has_no_impact(home):
    found = impact(home, DAY_BEFORE, AT, proposal({"parameters.window": 30}))
    assert (found.ticks, found.changed, found.untold, found.absent) == (0, (), {}, 96)


# --- against the machine itself ---


def test_looking_at_the_impact_changes_nothing(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    before = files(stage.home.root)
    impact(stage.home, DAY_BEFORE, AT, proposal({"parameters.window": 100}))
    assert files(stage.home.root) == before


def test_impact_foretells_what_the_ticks_then_really_signal(stage):
    """Each tick with the usual window, and its very minutes decided with 150 in force; impact knows the former."""
    stairs = ["98000.0", "99000.0", "100000.0", "100500.0", "100400.0", "100450.0", "100300.0"]
    for i, price in enumerate(stairs):
        since = moment("08:03") + timedelta(minutes=31 * i)
        stage.market.set("BTCUSDT", since.strftime("%H:%M"), price)
    stage.arm("10:14")
    usual = stage.desk.settings
    longer = usual.model_copy(update={"parameters": {"window": 150}})
    was, real = {}, {}
    for i in range(10):
        boundary = AT + timedelta(minutes=15 * i)
        stage.beat((boundary - timedelta(minutes=1)).strftime("%H:%M"))
        result = stage.tick(boundary.strftime("%H:%M"))
        was[result.tick_id] = result.decision.choice("BTCUSDT").signal.state
        stage.desk.settings = longer
        decision = decide(freeze(stage.desk, boundary))
        real[result.tick_id] = decision.choice("BTCUSDT").signal.state
        stage.desk.settings = usual
    until = AT + timedelta(minutes=15 * 9)
    found = impact(stage.home, DAY_BEFORE, until, proposal({"parameters.window": 150}))
    # the tick of 10:15 saw from 08:15 on, so the 151 minutes are there from 10:46 on
    assert list(found.untold) == ["20261122T1015Z", "20261122T1030Z", "20261122T1045Z"]
    expected = {
        name: (was[name], real[name])
        for name in was
        if name not in found.untold and was[name] != real[name]
    }
    told = {
        one.tick_id: (one.before.signal, one.after.signal)
        for one in found.changed
        if one.symbol == "BTCUSDT" and one.before.signal != one.after.signal
    }
    assert told == expected and len(told) >= 2
