"""Trains a LoRA with which the checkpoint needs four steps and no guidance, as distilled LoRAs of large models do.

The frozen checkpoint denoises noise in many guided steps. The LoRA learns the straight lines between the points of
that way at which four steps stop. Knows captions, the schedule and the transformer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from pipelines.catalog.catalog import FOUR_STEPS, LIGHTNING
from pipelines.models.checkpoint import Checkpoint
from pipelines.models.loading.loader import load
from pipelines.request import Sampler
from pipelines.sampling.guidance import apply_cfg
from pipelines.sampling.sigmas import flow_sigmas, scheduler_config
from training.data.captions import random_caption
from training.data.random_scenes import HARD, random_scene
from training.trainers.adapters import encode_prompts, native_grid, predict_velocity
from training.trainers.architecture import SCHEDULER
from training.trainers.lora import fit_lora
from training.trainers.vae import LATENT_CHANNELS

RANK = 16
SAMPLER = Sampler(shift=FOUR_STEPS.shift, terminal=FOUR_STEPS.terminal)
_TRUE_CFG_SCALE = 4.0
_SUBSTEPS = 5  # of the checkpoint for each of the four
_RATE = 2e-3


@dataclass(frozen=True, slots=True)
class LightningBudget:
    """The length of the training: optimiser steps, samples per step, and scenes that the checkpoint denoises."""

    steps: int = 500
    batch: int = 40
    scenes: int = 800


def train_lightning(device: torch.device, folder: Path, budget: LightningBudget, seed: int) -> None:
    """Train on the checkpoint in `folder`, and save the file into it."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 3])
    base = load(str(folder.resolve()), device, torch.float32, with_vision=False)
    grid = native_grid(folder)
    sigmas = four_sigmas(grid[0] * grid[1]).to(device)
    texts = [random_caption(random_scene(rng, HARD), rng) for _ in range(budget.scenes)]
    parts = [texts[start : start + budget.batch] for start in range(0, len(texts), budget.batch)]
    points = torch.cat([guided_points(base, part, grid, sigmas).half().cpu() for part in tqdm(parts, desc="denoising")])

    def next_loss() -> torch.Tensor:
        rows = torch.from_numpy(rng.integers(len(texts), size=budget.batch))
        parts_of_way = torch.from_numpy(rng.integers(len(sigmas) - 1, size=budget.batch))
        start, end = (points[rows, parts_of_way + later].to(device).float() for later in (0, 1))
        high, low = sigmas[parts_of_way.to(device)], sigmas[parts_of_way.to(device) + 1]
        wanted = (end - start) / (low - high)[:, None, None]
        prompts = encode_prompts(base, [texts[row] for row in rows.tolist()])
        predicted = predict_velocity(base, start, high, prompts, [[(1, *grid)]] * len(start))
        return (predicted - wanted).square().mean()

    fit_lora(base.transformer, folder / LIGHTNING, RANK, _RATE, budget.steps, next_loss)


def four_sigmas(tokens: int) -> torch.Tensor:
    """Return the sigmas of the four steps, [5] from 1 to 0."""
    return flow_sigmas(FOUR_STEPS.steps or 0, tokens, scheduler_config(SCHEDULER, SAMPLER), SAMPLER.schedule)


@torch.no_grad()
def guided_points(base: Checkpoint, texts: Sequence[str], grid: tuple[int, int], sigmas: torch.Tensor) -> torch.Tensor:
    """Denoise new noise with guidance, and return where it is at each sigma, [B, sigmas, tokens, 64]."""
    states = torch.randn(len(texts), grid[0] * grid[1], 4 * LATENT_CHANNELS, device=sigmas.device)
    asked, nothing = encode_prompts(base, texts), encode_prompts(base, [" "] * len(texts))
    shapes = [[(1, *grid)]] * len(texts)
    points = [states]
    for high, low in pairwise(sigmas):
        for sigma, after in pairwise(torch.linspace(high.item(), low.item(), _SUBSTEPS + 1, device=sigmas.device)):
            level = sigma.expand(len(texts))
            velocities = (predict_velocity(base, states, level, prompts, shapes) for prompts in (asked, nothing))
            states = states + (after - sigma) * apply_cfg(*velocities, _TRUE_CFG_SCALE)
        points.append(states)
    return torch.stack(points, dim=1)
