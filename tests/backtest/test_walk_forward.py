"""Splits that cannot leak, shown by construction, and the walk over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.backtest.test_metrics import T0, a_study
from tgtqr_lib.backtest.walk_forward import (
    Span,
    Split,
    purged_splits,
    walk_forward,
    walk_forward_splits,
)
from tgtqr_lib.domain import MINUTE_MS, DomainError


def rows_of(spans):
    return {row for span in spans for row in range(span.start, span.end)}


def reached(rows, purge):
    """Rows that decisions on `rows` look at or act upon: each until `purge` rows later."""
    return {row + k for row in rows for k in range(purge + 1)}


@given(
    st.integers(2, 200), st.integers(1, 60), st.integers(1, 40), st.integers(0, 15), st.booleans()
)
def test_a_walk_never_trains_on_what_it_tests(rows, train, test, purge, anchored):
    assume(train + purge < rows)
    splits = list(walk_forward_splits(rows, train=train, test=test, purge=purge, anchored=anchored))
    for split in splits:
        tested = set(range(split.test.start, split.test.end))
        assert not reached(rows_of(split.train), purge) & tested
        assert max(rows_of(split.train)) < split.test.start
        assert len(rows_of(split.train)) == train or anchored
    # the tests cover everything after the first training, once
    covered = [row for s in splits for row in range(s.test.start, s.test.end)]
    assert covered == list(range(train + purge, rows))


@given(st.integers(10, 150), st.integers(2, 6), st.integers(0, 8), st.integers(0, 8))
def test_purged_folds_never_overlap_in_either_direction(rows, folds, purge, embargo):
    assume(rows // folds > purge + embargo)
    splits = list(purged_splits(rows, folds=folds, purge=purge, embargo=embargo))
    for split in splits:
        trained, tested = rows_of(split.train), set(range(split.test.start, split.test.end))
        assert not reached(trained, purge) & tested
        assert not reached(tested, purge + embargo) & trained
        # and nothing is left out without need
        left_out = set(range(rows)) - trained - tested
        assert len(left_out) <= 2 * purge + embargo
    assert [row for s in splits for row in range(s.test.start, s.test.end)] == list(range(rows))


def test_without_purging_the_last_training_rows_reach_into_the_test():
    (split, *_) = walk_forward_splits(100, train=50, test=10, purge=0)
    assert reached(rows_of(split.train), 3) & set(range(50, 60)) == {50, 51, 52}


def test_a_split_by_hand():
    first, second = walk_forward_splits(100, train=50, test=30, purge=10)
    assert first == Split((Span(0, 50),), Span(60, 90))
    assert second == Split((Span(30, 80),), Span(90, 100))
    _, middle, _ = purged_splits(90, folds=3, purge=2, embargo=5)
    assert middle == Split((Span(0, 28), Span(67, 90)), Span(30, 60))


@pytest.mark.parametrize(
    "options",
    [
        {"train": 90, "test": 5, "purge": 10},
        {"train": 0, "test": 5, "purge": 0},
        {"train": 10, "test": 0, "purge": 0},
        {"train": 10, "test": 5, "purge": -1},
    ],
)
def test_splits_that_leave_nothing_are_refused(options):
    with pytest.raises(DomainError):
        list(walk_forward_splits(100, **options))


@pytest.mark.parametrize(
    "folds, purge, embargo", [(1, 0, 0), (2, 0, -1), (2, 60, 0)], ids=["one", "negative", "all"]
)
def test_folds_that_leave_nothing_are_refused(folds, purge, embargo):
    with pytest.raises(DomainError):
        list(purged_splits(100, folds=folds, purge=purge, embargo=embargo))


GAINS = {"a": 0.01, "b": -0.02}


def evaluate(candidate, span):
    """Every row of the span gains as much as the candidate does; each test starts with 10 again."""
    at = T0 + MINUTE_MS * np.arange(span.start + 1, span.end + 1)
    return a_study(10 + GAINS[candidate] * np.arange(1, len(span) + 1), at_ms=at)


def sweep(spans):
    """`a` looks best early in history, `b` later."""
    late = spans[0].start >= 30
    return [("a", 0.0 if late else 1.0), ("b", 0.5), ("c", float("nan"))]


SPLITS = list(walk_forward_splits(100, train=40, test=30, purge=0))


def test_the_best_of_training_is_judged_on_the_test():
    found = walk_forward(SPLITS, sweep, evaluate)
    assert [each.chosen for each in found.judged] == ["a", "b"]
    assert [each.score for each in found.judged] == [1.0, 0.5]
    assert [each.gain for each in found.judged] == pytest.approx([0.3, -0.6])
    assert found.trials == 6
    # 30 rows of 0.01 up, then 30 of 0.02 down, from one start
    assert found.start == 10 and len(found.equity) == 60
    assert found.equity[[0, 29, 30, 59]] == pytest.approx([10.01, 10.3, 10.28, 9.7])
    assert "Out of sample -0.3000 USDT" in found._repr_markdown_()


def test_of_equals_the_first_is_taken():
    found = walk_forward(SPLITS[:1], lambda _: [("b", 1.0), ("a", 1.0)], evaluate)
    assert found.judged[0].chosen == "b"


def test_the_sweep_never_sees_the_test():
    asked = []

    def spying(spans):
        asked.append(spans)
        return sweep(spans)

    walk_forward(SPLITS, spying, evaluate)
    assert asked == [split.train for split in SPLITS]


@pytest.mark.parametrize(
    "splits, scores",
    [
        ([], [("a", 1.0)]),
        (SPLITS, []),
        (SPLITS, [("a", float("nan"))]),
        (SPLITS[:1] * 2, [("a", 1.0)]),
    ],
    ids=["no split", "no candidate", "no score", "twice"],
)
def test_a_walk_without_a_choice_is_refused(splits, scores):
    with pytest.raises(DomainError):
        walk_forward(splits, lambda _: scores, evaluate)
