"""A market without mercy: it makes every entry at its very limit, and then takes everything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal

import numpy as np

from tgtqr_lib.backtest import Result, run
from tgtqr_lib.backtest.crossings import TICK_MS
from tgtqr_lib.backtest.terms import SPOT, SPREAD_BPS
from tgtqr_lib.clock import to_ms
from tgtqr_lib.domain import MINUTE_MS, Candles, Limits, Plan
from tgtqr_lib.execution import BPS
from tgtqr_lib.limits import HARD
from tgtqr_lib.research import plan
from tgtqr_lib.sizing import entry_limit
from tgtqr_lib.strategy_document.facts import SEED

START = datetime(2025, 1, 1, tzinfo=UTC)
LEVELS = {"BTCUSDT": Decimal("100000.0"), "ETHUSDT": Decimal("2500.00")}
BOTTOM = 10  # steps; one step less would be a fall of a tenth
FALL, RISE = 0.81, 1.19  # a minute; a step of 20 % is doubted
CYCLE, ENTRY, EXIT = (
    360,
    75,
    150,
)  # minutes: four rounds a day, the minutes in which fills may happen
AWAY = 0.015  # of the open, at every other quarter hour: beyond the collar, within what is doubted
DAYS = 4


@dataclass(frozen=True, eq=False)
class Mercy:
    """The seed strategy in that market, with the loss limits and without.

    times  (n,) datetime64 ends of the minutes; equity in USDT
    floor  (n,) the higher of the day's floor and the account's
    """

    on: Result
    off: Result
    times: np.ndarray
    equity_on: np.ndarray
    equity_off: np.ndarray
    floor: np.ndarray

    @property
    def lost(self) -> Decimal:
        """USDT that the limits let go."""
        return -self.on.pnl


def mercy(days: int = DAYS, limits: Limits = HARD) -> Mercy:
    """`days` of it, both symbols at once."""
    candles = {symbol: hostile(symbol, days) for symbol in LEVELS}
    on, off = (run(candles, plan(SEED), each) for each in (limits, None))
    times = (on.times_ms + MINUTE_MS).astype("datetime64[ms]")
    equity = on.equity_units / 1e8
    floor = np.empty(len(equity))
    initial = float(on.initial_units) / 1e8
    for day in range(days):
        # nothing is held at midnight, so the day opens at cash alone
        start = equity[day * 1440 - 1] if day else initial
        floor[day * 1440 : (day + 1) * 1440] = start - float(limits.daily_loss_usdt)
    floor = np.maximum(floor, initial - float(limits.total_loss_usdt))
    return Mercy(on, off, times, equity, off.equity_units / 1e8, floor)


def hostile(symbol: str, days: int) -> Candles:
    """Candles of a market that rises by a step, opens at the limit, falls to nothing and comes back."""
    step = SPOT[symbol].price_step
    decimals = -step.as_tuple().exponent
    top = int(LEVELS[symbol] / step)
    closes = np.array(_round(top) * (days * 1440 // CYCLE), dtype=np.int64)
    opens = np.concatenate([closes[:1], closes[:-1]])
    terms = plan(SEED)
    need = terms.parameters["window"]
    sums = np.concatenate([[0], np.cumsum(closes)])
    for i in range(TICK_MS // MINUTE_MS, len(closes), TICK_MS // MINUTE_MS):
        place, close = i % CYCLE, int(closes[i - 1])
        if place == ENTRY:
            opens[i] = _worst_open(symbol, close, decimals, terms)
        elif place != EXIT:
            seen = min(need, i)
            long = close * seen > sums[i] - sums[i - seen]
            opens[i] = max(round(close * (1 + AWAY if long else 1 - AWAY)), 1)
    at = to_ms(START) + MINUTE_MS * np.arange(len(closes), dtype=np.int64)
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return Candles(symbol, decimals, at, opens, high, low, closes, np.zeros_like(at))


def _round(top: int) -> list[int]:
    """One round of closes, in steps: flat, a step up, down to nothing, and back."""
    found = [top] * (ENTRY - 1) + [top + 1]
    price = top
    while len(found) <= EXIT:
        price = max(-(-price * int(FALL * 100) // 100), BOTTOM)
        found.append(price)
    while len(found) < CYCLE:
        price = min(max(price * int(RISE * 100) // 100, price + 1), top)
        found.append(price)
    return found


def _worst_open(symbol: str, close: int, decimals: int, terms: Plan) -> int:
    """The highest open, in steps, at which a buy half the spread above it is still inside its limit."""
    step = SPOT[symbol].price_step
    price = Decimal(close).scaleb(-decimals)
    limit = entry_limit(price, terms.collar_bps, step)
    opened = limit
    half = 1 + SPREAD_BPS / BPS / 2
    while (opened * half / step).to_integral_value(ROUND_CEILING) * step > limit:
        opened -= step
    return int(opened / step)
