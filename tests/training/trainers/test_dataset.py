from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from training.data.edits import Edit
from training.data.scenes import Scene, Thing
from training.trainers import dataset
from training.trainers.dataset import (
    CROWDED,
    SQUARE,
    TALL_AND_WIDE,
    DataRecipe,
    Encoder,
    draw_grid,
    encode_latents,
    load_or_build_buffers,
)


@pytest.fixture
def encoder(trained: Checkpoint) -> Encoder:
    return Encoder(trained.vae, trained.text_encoder)


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_buffer_of_scenes(encoder: Encoder) -> None:
    buffer = encoder.make_buffer(DataRecipe(CROWDED, 1), SQUARE, 3, rng())
    assert all(isinstance(sample, Scene) for sample in buffer.samples)
    assert buffer.latents.shape == (3, 64, 64)
    assert buffer.latents.dtype == torch.float16
    assert (buffer.pictures, buffer.vision.numel()) == (0, 0)
    assert len({*buffer.texts([0, 1, 2], rng())}) == 3


@pytest.mark.parametrize(("kind", "pictures"), [("recolour", 1), ("combine", 2)])
def test_a_buffer_of_edits(encoder: Encoder, kind: str, pictures: int) -> None:
    rows, columns = TALL_AND_WIDE[0]
    buffer = encoder.make_buffer(DataRecipe((kind,), 1), (rows, columns), 2, rng())  # pyright: ignore[reportArgumentType]
    assert buffer.pictures == pictures
    assert buffer.references.shape == (2, pictures, rows * columns, 64)
    assert buffer.vision.shape[:2] == (2, pictures)
    assert not buffer.degraded.any()
    edit = buffer.samples[0]
    assert isinstance(edit, Edit)
    assert buffer.texts([0], rng())[0].lower() in {text.lower() for text in (*edit.english, edit.chinese)}


def test_latents_are_those_of_the_drawn_scene(encoder: Encoder, trained: Checkpoint) -> None:
    buffer = encoder.make_buffer(DataRecipe(("keep",), 1), SQUARE, 1, rng())
    edit = buffer.samples[0]
    assert isinstance(edit, Edit)
    with torch.inference_mode():
        expected = encode_latents([draw_grid(edit.target, SQUARE)], trained.vae)
    assert torch.equal(buffer.latents, expected)
    assert torch.equal(buffer.references[:, 0], expected)


def test_pictures_are_encoded_in_batches_of_any_length(trained: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [
        draw_grid(Scene("white", (Thing("star", colour, "large", "center"),)), SQUARE)
        for colour in ("red", "blue", "pink")
    ]
    with torch.inference_mode():
        together = encode_latents(pictures, trained.vae)
        monkeypatch.setattr(dataset, "_BATCH", 2)
        torch.testing.assert_close(encode_latents(pictures, trained.vae), together, atol=1e-2, rtol=1e-2)


def test_samples_can_be_replaced(encoder: Encoder) -> None:
    recipe = DataRecipe(CROWDED, 1)
    buffer, others = (encoder.make_buffer(recipe, SQUARE, count, np.random.default_rng(count)) for count in (3, 2))
    kept = buffer.samples[1]
    with torch.inference_mode():  # the tensors were made there; those of a file are ordinary ones
        buffer.replace([0, 2], others)
    assert buffer.samples == [others.samples[0], kept, others.samples[1]]
    assert torch.equal(buffer.latents[[0, 2]], others.latents)
    assert torch.equal(buffer.labels[[0, 2]], others.labels)


def test_edits_of_a_recipe_take_turns() -> None:
    kinds = [sample.kind for sample in DataRecipe(("add", "move"), 1).samples(4, rng()) if isinstance(sample, Edit)]
    assert sorted(kinds) == ["add", "add", "move", "move"]


@pytest.fixture
def small_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DATA_RECIPES", {"hard": DataRecipe(CROWDED, 4, TALL_AND_WIDE[:2])})


@pytest.mark.usefixtures("small_recipes")
def test_buffers_have_a_share_of_their_size_and_depend_on_the_seed(encoder: Encoder) -> None:
    first, again, other = (encoder.build_buffers(seed, 0.5)["hard"] for seed in ((0, 1), (0, 1), (0, 2)))
    assert [(buffer.grid, len(buffer.samples)) for buffer in first] == [(grid, 2) for grid in TALL_AND_WIDE[:2]]
    assert first[0].samples == again[0].samples != other[0].samples


@pytest.mark.usefixtures("small_recipes")
def test_buffers_are_cached_in_a_file(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "buffers.pt"
    built = load_or_build_buffers(path, encoder, (0,), 0.25)
    monkeypatch.setattr(Encoder, "build_buffers", lambda *_: pytest.fail("built twice"))
    assert load_or_build_buffers(path, encoder, (0,), 0.25)["hard"][0].samples == built["hard"][0].samples
