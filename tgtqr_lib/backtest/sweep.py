"""`sweep`: one backtest for every combination of parameters, each equal to `run` to the last unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np

from tgtqr_lib.backtest import sweep_kernel
from tgtqr_lib.backtest.bars import Bars, series_of
from tgtqr_lib.backtest.bits import WORD, pack
from tgtqr_lib.backtest.crossings import FLAT, INT64_MAX, LONG, signals
from tgtqr_lib.backtest.kernel import reserve_bound
from tgtqr_lib.backtest.quarters import Quarters
from tgtqr_lib.backtest.result import SPENT, money
from tgtqr_lib.backtest.run import run
from tgtqr_lib.backtest.terms import SPREAD_BPS, Setting, units
from tgtqr_lib.clock import from_ms, iso
from tgtqr_lib.domain import MINUTE_MS, DomainError, Fees, Instrument, Limits, Plan
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.strategies import Strategy, strategy_named

BPS = 10_000


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
    params: tuple[Mapping[str, int], ...]
    bars: int
    labels: tuple[str, ...]
    trades: np.ndarray
    pnl: np.ndarray
    fees: np.ndarray
    spread: np.ndarray
    funding: np.ndarray
    drawdown: np.ndarray
    stop_ms: np.ndarray
    stop_cause: tuple[str, ...]

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
        amounts = {
            name: f"{money(int(getattr(self, name)[place])):f}"
            for name in ("pnl", "gross", "fees", "spread", "funding", "drawdown")
        }
        return {
            "params": dict(self.params[place]),
            "trades": int(self.trades[place]),
            **amounts,
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

        frame = pd.DataFrame([dict(one) for one in self.params])
        frame["trades"] = self.trades
        for name in ("pnl", "gross", "fees", "spread", "funding", "drawdown"):
            frame[name] = getattr(self, name) / 1e8
        stopped = pd.to_datetime(np.where(self.stop_ms < 0, 0, self.stop_ms), unit="ms", utc=True)
        frame["stop_at"] = pd.Series(stopped).where(self.stop_ms >= 0)
        frame["stop_cause"] = list(self.stop_cause)
        return frame


def combinations(
    plan: Plan, grid: Mapping[str, Sequence[int]] | Sequence[Mapping[str, int]]
) -> tuple[dict[str, int], ...]:
    """The complete parameters of each point of `grid`: the first name changes slowest.

    `grid` maps names to values, of which every combination is taken, or lists the points themselves.
    Raises `DomainError` for a name or value that the strategy does not have, and for an empty grid.
    """
    strategy = strategy_named(plan.strategy)
    usual = strategy.checked(plan.parameters)
    if isinstance(grid, Mapping):
        # a value is checked once, not once a combination
        columns = {
            name: [strategy.checked({**usual, name: value})[name] for value in values]
            for name, values in grid.items()
        }
        points = [
            usual | dict(zip(columns, values, strict=True)) for values in product(*columns.values())
        ]
    else:
        points = [strategy.checked({**usual, **point}) for point in grid]
    if not points:
        raise DomainError("the grid has no point; expected at least one value of each parameter")
    return tuple(points)


def sweep(
    candles: Any,
    plan: Plan,
    grid: Mapping[str, Sequence[int]] | Sequence[Mapping[str, int]],
    limits: Limits | None,
    *,
    fees: Fees | None = None,
    instrument: Instrument | Mapping[str, Instrument] | None = None,
    spread_bps: Decimal | int = SPREAD_BPS,
    initial: Decimal = INITIAL_EQUITY,
    funding: Mapping[str, Any] | None = None,
    workers: int = 1,
) -> SweepResult:
    """The backtest of every combination of `grid`, in its order.

    One spot symbol is swept from crossing to crossing; two symbols or perpetuals are run one by one.
    `workers` threads share the combinations, which changes no figure. Raises as `run` does.
    """
    series = series_of(candles)
    setting = Setting.of(series, plan, limits, fees, instrument, spread_bps, initial)
    points = combinations(plan, grid)
    if len(series) > 1 or setting.market != "spot":
        return _one_by_one(series, setting, points, funding)
    if funding:
        raise DomainError("funding was given for spot candles, which have none")
    strategy = strategy_named(plan.strategy)
    figures, start_ms = _swept(series[0], setting, strategy, points, workers)
    rows = figures[:, sweep_kernel.STOP_ROW]
    stopped = rows >= 0
    first = units(setting.initial, "initial")
    return SweepResult(
        symbol=series[0].symbol,
        strategy=strategy.name,
        params=points,
        bars=len(series[0]),
        labels=setting.labels,
        trades=figures[:, sweep_kernel.TRADES].copy(),
        pnl=figures[:, sweep_kernel.EQUITY] - first,
        fees=figures[:, sweep_kernel.FEES].copy(),
        spread=figures[:, sweep_kernel.SPREADS].copy(),
        funding=np.zeros(len(points), dtype=np.int64),
        drawdown=figures[:, sweep_kernel.DRAWDOWN].copy(),
        stop_ms=np.where(stopped, start_ms + (rows + 1) * MINUTE_MS, -1),
        stop_cause=tuple(SPENT if one else "" for one in stopped.tolist()),
    )


def _swept(
    bars: Bars,
    setting: Setting,
    strategy: Strategy,
    points: tuple[dict[str, int], ...],
    workers: int,
) -> tuple[np.ndarray, int]:
    """The kernel's figures (c, 6) of each point, and the open time of its row 0."""
    terms = setting.terms(bars)
    mean, widest = strategy.fast, 1
    if mean is not None:
        windows = np.array([point[mean.window] for point in points], dtype=np.int64)
        bands = np.array([point[mean.band_bps] for point in points], dtype=np.int64)
        widest = (BPS + int(bands.max())) * int(windows.max())
    quarters = Quarters.of(bars, terms, setting.limits_bind, widest)
    rules = _rules(setting, terms.array(), quarters.start_ms)
    buyable, sellable = (np.empty(len(quarters) // WORD, dtype=np.uint64) for _ in range(2))
    pack(quarters.may_buy, buyable)
    pack(quarters.may_sell, sellable)
    out = np.zeros((len(points), sweep_kernel.FIGURES), dtype=np.int64)
    fast = mean is not None and widest * int(quarters.close.max()) < INT64_MAX

    market = (
        quarters.close, quarters.ranges, quarters.clean, quarters.entries, quarters.exits,
        quarters.reserves, sellable, terms.array(), rules,
    )  # fmt: skip

    def work(places: np.ndarray) -> None:
        found = np.zeros((len(places), sweep_kernel.FIGURES), dtype=np.int64)
        if fast:
            sweep_kernel.walk_means(
                quarters.sums, quarters.decided, *market, buyable, windows[places], bands[places],
                found,
            )  # fmt: skip
        else:
            for row, place in zip(found, places, strict=True):
                longs, flats = _said(bars, quarters, strategy, points[place], buyable, sellable)
                sweep_kernel.walk(*market, longs, flats, strategy.lookback(**points[place]), row)
        out[places] = found

    shares = np.array_split(np.arange(len(points)), max(1, min(workers, len(points))))
    if len(shares) == 1:
        work(shares[0])
    else:
        with ThreadPoolExecutor(len(shares)) as pool:
            list(pool.map(work, shares))
    return out, quarters.start_ms


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


def _said(
    bars: Bars,
    quarters: Quarters,
    strategy: Strategy,
    point: Mapping[str, int],
    buyable: np.ndarray,
    sellable: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Bits where the strategy says long and flat and an order would be filled, by its own `targets`."""
    said = signals(bars, strategy, point)
    rows = (bars.open_ms - quarters.start_ms) // MINUTE_MS
    at = rows % 15 == 14
    laid = np.full(len(quarters), -1, dtype=np.int8)
    laid[rows[at] // 15] = said[at]
    laid[quarters.clean == 0] = -1
    words = []
    for wanted, possible in ((LONG, buyable), (FLAT, sellable)):
        packed = np.empty_like(possible)
        pack(laid == wanted, packed)
        words.append(packed & possible)
    return words[0], words[1]


def _one_by_one(
    series: tuple[Bars, ...],
    setting: Setting,
    points: tuple[dict[str, int], ...],
    funding: Mapping[str, Any] | None,
) -> SweepResult:
    """Every point by `run`: for what the quick way does not know."""
    plan = setting.plan
    results = [
        run(
            {bars.symbol: bars for bars in series},
            Plan(plan.strategy, point, plan.order_target_usdt, plan.collar_bps),
            setting.limits if setting.limits_bind else None,
            fees=setting.fees,
            instrument=setting.instruments,
            spread_bps=setting.spread_bps,
            initial=setting.initial,
            funding=funding,
        )
        for point in points
    ]

    def column(figures: list[int]) -> np.ndarray:
        return np.array(figures, dtype=np.int64)

    return SweepResult(
        symbol=results[0].symbol,
        strategy=plan.strategy,
        params=points,
        bars=results[0].bars,
        labels=setting.labels,
        trades=column([len(one.table) for one in results]),
        pnl=column([int(one.equity_units[-1]) - one.initial_units for one in results]),
        fees=column([one.fees_units for one in results]),
        spread=column([one.spread_units for one in results]),
        funding=column([one.funding_units for one in results]),
        drawdown=column([one.max_drawdown_units for one in results]),
        stop_ms=column(
            [int(one.stop.at.timestamp()) * 1000 if one.stop else -1 for one in results]
        ),
        stop_cause=tuple(one.stop.cause if one.stop else "" for one in results),
    )
