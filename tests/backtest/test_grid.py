"""The grid of a sweep: the points of `itertools.product`, in its order, without holding them."""

import sys
import tracemalloc
from itertools import product

import numpy as np
import pytest

from tests.backtest.series import a_plan
from tgtqr_lib.backtest.grid import MOST, Grid, combinations
from tgtqr_lib.domain import DomainError

AXES = {"band_bps": [7, 0, 7, 40], "window": [3, 2, 1440]}


def test_a_product_is_that_of_itertools_the_first_name_slowest():
    grid = combinations(a_plan(), AXES)
    expected = [{"window": w, "band_bps": b} for b, w in product(*AXES.values())]
    assert list(grid) == expected and len(grid) == 12
    assert [grid[i] for i in range(-12, 12)] == expected * 2
    assert list(grid[3:8]) == expected[3:8] and list(grid[::-5]) == expected[::-5]
    assert grid.columns(5, 9)["window"].tolist() == [p["window"] for p in expected[5:9]]
    assert (grid.highest("window"), grid.highest("band_bps")) == (1440, 40)


def test_what_a_grid_does_not_name_comes_from_the_plan():
    assert list(combinations(a_plan(band_bps=9), {"window": [4, 5]})) == [
        {"window": 4, "band_bps": 9}, {"window": 5, "band_bps": 9},
    ]  # fmt: skip
    assert list(combinations(a_plan(window=8), {})) == [{"window": 8, "band_bps": 0}]


def test_listed_points_are_kept_in_their_order():
    points = [{"window": 9}, {"band_bps": 3}, {"window": 9}]
    grid = combinations(a_plan(window=30), points)
    assert list(grid) == [
        {"window": 9, "band_bps": 0}, {"window": 30, "band_bps": 3}, {"window": 9, "band_bps": 0},
    ]  # fmt: skip
    assert (grid.highest("window"), grid.highest("band_bps")) == (30, 3)
    assert combinations(a_plan(), grid) == grid != combinations(a_plan(), points[::-1])


def test_a_grid_of_a_million_points_is_small_and_its_millionth_point_is_found():
    tracemalloc.start()
    grid = combinations(a_plan(), {"window": range(40, 1040), "band_bps": range(1000)})
    last, size = grid[999_999], tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == {"window": 1039, "band_bps": 999} and grid[1000] == {"window": 41, "band_bps": 0}
    assert size < 1_000_000, "a byte a point would be too much"
    assert sum(one["band_bps"] for one in grid[999_000:]) == 999 * 1000 // 2
    assert sys.getsizeof(grid) < 1000 and isinstance(grid, Grid)


@pytest.mark.parametrize("place", [12, -13])
def test_there_is_no_point_beyond_the_grid(place):
    with pytest.raises(IndexError):
        combinations(a_plan(), AXES)[place]


@pytest.mark.parametrize(
    "grid, said",
    [
        ({"window": []}, "no point"),
        ([], "no point"),
        ({"windoo": [3]}, "unknown parameter 'windoo'"),
        ({"window": [3, 1]}, "window 1 is out of range"),
        ([{"window": 3}, {"window": 2.5}], "window 2.5 is not a whole number"),
        ({"window": range(2, 1441), "band_bps": [0] * 6_950}, "expected at most 10,000,000"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_a_sentence(grid, said):
    with pytest.raises(DomainError, match=said):
        combinations(a_plan(), grid)


def test_the_largest_grid_is_allowed():
    grid = combinations(a_plan(), {"window": range(2, 1002), "band_bps": [0, 1] * 5_000})
    assert len(grid) == MOST
    np.testing.assert_array_equal(grid.columns(MOST - 2)["band_bps"], [0, 1])
