import pytest
import torch

from pipelines.models.checkpoint import Checkpoint
from training.timed.growth import grow


@pytest.mark.parametrize("layers", [6, 9, 12])
@torch.no_grad()
def test_a_grown_transformer_gives_the_same_output(trained: Checkpoint, layers: int) -> None:
    torch.manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(2, 64, 64),
        "timestep": torch.tensor([0.3, 0.9]),
        "encoder_hidden_states": torch.randn(2, 20, 128),
        "encoder_hidden_states_mask": torch.ones(2, 20, dtype=torch.bool),
        "img_shapes": [[(1, 8, 8)]] * 2,
        "return_dict": False,
    }
    grown = grow(trained.transformer, layers)
    assert len(grown.transformer_blocks) == layers
    assert torch.equal(grown(**inputs)[0], trained.transformer(**inputs)[0])


def test_new_blocks_learn(trained: Checkpoint) -> None:
    grown = grow(trained.transformer, 12).train()
    states = torch.randn(1, 64, 64), torch.rand(1), torch.randn(1, 20, 128)
    grown(states[0], states[2], timestep=states[1], img_shapes=[[(1, 8, 8)]], return_dict=False)[0].sum().backward()
    gradients = dict(grown.named_parameters())["transformer_blocks.1.img_mod.1.weight"].grad
    assert gradients is not None
    assert gradients.any()


def test_a_transformer_does_not_shrink(trained: Checkpoint) -> None:
    with pytest.raises(ValueError, match="of 6 blocks cannot have 5"):
        grow(trained.transformer, 5)
