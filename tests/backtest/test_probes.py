"""`check`: an honest strategy passes every probe, and each planted fault fails the one that is about it."""

import random
import re
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from importlib import import_module

import numpy as np
import pytest

from tests.backtest.series import random_walk
from tgtqr_lib import execution, risk
from tgtqr_lib.backtest import Bars
from tgtqr_lib.backtest.probes import PROBES, check
from tgtqr_lib.backtest.probes.case import Case
from tgtqr_lib.backtest.terms import Setting
from tgtqr_lib.domain import DataError, DomainError, History
from tgtqr_lib.signals.moving_average import long_flat_hold
from tgtqr_lib.strategies import STRATEGIES, Parameter, Strategy, registered, strategy_named

MA = STRATEGIES["ma_trend"]
FEE = Fraction(10, 10_000)  # spot taker, VIP 0


@pytest.fixture(scope="module")
def candles():
    """1,700 minutes: long enough for gaps and a calm hour to be made in them, short enough to be quick."""
    return random_walk(1_700, seed=3)


@pytest.fixture
def rules():
    """The rules of risk, to take some out; they come back in their order, which is that of reasons."""
    before = dict(risk.RULES)
    yield risk.RULES
    risk.RULES.clear()
    risk.RULES.update(before)


def planted(targets, **changes) -> Strategy:
    """The seed strategy with other targets, under a name of its own."""
    return replace(MA, name="planted", targets=targets, **changes)


def mean(history, window, valid, band_bps=0):
    return long_flat_hold(history.close_steps, window, band_bps, valid=history.contiguous(valid))


# honest strategies


def test_the_seed_strategy_passes_every_probe(candles):
    found = check("ma_trend", candles)
    assert found.passed and not found.failed, found
    assert [probe.name for probe in found.probes] == [
        "values", "determinism", "look-ahead", "warm-up", "reference", "fees", "open candle", "parity",
    ]  # fmt: skip
    assert found.summary == "ma_trend passed all 8 probes"
    # window at 2 and band at 1000; a window of 1440 does not fit twice into 1,700 minutes
    assert "× 3 parameter sets" in found["values"].detail
    assert re.search(r"[1-9]\d* fills of ticks and [1-9]\d* of run at 10 bps", found["fees"].detail)


def channel(history, *, window=40):
    """Long above the middle of the last `window` closes' range, flat below, and no quick way declared."""
    said = np.full(len(history), np.nan)
    for row in np.flatnonzero(history.contiguous(window)):
        closes = history.close_steps[row + 1 - window : row + 1]
        middle = int(closes.min()) + int(closes.max())
        if 2 * closes[-1] != middle:
            said[row] = 2 * closes[-1] > middle
    return said


CHANNEL = Strategy(
    name="channel",
    text="long in the upper half of the range",
    targets=channel,
    lookback=lambda *, window=40: window,
    reference=lambda history, *, window=40: (
        Fraction(
            int(history.close_steps[-window:].min()) + int(history.close_steps[-window:].max()), 2
        )
        if history.contiguous(window)[-1]
        else None
    ),
    parameters={"window": Parameter(40, 2, 90, "minutes", "closes in the range")},
)


def test_a_strategy_of_ones_own_is_checked_without_being_registered(candles):
    known = dict(STRATEGIES)
    found = check(CHANNEL, Bars.of(candles), window=30)
    assert found.passed, found
    assert found.params == {"window": 30} and known == STRATEGIES


# planted faults: look-ahead


def shifted(history, *, window, band_bps):
    """Each row says what the next one should."""
    honest = MA.targets(history, window=window, band_bps=band_bps)
    return np.append(honest[1:], np.nan)[: len(honest)]


def rolled(history, *, window, band_bps):
    return np.roll(MA.targets(history, window=window, band_bps=band_bps), -1)


def shifted_with_an_honest_end(history, *, window, band_bps):
    """The last row is right, so that a tick never shows it."""
    honest = MA.targets(history, window=window, band_bps=band_bps)
    return np.append(honest[1:], honest[-1:])


def centred(history, *, window, band_bps):
    """The mean of the minutes around each row."""
    closes, said = history.close_steps, np.full(len(history), np.nan)
    for row in np.flatnonzero(history.contiguous(window)):
        around = closes[row + 1 - window : row + 6]
        said[row] = closes[row] * len(around) > around.sum()
    return said


def above_the_mean_of_all(history, *, window, band_bps):
    closes = history.close_steps
    said = (closes * len(closes) > closes.sum()).astype(float)
    return np.where(history.contiguous(window), said, np.nan)


@pytest.mark.parametrize(
    "targets, fast",
    [
        (shifted, MA.fast),
        (shifted, None),
        (rolled, None),
        (shifted_with_an_honest_end, MA.fast),
        (centred, None),
        (above_the_mean_of_all, None),
    ],
)
def test_a_look_ahead_fails_its_probe_and_no_other(candles, targets, fast):
    found = check(planted(targets, fast=fast), candles)
    assert found.failed == ("look-ahead",), found
    assert {p.name for p in found.probes if p.state == "not judged"} == {
        "warm-up", "reference", "open candle", "parity",
    }  # fmt: skip


def test_the_sentence_names_the_first_minute_and_what_is_said_there(candles):
    # given a shift by one minute, the first row that sees something is the 59th, a minute early
    found = check(planted(shifted_with_an_honest_end), candles)["look-ahead"].detail
    closes = [int(close) for close in candles.close[:60]]
    word = "LONG" if closes[-1] * 60 > sum(closes) else "FLAT"
    # the walk begins at 2025-11-22T00:00Z
    assert found.startswith(
        f"at 2025-11-22T00:58:00Z: {word} with the minutes after it, HOLD without them (window 60, "
    )


# planted faults: windows


def one_longer(history, *, window, band_bps):
    return mean(history, window + 1, window + 1, band_bps)


def one_longer_unguarded(history, *, window, band_bps):
    return mean(history, window + 1, window, band_bps)


def one_shorter(history, *, window, band_bps):
    return mean(history, window - 1, window - 1, band_bps)


def one_shorter_guarded(history, *, window, band_bps):
    """The mean of 59 closes where 60 minutes are there."""
    return mean(history, window - 1, window, band_bps)


def over_gaps(history, *, window, band_bps):
    rows = np.arange(len(history)) >= window - 1
    return long_flat_hold(history.close_steps, window, band_bps, valid=rows)


def remembering(history, *, window, band_bps):
    """An exponential mean, which never forgets."""
    level, said = None, np.full(len(history), np.nan)
    ready = history.contiguous(window)
    for row, close in enumerate(history.close_steps.tolist()):
        level = close if level is None else level + (close - level) / window
        if ready[row] and close != level:
            said[row] = float(close > level)
    return said


@pytest.mark.parametrize(
    "targets, sentence",
    [
        (
            one_longer,
            "HOLD from its lookback of 60 minutes alone, (LONG|FLAT) with more before them",
        ),
        (one_longer_unguarded, "from its lookback of 60 minutes alone"),
        (one_shorter, "(LONG|FLAT) from 59 minutes, though the lookback is 60"),
        (over_gaps, r"though only \d+ of its 60 minutes are there"),
        (remembering, "when prices before its lookback of 60 minutes are others"),
    ],
)
def test_a_window_that_is_not_the_lookback_fails_warm_up(candles, targets, sentence):
    found = check(planted(targets), candles)
    assert found.failed == ("warm-up",), found
    assert re.search(rf"at \d{{4}}-\S+Z: .*{sentence}", found["warm-up"].detail)


@pytest.mark.parametrize("fast", [MA.fast, None], ids=["fast", "slow"])
def test_a_guarded_window_off_by_one_fails_against_the_reference(candles, fast):
    found = check(planted(one_shorter_guarded, fast=fast), candles)
    assert found.failed == ("reference",), found
    assert re.match(r"at \d{4}-\S+Z: (LONG|FLAT|HOLD)", found["reference"].detail)


def test_a_lookback_longer_than_what_is_used_is_no_failure(candles):
    def patient(history, *, window):
        return mean(history, window - 10, window)

    found = check(
        Strategy(
            "patient", "waits ten minutes longer", patient, lambda *, window: window,
            lambda history, *, window: Fraction(int(history.close_steps[10 - window:].sum()), window - 10)
            if history.contiguous(window)[-1] else None,
            {"window": Parameter(60, 12, 100, "minutes", "minutes to wait for")},
        ),
        candles,
    )  # fmt: skip
    assert found.passed, found


# planted faults: what is compared


def flat_on_a_tie(history, *, window, band_bps):
    said = MA.targets(history, window=window, band_bps=band_bps)
    return np.where(np.isnan(said) & history.contiguous(window), 0.0, said)


def test_a_tie_that_does_not_hold_fails_against_the_reference(candles):
    # given a walk, in which a tie is rare; the check makes a stretch without a move in it
    found = check(planted(flat_on_a_tie), candles)
    assert found.failed == ("reference",), found
    assert ": FLAT, but the close" in found["reference"].detail
    assert "is HOLD" in found["reference"].detail


@pytest.mark.parametrize(
    "reference, sentence",
    [
        (lambda history, **_: None, "reference is None"),
        (lambda history, **_: 1.5, r"reference is 1\.5"),
        (lambda history, **_: Fraction(0), r"reference is Fraction\(0, 1\)"),
        (
            lambda history, window, band_bps: Fraction(
                int(history.close_steps[1 - window :].sum()), window - 1
            ),
            "the mean of the last 60 closes is",
        ),
    ],
)
def test_a_wrong_reference_fails(candles, reference, sentence):
    found = check(planted(MA.targets, reference=reference), candles)
    assert "reference" in found.failed, found
    assert re.search(sentence, found["reference"].detail)


# planted faults: values


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda said: said * 0.5, r"at \S+Z the target is 0.5 .*expected 1 \(long\), 0"),
        (lambda said: said.astype(np.float32), "type float32"),
        (lambda said: said[1:], r"targets of [\d,]+ minutes have shape"),
        (lambda said: said.tolist(), "gives a list"),
        (lambda said: np.where(said == 1, 0.0, said), "LONG at none of [0-9,]+ minutes"),
        (
            lambda said: said / said[0:1][0],  # of an empty history
            r"raised IndexError at test_probes.py:\d+",
        ),
    ],
)
def test_values_that_are_no_targets_fail(candles, spoil, sentence):
    found = check(planted(lambda history, **p: spoil(MA.targets(history, **p))), candles)
    assert found.failed == ("values",), found
    assert re.search(sentence, found["values"].detail)
    assert all(p.state == "not judged" for p in found.probes[1:])


# planted faults: determinism


class Counting:
    """Says something else from the second answer to a long history on."""

    asked = 0

    def __call__(self, history, **parameters):
        self.asked += len(history) > 1
        said = MA.targets(history, **parameters)
        return said if self.asked < 8 else 1 - said


def by_hash(history, **parameters):
    said = MA.targets(history, **parameters)
    return said if hash("BTCUSDT") % 64 == BY_HASH else 1 - said


BY_HASH = hash("BTCUSDT") % 64


def by_chance(history, **parameters):
    said = MA.targets(history, **parameters)
    return np.where(np.array([random.random() < 0.5 for _ in said]), said, 1 - said)


def writing(history, **parameters):
    history.candles.close.flags.writeable = True
    history.candles.close[-1:] += 1
    return MA.targets(history, **parameters)


@pytest.mark.parametrize(
    "targets, sentence",
    [
        (Counting(), "asked again"),
        (by_hash, "in another process"),
        (by_chance, "asked again"),
        (writing, "changes the candles"),
    ],
)
def test_targets_that_depend_on_more_than_the_history_fail_determinism(candles, targets, sentence):
    found = check(planted(targets), candles)
    assert found.failed == ("determinism",), found
    assert sentence in found["determinism"].detail


def test_an_attempt_to_write_into_the_history_is_told(candles):
    def write(history, **parameters):
        history.candles.close[-1:] = 1
        return MA.targets(history, **parameters)

    found = check(planted(write), candles)
    assert found.failed == ("values",) and "writes into the candles" in found["values"].detail


# planted faults: fees


def named_fee(detail):
    """(fee taken, quantity, price, fee expected) of the sentence, exact."""
    pattern = r"fee of ([\d.]+) USDT on the \w+ of ([\d.]+) at ([\d.,]+); expected ([\d.]+) USDT"
    return [Fraction(text.replace(",", "")) for text in re.search(pattern, detail).groups()]


def rounded_up(amount):
    return Fraction(-(-amount * 10**8 // 1), 10**8)


def test_a_wrong_fee_table_fails_fees_and_nothing_else(candles, monkeypatch):
    # given the perpetual's 5.5 bps in the place of spot's 10
    since = execution.FEE_TABLE["spot"][0][0]
    monkeypatch.setitem(execution.FEE_TABLE, "spot", [(since, Decimal("5.5"))])
    found = check("ma_trend", candles)
    assert found.failed == ("fees",), found
    # then the sentence has both fees of that fill
    taken, quantity, price, due = named_fee(found["fees"].detail)
    assert due == rounded_up(quantity * price * FEE)
    assert taken == rounded_up(quantity * price * Fraction(55, 100_000))


def test_a_fee_rounded_down_in_the_ticks_fails_fees(candles, monkeypatch):
    def down(notional, fees):
        return (notional * fees.bps / 10_000).quantize(Decimal("1e-8"), ROUND_FLOOR)

    monkeypatch.setattr(execution, "fee_on", down)
    found = check("ma_trend", candles)
    assert found.failed == ("fees",), found
    assert "a tick took a fee" in found["fees"].detail
    taken, quantity, price, due = named_fee(found["fees"].detail)
    assert due == rounded_up(quantity * price * FEE) == taken + Fraction(1, 10**8)


def test_a_wrong_fee_in_the_compiled_run_fails_fees(candles, monkeypatch):
    honest = Setting.terms
    monkeypatch.setattr(
        Setting, "terms", lambda self, bars: replace(honest(self, bars), fee=0, fee_per=1)
    )
    found = check("ma_trend", candles)
    assert found.failed == ("fees",), found
    taken, quantity, price, due = named_fee(found["fees"].detail)
    assert "run took a fee" in found["fees"].detail
    assert (taken, due) == (0, rounded_up(quantity * price * FEE))


def test_without_a_fill_fees_are_not_judged_and_nothing_fails(candles):
    # given a strategy that is never long where a tick decides
    def between(history, *, window, band_bps):
        said = MA.targets(history, window=window, band_bps=band_bps)
        quarter = (history.candles.open_ms + 60_000) % 900_000 == 0
        return np.where(quarter & (said == 1), 0.0, said)

    found = check(planted(between, fast=None, reference=MA.reference), candles)
    assert found.failed == () and not found.passed
    assert found["fees"].state == "not judged" and found["parity"].passed
    assert found.summary == "planted failed none; 7 of 8 passed; not judged: fees"


# planted faults: an open candle


def test_a_decision_on_an_open_candle_fails_its_probe(candles, rules):
    # given a kit without the two rules that refuse one
    for rule in ("DATA_UNCLOSED", "DATA_LATE"):
        del rules[rule]
    found = check("ma_trend", candles)
    assert found.failed == ("open candle",), found
    assert re.match(r"at \d{4}-\S+Z: (LONG|FLAT)", found["open candle"].detail)


def test_a_decision_before_the_last_minute_is_over_fails_its_probe(candles, rules):
    del rules["DATA_UNCLOSED"]
    found = check("ma_trend", candles)
    assert found.failed == ("open candle",), found
    assert "59.999Z" in found["open candle"].detail and "is not over" in found["open candle"].detail


def moved_signals(by):
    """The backtest's signals, each taken from the candle `by` minutes later."""

    def signals(bars, strategy, params):
        said = strategy.targets(History(bars.candles()), **params)
        words = np.where(np.isnan(said), -1, said).astype(np.int8)
        moved = np.roll(words, -by)
        quarter = (bars.open_ms + 60_000) % 900_000 == 0
        return np.where(quarter, moved, -4).astype(np.int8)

    return signals


@pytest.mark.parametrize("by, probe", [(1, "open candle"), (-1, "parity")])
def test_a_backtest_that_decides_on_another_minute_fails(candles, monkeypatch, by, probe):
    monkeypatch.setattr(import_module("tgtqr_lib.backtest.run"), "signals", moved_signals(by))
    found = check("ma_trend", candles)
    assert found.failed == (probe,), found
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:00Z", found[probe].detail)


# planted faults: parity


@pytest.mark.parametrize("column", ["volume", "high", "low"])
def test_a_strategy_that_reads_what_a_backtest_does_not_have_fails_parity(candles, column):
    def heavier_than_before(history, *, window, band_bps):
        said = mean(history, window, window, band_bps)
        seen = getattr(history.candles, column)
        return np.where(np.diff(seen, prepend=seen[:1]) > 0, np.nan, said)

    found = check(planted(heavier_than_before, fast=None, lookback=two_at_least), candles)
    assert found.failed == ("parity",), found
    assert "highs, lows and volumes" in found["parity"].detail


def two_at_least(*, window, band_bps):
    return max(window, 2)


# what check takes and gives


def test_check_refuses_what_it_cannot_check(candles):
    with pytest.raises(DomainError, match="strategy 'nope' is unknown"):
        check("nope", candles)
    with pytest.raises(DomainError, match="unknown parameter 'windoo'"):
        check("ma_trend", candles, windoo=3)
    with pytest.raises(DomainError, match="is no Strategy"):
        check(MA.targets, candles)
    with pytest.raises(DomainError, match=r"lookback is 0 for .*expected a whole number from 1"):
        check(planted(MA.targets, lookback=lambda **_: 0), candles)
    with pytest.raises(DataError, match=r"359 minutes are too few for a lookback of 60; .* 360"):
        check("ma_trend", candles.head(359))


def test_a_name_that_another_strategy_has_is_refused(candles):
    other = replace(MA, text="not the registered one")
    with pytest.raises(DomainError, match="'ma_trend' is another one already"), registered(other):
        pass
    assert strategy_named("ma_trend") is MA


def test_a_strategy_is_registered_only_as_long_as_the_context_lasts():
    with pytest.raises(KeyError), registered(CHANNEL):
        assert strategy_named("channel") is CHANNEL
        raise KeyError
    with pytest.raises(DomainError):
        strategy_named("channel")
    with registered(MA):
        pass
    assert strategy_named("ma_trend") is MA


def test_the_history_of_a_case_has_gaps_and_ties(candles):
    case = Case.of(MA, candles, {})
    assert len(candles) - len(case.candles) == 1 + 17 + 1
    assert int((np.diff(case.candles.open_ms) != 60_000).sum()) == 3
    still = (np.diff(case.candles.close) == 0) & (np.diff(case.candles.open_ms) == 60_000)
    longest = max(len(run) for run in "".join("01"[int(s)] for s in still).split("0"))
    assert longest >= 60


def test_findings_show_themselves_as_text_and_as_an_escaped_table(candles):
    odd = planted(lambda history, **p: 1 / 0, text="")
    found = check(replace(odd, name="<b>odd</b>"), candles)
    lines = str(found).splitlines()
    assert lines[-1] == (
        "<b>odd</b> FAILED values; 0 of 8 passed; not judged: determinism, look-ahead, warm-up, "
        "reference, fees, open candle, parity"
    )
    assert any(
        re.match(r"values +FAILED +the strategy raised ZeroDivisionError at test", x) for x in lines
    )
    page = found._repr_html_()
    assert "&lt;b&gt;odd" in page and "<b>odd" not in page and page.count("<tr>") == 1 + len(PROBES)
    plain = found.plain()
    assert plain["strategy"] == "<b>odd</b>" and plain["passed"] is False
    assert [set(probe) >= {"name", "passed", "detail"} for probe in plain["probes"]] == [True] * 8


def test_a_strategy_that_leaves_has_not_passed(candles):
    def leaves(history, *, window, band_bps):
        raise SystemExit(0)

    found = check(planted(leaves), candles)
    assert found.failed and "SystemExit" in found["values"].detail
