import numpy as np
from PIL import Image

from pipelines.editing.pixels import mix_pixels, resize_mask, resize_picture


def test_a_picture_of_the_right_size_is_itself() -> None:
    picture = Image.new("RGB", (6, 4))
    assert resize_picture(picture, (6, 4)) is picture
    assert resize_picture(picture, (3, 8)).size == (3, 8)


def test_a_mask_does_not_overshoot() -> None:
    mask = np.zeros((8, 8), np.float32)
    mask[:, 4:] = 1
    assert resize_mask(mask, (8, 8)) is mask
    large = resize_mask(mask, (24, 16))
    assert large.shape == (16, 24)
    assert (large.min(), large.max()) == (0, 1)


def test_pixels_are_mixed_by_the_mask() -> None:
    before, after = np.full((2, 3, 3), 200, np.uint8), np.full((2, 3, 3), 100, np.uint8)
    mask = np.array([[0, 0.25, 1], [1, 0.5, 0]], np.float32)
    assert mix_pixels(before, after, mask)[..., 0].tolist() == [[200, 175, 100], [100, 150, 200]]
