import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from training.data.scenes import Scene, Thing
from training.trainers.adapters import AdapterSamples, flow_loss
from training.trainers.dataset import SQUARE, draw_grid

SCENES = [Scene("white", (Thing("star", colour, "large", "center"),)) for colour in ("red", "blue")]


@pytest.fixture
def samples(trained: Checkpoint) -> AdapterSamples:
    return AdapterSamples(SCENES, trained, SQUARE, lambda scene: draw_grid(scene, SQUARE))


def test_a_batch_lies_on_the_flow(samples: AdapterSamples) -> None:
    batch = samples.batch([1, 0, 1], ["a", "b", "c"])
    sigma = batch.sigma[:, None, None]
    assert batch.shapes == [[(1, *SQUARE)]] * 3
    assert len(batch.embeds) == len(batch.mask) == len(batch.labels) == 3
    clean = batch.noisy - sigma * batch.velocity
    torch.testing.assert_close(clean, batch.control_latents, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(clean[0], clean[2], atol=1e-4, rtol=1e-4)
    assert not torch.equal(batch.noisy[0], batch.noisy[2])


def test_without_a_control_image_there_are_no_control_latents(trained: Checkpoint) -> None:
    assert AdapterSamples(SCENES, trained, SQUARE).batch([0], [""]).control_latents.shape == (1, 0, 64)


def test_the_loss_of_the_embedded_checkpoint_is_far_below_chance(samples: AdapterSamples, trained: Checkpoint) -> None:
    torch.manual_seed(0)
    texts = [f"a large {colour} star at the center on a white background" for colour in ("red", "blue")]
    batch = samples.batch([0, 1], texts)
    with torch.inference_mode():
        loss = flow_loss(trained, batch).item()
    assert 0 < loss < 0.6 < batch.velocity.square().mean().item()


def test_residuals_reach_the_transformer(samples: AdapterSamples, trained: Checkpoint) -> None:
    batch = samples.batch([0], ["a red star"])
    residuals = [torch.arange(64 * 128.0).sin().reshape(1, 64, 128)]  # a constant would vanish in the norms
    with torch.inference_mode():
        assert flow_loss(trained, batch, residuals) != flow_loss(trained, batch)
