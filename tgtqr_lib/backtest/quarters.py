"""One spot series laid out for sweeps: by minute without holes, and by quarter hour.

Quarter hour d is decided when row 15 d + 14 closes, and filled at the open of row 15 d + 15. What an entry
or an exit decided then would cost or bring does not depend on the strategy, so it is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgtqr_lib.backtest import money
from tgtqr_lib.backtest.bars import Bars
from tgtqr_lib.backtest.bits import WORD, leading_zeros
from tgtqr_lib.backtest.crossings import NEVER, TICK_MS
from tgtqr_lib.backtest.money import SCALE, compiled
from tgtqr_lib.backtest.terms import INT64_MAX, Terms, steps_of
from tgtqr_lib.domain import MINUTE_MS

DAY_MS = 86_400_000
FLOAT_EXACT = 2**53
FAR = INT64_MAX  # the lowest close of a quarter hour without candles

QUANTITY, PAID, FEE, SPREAD = range(4)  # columns of `entries`, a row a quarter hour
BID, OPEN = range(2)  # of `exits`
WORST, DAY = range(2)  # of `reserves`
LOW, HIGH = range(2)  # of `spans`


@dataclass(frozen=True, eq=False)
class Quarters:
    """m quarter hours (a multiple of 64; the last ones may be empty) of 15 minutes each.

    start_ms      open time of row 0
    close         (15 m,) int64 steps by minute, 0 where there is no candle
    spans         (k, m, 2) int64, lowest and highest close after the decision, of 2**k quarter hours
    decided       (m,) the close that is decided on, 0 without one: float64 if sums are exact in it, else int64
    sums          (15, m + 1) the same type: sums[p, j] is the sum of the closes of rows 0 to 15 j + p - 1
    clean         (m,) int64, minutes to the last gap or jump; 0 where the rule DATA_TICKER doubts
    entries       (m, 4) int64: quantity, cost with fee, fee, part of it that is the spread; units
    exits         (m, 2) int64: what a sale gets and the open it comes from, steps
    reserves      (m, 2) int64: the most the entry can cost, units; the day's number
    may_buy, may_sell  (m,) bool: an order would be filled, as far as cash does not matter
    """

    start_ms: int
    close: np.ndarray
    spans: np.ndarray
    decided: np.ndarray
    sums: np.ndarray
    clean: np.ndarray
    entries: np.ndarray
    exits: np.ndarray
    reserves: np.ndarray
    may_buy: np.ndarray
    may_sell: np.ndarray

    @classmethod
    def of(cls, bars: Bars, terms: Terms, limits_bind: bool, widest: int = 1) -> Quarters:
        """`widest` is the largest factor that a close or a sum of closes will be multiplied with."""
        start = int(bars.open_ms[0]) // TICK_MS * TICK_MS
        minutes = (int(bars.open_ms[-1]) - start) // MINUTE_MS + 1
        m = -(-minutes // (15 * WORD)) * WORD
        opens, closes = steps_of(bars, terms)
        close, opened = np.zeros(15 * m, dtype=np.int64), np.zeros(m, dtype=np.int64)
        _lay(bars.open_ms, opens, closes, start, close, opened)
        ranges, clean = _ranges(close)
        *tables, may_buy, may_sell = _terms(opened, close, clean, terms.array(), start, limits_bind)
        highest = int(closes.max())
        largest = highest * max(widest, len(closes))
        exact = np.float64 if largest < FLOAT_EXACT else np.int64
        return cls(
            start, close, _spans(ranges), close[14::15].astype(exact), _split(close, exact), clean,
            *tables, may_buy, may_sell,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.clean)


def _split(close: np.ndarray, exact: type) -> np.ndarray:
    """(15, m + 1): prefix sums by phase, so that any window's sums at all decisions lie in a row."""
    sums = np.empty((15, len(close) // 15 + 1), dtype=exact)
    _sum(close, sums)
    return sums


@compiled
def _sum(close, sums):
    sums[0, 0] = 0  # gives the total its type
    total = sums[0, 0]
    for j in range(sums.shape[1] - 1):
        for p in range(15):
            sums[p, j] = total
            total += close[15 * j + p]
    sums[:, -1] = total


@compiled
def _lay(times, opens, closes, start_ms, close, opened):
    """Lay closes on their minutes, and opens of the minute after a decision on its quarter hour."""
    for i in range(len(times)):
        row = (times[i] - start_ms) // MINUTE_MS
        close[row] = closes[i]
        if row % 15 == 0 and row > 0:
            opened[row // 15 - 1] = opens[i]


@compiled
def _ranges(close):
    """Lowest and highest close after each decision, and how long before it gaps and jumps lie."""
    m = len(close) // 15
    ranges, clean = np.zeros((m, 2), np.int64), np.zeros(m, np.int64)
    run, since_jump, before = 0, NEVER, close[0]
    for block in range(m):
        low, high = FAR, 0
        for row in range(15 * block, 15 * block + 15):
            now = close[row]
            if now == 0:
                run = 0
                continue
            run += 1
            since_jump += 1
            if 5 * abs(now - before) >= before and before > 0:
                since_jump = 0
            before = now
            low, high = min(low, now), max(high, now)
        if block > 0:
            ranges[block - 1, LOW], ranges[block - 1, HIGH] = low, high
        clean[block] = min(run, since_jump)
    ranges[m - 1, LOW] = FAR
    return ranges, clean


@compiled
def _spans(ranges):
    """Ranges of 1, 2, 4, ... quarter hours from each on, so that two of them cover any stretch."""
    m = len(ranges)
    levels = 64 - leading_zeros(np.uint64(m))
    spans = np.empty((levels, m, 2), np.int64)
    spans[0] = ranges
    for k in range(1, levels):
        half, whole = spans[k - 1], spans[k]
        step = 1 << (k - 1)
        for j in range(m - step):
            whole[j, LOW] = min(half[j, LOW], half[j + step, LOW])
            whole[j, HIGH] = max(half[j, HIGH], half[j + step, HIGH])
        whole[m - step :] = half[m - step :]
    return spans


@compiled
def span(spans, d, e):
    """Lowest and highest close after the decisions `d` to before `e`."""
    k = 63 - leading_zeros(np.uint64(e - d))
    last = e - (1 << k)
    low = min(spans[k, d, LOW], spans[k, last, LOW])
    return low, max(spans[k, d, HIGH], spans[k, last, HIGH])


@compiled
def _terms(opened, close, clean, t, start_ms, limits_bind):
    """What an order of each quarter hour would cost or bring, and whether it would be filled."""
    m = len(close) // 15
    entries, exits = np.zeros((m, 4), np.int64), np.zeros((m, 2), np.int64)
    reserves = np.zeros((m, 2), np.int64)
    may_buy, may_sell = np.zeros(m, np.bool_), np.zeros(m, np.bool_)
    for d in range(m):
        row = 15 * d + 14
        reserves[d, DAY] = (start_ms + (row + 1) * MINUTE_MS) // DAY_MS
        now = close[row]
        price = opened[d]
        if now == 0 or price == 0:
            continue
        if money.strays(now, price):
            clean[d] = 0
        exits[d, OPEN], exits[d, BID] = price, money.bid(t, price)
        may_sell[d] = exits[d, BID] >= money.exit_limit(t, now)
        limit, paid = money.entry_limit(t, now), money.ask(t, price)
        quantity = money.entry_quantity(t, limit)
        if quantity == 0:
            continue
        product = quantity * paid
        notional = money.up(product, t[SCALE])
        entries[d, QUANTITY], entries[d, FEE] = quantity, money.fee_on(t, product)
        entries[d, PAID] = notional + entries[d, FEE]
        entries[d, SPREAD] = notional - money.up(quantity * price, t[SCALE])
        reserves[d, WORST] = money.worst_cost(t, quantity, limit)
        within = limit * 10_000 <= now * (10_000 + t[money.HIGHEST])
        if limits_bind:
            within = within and reserves[d, WORST] <= t[money.POSITION]
        may_buy[d] = within and paid <= limit
    return entries, exits, reserves, may_buy, may_sell
