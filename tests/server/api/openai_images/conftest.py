import base64
import io

import pytest
from PIL import Image

from server.settings import Settings

GENERATIONS, EDITS, MODELS = "/v1/images/generations", "/v1/images/edits", "/v1/models"
KEY = {"Authorization": "Bearer one"}


@pytest.fixture(scope="session")
def default_settings(default_settings: Settings) -> Settings:
    return default_settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture(scope="session")
def client_headers() -> dict[str, str]:
    return KEY


def colour(b64: str) -> tuple[int, ...]:
    """The colour of a picture that the fake worker has drawn; its red is the seed."""
    with Image.open(io.BytesIO(base64.b64decode(b64))) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return pixel


def mask_png(size: tuple[int, int] = (64, 48)) -> bytes:
    """A mask whose left half is transparent: OpenAI's clients edit there."""
    mask = Image.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    return buffer.getvalue()
