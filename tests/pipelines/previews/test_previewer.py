"""Previews of the embedded model: they look like the image, and leave its bytes alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.previews.latent_rgb import latent_rgb
from pipelines.previews.previewer import Previewer
from pipelines.render.state import RenderState
from pipelines.sampling.sigmas import Sigma
from tests.pipelines.render.renders import asked

ENTRY = load_catalog().with_embedded_weights().entries[0]


def ignore(step: int, total: int) -> None:
    """Nothing is to be told."""


def test_it_shows_the_image_before_it_is_there(trained: Checkpoint) -> None:
    request = asked(prompt="a large red circle at the center on a white background", width=256, height=128, steps=8)
    previewer, seen = Previewer(latent_rgb(ENTRY)), list[Image.Image | None]()
    later = list[Callable[[], Image.Image] | None]()

    def look(state: RenderState) -> None:
        previewer.look(state)
        drawing = previewer.latest()
        later.append(drawing)
        seen.append(None if drawing is None else drawing())

    watched = generate(request, 0, LoadedModel(trained), ENTRY, ignore, look).image
    assert watched.tobytes() == generate(request, 0, LoadedModel(trained), ENTRY, ignore).image.tobytes()
    assert seen[0] is None
    pictures = [picture for picture in seen if picture is not None]
    assert len(pictures) == 8
    assert pictures == [drawing() for drawing in later if drawing is not None]  # the step that was asked for
    assert {max(picture.size) for picture in pictures} == {64}
    final = np.asarray(watched.resize(pictures[0].size, Image.Resampling.BOX), dtype=float)
    errors = [np.abs(np.asarray(picture) - final).mean() for picture in pictures]
    assert errors[-1] < 12 < errors[0]
    assert errors[4] < 1.5 * errors[-1]  # half of the steps show what comes


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1, 8, 8), (64, 64)), ((1, 4, 8), (64, 32)), ((1, 64, 64), (128, 128)), ((1, 128, 32), (64, 256))],
)
def test_sizes(shape: tuple[int, int, int], size: tuple[int, int]) -> None:
    assert preview_of(torch.zeros(1, shape[1] * shape[2], 64), shape).size == size


def test_a_larger_grid_is_shrunk_and_numbers_that_are_none_are_grey() -> None:
    picture = preview_of(torch.full((1, 192 * 64, 64), torch.nan), (1, 192, 64))
    assert picture.size == (85, 256)
    assert picture.getpixel((0, 0)) == (128, 128, 128)


def preview_of(latents: torch.Tensor, shape: tuple[int, int, int]) -> Image.Image:
    """The preview after one of two steps."""

    class State:
        sigmas = tuple(Sigma(sigma, torch.tensor(sigma)) for sigma in (1.0, 0.5, 0.0))
        step = 0
        cache = None

    state = State()
    state.shape, state.latents = shape, latents  # type: ignore[attr-defined]
    previewer = Previewer(latent_rgb(ENTRY))
    previewer.look(state)  # type: ignore[arg-type]
    state.step = 1
    previewer.look(state)  # type: ignore[arg-type]
    drawing = previewer.latest()
    assert drawing is not None
    return drawing()
