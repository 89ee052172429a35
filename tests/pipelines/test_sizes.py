import math
from dataclasses import replace

import pytest
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog.catalog import Mode
from pipelines.catalog.models_file import load_catalog
from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE, is_side
from pipelines.sizes import (
    edit_size,
    keeps_aspect,
    native_size,
    nearest_side,
    reference_size,
    same_aspect,
    scaled_size,
    size_like,
)

EDIT = next(entry for entry in load_catalog().entries if entry.mode == "edit")
SIDES = st.integers(16, 4096)


class TestScaledSize:
    @pytest.mark.parametrize("size", [(1920, 1080), (800, 1200), (512, 512), (4096, 100), (333, 777)])
    @pytest.mark.parametrize("area", [1024 * 1024, 384 * 384, 256 * 256])
    def test_it_equals_diffusers(self, size: tuple[int, int], area: int) -> None:
        assert (*scaled_size(*size, area), None)[:2] == tuple(calculate_dimensions(area, size[0] / size[1]))[:2]

    @pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000)])
    def test_no_side_is_zero_where_diffusers_has_zero(self, size: tuple[int, int]) -> None:
        assert 0 in calculate_dimensions(112 * 112, size[0] / size[1])
        assert min(scaled_size(*size, 112 * 112)) == 32


class TestNativeSize:
    @pytest.mark.parametrize(
        ("mode", "size", "native"),
        [
            ("text_to_image", (256, 256), (64, 64)),
            ("text_to_image", (32, 32), (64, 64)),
            ("text_to_image", (272, 144), (80, 48)),
            ("edit", (272, 144), (96, 32)),
        ],
    )
    def test_weights_with_a_native_area_render_at_it(
        self, mode: Mode, size: tuple[int, int], native: tuple[int, int]
    ) -> None:
        entry = next(entry for entry in load_catalog().entries if entry.mode == mode)
        assert native_size(*size, replace(entry, native_area=64 * 64)) == native
        assert native_size(*size, entry) == size

    @given(SIDES, SIDES)
    def test_an_edit_of_its_references_shape_is_rendered_on_its_references_grid(self, width: int, height: int) -> None:
        small = replace(EDIT, native_area=128 * 128, reference_area=128 * 128)
        native = native_size(*edit_size(width, height, small), small, (width, height))
        assert native == reference_size(width, height, small)


class TestEditSize:
    @pytest.mark.parametrize(
        ("reference", "size"),
        [
            ((1600, 1200), (1184, 896)),
            ((1920, 1080), (1376, 768)),
            ((1080, 1920), (768, 1376)),
            ((1500, 1000), (1248, 832)),
            ((512, 512), (1024, 1024)),
            ((1500, 300), (2048, 416)),
            ((300, 1500), (416, 2048)),
            ((3000, 30), (2048, 128)),
        ],
    )
    def test_known_shapes(self, reference: tuple[int, int], size: tuple[int, int]) -> None:
        assert edit_size(*reference, EDIT) == size

    @given(SIDES, SIDES)
    def test_it_is_legal_and_on_its_references_grid(self, width: int, height: int) -> None:
        size = edit_size(width, height, EDIT)
        assert all(is_side(side) for side in size)
        shown = reference_size(width, height, EDIT)
        assert size == (max(MIN_SIDE, shown[0]), max(MIN_SIDE, shown[1]))
        if 1 / 16 <= width / height <= 16:
            assert keeps_aspect(*size, (width, height))

    @given(SIDES, SIDES)
    def test_up_to_four_to_one_it_equals_diffusers(self, width: int, height: int) -> None:
        their_width, their_height, _ = calculate_dimensions(1024 * 1024, width / height)
        if max(their_width, their_height) <= MAX_SIDE:
            assert edit_size(width, height, EDIT) == (max(MIN_SIDE, their_width), max(MIN_SIDE, their_height))


def test_an_aspect_is_kept_within_one_multiple() -> None:
    assert keeps_aspect(2048, 416, (1500, 300))
    assert keeps_aspect(416, 2048, (300, 1500))
    assert not keeps_aspect(2048, 128, (3000, 30))


@pytest.mark.parametrize("pixels", [128, 144, 1024, 2048])
def test_a_legal_side_is_its_own_nearest(pixels: int) -> None:
    assert nearest_side(pixels) == pixels


@given(st.floats(0, 10_000))
def test_the_nearest_side_is_legal_and_near(pixels: float) -> None:
    side = nearest_side(pixels)
    assert is_side(side)
    assert abs(side - min(MAX_SIDE, max(MIN_SIDE, pixels))) <= SIDE_MULTIPLE / 2


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_any_size_has_a_legal_one_of_its_aspect(width: int, height: int) -> None:
    new_width, new_height = size_like(width, height, 1024 * 1024)
    for side in (new_width, new_height):
        assert 128 <= side <= 2048
        assert side % 16 == 0
    if 1 / 3 < width / height < 3:
        assert math.isclose(new_width / new_height, width / height, rel_tol=0.03)
        assert math.isclose(new_width * new_height, 1024 * 1024, rel_tol=0.03)


@given(st.integers(16, 2048), st.integers(16, 2048), st.integers(2, 9))
def test_a_scaled_copy_has_the_same_aspect(width: int, height: int, factor: int) -> None:
    assert same_aspect(width, height, factor * width, factor * height)
    assert not same_aspect(width, height, width, 2 * height)
