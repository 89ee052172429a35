"""What add-ons learn on: scenes with their latents, and the flow-matching loss through a frozen checkpoint.

Knows the models and pools of scenes; knows neither LoRAs nor ControlNets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipelines.models.loader import Checkpoint
from training.architecture import WIDTH
from training.dataset import SQUARE, drawn, latents_of
from training.joint import noise_levels, weighted
from training.layout import by_token, labels, shown
from training.scenes import Scene
from training.text import encode_texts

Pictures = Callable[[Scene], np.ndarray]


@dataclass(frozen=True, slots=True)
class Batch:
    """Noisy samples of one grid as the transformer takes them, and the velocities that lead away from the clean ones.

    `noisy`, `velocity` and `guides` are [B, tokens, 64], `guides` without noise; `sigma` is [B], `told` the labels.
    """

    noisy: torch.Tensor
    velocity: torch.Tensor
    guides: torch.Tensor
    sigma: torch.Tensor
    embeds: torch.Tensor
    mask: torch.Tensor
    told: torch.Tensor

    @property
    def shapes(self) -> list[list[tuple[int, int, int]]]:
        """The transformer's `img_shapes`."""
        return [[(1, *SQUARE)]] * len(self.noisy)


class Samples:
    """Scenes at 128 × 128 pixels with their latents, and with those of a guide for each where there are guides."""

    def __init__(self, scenes: Sequence[Scene], base: Checkpoint, guide: Pictures | None = None) -> None:
        self._base = base
        self.scenes = scenes
        with torch.inference_mode():
            clean = latents_of([drawn(scene, SQUARE) for scene in scenes], base.vae)
            guides = latents_of([guide(scene) for scene in scenes], base.vae) if guide else clean[:, :0]
        self._clean, self._guides = clean.clone(), guides.clone()
        self._labels = torch.from_numpy(np.stack([labels(scene, *SQUARE) for scene in scenes]))

    def batch(self, rows: Sequence[int], texts: list[str]) -> Batch:
        """Some of the scenes under new captions, each at a random noise level."""
        base, device = self._base, self._base.device
        clean = self._clean[rows].to(device).float()
        nothing_seen = torch.empty(len(rows), 0, 0, WIDTH, device=device)
        with torch.no_grad():
            embeds, mask = encode_texts(texts, "text_to_image", nothing_seen, (0, 0), base.text_encoder, base.tokenizer)
        noise = torch.randn_like(clean)
        sigma = noise_levels(len(rows), device)
        return Batch(
            noisy=torch.lerp(clean, noise, sigma[:, None, None]),
            velocity=noise - clean,
            guides=self._guides[rows].to(device).float(),
            sigma=sigma,
            embeds=embeds,
            mask=mask,
            told=by_token(self._labels[rows].to(device)),
        )


def flow_loss(base: Checkpoint, batch: Batch, residuals: list[torch.Tensor] | None = None) -> torch.Tensor:
    """The flow-matching loss, with what a ControlNet adds to the transformer's blocks."""
    predicted = base.transformer(
        hidden_states=batch.noisy,
        timestep=batch.sigma,
        encoder_hidden_states=batch.embeds,
        encoder_hidden_states_mask=batch.mask,
        img_shapes=batch.shapes,
        controlnet_block_samples=residuals,
        return_dict=False,
    )[0]
    return weighted((predicted - batch.velocity).square().mean(dim=-1), shown(batch.told))
