"""The losses of a batch that was made on the device: flow matching with weights, and layout.

Knows the joint model and batches; knows no schedule.
"""

import torch

from training.data.layout import foreground_tokens
from training.samples.encode import Batch
from training.trainers.joint import CHANGED, FOREGROUND_WEIGHT, JointModel, sample_sigmas
from training.trainers.text import encode_tokens

_KEPT, _CHANGED = 2.0, 6.0  # weights of the tokens of an edit, relative to plain background
_BASE_TOKENS = 64  # of 128 × 128 pixels, for which the noise levels are chosen


def batch_losses(model: JointModel, batch: Batch, *, head_alone: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the flow-matching loss and the layout loss, which trains the layout head alone if asked to."""
    clean = batch.latents
    count, tokens = clean.shape[:2]
    prompts = encode_tokens(batch.prompts, batch.vision, batch.vision_grid, model.encoder)
    noise = torch.randn_like(clean)
    sigma = shift_sigmas(sample_sigmas(count, clean.device), tokens)
    noisy = torch.lerp(clean, noise, sigma[:, None, None])
    predicted = model.predict(noisy, batch.references, sigma, prompts, batch.grid)
    error = (predicted.float() - (noise - clean)).square().mean(dim=-1)
    weights = token_weights(batch)
    return (error * weights).sum() / weights.sum(), model.layout_loss(batch.labels, head_alone=head_alone)


def shift_sigmas(sigmas: torch.Tensor, tokens: int) -> torch.Tensor:
    """Shift noise levels to a size: at four times the tokens, twice the noise hides as much (Esser et al. 2024)."""
    shift = (tokens / _BASE_TOKENS) ** 0.5
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def token_weights(batch: Batch) -> torch.Tensor:
    """Return the weight of each token's error, [B, tokens]: what an edit changes counts most."""
    shown = foreground_tokens(batch.labels)
    if not batch.pictures:
        return torch.where(shown, FOREGROUND_WEIGHT, 1.0)
    weights = torch.where(shown, _KEPT, 1.0)
    changed = (batch.latents - batch.references[:, 0]).square().mean(dim=-1) > CHANGED
    return torch.where(changed, _CHANGED, weights)
