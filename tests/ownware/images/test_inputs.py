import hashlib
from pathlib import Path

import pytest
from PIL import Image

from ownware.images.inputs import ImageInputs
from ownware.options import OptionError

PHOTO = Image.linear_gradient("L").resize((60, 40)).convert("RGB")


@pytest.fixture
def inputs(tmp_path: Path) -> ImageInputs:
    (tmp_path / "written").mkdir()
    return ImageInputs(tmp_path / "written", max_pixels=1_000_000)


def test_a_file_stays_where_it_is(inputs: ImageInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PHOTO.save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", Path("photo.png"), tmp_path / "photo.png"):
        reference = inputs.reference("images[0]", name)
        assert (reference.path, reference.width, reference.height) == (tmp_path / "photo.png", 60, 40)
        assert reference.sha256 == hashlib.sha256((tmp_path / "photo.png").read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "HSV"])
def test_an_image_in_memory_of_any_mode(mode: str, inputs: ImageInputs) -> None:
    image = PHOTO.convert("L").convert(mode) if mode != "HSV" else PHOTO.convert("HSV")
    first, second = (inputs.reference(option, image) for option in ("images[0]", "images[1]"))
    assert (first.width, first.height) == (60, 40)
    assert first.sha256 == second.sha256
    with Image.open(first.path) as written:
        assert written.size == (60, 40)


def test_the_orientation_of_an_image_in_memory_is_that_of_its_pixels(inputs: ImageInputs, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    PHOTO.save(tmp_path / "turned.jpg", exif=exif)
    assert inputs.reference("images[0]", tmp_path / "turned.jpg").width == 40
    with Image.open(tmp_path / "turned.jpg") as image:
        assert inputs.reference("images[1]", image).width == 60


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing.png", None, "mask: .*nothing.png: No such file or directory"),
        ("text.png", b"text", "mask: .*text.png: The data is no image"),
        ("large.png", Image.new("L", (2000, 1000)), "mask: .*large.png: The image is too large"),
        ("narrow.png", Image.new("L", (404, 4)), "mask: 404×4 pixels: the sides must not differ by more than 1:100"),
    ],
)
def test_images_that_cannot_be_used(
    name: str, content: bytes | Image.Image | None, message: str, inputs: ImageInputs, tmp_path: Path
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        content.save(path)
    with pytest.raises(OptionError, match=message):
        inputs.reference("mask", path)
