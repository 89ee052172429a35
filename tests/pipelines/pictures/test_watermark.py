import numpy as np
import pytest
from PIL import Image

from pipelines.pictures.watermark import draw_watermark

TEXT = "Qwen-Image"


@pytest.mark.parametrize("grey", [0, 96, 128, 160, 255])
@pytest.mark.parametrize("size", [(1024, 1024), (512, 2048), (128, 128), (2048, 512)])
def test_it_stands_out_in_the_corner_of_any_background(size: tuple[int, int], grey: int) -> None:
    plain = Image.new("RGB", size, (grey,) * 3)
    marked = draw_watermark(plain, TEXT)
    assert np.asarray(plain).min() == np.asarray(plain).max() == grey
    changed = np.abs(np.asarray(marked).astype(int) - grey).max(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() > size[1] * 0.75
    assert columns.min() >= 0
    assert size[1] > rows.max() + 1
    assert size[0] > columns.max() + 1
    assert columns.max() > size[0] * 0.9
    if size[0] > 512:
        assert columns.min() > size[0] / 2
    # Both the light text and its dark outline are there, so one of them differs by half of the range.
    assert changed.max() >= 120
    values = np.asarray(marked)[rows.min() :, columns.min() :]
    assert (values.min(), values.max()) == (0, 255)


def test_striped_backgrounds_do_not_hide_it() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    marked = np.asarray(draw_watermark(Image.fromarray(stripes), TEXT))
    assert (marked != stripes).any(axis=2).sum() > 300
