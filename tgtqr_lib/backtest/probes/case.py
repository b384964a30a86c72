"""What the probes work on: a strategy, sets of its parameters, and a history with gaps and ties in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.crossings import TICK_MS
from tgtqr_lib.backtest.probes.ticks import Ticks, ticks_of
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import (
    ABSENT,
    MINUTE_MS,
    BookHistory,
    Candles,
    DataError,
    DomainError,
    Funding,
    History,
    Plan,
)
from tgtqr_lib.limits import COLLAR_BPS, ORDER_TARGET_USDT
from tgtqr_lib.strategies import Strategy

USUAL_MINUTES = 4 * 1440  # of history; more only for a long lookback
TICKED_MINUTES = 3 * 1440  # of it are also run as ticks, which is slow
LEAST_MINUTES = 240  # beyond twice the lookback
AHEAD = 60  # minutes of another future, and of another past
CALM = 30  # minutes longer than the lookback in which the price stands still, so that ties happen
NAMES = {1.0: "LONG", 0.0: "FLAT"}
Params = dict[str, int]


@dataclass(frozen=True, eq=False)
class Case:
    """One strategy to be checked.

    sets     the parameters asked about, then each at the ends of its range as far as the history is long
             enough for the lookback
    candles  the newest part of the given history, with three gaps and a stretch without a move made in it
    funding, book  what was given beside the candles, for a strategy that reads it
    """

    strategy: Strategy
    sets: tuple[Params, ...]
    candles: Candles
    funding: Funding | None = None
    book: BookHistory | None = None

    @classmethod
    def of(cls, strategy: Strategy, candles: Any, parameters: Mapping[str, int]) -> Case:
        """The case for `candles` (`Candles`, `Bars` or a `History` of one symbol).

        Raises `DomainError` for parameters or a lookback that cannot be, `DataError` for too few minutes, or
        without the funding or the book that the strategy reads.
        """
        beside = Bars.of(candles)
        given = candles.candles if isinstance(candles, History) else candles
        given = given if isinstance(given, Candles) else beside.candles()
        for need in strategy.needs:
            if getattr(beside, need) is None:
                raise DataError(
                    f"{given.symbol}: strategy {strategy.name} reads {need}, and none was given; "
                    "expected a History with it"
                )
        params = strategy.checked(parameters)
        need, least = need_of(strategy, params), least_minutes(strategy, params)
        if len(given) < least:
            raise DataError(
                f"{given.symbol}: {len(given):,} minutes are too few for a lookback of {need:,}; "
                f"expected at least {least:,}"
            )
        wanted = minutes_wanted(strategy, params)
        seen = given.tail(wanted)
        sets = [params]
        for other in extremes(strategy, params):
            if 2 * need_of(strategy, other) <= len(seen):
                sets.append(other)
        return cls(strategy, tuple(sets), _rough(seen, need), beside.funding, beside.book)

    @property
    def params(self) -> Params:
        """The parameters asked about."""
        return self.sets[0]

    @property
    def plan(self) -> Plan:
        return Plan(self.strategy.name, self.params, ORDER_TARGET_USDT, COLLAR_BPS)

    def need(self, params: Params) -> int:
        return need_of(self.strategy, params)

    def targets(self, candles: Candles, params: Params) -> np.ndarray:
        """What the strategy says of `candles` with all that is beside them, unchecked."""
        return self.strategy.targets(self.history(candles), **params)

    def history(self, candles: Candles) -> History:
        return History(candles, self.funding, self.book)

    def known(self, candles: Candles, params: Params) -> np.ndarray:
        """What it says of `candles` when what is beside them ends where their last candle closes."""
        end = int(candles.open_ms[-1]) + MINUTE_MS
        return self.strategy.targets(self._beside(candles, end, False), **params)

    def otherwise(self, candles: Candles, end_ms: int, params: Params) -> np.ndarray:
        """What it says of `candles` when what came beside them after `end_ms` was something else."""
        return self.strategy.targets(self._beside(candles, end_ms, True), **params)

    def _beside(self, candles: Candles, end_ms: int, wild: bool) -> History:
        funding, book = self.funding, self.book
        if funding is not None:
            # the settlement of the very close is not known yet
            later = funding.at_ms >= end_ms
            other = Funding(
                funding.at_ms, np.where(later, -7 * funding.units, funding.units), funding.minutes
            )
            funding = other if wild else funding[~later]
        if book is not None:
            later = book.at_ms > end_ms
            kept = slice(None) if wild else ~later
            columns = {
                name: np.where(later & (column != ABSENT), -column, column)[kept]
                for name, column in book.columns.items()
            }
            book = BookHistory(book.at_ms[kept], columns)
        return History(candles, funding, book)

    @cached_property
    def ticked(self) -> Candles:
        """The newest part of the history, which is run as ticks too."""
        return self.candles.tail(TICKED_MINUTES + 2 * self.need(self.params))

    @cached_property
    def ticks(self) -> Ticks:
        """The ticks of `ticked`, decided and filled by the code of a tick."""
        return ticks_of(self.history(self.ticked), self.plan)

    @cached_property
    def longer(self) -> Candles:
        """The history and an hour more, in which the last candle stays."""
        last, more = self.candles.tail(1), np.arange(1, AHEAD + 1)
        columns = {name: np.repeat(getattr(last, name), AHEAD) for name in Candles.COLUMNS}
        return joined(
            self.candles, replace(last, open_ms=last.open_ms + MINUTE_MS * more, **columns)
        )

    @cached_property
    def wild(self) -> Candles:
        """`longer` with the same minutes and other prices: from a fiftieth to fifty times as much."""
        seen, rng = self.longer, np.random.default_rng(1)
        factor = rng.choice([1 / 50, 1 / 2, 2, 50], len(seen)) * rng.uniform(0.9, 1.1, len(seen))
        prices = np.maximum(np.rint(seen.close * factor), 1).astype(np.int64)
        columns = {name: prices for name in ("open", "high", "low", "close")}
        return replace(seen, **columns, volume=seen.volume[::-1])

    def decisions(self) -> np.ndarray:
        """Rows whose candle closes on a quarter hour, where a tick decides."""
        return np.flatnonzero((self.candles.open_ms + MINUTE_MS) % TICK_MS == 0)

    def rows(self, params: Params) -> Iterator[int]:
        """Every decision, the minutes around gaps and the first window, and for the parameters asked about
        every minute of six hours.
        """
        n, need = len(self.candles), self.need(params)
        after = np.flatnonzero(np.diff(self.candles.open_ms) != MINUTE_MS) + 1
        edges = np.concatenate([[0, n - 1], after])
        near = (edges[:, None] + np.array([-2, -1, 0, 1, 2, need - 2, need - 1, need])).ravel()
        six_hours = np.arange(max(n - 360, 0) if params is self.params else n, n)
        every = np.unique(np.concatenate([self.decisions(), six_hours, near]))
        yield from every[(every >= 0) & (every < n)].tolist()

    def minute(self, row: int) -> str:
        """The open of the candle in `row`, as text."""
        return iso(from_ms(int(self.candles.open_ms[row])))


def minutes_wanted(strategy: Strategy, parameters: Mapping[str, int]) -> int:
    """How many minutes of history a check reads when there are as many."""
    params = strategy.checked(parameters)
    longest = max(need_of(strategy, one) for one in (params, *extremes(strategy, params)))
    return max(USUAL_MINUTES, 4 * min(longest, 10 * 1440))


def least_minutes(strategy: Strategy, params: Params) -> int:
    """How many minutes of history a check needs at least."""
    return 2 * need_of(strategy, params) + LEAST_MINUTES


def need_of(strategy: Strategy, params: Params) -> int:
    """The lookback. Raises `DomainError` when it is no whole number from 1."""
    need = strategy.lookback(**params)
    if isinstance(need, bool) or not isinstance(need, (int, np.integer)) or need < 1:
        raise DomainError(
            f"strategy {strategy.name}: lookback is {need!r} for {params}; "
            "expected a whole number from 1"
        )
    return int(need)


def extremes(strategy: Strategy, params: Params) -> list[Params]:
    """`params` with one of them at an end of its declared range, for each end that is another value."""
    return [
        {**params, name: end}
        for name, declared in strategy.parameters.items()
        for end in (declared.low, declared.high)
        if end != params[name]
    ]


def joined(first: Candles, second: Candles) -> Candles:
    """`second` after `first`."""
    names = ("open_ms", *Candles.COLUMNS)
    columns = {n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in names}
    return replace(first, **columns)


def word(target: float) -> str:
    """A target as a signal's word."""
    return "HOLD" if np.isnan(target) else NAMES.get(float(target), f"{target}")


def same(one: float, other: float) -> bool:
    """Whether two targets are equal; hold equals hold."""
    return bool(one == other or (np.isnan(one) and np.isnan(other)))


def named(params: Params) -> str:
    """Parameters as a remark in parentheses; empty when there are none."""
    text = ", ".join(f"{name} {value}" for name, value in params.items())
    return f" ({text})" if text else ""


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rough(candles: Candles, need: int) -> Candles:
    """`candles` without a minute, without 17, without one that ends on a quarter hour; then a calm stretch.

    A history too short to stay useful after that is left as it is.
    """
    n = len(candles)
    first = n - min(n, TICKED_MINUTES + 2 * need) + need + 960
    calm = slice(first + 130, first + 130 + need + CALM)
    if calm.stop + 2 * need + LEAST_MINUTES > n:
        return candles
    closes_quarter = (candles.open_ms + MINUTE_MS) % TICK_MS == 0
    decision = first + 60 + int(np.argmax(closes_quarter[first + 60 :]))
    keep = np.ones(n, dtype=bool)
    keep[[first, decision]] = False
    keep[first + 20 : first + 37] = False
    columns = {name: getattr(candles, name).copy() for name in Candles.COLUMNS}
    for name in ("open", "high", "low", "close"):
        columns[name][calm] = candles.close[calm.start]
    kept = {name: column[keep] for name, column in columns.items()}
    return replace(candles, open_ms=candles.open_ms[keep], **kept)
