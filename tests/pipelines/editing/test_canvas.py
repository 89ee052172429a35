from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.editing.canvas import Canvas, _box_around, make_canvas
from pipelines.pictures.reader import PictureReader
from pipelines.request import Outpaint, Reference, RenderRequest, Sampler

WIDTH, HEIGHT = 64, 48
GREY = Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90))
NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def saved(picture: Image.Image, path: Path) -> Reference:
    picture.save(path)
    return Reference(path, "", *picture.size)


def asked(**changes: Any) -> RenderRequest:
    return replace(RenderRequest("", "a", None, WIDTH, HEIGHT, 3, Sampler(), 4.0, 7), **changes)


def canvas_of(tmp_path: Path, seed: Image.Image, mask: Image.Image | None = None, **changes: Any) -> Canvas:
    mask_reference = None if mask is None else saved(mask, tmp_path / "mask.png")
    request = asked(seed_image=saved(seed, tmp_path / "seed.png"), mask=mask_reference, **changes)
    canvas = make_canvas(request, PictureReader())
    assert canvas is not None
    assert canvas.picture.size == (request.width, request.height)
    return canvas


def spot(box: tuple[int, int, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


def test_the_mask_of_the_drawn_part_at_the_size_it_is_drawn_at(tmp_path: Path) -> None:
    whole = canvas_of(tmp_path, NOISE, spot((16, 8, 32, 24)))
    assert whole.mask is not None
    scaled = whole.scale_mask((WIDTH, HEIGHT))
    assert scaled is not None
    assert np.array_equal(scaled, whole.mask)
    part = canvas_of(tmp_path, NOISE, spot((16, 8, 32, 24)), mask_margin=4)
    larger = part.scale_mask((128, 96))
    assert larger is not None
    assert larger.shape == (96, 128)
    assert larger[48, 64] == 1
    assert larger[0, 0] == 0
    assert larger.mean() > scaled.mean()
    assert canvas_of(tmp_path, NOISE).scale_mask((WIDTH, HEIGHT)) is None


def test_without_a_seed_image_there_is_no_canvas() -> None:
    assert make_canvas(asked(), PictureReader()) is None


class TestSeedImage:
    def test_it_is_scaled_to_the_picture(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE.resize((128, 96)))
        assert canvas.box == (0, 0, WIDTH, HEIGHT)
        assert canvas.mask is None
        assert not canvas.mask_empty

    def test_the_drawn_part_is_scaled_to_the_size_it_is_drawn_at(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE)
        assert canvas.crop((32, 16)).size == (32, 16)
        assert canvas.crop((WIDTH, HEIGHT)).tobytes() == NOISE.tobytes()

    def test_without_a_mask_the_drawn_picture_is_the_result(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE)
        assert canvas.paste_back(GREY).tobytes() == GREY.tobytes()
        assert canvas.paste_back(GREY.resize((32, 16))).size == (WIDTH, HEIGHT)


class TestMask:
    def test_what_is_black_stays_and_what_is_white_is_drawn(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, spot((10, 5, 30, 25)))
        result = np.asarray(canvas.paste_back(GREY))
        assert (result[5:25, 10:30] == 90).all()
        expected = np.asarray(NOISE).copy()
        expected[5:25, 10:30] = 90
        assert np.array_equal(result, expected)

    def test_a_soft_mask_mixes(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, Image.new("RGB", (WIDTH, HEIGHT)), Image.new("L", (WIDTH, HEIGHT), 51))
        assert (np.asarray(canvas.paste_back(GREY)) == 18).all()  # a fifth of 90

    def test_a_larger_mask_of_the_same_aspect_is_scaled(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, spot((20, 10, 60, 50), (2 * WIDTH, 2 * HEIGHT)))
        assert canvas.mask is not None
        assert canvas.mask.shape == (HEIGHT, WIDTH)
        assert canvas.mask[6:24, 11:29].min() == 1
        assert canvas.mask[:4].max() == 0

    @pytest.mark.parametrize(("level", "untouched"), [(0, True), (255, False), (1, False)])
    def test_a_mask_of_one_tone(self, tmp_path: Path, level: int, untouched: bool) -> None:
        assert canvas_of(tmp_path, NOISE, Image.new("L", (WIDTH, HEIGHT), level)).mask_empty == untouched

    def test_transparency_counts_as_black(self, tmp_path: Path) -> None:
        assert canvas_of(tmp_path, NOISE, Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))).mask_empty

    def test_a_coarse_cell_is_as_free_as_its_freest_pixel(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, spot((15, 0, 17, 1)))
        coarse = canvas.downsample_mask(HEIGHT // 8, WIDTH // 8)
        assert coarse is not None
        assert np.argwhere(coarse == 1).tolist() == [[0, 1], [0, 2]]
        assert coarse.sum() == 2

    def test_a_grid_finer_than_the_pixels(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, spot((0, 0, WIDTH // 2, HEIGHT)))
        fine = canvas.downsample_mask(2 * HEIGHT, 2 * WIDTH)
        assert fine is not None
        assert fine.shape == (2 * HEIGHT, 2 * WIDTH)
        assert (fine[:, :WIDTH] == 1).all()
        assert (fine[:, WIDTH:] == 0).all()


class TestMargin:
    def test_only_the_surroundings_of_the_mask_are_drawn(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, spot((30, 20, 34, 24)), mask_margin=4)
        assert canvas.box == (24, 16, 40, 28)  # 12 × 12 pixels, widened to 4 : 3
        result, before = np.asarray(canvas.paste_back(GREY)), np.asarray(NOISE)
        assert (result[20:24, 30:34] == 90).all()
        assert (result != before).any(axis=2).sum() == 16

    def test_without_a_mask_that_has_white_everything_stays(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, NOISE, Image.new("L", (WIDTH, HEIGHT)), mask_margin=32)
        assert canvas.mask_empty
        assert canvas.box == (0, 0, WIDTH, HEIGHT)

    @given(st.data())
    def test_any_box_holds_the_mask_and_has_the_pictures_aspect(self, data: st.DataObject) -> None:
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        left, top = data.draw(st.integers(0, WIDTH - 1)), data.draw(st.integers(0, HEIGHT - 1))
        right, bottom = data.draw(st.integers(left + 1, WIDTH)), data.draw(st.integers(top + 1, HEIGHT))
        mask[top:bottom, left:right] = 0.5
        box = _box_around(mask, data.draw(st.integers(0, 40)))
        assert 0 <= box[0] <= left
        assert 0 <= box[1] <= top
        assert right <= box[2] <= WIDTH
        assert bottom <= box[3] <= HEIGHT
        assert abs((box[2] - box[0]) / WIDTH - (box[3] - box[1]) / HEIGHT) <= 1 / HEIGHT


class TestOutpaint:
    SEED = NOISE.crop((0, 0, 40, 32))

    def test_the_seed_images_pixels_stay(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, self.SEED, outpaint=Outpaint(left=24, top=10, bottom=6, blur=8))
        result = canvas.paste_back(GREY)
        assert result.crop((24, 10, 64, 42)).tobytes() == self.SEED.tobytes()

    def test_what_is_added_is_drawn(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, self.SEED, outpaint=Outpaint(left=24, top=10, bottom=6))
        result = np.asarray(canvas.paste_back(GREY))
        assert (result[:, :24] == 90).all()
        assert (result[:10] == 90).all()
        assert (result[42:] == 90).all()

    def test_the_edge_is_eased_in_outside_the_seed_image(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, self.SEED, outpaint=Outpaint(right=24, top=16, blur=3))
        assert canvas.mask is not None
        assert canvas.mask[40, 38:46].tolist() == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]

    def test_it_starts_from_colours_that_go_on(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, self.SEED, outpaint=Outpaint(right=24, top=16))
        picture = np.asarray(canvas.picture)
        assert np.array_equal(picture[:, 39], picture[:, 40])
        assert np.array_equal(picture[15], picture[16])

    def test_more_than_the_seed_image_can_be_added(self, tmp_path: Path) -> None:
        canvas = canvas_of(tmp_path, self.SEED.resize((4, 4)), outpaint=Outpaint(right=60, bottom=44))
        assert canvas.crop((16, 16)).size == (16, 16)

    def test_a_mask_acts_inside_the_seed_image_too(self, tmp_path: Path) -> None:
        mask = spot((0, 0, 20, 32), (40, 32))
        canvas = canvas_of(tmp_path, self.SEED, mask, outpaint=Outpaint(left=24, top=10, bottom=6))
        result = np.asarray(canvas.paste_back(GREY))
        assert (result[:, :44] == 90).all()
        assert np.array_equal(result[10:42, 44:], np.asarray(self.SEED)[:, 20:])
