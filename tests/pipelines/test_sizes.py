from dataclasses import replace

import pytest
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions

from pipelines.catalog.catalog import Mode, load_catalog
from pipelines.sizes import native_size, scaled_size


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
