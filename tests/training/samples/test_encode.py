import numpy as np
import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from training.data.random_scenes import EASY, LITERATE, random_scene
from training.data.scenes import draw_scene
from training.samples.drafts import DraftOrder, Task, make_draft
from training.samples.encode import DraftEncoder
from training.timed.timetable import STAGES
from training.trainers.architecture import vision_grid
from training.trainers.dataset import encode_latents, encode_vision
from training.trainers.text import encode_tokens
from training.trainers.vae import to_pixels

CPU = torch.device("cpu")


@pytest.mark.parametrize("grid", [(8, 8), (6, 10)])
@torch.inference_mode()
def test_the_vision_tower_sees_what_the_image_processor_gives(trained: Checkpoint, grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pictures = [draw_scene(random_scene(rng, LITERATE), grid[1] * 16, grid[0] * 16) for _ in range(2)]
    encoder = DraftEncoder(trained.vae, trained.text_encoder, CPU)
    pixels = torch.stack([to_pixels(picture) for picture in pictures])
    found = encoder.vision(pixels, vision_grid(grid))
    expected = encode_vision(pictures, trained.text_encoder)
    assert found.shape == expected.shape
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


@pytest.mark.parametrize(
    ("task", "pictures", "modes"),
    [("words", 0, {"text_to_image"}), ("edit", 1, {"edit", "edit_plus"}), ("combine", 2, {"edit_plus"})],
)
def test_a_draft_becomes_a_batch(trained: Checkpoint, task: Task, pictures: int, modes: set[str]) -> None:
    draft = make_draft(DraftOrder(3, task, (8, 8), 2), 1, trained.tokenizer)
    batch = DraftEncoder(trained.vae, trained.text_encoder, CPU).encode(draft)
    assert draft.mode in modes
    assert (batch.pictures, batch.latents.shape, batch.labels.shape) == (pictures, (2, 64, 64), (2, 64, 16))
    assert batch.vision.shape[1:3] == ((pictures, 4) if pictures else (0, 0))
    assert len(batch.prompts.ids) == 2


@pytest.mark.slow
def test_every_grid_has_as_many_tokens_in_its_prompts_as_the_vision_tower_makes(trained: Checkpoint) -> None:
    encoder = DraftEncoder(trained.vae, trained.text_encoder, CPU)
    for grid in {grid for stage in STAGES for grid in stage.grids}:
        batch = encoder.encode(make_draft(DraftOrder(0, "edit", grid, 1), 0, trained.tokenizer))
        assert (batch.prompts.ids == batch.prompts.pad).sum() == batch.vision.shape[2], grid
        with torch.inference_mode():
            encode_tokens(batch.prompts, batch.vision, batch.vision_grid, trained.text_encoder)


def test_latents_are_those_of_the_drawn_picture(trained: Checkpoint) -> None:
    draft = make_draft(DraftOrder(0, "easy", (8, 8), 4), 0, trained.tokenizer)
    batch = DraftEncoder(trained.vae, trained.text_encoder, CPU).encode(draft)
    rng = np.random.default_rng([0, 0])
    pictures = [draw_scene(random_scene(rng, EASY), 128, 128) for _ in range(4)]
    sharp = torch.from_numpy(~draft.degraded)
    with torch.inference_mode():
        expected = encode_latents(pictures, trained.vae).float()
    torch.testing.assert_close(batch.latents[sharp], expected[sharp], atol=0.05, rtol=0.05)
