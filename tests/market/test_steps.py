from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.domain import DataError
from tgtqr_lib.market.steps import from_steps, to_steps, to_units


def decimal_of(value: float) -> Decimal:
    """What the float stands for: its shortest spelling."""
    return Decimal(repr(value)).normalize()


def places(value: Decimal) -> int:
    return max(0, -value.as_tuple().exponent)


def floats_of(decimals: int, digits: int = 15):
    """Floats that are the nearest to a decimal of so many places and digits."""
    return st.integers(-(10**digits), 10**digits).map(lambda n: float(Decimal(n).scaleb(-decimals)))


@given(st.integers(0, 6).flatmap(lambda d: st.lists(floats_of(d), min_size=1, max_size=30)))
def test_steps_are_the_shortest_decimals_counted_in_the_fewest_places(values):
    steps, decimals, rounded = to_steps(np.array(values))
    exact = [decimal_of(value) for value in values]
    assert decimals == max(places(value) for value in exact)
    assert steps.tolist() == [int(value.scaleb(decimals)) for value in exact]
    assert rounded == 0
    assert from_steps(steps, decimals).tolist() == values


@given(st.lists(floats_of(9, digits=13), min_size=1, max_size=30))
def test_more_than_six_places_are_rounded_to_the_nearest_step_and_counted(values):
    steps, decimals, rounded = to_steps(np.array(values))
    exact = [decimal_of(value) for value in values]
    assert rounded == sum(places(value) > 6 for value in exact)
    assert decimals == min(6, max(places(value) for value in exact))
    tie = Decimal("0.500001")  # of a tie either side will do
    for step, value in zip(steps.tolist(), exact, strict=True):
        assert abs(step - value.scaleb(decimals)) <= tie


def test_one_long_price_among_thousands_is_seen():
    values = np.full((4, 5000), 104321.7)
    values[2, 4321] = 104321.75
    steps, decimals, rounded = to_steps(values)
    assert (decimals, rounded, steps.shape) == (2, 0, (4, 5000))
    assert (steps[2, 4321], steps[0, 0]) == (10432175, 10432170)


def test_nothing_has_no_decimals():
    steps, decimals, rounded = to_steps(np.empty((4, 0)))
    assert (steps.shape, steps.dtype, decimals, rounded) == ((4, 0), np.int64, 0, 0)


def test_units_are_of_the_size_that_was_asked_for():
    units, rounded = to_units(np.array([1.5, 0.0000015, 2.0]), 6)
    assert (units[0], units[2], rounded) == (1_500_000, 2_000_000, 1)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_value_without_exact_steps_is_refused(odd):
    with pytest.raises(DataError, match="does not fit steps"):
        to_steps(np.array([1.0, odd]))


def test_sixteen_digits_are_refused_because_two_such_decimals_can_share_a_float():
    with pytest.raises(DataError, match=r"1000000000.1234567|at most 15 digits"):
        to_units(np.array([1_000_000_001.0]), 6)
