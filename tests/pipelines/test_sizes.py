from dataclasses import replace

import pytest
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from hypothesis import given
from hypothesis import strategies as st

from pipelines.catalog.catalog import Mode, load_catalog
from pipelines.limits import MAX_SIDE, MIN_SIDE, is_side
from pipelines.sizes import edit_size, keeps_aspect, native_size, reference_size, scaled_size

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
