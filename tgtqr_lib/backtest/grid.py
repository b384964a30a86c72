"""The points of a sweep as arrays: ten million of them cost no more than the values they are made of."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tgtqr_lib.domain import DomainError, Plan
from tgtqr_lib.strategies import Strategy, strategy_named

MOST = 10_000_000
AT_ONCE = 10_000  # points that are made into mappings together


class Grid(Sequence):
    """Points in order, each a complete mapping of parameters: `grid[i]`, slices, iteration.

    names  the parameters, in the order of the strategy
    """

    names: tuple[str, ...]

    @abstractmethod
    def at(self, places: np.ndarray) -> dict[str, np.ndarray]:
        """Name -> (k,) int64, the values of the points at `places` (k,)."""

    @abstractmethod
    def highest(self, name: str) -> int:
        """The largest value of a parameter."""

    def columns(self, start: int = 0, stop: int | None = None) -> dict[str, np.ndarray]:
        """Name -> int64 array, the values of the points from `start` to before `stop`."""
        return self.at(np.arange(*slice(start, stop).indices(len(self))[:2]))

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Listed(self.at(np.arange(*place.indices(len(self)))))
        if not -len(self) <= place < len(self):
            raise IndexError(f"point {place} of a grid of {len(self):,}")
        found = self.at(np.array([place % len(self)]))
        return {name: int(values[0]) for name, values in found.items()}

    def __iter__(self) -> Iterator[dict[str, int]]:
        for start in range(0, len(self), AT_ONCE):
            found = self.columns(start, start + AT_ONCE)
            for values in zip(*(one.tolist() for one in found.values()), strict=True):
                yield dict(zip(self.names, values, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        if len(self) != len(other) or self.names != other.names:
            return False
        mine, theirs = self.columns(), other.columns()
        return all(np.array_equal(mine[name], theirs[name]) for name in self.names)

    __hash__ = None


@dataclass(frozen=True, eq=False)
class Product(Grid):
    """Every combination of the values of `axes` (name -> (k,) int64), the first axis changing slowest."""

    names: tuple[str, ...]
    axes: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.axes.values())

    def at(self, places: np.ndarray) -> dict[str, np.ndarray]:
        found, rest = {}, places
        for name, values in reversed(self.axes.items()):
            found[name] = values[rest % len(values)]
            rest = rest // len(values)
        return {name: found[name] for name in self.names}

    def highest(self, name: str) -> int:
        return int(self.axes[name].max())


@dataclass(frozen=True, eq=False)
class Listed(Grid):
    """Points given one by one, as `values` (name -> (n,) int64)."""

    values: Mapping[str, np.ndarray]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.values)

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def at(self, places: np.ndarray) -> dict[str, np.ndarray]:
        return {name: column[places] for name, column in self.values.items()}

    def highest(self, name: str) -> int:
        return int(self.values[name].max())


def combinations(
    plan: Plan, grid: Grid | Mapping[str, Iterable[int]] | Sequence[Mapping[str, int]]
) -> Grid:
    """The complete parameters of each point of `grid`: the first name changes slowest.

    `grid` maps names to values, of which every combination is taken, or lists the points themselves.
    Raises `DomainError` for a name or value that the strategy does not have, for no point and for more
    than `MOST`.
    """
    strategy = strategy_named(plan.strategy)
    usual = strategy.checked(plan.parameters)
    if isinstance(grid, Grid):
        for name, values in grid.columns().items():
            _checked(strategy, usual, name, np.unique(values).tolist())
        found = grid
    elif isinstance(grid, Mapping):
        axes = {name: [value] for name, value in usual.items() if name not in grid} | dict(grid)
        found = Product(
            tuple(usual),
            {name: _checked(strategy, usual, name, values) for name, values in axes.items()},
        )
    else:
        points = [strategy.checked({**usual, **point}) for point in grid]
        found = Listed(
            {name: np.array([p[name] for p in points], dtype=np.int64) for name in usual}
        )
    if not len(found):
        raise DomainError("the grid has no point; expected at least one value of each parameter")
    if len(found) > MOST:
        raise DomainError(f"the grid has {len(found):,} combinations; expected at most {MOST:,}")
    return found


def _checked(
    strategy: Strategy, usual: Mapping[str, int], name: str, values: Iterable[int]
) -> np.ndarray:
    found = [strategy.checked({**usual, name: value})[name] for value in values]
    return np.array(found, dtype=np.int64)
