"""Confidence intervals for statistics of daily returns that depend on each other.

Stationary bootstrap: Politis, Romano (1994), The Stationary Bootstrap, JASA 89(428).
Circular bootstrap: Politis, Romano (1992), A Circular Block-Resampling Procedure for Stationary Data.
Block length: Politis, White (2004), Automatic Block-Length Selection for the Dependent Bootstrap,
Econometric Reviews 23(1), corrected by Patton, Politis, White (2009), Econometric Reviews 28(4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log10, sqrt

import numpy as np

from tgtqr_lib.domain import DomainError

DAYS_A_YEAR = 365
CHUNK = 1 << 19  # numbers drawn at a time, so that they stay near the processor

Statistic = Callable[[np.ndarray], np.ndarray]  # (m, n) resamples -> (m,) values


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=1)


def _sharpe(x: np.ndarray) -> np.ndarray:
    """(m,) annualised; 0 for a resample without spread."""
    n, total = x.shape[1], x.sum(axis=1)
    variance = (np.einsum("ij,ij->i", x, x) - total * total / n) / (n - 1)
    has = variance > 1e-30
    return np.where(has, total / n / np.sqrt(np.where(has, variance, 1)), 0) * sqrt(DAYS_A_YEAR)


def _total_return(x: np.ndarray) -> np.ndarray:
    return np.prod(1 + x, axis=1) - 1


def _max_drawdown(x: np.ndarray) -> np.ndarray:
    curve = np.cumprod(1 + x, axis=1)
    peak = np.maximum(np.maximum.accumulate(curve, axis=1), 1)
    return (1 - curve / peak).max(axis=1)


STATISTICS: dict[str, Statistic] = {
    "mean": _mean,  # per observation
    "sharpe": _sharpe,  # x sqrt(365)
    "total_return": _total_return,  # fraction over as many days
    "max_drawdown": _max_drawdown,  # fraction, by days
}


@dataclass(frozen=True, slots=True)
class Blocks:
    """Optimal mean block length of the stationary, and block length of the circular bootstrap."""

    stationary: float
    circular: float


def block_lengths(x: np.ndarray) -> Blocks:
    """Automatic block lengths of `x` after Politis and White with the correction of 2009; at least 1.

    b = (2 G^2 / D n)^(1/3), D = 2 s^2 (stationary) or 4/3 s^2 (circular), G and s sums of
    autocovariances under a flat-top window, as wide as twice the first lag from which
    max(5, log10 n) autocorrelations in a row lie within 2 sqrt(log10 n / n).
    """
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    run = max(5, int(log10(max(n, 1))))
    widest = ceil(sqrt(n)) + run
    if n <= widest or not np.ptp(x) > 0:
        return Blocks(1.0, 1.0)  # too short to tell, or nothing varies
    eps = x - x.mean()
    acov = np.array([eps[k:] @ eps[: n - k] for k in range(widest + 1)]) / n
    small = np.abs(acov / acov[0]) < 2 * sqrt(log10(n) / n)
    starts = [k for k in range(widest - run + 1) if small[k : k + run].all()]
    m = min(2 * max(starts[0], 1), widest) if starts else widest
    k = np.arange(1, m + 1)
    window = np.minimum(1, 2 * (1 - k / m))
    g = 2 * np.sum(window * k * acov[1 : m + 1])
    s = acov[0] + 2 * np.sum(window * acov[1 : m + 1])
    most = ceil(min(3 * sqrt(n), n / 3))
    stationary, circular = (
        float(np.clip((2 * g**2 / (d * s**2) * n) ** (1 / 3), 1, most)) if s else float(most)
        for d in (2, 4 / 3)
    )
    return Blocks(stationary, circular)


def resampled(
    x: np.ndarray, block: float, resamples: int, *, kind: str = "stationary", seed: int = 0
) -> Iterator[np.ndarray]:
    """(m, n) resamples of `x`, a few rows at a time, `resamples` rows in all."""
    if kind not in ("stationary", "circular"):
        raise DomainError(f"bootstrap {kind!r}; expected 'stationary' or 'circular'")
    x = np.asarray(x, dtype=np.float64)
    n = len(x)
    if n < 2 or not 1 <= block <= n or resamples < 1 or not np.isfinite(x).all():
        raise DomainError(
            f"{resamples} resamples of {n} values in blocks of {block}; "
            "expected at least 1 of at least 2 finite values in blocks of 1 to as many"
        )
    chance = np.random.Generator(np.random.PCG64(seed))
    twice = np.concatenate([x, x])  # a block that runs over the end goes on at the beginning
    rows = max(CHUNK // n, 1)
    size = ceil(block)
    for first in range(0, resamples, rows):
        m = min(rows, resamples - first)
        if kind == "stationary":
            begins = chance.random((m, n), dtype=np.float32) < np.float32(1 / block)
        else:
            begins = np.broadcast_to(np.arange(n) % size == 0, (m, n)).copy()
        begins[:, 0] = True
        at = np.flatnonzero(begins)
        lengths = np.diff(at, append=m * n)
        shift = chance.integers(0, n, len(at)) - at
        yield twice[np.repeat(shift, lengths) + np.arange(m * n)].reshape(m, n)


@dataclass(frozen=True, slots=True)
class Interval:
    """A percentile interval of a statistic.

    estimate   of the data themselves
    low, high  between them lies the truth in `level` of cases, roughly, when returns are stationary
    block      (mean) block length used
    """

    estimate: float
    low: float
    high: float
    level: float
    block: float
    resamples: int


def interval(
    x: np.ndarray,
    statistic: str | Statistic = "sharpe",
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    block: float | None = None,
    kind: str = "stationary",
    seed: int = 0,
) -> Interval:
    """The block-bootstrap percentile interval of `statistic`; the same for the same `seed`.

    statistic  a name in `STATISTICS`, or a function (m, n) -> (m,)
    block      mean block length; automatic when None
    """
    x = np.asarray(x, dtype=np.float64)
    compute = STATISTICS[statistic] if isinstance(statistic, str) else statistic
    block = getattr(block_lengths(x), kind, 1.0) if block is None else block
    block = ceil(block) if kind == "circular" else block
    drawn = resampled(x, block, resamples, kind=kind, seed=seed)
    values = np.concatenate([compute(rows) for rows in drawn])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    estimate = float(compute(x[None, :])[0])
    return Interval(estimate, float(low), float(high), level, float(block), resamples)
