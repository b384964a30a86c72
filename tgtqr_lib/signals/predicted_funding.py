"""The funding rate that a series of premiums makes, exact in whole numbers: what the next settlement will cost.

    P = (1 P_1 + 2 P_2 + ... + n P_n) / (1 + 2 + ... + n)     the premium index of each minute, the newest weighs most
    I = 0.03 % x interval / 24 h                              the interest, 0.01 % for 8 hours
    F = P + clamp(I - P, -0.05 %, +0.05 %)                    so F = I while P is within 0.05 % of I
    rate = F held inside [lower, upper], rounded half up to 1e-8

Premiums become whole numbers of 1e-12, so sums are the same on every machine, and the rate is the half-up
rounding of the exact fraction. Needs one premium a minute; an order book and an index, from which Bybit makes
it, are not needed here. Source: Bybit's help centre, "Introduction to Funding Rate"; docs/funding_rates.md
has the dates, the limits, and what of it could not be verified.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tgtqr_lib.domain import MINUTE_MS, DataError, DomainError

INTERVALS = (60, 120, 240, 480)  # minutes; those that Bybit uses
INTERVAL = 480
UNITS = 10**8  # a rate is a whole number of these of the position's worth
UPPER = 375_000  # 0.375 % of BTCUSDT; the exchange names each symbol's own, and changes it

ONE = 10**12  # premiums, and all that is made of them before the rate
DAILY_INTEREST = 3 * ONE // 10_000
DEAD_ZONE = ONE // 2_000
DAY_MIN = 1440
_RATE = ONE // UNITS


@dataclass(frozen=True, slots=True)
class Made:
    """A rate, and the road to it.

    minutes   of the interval
    count     premiums that were averaged; fewer than `minutes` before the interval ends
    average   P, floored, in 1e-12 of the price, as are the next three
    interest  I
    pulled    clamp(I - P)
    free      P + clamp(I - P), before the limits
    rate      whole units of 1e-8 of the position's worth; positive: longs pay shorts
    """

    minutes: int
    count: int
    average: int
    interest: int
    pulled: int
    free: int
    rate: int

    @property
    def at_interest(self) -> bool:
        """Whether the premium was so near the interest that the rate says nothing about it."""
        return self.free == self.interest

    @property
    def held(self) -> bool:
        """Whether a limit changed the rate."""
        return _rounded(self.free) != self.rate


def rate_of(
    premiums: np.ndarray, minutes: int = INTERVAL, upper: int = UPPER, lower: int | None = None
) -> int:
    """The funding rate in units of 1e-8 that `premiums` make; arguments and errors are those of `made_of`."""
    return made_of(premiums, minutes, upper, lower).rate


def made_of(
    premiums: np.ndarray, minutes: int = INTERVAL, upper: int = UPPER, lower: int | None = None
) -> Made:
    """How `premiums` make a funding rate.

    premiums  (n,) the premium index of each minute since the last settlement, oldest first, fractions of
              the index price; n is `minutes` at the settlement and less before it, which is a forecast
    minutes   the interval, one of 60, 120, 240 and 480
    upper     the symbol's limit in 1e-8; `lower` is its negative unless given

    Raises `DomainError` for an interval, a limit or a number of premiums that cannot be, `DataError` for
    none, or one that is not finite or more than the whole price.
    """
    interest = interest_of(minutes)
    lowest, highest = _limits(upper, lower)
    exact = _exact(premiums)
    if not 0 < len(exact) <= minutes:
        if not len(exact):
            raise DataError("no premium was given; expected one a minute since the last settlement")
        raise DomainError(
            f"{len(exact)} premiums were given for an interval of {minutes} minutes; expected one a "
            f"minute, {minutes} at most"
        )
    weights = np.arange(1, len(exact) + 1)
    average = int(exact @ weights) // int(weights.sum())
    pulled = min(max(interest - average, -DEAD_ZONE), DEAD_ZONE)
    free = average + pulled
    rate = min(max(_rounded(free), lowest), highest)
    return Made(minutes, len(exact), average, interest, pulled, free, rate)


def along(
    at_ms: np.ndarray,
    premiums: np.ndarray,
    minutes: int = INTERVAL,
    upper: int = UPPER,
    lower: int | None = None,
) -> np.ndarray:
    """The rate in sight after each minute, as a fraction: (n,) float64, NaN where it cannot be known.

    at_ms     (n,) int64, when each minute opened, ms since the epoch, UTC, strictly increasing
    premiums  (n,) of those minutes; NaN where there was none, and what is no fraction counts as none

    Row t uses the rows since the last settlement only. It is NaN when any of those is missing,
    and so until the interval ends: a forecast from half of the minutes is none. Settlements are at
    the whole multiples of the interval since midnight UTC. Raises `DomainError` as `made_of` does, and
    `DataError` for times that are no minutes in order.
    """
    interest = interest_of(minutes)
    lowest, highest = _limits(upper, lower)
    at_ms = np.asarray(at_ms, dtype=np.int64)
    given = np.asarray(premiums, dtype=np.float64)
    if at_ms.shape != given.shape or at_ms.ndim != 1:
        raise DomainError(
            f"{given.shape} premiums came with {at_ms.shape} times; expected (n,) each"
        )
    if (at_ms % MINUTE_MS).any() or (np.diff(at_ms) <= 0).any():
        raise DataError("premiums: the times are not whole minutes in order, each once")
    if not len(at_ms):
        return np.zeros(0)
    known = np.abs(given) <= 1.0  # nan is not
    exact = _exact(np.where(known, given, 0.0))
    minute = at_ms // MINUTE_MS
    place = minute % minutes + 1  # 1 is the first minute after a settlement
    start = np.searchsorted(minute, minute - place + 1)  # its first row in this table
    # prefix sums wrap around, and their differences, which fit 64 bits, are right all the same
    summed = np.concatenate(([0], np.cumsum(exact * place)))
    counted = np.concatenate(([0], np.cumsum(known)))
    rows = np.arange(1, len(at_ms) + 1)
    average = (summed[rows] - summed[start]) // (place * (place + 1) // 2)
    free = average + np.clip(interest - average, -DEAD_ZONE, DEAD_ZONE)
    rate = np.clip(_rounded(free), lowest, highest) / UNITS
    return np.where(counted[rows] - counted[start] == place, rate, np.nan)


def interest_of(minutes: int) -> int:
    """The interest of an interval in 1e-12: 0.03 % a day. `DomainError` for an interval that is none."""
    if isinstance(minutes, bool) or minutes not in INTERVALS:
        raise DomainError(f"a funding interval of {minutes!r} minutes; expected one of {INTERVALS}")
    return DAILY_INTEREST * int(minutes) // DAY_MIN


def _rounded(free: int) -> int:
    """Half up, from 1e-12 to 1e-8."""
    return (free + _RATE // 2) // _RATE


def _limits(upper: int, lower: int | None) -> tuple[int, int]:
    lower = -upper if lower is None else lower
    if not lower <= upper:
        raise DomainError(
            f"the lower limit of the rate is {lower} and the upper one {upper}, in 1e-8; expected the "
            f"lower one below"
        )
    return lower, upper


def _exact(premiums: np.ndarray) -> np.ndarray:
    """(n,) int64 units of 1e-12."""
    given = np.asarray(premiums, dtype=np.float64)
    if given.ndim != 1:
        raise DomainError(f"premiums have the shape {given.shape}; expected (n,)")
    sound = np.abs(given) <= 1.0  # nan is not
    if not sound.all():
        row = int(np.argmin(sound))
        raise DataError(
            f"premium {given[row]} of minute {row + 1} is no fraction of the price; expected one "
            f"from -1 to 1"
        )
    return np.rint(given * ONE).astype(np.int64)
