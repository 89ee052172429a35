"""Turns a draft into the tensors of a training batch: drawn, blurred, encoded and labelled on the device.

Knows the frozen VAE and the frozen vision tower; knows no transformer.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.nn import functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from accel.weights.single_frame import SingleFrameVae
from pipelines.latents import encode_pixels
from training.data.layout import group_by_token
from training.samples.drafts import Draft
from training.samples.draw import DeviceScenes
from training.samples.scene_arrays import SceneArrays
from training.trainers.architecture import MERGED, PATCH, TOKEN, WIDTH, image_processor, vision_grid
from training.trainers.text import PromptTokens

_FRAMES = 2  # the tower takes a picture twice, as two frames
_BLURS = (8.0, 14.0)  # pixels that become one


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch on the device.

    `latents` [B, tokens, 64] are of the targets, `references` [B, pictures, tokens, 64] of the references, `vision`
    [B, pictures, 4, width] the vision tower's tokens of them, on a grid of patches. `labels` are grouped by token.
    """

    grid: tuple[int, int]
    latents: torch.Tensor
    references: torch.Tensor
    vision: torch.Tensor
    vision_grid: tuple[int, int]
    labels: torch.Tensor
    prompts: PromptTokens

    @property
    def pictures(self) -> int:
        """The number of references of each sample."""
        return self.references.shape[1]


class DraftEncoder:
    """Draws and encodes drafts on one device."""

    def __init__(self, vae: SingleFrameVae, encoder: Qwen2_5_VLForConditionalGeneration, device: torch.device) -> None:
        self._vae, self._encoder, self._device = vae, encoder, device
        processor: Any = image_processor()
        self._mean, self._std = (
            torch.tensor(values, device=device)[None, :, None, None]
            for values in (processor.image_mean, processor.image_std)
        )

    @torch.no_grad()
    def encode(self, draft: Draft) -> Batch:
        """Return the batch of a draft."""
        rows, columns = draft.order.grid
        targets = DeviceScenes(draft.targets, self._device)
        pixels = targets.draw(columns * TOKEN, rows * TOKEN)
        if draft.degraded.any():
            pixels = _blur(pixels, torch.from_numpy(draft.degraded).to(self._device))
        latents = encode_pixels(self._vae, pixels).float()
        shown = [self._draw(source, draft.order.grid) for source in draft.sources]
        patches = vision_grid(draft.order.grid)
        if shown:
            references = torch.stack([encode_pixels(self._vae, source).float() for source in shown], dim=1)
            vision = torch.stack([self.vision(source, patches) for source in shown], dim=1)
        else:
            references = latents.new_empty(len(latents), 0, *latents.shape[1:])
            vision = latents.new_empty(len(latents), 0, 0, WIDTH)
        labels = group_by_token(targets.labels(rows, columns))
        return Batch(draft.order.grid, latents, references, vision, patches, labels, draft.prompts)

    def vision(self, pixels: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Encode pixels in −1…1 to the vision tower's tokens [N, tokens, width], as the image processor does."""
        rows, columns = grid
        small = F.interpolate(pixels, (rows * PATCH, columns * PATCH), mode="bicubic", antialias=True)
        small = ((small + 1) * 127.5).round().clamp(0, 255) / 255
        patches = ((small - self._mean) / self._std).reshape(
            len(pixels), 3, rows // MERGED, MERGED, PATCH, columns // MERGED, MERGED, PATCH
        )
        patches = patches.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, _FRAMES, -1, -1)
        sizes = torch.tensor([[1, rows, columns]] * len(pixels), device=pixels.device)
        values = patches.reshape(len(pixels) * rows * columns, -1)
        found = cast("Any", self._encoder.model.get_image_features(cast("Any", values), cast("Any", sizes)))
        return torch.stack(list(found.pooler_output))

    def _draw(self, arrays: SceneArrays, grid: tuple[int, int]) -> torch.Tensor:
        return DeviceScenes(arrays, self._device).draw(grid[1] * TOKEN, grid[0] * TOKEN)


def _blur(pixels: torch.Tensor, degraded: torch.Tensor) -> torch.Tensor:
    """Blur some pictures: scale them down to an eighth or less, and up again. All of a batch have one scale."""
    height, width = pixels.shape[-2:]
    factor = float(torch.empty(()).uniform_(*_BLURS))
    small = F.interpolate(pixels, (round(height / factor), round(width / factor)), mode="area")
    blurred = F.interpolate(small, (height, width), mode="bicubic", align_corners=False).clamp(-1, 1)
    return torch.where(degraded[:, None, None, None], blurred, pixels)
