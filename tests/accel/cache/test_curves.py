import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.cache.curves import Polynomial, Table

TABLE = Table((0.9, 0.5, 0.1), (1.0, 3.0, 2.0), max_distance=0.4)
FINITE = st.floats(-100, 100)


@given(st.floats(0, 10), st.lists(FINITE, min_size=1, max_size=5), st.floats(0, 4))
def test_a_polynomial_is_never_negative_and_ends(distance: float, coefficients: list[float], least: float) -> None:
    change = Polynomial(tuple(coefficients), max_distance=5.0, min_distance=least).rescale(distance, 0.5)
    assert change == math.inf if distance > 5 else 0 <= change < math.inf


def test_below_what_was_measured_a_polynomial_is_a_line() -> None:
    curve = Polynomial((1000.0, -50.0, 3.0), max_distance=1.0, min_distance=0.1)
    assert curve.rescale(0.1, 0.5) == pytest.approx(8.0)
    assert curve.rescale(0.025, 0.5) == pytest.approx(2.0)
    assert curve.rescale(0.0, 0.5) == 0.0


@pytest.mark.parametrize(
    ("sigma", "gain"), [(1.0, 1.0), (0.9, 1.0), (0.8, 1.5), (0.5, 3.0), (0.3, 2.5), (0.1, 2.0), (0.0, 2.0)]
)
def test_a_table_is_interpolated_and_flat_outside(sigma: float, gain: float) -> None:
    assert TABLE.rescale(0.2, sigma) == pytest.approx(0.2 * gain)
    assert TABLE.rescale(0.41, sigma) == math.inf


@given(st.floats(0, 1), st.floats(0, 0.4))
def test_a_gain_lies_between_its_neighbours(sigma: float, distance: float) -> None:
    assert 1 - 1e-9 <= TABLE.gain(sigma) <= 3 + 1e-9
    assert TABLE.rescale(distance, sigma) == pytest.approx(TABLE.gain(sigma) * distance)
