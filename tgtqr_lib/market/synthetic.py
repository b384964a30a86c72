"""A made-up market: every minute from 2015 to 2035 is a function of a seed and its time.

First come the days, walked once for each seed: the logarithm of the price returns slowly to its usual level,
and quiet and wild days come in runs. Then a day's 1440 minutes are a Brownian bridge from the last close of
the day before to its own, its pace set by slow and fast waves and the hour. So any day can be had without
the minutes before it, and the days join without a seam.
"""

from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache
from itertools import accumulate

import numpy as np

from tgtqr_lib.domain import MINUTE_MS, DataError
from tgtqr_lib.market.noise import exp, normals, words
from tgtqr_lib.market.source import CANDLE, DAY_MS


@dataclass(frozen=True, slots=True)
class Coin:
    """How one symbol moves.

    decimals    of a price step
    level       the price it returns to, in steps
    pull        share of the distance to that level that a day takes back
    swing       volatility, as a multiple of the market's
    follow      correlation of its moves with bitcoin's
    volume      of an average minute, in millionths of the coin
    """

    decimals: int
    level: int
    pull: float
    swing: float
    follow: float
    volume: float


COINS = {
    "BTCUSDT": Coin(1, 800_000, 1 / 100, 1.0, 1.0, 7e6),
    "ETHUSDT": Coin(2, 300_000, 1 / 80, 1.25, 0.8, 110e6),
}

_FIRST_DAY = (date(2015, 1, 1) - date(1970, 1, 1)).days
_END_DAY = (date(2036, 1, 1) - date(1970, 1, 1)).days
_WARM_UP = 600  # days walked before the first one served, so that no year starts at the usual level

_DAY_SWING = 0.024  # of a middling day: about 50 % a year once wild days are counted
_RUNS = 0.95  # how much of a day's unrest the next one inherits
_DAY_UNREST = 0.115  # spread of what is new each day, in the logarithm of volatility

# Waves in the logarithm of a minute's volatility: (minutes from node to node, spread).
_WAVES = ((360, 0.30), (60, 0.30), (15, 0.25), (5, 0.20))
_NODES = sum(1440 // gap for gap, _ in _WAVES)
_MINUTE_UNREST = 0.25
# By hour of the day, UTC: quiet at night in Europe and America, busiest when New York opens.
_HOURS = (
    *(1.05, 1.00, 0.90, 0.85, 0.80, 0.80, 0.85, 0.95, 1.05, 1.05, 1.00, 1.00),
    *(1.10, 1.30, 1.45, 1.35, 1.25, 1.15, 1.10, 1.05, 1.05, 1.00, 0.95, 1.00),
)
_SEASON = np.repeat(np.array(_HOURS), 60)


class SyntheticSource:
    """A `CandleSource` of BTCUSDT and ETHUSDT without gaps, the same for the same seed everywhere.

    Returns of the two correlate by about 0.8, volatility is 40 to 70 % a year and comes in clusters,
    and prices stay within a small multiple of 80,000 and 3,000. Outside 2015 to 2035 there are no candles.
    """

    symbols = tuple(COINS)

    def __init__(self, seed: int) -> None:
        """DataError unless 0 <= seed < 2**64."""
        if not 0 <= seed < 2**64:
            raise DataError(f"seed {seed}: expected 0 <= seed < 2**64")
        self.name = f"synthetic market, seed {seed}"
        self._walk_key, self._day_keys = words(seed, 0, 2).tolist()
        # A day of both symbols takes 138 kB: 64 days hold what two clients ask for, in 9 MB.
        self._day = lru_cache(maxsize=64)(self._make_day)

    def price_decimals(self, symbol: str) -> int:
        """1 for BTCUSDT, 2 for ETHUSDT; DataError for any other."""
        return _coin(symbol).decimals

    def candles(self, symbol: str, start_ms: int, end_ms: int) -> np.ndarray:
        """See `CandleSource`; about a millisecond for each day that was not asked for lately."""
        _coin(symbol)
        first = max(-(-start_ms // MINUTE_MS), _FIRST_DAY * 1440)
        end = min(-(-end_ms // MINUTE_MS), _END_DAY * 1440)
        if first >= end:
            return np.empty(0, CANDLE)
        days = range(first // 1440, (end - 1) // 1440 + 1)
        parts = [
            self._day(day)[symbol][max(first - day * 1440, 0) : end - day * 1440] for day in days
        ]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        rows.flags.writeable = False
        return rows

    @cached_property
    def _days(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Each day's volatility, and each symbol's logarithm of close over level, the day before first."""
        count = _WARM_UP + _END_DAY - _FIRST_DAY
        unrest, *shocks = normals(words(self._walk_key, 0, 3 * count)).reshape(3, count)
        calm = accumulate((_DAY_UNREST * unrest).tolist(), lambda was, new: _RUNS * was + new)
        swing = _DAY_SWING * exp(np.fromiter(calm, np.float64, count))
        levels = {}
        for symbol, coin in COINS.items():
            moves = (coin.swing * swing * _mixed(coin, *shocks)).tolist()
            walk = accumulate(moves, lambda was, new, keep=1 - coin.pull: keep * was + new)
            levels[symbol] = np.fromiter(walk, np.float64, count)[_WARM_UP - 1 :]
        return swing[_WARM_UP:], levels

    def _waves(self, day: int) -> np.ndarray:
        """The nodes of the day's waves, all in one (n,)."""
        return normals(words(self._day_key(day), 0, _NODES))

    def _day_key(self, day: int) -> int:
        return int(words(self._day_keys, day, 1)[0])

    def _pace(self, day: int, restless: np.ndarray) -> np.ndarray:
        """The volatility of each minute, (1440,), up to a factor; `restless` is each minute's own noise."""
        nodes, following = self._waves(day), self._waves(day + 1)
        unrest, at = _MINUTE_UNREST * restless, 0
        for gap, spread in _WAVES:
            count = 1440 // gap
            here = nodes[at : at + count]
            there = np.append(here[1:], following[at])
            share = np.tile(np.arange(gap) / gap, count)
            slope = np.repeat(there - here, gap)
            unrest = unrest + spread * (np.repeat(here, gap) + slope * share)
            at += count
        return _SEASON * exp(unrest)

    def _make_day(self, day: int) -> dict[str, np.ndarray]:
        """Both symbols' 1440 candles of a day, counted from 1970-01-01."""
        raw = words(self._day_key(day), _NODES, 15 * 1440).reshape(15, 1440)
        restless, *shocks = normals(raw[:3])
        pace = self._pace(day, restless)
        swings, levels = self._days
        at = day - _FIRST_DAY
        candles = {}
        for number, (symbol, coin) in enumerate(COINS.items()):
            own = raw[3 + 6 * number : 9 + 6 * number]
            start, end = levels[symbol][at : at + 2]
            shock = _mixed(coin, *shocks)
            candles[symbol] = _minutes(
                coin, day, pace, shock, coin.swing * swings[at], (start, end), own
            )
        return candles


def _coin(symbol: str) -> Coin:
    if symbol not in COINS:
        raise DataError(f"{symbol}: unknown symbol, expected one of {', '.join(COINS)}")
    return COINS[symbol]


def _mixed(coin: Coin, common: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Moves that correlate with `common` by `coin.follow`."""
    return coin.follow * common + np.sqrt(1 - coin.follow * coin.follow) * own


def _minutes(
    coin: Coin,
    day: int,
    pace: np.ndarray,
    shock: np.ndarray,
    swing: float,
    ends: tuple[float, float],
    raw: np.ndarray,
) -> np.ndarray:
    """One symbol's candles of a day: (1440,) of CANDLE.

    pace    (1440,) volatility of each minute, up to a factor
    shock   (1440,) how far each minute goes, in multiples of its volatility
    swing   volatility of the day
    ends    logarithm of price over level before the day and at its close
    raw     (6, 1440) words: two each for high and low, one for volume, one for the step at the open
    """
    # A free walk with the day's volatility, bent to its end: a Brownian bridge on the clock of variance.
    variance = np.cumsum(pace * pace)
    pace = pace * (swing / np.sqrt(variance[-1]))
    walk = np.cumsum(pace * shock)
    start, end = ends
    log_close = start + walk + variance / variance[-1] * (end - start - walk[-1])
    log_close[-1] = end
    before = np.concatenate(([start], log_close[:-1]))
    close = np.rint(coin.level * exp(log_close))
    last = np.rint(coin.level * exp(before))

    # One minute in four opens a step beside the last close.
    beside = (raw[5] & np.uint64(7)).astype(np.int64)
    opens = last.astype(np.int64) + (beside == 1) - (beside == 2)

    # The highest point of a Brownian path from 0 to r is (r + sqrt(r*r + 2*variance*E))/2 with E exponential, and
    # two normals squared make 2*E; the lowest is its mirror image. Neither can fall short of 0 or r.
    moved = log_close - before
    noise = normals(raw[:4]) * pace
    up = (moved + np.sqrt(moved * moved + noise[0] * noise[0] + noise[1] * noise[1])) / 2
    down = (moved - np.sqrt(moved * moved + noise[2] * noise[2] + noise[3] * noise[3])) / 2
    bustle = pace * (0.5 + np.abs(shock)) * exp(0.5 * normals(raw[4])) / (_DAY_SWING / 38)

    rows = np.empty(1440, CANDLE)
    rows["open_ms"] = day * DAY_MS + np.arange(1440) * MINUTE_MS
    rows["open"] = opens
    rows["close"] = close
    rows["high"] = np.maximum(np.rint(last * (1 + up)), np.maximum(opens, close))
    rows["low"] = np.minimum(np.rint(last * (1 + down)), np.minimum(opens, close))
    rows["volume"] = np.maximum(np.rint(coin.volume * bustle / 1.5 / coin.swing), 1)
    rows.flags.writeable = False
    return rows
