"""Inpainting in latent space: after each denoising step, the masked latents are replaced by the seed image's.

Knows latents and sigmas; knows no pictures and no models.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pipelines.latents import PATCH, pack


@dataclass(frozen=True, slots=True)
class Inpainting:
    """The clean latents of the seed image, the noise of the image, and the mask of the latents that may change.

    All are packed, [1, tokens, 4z]. `mask` is in 0…1, the share of the steps in which a latent may change: 1 in all
    steps, 0 in none, and in between in the last ones (differential diffusion, Levin and Fried 2023). A mask of 0 and 1
    alone equals diffusers' inpainting pipelines.
    """

    clean: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def blend(self, latents: torch.Tensor, sigma: torch.Tensor, progress: float) -> torch.Tensor:
        """Return the latents at `sigma` with the masked ones replaced. `progress` is the share of finished steps."""
        original = add_noise(self.clean, self.noise, sigma)
        return torch.where((self.mask <= 1 - progress) & (self.mask < 1), original, latents)


def add_noise(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Add the noise of a sigma to clean latents, in the dtype of the latents, as diffusers does."""
    weight = sigma.to(clean.dtype)
    return weight * noise + (1.0 - weight) * clean


def pack_mask(mask: np.ndarray, channels: int) -> torch.Tensor:
    """Pack a mask [2·rows, 2·columns] of latent pixels into tokens [1, rows·columns, 4·channels]."""
    rows, columns = mask.shape
    assert rows % PATCH == 0
    assert columns % PATCH == 0
    return pack(torch.from_numpy(mask).expand(1, 1, channels, rows, columns))
