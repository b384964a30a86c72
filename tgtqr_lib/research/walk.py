"""Notebook 03: choose on one stretch, judge on the next, and compare what was promised with what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tgtqr_lib.backtest.metrics import Study, study_of
from tgtqr_lib.backtest.report import Table
from tgtqr_lib.backtest.walk_forward import Span, WalkForward, walk_forward, walk_forward_splits
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import DomainError, Plan
from tgtqr_lib.research.drawing import Frame, Sketch, number, picture
from tgtqr_lib.research.past import Past
from tgtqr_lib.research.plans import Answer, money, swept, tested
from tgtqr_lib.strategies import strategy_named

DAY = 1440  # rows, when no minute is missing


@dataclass(frozen=True, eq=False)
class Walk:
    """A walk forward over a history.

    promised  (k,) USDT a day that each choice had made in its training
    kept      (k,) USDT a day that it then made in its test
    """

    past: Past
    forward: WalkForward
    promised: np.ndarray
    kept: np.ndarray

    @classmethod
    def of(
        cls,
        past: Past,
        plan: Plan,
        grid: Mapping[str, Sequence[int]],
        train_days: int = 90,
        test_days: int = 30,
        purge_days: int = 1,
        anchored: bool = False,
        whole: bool = False,
    ) -> Walk:
        """Choose the combination of `grid` with the best net result in training, test it on what follows.

        train_days, test_days  at most a quarter and a twelfth of the history, in whole days
        whole  leave a last test out that is shorter than the others

        Raises `DomainError` when the history is too short for that.
        """
        rows = len(past.candles)
        train_days = max(min(train_days, rows // DAY // 4), 1)
        test_days = max(min(test_days, rows // DAY // 12), 1)
        if rows <= (train_days + purge_days) * DAY:
            raise DomainError(
                f"{past.candles.symbol}: {past.days:.1f} days are too few to train on {train_days} and "
                f"pause {purge_days}; expected more than {train_days + purge_days}"
            )
        if whole:
            rest = (rows - (train_days + purge_days) * DAY) % (test_days * DAY)
            rows = rows - rest if rows - rest > (train_days + purge_days) * DAY else rows
        splits = walk_forward_splits(
            rows, train=train_days * DAY, test=test_days * DAY, purge=purge_days * DAY,
            anchored=anchored,
        )  # fmt: skip

        def choices(train: tuple[Span, ...]) -> list[tuple[Any, float]]:
            found = swept(part(past, train[0].start, train[0].end), plan, grid)
            return list(zip(found.params, (found.pnl / 1e8).tolist(), strict=True))

        forward = walk_forward(splits, choices, lambda point, span: judge(past, plan, point, span))
        trained = [len(each.split.train[0]) / DAY for each in forward.judged]
        days = [len(each.split.test) / DAY for each in forward.judged]
        return cls(
            past,
            forward,
            np.array([each.score for each in forward.judged]) / trained,
            np.array([each.gain for each in forward.judged]) / days,
        )

    @property
    def end(self) -> int:
        """The row of the history after the last test."""
        return self.forward.judged[-1].split.test.end

    @property
    def net(self) -> float:
        """USDT of all tests together."""
        return float(self.forward.equity[-1] - self.forward.start)

    @property
    def table(self) -> Table:
        """Every test: what was chosen, what it had made in training, what it made then, a day."""
        rows = tuple(
            (
                utc_day(from_ms(int(each.at_ms[0]))),
                ", ".join(f"{name} {value}" for name, value in each.chosen.items()),
                number(promised, 5, sign=True),
                number(kept, 5, sign=True),
            )
            for each, promised, kept in zip(
                self.forward.judged, self.promised, self.kept, strict=True
            )
        )
        head = ("test from", "chosen", "training, USDT a day", "test, USDT a day")
        return Table(head, rows)

    @property
    def chart(self) -> Sketch:
        """Equity over all tests, one after the other."""
        at, equity = self.forward.at_ms, self.forward.equity
        frame = Frame.around(
            (float(at[0]), float(at[-1])), (equity, np.array([self.forward.start]))
        )
        inside = frame.values() + frame.level(self.forward.start)
        inside += frame.path(at, equity, "blue") + frame.times()
        legend = [(f"— net, out of sample {number(equity[-1], 4)}", "blue"), ("⋯ start", "muted")]
        text = f"Equity out of sample, {len(self.forward.judged)} tests, {self.net:+.4f} USDT"
        return picture("Equity over the tests, USDT", legend, inside, text)


@dataclass(frozen=True, eq=False)
class Judged:
    """The marks of a test alone: what came before it, to fill the lookback, is cut off."""

    at_ms: np.ndarray
    equity: np.ndarray
    start: float


def part(past: Past, start: int, end: int) -> Past:
    """Rows [start, end) of `past`."""
    return replace(past, candles=past.candles[start:end])


def judge(past: Past, plan: Plan, point: Mapping[str, int], span: Span) -> Judged:
    """`point` on the rows of `span`; the lookback before it is seen, and nothing is traded in it."""
    need = strategy_named(plan.strategy).lookback(**point)
    first = max(span.start - need + 1, 0)
    seen: Study = study_of(
        tested(part(past, first, span.end), replace(plan, parameters=dict(point)))
    )
    begin = span.start - first
    return Judged(seen.at_ms[begin:], seen.equity[begin:], seen.start)


def answer(walk: Walk) -> Answer:
    """Whether what was chosen kept what it promised."""
    tests, gained = len(walk.kept), int((walk.kept > 0).sum())
    promised, kept = float(walk.promised.mean()), float(walk.kept.mean())
    if walk.net > 0:
        verdict = f"Chosen on the past, it gained {money(walk.net)} on what followed"
    else:
        verdict = f"Chosen on the past, it lost {money(walk.net)} on what followed"
    fell = "less" if kept < promised else "no less"
    lines = [
        f"{verdict}, in {tests} tests of which {gained} gained.",
        f"The choices had made {money(promised)} a day in training and made {money(kept)} in the tests, "
        f"{fell} than promised; {walk.forward.trials:,} candidates were scored on the way.",
    ]
    if promised <= 0:
        lines.append("Even the best of each training lost there, so there was nothing to choose.")
    if walk.past.made_up:
        lines.append(
            "The prices are made up by chance, so nothing lasts from one stretch to the next."
        )
    return Answer(" ".join(lines))
