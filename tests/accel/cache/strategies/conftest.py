import pytest
import torch

from pipelines.models.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def embeds(trained: Checkpoint) -> torch.Tensor:
    """A random prompt of nine words."""
    width = trained.transformer.config["joint_attention_dim"]
    return torch.randn((1, 9, width), generator=torch.Generator().manual_seed(1))
