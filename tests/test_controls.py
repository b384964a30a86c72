"""Controls: what is refused, what is kept, and from when it holds."""

import json
from datetime import timedelta
from decimal import Decimal
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import limits
from tests.stage import decide_without_a_kernel, moment, rise
from tgtqr_lib import archive, audit, controls, ledger, tick, watch
from tgtqr_lib.canonical import load_inputs, restore
from tgtqr_lib.controls import COMMAND_LINE, PAGE, RESET, Change, Proposal
from tgtqr_lib.decide import decide, decision_sha256
from tgtqr_lib.desk import open_desk
from tgtqr_lib.domain import DomainError, Inputs
from tgtqr_lib.gate import bear_witness
from tgtqr_lib.ledger import Event
from tgtqr_lib.settings import LimitSettings, Settings, load
from tgtqr_lib.strategies import STRATEGIES, Parameter, Strategy

HARD = {"position_usdt": "1.00", "daily_loss_usdt": "2.00", "total_loss_usdt": "5.00"}
RANGES = {
    "parameters.window": (2, 1440),
    "parameters.band_bps": (0, 1000),
    **{f"limits.{name}": (0, Decimal(hard)) for name, hard in HARD.items()},
    "order_target_usdt": (Decimal("0.00000001"), 1),
}
USUAL = Settings()


@pytest.fixture
def con(home):
    connection = ledger.connect(home.ledger)
    yield connection
    connection.close()


def change(con, changes, at="10:00", *, loosen=False, reason=None, by=COMMAND_LINE, file=USUAL):
    """Check and book `changes` as the command does."""
    when = moment(at) if isinstance(at, str) else at
    with ledger.writing(con):
        proposal = controls.consider(con, file, when, changes, loosen=loosen)
        return controls.apply(con, proposal, at=when, who="somebody", by=by, reason=reason)


def in_force(con, at="10:00", file=USUAL) -> Settings:
    return controls.in_force(con, file, moment(at))


def window(con, at="10:00", file=USUAL) -> int:
    return in_force(con, at, file).parameters.get("window", 60)


def position(con, at="10:00", file=USUAL) -> Decimal:
    return in_force(con, at, file).limits.position_usdt


def refusal(changes, *, loosen=False, now=USUAL) -> str:
    with pytest.raises(DomainError) as refused:
        controls.propose(now, changes, loosen=loosen)
    return str(refused.value)


# --- what is refused ---


class Unspeakable:
    """A value that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Shade(Enum):
    SIXTY = 60


NASTY = [
    float("nan"), float("inf"), -float("inf"), 60.0, 0.5, -0.0, 1e308, "nan", "NaN", "sNaN", "inf", "-inf",
    "Infinity", "1e400", "1E-9", "1e1", "0x10", "0b1", "1_0", "+1", "-1", "-0", "-0.0", " 1", "1 ", "1\n", "\t1",
    "", " ", ".", ".5", "5.", "1.", "0,5", "0.5.", "1/2", "٦٠", "６０", "²", "Ⅻ", "๓", "0.٥", "1\x00",
    "\ud800", "1" * 5000, "0." + "1" * 9, "0.123456789", "99999999999999999999", 10**400, 10**5000,
    -(10**5000), -1, True, False, None,
    [], [60], (60,), {}, {"new": 60}, {60}, b"60", bytearray(b"1"), 60j, object(), Unspeakable(), Shade.SIXTY,
    Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("-0"), Decimal("-0.1"),
    Decimal("1e400"), Decimal("1e-400"), Decimal("0.123456789"), Decimal("0.5000000000000000000000000000000000001"),
    np.float64("nan"), np.array([60]), lambda: 60, Settings, "SELECT 1", "60; DROP TABLE events", "<b>60</b>",
]  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_a_value_that_is_no_plain_number_is_refused_in_one_short_sentence(name):
    for value in NASTY:
        sentence = refusal({name: value})
        assert sentence.startswith(f"{name} ") and "expected" in sentence
        assert len(sentence) < 200 and sentence.isprintable()


ANYTHING = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=12),
    st.text("0123456789.eE+-_ ٠６", max_size=12),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.decimals(min_value=0, max_value=6, places=2),
    st.decimals(min_value=0, max_value=2, places=8).map(str),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=3),
    st.binary(max_size=4),
    st.recursive(st.integers(), lambda inner: st.dictionaries(st.text(max_size=3), inner)),
)


@given(
    changes=st.dictionaries(st.sampled_from(sorted(RANGES)), ANYTHING, min_size=1),
    loosen=st.booleans(),
)
def test_whatever_is_asked_for_nothing_outside_the_ranges_is_accepted(changes, loosen):
    tight = Settings(limits={name: "0.5" for name in HARD}, order_target_usdt="0.3")
    try:
        proposal = controls.propose(tight, changes, loosen=loosen)
    except DomainError as error:
        assert str(error).isprintable()
        return
    assert proposal.changes
    for one in proposal.changes:
        low, high = RANGES[one.name]
        new = Decimal(one.new)
        assert low <= new <= high and one.new.isascii() and one.new != one.old
        if one.name.startswith("limits."):
            assert new > Decimal("0.5") if loosen else new < Decimal("0.5")
        else:
            assert not loosen
        if one.name == "order_target_usdt":
            assert 0 < new <= Decimal("0.5")
        if one.name.startswith("parameters."):
            assert new == int(new)
        assert -new.as_tuple().exponent <= 8


@given(name=st.one_of(st.text(), st.integers(), st.none(), st.binary(), st.tuples(st.integers())))
def test_a_name_that_is_not_known_is_refused(name):
    assert "cannot be changed; expected one of parameters.window" in refusal({name: "1"})


@pytest.mark.parametrize(
    "name", ["window", "parameters.", "parameters.Window", "limits.trim_usdt", "collar_bps", "market",
             "parameters.__class__", "limits.limits", "strategy", "limits"],
)  # fmt: skip
def test_what_the_page_does_not_show_cannot_be_changed(name):
    assert refusal({name: "1"}).startswith(f"'{name}' cannot be changed; expected one of ")


@pytest.mark.parametrize("changes", [{}, None, [], "parameters.window", 5])
def test_nothing_is_not_a_change(changes):
    assert refusal(changes).startswith("nothing is to be changed; expected some of ")


def test_what_is_so_already_is_refused_and_left_out_of_a_longer_list():
    assert (
        refusal({"parameters.window": "60"})
        == "nothing would change: parameters.window is 60 already"
    )
    assert "already" in refusal({"limits.position_usdt": "1", "order_target_usdt": "0.950"})
    both = controls.propose(USUAL, {"parameters.window": "60", "parameters.band_bps": "5"})
    assert both.changes == (Change("parameters.band_bps", "0", "5"),)


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("parameters.window", "2", "2"),
        ("parameters.window", 1440, "1440"),
        ("parameters.window", "0030", "30"),
        ("parameters.band_bps", "1000", "1000"),
        ("limits.position_usdt", "0", "0.00"),
        ("limits.daily_loss_usdt", Decimal("1.5"), "1.50"),
        ("limits.total_loss_usdt", 4, "4.00"),
        ("limits.total_loss_usdt", "4.99999999", "4.99999999"),
        ("order_target_usdt", "0.00000001", "0.00000001"),
        ("order_target_usdt", "1.00000000", "1.00"),
    ],
)
def test_a_value_in_its_range_is_taken_and_shown_plainly(name, value, text):
    old = {"parameters.window": "60", "parameters.band_bps": "0", "order_target_usdt": "0.95"}
    before = old.get(name) or HARD[name.removeprefix("limits.")]
    assert controls.propose(USUAL, {name: value}).changes == (Change(name, before, text),)


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("parameters.window", "1", "parameters.window '1': expected a whole number from 2 to 1440 minutes"),
        ("parameters.window", 1441, "parameters.window 1441: expected a whole number from 2 to 1440 minutes"),
        ("limits.total_loss_usdt", "5.00000001", "limits.total_loss_usdt '5.00000001': expected an amount "
         "with at most 8 decimals from 0.00 to 5.00 USDT"),
        ("order_target_usdt", 0, "order_target_usdt 0: expected an amount with at most 8 decimals from "
         "0.00000001 to 1.00 USDT"),
    ],
)  # fmt: skip
def test_a_refusal_names_name_value_and_range(name, value, text):
    assert refusal({name: value}) == text
    assert refusal({name: value}, loosen=True) == text


def test_a_limit_is_raised_by_a_loosening_only_and_a_loosening_raises_limits_only():
    tight = Settings(limits={"position_usdt": "0.5"})
    assert "loosened by `tgtqr settings loosen limits.position_usdt=0.60 --reason ...`" in refusal(
        {"limits.position_usdt": "0.6"}, now=tight
    )
    assert controls.propose(tight, {"limits.position_usdt": "0.6"}, loosen=True).loosens
    lower = refusal({"limits.position_usdt": "0.4"}, now=tight, loosen=True)
    assert "tightened by `tgtqr settings change limits.position_usdt=0.40`" in lower
    mixed = {"limits.position_usdt": "0.6", "parameters.window": "30"}
    assert refusal(mixed, now=tight, loosen=True).startswith("parameters.window is not a limit")


def test_an_order_target_fits_the_position_limit_also_one_that_comes_with_it():
    tight = Settings(limits={"position_usdt": "0.5"}, order_target_usdt="0.3")
    assert controls.propose(tight, {"order_target_usdt": "0.5"}).changes[0].new == "0.50"
    assert refusal({"order_target_usdt": "0.50000001"}, now=tight).startswith(
        "order_target_usdt 0.50000001 is above the position limit"
    )
    both = {"order_target_usdt": "0.4", "limits.position_usdt": "0.39"}
    assert "at most 0.39 USDT" in refusal(both, now=tight)


def test_a_limit_below_the_order_target_is_taken_with_a_note():
    proposal = controls.propose(USUAL, {"limits.position_usdt": "0.5"})
    assert "an entry buys for 0.95 USDT, above the position limit 0.50" in proposal.notes[0]
    both = {"limits.position_usdt": "0.5", "order_target_usdt": "0.5"}
    assert controls.propose(USUAL, both).notes == ()


# --- what is kept ---


def test_a_change_is_one_event_with_who_when_old_and_new(con):
    row = change(con, {"parameters.window": "30", "limits.daily_loss_usdt": "1.5"}, by=PAGE)
    assert (row.seq, row.kind, row.key) == (1, "control", "control/1")
    assert row.body == {
        "at": "2026-11-22T10:00:00Z",
        "who": "somebody",
        "by": "the page",
        "strategy": "ma_trend",
        "changes": {
            "parameters.window": {"old": "60", "new": "30"},
            "limits.daily_loss_usdt": {"old": "2.00", "new": "1.50"},
        },
        "reason": None,
        "from": "next tick",
    }
    assert change(con, {"parameters.window": "31"}, reason=" curious ").key == "control/2"
    assert ledger.get(con, "control/2").body["reason"] == "curious"


@pytest.mark.parametrize("reason", ["a\nb", "x" * 301, "\ud800", "\x1b[2J"])
def test_a_reason_is_one_printable_line(con, reason):
    with pytest.raises(DomainError, match=r"expected one line of at most 300 characters"):
        change(con, {"parameters.window": "30"}, reason=reason)
    assert ledger.head(con)[0] == 0


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_a_loosening_needs_a_reason(con, reason):
    change(con, {"limits.position_usdt": "0.5"})
    with pytest.raises(DomainError, match="needs a reason"):
        change(con, {"limits.position_usdt": "0.6"}, loosen=True, reason=reason)
    assert ledger.head(con)[0] == 1


@pytest.mark.parametrize("name", RANGES)
def test_a_refused_change_leaves_the_ledger_as_it_was(con, name):
    change(con, {"parameters.window": "30"})
    head = ledger.head(con)
    for value in NASTY:
        with pytest.raises(DomainError):
            change(con, {"parameters.window": "31", name: value})
    assert ledger.head(con) == head and window(con) == 30


def test_what_is_booked_outside_a_transaction_is_refused(con):
    proposal = controls.propose(USUAL, {"parameters.window": "30"})
    with pytest.raises(Exception, match="outside a transaction"):
        controls.apply(con, proposal, at=moment("10:00"), who="x", by=PAGE)


def test_the_settings_themselves_are_not_touched(con):
    before = USUAL.model_dump()
    change(con, {"parameters.window": "30", "limits.position_usdt": "0.5"})
    in_force(con)
    assert USUAL.model_dump() == before
    assert USUAL.parameters == {} and USUAL.limits == LimitSettings()


# --- what is in force ---


def test_without_controls_the_settings_are_in_force(con):
    file = Settings(parameters={"window": 45}, limits={"position_usdt": "0.5"})
    assert in_force(con, file=file) == file


def test_of_a_parameter_the_latest_control_wins_over_the_file(con):
    file = Settings(parameters={"window": 45}, order_target_usdt="0.8")
    change(con, {"parameters.window": "30", "order_target_usdt": "0.5"}, file=file)
    change(con, {"parameters.window": "20"}, file=file)
    found = in_force(con, file=file)
    assert (found.parameters, found.order_target_usdt) == ({"window": 20}, Decimal("0.5"))


def test_a_reset_lets_the_file_decide_again_whatever_it_says_then(con):
    file = Settings(parameters={"window": 45})
    with pytest.raises(DomainError, match=r"parameters\.window is as the settings file has it"):
        change(con, {"parameters.window": RESET}, file=file)
    change(con, {"parameters.window": "30"}, file=file)
    row = change(con, {"parameters.window": RESET}, file=file)
    assert row.body["changes"] == {"parameters.window": {"old": "30", "new": "45", "reset": True}}
    assert window(con, file=file) == 45
    assert window(con, file=Settings(parameters={"window": 50})) == 50


def test_a_limit_is_not_reset_but_loosened(con):
    change(con, {"limits.position_usdt": "0.5"})
    with pytest.raises(DomainError, match="a limit is loosened by"):
        change(con, {"limits.position_usdt": RESET})


@pytest.mark.parametrize(
    "file, control, effective", [("1", "0.5", "0.5"), ("0.4", "0.5", "0.4"), ("0.5", "0.4", "0.4")]
)
def test_a_limit_is_the_smaller_of_file_and_control(con, file, control, effective):
    change(con, {"limits.position_usdt": control})
    assert position(con, file=Settings(limits={"position_usdt": file})) == Decimal(effective)


def test_a_loosening_holds_from_the_next_utc_day(con):
    change(con, {"limits.position_usdt": "0.3"})
    row = change(con, {"limits.position_usdt": "0.8"}, "23:59:59", loosen=True, reason="calmer")
    assert row.body["from"] == "2026-11-23"
    assert position(con, "23:59:59.999") == Decimal("0.3")
    assert position(con, "2026-11-23T00:00:00") == Decimal("0.8")
    assert position(con, "2026-12-31T00:00:00") == Decimal("0.8")


def test_a_loosening_that_waits_is_taken_back_by_the_value_in_force(con):
    change(con, {"limits.position_usdt": "0.3"})
    change(con, {"limits.position_usdt": "0.8"}, loosen=True, reason="calmer")
    with pytest.raises(DomainError, match=r"is above the limit in force, 0\.30"):
        change(con, {"limits.position_usdt": "0.5"})
    proposal = controls.consider(con, USUAL, moment("10:00"), {"limits.position_usdt": "0.3"})
    assert proposal.notes[0].startswith(
        "this takes back the loosening of limits.position_usdt to 0.80"
    )
    change(con, {"limits.position_usdt": "0.3"})
    assert position(con, "2026-11-23T00:00:00") == Decimal("0.3")
    with pytest.raises(DomainError, match="already"):
        change(con, {"limits.position_usdt": "0.3"})


def test_a_loosening_never_passes_the_file(con):
    file = Settings(limits={"position_usdt": "0.6"})
    change(con, {"limits.position_usdt": "0.3"}, file=file)
    with pytest.raises(DomainError, match=r"the settings file allows; expected at most 0\.60"):
        change(con, {"limits.position_usdt": "0.7"}, loosen=True, reason="more", file=file)
    change(con, {"limits.position_usdt": "0.6"}, loosen=True, reason="more", file=file)
    assert position(con, "2026-11-23T00:00:00", file) == Decimal("0.6")


def test_of_two_who_tighten_at_once_the_tighter_one_holds(con):
    # both looked before either had booked
    first = controls.propose(USUAL, {"limits.position_usdt": "0.3"})
    second = controls.propose(USUAL, {"limits.position_usdt": "0.5"})
    with ledger.writing(con):
        for one in (first, second):
            controls.apply(con, one, at=moment("10:00"), who="x", by=PAGE)
    assert position(con) == position(con, "2026-11-23T00:00:00") == Decimal("0.3")


def test_without_the_exchanges_time_limits_are_tightened_but_not_loosened(con):
    change(con, {"limits.position_usdt": "0.5"}, at=None)
    assert ledger.get(con, "control/1").body["at"] is None and position(con) == Decimal("0.5")
    with pytest.raises(DomainError, match="next UTC day; expected a time"):
        change(con, {"limits.position_usdt": "0.6"}, at=None, loosen=True, reason="why not")


def test_a_forged_proposal_passes_neither_range_nor_hard_limit(con):
    forged = Proposal(
        "ma_trend",
        (
            Change("limits.position_usdt", "1", "100"),
            Change("parameters.window", "60", "1e9"),
            Change("order_target_usdt", "1", "7"),
            Change("limits.trim_usdt", "1", "100"),
        ),
    )
    with ledger.writing(con):
        controls.apply(con, forged, at=moment("10:00"), who="x", by=PAGE)
    assert in_force(con) == USUAL


@pytest.fixture
def other_strategy(monkeypatch):
    """A second strategy whose window means something else."""
    seed = STRATEGIES["ma_trend"]
    window = Parameter(5, 2, 10, "weeks", "closes in the mean")
    other = Strategy("other", "x", seed.targets, seed.lookback, seed.reference, {"window": window})
    monkeypatch.setitem(STRATEGIES, "other", other)
    return Settings(strategy="other")


def test_a_control_of_another_strategy_is_ignored_with_one_line_in_the_log(
    con, other_strategy, monkeypatch
):
    change(con, {"parameters.window": "8", "limits.position_usdt": "0.5"})
    lines: list[tuple] = []
    monkeypatch.setattr(
        controls.journal, "event", lambda name, **facts: lines.append((name, facts))
    )
    told: set[str] = set()
    for _ in range(3):
        found = controls.in_force(con, other_strategy, moment("10:00"), told)
    assert found.parameters == {} and found.limits.position_usdt == Decimal("0.5")
    assert lines == [
        (
            "control_ignored",
            {
                "text": "control/1 is ignored: parameters.window 8 is for strategy ma_trend, not other"
            },
        )
    ]
    assert window(con) == 8  # back with the strategy it is for


def test_a_control_out_of_the_range_of_today_is_ignored(con, monkeypatch):
    change(con, {"parameters.window": "1000"})
    seed = STRATEGIES["ma_trend"]
    narrow = {**seed.parameters, "window": Parameter(60, 2, 500, "minutes", "")}
    monkeypatch.setitem(
        STRATEGIES,
        "ma_trend",
        Strategy("ma_trend", "", seed.targets, seed.lookback, seed.reference, narrow),
    )
    assert window(con) == 60


def test_sources_tell_where_each_value_comes_from(con):
    file = Settings(
        parameters={"band_bps": 3}, limits={"total_loss_usdt": "4", "position_usdt": "0.7"}
    )
    change(con, {"parameters.window": "30"}, file=file, by=PAGE)
    change(con, {"limits.daily_loss_usdt": "1.5"}, "11:00", file=file)
    change(con, {"limits.daily_loss_usdt": "1.7"}, "12:00", loosen=True, reason="x", file=file)
    found = {row.name: row for row in controls.sources(con, file, moment("12:30"))}
    assert list(found) == list(RANGES)
    told = {name: (row.value, row.low, row.high, row.source) for name, row in found.items()}
    assert told == {
        "parameters.window": ("30", "2", "1440", "the page at 2026-11-22T10:00:00Z"),
        "parameters.band_bps": ("3", "0", "1000", "settings"),
        "limits.position_usdt": ("0.70", "0.00", "1.00", "settings"),
        "limits.daily_loss_usdt": (
            "1.50",
            "0.00",
            "2.00",
            "the command line at 2026-11-22T11:00:00Z",
        ),
        "limits.total_loss_usdt": ("4.00", "0.00", "5.00", "settings"),
        "order_target_usdt": ("0.95", "0.00000001", "0.70", "default"),
    }
    assert found["limits.daily_loss_usdt"].coming == "1.70 from 2026-11-23"
    assert found["limits.position_usdt"].coming is None


# --- through any sequence ---

STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(HARD)),
        st.decimals(min_value=0, max_value=6, places=2),
        st.booleans(),
        st.integers(0, 30),  # hours until the next step
    ),
    max_size=12,
)


@given(steps=STEPS, file=st.decimals(min_value=0, max_value=1, places=2))
def test_no_sequence_of_controls_passes_hard_limit_file_or_the_day(tmp_path_factory, steps, file):
    """Against a model of one line a rule: tightened is the smaller, loosened holds from tomorrow."""
    con = ledger.connect(tmp_path_factory.mktemp("c") / "ledger.db")
    settings = Settings(limits={"position_usdt": file})
    tops = {name: Decimal(hard) for name, hard in HARD.items()} | {"position_usdt": file}
    now, waiting = dict(tops), {}
    at = moment("2026-11-20T00:00")
    for name, value, loosen, hours in steps:
        head = ledger.head(con)
        today = now[name]
        possible = value <= tops[name] and (value > today if loosen else value < today)
        takes_back = name in waiting and value == today
        try:
            change(con, {f"limits.{name}": value}, at, loosen=loosen, reason="r", file=settings)
        except DomainError:
            assert not (possible or takes_back) and ledger.head(con) == head
        else:
            assert possible or takes_back
            if loosen:
                waiting[name] = value
            else:
                now[name] = value
                waiting.pop(name, None)
            if waiting.get(name) == now[name]:
                waiting.pop(name)
        found = controls.in_force(con, settings, at).limits
        assert {n: getattr(found, n) for n in HARD} == now
        later = at + timedelta(hours=hours)
        if later.date() > at.date():
            now |= waiting
            waiting = {}
        at = later
        found = controls.in_force(con, settings, at).limits
        assert {n: getattr(found, n) for n in HARD} == now
        assert all(now[n] <= tops[n] <= Decimal(HARD[n]) for n in HARD)
    assert ledger.verify_chain(con)[1] == []
    con.close()


# --- in ticks and beats ---


def stage_change(stage, changes, **options):
    at = stage.desk.exchange.time()
    return change(stage.desk.con, changes, at, file=stage.desk.settings, **options)


def sealed(stage, text) -> dict:
    path = archive.sealed_path(stage.home, tick.tick_id(moment(text)))
    return archive.read_executed(path)["metadata"]["tgtqr"]


def sealed_plan(stage, text) -> tuple[int, int, str]:
    plan = sealed(stage, text)["inputs"]["plan"]
    return plan["parameters"]["window"], plan["parameters"]["band_bps"], plan["order_target_usdt"]


def test_the_tick_after_a_change_carries_the_new_plan_and_its_candles(stage):
    stage.arm()
    stage.tick("10:15")
    stage_change(stage, {"parameters.window": "200", "order_target_usdt": "0.5"})
    stage.tick("10:30")
    assert sealed_plan(stage, "10:15") == (60, 0, "0.95")
    assert sealed_plan(stage, "10:30") == (200, 0, "0.50")
    inputs = restore(Inputs, sealed(stage, "10:30")["inputs"])
    assert len(inputs.markets[0].candles) == 260  # the window and an hour for the chart
    assert all(c.reason != "DATA_GAP" for c in decide(inputs).choices)
    assert audit.verify(stage.desk.con, stage.home)[1] == []


def test_the_tick_in_flight_does_not_and_can_be_decided_again(stage, monkeypatch):
    def in_the_middle(*given_to_it, **options):
        stage_change(stage, {"parameters.window": "30", "parameters.band_bps": "50"})
        decide_without_a_kernel(*given_to_it, **options)

    monkeypatch.setattr(tick, "run_notebook", in_the_middle)
    rise(stage)
    stage.arm()
    result = stage.tick("10:15")
    assert (result.state, sealed_plan(stage, "10:15")) == ("done", (60, 0, "0.95"))
    assert stage.held() == {"BTCUSDT": "0.000009"}
    monkeypatch.setattr(tick, "run_notebook", decide_without_a_kernel)
    stage.beat("10:29")
    stage.tick("10:30")
    assert sealed_plan(stage, "10:30") == (30, 50, "0.95")
    old = sealed(stage, "10:15")
    again = decide(load_inputs(json.dumps(old["inputs"])))
    assert decision_sha256(again) == old["digests"]["decision_sha256"]


def test_a_change_while_candles_are_fetched_is_for_the_next_tick(stage, monkeypatch):
    whole = stage.desk.exchange.quote

    def quote(symbol):
        monkeypatch.setattr(stage.desk.exchange, "quote", whole)
        stage_change(stage, {"parameters.window": "1440"})
        return whole(symbol)

    stage.arm()
    monkeypatch.setattr(stage.desk.exchange, "quote", quote)
    result = stage.tick("10:15")
    assert sealed_plan(stage, "10:15")[0] == 60
    assert {c.reason for c in result.decision.choices} == {"SIGNAL_TIE"}


def test_a_limit_tightened_during_a_tick_binds_its_entry(stage, monkeypatch):
    def in_the_middle(*given_to_it, **options):
        stage_change(stage, {"limits.position_usdt": "0.5"})
        decide_without_a_kernel(*given_to_it, **options)

    monkeypatch.setattr(tick, "run_notebook", in_the_middle)
    rise(stage)
    stage.arm()
    result = stage.tick("10:15")
    (done,) = result.acts
    assert (done.result, done.reason, stage.held()) == ("REFUSED", "POSITION_LIMIT", {})


def test_a_limit_tightened_by_a_control_never_forces_a_sale(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage_change(stage, {"limits.position_usdt": "0.1", "limits.daily_loss_usdt": "0.0001"})
    stage.beat("10:16")
    stage.beat("10:29")
    stage.tick("10:30")
    assert stage.held() == {"BTCUSDT": "0.000009"}


def test_a_day_opens_with_the_limits_of_its_controls(stage):
    stage.at("09:00")
    stage_change(stage, {"limits.position_usdt": "0.5"})
    stage.arm()
    stage_change(stage, {"limits.position_usdt": "0.9"}, loosen=True, reason="calmer")
    assert stage.situation().limits == limits(position="0.5")
    stage.beat("23:59:03")
    assert stage.situation().limits == limits(position="0.5")
    stage.beat("2026-11-23T00:00:03")
    assert stage.situation().limits == limits(position="0.9")
    days = [row.body["day"]["limits"]["position_usdt"] for row in stage.events("day")]
    assert days == ["0.50", "0.90"]


def test_a_loosened_limit_has_no_effect_on_any_tick_of_the_same_day(stage):
    rise(stage)
    stage_change(stage, {"limits.position_usdt": "0.5"})
    stage.arm()
    stage_change(stage, {"limits.position_usdt": "1"}, loosen=True, reason="calmer")
    assert stage.tick("10:15").decision.choice("BTCUSDT").reason == "POSITION_LIMIT"
    stage.market.set("BTCUSDT", "23:59", "100200.0")
    stage.beat("2026-11-23T00:00:01")
    assert stage.tick("2026-11-23T00:00").acts[0].result == "FILLED"


def test_a_total_floor_that_was_only_tightened_stops_the_kit_but_does_not_end_the_account(stage):
    # equity is 9.99905315 after the entry and its fee; the tightened floor is 9.9999
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    stage_change(stage, {"limits.total_loss_usdt": "0.0001"})
    stage.beat("23:59:03")
    seen = stage.beat("2026-11-23T00:00:03")
    assert seen.stopped.startswith("BREACH: equity 9.99905315 is below the floor 9.9999")
    assert stage.events("ended") == []


def test_a_change_is_kept_over_a_restart(stage):
    stage.arm()
    stage_change(stage, {"parameters.window": "30", "limits.daily_loss_usdt": "1.5"})
    stage.desk.con.close()
    with open_desk(stage.home, load(stage.home)) as desk:
        stage.desk = desk
        found = stage.situation()
        assert found.plan.parameters == {"window": 30, "band_bps": 0}
        assert found.limits == limits(daily="1.5")
        watch.beat(desk)
        bear_witness(desk.con, stage.home)
        assert audit.verify(desk.con, stage.home)[1] == []


def test_a_transaction_that_fails_leaves_no_control(con):
    with pytest.raises(ZeroDivisionError), ledger.writing(con):
        proposal = controls.consider(con, USUAL, moment("10:00"), {"parameters.window": "30"})
        controls.apply(con, proposal, at=moment("10:00"), who="x", by=PAGE)
        raise ZeroDivisionError
    assert ledger.head(con)[0] == 0 and window(con) == 60


def test_other_events_are_no_controls(con):
    with ledger.writing(con):
        ledger.append(
            con, Event("note", "control/1", {"changes": {"parameters.window": {"new": "5"}}})
        )
    assert window(con) == 60
