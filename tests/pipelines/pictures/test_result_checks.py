from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.errors import ResultError
from pipelines.pictures.result_checks import explain_failure, flat_warning
from pipelines.request import ControlUse, LoraUse, Reference
from tests.pipelines.render.renders import asked, entry

INK, OFF = LoraUse("ink", Path("ink.safetensors"), 40.0), LoraUse("off", Path("off.safetensors"), 0.0)
EDGES = ControlUse("edges", "folder", Reference(Path("guide.png"), "", 64, 48), 2.5)


@pytest.mark.parametrize(
    ("parts", "cause"),
    [
        ({}, "the weights of Qwen-Image or the precision float16"),
        ({"loras": (OFF,)}, "the weights of Qwen-Image or the precision float16"),
        ({"loras": (INK, OFF)}, "LoRA 'ink' at weight 40 or the precision float16"),
        (
            {"loras": (INK,), "controls": (EDGES,)},
            "LoRA 'ink' at weight 40 or ControlNet 'edges' at weight 2.5 or the precision float16",
        ),
    ],
)
def test_the_likely_cause_is_named(parts: dict[str, Any], cause: str) -> None:
    request = asked(**parts)
    with pytest.raises(ResultError) as caught, explain_failure(request, entry("text_to_image"), "float16"):
        raise ResultError("It is no picture.")
    assert str(caught.value) == f"It is no picture. The likely cause is {cause}."


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), explain_failure(asked(), entry("text_to_image"), "float16"):
        raise KeyError


class TestFlat:
    def test_a_large_picture_of_one_color_is_told(self) -> None:
        warning = flat_warning(Image.new("RGB", (1024, 1024), (0, 7, 255)))
        assert warning is not None
        assert "one flat color (0, 7, 255)" in warning

    def test_one_other_pixel_is_enough(self) -> None:
        picture = Image.new("RGB", (1024, 1024), (0, 7, 255))
        picture.putpixel((1000, 3), (0, 8, 255))
        assert flat_warning(picture) is None

    def test_a_small_picture_may_be_flat(self) -> None:
        assert flat_warning(Image.new("RGB", (512, 512))) is None
