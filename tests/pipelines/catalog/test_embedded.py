"""The embedded checkpoint does what its model card says, through the loop that serves it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline

from pipelines.catalog.catalog import EMBEDDED_FOLDER, Adapter
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler
from training.data.scenes import Scene, Thing, thing_cover
from training.scores.evaluate import Renderer, RenderOptions
from training.scores.measure import detect_background, detect_things, foreground_mask, hollow_share
from training.trainers.controlnet import draw_edges

MEGABYTE = 2**20
CIRCLE = "a red circle on a white background"
FEW = RenderOptions(steps=8)


@pytest.fixture(scope="module")
def renderer(trained: Checkpoint) -> Renderer:
    return Renderer(trained)


@pytest.fixture(scope="module")
def unguided(renderer: Renderer) -> np.ndarray:
    return renderer.render(CIRCLE, 1, FEW)


def test_it_is_small_and_complete() -> None:
    files = [path for path in EMBEDDED_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20 * MEGABYTE
    assert (EMBEDDED_FOLDER / "MODEL_CARD.md").is_file()
    assert json.loads((EMBEDDED_FOLDER / "vae" / "config.json").read_text())["latents_mean"]


@pytest.mark.parametrize(
    ("prompt", "background", "colour", "place"),
    [
        ("a large red circle at the top left on a white background", "white", "red", "top left"),
        pytest.param(
            *("a large yellow star at the center on a blue background", "blue", "yellow", "center"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *("green background, a large black square at the bottom right", "green", "black", "bottom right"),
            marks=pytest.mark.slow,
        ),
        ("红色背景，中央有一个大白色圆形", "red", "white", "center"),
    ],
)
def test_the_prompt_decides_background_colour_and_place(
    renderer: Renderer, prompt: str, background: str, colour: str, place: str
) -> None:
    picture = renderer.render(prompt, 1, FEW)
    largest = detect_things(picture)[0]
    assert (detect_background(picture), largest.colour, largest.place) == (background, colour, place)


@pytest.mark.parametrize(
    "size",
    [(320, 192), pytest.param((192, 320), marks=pytest.mark.slow), pytest.param((1024, 768), marks=pytest.mark.slow)],
)
def test_other_sizes_and_aspects(renderer: Renderer, size: tuple[int, int]) -> None:
    picture = renderer.render(
        "a large red circle at the center on a white background", 1, replace(FEW, width=size[0], height=size[1])
    )
    assert picture.shape == (size[1], size[0], 3)
    assert detect_background(picture) == "white"
    assert detect_things(picture)[0].colour == "red"


def test_the_lora_draws_outlines(renderer: Renderer) -> None:
    row = load_catalog().with_embedded_weights().find_lora("outlines")
    assert isinstance(row, Adapter)
    assert Path(row.weights).stat().st_size < MEGABYTE
    prompt = "a large blue circle at the center on a white background"
    filled, outlined = (
        renderer.render(prompt, 1, FEW, loras=loras) for loras in ((), (LoraUse("outlines", Path(row.weights)),))
    )
    assert hollow_share(filled) < 0.2 < 0.3 < hollow_share(outlined)
    assert (detect_background(outlined), detect_things(outlined)[0].colour) == ("white", "blue")


@pytest.mark.parametrize("shape", ["cross", pytest.param("square", marks=pytest.mark.slow)])
def test_the_controlnet_fills_edges(renderer: Renderer, unguided: np.ndarray, tmp_path: Path, shape: str) -> None:
    row = load_catalog().with_embedded_weights().find_controlnet("edges")
    assert isinstance(row, Adapter)
    assert sum(path.stat().st_size for path in Path(row.weights).iterdir()) < 3 * MEGABYTE
    scene = Scene("white", (Thing(shape, "red", "large", "left"),))  # pyright: ignore[reportArgumentType]
    draw_edges(scene, 256).save(tmp_path / "guide.png")
    use = ControlUse("edges", row.weights, Reference(tmp_path / "guide.png", "", 256, 256))
    wanted = thing_cover(scene, 0, 256, 256) > 0.5
    overlaps = []
    for drawn in (unguided, renderer.render(CIRCLE, 1, FEW, controls=(use,))):
        shown = foreground_mask(drawn)
        overlaps.append((shown & wanted).sum() / (shown | wanted).sum())
    assert overlaps[1] > 0.6 > overlaps[0]


def test_diffusers_opens_the_folder_and_draws_the_same_picture(trained: Checkpoint) -> None:
    prompt = "a large red circle at the top left on a blue background"
    request = RenderRequest("", prompt, " ", 128, 128, 3, Sampler(), 4.0, 3)
    ours = generate(request, 0, LoadedModel(trained), load_catalog().entries[0], lambda step, total: None).image
    pipe: Any = QwenImagePipeline.from_pretrained(EMBEDDED_FOLDER)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        prompt,
        negative_prompt=" ",
        width=128,
        height=128,
        num_inference_steps=3,
        true_cfg_scale=4.0,
        latents=noise(grid(128, 128, trained.vae), 16, seed=3),
    ).images[0]
    assert np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16)).max() <= 1
