import base64
import io

from PIL import Image

from server.api.sample_picture import SAMPLE_PICTURE


def test_it_is_a_red_circle_on_white() -> None:
    picture = Image.open(io.BytesIO(base64.b64decode(SAMPLE_PICTURE.partition(",")[2]))).convert("RGB")
    assert picture.size == (64, 64)
    assert (picture.getpixel((32, 32)), picture.getpixel((2, 2))) == ((220, 40, 40), (255, 255, 255))
