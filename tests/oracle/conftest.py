from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage

from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.loader import load


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def precise(request: pytest.FixtureRequest, weights: Path) -> Checkpoint:
    return load(str(weights), torch.device("cpu"), getattr(torch, request.param), with_vision=True)


@pytest.fixture
def video_vae(weights: Path) -> AutoencoderKLQwenImage:
    return AutoencoderKLQwenImage.from_pretrained(weights, subfolder="vae")
