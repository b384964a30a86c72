"""`run`: the same backtest as `replay`, in whole numbers and compiled; equal to the last unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from tgtqr_lib.backtest import kernel
from tgtqr_lib.backtest.bars import Bars, series_of
from tgtqr_lib.backtest.crossings import HOLD, INCOMPLETE, NO_DECISION, TICK_MS, signals
from tgtqr_lib.backtest.result import BREACH, SIGNALS, SPENT, OpenPosition, Result, Stop, money
from tgtqr_lib.backtest.terms import SPREAD_BPS, Setting, Terms, steps_of, units
from tgtqr_lib.clock import from_ms, to_ms, utc_day
from tgtqr_lib.domain import MINUTE_MS, DomainError, Fees, Instrument, Limits, Plan
from tgtqr_lib.limits import INITIAL_EQUITY
from tgtqr_lib.strategies import strategy_named

NO_FUNDING = np.empty((0, 3), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Grid:
    """The candles of k symbols over the n minutes that any of them has.

    times          (n,) int64 open times, ms
    opens, closes  (k, n) int64 steps; a missing close repeats the one before, to mark with
    has            (k, n) bool, whether the symbol has the minute
    """

    times: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    has: np.ndarray

    @classmethod
    def of(cls, series: tuple[Bars, ...], terms: tuple[Terms, ...]) -> Grid:
        if len(series) == 1:
            opens, closes = (column[None, :] for column in steps_of(series[0], terms[0]))
            return cls(series[0].open_ms, opens, closes, np.ones(closes.shape, dtype=bool))
        if np.array_equal(series[0].open_ms, series[1].open_ms):
            steps = [steps_of(bars, term) for bars, term in zip(series, terms, strict=True)]
            opens, closes = (np.stack(columns) for columns in zip(*steps, strict=True))
            return cls(series[0].open_ms, opens, closes, np.ones(closes.shape, dtype=bool))
        times = kernel.union(series[0].open_ms, series[1].open_ms)
        shape = len(series), len(times)
        opens, closes = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
        has = np.empty(shape, dtype=bool)
        for s, (bars, term) in enumerate(zip(series, terms, strict=True)):
            own = bars.open_ms, *steps_of(bars, term)
            kernel.lay(times, *own, opens[s], closes[s], has[s])
        return cls(times, opens, closes, has)

    def spread(self, bars: Bars, said: np.ndarray) -> np.ndarray:
        """(n,) int8: a symbol's own signals laid on the grid; a quarter hour it lacks is INCOMPLETE."""
        if len(said) == len(self.times):
            return said
        quarter = (self.times + MINUTE_MS) % TICK_MS == 0
        laid = np.where(quarter, INCOMPLETE, NO_DECISION).astype(np.int8)
        laid[np.searchsorted(self.times, bars.open_ms)] = said
        return laid


def run(
    candles: Any,
    plan: Plan,
    limits: Limits | None,
    *,
    fees: Fees | None = None,
    instrument: Instrument | Mapping[str, Instrument] | None = None,
    spread_bps: Decimal | int = SPREAD_BPS,
    initial: Decimal = INITIAL_EQUITY,
    funding: Mapping[str, Any] | None = None,
) -> Result:
    """The backtest of `plan` over `candles`; every trade and all money equal those of `replay`.

    Arguments are those of `replay`. Raises `DomainError` as `replay` does, and when a product of prices,
    quantity and fee would not fit 64 bits.
    """
    series = series_of(candles)
    setting = Setting.of(series, plan, limits, fees, instrument, spread_bps, initial)
    strategy = strategy_named(plan.strategy)
    params = strategy.checked(plan.parameters)
    terms = tuple(setting.terms(bars) for bars in series)
    grid = Grid.of(series, terms)
    said = np.stack([grid.spread(bars, signals(bars, strategy, params)) for bars in series])
    kernel.doubt_strays(grid.times, grid.opens, grid.closes, grid.has, said)
    first = units(setting.initial, "initial")
    floor = first - units(setting.limits.total_loss_usdt, "total_loss_usdt")
    outcome = kernel.walk(
        grid.times, grid.opens, grid.closes, grid.has, said,
        np.stack([one.array() for one in terms]),
        units(setting.limits.daily_loss_usdt, "daily_loss_usdt"), floor, first,
        funding_rows(series, funding), limits is None,
        int(np.count_nonzero(said >= HOLD)) + len(series),
    )  # fmt: skip
    return _result(series, setting, strategy.name, params, terms, grid, outcome)


def funding_rows(series: tuple[Bars, ...], funding: Mapping[str, Any] | None) -> np.ndarray:
    """(f, 3) int64: place of the symbol, time in ms, rate in 1e-10, of what `funding` maps to.

    Raises `DomainError` for funding of spot candles, and for a rate over 9 %.
    """
    if not funding:
        return NO_FUNDING
    if series[0].market != "linear":
        raise DomainError("funding was given for spot candles, which have none")
    places = {bars.symbol: s for s, bars in enumerate(series)}
    rows = [
        np.column_stack([np.full(len(rates.at_ms), places[symbol]), rates.at_ms, rates.units])
        for symbol, rates in funding.items()
        if symbol in places
    ]
    table = np.concatenate(rows).astype(np.int64) if rows else NO_FUNDING
    if len(table) and np.abs(table[:, 2]).max() > 9 * 10**8:
        raise DomainError("a funding rate is over 9 %; expected a fraction in units of 1e-10")
    return np.ascontiguousarray(table[np.lexsort((table[:, 0], table[:, 1]))])


def _result(
    series: tuple[Bars, ...],
    setting: Setting,
    name: str,
    params: Mapping[str, int],
    terms: tuple[Terms, ...],
    grid: Grid,
    outcome: tuple,
) -> Result:
    equity, table, account, held, counts, stop = outcome
    stopped = stop_of(stop, grid.times)
    last = int(grid.times[-1]) + MINUTE_MS
    if stopped is not None:
        last = to_ms(stopped.at) - MINUTE_MS
    quarters = quarters_between(int(grid.times[0]) + MINUTE_MS, last)
    unseen = quarters * len(series) - int(counts[:3].sum())  # no candle closes there
    said = dict(zip(SIGNALS, (int(count) for count in counts), strict=False))
    said["HOLD"] += unseen
    labels = setting.labels
    if equity.min() < 0:
        labels = (*labels, "equity fell below zero: beyond any account")
    return Result(
        symbols=tuple(bars.symbol for bars in series),
        market=setting.market,
        strategy=name,
        params=params,
        decimals=tuple(one.decimals for one in terms),
        bars=sum(len(bars) for bars in series),
        gaps=tuple(gap for bars in series for gap in bars.gaps()),
        table=table,
        times_ms=grid.times,
        equity_units=equity,
        decisions=sum(said.values()),
        signals=said,
        incomplete=int(counts[3]) + unseen,
        stop=stopped,
        labels=labels,
        initial_units=units(setting.initial, "initial"),
        cash_units=int(account[kernel.CASH]),
        fees_units=int(account[kernel.FEES]),
        spread_units=int(account[kernel.SPREAD]),
        funding_units=int(account[kernel.FUNDING]),
        open_positions=tuple(
            _open(series[s], terms[s], row, int(grid.closes[s, -1]))
            for s, row in enumerate(held.tolist())
            if row[kernel.QUANTITY] > 0
        ),
    )


def _open(bars: Bars, terms: Terms, row: list[int], close: int) -> OpenPosition:
    quantity, cost, since, price, _ = row
    return OpenPosition(
        symbol=bars.symbol,
        entry_at=from_ms(since),
        quantity=money(quantity),
        entry_price=Decimal(price).scaleb(-terms.decimals),
        cost=money(cost),
        value=money(quantity * close // terms.scale),
    )


def stop_of(stop: Any, times: np.ndarray) -> Stop | None:
    """The kernel's stop (cause, row, money, floor) with its sentence."""
    cause, row, left, floor = (int(figure) for figure in stop)
    if cause == kernel.NO_STOP:
        return None
    at = from_ms(int(times[row]) + MINUTE_MS)
    if cause == kernel.SPENT:
        text = f"cash {money(left):.8f} allows no entry over the total floor {money(floor):.8f}"
        return Stop(at, SPENT, text)
    which = "total" if cause == kernel.TOTAL_BREACH else utc_day(at)
    return Stop(
        at, BREACH, f"equity {money(left):.8f} is below the floor {money(floor):.8f} ({which})"
    )


def quarters_between(first_ms: int, last_ms: int) -> int:
    """How many quarter hours lie from `first_ms` to `last_ms`, both included."""
    return last_ms // TICK_MS - (first_ms - 1) // TICK_MS
