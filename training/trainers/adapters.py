"""Training data and loss of adapters: scenes with their latents, and flow matching through a frozen checkpoint.

Knows the models and scenes; knows neither LoRAs nor ControlNets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipelines.catalog.catalog import trained_area
from pipelines.models.checkpoint import Checkpoint
from training.data.layout import foreground_tokens, group_by_token, layout_labels
from training.data.scenes import Scene
from training.trainers.architecture import TOKEN, WIDTH
from training.trainers.dataset import draw_grid, encode_latents
from training.trainers.joint import sample_sigmas, weighted_mean
from training.trainers.text import encode_texts

Draw = Callable[[Scene], np.ndarray]


@dataclass(frozen=True, slots=True)
class Batch:
    """The transformer's inputs for noisy samples of one grid of tokens, and the velocities to predict.

    `noisy`, `velocity` and `control_latents` are [B, tokens, 64], the last without noise. `sigma` is [B]. `labels` are
    the layout labels, grouped by token.
    """

    noisy: torch.Tensor
    velocity: torch.Tensor
    control_latents: torch.Tensor
    sigma: torch.Tensor
    embeds: torch.Tensor
    mask: torch.Tensor
    labels: torch.Tensor
    grid: tuple[int, int]

    @property
    def shapes(self) -> list[list[tuple[int, int, int]]]:
        """The `img_shapes` of the transformer."""
        return [[(1, *self.grid)]] * len(self.noisy)


class AdapterSamples:
    """Square scenes with their latents, and with control latents if there is a control image."""

    def __init__(
        self, scenes: Sequence[Scene], base: Checkpoint, grid: tuple[int, int], control_image: Draw | None = None
    ) -> None:
        self._base, self._grid = base, grid
        self.scenes = scenes
        with torch.inference_mode():
            clean = encode_latents([draw_grid(scene, grid) for scene in scenes], base.vae)
            control_latents = (
                encode_latents([control_image(scene) for scene in scenes], base.vae) if control_image else clean[:, :0]
            )
        self._clean, self._control_latents = clean.clone(), control_latents.clone()
        self._labels = torch.from_numpy(np.stack([layout_labels(scene, *grid) for scene in scenes]))

    def batch(self, rows: Sequence[int], texts: list[str]) -> Batch:
        """Make a batch of some scenes with these captions, each at a random noise level."""
        device = self._base.device
        clean = self._clean[rows].to(device).float()
        embeds, mask = encode_prompts(self._base, texts)
        noise = torch.randn_like(clean)
        sigma = sample_sigmas(len(rows), device)
        return Batch(
            noisy=torch.lerp(clean, noise, sigma[:, None, None]),
            velocity=noise - clean,
            control_latents=self._control_latents[rows].to(device).float(),
            sigma=sigma,
            embeds=embeds,
            mask=mask,
            labels=group_by_token(self._labels[rows].to(device)),
            grid=self._grid,
        )


def native_grid(folder: Path) -> tuple[int, int]:
    """Return the rows and columns of tokens of a square picture at the size that a checkpoint was trained at."""
    side = round(trained_area(folder) ** 0.5 / TOKEN)
    return side, side


@torch.no_grad()
def encode_prompts(base: Checkpoint, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the embeddings of prompts without pictures, and their mask."""
    no_vision = torch.empty(len(texts), 0, 0, WIDTH, device=base.device)
    return encode_texts(texts, "text_to_image", no_vision, (0, 0), base.text_encoder, base.tokenizer)


def predict_velocity(
    base: Checkpoint,
    noisy: torch.Tensor,
    sigma: torch.Tensor,
    prompts: tuple[torch.Tensor, torch.Tensor],
    shapes: list[list[tuple[int, int, int]]],
    residuals: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Return what the checkpoint predicts for noisy latents at sigmas [B]. `prompts` are embeddings and their mask."""
    return base.transformer(
        hidden_states=noisy,
        timestep=sigma,
        encoder_hidden_states=prompts[0],
        encoder_hidden_states_mask=prompts[1],
        img_shapes=shapes,
        controlnet_block_samples=residuals,
        return_dict=False,
    )[0]


def flow_loss(base: Checkpoint, batch: Batch, residuals: list[torch.Tensor] | None = None) -> torch.Tensor:
    """Return the flow-matching loss. `residuals` are those of a ControlNet."""
    predicted = predict_velocity(base, batch.noisy, batch.sigma, (batch.embeds, batch.mask), batch.shapes, residuals)
    return weighted_mean((predicted - batch.velocity).square().mean(dim=-1), foreground_tokens(batch.labels))
