import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib.market.noise import exp, normals, words

KEYS = st.integers(0, 2**64 - 1)


def test_words_are_splitmix64():
    # The first outputs of the generator's published C code for the seed 1234567.
    assert words(1234567, 0, 5).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(key=KEYS, skip=st.integers(0, 10**12), count=st.integers(1, 50))
def test_words_can_be_had_without_those_before(key, skip, count):
    whole = words(key, skip, count + 7)
    np.testing.assert_array_equal(words(key, skip + 7, count), whole[7:])


def test_normals_have_the_extremes_mean_and_variance_of_four_uniform_pieces():
    # 4 x 65535 = 262140 over the range; half of it over sqrt(4 x (65536**2 - 1)/12) is 3.4641
    extremes = normals(np.array([0, 2**64 - 1], np.uint64))
    assert extremes == pytest.approx([-3.4641, 3.4641], abs=1e-4)
    many = normals(words(1, 0, 400_000))
    assert many.mean() == pytest.approx(0, abs=0.005)
    assert many.var() == pytest.approx(1, abs=0.005)


@given(x=st.floats(-5, 5))
def test_exp_is_within_1e_12_of_the_true_value(x):
    assert float(exp(x)) == pytest.approx(math.exp(x), rel=1e-12)
