"""Shared by the comparisons with diffusers: a small request, its noise and embeddings, and the set-up."""

import inspect
from dataclasses import replace
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_qwenimage import AutoencoderKLQwenImage
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from pipelines.catalog.catalog import Mode, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import RenderRequest

WIDTH, HEIGHT = 96, 64
AREA = 64 * 64


def entry(mode: Mode) -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=AREA, condition_area=AREA)


def pipeline(kind: type[Any], checkpoint: Checkpoint, video_vae: AutoencoderKLQwenImage) -> Any:
    parts: dict[str, Any] = {
        "scheduler": FlowMatchEulerDiscreteScheduler.from_config(dict(checkpoint.scheduler)),
        "vae": torch.nn.Module.to(video_vae, checkpoint.dtype),
        "text_encoder": checkpoint.text_encoder,
        "tokenizer": checkpoint.tokenizer,
        "transformer": checkpoint.transformer,
    }
    if "processor" in inspect.signature(kind).parameters:
        parts["processor"] = None
    pipe = kind(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def embeddings(checkpoint: Checkpoint, seed: int, length: int) -> torch.Tensor:
    drawn = torch.randn((1, length, 32), generator=torch.Generator().manual_seed(seed))
    return drawn.to(checkpoint.dtype)


def drawn_noise(checkpoint: Checkpoint) -> torch.Tensor:
    return noise(grid(WIDTH, HEIGHT, checkpoint.vae), 16, seed=3)


def denoised(request: RenderRequest, checkpoint: Checkpoint, **encoded: Any) -> torch.Tensor:
    """The final latents of our loop."""
    state = begin(
        request,
        checkpoint,
        noise=drawn_noise(checkpoint),
        cond=embeddings(checkpoint, 1, 11),
        uncond=embeddings(checkpoint, 2, 7) if request.true_cfg_scale > 1 else None,
        **encoded,
    )
    while state.step < state.total:
        advance([state])
    return state.latents
