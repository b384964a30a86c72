"""Slow noise: a number for every minute since 1970, without a state to keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tgtqr_lib.market.noise import normals, words

_DAY = 1440  # minutes


class Waves:
    """Random nodes so many minutes apart, straight lines between them, several such waves added up."""

    def __init__(self, key: int, waves: Sequence[tuple[int, float]]) -> None:
        """`waves` are (minutes from node to node, spread); each has a stream of its own."""
        keys = words(key, 0, len(waves)).tolist()
        self._waves = [(own, gap, spread) for own, (gap, spread) in zip(keys, waves, strict=True)]
        self._day = lru_cache(maxsize=64)(self._make_day)  # 12 kB each; a client asks for the same

    def at(self, minutes: np.ndarray) -> np.ndarray:
        """The value at each of (n,) minutes since 1970: (n,) float64, the caller's own."""
        if not len(minutes):
            return np.zeros(0)
        first, last = int(minutes.min()) // _DAY, int(minutes.max()) // _DAY
        days = [self._day(day) for day in range(first, last + 1)]
        return (days[0] if len(days) == 1 else np.concatenate(days))[minutes - first * _DAY]

    def _make_day(self, day: int) -> np.ndarray:
        minutes = np.arange(day * _DAY, (day + 1) * _DAY)
        total = np.zeros(_DAY)
        for key, gap, spread in self._waves:
            node, gone = np.divmod(minutes, gap)
            first = int(node[0])
            nodes = normals(words(key, first, int(node[-1]) - first + 2)) * spread
            before, after = nodes[node - first], nodes[node - first + 1]
            total += (before * (gap - gone) + after * gone) / gap
        return total
