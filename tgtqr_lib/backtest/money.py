"""The arithmetic of an order in whole numbers, compiled: the same roundings as sizing and execution.

`t` is the array of `Terms`. Quantities and money are units of 1e-8, prices are steps. All arguments are
positive and small enough (`terms._check_width`), so plain 64-bit products are exact.
"""

from __future__ import annotations

import numpy as np

from tgtqr_lib.backtest.compiler import njit

SCALE, STEP, LOT, ASK, BID, HALF, FEE, FEE_PER, TARGET, POSITION, TRIM, COLLAR, HIGHEST = range(13)
BPS = 10_000

compiled = njit(cache=True, error_model="numpy", nogil=True)
# for what is called at every quarter hour with arrays, whose references numba counts at each call
inlined = njit(cache=True, error_model="numpy", nogil=True, inline="always")


@compiled
def up(a, b):
    """a / b rounded up, for a >= 0 and b > 0."""
    return (a + b - 1) // b


@compiled
def quick(a, b, per_b):
    """a // b for a >= 0: a float's guess, put right; exact while a // b is below 2**50."""
    guess = np.int64(a * per_b)
    rest = a - guess * b
    return guess - (rest < 0) + (rest >= b)


@compiled
def entry_limit(t, close):
    """The most a buy may pay: close and collar, rounded down to the price step."""
    return close * (BPS + t[COLLAR]) // (BPS * t[STEP]) * t[STEP]


@compiled
def exit_limit(t, close):
    """The least a sale may get; never below one price step."""
    return max(close * (BPS - t[COLLAR]) // (BPS * t[STEP]) * t[STEP], t[STEP])


@compiled
def ask(t, price):
    """What a buy pays when the minute opens at `price`: half the spread up, up to the price step."""
    return up(price * t[ASK], t[HALF] * t[STEP]) * t[STEP]


@compiled
def bid(t, price):
    """What a sale gets when the minute opens at `price`: half the spread down, at least one step."""
    return max(price * t[BID] // (t[HALF] * t[STEP]) * t[STEP], t[STEP])


@compiled
def fee_on(t, product):
    """The fee on quantity x price, rounded up."""
    return up(product * t[FEE], t[SCALE] * t[FEE_PER])


@compiled
def entry_quantity(t, limit):
    """How much the target buys at `limit`, in whole lots; 0 when it is less than one."""
    if limit <= 0:
        return 0
    return t[TARGET] * t[SCALE] // (limit * t[LOT]) * t[LOT]


@compiled
def worst_cost(t, quantity, limit):
    """The most an entry can cost, its fee in."""
    product = quantity * limit
    return up(product, t[SCALE]) + fee_on(t, product)


@compiled
def worst_at(t, close):
    """`worst_cost` of the entry that `close` would make; 0 when it is less than one lot."""
    limit = entry_limit(t, close)
    quantity = entry_quantity(t, limit)
    return worst_cost(t, quantity, limit) if quantity > 0 else 0


@compiled
def value(t, quantity, price):
    """What `quantity` is worth at `price`, rounded down."""
    return quantity * price // t[SCALE]


@compiled
def excess(t, held, close):
    """The fewest units in lots whose sale leaves no more than the trim limit at `close`; 0 if none."""
    if held * close <= t[TRIM]:
        return 0
    return held - t[TRIM] // (close * t[LOT]) * t[LOT]


@compiled
def strays(close, price):
    """Whether the rule DATA_TICKER doubts `close` because the next minute opens at `price`."""
    return 50 * abs(close - price) > price  # more than 2 % of the ticker's price
