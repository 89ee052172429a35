"""The embedded checkpoint does what its model card says, through the loop that serves it."""

import json

import pytest
import torch

from pipelines.catalog import EMBEDDED_FOLDER
from pipelines.loading import load
from training.evaluate import Painter, Setting
from training.reading import background_of, things_in

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def painter() -> Painter:
    return Painter(load(str(EMBEDDED_FOLDER), torch.device("cpu"), torch.float32, with_vision=True))


def test_it_is_small_and_complete() -> None:
    files = [path for path in EMBEDDED_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20 * MEGABYTE
    assert (EMBEDDED_FOLDER / "MODEL_CARD.md").is_file()
    assert json.loads((EMBEDDED_FOLDER / "vae" / "config.json").read_text())["latents_mean"]


@pytest.mark.parametrize(
    ("prompt", "background", "colour", "place"),
    [
        ("a large red circle at the top left on a white background", "white", "red", "top left"),
        ("a large yellow star at the center on a blue background", "blue", "yellow", "center"),
        ("green background, a large black square at the bottom right", "green", "black", "bottom right"),
        ("红色背景，中央有一个大白色圆形", "red", "white", "center"),
    ],
)
def test_the_prompt_decides_background_colour_and_place(
    painter: Painter, prompt: str, background: str, colour: str, place: str
) -> None:
    picture = painter.paint(prompt, 1, Setting())
    largest = things_in(picture)[0]
    assert (background_of(picture), largest.colour, largest.place) == (background, colour, place)


@pytest.mark.parametrize("size", [(320, 192), (192, 320), (1024, 768)])
def test_other_sizes_and_aspects(painter: Painter, size: tuple[int, int]) -> None:
    picture = painter.paint("a large red circle at the center on a white background", 1, Setting(8, 4.0, *size))
    assert picture.shape == (size[1], size[0], 3)
    assert background_of(picture) == "white"
    assert things_in(picture)[0].colour == "red"
