"""What a backtest is measured by: every metric with its unit, formula and annualisation.

Gross is net with every cost given back. Days are UTC days; a year has 365, because crypto never closes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import MINUTE_MS, UNIT, DomainError

if TYPE_CHECKING:
    from tgtqr_lib.backtest.result import Result

DAY_MS = 86_400_000
DAYS_A_YEAR = 365
OPEN = -1  # instead of the exit's time
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Study:
    """A result made ready to be measured; floats throughout, money in USDT, times in ms, UTC.

    at_ms         (n,) int64 instants of the marks, the *ends* of their minutes, increasing
    equity        (n,) cash plus what is held, at the marks
    start         equity before the first mark
    symbol        (k,) text, of each trade; a position that is still held is a trade too
    entry_ms      (k,) int64 when it was bought
    exit_ms       (k,) int64 when it was sold, OPEN while it is not
    quantity      (k,) base units
    entry_price, exit_price  (k,) quote per base, the spread in
    entry_fee, exit_fee      (k,)
    pnl           (k,) after both fees; 0 while open
    spread, funding          lost to half the spread at every fill, paid less received, over all trades
    """

    at_ms: np.ndarray
    equity: np.ndarray
    start: float
    symbol: np.ndarray
    entry_ms: np.ndarray
    exit_ms: np.ndarray
    quantity: np.ndarray
    entry_price: np.ndarray
    exit_price: np.ndarray
    entry_fee: np.ndarray
    exit_fee: np.ndarray
    pnl: np.ndarray
    spread: float = 0.0
    funding: float = 0.0

    def __post_init__(self) -> None:
        if len(self.at_ms) == 0 or len(self.at_ms) != len(self.equity):
            raise DomainError(
                f"{len(self.at_ms)} times and {len(self.equity)} marks of equity; "
                "expected as many of both, and at least one"
            )
        if (np.diff(self.at_ms) <= 0).any():
            raise DomainError("the times of the equity are not increasing")
        columns = (
            self.entry_ms, self.exit_ms, self.quantity, self.entry_price, self.exit_price,
            self.entry_fee, self.exit_fee, self.pnl,
        )  # fmt: skip
        if any(len(column) != len(self.symbol) for column in columns):
            raise DomainError("the columns of the trades differ in length")

    @cached_property
    def closed(self) -> np.ndarray:
        """(k,) bool: the trade has ended."""
        return self.exit_ms != OPEN

    @cached_property
    def until_ms(self) -> np.ndarray:
        """(k,) int64 end of each trade; of an open one the last mark."""
        return np.where(self.closed, self.exit_ms, self.at_ms[-1])

    @cached_property
    def notional(self) -> np.ndarray:
        """(2, k) USDT bought and sold; nothing is sold of an open trade."""
        sold = np.where(self.closed, self.quantity * self.exit_price, 0.0)
        return np.stack([self.quantity * self.entry_price, sold])

    @cached_property
    def charges(self) -> np.ndarray:
        """(2, k) USDT of cost at the entry and at the exit of every trade.

        Only the sums of spread and funding are known: the one is shared out by notional, which it is
        proportional to, the other by notional times the time held, and counted at the exit.
        """
        charges = np.stack([self.entry_fee, np.where(self.closed, self.exit_fee, 0.0)])
        charges += _shared(self.spread, self.notional)
        charges[1] += _shared(self.funding, self.notional[0] * (self.until_ms - self.entry_ms))
        return charges

    @cached_property
    def fees(self) -> float:
        """USDT."""
        return float(self.entry_fee.sum() + self.exit_fee[self.closed].sum())

    @property
    def costs(self) -> float:
        """Fees, spread and funding, USDT."""
        return self.fees + self.spread + self.funding

    @cached_property
    def gross(self) -> np.ndarray:
        """(n,) equity with all costs so far given back."""
        at = np.concatenate([self.entry_ms, self.until_ms])
        # a fill at a mark's instant opens the next minute, so it is not in that mark
        rows = np.searchsorted(self.at_ms, at, side="right")
        n = len(self.at_ms)
        paid = np.bincount(rows, weights=self.charges.ravel(), minlength=n + 1)[:n]
        curve = self.equity + np.cumsum(paid)
        curve[-1] = self.equity[-1] + self.costs  # what an open trade has paid until then too
        return curve

    @cached_property
    def days(self) -> np.ndarray:
        """(d,) int64 every UTC day from the first mark's to the last's, in days since 1970."""
        # a mark at 00:00 ends the last minute of the day before
        return np.arange((self.at_ms[0] - 1) // DAY_MS, (self.at_ms[-1] - 1) // DAY_MS + 1)

    def at_day_ends(self, curve: np.ndarray) -> np.ndarray:
        """(d,) the last value of each UTC day; a day without a mark keeps the value before it."""
        rows = np.searchsorted(self.at_ms, (self.days + 1) * DAY_MS, side="right") - 1
        return curve[rows]

    def daily(self, curve: np.ndarray) -> np.ndarray:
        """(d,) simple returns a day; NaN after the equity is gone."""
        ends = np.concatenate([[self.start], self.at_day_ends(curve)])
        before = ends[:-1]
        return np.divide(ends[1:] - before, before, out=np.full(len(before), NAN), where=before > 0)

    @cached_property
    def returns(self) -> np.ndarray:
        """(d,) net daily returns."""
        return self.daily(self.equity)

    @cached_property
    def gross_returns(self) -> np.ndarray:
        """(d,) gross daily returns."""
        return self.daily(self.gross)

    @property
    def years(self) -> float:
        """UTC days touched, over 365."""
        return len(self.days) / DAYS_A_YEAR

    @cached_property
    def solvent(self) -> bool:
        """Whether the equity is above 0 at the start and at every mark."""
        return self.start > 0 and bool((self.equity > 0).all())

    @cached_property
    def underwater(self) -> np.ndarray:
        """(n,) USDT below the highest equity so far, the start counted; >= 0."""
        peak = np.maximum.accumulate(np.concatenate([[self.start], self.equity]))[1:]
        return peak - self.equity

    @cached_property
    def drawdown(self) -> np.ndarray:
        """(n,) fraction below the highest equity so far; >= 0."""
        return self.underwater / (self.equity + self.underwater)


def volatility(returns: np.ndarray) -> float:
    """Standard deviation (n - 1) of daily returns times sqrt(365); NaN below two."""
    return float(np.std(returns, ddof=1) * DAYS_A_YEAR**0.5) if len(returns) > 1 else NAN


def sharpe(returns: np.ndarray) -> float:
    """Mean over standard deviation (n - 1) of daily returns times sqrt(365); NaN without spread.

    Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21(1); the riskless rate is 0.
    """
    if len(returns) < 2:
        return NAN
    return _ratio(float(np.mean(returns)), float(np.std(returns, ddof=1))) * DAYS_A_YEAR**0.5


def sortino(returns: np.ndarray) -> float:
    """Mean over downside deviation of daily returns times sqrt(365); NaN without a losing day.

    Downside deviation is sqrt(mean(min(r, 0)^2)) over all days, target 0: Sortino and Price (1994),
    Performance Measurement in a Downside Risk Framework, Journal of Investing 3(3).
    """
    if not len(returns):
        return NAN
    downside = float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))
    return _ratio(float(np.mean(returns)), downside) * DAYS_A_YEAR**0.5


def cagr(study: Study) -> float:
    """Growth a year; NaN below a whole year, which would be an extrapolation, not a measurement.

    NaN too once the equity was 0 or below: what cannot be a base does not grow.
    """
    if study.years < 1 or not study.solvent:
        return NAN
    return float((study.equity[-1] / study.start) ** (1 / study.years) - 1)


def calmar(study: Study) -> float:
    """CAGR over the largest drawdown. Young (1991), Calmar Ratio: A Smoother Tool, Futures 20(1)."""
    return _ratio(cagr(study), float(study.drawdown.max()))


def drawdown_days(study: Study) -> float:
    """The longest time between a high and its recovery, or the end, in days."""
    begin = study.at_ms[0] - MINUTE_MS
    rows = np.flatnonzero(study.underwater <= 0)
    highs = np.concatenate([[begin], study.at_ms[rows]])
    # the time under water counts from the high to the first mark at or above it
    below = np.diff(np.concatenate([[-1], rows])) > 1
    spells = np.diff(highs)[below]
    return float(max(spells.max(initial=0), study.at_ms[-1] - highs[-1]) / DAY_MS)


def exposure(study: Study) -> float:
    """Fraction of the time in which anything was held."""
    order = np.argsort(study.entry_ms, kind="stable")
    begin = study.at_ms[0] - MINUTE_MS
    entry = np.clip(study.entry_ms[order], begin, study.at_ms[-1])
    until = np.clip(study.until_ms[order], begin, study.at_ms[-1])
    if not len(entry):
        return 0.0
    taken = np.concatenate([[begin], np.maximum.accumulate(until)[:-1]])
    held = np.maximum(until - np.maximum(entry, taken), 0).sum()
    return float(held / (study.at_ms[-1] - begin))


def turnover(study: Study) -> float:
    """Notional bought and sold over mean equity, a year; NaN once the equity was 0 or below."""
    if not study.solvent:
        return NAN
    return _ratio(float(study.notional.sum()), float(np.mean(study.equity))) / study.years


def profit_factor(study: Study) -> float:
    """Sum of winning over sum of losing trades; NaN without a losing one."""
    pnl = study.pnl[study.closed]
    return _ratio(float(pnl[pnl > 0].sum()), float(-pnl[pnl < 0].sum()))


def _shared(total: float, weights: np.ndarray) -> np.ndarray:
    """`total` shared out in proportion to `weights`."""
    whole = float(weights.sum())
    return weights * (total / whole) if whole > 0 else np.zeros(weights.shape)


def _ratio(above: float, below: float) -> float:
    # a spread of rounding errors is no spread: equal returns leave 1e-19 behind
    return above / below if below > 1e-15 else NAN


def average_trade_gross(study: Study) -> float:
    """Mean profit of closed trades before their costs, USDT."""
    return _mean((study.pnl + study.charges.sum(axis=0))[study.closed])


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else NAN


@dataclass(frozen=True)
class Metric:
    """One measure of a result.

    unit           `fraction`, `fraction a year`, `USDT`, `days`, `minutes`, `ratio`, `times a year`, `count`
    formula        how it is computed, in words and symbols
    annualisation  how it is brought to a year, `none` when it is not
    function       `Study` -> float, NaN where it has no meaning
    """

    unit: str
    formula: str
    annualisation: str
    function: Callable[[Study], float]


ROOT_OF_A_YEAR = "x sqrt(365) from UTC days"

METRICS: dict[str, Metric] = {
    "net_return": Metric(
        "fraction", "last equity / start - 1", "none", lambda s: float(s.equity[-1] / s.start - 1)),
    "gross_return": Metric(
        "fraction", "(last equity + costs) / start - 1", "none",
        lambda s: float((s.equity[-1] + s.costs) / s.start - 1)),
    "net_pnl": Metric(
        "USDT", "last equity - start", "none", lambda s: float(s.equity[-1] - s.start)),
    "gross_pnl": Metric(
        "USDT", "last equity - start + costs", "none",
        lambda s: float(s.equity[-1] - s.start + s.costs)),
    "costs": Metric("USDT", "fees + spread + funding", "none", lambda s: s.costs),
    "fees": Metric("USDT", "sum of fees", "none", lambda s: s.fees),
    "spread": Metric(
        "USDT", "half the spread at every fill, summed", "none", lambda s: s.spread),
    "funding": Metric("USDT", "funding paid less received", "none", lambda s: s.funding),
    "cagr": Metric(
        "fraction a year", "(last equity / start)^(1 / years) - 1; from one year on, while equity is above 0",
        "compounded; years = UTC days / 365", cagr),
    "volatility": Metric(
        "fraction a year", "standard deviation (n - 1) of net daily returns", ROOT_OF_A_YEAR,
        lambda s: volatility(s.returns)),
    "sharpe": Metric(
        "ratio", "mean / standard deviation (n - 1) of net daily returns, riskless rate 0 (Sharpe 1994)",
        ROOT_OF_A_YEAR, lambda s: sharpe(s.returns)),
    "sharpe_gross": Metric(
        "ratio", "as sharpe, of gross daily returns", ROOT_OF_A_YEAR,
        lambda s: sharpe(s.gross_returns)),
    "sortino": Metric(
        "ratio", "mean / sqrt(mean(min(r, 0)^2)) of net daily returns, target 0 (Sortino, Price 1994)",
        ROOT_OF_A_YEAR, lambda s: sortino(s.returns)),
    "max_drawdown": Metric(
        "fraction", "largest fall below the highest equity so far, over that high; minute by minute",
        "none", lambda s: float(s.drawdown.max())),
    "max_drawdown_usdt": Metric(
        "USDT", "largest fall below the highest equity so far; minute by minute", "none",
        lambda s: float(s.underwater.max())),
    "drawdown_days": Metric(
        "days", "longest time from a high until it is reached again, or the end", "none",
        drawdown_days),
    "calmar": Metric(
        "ratio", "cagr / max_drawdown (Young 1991); where cagr has a value", "as cagr", calmar),
    "exposure": Metric("fraction", "time in which anything is held / all time", "none", exposure),
    "trades": Metric(
        "count", "closed trades; what a trim sells is one of its own", "none",
        lambda s: float(s.closed.sum())),
    "win_rate": Metric(
        "fraction", "closed trades with net pnl > 0 / closed trades", "none",
        lambda s: _mean(s.pnl[s.closed] > 0)),
    "profit_factor": Metric(
        "ratio", "sum of net wins / sum of net losses", "none", profit_factor),
    "average_trade": Metric(
        "USDT", "mean net pnl of closed trades", "none", lambda s: _mean(s.pnl[s.closed])),
    "average_trade_gross": Metric(
        "USDT", "mean of net pnl + costs of closed trades", "none", average_trade_gross),
    "holding_minutes": Metric(
        "minutes", "mean time from entry to exit of closed trades", "none",
        lambda s: _mean((s.exit_ms - s.entry_ms)[s.closed]) / MINUTE_MS),
    "turnover": Metric(
        "times a year", "notional bought and sold / mean equity, while equity is above 0",
        "/ years; years = UTC days / 365", turnover),
}  # fmt: skip


def measure(study: Study) -> dict[str, float]:
    """Every metric by name; NaN where one has no meaning, such as a growth a year of three weeks."""
    return {name: metric.function(study) for name, metric in METRICS.items()}


def as_json(values: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """{name: {value, unit}} for `--json`; null where a metric has no meaning."""
    return {
        name: {"value": value if np.isfinite(value) else None, "unit": METRICS[name].unit}
        for name, value in values.items()
    }


def study_of(result: Result) -> Study:
    """What `measure` reads, of a finished backtest."""
    held = result.open_positions
    count = len(held)
    money = float(UNIT)
    decimals = np.asarray(result.decimals, dtype=np.float64)[result.column("symbol")]

    def column(name: str, open_ones: list[Any], scale: Any = money) -> np.ndarray:
        return np.concatenate([result.column(name) * scale, np.array(open_ones, dtype=np.float64)])

    # an open position tells its cost with the fee in; the fees that no trade has are theirs
    bought = np.array([float(p.quantity * p.entry_price) for p in held])
    in_trades = int(result.column("entry_fee").sum() + result.column("exit_fee").sum())
    fees = _shared((result.fees_units - in_trades) * money, bought)
    names = [*(result.symbols[i] for i in result.column("symbol")), *(p.symbol for p in held)]
    entries = np.array([to_ms(p.entry_at) for p in held], dtype=np.int64)
    return Study(
        at_ms=result.times_ms + MINUTE_MS,
        equity=result.equity_units * money,
        start=result.initial_units * money,
        symbol=np.array(names, dtype=object),
        entry_ms=np.concatenate([result.column("entry_ms"), entries]),
        exit_ms=np.concatenate([result.column("exit_ms"), np.full(count, OPEN)]),
        quantity=column("quantity", [float(p.quantity) for p in held]),
        entry_price=column("entry_price", [float(p.entry_price) for p in held], 10.0**-decimals),
        exit_price=column("exit_price", [NAN] * count, 10.0**-decimals),
        entry_fee=column("entry_fee", fees.tolist()),
        exit_fee=column("exit_fee", [0.0] * count),
        pnl=column("pnl", [0.0] * count),
        spread=result.spread_units * money,
        funding=result.funding_units * money,
    )


def monthly(study: Study) -> dict[tuple[int, int], tuple[float, float]]:
    """(year, month) -> (net, gross) return of that month as fractions, from one day's end to another's."""
    months = study.days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    last = np.flatnonzero(np.append(np.diff(months) != 0, True))
    found: dict[tuple[int, int], tuple[float, float]] = {}
    net, gross = study.at_day_ends(study.equity), study.at_day_ends(study.gross)
    before_net = before_gross = study.start
    for row in last:
        key = (1970 + int(months[row]) // 12, int(months[row]) % 12 + 1)
        # both over the equity that was really there, so that gross less net is what costs took of it
        found[key] = (
            float((net[row] - before_net) / before_net) if before_net > 0 else NAN,
            float((gross[row] - before_gross) / before_net) if before_net > 0 else NAN,
        )
        before_net, before_gross = net[row], gross[row]
    return found
