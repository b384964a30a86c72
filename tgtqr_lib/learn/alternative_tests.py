"""Does a series predict the next move, and does that pay? Many variants at once, each of them counted.

A market is cut into steps of equal length, a family is every variant of one idea, and its daily returns
go through the kit's bootstrap. The best of a family is compared with the best that as many worthless
variants show: White (2000), A Reality Check for Data Snooping, Econometrica 68(5), with each variant
divided by its own spread as in Hansen (2005), A Test for Superior Predictive Ability, Journal of Business
& Economic Statistics 23(4). Families are corrected for each other after Holm (1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tgtqr_lib.backtest.bootstrap import block_lengths, resampled
from tgtqr_lib.backtest.luck import FEWEST_DAYS
from tgtqr_lib.backtest.significance import p_value
from tgtqr_lib.domain import MINUTE_MS, DataError, DomainError

HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
SETTLEMENT_MS = 8 * HOUR_MS  # Bybit's funding interval of both symbols in all data used here
YEAR = 365
RESAMPLES = 2_000

Z_WINDOWS = (21, 90)  # settlements: a week, a month
Z_LEAST = (0.5, 1.0, 2.0)  # standard deviations from the mean, from which on a position is taken
HELD_FOR = (1, 3)  # settlements: 8 and 24 hours
HOURS_SUMMED = (1, 4)  # of signed volume
HOURS_HELD = (1, 4)
BASIS_HOURS = (24, 72)  # that a basis is compared with
WEEK_HOURS = 168
HIGH = (1.0, 2.0)  # standard deviations
WAYS = {"with": 1, "against": -1}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, eq=False)
class Bars:
    """Candles of one series, oldest first, prices as floats because only returns are looked at.

    at_ms  (n,) int64, opens, UTC; step_ms apart unless some are missing
    open, close, volume  (n,) float64
    cost_bps  what a fill costs: fee and half the spread
    """

    name: str
    at_ms: np.ndarray
    open: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    step_ms: int
    cost_bps: float

    def __len__(self) -> int:
        return len(self.at_ms)

    def at(self, times: np.ndarray, column: str = "open") -> np.ndarray:
        """(k,) values of `column` of the candles that open at `times`; NaN where there is none."""
        row = np.minimum(np.searchsorted(self.at_ms, times), len(self) - 1)
        return np.where(self.at_ms[row] == times, getattr(self, column)[row], np.nan)

    def span(self, start_ms: int, end_ms: int) -> Bars:
        """The candles that open in [start_ms, end_ms)."""
        keep = slice(*np.searchsorted(self.at_ms, [start_ms, end_ms]))
        columns = {name: getattr(self, name)[keep] for name in ("at_ms", "open", "close", "volume")}
        return replace(self, **columns)


@dataclass(frozen=True, eq=False)
class Rates:
    """Funding settlements: at_ms (k,) int64, increasing; rate (k,) fractions, positive: longs pay."""

    at_ms: np.ndarray
    rate: np.ndarray

    @classmethod
    def none(cls) -> Rates:
        """Of a market without funding."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0))

    def paid(self, start_ms: np.ndarray, end_ms: np.ndarray) -> np.ndarray:
        """(n,) what a long of 1 pays from each start, itself not counted, to each end, itself counted."""
        total = np.concatenate([[0.0], np.cumsum(self.rate)])
        until = np.searchsorted(self.at_ms, end_ms, side="right")
        return total[until] - total[np.searchsorted(self.at_ms, start_ms, side="right")]


@dataclass(frozen=True, eq=False)
class Family:
    """Every variant of one idea in one market.

    at_ms      (n,) times of fills: a position of row i is held from at_ms[i] to one step later
    moves      (n,) price change over each step as a fraction; 0 where a candle is missing
    paid       (n,) funding that a long of 1 pays in each step
    names      of the variants
    positions  (n, v) float64 between -1 and 1, decided on what was known at at_ms
    """

    idea: str
    market: str
    at_ms: np.ndarray
    moves: np.ndarray
    paid: np.ndarray
    names: tuple[str, ...]
    positions: np.ndarray
    cost_bps: float

    @cached_property
    def _starts(self) -> np.ndarray:
        """First row of each UTC day."""
        return np.flatnonzero(np.diff(self.at_ms // DAY_MS, prepend=-1))

    @property
    def days(self) -> int:
        return len(self._starts)

    @cached_property
    def turnover(self) -> np.ndarray:
        """(n, v) how much is bought or sold at each fill; what is held last is not sold."""
        return np.abs(np.diff(self.positions, axis=0, prepend=0.0))

    @cached_property
    def gross(self) -> np.ndarray:
        """(d, v) daily returns of the moves alone, their mean taken out so that only timing counts."""
        return self._daily(self.positions * (self.moves - self.moves.mean())[:, None])

    @cached_property
    def net(self) -> np.ndarray:
        """(d, v) daily returns as they would have come: moves, funding and costs."""
        held = self.positions * (self.moves - self.paid)[:, None]
        return self._daily(held - self.turnover * (self.cost_bps / 10_000))

    def _daily(self, steps: np.ndarray) -> np.ndarray:
        return np.add.reduceat(steps, self._starts, axis=0)

    def only(self, count: int) -> Family:
        """The first `count` variants."""
        return replace(self, names=self.names[:count], positions=self.positions[:, :count])


@dataclass(frozen=True, eq=False)
class Best:
    """The daily returns of v variants against chance.

    scores     (v,) mean over its standard error
    alone      (v,) p-values of each variant, as if it were the only one
    corrected  (v,) p-values against the best of all; never below `alone`
    worthless  (r, v) scores of resampled returns whose true mean is zero
    block      mean length of the blocks, in days
    """

    scores: np.ndarray
    alone: np.ndarray
    corrected: np.ndarray
    worthless: np.ndarray
    block: float

    @property
    def first(self) -> int:
        """Place of the best variant."""
        return int(np.argmax(self.scores))

    @property
    def bar(self) -> np.ndarray:
        """(v,) the score that the best of the first 1, 2, ... worthless variants passes 1 time in 20."""
        return np.quantile(np.maximum.accumulate(self.worthless, axis=1), 0.95, axis=0)


def against_chance(
    daily: np.ndarray, resamples: int = RESAMPLES, seed: int = 0, block: float | None = None
) -> Best:
    """Compare every column of `daily` (d, v) with resampled columns whose mean is taken out.

    All columns are resampled by the same days, so that variants which resemble each other do not count
    as many. `block` is the mean length of the blocks, the longest that any column asks for when None.
    A variant that never held anything has p-values of 1. Raises `DomainError` below 30 days.
    """
    daily = np.asarray(daily, dtype=np.float64)
    days, variants = daily.shape
    if days < FEWEST_DAYS or not variants or not np.isfinite(daily).all():
        raise DomainError(
            f"{days} days of {variants} variants; expected at least {FEWEST_DAYS} days, all finite"
        )
    spread = daily.std(axis=0, ddof=1)
    traded = spread > 1e-15
    unit = np.where(traded, spread, 1.0) / np.sqrt(days)
    mean = daily.mean(axis=0)
    scores = np.where(traded, mean / unit, -np.inf)
    centred = (daily - mean) * traded
    block = max(
        [block_lengths(daily[:, v]).stationary for v in np.flatnonzero(traded)], default=1.0
    )
    drawn = [
        _counts(rows) @ centred / days / unit
        for rows in resampled(np.arange(days), block, resamples, seed=seed)
    ]
    worthless = np.concatenate(drawn)
    highest = worthless.max(axis=1)
    alone = np.array([p_value(s, worthless[:, v]) for v, s in enumerate(scores)])
    corrected = np.array([p_value(s, highest) for s in scores])
    return Best(
        scores, np.where(traded, alone, 1.0), np.where(traded, corrected, 1.0), worthless, block
    )


def longest_block(daily: np.ndarray) -> float:
    """The longest of the automatic mean block lengths of the columns of `daily` (d, v)."""
    return max([block_lengths(column).stationary for column in daily.T], default=1.0)


def _counts(rows: np.ndarray) -> np.ndarray:
    """(m, d) how often each day is in each resample of `rows` (m, d)."""
    m, days = rows.shape
    place = rows.astype(np.int64) + np.arange(m)[:, None] * days
    return np.bincount(place.ravel(), minlength=m * days).reshape(m, days).astype(np.float64)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values corrected for their number: Holm (1979), A Simple Sequentially Rejective Multiple Test
    Procedure, Scandinavian Journal of Statistics 6(2)."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    raised = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    out = np.empty(len(given))
    out[order] = np.minimum(raised, 1.0)
    return out


def trailing_z(values: np.ndarray, window: int) -> np.ndarray:
    """(n,) distance of each value from the mean of the last `window`, itself counted, in their
    standard deviations; NaN where one of them is missing or they are all alike."""
    values = np.asarray(values, dtype=np.float64)
    out = np.full(len(values), np.nan)
    if len(values) >= window:
        views = np.lib.stride_tricks.sliding_window_view(values, window)
        spread = views.std(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = (values[window - 1 :] - views.mean(axis=1)) / spread
        out[window - 1 :] = np.where(
            spread > 1e-12 * (1e-12 + np.abs(views).max(axis=1)), z, np.nan
        )
    return out


def held(signal: np.ndarray, steps: int) -> np.ndarray:
    """(n,) the mean of the last `steps` signals, those before the first counted as 0.

    So each signal is held for `steps`, a part of the whole at a time, and no return is counted twice.
    """
    total = np.concatenate([np.zeros(steps), np.cumsum(np.nan_to_num(signal))])
    return (total[steps:] - total[:-steps]) / steps


def funding_family(bars: Bars, rates: Rates, *, ahead: int = 0) -> Family:
    """Positions by the z-score of settled funding, filled at the first open after the settlement.

    `ahead=1` plants the mistake: it takes the settlement that is still to come. `ahead=-1` takes the one
    before, as if the rate came 8 hours late.
    """
    if len(rates.at_ms) <= max(Z_WINDOWS) or (np.diff(rates.at_ms) != SETTLEMENT_MS).any():
        raise DataError(
            f"{bars.name}: {len(rates.at_ms)} settlements; expected more than {max(Z_WINDOWS)}, "
            "8 hours apart and without a gap"
        )
    names, columns = [], []
    for window in Z_WINDOWS:
        z = _moved(trailing_z(rates.rate, window), ahead)
        for least in Z_LEAST:
            for hold in HELD_FOR:
                for way, sign in WAYS.items():
                    names.append(f"{way} z {least:g}, {window // 3} d, held {8 * hold} h")
                    columns.append(held(sign * _beyond(z, least), hold))
    # the candle that opens at the settlement has its first trade in the same second: take the next
    at = rates.at_ms + bars.step_ms
    return _family("funding", bars, rates, at, SETTLEMENT_MS, names, columns)


def flow_family(bars: Bars, rates: Rates, *, wait: int = 0) -> Family:
    """Positions each hour by volume in rising candles less volume in falling ones.

    A stand-in for trade imbalance, which takes trades with their side. Its z-score is that of a week.
    Fills come at the next open, or `wait` candles later.
    """
    hours = _hours(bars)
    first = (hours[:, None] - HOUR_MS) + np.arange(
        0, HOUR_MS, bars.step_ms
    )  # candles closed by then
    open_, close, volume = (bars.at(first, name) for name in ("open", "close", "volume"))
    signed, whole = (np.sign(close - open_) * volume).sum(axis=1), volume.sum(axis=1)
    names, columns = [], []
    for hours_summed in HOURS_SUMMED:
        summed = _summed(signed, hours_summed)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = trailing_z(summed / _summed(whole, hours_summed), WEEK_HOURS)
        for least in HIGH:
            for hold in HOURS_HELD:
                for way, sign in WAYS.items():
                    names.append(f"{way} z {least:g}, {hours_summed} h, held {hold} h")
                    columns.append(held(sign * _beyond(z, least), hold))
    at = hours + wait * bars.step_ms
    return _family("signed volume", bars, rates, at, HOUR_MS, names, columns)


def basis_family(bars: Bars, spot: Bars, rates: Rates) -> Family:
    """Positions each hour in the perpetual by the z-score of its basis over spot at the last closes."""
    hours = _hours(bars)
    with np.errstate(invalid="ignore"):
        basis = np.log(bars.at(hours - bars.step_ms, "close"))
        basis = basis - np.log(spot.at(hours - spot.step_ms, "close"))
    names, columns = [], []
    for window in BASIS_HOURS:
        z = trailing_z(basis, window)
        for least in HIGH:
            for hold in HOURS_HELD:
                for way, sign in WAYS.items():
                    names.append(f"{way} z {least:g}, {window // 24} d, held {hold} h")
                    columns.append(held(sign * _beyond(z, least), hold))
    return _family("basis", bars, rates, hours, HOUR_MS, names, columns)


def calendar_family(bars: Bars, rates: Rates) -> Family:
    """Long in one hour of the day, or on one day of the week (UTC), flat otherwise."""
    hours = _hours(bars)
    hour = hours // HOUR_MS % 24
    day = (hours // DAY_MS + 3) % 7  # 1970-01-01 was a Thursday
    names = [f"{h:02d}:00 to {(h + 1) % 24:02d}:00" for h in range(24)] + list(WEEKDAYS)
    columns = [(hour == h) * 1.0 for h in range(24)] + [(day == d) * 1.0 for d in range(7)]
    return _family("calendar", bars, rates, hours, HOUR_MS, names, columns)


def _moved(values: np.ndarray, ahead: int) -> np.ndarray:
    """(n,) the value `ahead` rows later in the place of each; NaN where there is none."""
    out = np.full(len(values), np.nan)
    here = slice(max(-ahead, 0), len(values) - max(ahead, 0))
    out[here] = values[max(ahead, 0) : len(values) - max(-ahead, 0)]
    return out


def _hours(bars: Bars) -> np.ndarray:
    """Every whole hour at which a candle may open."""
    if not len(bars) or HOUR_MS % bars.step_ms:
        raise DataError(
            f"{bars.name}: {len(bars)} candles of {bars.step_ms} ms; expected whole hours"
        )
    first, last = -(-int(bars.at_ms[0]) // HOUR_MS), int(bars.at_ms[-1]) // HOUR_MS
    return np.arange(first, last + 1) * HOUR_MS


def _beyond(z: np.ndarray, least: float) -> np.ndarray:
    """-1, 0 or 1: the side of a z-score that is at least so far from 0."""
    return np.where(np.abs(np.nan_to_num(z)) >= least, np.sign(np.nan_to_num(z)), 0.0)


def _summed(values: np.ndarray, count: int) -> np.ndarray:
    """(n,) sum of the last `count` values; NaN before there are so many, and where one is missing."""
    out = np.full(len(values), np.nan)
    if len(values) >= count:
        out[count - 1 :] = np.lib.stride_tricks.sliding_window_view(values, count).sum(axis=1)
    return out


def _family(
    idea: str,
    bars: Bars,
    rates: Rates,
    at: np.ndarray,
    step_ms: int,
    names: Sequence[str],
    columns: Sequence[np.ndarray],
) -> Family:
    """The steps from each fill of `at` to the next; what a missing candle touches is not held."""
    moves = bars.at(at + step_ms) / bars.at(at) - 1
    there = np.isfinite(moves)
    days = at // DAY_MS
    open_days = np.unique(days[there])
    seen = np.isin(days, open_days)  # a day without any candle is no day of zero return
    if len(open_days) < FEWEST_DAYS:
        raise DataError(
            f"{bars.name}: {len(open_days)} days with candles for {idea}; expected {FEWEST_DAYS} or more"
        )
    positions = np.stack(columns, axis=1) * there[:, None]
    return Family(
        idea, bars.name, at[seen], np.where(there, moves, 0.0)[seen],
        rates.paid(at, at + step_ms)[seen], tuple(names), positions[seen], bars.cost_bps,
    )  # fmt: skip
