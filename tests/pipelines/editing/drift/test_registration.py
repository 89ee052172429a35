import numpy as np
import pytest

from pipelines.editing.drift.registration import Drift, corner_move, register, warp
from tests.pipelines.editing.drift.sources import corner_error, drifted, shapes, texture

SIZE = 192, 256  # height and width
DRIFTS = [
    Drift(0.5, 0.0, 1.0),
    Drift(-0.5, 0.5, 1.0),
    Drift(3.0, -2.0, 0.98),
    Drift(-7.3, 4.1, 1.02),
    Drift(8.0, 8.9, 1.01),  # 12 pixels
    Drift(0.0, -12.0, 0.99),
    Drift(0.0, 0.0, 1.02),
]


def _recoloured(picture: np.ndarray) -> np.ndarray:
    """Another background for a third of the picture, and a new thing."""
    edited = picture.copy()
    edited[: SIZE[0] // 2, SIZE[1] // 3 :] = 255 - edited[: SIZE[0] // 2, SIZE[1] // 3 :] // 2
    edited[20:60, 20:70] = (250, 200, 0)
    return edited


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("edited", [False, True])
def test_a_known_drift_is_found(drift: Drift, edited: bool) -> None:
    source = texture(*SIZE, seed=1)
    found = register(source, drifted(_recoloured(source) if edited else source, drift))
    assert found is not None
    assert corner_error(found, drift, *SIZE) < 0.1 + 0.2 * edited


@pytest.mark.parametrize("drift", DRIFTS)
def test_flat_shapes_are_enough(drift: Drift) -> None:
    source = shapes(*SIZE)
    found = register(source, drifted(source, drift))
    assert found is not None
    assert corner_error(found, drift, *SIZE) < 0.3


def test_a_change_of_tone_is_no_drift() -> None:
    source = texture(*SIZE, seed=2)
    darker = (0.5 * source + 10).astype(np.uint8)
    found = register(source, drifted(darker, Drift(4.0, -3.0, 1.01)))
    assert found is not None
    assert corner_error(found, Drift(4.0, -3.0, 1.01), *SIZE) < 0.3


@pytest.mark.slow
def test_a_large_picture_is_registered_at_half_its_size() -> None:
    source = texture(900, 1000, seed=3)
    found = register(source, drifted(source, Drift(-9.0, 5.5, 1.015)))
    assert found is not None
    assert corner_error(found, Drift(-9.0, 5.5, 1.015), 900, 1000) < 0.3


@pytest.mark.parametrize("seed", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_another_picture_does_not_match(seed: int) -> None:
    assert register(texture(*SIZE, seed=seed), texture(*SIZE, seed=seed + 100)) is None


@pytest.mark.parametrize("grey", [255, pytest.param(0, marks=pytest.mark.slow)])
def test_a_flat_picture_does_not_match(grey: int) -> None:
    other = np.full((*SIZE, 3), grey, np.uint8)
    assert register(texture(*SIZE, seed=4), other) is None
    assert register(other, texture(*SIZE, seed=4)) is None
    assert register(other, other) is None


@pytest.mark.parametrize("seed", [19, 25])
def test_an_estimate_that_leaves_the_picture_is_no_match(seed: int) -> None:
    assert register(shapes(96, 128), texture(96, 128, seed)) is None


def test_a_drift_that_no_edit_has_is_not_believed() -> None:
    source = texture(*SIZE, seed=5)
    assert register(source, drifted(source, Drift(40.0, 0.0, 1.0))) is None
    assert register(source, drifted(source, Drift(0.0, 0.0, 1.08))) is None


@pytest.mark.parametrize("drift", DRIFTS)
def test_warp_undoes_a_drift(drift: Drift) -> None:
    source = texture(*SIZE, seed=6)
    edited = drifted(source, drift)
    inner = np.s_[20:-20, 20:-20]
    before = np.abs(edited[inner].astype(int) - source[inner]).mean()
    after = np.abs(warp(edited, drift)[inner].astype(int) - source[inner]).mean()
    assert after < 0.8 * before


def test_the_corner_moves_most() -> None:
    assert corner_move(Drift(0.0, 0.0, 1.0), 100, 50) == 0
    assert corner_move(Drift(3.0, 4.0, 1.0), 100, 50) == pytest.approx(5)
    assert corner_move(Drift(0.0, 0.0, 1.02), 101, 1) == pytest.approx(1)
