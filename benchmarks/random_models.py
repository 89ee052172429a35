"""Models of random weights for the benchmarks: nothing is downloaded, and each dimension can be chosen.

Both sides of a comparison share the transformer. Each side has its own form of the same VAE. There is no text encoder:
prompt embeddings are random too.
"""

import copy
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from accel.weights.single_frame import SingleFrameVae
from benchmarks.runs.synchronize import synchronize
from pipelines.catalog.catalog import EMBEDDED_FOLDER
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.devices import default_dtype

SIZES = Path(__file__).with_name("random_models.toml")
SEED = 1
PROMPT_TOKENS, NEGATIVE_TOKENS = 60, 6
TRUE_CFG_SCALE = 4.0
# The dimensions that a ControlNet shares with the transformer it is made for.
_SHARED = (
    "patch_size",
    "in_channels",
    "out_channels",
    "attention_head_dim",
    "num_attention_heads",
    "joint_attention_dim",
    "axes_dims_rope",
)


@dataclass(frozen=True)
class ModelSize:
    """The dimensions of the models. Areas are pixels of a reference image, `side` pixels of a usual image."""

    encoder: dict[str, Any]
    transformer: dict[str, Any]
    vae: dict[str, Any]
    reference_area: int
    condition_area: int
    side: int

    @classmethod
    def load(cls, name: str) -> "ModelSize":
        """A row of `random_models.toml`."""
        return cls(**tomllib.loads(SIZES.read_text(encoding="utf-8"))[name])


@dataclass(frozen=True)
class RandomModels:
    """The models. `video_vae` is diffusers' form of the VAE."""

    checkpoint: Checkpoint
    video_vae: AutoencoderKLQwenImage
    controlnet: QwenImageControlNetModel
    size: ModelSize

    @classmethod
    def build(cls, size: ModelSize, device: torch.device) -> "RandomModels":
        """Make the weights on the device: the full size would take minutes on a CPU."""
        dtype = default_dtype(device)
        with init_empty_weights(include_buffers=False):
            transformer = QwenImageTransformer2DModel(**size.transformer)
            vae = AutoencoderKLQwenImage(**size.vae)
            shared = {name: transformer.config[name] for name in _SHARED}
            layers = max(1, transformer.config["num_layers"] // 12)  # as the published nets: 5 of 60
            controlnet = QwenImageControlNetModel(**shared, num_layers=layers)
        torch.manual_seed(SEED)
        for model in (transformer, vae, controlnet):
            torch.nn.Module.to(model, dtype).to_empty(device=device).eval().requires_grad_(False)
            for weight in model.parameters():  # scaled so that a result is neither flat nor infinite
                weight.normal_(std=0.02 if weight.ndim == 1 else weight[0].numel() ** -0.5)
        # The embedded checkpoint has the real models' schedule.
        schedule = FlowMatchEulerDiscreteScheduler.load_config(EMBEDDED_FOLDER, subfolder="scheduler")
        checkpoint = Checkpoint(
            transformer=transformer,
            vae=SingleFrameVae(copy.deepcopy(vae)),
            text_encoder=cast("Any", None),
            tokenizer=cast("Any", None),
            image_processor=None,
            scheduler=cast("dict[str, Any]", schedule),
            device=device,
            dtype=dtype,
        )
        return cls(checkpoint, vae, controlnet, size)

    @property
    def device(self) -> torch.device:
        """The device of all models."""
        return self.checkpoint.device

    def prompt(self) -> torch.Tensor:
        """Random embeddings of a prompt [1, tokens, width]."""
        return self._embeddings(1, PROMPT_TOKENS)

    def negative_prompt(self) -> torch.Tensor:
        """Random embeddings of a negative prompt [1, tokens, width]."""
        return self._embeddings(2, NEGATIVE_TOKENS)

    def noise(self, side: int) -> torch.Tensor:
        """Packed noise of an image of side × side pixels [1, tokens, 4z]."""
        latents = noise(grid(side, side, self.checkpoint.vae), 16, SEED)
        return latents.to(self.device, self.checkpoint.dtype)

    def synchronize(self) -> None:
        """Wait until the device has finished its queue."""
        synchronize(self.device)

    def _embeddings(self, seed: int, tokens: int) -> torch.Tensor:
        width = int(self.checkpoint.transformer.config["joint_attention_dim"])
        latents = torch.randn((1, tokens, width), generator=torch.Generator().manual_seed(seed))
        return latents.to(self.device, self.checkpoint.dtype)
