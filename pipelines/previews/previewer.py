"""Small pictures of an image between its steps, from its latents alone: no decoder runs.

The latents of a step are mostly noise. The picture shows the image that the last step heads for. Changes no state.
"""

from collections.abc import Callable
from functools import partial

import torch
from PIL import Image
from torch.nn import functional as F

from pipelines.latents import copy_to_host, unpack
from pipelines.previews.latent_rgb import LatentRgb
from pipelines.render.state import RenderState

# Pixels of the longer side. One latent pixel is 8 pixels of the image, so 512² to 2048² are shown as they are.
SMALLEST, LARGEST = 64, 256


class Previewer:
    """Sees each step of one image, and draws the latest when asked."""

    def __init__(self, rgb: LatentRgb) -> None:
        self._rgb = rgb
        self._state: RenderState | None = None
        self._before = self._after = torch.empty(0)

    def look(self, state: RenderState) -> None:
        """Note the latents before the first step and after each one. Keeps two tensors, and copies none."""
        self._before = self._after if self._state is state else state.latents
        self._state, self._after = state, state.latents

    @property
    def step_reused(self) -> bool:
        """Whether the step cache reused every forward of the last step."""
        cache = None if self._state is None else self._state.cache
        return cache is not None and cache.step_reused

    def latest(self) -> Callable[[], Image.Image] | None:
        """What draws the image that the last step heads for, now or later. None before the first step.

        The host waits for the device once.
        """
        state = self._state
        if state is None or not state.step:
            return None
        sigmas = [sigma.tensor for sigma in state.sigmas[state.step - 1 :][:2]]
        return partial(_draw, self._rgb, state.shape, self._before, self._after, *sigmas)


@torch.inference_mode()
def _draw(
    rgb: LatentRgb,
    shape: tuple[int, int, int],
    before: torch.Tensor,
    after: torch.Tensor,
    sigma: torch.Tensor,
    sigma_next: torch.Tensor,
) -> Image.Image:
    """The latents at sigma 0, along the straight line through a step, as a picture. The flow is nearly straight."""
    before, after = before.float(), after.float()
    expected = after - sigma_next * (after - before) / (sigma_next - sigma)
    latents = unpack(expected, shape)[0, :, 0]
    factors = torch.tensor(rgb.factors, device=latents.device)
    bias = torch.tensor(rgb.bias, device=latents.device)
    pixels = torch.einsum("chw,cr->rhw", latents, factors) + bias[:, None, None]
    pixels = _sized(((pixels + 1) / 2).nan_to_num(0.5).clamp(0, 1))
    return Image.fromarray(copy_to_host((pixels.permute(1, 2, 0) * 255).round().byte()).numpy())


def _sized(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels [3, H, W] with a longer side between `SMALLEST` and `LARGEST`."""
    height, width = pixels.shape[1:]
    scale = min(max(1.0, SMALLEST / max(height, width)), LARGEST / max(height, width))
    if scale == 1.0:
        return pixels
    size = max(1, round(scale * height)), max(1, round(scale * width))
    return F.interpolate(pixels[None], size, mode="bilinear", antialias=scale < 1)[0]
