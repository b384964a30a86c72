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
    span,
)
from tgtqr_lib.backtest.quarters import FEE as ENTRY_FEE
from tgtqr_lib.domain import MINUTE_MS

# columns of a combination's figures
TRADES, EQUITY, FEES, SPREADS, DRAWDOWN, STOP_ROW = range(6)
FIGURES = 6
BPS = 10_000
FARTHEST = 4096  # basis points; bands must be below
DAILY, TOTAL_FLOOR, INITIAL, BOUND, START_MS, LIMITS_BIND = range(6)  # of `rules`
# where a combination stands
PLACE, CASH, PEAK, FALL, PAID_FEES, PAID_SPREADS, SOLD, TODAY, FLOOR = range(9)


@compiled
def band_levels(sums, decided, clean, window, levels):
    """Fill `levels` (m,) int16: how many basis points the close is from its mean, rounded away from it.

    So a close is above the mean by a band if its level is above the band, below if its level is below
    minus the band. 0 where a minute of the window is missing or in doubt; never beyond +-4098.
    """
    back = -(-window // 15)  # earlier quarter hours have no whole window
    now, then = sums[0, back:], sums[-window % 15]
    decided, clean = decided[back - 1 :], clean[back - 1 :]
    levels[: back - 1] = 0
    found = levels[back - 1 :]
    for k in range(len(found)):  # a plain loop over slices, which compiles to vectors
        total = now[k] - then[k]
        above = BPS * (window * decided[k] - total)
        size = abs(above)
        ratio = size / total
        guess = np.int64(ratio if ratio < FARTHEST else FARTHEST)
        rest = size - guess * total  # exact, so that the guess can be put right
        level = guess + np.int64(rest > 0) + np.int64(rest > total)
        level = level if above > 0 else -level
        found[k] = level if clean[k] >= window else 0


@compiled
def walk_means(
    sums, decided, close, spans, clean, entries, exits, reserves, buyable, sellable, t, rules,
    windows, bands, out,
):  # fmt: skip
    """Fill `out` (c, 6) for `windows` and `bands` (c,) int64; the rest is `Quarters` and bits of it."""
    longs, flats = np.empty_like(buyable), np.empty_like(buyable)
    levels, room = np.empty(len(clean), np.int16), np.empty((4, len(clean)), np.int64)
    for c in range(len(windows)):
        if c == 0 or windows[c] != windows[c - 1]:
            band_levels(sums, decided, clean, windows[c], levels)
        for w in range(len(longs)):
            longs[w] = bits.above(levels, w, np.int16(bands[c])) & buyable[w]
            flats[w] = bits.below(levels, w, np.int16(-bands[c])) & sellable[w]
        walk(
            close, spans, clean, entries, exits, reserves, buyable, sellable, t, rules,
            longs, flats, windows[c], room, out[c],
        )  # fmt: skip


@compiled
def walk(
    close, spans, clean, entries, exits, reserves, buyable, sellable, t, rules, longs, flats, need,
    room, out,
):  # fmt: skip
    """Trade one combination; fills `out` (6,) with its figures. `room` is (4, m) int64 to work in."""
    state = np.zeros(9, np.int64)
    state[CASH] = state[PEAK] = rules[INITIAL]
    state[TODAY] = -1
    trade_turns(close, spans, entries, exits, reserves, t, rules, longs, flats, room, state)
    stop_row = trade_on(
        close, spans, clean, entries, exits, reserves, sellable, t, rules, longs, flats, need, state
    )
    out[TRADES], out[EQUITY], out[STOP_ROW] = state[SOLD], state[CASH], stop_row
    out[FEES], out[SPREADS], out[DRAWDOWN] = state[PAID_FEES], state[PAID_SPREADS], state[FALL]


@compiled
def trade_turns(close, spans, entries, exits, reserves, t, rules, longs, flats, room, state):
    """Trade as long as no limit interferes: what is held when then follows from the bits alone."""
    scale, per_scale, trim = t[SCALE], 1.0 / t[SCALE], t[TRIM]
    lowest_free, bind = rules[TOTAL_FLOOR] + rules[BOUND], rules[LIMITS_BIND] != 0
    places, proceeds, sale_fees, sale_spreads = room[0], room[1], room[2], room[3]
    trades = bits.turns(longs, flats, places) // 2
    price_sales(entries, exits, t, places, trades, proceeds, sale_fees, sale_spreads)
    place, cash, peak, day = np.int64(0), state[CASH], state[PEAK], state[TODAY]
    fall = fees = spreads = floor = sold = np.int64(0)
    for k in range(trades):
        d, e = places[2 * k], places[2 * k + 1]
        quantity = entries[d, QUANTITY]
        low, high = span(spans, d, e)
        if bind:
            if reserves[d, DAY] != day:
                day, floor = reserves[d, DAY], cash - rules[DAILY]
            left = cash - reserves[d, WORST]
            refused = left < floor or left < rules[TOTAL_FLOOR]
            if refused or cash < lowest_free or quantity * high > trim:
                break
        cash -= entries[d, PAID]
        fees += entries[d, ENTRY_FEE] + sale_fees[k]
        spreads += entries[d, SPREAD] + sale_spreads[k]
        bottom = cash + quick(quantity * low, scale, per_scale)
        top = cash + quick(quantity * high, scale, per_scale)
        if top <= peak:
            fall = max(fall, peak - bottom)
        else:
            peak, fall = new_peak(close, spans, quantity, cash, peak, fall, d, e, scale, per_scale)
        if bind and reserves[e, DAY] != day:
            day, floor = open_held_day(
                close, quantity, cash, day, floor, reserves[e, DAY], rules, scale
            )
        cash += proceeds[k]
        if bind and reserves[e, DAY] != day:
            day, floor = reserves[e, DAY], cash - rules[DAILY]
        peak = max(peak, cash)
        fall = max(fall, peak - cash)
        place, sold = e + 1, sold + 1
    state[PLACE], state[CASH], state[PEAK], state[FALL] = place, cash, peak, fall
    state[PAID_FEES], state[PAID_SPREADS], state[SOLD] = fees, spreads, sold
    state[TODAY], state[FLOOR] = day, floor


@compiled
def price_sales(entries, exits, t, places, trades, proceeds, fees, spreads):
    """Fill what each sale brings, its fee out, the fee, and the part of it that is the spread; units.

    Gathering comes first and leaves a loop of arithmetic, which compiles to vectors.
    """
    scale, per_scale, fee_rate = t[SCALE], 1.0 / t[SCALE], t[FEE]
    fee_scale = scale * t[FEE_PER]
    per_fee = 1.0 / fee_scale
    for k in range(trades):
        quantity, e = entries[places[2 * k], QUANTITY], places[2 * k + 1]
        proceeds[k], spreads[k] = quantity * exits[e, BID], quantity * exits[e, OPEN]
    for k in range(trades):
        notional = quick(proceeds[k], scale, per_scale)
        fee = quick(proceeds[k] * fee_rate + fee_scale - 1, fee_scale, per_fee)
        fees[k] = min(fee, notional)
        spreads[k] = quick(spreads[k], scale, per_scale) - notional
        proceeds[k] = notional - fees[k]


@compiled
def trade_on(
    close, spans, clean, entries, exits, reserves, sellable, t, rules, longs, flats, need, state
):
    """Trade what is left from event to event, all limits applied; returns the row of the stop or -1."""
    m, scale, per_scale, fee_rate, trim = spans.shape[1], t[SCALE], 1.0 / t[SCALE], t[FEE], t[TRIM]
    fee_scale, lowest_free = scale * t[FEE_PER], rules[TOTAL_FLOOR] + rules[BOUND]
    per_fee, quantity = 1.0 / fee_scale, np.int64(0)
    place, cash, peak, fall = state[PLACE], state[CASH], state[PEAK], state[FALL]
    fees, spreads, trades = state[PAID_FEES], state[PAID_SPREADS], state[SOLD]
    day, floor, stop_row = state[TODAY], state[FLOOR], np.int64(-1)
    while True:
        d = bits.next_bit(longs, place)
        if cash < lowest_free:
            stop_row = spent_at(close, t, cash, rules[TOTAL_FLOOR], 15 * place, 15 * d + 15)
            if stop_row >= 0:
                break
        if d >= m:
            break
        place = d + 1
        if reserves[d, DAY] != day:
            day, floor = reserves[d, DAY], cash - rules[DAILY]
        left = cash - reserves[d, WORST]
        if left < floor or left < rules[TOTAL_FLOOR]:
            continue
        quantity = entries[d, QUANTITY]
        cash -= entries[d, PAID]
        fees += entries[d, ENTRY_FEE]
        spreads += entries[d, SPREAD]
        while quantity > 0:
            e = bits.next_bit(flats, d + 1)
            sold = quantity
            if quantity * span(spans, d, e)[1] > trim:
                j = trim_at(close, clean, sellable, d + 1, e, need, quantity, t)
                if j < e:
                    e, sold = j, money.excess(t, quantity, close[15 * j + 14])
            low, high = span(spans, d, e)
            bottom = cash + quick(quantity * low, scale, per_scale)
            top = cash + quick(quantity * high, scale, per_scale)
            if top <= peak:
                fall = max(fall, peak - bottom)
            elif top - bottom <= fall:
                peak = top
            else:
                peak, fall = new_peak(
                    close, spans, quantity, cash, peak, fall, d, e, scale, per_scale
                )
            if e >= m:
                break
            if reserves[e, DAY] != day:
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
        if day != reserves[d, DAY]:
            day, floor = reserves[d, DAY], cash - rules[DAILY]
        place = d + 1
        peak = max(peak, cash)
        fall = max(fall, peak - cash)
    if quantity > 0:  # held to the end
        cash += worth_at_end(close, quantity, scale, 15 * d + 15)
    state[CASH], state[FALL], state[SOLD] = cash, fall, trades
    state[PAID_FEES], state[PAID_SPREADS] = fees, spreads
    return stop_row


@compiled
def new_peak(close, spans, quantity, cash, peak, fall, d, e, scale, per_scale):
    """Peak and drawdown after what is held from decision `d` to `e` is marked every minute.

    A stretch is halved, down to minutes, only where the order of its highs and lows matters.
    """
    k = 0
    while d < e:
        while d + (1 << k) > e:
            k -= 1
        high = spans[k, d, HIGH]
        if high > 0:  # else it has no candle
            bottom = cash + quick(quantity * spans[k, d, LOW], scale, per_scale)
            top = cash + quick(quantity * high, scale, per_scale)
            if top <= peak:
                fall = max(fall, peak - bottom)
            elif top - bottom <= fall:
                peak = top
            elif k > 0:
                k -= 1
                continue
            else:
                peak, fall = by_minute(close, quantity, cash, peak, fall, d, scale)
        d += 1 << k
        k = min(k + 1, len(spans) - 1)
    return peak, fall


@compiled
def by_minute(close, quantity, cash, peak, fall, d, scale):
    for row in range(15 * d + 15, min(15 * d + 30, len(close))):
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
