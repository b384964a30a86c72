"""The walk through the minutes, compiled: rules, fills and money of `replay` in whole numbers.

Two symbols share the cash; the arrays have a row a symbol and a column a minute that either has.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest import money
from tgtqr_lib.backtest.crossings import DOUBT, FLAT, HOLD, INCOMPLETE, LONG
from tgtqr_lib.backtest.money import POSITION, SCALE, compiled, inlined
from tgtqr_lib.domain import MINUTE_MS

DAY_MS = 86_400_000
NO_STOP, TOTAL_BREACH, DAY_BREACH, SPENT = range(4)
SIGNAL_SALE, TRIM_SALE, STOP_SALE = range(3)
RATE = 10**10  # funding rates are whole units of 1e-10
WIDTH = 10  # columns of a trade
NEVER = -(2**62)  # below any equity

# what is held of a symbol: quantity, cost, entry time, entry price, what is left of the entry's fee
QUANTITY, COST, SINCE, PRICE, FEE_LEFT = range(5)
# the account: cash, fees, spread, funding, number of trades, number of symbols held
CASH, FEES, SPREAD, FUNDING, TRADES, HELD = range(6)
# what is known of the day: its number, whether it is open, its floor
DAY, OPEN, FLOOR = range(3)
NONE, SELL, BUY = range(3)


@compiled
def walk(
    times, opens, closes, has, signals, terms, daily, total_floor, initial, funding, off, most_sales
):
    """Walk through the minutes; see `run.Grid` for the arrays.

    Returns equity (n,), trades, account, held (k, 5), counts of LONG, FLAT, HOLD and INCOMPLETE, and
    the stop as (cause, row, equity or cash, floor).
    """
    k, n = closes.shape
    equity = np.empty(n, np.int64)
    table = np.empty((most_sales, WIDTH), np.int64)
    account, held = np.zeros(6, np.int64), np.zeros((k, 5), np.int64)
    counts, stop, day = np.zeros(4, np.int64), np.zeros(4, np.int64), np.zeros(3, np.int64)
    account[CASH], day[DAY] = initial, -1
    settled = np.zeros(k, np.int64)
    funded, spendable = len(funding) > 0, total_floor + reserve_bound(terms)
    scale, per_scale, midnight = terms[0, SCALE], 1.0 / terms[0, SCALE], np.int64(0)
    wishes, sizes = np.zeros(k, np.int64), np.zeros(k, np.int64)
    i = -1
    while i + 1 < n:
        i += 1
        if funded:
            pay_missed(times, closes, terms, funding, settled, account, held, i)
        if stop[0] != NO_STOP and account[HELD] > 0:
            sell_left(times, opens, has, terms, account, held, table, i)
        now = times[i] + MINUTE_MS
        if now >= midnight or day[OPEN] == 0:
            open_day(day, now, times[i], closes, has, terms, account, held, daily, i)
            midnight = (day[DAY] + 1) * DAY_MS
        if funded:
            pay(now, closes, terms, funding, settled, account, held, i)
        left = account[CASH]
        if account[HELD] > 0:
            if k == 1:
                left += money.quick(held[0, QUANTITY] * closes[0, i], scale, per_scale)
            else:
                left = worth(closes, terms, account, held, i)
        equity[i] = left
        if stop[0] != NO_STOP:
            continue
        if not off and (left < spendable or left < day[FLOOR]):
            check(stop, equity, closes, has, terms, account, held, day, total_floor, i)
        if (
            now % (15 * MINUTE_MS) == 0
            and stop[0] == NO_STOP
            and moves(signals, closes, terms, held, counts, i)
        ):
            decide(
                times, opens, closes, has, signals, terms, account, held, table,
                day, total_floor, off, wishes, sizes, i,
            )  # fmt: skip
        if funded or stop[0] != NO_STOP or not day[OPEN]:
            continue
        lowest = NEVER if off else max(spendable, day[FLOOR])
        if k == 2:
            i = mark_both(times, closes, terms, equity, account[CASH], held, lowest, i)
        else:
            i = mark_on(
                times, closes[0], equity, account[CASH], held[0, QUANTITY], scale, per_scale,
                midnight, lowest, i,
            )  # fmt: skip
    return equity, table[: account[TRADES]], account, held, counts, stop


@inlined
def mark_on(times, closes, equity, cash, quantity, scale, per_scale, midnight, lowest, i):
    """Mark the minutes after row `i` in which nothing else can happen; returns the last of them."""
    n = len(times)
    rest = 15 - (times[i] // MINUTE_MS + 1) % 15  # rows to the one that closes the quarter hour
    end = min(i + rest, n)  # a day begins where a quarter hour does
    if end - 1 > i and times[end - 1] == times[i] + (end - 1 - i) * MINUTE_MS:
        if quantity == 0 and cash >= lowest:
            for j in range(i + 1, end):
                equity[j] = cash
            return end - 1
        least = lowest
        for j in range(i + 1, end):
            left = cash + money.quick(quantity * closes[j], scale, per_scale)
            equity[j] = left
            least = min(least, left)
        if least >= lowest:
            return end - 1
    for j in range(i + 1, n):  # a gap lies ahead, or a floor
        now = times[j] + MINUTE_MS
        left = cash + money.quick(quantity * closes[j], scale, per_scale)
        if now % (15 * MINUTE_MS) == 0 or now >= midnight or left < lowest:
            return j - 1
        equity[j] = left
    return n - 1


@inlined
def mark_both(times, closes, terms, equity, cash, held, lowest, i):
    """`mark_on` for two symbols, up to the next quarter hour; row `i` when a gap or a floor lies ahead."""
    end = min(i + 15 - (times[i] // MINUTE_MS + 1) % 15, len(times))
    if end - 1 <= i or times[end - 1] != times[i] + (end - 1 - i) * MINUTE_MS:
        return i
    first, second = held[0, QUANTITY], held[1, QUANTITY]
    scale, other = terms[0, SCALE], terms[1, SCALE]
    per_scale, per_other, least = 1.0 / scale, 1.0 / other, lowest
    for j in range(i + 1, end):
        left = cash
        if first > 0:
            left += money.quick(first * closes[0, j], scale, per_scale)
        if second > 0:
            left += money.quick(second * closes[1, j], other, per_other)
        equity[j] = left
        least = min(least, left)
    return end - 1 if least >= lowest else i


@compiled
def reserve_bound(terms):
    """No entry of any symbol can cost more than this, its fee in; units."""
    most = 0
    for t in terms:
        most = max(most, t[money.TARGET] + money.fee_on(t, t[money.TARGET] * t[SCALE]) + 1)
    return most


@compiled
def worth(closes, terms, account, held, i):
    """Cash plus what is held at the last closes, each value rounded down."""
    total = account[CASH]
    for s in range(len(held)):
        if held[s, QUANTITY] > 0:
            total += money.value(terms[s], held[s, QUANTITY], closes[s, i])
    return total


@compiled
def open_day(day, now, opened, closes, has, terms, account, held, daily, i):
    """Open the UTC day of `now` once: at the close of 23:59, or at cash when nothing is held."""
    if now // DAY_MS != day[DAY]:
        day[DAY], day[OPEN] = now // DAY_MS, 0
    if day[OPEN]:
        return
    if account[HELD] > 0:
        if opened != day[DAY] * DAY_MS - MINUTE_MS:
            return
        for s in range(len(held)):
            if held[s, QUANTITY] > 0 and not has[s, i]:
                return
    start = worth(closes, terms, account, held, i)
    day[OPEN], day[FLOOR] = 1, min(start - daily, account[CASH])


@compiled
def check(stop, equity, closes, has, terms, account, held, day, total_floor, i):
    """Stop below a floor, or when nothing is held and no entry could pass the total floor again."""
    if account[HELD] == 0:
        if account[CASH] < total_floor or (day[OPEN] and account[CASH] < day[FLOOR]):
            broken = TOTAL_BREACH if account[CASH] < total_floor else DAY_BREACH
            set_stop(stop, broken, i, account[CASH], total_floor, day)
            return
        for s in range(len(held)):
            cost = money.worst_at(terms[s], closes[s, i]) if has[s, i] else 0
            if cost == 0 or account[CASH] - cost >= total_floor:
                return
        set_stop(stop, SPENT, i, account[CASH], total_floor, day)
        return
    for s in range(len(held)):
        if held[s, QUANTITY] > 0 and not has[s, i]:
            return
    if equity[i] < total_floor:
        set_stop(stop, TOTAL_BREACH, i, equity[i], total_floor, day)
    elif day[OPEN] and equity[i] < day[FLOOR]:
        set_stop(stop, DAY_BREACH, i, equity[i], total_floor, day)


@compiled
def set_stop(stop, cause, i, left, total_floor, day):
    stop[0], stop[1], stop[2] = cause, i, left
    stop[3] = day[FLOOR] if cause == DAY_BREACH else total_floor


@compiled
def sell_left(times, opens, has, terms, account, held, table, i):
    """Sell what a stop left at the open of this minute, if the symbol has it."""
    for s in range(len(held)):
        if held[s, QUANTITY] > 0 and has[s, i]:
            price = opens[s, i]
            sell(terms[s], account, held, table, s, held[s, QUANTITY], price, times[i], STOP_SALE)


@compiled
def union(first, second):
    """The times that either of two rising arrays has, rising."""
    out = np.empty(len(first) + len(second), np.int64)
    i, j, n = 0, 0, 0
    while i < len(first) or j < len(second):
        if j == len(second) or (i < len(first) and first[i] < second[j]):
            out[n] = first[i]
            i += 1
        else:
            i += i < len(first) and first[i] == second[j]
            out[n] = second[j]
            j += 1
        n += 1
    return out[:n]


@compiled
def lay(times, own_times, own_opens, own_closes, opens, closes, has):
    """Lay a symbol's minutes on `times`, which holds all of them; a missing close repeats the last."""
    j, close = 0, 0
    for i in range(len(times)):
        there = j < len(own_times) and own_times[j] == times[i]
        has[i] = there
        opens[i] = own_opens[j] if there else 0
        if there:
            close = own_closes[j]
            j += 1
        closes[i] = close


@compiled
def doubt_strays(times, opens, closes, has, signals):
    """Set signals to DOUBT where the next minute opens too far from the close."""
    for s in range(len(signals)):
        said, close, opened, there = signals[s], closes[s], opens[s], has[s]
        i = 0
        while i + 1 < len(times):
            follows = said[i] >= HOLD and times[i + 1] == times[i] + MINUTE_MS and there[i + 1]
            if follows and money.strays(close[i], opened[i + 1]):
                said[i] = DOUBT
            # no row of a whole quarter hour is decided before its last
            whole = follows and i + 15 < len(times) and times[i + 15] == times[i] + 15 * MINUTE_MS
            i += 15 if whole else 1


@inlined
def moves(signals, closes, terms, held, counts, i):
    """Count what the signals say at row `i`; whether any of them can lead to an order."""
    found = False
    for s in range(len(held)):
        said, quantity = signals[s, i], held[s, QUANTITY]
        counts[0 if said == LONG else 1 if said == FLAT else 2] += 1
        counts[3] += said <= INCOMPLETE  # or no decision: the symbol lacks the minute
        if quantity > 0:
            heavy = said >= HOLD and quantity * closes[s, i] > terms[s, money.TRIM]
            found = found or said == FLAT or heavy
        else:
            found = found or said == LONG
    return found


@compiled
def decide(
    times, opens, closes, has, signals, terms, account, held, table,
    day, total_floor, off, wishes, sizes, i,
):  # fmt: skip
    """One tick at the close of row `i`: what is wanted, exits first, entries while cash allows."""
    k, following = len(held), i + 1 < len(times) and times[i + 1] == times[i] + MINUTE_MS
    reserved = 0
    wishes[:] = NONE
    for s in range(k):
        quoted, said = following and has[s, i + 1], signals[s, i]
        if said < HOLD:
            continue
        quantity = held[s, QUANTITY]
        if quantity > 0:
            sizes[s] = quantity if said == FLAT else money.excess(terms[s], quantity, closes[s, i])
            wishes[s] = SELL if sizes[s] > 0 else NONE
        elif said == LONG and quoted:
            limit = money.entry_limit(terms[s], closes[s, i])
            sizes[s] = money.entry_quantity(terms[s], limit)
            wishes[s] = BUY if sizes[s] > 0 else NONE
    cash = account[CASH]  # proceeds of this tick do not count
    for s in range(k):
        if wishes[s] == BUY:
            limit = money.entry_limit(terms[s], closes[s, i])
            cost = money.worst_cost(terms[s], sizes[s], limit)
            left = cash - reserved - cost
            allowed = limit * 10_000 <= closes[s, i] * (10_000 + terms[s, money.HIGHEST])
            if not off:
                allowed = allowed and day[OPEN] and cost <= terms[s, POSITION]
                allowed = allowed and left >= day[FLOOR] and left >= total_floor
            else:
                allowed = allowed and day[OPEN]
            if allowed:
                reserved += cost
            else:
                wishes[s] = NONE
    for s in range(k):
        if wishes[s] != NONE and following and has[s, i + 1]:
            price, at = opens[s, i + 1], times[i + 1]
            if wishes[s] == BUY:
                if money.ask(terms[s], price) <= money.entry_limit(terms[s], closes[s, i]):
                    buy(terms[s], account, held, s, sizes[s], price, at)
            elif money.bid(terms[s], price) >= money.exit_limit(terms[s], closes[s, i]):
                kind = SIGNAL_SALE if signals[s, i] == FLAT else TRIM_SALE
                sell(terms[s], account, held, table, s, sizes[s], price, at, kind)


@compiled
def buy(t, account, held, s, quantity, price, at):
    """Buy at the open `price` plus half the spread; notional and fee rounded up."""
    paid = money.ask(t, price)
    product = quantity * paid
    notional, fee = money.up(product, t[SCALE]), money.fee_on(t, product)
    held[s, QUANTITY], held[s, COST] = quantity, notional + fee
    held[s, SINCE], held[s, PRICE], held[s, FEE_LEFT] = at, paid, fee
    account[CASH] -= notional + fee
    account[HELD] += 1
    account[FEES] += fee
    account[SPREAD] += notional - money.up(quantity * price, t[SCALE])


@compiled
def sell(t, account, held, table, s, quantity, price, at, kind):
    """Sell at the open `price` less half the spread; the part sold takes its share of the cost."""
    got = money.bid(t, price)
    product, before = quantity * got, held[s, QUANTITY]
    notional = product // t[SCALE]
    fee = min(money.fee_on(t, product), notional)
    left = before - quantity
    cost_left = money.up(held[s, COST] * left, before)
    fee_left = money.up(held[s, FEE_LEFT] * left, before)
    row = table[account[TRADES]]
    row[0], row[1], row[2], row[3] = s, held[s, SINCE], at, quantity
    row[4], row[5] = held[s, PRICE], got
    row[6], row[7] = held[s, FEE_LEFT] - fee_left, fee
    row[8], row[9] = notional - fee - (held[s, COST] - cost_left), kind
    account[TRADES] += 1
    held[s, QUANTITY], held[s, COST], held[s, FEE_LEFT] = left, cost_left, fee_left
    account[CASH] += notional - fee
    account[HELD] -= left == 0
    account[FEES] += fee
    account[SPREAD] += quantity * price // t[SCALE] - notional


@compiled
def pay_missed(times, closes, terms, funding, settled, account, held, i):
    """Funding of settlements that fell into missing minutes, at the last close before them."""
    if len(funding):
        for s in range(len(held)):
            settle(times[i], s, closes[s, max(i - 1, 0)], terms, funding, settled, account, held)


@compiled
def pay(now, closes, terms, funding, settled, account, held, i):
    """Funding of the settlement at `now`, at the close of the minute that ends there."""
    if len(funding):
        for s in range(len(held)):
            settle(now, s, closes[s, i], terms, funding, settled, account, held)


@compiled
def settle(until, s, close, terms, funding, settled, account, held):
    """Charge what is held for every settlement up to `until`; rows of `funding`: symbol, time, rate."""
    while settled[s] < len(funding) and (
        funding[settled[s], 0] != s or funding[settled[s], 1] <= until
    ):
        if funding[settled[s], 0] == s and held[s, QUANTITY] > 0:
            rate = funding[settled[s], 2]
            worth_now = held[s, QUANTITY] * close
            # the product of three may pass 64 bits: split at the rate's unit
            whole, rest = worth_now // RATE, worth_now % RATE
            size = abs(rate)
            scale = terms[s, SCALE]
            upper, lower = whole * size, rest * size
            # worth x rate = upper + lower / RATE, and the charge is that over scale
            if rate > 0:
                charge = money.up(upper + money.up(lower, RATE), scale)
            else:
                charge = -((upper + lower // RATE) // scale)
            account[CASH] -= charge
            account[FUNDING] += charge
        settled[s] += 1
