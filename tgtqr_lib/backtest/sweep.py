"""`sweep`: one backtest for every combination of parameters, each equal to `run` to the last unit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from tgtqr_lib.backtest import sweep_kernel
from tgtqr_lib.backtest.bars import Bars, series_of
from tgtqr_lib.backtest.bits import WORD, pack
from tgtqr_lib.backtest.crossings import FLAT, INT64_MAX, LONG, signals
from tgtqr_lib.backtest.grid import Grid, combinations
from tgtqr_lib.backtest.kernel import reserve_bound
from tgtqr_lib.backtest.quarters import Quarters
from tgtqr_lib.backtest.result import BREACH, SPENT, money
from tgtqr_lib.backtest.run import run
from tgtqr_lib.backtest.terms import SPREAD_BPS, Setting, units
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DomainError, Fees, Instrument, Limits, Plan
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.strategies import Strategy, strategy_named

BPS = 10_000
CAUSES = ("", BREACH, SPENT)
# rows of what a job finds, a column a combination
TRADES, PNL, FEES, SPREAD, FUNDING, DRAWDOWN, STOP_MS, CAUSE = range(8)
MONEY = ("pnl", "gross", "fees", "spread", "funding", "drawdown")
PART = 4_000  # combinations between two looks at progress and Ctrl-C

Points = Grid | Mapping[str, Sequence[int]] | Sequence[Mapping[str, int]]
Progress = Callable[[int, int], None]  # combinations done, and all


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What every combination came to, in the order of the grid; money in units of 1e-8.

    params      the combinations, complete
    trades      (c,) int64, sales; what is open at the end is marked and not counted
    pnl, fees, spread, funding  (c,) int64 units; pnl is after all costs
    drawdown    (c,) int64 units, the largest fall of equity from an earlier peak, by minute
    stop_ms     (c,) int64, the minute whose check stopped it, -1 when nothing did
    stop_cause  (c,) of "", "BREACH" and "SPENT"
    """

    symbol: str
    strategy: str
    params: Grid
    bars: int
    labels: tuple[str, ...]
    trades: np.ndarray
    pnl: np.ndarray
    fees: np.ndarray
    spread: np.ndarray
    funding: np.ndarray
    drawdown: np.ndarray
    stop_ms: np.ndarray
    stop_cause: np.ndarray

    def __len__(self) -> int:
        return len(self.params)

    @property
    def gross(self) -> np.ndarray:
        """(c,) int64 units: PnL before fees, spread and funding."""
        return self.pnl + self.fees + self.spread + self.funding

    def stop_at(self, place: int) -> datetime | None:
        """When the combination at `place` stopped, or None."""
        ms = int(self.stop_ms[place])
        return None if ms < 0 else from_ms(ms)

    def row(self, place: int) -> dict[str, Any]:
        """One combination as plain values: money as decimal text."""
        stop = self.stop_at(place)
        units_of = {name: int(getattr(self, name)[place]) for name in MONEY if name != "gross"}
        costs = units_of["fees"] + units_of["spread"] + units_of["funding"]
        units_of["gross"] = units_of["pnl"] + costs
        return {
            "params": dict(self.params[place]),
            "trades": int(self.trades[place]),
            **{name: f"{money(units_of[name]):f}" for name in MONEY},
            "stop_at": iso(stop) if stop else None,
            "stop_cause": self.stop_cause[place] or None,
        }

    def best(self, count: int = 10, by: str = "pnl") -> list[dict[str, Any]]:
        """The `count` combinations with the most of `by`; of equals the earlier one."""
        order = np.argsort(-getattr(self, by), kind="stable")[:count]
        return [self.row(int(place)) for place in order]

    def to_frame(self) -> Any:
        """A pandas frame, a row a combination; money as float64 for charts, not for accounts."""
        import pandas as pd  # here, because most of what uses a result does without it

        frame = pd.DataFrame(self.params.columns())
        frame["trades"] = self.trades
        for name in MONEY:
            frame[name] = getattr(self, name) / 1e8
        stopped = pd.to_datetime(np.where(self.stop_ms < 0, 0, self.stop_ms), unit="ms", utc=True)
        frame["stop_at"] = pd.Series(stopped).where(self.stop_ms >= 0)
        frame["stop_cause"] = list(self.stop_cause)
        return frame


def sweep(
    candles: Any,
    plan: Plan,
    grid: Points,
    limits: Limits | None,
    *,
    fees: Fees | None = None,
    instrument: Instrument | Mapping[str, Instrument] | None = None,
    spread_bps: Decimal | int = SPREAD_BPS,
    initial: Decimal = INITIAL_EQUITY,
    funding: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """The backtest of every combination of `grid`, in its order.

    One spot symbol is swept from crossing to crossing; two symbols or perpetuals are run one by one.
    `workers` threads share the combinations (None: one for each processor), which changes no figure;
    `progress` is told after each part. Raises as `run` and `combinations` do.
    """
    job = Job.of(
        candles, plan, grid, limits, fees=fees, instrument=instrument, spread_bps=spread_bps,
        initial=initial, funding=funding,
    )  # fmt: skip
    count = len(job.points)
    threads = max(1, min(workers or os.cpu_count() or 1, count))
    found = np.empty((8, count), dtype=np.int64)
    job.prepare()

    def work(part: tuple[int, int]) -> int:
        start, stop = part
        found[:, start:stop] = job.figures(start, stop)
        return stop - start

    done = 0
    pool = ThreadPoolExecutor(threads)
    try:
        parts = [pool.submit(work, part) for part in parts_of(count, threads, PART)]
        for one in as_completed(parts):
            done += one.result()
            if progress is not None:
                progress(done, count)
    finally:
        pool.shutdown(cancel_futures=True)
    return job.result(found)


def parts_of(count: int, workers: int, most: int) -> list[tuple[int, int]]:
    """`count` points cut, in order, into parts of at most `most`, several for each worker."""
    size = min(most, -(-count // (4 * workers)) if workers > 1 else most)
    return [(start, min(start + size, count)) for start in range(0, count, size)]


@dataclass(frozen=True, eq=False)
class Job:
    """A sweep with everything that its figures depend on; another process can be sent it.

    funding  as `run` takes it
    """

    series: tuple[Bars, ...]
    setting: Setting
    points: Grid
    funding: Mapping[str, Any] | None

    @classmethod
    def of(
        cls,
        candles: Any,
        plan: Plan,
        grid: Points,
        limits: Limits | None,
        *,
        fees: Fees | None = None,
        instrument: Instrument | Mapping[str, Instrument] | None = None,
        spread_bps: Decimal | int = SPREAD_BPS,
        initial: Decimal = INITIAL_EQUITY,
        funding: Mapping[str, Any] | None = None,
    ) -> Job:
        """The arguments of `sweep`, checked. Raises `DomainError`."""
        series = series_of(candles)
        setting = Setting.of(series, plan, limits, fees, instrument, spread_bps, initial)
        if funding and setting.market == "spot":
            raise DomainError("funding was given for spot candles, which have none")
        for bars in series:
            setting.terms(bars)
        return cls(series, setting, combinations(plan, grid), funding)

    @property
    def quick(self) -> bool:
        """Whether it is swept; else it is run one by one."""
        return len(self.series) == 1 and self.setting.market == "spot"

    def prepare(self) -> None:
        """Lay out the candles now, not with the first part."""
        if self.quick:
            _ = self._layout

    def seconds_each(self) -> float:
        """Processor seconds that one combination takes, by samples from all over the grid."""
        size = 64 if self.quick else 1
        places = np.linspace(0, max(len(self.points) - size, 0), 8).astype(np.int64).tolist()
        self.figures(0, 1)  # what is prepared or compiled once is not counted
        began = time.thread_time()
        done = sum(self.figures(start, start + size).shape[1] for start in places)
        return (time.thread_time() - began) / done

    def figures(self, start: int, stop: int) -> np.ndarray:
        """(8, k) int64: what the points from `start` to before `stop` came to."""
        if not self.quick:
            found = [self._alone(point) for point in self.points[start:stop]]
            return np.array(found, dtype=np.int64).T
        columns = self.points.columns(start, stop)
        return self._layout.figures(columns)

    @cached_property
    def _layout(self) -> Layout:
        return Layout.of(self.series[0], self.setting, self.points)

    def _alone(self, point: Mapping[str, int]) -> tuple[int, ...]:
        """One point by `run`."""
        plan, setting = self.setting.plan, self.setting
        one = run(
            {bars.symbol: bars for bars in self.series},
            Plan(plan.strategy, point, plan.order_target_usdt, plan.collar_bps),
            setting.limits if setting.limits_bind else None,
            fees=setting.fees,
            instrument=setting.instruments,
            spread_bps=setting.spread_bps,
            initial=setting.initial,
            funding=self.funding,
        )
        pnl = int(one.equity_units[-1]) - one.initial_units
        stop = int(one.stop.at.timestamp()) * 1000 if one.stop else -1
        cause = CAUSES.index(one.stop.cause if one.stop else "")
        return (
            len(one.table), pnl, one.fees_units, one.spread_units, one.funding_units,
            one.max_drawdown_units, stop, cause,
        )  # fmt: skip

    def result(self, found: np.ndarray) -> SweepResult:
        """The result that the figures (8, c) of all points make."""
        return SweepResult(
            symbol="+".join(bars.symbol for bars in self.series),
            strategy=self.setting.plan.strategy,
            params=self.points,
            bars=sum(len(bars) for bars in self.series),
            labels=self.setting.labels,
            trades=found[TRADES],
            pnl=found[PNL],
            fees=found[FEES],
            spread=found[SPREAD],
            funding=found[FUNDING],
            drawdown=found[DRAWDOWN],
            stop_ms=found[STOP_MS],
            stop_cause=np.array(CAUSES, dtype=object)[found[CAUSE]],
        )


@dataclass(frozen=True, eq=False)
class Layout:
    """One spot series, ready for the kernel.

    buyable, sellable  (m / 64,) uint64, bits of the quarter hours where an order would be filled
    quick              whether every product of a comparison with a mean fits 64 bits
    """

    bars: Bars
    strategy: Strategy
    quarters: Quarters
    terms: np.ndarray
    rules: np.ndarray
    buyable: np.ndarray
    sellable: np.ndarray
    quick: bool

    @classmethod
    def of(cls, bars: Bars, setting: Setting, points: Grid) -> Layout:
        terms = setting.terms(bars)
        strategy = strategy_named(setting.plan.strategy)
        mean, widest, fits = strategy.fast, 1, False
        if mean is not None:
            band = points.highest(mean.band_bps)
            widest, fits = (BPS + band) * points.highest(mean.window), band < sweep_kernel.FARTHEST
        quarters = Quarters.of(bars, terms, setting.limits_bind, widest)
        buyable, sellable = (np.empty(len(quarters) // WORD, dtype=np.uint64) for _ in range(2))
        pack(quarters.may_buy, buyable)
        pack(quarters.may_sell, sellable)
        fits = fits and widest * int(quarters.close.max()) < INT64_MAX
        rules = _rules(setting, terms.array(), quarters.start_ms)
        return cls(bars, strategy, quarters, terms.array(), rules, buyable, sellable, fits)

    def figures(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """(8, k) int64: what the points with these parameters, (k,) each, came to."""
        q, mean = self.quarters, self.strategy.fast
        market = (
            q.close, q.spans, q.clean, q.entries, q.exits, q.reserves, self.buyable, self.sellable,
            self.terms, self.rules,
        )  # fmt: skip
        count = len(next(iter(columns.values())))
        found = np.empty((count, sweep_kernel.FIGURES), dtype=np.int64)
        if self.quick:
            order = np.argsort(columns[mean.window], kind="stable")  # a window's levels serve all
            windows, bands = columns[mean.window][order], columns[mean.band_bps][order]
            walked = np.empty_like(found)
            sweep_kernel.walk_means(q.sums, q.decided, *market, windows, bands, walked)
            found[order] = walked
        else:
            room = np.empty((4, len(q)), dtype=np.int64)
            values = zip(*(column.tolist() for column in columns.values()), strict=True)
            for row, point in zip(found, values, strict=True):
                said = dict(zip(columns, point, strict=True))
                longs, flats = self._said(said)
                need = self.strategy.lookback(**said)
                sweep_kernel.walk(*market, longs, flats, need, room, row)
        return self._told(found)

    def _said(self, point: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Bits where the strategy, by its own `targets`, says long and flat and an order is filled."""
        rows = (self.bars.open_ms - self.quarters.start_ms) // MINUTE_MS
        at = rows % 15 == 14
        laid = np.full(len(self.quarters), -1, dtype=np.int8)
        laid[rows[at] // 15] = signals(self.bars, self.strategy, point)[at]
        laid[self.quarters.clean == 0] = -1
        words = []
        for wanted, possible in ((LONG, self.buyable), (FLAT, self.sellable)):
            packed = np.empty_like(possible)
            pack(laid == wanted, packed)
            words.append(packed & possible)
        return words[0], words[1]

    def _told(self, found: np.ndarray) -> np.ndarray:
        """The kernel's figures (k, 6) as a job tells them."""
        rows = found[:, sweep_kernel.STOP_ROW]
        stopped = rows >= 0
        told = np.zeros((8, len(found)), dtype=np.int64)
        told[TRADES] = found[:, sweep_kernel.TRADES]
        told[PNL] = found[:, sweep_kernel.EQUITY] - self.rules[sweep_kernel.INITIAL]
        told[FEES] = found[:, sweep_kernel.FEES]
        told[SPREAD] = found[:, sweep_kernel.SPREADS]
        told[DRAWDOWN] = found[:, sweep_kernel.DRAWDOWN]
        told[STOP_MS] = np.where(stopped, self.quarters.start_ms + (rows + 1) * MINUTE_MS, -1)
        told[CAUSE] = np.where(stopped, CAUSES.index(SPENT), 0)
        return told


def _rules(setting: Setting, terms: np.ndarray, start_ms: int) -> np.ndarray:
    first = units(setting.initial, "initial")
    return np.array(
        [
            units(setting.limits.daily_loss_usdt, "daily_loss_usdt"),
            first - units(setting.limits.total_loss_usdt, "total_loss_usdt"),
            first,
            reserve_bound(terms[None, :]),
            start_ms,
            setting.limits_bind,
        ],
        dtype=np.int64,
    )
