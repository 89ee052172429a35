import io
from pathlib import Path

import pytest
from PIL import Image

from ownware.batch.renderers.base import Rendered
from ownware.batch.results.result_file import Finish, result_file
from pipelines.receipt import read_receipt
from server.media.encode import Encoding, encode
from server.media.metadata import Format, embedded_text
from tests.odd_images import p3_profile, save, scene
from tests.ownware.batch.results.test_kept_metadata import MAKE, capture
from tests.ownware.batch.tasks.test_receipt_task import receipt_of

FORMATS: list[Format] = ["JPG", "PNG", "WEBP"]


def rendered(prompt: str = "a circle") -> Rendered:
    return Rendered(Image.new("RGB", (64, 48), (200, 30, 30)), 7, receipt_of(prompt=prompt), ("a note",))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(save(scene(), "JPEG", icc_profile=p3_profile(), exif=capture().tobytes()))
    return path


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_photo_with_all_that_it_had(photo: Path, image_format: Format) -> None:
    data, notes = result_file(rendered(), Finish(Encoding(image_format, 80), photo))
    image = opened(data)
    assert (image.getexif()[MAKE], image.info["icc_profile"], notes) == ("Maker", p3_profile(), ("a note",))
    text = embedded_text(io.BytesIO(data))
    assert text is not None
    assert read_receipt(text).encoding == (image_format, 80)
    assert result_file(rendered(), Finish(Encoding(image_format, 80), photo))[0] == data


@pytest.mark.parametrize("image_format", FORMATS)
def test_stripped_it_is_what_a_server_writes(photo: Path, image_format: Format) -> None:
    made, encoding = rendered(), Encoding(image_format, 95)
    data, _ = result_file(made, Finish(encoding, photo, strip=True))
    text = embedded_text(io.BytesIO(data))
    assert data == encode(made.image, encoding, text)
    assert not opened(data).info.get("icc_profile")


def test_a_receipt_that_does_not_fit_is_left_out_with_a_note(photo: Path) -> None:
    data, notes = result_file(rendered("word " * 14_000), Finish(Encoding("JPG", 95), photo))
    assert embedded_text(io.BytesIO(data)) is None
    assert notes[-1] == "the prompts are too long for a JPG to carry the receipt"
    assert opened(data).getexif()[MAKE] == "Maker"


def test_alpha_in_every_format(tmp_path: Path) -> None:
    path = tmp_path / "sticker.png"
    sticker = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    sticker.save(path)
    white = Rendered(Image.new("RGB", (64, 48), "white"), 7, None)
    for image_format in ("PNG", "WEBP"):
        image = opened(result_file(white, Finish(Encoding(image_format, 95), path))[0])
        assert image.getchannel("A").getextrema() == (0, 0)
    data, notes = result_file(white, Finish(Encoding("JPG", 95), path))
    assert (opened(data).mode, notes) == ("RGB", ("a JPG has no transparency: it is white",))
    mask = tmp_path / "mask.png"
    Image.new("L", (64, 48), 255).save(mask)
    image = opened(result_file(white, Finish(Encoding("PNG", 95), path, mask))[0])
    assert image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def test_a_drawing_has_no_source() -> None:
    data, notes = result_file(rendered(), Finish(Encoding("PNG", 95)))
    assert (opened(data).size, notes) == ((64, 48), ("a note",))
