"""The histories that the document is about, and every backtest and test of luck in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tgtqr_lib import backtest
from tgtqr_lib.backtest import Result, SweepResult, replay
from tgtqr_lib.backtest.bootstrap import Interval, interval
from tgtqr_lib.backtest.crossings import TICK_MS
from tgtqr_lib.backtest.luck import FEWEST_DAYS, Luck
from tgtqr_lib.backtest.metrics import Study, measure, sharpe, study_of
from tgtqr_lib.canonical import sha256
from tgtqr_lib.clock import from_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, Candles, DataError, DomainError, Limits
from tgtqr_lib.limits import HARD, SYMBOLS
from tgtqr_lib.research import Past, history, plan
from tgtqr_lib.research.luck import Trials
from tgtqr_lib.research.walk import Walk
from tgtqr_lib.signals.moving_average import trailing_sum
from tgtqr_lib.strategies import STRATEGIES
from tgtqr_lib.strategy_document.facts import SEED

BOTH = "both"
DAYS = 365
FEWEST = 3  # days: one to choose in, one between, one to be judged on
EQUAL_DAYS = 2  # of history that goes through `replay` too
WINDOWS = tuple(np.unique(np.geomspace(15, 1440, 73).round().astype(int)).tolist())  # of the map
BANDS = tuple(range(0, 101, 4))
TRIED: Mapping[str, tuple[int, ...]] = {  # what was searched for the best one
    "window": (30, 60, 120, 240, 480, 720, 960, 1440),
    "band_bps": (0, 10, 25, 50),
}


@dataclass(frozen=True, eq=False)
class Subject:
    """One symbol, or both on one account, without loss limits and with them."""

    name: str
    candles: Any
    off: Result
    on: Result

    @classmethod
    def of(cls, name: str, candles: Any) -> Subject:
        return cls(name, candles, *(backtest.run(candles, plan(SEED), x) for x in (None, HARD)))

    @cached_property
    def study(self) -> Study:
        return study_of(self.off)

    @cached_property
    def metrics(self) -> tuple[dict[str, float], dict[str, float]]:
        """Every metric without limits, and with them."""
        return measure(self.study), measure(study_of(self.on))

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Of the Sharpe ratio and the total return without limits; empty when days are too few."""
        returns = self.study.returns
        if len(returns) < FEWEST_DAYS or not np.isfinite(returns).all():
            return {}
        return {name: interval(returns, name) for name in ("sharpe", "total_return")}

    @cached_property
    def gross_interval(self) -> Interval | None:
        """Of the Sharpe ratio before costs without limits; None when days are too few, or all alike."""
        returns = self.study.gross_returns
        if len(returns) < FEWEST_DAYS or not np.isfinite(sharpe(returns)):
            return None
        return interval(returns, "sharpe")

    @property
    def costs(self) -> float:
        """USDT, of fees, spread and funding."""
        return float(self.off.gross - self.off.pnl)

    @property
    def days_to_stop(self) -> float | None:
        """From the first candle to the stop, with limits; None without a stop."""
        if self.on.stop is None:
            return None
        ms = self.on.stop.at.timestamp() * 1000 - int(self.on.times_ms[0])
        return ms / 86_400_000


@dataclass(frozen=True, eq=False)
class Compared:
    """A strategy over both symbols without loss limits, or why it is not there."""

    name: str
    text: str
    result: Result | None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that the chapters on results are made of.

    subjects  the symbols, and both last
    """

    pasts: Mapping[str, Past]
    subjects: tuple[Subject, ...]
    maps: Mapping[str, SweepResult]
    trials: Mapping[str, Trials]
    lucks: Mapping[str, Luck]
    walks: Mapping[str, Walk]
    compared: tuple[Compared, ...]

    @classmethod
    def of(cls, home: str | os.PathLike[str], days: int = DAYS) -> Evidence:
        """Everything over the last `days` that the lake of `home` holds, or over made-up ones.

        Raises `DataError` when the lake has candles of one symbol only, or of fewer than `FEWEST` days.
        """
        pasts = {symbol: history(symbol, home, days) for symbol in SYMBOLS}
        if len({past.made_up for past in pasts.values()}) > 1:
            lacking = next(symbol for symbol, past in pasts.items() if past.made_up)
            raise DataError(
                f"the lake has no candle of {lacking}; expected recorded candles of "
                f"{' and '.join(SYMBOLS)}, or of neither"
            )
        for symbol, past in pasts.items():
            if len(past.candles) < FEWEST * 1440:
                raise DataError(
                    f"{symbol}: there are {len(past.candles) / 1440:.1f} days of candles "
                    f"({len(past.candles):,} minutes); the strategy document needs {FEWEST} or more"
                )
        candles = {symbol: past.candles for symbol, past in pasts.items()}
        subjects = tuple(Subject.of(symbol, one) for symbol, one in candles.items())
        trials = {symbol: Trials.of(past, plan(SEED), TRIED) for symbol, past in pasts.items()}
        lucks = {symbol: tried.luck() for symbol, tried in trials.items()}
        grid = {"window": WINDOWS, "band_bps": BANDS}
        return cls(
            pasts,
            (*subjects, Subject.of(BOTH, candles)),
            {s: backtest.sweep(one, plan(SEED), grid, None) for s, one in candles.items()},
            trials,
            {symbol: luck for symbol, luck in lucks.items() if isinstance(luck, Luck)},
            {
                symbol: Walk.of(past, plan(SEED), TRIED, whole=True)
                for symbol, past in pasts.items()
            },
            compare(candles),
        )

    @property
    def made_up(self) -> bool:
        return all(past.made_up for past in self.pasts.values())

    @property
    def first(self) -> Past:
        return self.pasts[SYMBOLS[0]]

    @property
    def both(self) -> Subject:
        return self.subjects[-1]

    @property
    def span(self) -> tuple[str, str]:
        """First and last UTC day of any candle."""
        every = [past.candles.open_ms for past in self.pasts.values()]
        first, last = min(int(at[0]) for at in every), max(int(at[-1]) for at in every)
        return utc_day(from_ms(first)), utc_day(from_ms(last))

    @property
    def end_s(self) -> int:
        """The end of the newest candle, seconds since 1970."""
        newest = max(int(past.candles.open_ms[-1]) for past in self.pasts.values())
        return (newest + MINUTE_MS) // 1000


def compare(candles: Mapping[str, Candles]) -> tuple[Compared, ...]:
    """Every registered strategy with its defaults over both symbols.

    One that reads more than candles is not run: it would only be flat, which says nothing of it.
    """
    return tuple(_compared(name, candles) for name in STRATEGIES)


def _compared(name: str, candles: Mapping[str, Candles]) -> Compared:
    strategy = STRATEGIES[name]
    if strategy.needs:
        return Compared(name, strategy.text, None, f"needs {' and '.join(strategy.needs)}")
    return Compared(name, strategy.text, backtest.run(candles, plan(name), None))


@dataclass(frozen=True, slots=True)
class Equal:
    """What was compared between the two engines."""

    days: int
    trades: int
    minutes: int


def equal_engines(
    candles: Mapping[str, Candles], days: int = EQUAL_DAYS, limits: Limits | None = HARD
) -> Equal:
    """`replay`, which goes through the tick's own code, and `run` on the first `days`, unit by unit.

    Raises `DomainError` when they differ in a trade or in any minute's equity.
    """
    part = {symbol: one.head(days * 1440) for symbol, one in candles.items()}
    slow, quick = (engine(part, plan(SEED), limits) for engine in (replay, backtest.run))
    same = all(
        getattr(slow, name) == getattr(quick, name)
        for name in ("trades", "open_positions", "signals", "stop", "fees_units", "spread_units")
    )
    if not (same and np.array_equal(slow.equity_units, quick.equity_units)):
        raise DomainError(f"replay and run differ over the first {days} days")
    return Equal(days, len(quick.table), len(quick.times_ms))


@dataclass(frozen=True, slots=True)
class Ties:
    """Exact comparisons with the mean of a window, beside those of a running mean of floats.

    compared  minutes with a whole window; tied those in which close and mean are equal
    wrong     minutes in which the floats say another thing than the whole numbers
    """

    compared: int
    tied: int
    wrong: int


def ties(candles: Candles, window: int) -> Ties:
    """How often close and mean tie in `candles`, and how often floats get the comparison wrong."""
    steps = candles.close
    exact = np.sign(window * steps - trailing_sum(steps, window))[window - 1 :]
    price = steps / 10.0**candles.decimals
    total = np.concatenate([[0.0], np.cumsum(price)])
    floating = np.sign(price[window - 1 :] - (total[window:] - total[:-window]) / window)
    return Ties(len(exact), int((exact == 0).sum()), int((exact != floating).sum()))


def moves_beyond(candles: Candles, fraction: float) -> float:
    """The share of quarter hours in which the close moved by more than `fraction`, either way."""
    quarter = candles.close[(candles.open_ms + MINUTE_MS) % TICK_MS == 0]
    moves = np.abs(quarter[1:] / quarter[:-1] - 1)
    return float((moves > fraction).mean()) if len(moves) else float("nan")


def candles_sha256(candles: Candles) -> str:
    """SHA-256 over symbol, market, decimals and the columns as little-endian 64-bit integers."""
    digest = hashlib.sha256(f"{candles.symbol} {candles.market} {candles.decimals}\n".encode())
    for name in ("open_ms", *Candles.COLUMNS):
        digest.update(getattr(candles, name).astype("<i8").tobytes())
    return digest.hexdigest()


def result_sha256(result: Result) -> str:
    """SHA-256 of the canonical JSON of a result: every trade, all money, the stop."""
    return sha256(result.as_dict())
