"""How latents are held to a seed image where its mask says so, after each denoising step.

Knows latents and sigmas; knows no pictures and no models.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pipelines.latents import PATCH, pack


@dataclass(frozen=True, slots=True)
class Inpainting:
    """The seed image's clean latents, the image's noise, and when each latent pixel is set free.

    All are packed, [1, tokens, 4z]. `mask` is in 0…1: what is 1 is drawn from the first step on, what is 0 never, and
    in between the last share of the steps (differential diffusion, Levin and Fried 2023). A mask of 0 and 1 alone gives
    what diffusers' inpainting pipelines give.
    """

    clean: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor

    def impose(self, latents: torch.Tensor, sigma: torch.Tensor, progress: float) -> torch.Tensor:
        """Latents at `sigma`, where `progress` is the share of the steps that are done."""
        original = noised(self.clean, self.noise, sigma)
        return torch.where((self.mask <= 1 - progress) & (self.mask < 1), original, latents)


def noised(clean: torch.Tensor, noise: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Clean latents with as much noise as there is at sigma, in the latents' dtype as diffusers computes it."""
    weight = sigma.to(clean.dtype)
    return weight * noise + (1.0 - weight) * clean


def packed_mask(mask: np.ndarray, channels: int) -> torch.Tensor:
    """A mask [2·rows, 2·columns] of latent pixels as tokens [1, rows·columns, 4·channels]."""
    rows, columns = mask.shape
    assert rows % PATCH == 0
    assert columns % PATCH == 0
    return pack(torch.from_numpy(mask).expand(1, 1, channels, rows, columns))
