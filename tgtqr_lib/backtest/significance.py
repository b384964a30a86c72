"""Whether the moments a rule chose were better than chance: random entries of equal exposure.

Every random rule holds as often and as long as the real one, so a rising market and costs are the
same for all and only timing is judged. Aronson (2006), Evidence-Based Technical Analysis, chapter 6.
The p-value counts the real rule among the random ones, so it is never zero: Phipson, Smyth (2010),
Permutation P-values Should Never Be Zero, Statistical Applications in Genetics 9(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np

from tgtqr_lib.backtest.metrics import Study
from tgtqr_lib.domain import Candles, DomainError

CHUNK = 1 << 20  # places looked up at a time
METHODS = ("placement", "shift")


@dataclass(frozen=True, slots=True)
class Significance:
    """What the test says.

    observed  gross log return collected while holding
    p_value   (1 + random rules at least as good) / (1 + random rules); small is good
    mean      of the random rules, log return: what the exposure alone earns
    spread    their standard deviation
    draws     how many random rules
    """

    observed: float
    p_value: float
    mean: float
    spread: float
    draws: int
    method: str
    trades: int
    exposure: float

    @property
    def text(self) -> str:
        """The result as a sentence."""
        better = self.draws + 1 - round(self.p_value * (1 + self.draws))
        return (
            f"Before costs its {self.trades:,} holds earned {exp(self.observed) - 1:+.2%}, compounded while held; "
            f"{self.draws:,} random rules with as many, as long, earned "
            f"{exp(self.mean) - 1:+.2%} on average. It did better than {better:,} of them "
            f"(p = {self.p_value:.4g}, which counts it among them)."
        )


def p_value(observed: float, random: np.ndarray) -> float:
    """(1 + how many of `random` are at least `observed`) / (1 + how many there are)."""
    # sums in another order differ in the last bits; a tie must count as one
    tie = 1e-12 * max(1.0, abs(observed))
    return float((1 + np.count_nonzero(random >= observed - tie)) / (1 + len(random)))


def against_random_entries(
    log_price: np.ndarray,
    entries: np.ndarray,
    exits: np.ndarray,
    *,
    method: str = "placement",
    draws: int = 2_000,
    seed: int = 0,
) -> Significance:
    """Compare holds from row `entries[i]` to row `exits[i]` with random ones of the same lengths.

    log_price  (n,) log of the prices at which entries and exits happen
    entries    (k,) rows, increasing; exits (k,) rows, each after its entry and not after the next entry
    method     `placement`: the holds in random order with random pauses between them, all placements
               alike likely; `shift`: the whole pattern moved around a circle by a random distance,
               which keeps clusters of trades together
    """
    price = np.asarray(log_price, dtype=np.float64)
    entries, exits = np.asarray(entries, np.int64), np.asarray(exits, np.int64)
    rows, count = len(price) - 1, len(entries)  # a row is the step from one price to the next
    if method not in METHODS:
        raise DomainError(f"method {method!r}; expected one of {', '.join(METHODS)}")
    if not count or count != len(exits) or draws < 1:
        raise DomainError(f"{count} entries, {len(exits)} exits, {draws} draws: nothing to test")
    if entries[0] < 0 or exits[-1] > rows or (exits <= entries).any():
        raise DomainError("an exit is not after its entry, or outside the prices")
    if (entries[1:] < exits[:-1]).any():
        raise DomainError("holds overlap; expected one position at a time")
    holds = exits - entries
    if holds.sum() >= rows:
        raise DomainError("the rule always holds, so its timing cannot be tested")
    if not np.isfinite(price).all():
        raise DomainError("a log price is not finite")
    chance = np.random.Generator(np.random.PCG64(seed))
    # prices go on where they end, so that what is shifted over the end continues at the beginning
    circle = np.concatenate([price[:-1], price + (price[-1] - price[0])])
    found = np.empty(draws)
    step = max(CHUNK // count, 1)
    for first in range(0, draws, step):
        m = min(step, draws - first)
        if method == "shift":
            begin = (entries + chance.integers(1, rows, (m, 1))) % rows
            length = np.broadcast_to(holds, begin.shape)
        else:
            length = chance.permuted(np.broadcast_to(holds, (m, count)), axis=1)
            begin = _placed(length, rows, chance)
        found[first : first + m] = (circle[begin + length] - circle[begin]).sum(axis=1)
    observed = float((price[exits] - price[entries]).sum())
    return Significance(
        observed, p_value(observed, found), float(found.mean()), float(found.std()), draws, method,
        count, float(holds.sum() / rows),
    )  # fmt: skip


def _placed(length: np.ndarray, rows: int, chance: np.random.Generator) -> np.ndarray:
    """(m, k) first rows of holds of `length` that do not overlap, all placements alike likely."""
    m, count = length.shape
    free = rows - int(length[0].sum())
    # k + 1 exponential gaps over their sum cut a line at k uniform, sorted places
    gaps = chance.standard_exponential((m, count + 1))
    cuts = np.cumsum(gaps[:, :-1], axis=1) / gaps.sum(axis=1, keepdims=True)
    before = np.floor(cuts * (free + 1)).astype(np.int64)
    return np.minimum(before, free) + np.cumsum(length, axis=1) - length


def of_study(study: Study, candles: Candles, **options: Any) -> Significance:
    """The test of the closed trades in `candles.symbol`, on the open prices, where fills happen.

    What a trim sold early counts as held to the position's end. Options as in `against_random_entries`.
    """
    chosen = study.closed & (study.symbol == candles.symbol)
    entries, place = np.unique(study.entry_ms[chosen], return_inverse=True)
    exits = np.zeros(len(entries), dtype=np.int64)
    np.maximum.at(exits, place, study.exit_ms[chosen])
    # a fill happens within a minute; that minute's open is its price
    rows = [np.searchsorted(candles.open_ms, at, side="right") - 1 for at in (entries, exits)]
    held = rows[1] > rows[0]
    log_price = np.log(candles.open / 10.0**candles.decimals)
    return against_random_entries(log_price, rows[0][held], rows[1][held], **options)
