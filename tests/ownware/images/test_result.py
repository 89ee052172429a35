from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from PIL import Image

from ownware.images.result import ImageResult
from ownware.options import OptionError
from ownware.receipt_files import read_source
from pipelines.catalog.models_file import load_catalog
from pipelines.receipt import make_receipt
from pipelines.request import RenderRequest, Sampler
from server.media.encode import Encoding, encode

ENTRY = load_catalog().with_embedded_weights().entries[0]
REQUEST = RenderRequest(ENTRY.air, "a", None, 64, 32, 2, Sampler(), 1.0, 7)
IMAGE = Image.linear_gradient("L").resize((64, 32)).convert("RGB")


def result_of(request: RenderRequest = REQUEST) -> ImageResult:
    return ImageResult(IMAGE, 7, make_receipt(request, 7, ("PNG", 95), ENTRY, "cpu", "float32"), ())


@pytest.mark.parametrize(("suffix", "encoding"), [("png", "PNG"), ("JPG", "JPG"), ("jpeg", "JPG"), ("webp", "WEBP")])
def test_a_file_carries_the_receipt_of_its_own_format(suffix: str, encoding: str, tmp_path: Path) -> None:
    path = result_of().save(tmp_path / "new folder" / f"image.{suffix}", quality=80)
    assert path == tmp_path / "new folder" / f"image.{suffix}"
    receipt = read_source(str(path)).receipt
    assert receipt == replace(result_of().receipt, encoding=(encoding, 80))
    expected = encode(IMAGE, Encoding(encoding, 80), receipt.to_json())  # pyright: ignore[reportArgumentType]
    assert path.read_bytes() == expected


def test_a_jpg_without_room_for_the_receipt_is_written_without_it(tmp_path: Path) -> None:
    long = result_of(replace(REQUEST, prompt="ü" * 20_000))
    with pytest.warns(UserWarning, match="too long for a JPG to carry the receipt"):
        path = long.save(tmp_path / "image.jpg")
    assert path.read_bytes() == encode(IMAGE, Encoding("JPG", 95), None)
    assert read_source(str(long.save(tmp_path / "image.png"))).receipt == long.receipt


@pytest.mark.parametrize(
    ("name", "quality", "message"),
    [
        ("image.gif", 95, r"path: '.*image\.gif' ends in none of \.png, \.jpg, \.jpeg, \.webp"),
        ("image", 95, "path: "),
        ("image.jpg", 100, "quality: 100 is not from 20 to 99"),
    ],
)
def test_mistakes_write_nothing(name: str, quality: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        result_of().save(tmp_path / name, quality=quality)
    assert not list(tmp_path.iterdir())


def test_a_result_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        result_of().seed = 8  # pyright: ignore[reportAttributeAccessIssue]
