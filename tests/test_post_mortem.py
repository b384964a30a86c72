"""A look back at a tick: which one, what would have changed it, what came of it.

The market: BTC stands at 100,000.0, closes once at 100,100.0 before the tick of 10:15, and stands at 100,300.0
from 10:20 on. The book is half a basis point to each side, rounded against us: 100,105.1 to buy at 10:15,
100,294.9 to sell at 10:41.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from tests.stage import decide_without_a_kernel, files, minutes, moment, open_stage, rise
from tgtqr_lib import gate, tick
from tgtqr_lib.decide import decide
from tgtqr_lib.domain import Candles, DomainError
from tgtqr_lib.home import Home
from tgtqr_lib.market.candles import Lake
from tgtqr_lib.post_mortem import PostMortem, afterwards, case, flips, open_case, what_ifs
from tgtqr_lib.post_mortem.neighbours import judged
from tgtqr_lib.what_if import WhatIf

NAMES = ["headline", "known", "done", "rules", "edges", "what_ifs", "course", "costs", "events"]
BOUGHT, QUIET = "20261122T1015Z", "20261122T1030Z"
SALE = "20261122T1041Z-BTC-X"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A home that bought at 10:15, held on at 10:30, was stopped at 10:40 and sold by the beat after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tick, "run_notebook", decide_without_a_kernel)
        with open_stage(tmp_path_factory.mktemp("stopped") / "home") as stage:
            rise(stage)
            stage.arm()
            assert stage.tick("10:15").acts[0].result == "FILLED"
            stage.market.set("BTCUSDT", "10:20", "100300.0")
            for at in minutes("10:16", 14):
                stage.beat(at)
            assert stage.tick("10:30").state == "done"
            for at in minutes("10:31", 9):
                stage.beat(at)
            stage.at("10:40:30")
            gate.stop(stage.home, "enough", "the owner")
            assert [act.result for act in stage.beat("10:41:03").sales] == ["FILLED"]
            yield stage.home


@pytest.fixture
def copied(stopped, tmp_path):
    """A copy of it that a test may spoil."""
    return Home(shutil.copytree(stopped.root, tmp_path / "copy"))


# which tick


@pytest.mark.parametrize(
    "which, name",
    [
        ("", BOUGHT),  # the newest with an order; a stop's own sale is none of a tick's
        (BOUGHT, BOUGHT),
        (QUIET, QUIET),
        ("2026-11-22T10:29:59", BOUGHT),
        ("2026-11-22T10:30:00Z", QUIET),
        ("2026-11-23", QUIET),
        ("stop", QUIET),
    ],
)
def test_a_word_means_one_tick(stopped, which, name):
    assert open_case(stopped, which).tick_id == name


@pytest.mark.parametrize(
    "which, words",
    [
        ("20261122T1045Z", "has no notebook"),
        ("2026-11-22T10:14:59", "no tick at or before"),
        ("yesterday", "not ISO 8601"),
    ],
)
def test_an_unknown_one_is_named(stopped, which, words):
    with pytest.raises(DomainError, match=words):
        open_case(stopped, which)


def test_without_a_stop_there_is_no_newest_stop(stage):
    stage.arm()
    stage.tick("10:15")

    with pytest.raises(DomainError, match="knows of no stop"):
        open_case(stage.home, "stop")
    assert open_case(stage.home).tick_id == BOUGHT  # no order anywhere: the newest


def test_a_stop_belongs_to_the_tick_before_it(stopped):
    assert open_case(stopped, BOUGHT).stop is None
    assert open_case(stopped, QUIET).stop.body["reason"] == "enough"


def test_a_home_without_a_tick_says_so_and_stays_as_it_is(tmp_path):
    home = Home(tmp_path / "nothing")

    seen = PostMortem(home)

    assert seen.case is None and seen.headline.markdown.startswith("No tick yet")
    names = NAMES[1:]
    assert [getattr(seen, name).markdown for name in names] == [""] * len(names)
    assert list(seen.prices) == list(seen.picture) == []
    assert not home.root.exists()


# what would have changed it


def test_the_edge_is_the_mean_of_the_closes_before_the_last(stopped):
    btc, eth = flips(open_case(stopped, BOUGHT))

    # 60 c > 59 * 100,000 + c just when c > 100,000: 100 below the close, 100 / 100,100 of it
    assert btc.long_above == btc.flat_below == btc.edge == 100_000
    assert btc.distance == 100 and btc.distance_bps == Fraction(1_000_000, 100_100)
    assert eth.distance == 0  # a tie


def test_with_a_band_the_edges_lie_further_out(stage):
    rise(stage)
    stage.configure("[parameters]\nband_bps = 5")
    stage.arm()
    stage.tick("10:15")

    btc = flips(open_case(stage.home))[0]

    # 600,000 c > 10,005 (5,900,000 + c), so c > 10,005 * 5,900,000 / 589,995, and mirrored
    assert btc.long_above == Fraction(10_005 * 5_900_000, 589_995)
    assert btc.flat_below == Fraction(9_995 * 5_900_000, 590_005)
    assert btc.edge == btc.long_above


def test_the_neighbours_that_decide_otherwise_are_these(stopped):
    found = what_ifs(open_case(stopped, BOUGHT))

    differ = {one.change: (one.after.signal, one.after.order, one.after.reason)
              for one in found if one.differs}  # fmt: skip
    assert differ == {
        # 600,000 * 100,100 is not above 10,010 * 6,000,100
        "band_bps=10": ("HOLD", None, "SIGNAL_IN_BAND"),
        # 0.475 / 101,101 is 4.69 lots
        "order_target_usdt=0.475": ("LONG", "BUY 0.000004 at most 101101.0", "SIGNAL_LONG"),
        # 100,100 * 1.005
        "collar_bps=50": ("LONG", "BUY 0.000009 at most 100600.5", "SIGNAL_LONG"),
        "limits.position_usdt=0.50": ("LONG", "BUY 0.000009 at most 101101.0", "POSITION_LIMIT"),
    }
    assert {one.symbol for one in found if one.differs} == {"BTCUSDT"}
    windows = [one for one in found if one.change.startswith("window=")]
    assert {one.change for one in windows} == {f"window={n}" for n in (50, 55, 59, 61, 65, 70)}
    assert all(one.before.order == "BUY 0.000009 at most 101101.0" for one in found[::2])


def test_a_lookback_that_no_tick_has_seen_cannot_be_told(stopped):
    (btc, _) = judged(open_case(stopped, BOUGHT), WhatIf(parameters={"window": 300}))

    assert btc.after is None and not btc.differs
    assert "301 minutes are needed" in btc.why


def test_a_longer_lookback_is_lent_by_the_ticks_before(stopped):
    (btc, _) = judged(open_case(stopped, QUIET), WhatIf(parameters={"window": 130}))

    # the tick of 10:30 saw 120 minutes, that of 10:15 those from 08:15 on: 135 in all
    assert btc.after is not None and btc.after.signal == "LONG"


def test_a_value_out_of_range_is_a_sentence(stopped):
    (btc, _) = judged(open_case(stopped), WhatIf(parameters={"window": 1}))

    assert btc.after is None and "out of range" in btc.why


# what came of it


def test_the_minutes_after_come_from_later_ticks_and_then_from_beats(stopped):
    after = afterwards(open_case(stopped, BOUGHT), 60)

    btc = after.courses[0]
    # the tick of 10:30 saw 10:15 to 10:29; beats from 10:31:03 to 10:41:03 saw 10:30 to 10:40, but none
    # was at 10:40:03
    assert btc.source == "later ticks and watch beats"
    assert [c.at for c in btc.closes][:2] == [moment("10:16"), moment("10:17")]
    assert len(btc.closes) == 15 + 10 and btc.closes[-1].at == moment("10:41") == after.known_to
    assert btc.start == Decimal("100100.0")
    boundary = moment("10:15")
    assert [btc.after(m, boundary) for m in (5, 6, 30)] == [
        Decimal("100100.0"), Decimal("100300.0"), None,
    ]  # fmt: skip


def test_the_lake_comes_first_and_minutes_stop_where_they_were_asked_to(copied):
    start = int(moment("10:15").timestamp() * 1000)
    open_ms = [start + 60_000 * i for i in range(90)]
    prices = [1_111_110 + i for i in range(90)]
    columns = dict.fromkeys(("open", "high", "low", "close"), prices)
    seen = Candles("BTCUSDT", 1, open_ms, **columns, volume=[1] * 90)
    Lake(copied.candles).write(seen, "an exchange")

    after = afterwards(open_case(copied, BOUGHT), 60)

    btc, eth = after.courses
    assert btc.source == "the lake" and len(btc.closes) == 60
    assert btc.closes[-1].price == Decimal("111116.9")  # the 60th
    assert eth.source == "later ticks and watch beats"


def test_a_purchase_is_costed_and_followed_to_the_safety_sale(stopped):
    after = afterwards(open_case(stopped, BOUGHT), 60)

    bought, sold = after.costs
    # 0.000009 * 100,105.1 = 0.9009459, its thousandth rounded up; the book's middle is the close
    assert (bought.fee, bought.half_spread) == (Decimal("0.00090095"), Decimal("0.0000459"))
    assert bought.against_mid == bought.against_close == Decimal("0.0000459")
    # 0.000009 * 100,294.9 = 0.9026541; no tick decided it, so there is no close to compare with
    assert sold.fill.order_id == SALE
    assert (sold.fee, sold.half_spread) == (Decimal("0.00090266"), Decimal("0.0000459"))
    assert sold.against_close is None
    (stake,) = after.stakes
    # 0.9026541 - 0.00090266 - (0.9009459 + 0.00090095)
    assert stake.made == Decimal("-0.00009541") and stake.left == 0
    assert stake.closed == SALE and stake.by_safety
    assert stake.closed_at == moment("10:41:03")


def test_what_is_held_still_is_worth_the_last_close_within_the_minutes(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:17", "100500.0")
    for at in minutes("10:16", 5):
        stage.beat(at)

    (short,) = afterwards(open_case(stage.home), 2).stakes
    (longer,) = afterwards(open_case(stage.home), 60).stakes

    # 0.000009 * 100,100 - 0.90184685, and at 100,500
    assert short.made == Decimal("-0.00094685") and short.mark.at == moment("10:17")
    assert longer.made == Decimal("0.00265315") and longer.closed is None


def test_the_next_purchase_is_another_position(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage.market.set("BTCUSDT", "10:16", "99900.0")
    stage.beat("10:16:03")
    stage.beat("10:29:03")
    assert stage.tick("10:30").acts[0].order.id == f"{QUIET}-BTC-S"
    stage.market.set("BTCUSDT", "10:31", "100900.0")
    stage.beat("10:44:03")
    assert stage.tick("10:45").acts[0].order.side == "BUY"

    (stake,) = afterwards(open_case(stage.home, BOUGHT), 60).stakes

    assert stake.quantity == Decimal("0.000009") and stake.closed == f"{QUIET}-BTC-S"
    assert not stake.by_safety


def test_the_ledger_tells_the_stop_the_sale_and_the_ticks_in_their_order(stopped):
    events = afterwards(open_case(stopped, BOUGHT), 60).events

    kinds = [one.kind for one in events]
    assert kinds == ["settings", "order", "tick", "tick", "gate", "order"]
    assert events[4].text == "stopped by the owner: enough" and events[4].at is None
    assert events[5].text.startswith(f"safety sale {SALE}: FILLED")
    only = afterwards(open_case(stopped, BOUGHT), 5).events
    assert [one.kind for one in only] == ["settings", "order", "tick"]


# as a page


def test_the_page_says_it_in_words(stopped):
    seen = PostMortem(stopped, QUIET)

    assert "by the owner: enough" in seen.headline.markdown
    assert "4 of 15" not in seen.what_ifs.markdown
    assert "by the safety sale 20261122T1041Z-BTC-X" in seen.costs.markdown.replace("\\", "")
    assert "lost 0.00009541 USDT after fees" in seen.costs.markdown
    bought = PostMortem(stopped, BOUGHT)
    assert "4 of 15 changes would have decided otherwise" in bought.what_ifs.markdown
    assert "the close 100,100.0 USDT was 100.000 USDT (9.99 bps)" in bought.edges.markdown
    assert "100,300.0 (+20.0)" in bought.course.markdown.replace("\\", "")
    assert [chart.png[:4] for chart in bought.picture] == [b"\x89PNG"] * 2


def test_an_altered_notebook_is_told(copied):
    path = open_case(copied, BOUGHT).sealed.path
    path.chmod(0o644)
    path.write_text(path.read_text("utf-8").replace("FILLED", "REFUSED"), "utf-8")

    assert "**ALTERED**" in PostMortem(copied, BOUGHT).headline.markdown
    assert "**ALTERED**" not in PostMortem(copied, QUIET).headline.markdown


def test_that_the_present_code_decides_otherwise_is_told(stopped, monkeypatch):
    monkeypatch.setattr(case, "decide", lambda inputs: decide(replace(inputs, orders_today=192)))

    assert "The present code decides otherwise" in PostMortem(stopped, BOUGHT).headline.markdown
    monkeypatch.undo()
    assert "The present code" not in PostMortem(stopped, BOUGHT).headline.markdown


def test_looking_back_changes_no_file(stopped):
    before = files(stopped.root)

    seen = PostMortem(stopped)
    for name in [*NAMES, "prices", "picture"]:
        getattr(seen, name)

    assert files(stopped.root) == before


# the part that answers


def test_the_picker_takes_a_tick_a_time_and_what_ifs(stopped):
    from tgtqr_lib.post_mortem import Picker

    page = Picker(stopped)
    assert page.case.tick_id == BOUGHT and page.tick.options == (QUIET, BOUGHT)
    assert "0 of 1 changes" in page.parts["what_if"].value

    page.sliders["band_bps"].value = 10
    assert "<b>HOLD (SIGNAL_IN_BAND)</b>" in page.parts["what_if"].value

    page.time.value = "2026-11-22T10:31"
    assert page.case.tick_id == page.tick.value == QUIET
    assert page.sliders["band_bps"].value == 0  # its own again

    page.time.value = "1999-01-01"
    assert "Not shown:" in page.parts["said"].value and page.case.tick_id == QUIET

    page.tick.value = BOUGHT
    assert BOUGHT in page.parts["said"].value
    before = page.parts["after"].value
    page.minutes.value = 15
    assert page.parts["after"].value != before


def test_the_picker_is_a_sentence_where_there_is_no_kernel_to_answer(stopped, tmp_path):
    from tgtqr_lib.post_mortem import Picker

    shown = Picker(stopped)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "JupyterLab" in shown["text/html"] and "VBox" not in shown["text/plain"]
    nothing = Picker(Home(tmp_path / "nothing"))._repr_mimebundle_()
    assert "No tick yet" in nothing["text/html"]
