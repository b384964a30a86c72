"""One combination of a sweep, compiled: from crossing to crossing instead of from minute to minute.

Spot only: there no price path can break a floor, because cash never falls below one (see
docs/decisions/001-the-daily-floor.md), so minutes are looked at only where money is nearly spent, where
equity may have made a new high or drawdown, and where a holding may be worth more than its limit.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest import bits, money
from tgtqr_lib.backtest.money import FEE, FEE_PER, SCALE, TRIM, compiled, quick
from tgtqr_lib.backtest.quarters import (
    BID,
    DAY,
    DAY_MS,
    HIGH,
    LOW,
    OPEN,
    PAID,
    QUANTITY,
    SPREAD,
    WORST,
)
from tgtqr_lib.backtest.quarters import FEE as ENTRY_FEE
from tgtqr_lib.domain import MINUTE_MS

# columns of a combination's figures
TRADES, EQUITY, FEES, SPREADS, DRAWDOWN, STOP_ROW = range(6)
FIGURES = 6
BPS = 10_000
DAILY, TOTAL_FLOOR, INITIAL, BOUND, START_MS, LIMITS_BIND = range(6)  # of `rules`


@compiled
def mean_words(sums, decided, clean, window, band_bps, buyable, sellable, longs, flats):
    """Mark where the close is above and below its mean by the band, and an order would be filled."""
    back = -(-window // 15)  # earlier quarter hours have no whole window
    now, then = sums[0, back:], sums[-window % 15]
    decided, clean = decided[back - 1 :], clean[back - 1 :]
    above, below, scale = BPS + band_bps, BPS - band_bps, BPS * window
    longs[:], flats[:] = bits.NONE, bits.NONE
    shift = back - 1
    for w in range(len(longs)):
        begin = max(w * bits.WORD - shift, 0)
        end = (w + 1) * bits.WORD - shift
        if end <= 0:
            continue
        first = bits.WORD - (end - begin)  # the lowest bit that has a whole window
        a, b, c, d = now[begin:end], then[begin:end], decided[begin:end], clean[begin:end]
        up, down = bits.NONE, bits.NONE
        for k in range(end - begin):  # plain loops over slices, which compile to vectors
            total, scaled, whole = a[k] - b[k], scale * c[k], d[k] >= window
            up |= np.uint64(whole & (scaled > above * total)) << np.uint64(k)
            down |= np.uint64(whole & (scaled < below * total)) << np.uint64(k)
        longs[w] = (up << np.uint64(first)) & buyable[w]
        flats[w] = (down << np.uint64(first)) & sellable[w]


@compiled
def walk_means(
    sums, decided, close, ranges, clean, entries, exits, reserves, sellable, t, rules,
    buyable, windows, bands, out,
):  # fmt: skip
    """Fill `out` (c, 6) for `windows` and `bands` (c,) int64; the rest is `Quarters` and bits of it."""
    longs, flats = np.empty_like(buyable), np.empty_like(buyable)
    for c in range(len(windows)):
        mean_words(sums, decided, clean, windows[c], bands[c], buyable, sellable, longs, flats)
        walk(
            close, ranges, clean, entries, exits, reserves, sellable, t, rules,
            longs, flats, windows[c], out[c],
        )  # fmt: skip


@compiled
def walk(
    close, ranges, clean, entries, exits, reserves, sellable, t, rules, longs, flats, need, out
):
    """Trade one combination; fills `out` (6,) with its figures."""
    m, place, flat_since = len(ranges), 0, 0
    scale, per_scale, fee_rate, trim = t[SCALE], 1.0 / t[SCALE], t[FEE], t[TRIM]
    fee_scale = scale * t[FEE_PER]
    per_fee, bind = 1.0 / fee_scale, rules[LIMITS_BIND] != 0
    lowest_free = rules[TOTAL_FLOOR] + rules[BOUND]
    cash = peak = rules[INITIAL]
    trades = fees = spreads = fall = quantity = np.int64(0)
    day, floor, stop_row = np.int64(-1), np.int64(0), np.int64(-1)
    while True:
        d = bits.next_bit(longs, place)
        if bind and cash < lowest_free:
            stop_row = spent_at(close, t, cash, rules[TOTAL_FLOOR], flat_since, 15 * d + 15)
            if stop_row >= 0:
                break
        if d >= m:
            break
        place = d + 1
        if bind:
            if reserves[d, DAY] != day:
                day, floor = reserves[d, DAY], cash - rules[DAILY]
            left = cash - reserves[d, WORST]
            if left < floor or left < rules[TOTAL_FLOOR]:
                flat_since = 15 * d + 15
                continue
        quantity = entries[d, QUANTITY]
        cash -= entries[d, PAID]
        fees += entries[d, ENTRY_FEE]
        spreads += entries[d, SPREAD]
        while quantity > 0:
            e = bits.next_bit(flats, d + 1)
            low, high = span(ranges, d, min(e, m))
            sold = quantity
            if quantity * high > trim:
                j = trim_at(close, clean, sellable, d + 1, min(e, m), need, quantity, t)
                if j < e:
                    e, sold = j, money.excess(t, quantity, close[15 * j + 14])
                    low, high = span(ranges, d, e)
            if high > 0:
                bottom = cash + quick(quantity * low, scale, per_scale)
                top = cash + quick(quantity * high, scale, per_scale)
                if top <= peak:
                    fall = max(fall, peak - bottom)
                elif top - bottom <= fall and peak - bottom <= fall:
                    peak = top
                else:
                    peak, fall = by_minute(close, quantity, cash, peak, fall, d, e, scale)
            if e >= m:
                break
            if bind and reserves[e, DAY] != day:
                day, floor = open_held_day(
                    close, quantity, cash, day, floor, reserves[e, DAY], rules, scale
                )
            product = sold * exits[e, BID]
            notional = quick(product, scale, per_scale)
            fee = min(quick(product * fee_rate + fee_scale - 1, fee_scale, per_fee), notional)
            cash += notional - fee
            fees += fee
            spreads += quick(sold * exits[e, OPEN], scale, per_scale) - notional
            trades += 1
            quantity -= sold
            d = e
        if quantity > 0:
            break
        if bind and day != reserves[d, DAY]:
            day, floor = reserves[d, DAY], cash - rules[DAILY]
        place, flat_since = d + 1, 15 * d + 15
        peak = max(peak, cash)
        fall = max(fall, peak - cash)
    if quantity > 0:  # held to the end
        cash += worth_at_end(close, quantity, scale, 15 * d + 15)
    out[TRADES], out[FEES], out[SPREADS] = trades, fees, spreads
    out[DRAWDOWN], out[STOP_ROW] = fall, stop_row
    out[EQUITY] = cash


@compiled
def span(ranges, d, e):
    """Lowest and highest close after the decisions `d` to before `e`."""
    low, high = ranges[d, LOW], ranges[d, HIGH]
    for j in range(d + 1, e):
        low, high = min(low, ranges[j, LOW]), max(high, ranges[j, HIGH])
    return low, high


@compiled
def by_minute(close, quantity, cash, peak, fall, d, e, scale):
    """Peak and drawdown after what is held from decision `d` to `e` is marked every minute."""
    for row in range(15 * d + 15, min(15 * e + 15, len(close))):
        if close[row] > 0:
            worth = cash + quantity * close[row] // scale
            peak = max(peak, worth)
            fall = max(fall, peak - worth)
    return peak, fall


@compiled
def open_held_day(close, quantity, cash, day, floor, now, rules, scale):
    """The open day and its floor: `now`, if what is held has a close of 23:59 before it."""
    row = (now * DAY_MS - rules[START_MS]) // MINUTE_MS - 1
    if row >= 0 and close[row] > 0:
        start = cash + quantity * close[row] // scale
        return now, min(start - rules[DAILY], cash)
    return day, floor


@compiled
def trim_at(close, clean, sellable, d, e, need, quantity, t):
    """The first quarter hour from `d` to before `e` whose close trims the holding, or `e`."""
    for j in range(d, e):
        over = quantity * close[15 * j + 14] > t[TRIM]
        if over and clean[j] >= need and bits.is_set(sellable, j):
            return j
    return e


@compiled
def spent_at(close, t, cash, floor, row, end):
    """The first row from `row` to before `end` at whose close no entry passes the floor, or -1."""
    for i in range(row, min(end, len(close))):
        if close[i] > 0:
            cost = money.worst_at(t, close[i])
            if cost > 0 and cash - cost < floor:
                return i
    return -1


@compiled
def worth_at_end(close, quantity, scale, row):
    """What `quantity` is worth at the last close of the series, which is not before `row`."""
    for i in range(len(close) - 1, row - 1, -1):
        if close[i] > 0:
            return quantity * close[i] // scale
    return 0
