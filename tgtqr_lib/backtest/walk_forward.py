"""Choosing on one stretch of history and judging on the next, with nothing leaking between them.

Purging and embargo: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7.
Walk-forward: Pardo (2008), The Evaluation and Optimization of Trading Strategies, chapter 11.
Stretches are rows `[start, end)` of one series of minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tgtqr_lib.domain import DomainError


@dataclass(frozen=True, slots=True)
class Span:
    """Rows from `start` up to, without, `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Split:
    """What to choose on, and what to judge on. `train` has two spans when the test lies between them."""

    train: tuple[Span, ...]
    test: Span


def walk_forward_splits(
    rows: int, *, train: int, test: int, purge: int, anchored: bool = False
) -> Iterator[Split]:
    """Train, pause, test; then on by one test, so that the tests join without gap or overlap.

    purge     rows left out before each test: what a decision on the last training row still decides,
              that is the longest time a position may be held (a test reads earlier prices anyway)
    anchored  every training begins at row 0 and grows, rather than moving along

    A last test may be shorter. Raises `DomainError` when not even one test fits.
    """
    _check(rows, purge, test)
    if train < 1 or train + purge >= rows:
        raise DomainError(
            f"train {train} and purge {purge} leave nothing of {rows} rows to test on"
        )
    for start in range(train + purge, rows, test):
        first = 0 if anchored else start - purge - train
        yield Split((Span(first, start - purge),), Span(start, min(start + test, rows)))


def purged_splits(rows: int, *, folds: int, purge: int, embargo: int = 0) -> Iterator[Split]:
    """Each of `folds` equal stretches as a test, all the rest as training, purged on both sides.

    purge    a decision on row t reaches up to row t + purge; training rows that would reach into the
             test, or into which the test reaches, are left out
    embargo  rows more that are left out after the test, because markets remember
    """
    _check(rows, purge, folds)
    if folds < 2 or embargo < 0:
        raise DomainError(f"{folds} folds, embargo {embargo}; expected at least 2 and 0")
    edges = [rows * i // folds for i in range(folds + 1)]
    for start, end in pairwise(edges):
        spans = (Span(0, start - purge), Span(end + purge + embargo, rows))
        train = tuple(span for span in spans if span.end > span.start)
        if not train:
            raise DomainError(f"a purge of {purge} leaves nothing of {rows} rows to train on")
        yield Split(train, Span(start, end))


def _check(rows: int, purge: int, parts: int) -> None:
    if rows < 1 or purge < 0 or parts < 1:
        raise DomainError(f"{rows} rows, purge {purge}, {parts} to test; expected positive numbers")


@dataclass(frozen=True, slots=True)
class Judged:
    """One split: what was chosen on its training, how it scored there, and what it then did.

    trials  how many candidates the choice was made among
    at_ms, equity, start  marks of the test and equity before the first, as in `Study`
    """

    split: Split
    chosen: Any
    score: float
    trials: int
    at_ms: np.ndarray
    equity: np.ndarray
    start: float

    @property
    def gain(self) -> float:
        """USDT."""
        return float(self.equity[-1] - self.start)


@dataclass(frozen=True, slots=True)
class WalkForward:
    """Choices and tests in their order, and the tests' equity as one curve.

    equity  gains of all tests, one after the other, on the first one's start: an order's size does not
            grow with equity, so gains add up
    """

    judged: tuple[Judged, ...]
    at_ms: np.ndarray
    equity: np.ndarray
    start: float

    @property
    def trials(self) -> int:
        """How many candidates were scored in all, for the deflated Sharpe ratio."""
        return sum(each.trials for each in self.judged)

    def _repr_markdown_(self) -> str:
        lines = [
            f"**Out of sample {self.equity[-1] - self.start:+.4f} USDT over {len(self.judged)} tests, "
            f"{self.trials:,} candidates scored.**",
            "",
            "| test | chosen | score in training | gain in test, USDT |",
            "|---|---|---:|---:|",
        ]
        for each in self.judged:
            day = np.datetime64(int(each.at_ms[0]), "ms").astype("datetime64[D]")
            lines.append(f"| from {day} | {each.chosen} | {each.score:.4g} | {each.gain:+.4f} |")
        return "\n".join(lines)


Sweep = Callable[[tuple[Span, ...]], Sequence[tuple[Any, float]]]
Evaluate = Callable[[Any, Span], Any]


def walk_forward(splits: Iterable[Split], sweep: Sweep, evaluate: Evaluate) -> WalkForward:
    """For each split the best candidate of its training, judged on its test.

    sweep     training spans -> (candidate, score) of every one tried; the higher score is better, the
              first of equals is taken, NaN never
    evaluate  (candidate, test span) -> an object with `at_ms`, `equity` and `start`, such as a `Study`

    Raises `DomainError` when nothing can be chosen, or tests overlap.
    """
    judged: list[Judged] = []
    for split in splits:
        tried = list(sweep(split.train))
        scores = np.array([score for _, score in tried], dtype=np.float64)
        if not np.isfinite(scores).any():
            raise DomainError(
                f"training {split.train}: none of {len(tried)} candidates has a score"
            )
        best = int(np.nanargmax(np.where(np.isfinite(scores), scores, np.nan)))
        seen = evaluate(tried[best][0], split.test)
        judged.append(
            Judged(
                split, tried[best][0], float(scores[best]), len(tried),
                np.asarray(seen.at_ms), np.asarray(seen.equity, np.float64), float(seen.start),
            )
        )  # fmt: skip
    if not judged:
        raise DomainError("there is no split to walk forward on")
    start = judged[0].start
    ends = start + np.cumsum([each.gain for each in judged])
    begins = [start, *ends[:-1]]
    at_ms = np.concatenate([each.at_ms for each in judged])
    if (np.diff(at_ms) <= 0).any():
        raise DomainError("the tests overlap, so their equity is no one curve")
    equity = np.concatenate(
        [begin + each.equity - each.start for begin, each in zip(begins, judged, strict=True)]
    )
    return WalkForward(tuple(judged), at_ms, equity, start)
