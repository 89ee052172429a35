import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.profile import FOLDER, Polynomial, load_profile, profile_names


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_sound(name: str) -> None:
    profile = load_profile(name)
    assert profile.source
    assert 0 < profile.factor <= 1
    for polynomial in profile.polynomials:
        assert polynomial.rescaled(0.0) == 0.0
        changes = [polynomial.rescaled(polynomial.max_distance * part / 100) for part in range(101)]
        assert all(0 <= change < 5 for change in changes)
        assert max(changes) > 0


def test_there_is_one_for_each_kind_of_weights() -> None:
    assert {"qwen_image", "embedded"} <= set(profile_names())
    assert load_profile("qwen_image").borrowed
    assert not load_profile("embedded").borrowed


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(KeyError, match="no profile 'flux'"):
        load_profile("flux")
    assert not (FOLDER / "flux.toml").exists()


def test_the_borrowed_fit_follows_what_it_was_made_from() -> None:
    """Changes of the input, and of the body's output, that its authors published for 20 steps."""
    fitted = load_profile("qwen_image").polynomial(20)
    for distance, change in ((0.784, 2.11), (0.473, 0.564), (0.217, 0.594), (0.203, 0.291)):
        assert fitted.rescaled(distance) == pytest.approx(change, rel=0.5)


@pytest.mark.parametrize(("steps", "nearest"), [(10, 20), (20, 20), (31, 20), (32, 50), (50, 50)])
def test_the_nearest_number_of_steps_in_ratio(steps: int, nearest: int) -> None:
    assert load_profile("qwen_image").polynomial(steps).steps == nearest


@given(st.floats(0, 10), st.lists(st.floats(-100, 100), min_size=1, max_size=5))
def test_a_change_is_never_negative(distance: float, coefficients: list[float]) -> None:
    polynomial = Polynomial(20, tuple(coefficients), max_distance=5.0)
    change = polynomial.rescaled(distance)
    assert change == math.inf if distance > 5 else 0 <= change < math.inf
