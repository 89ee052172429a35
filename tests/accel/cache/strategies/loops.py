"""What the plain loops of the papers share: one image of the embedded checkpoint, its schedule and its velocity."""

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.report import CacheReport
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler
from pipelines.sampling.sigmas import flow_sigmas

SIDE = 128


def start(checkpoint: Checkpoint) -> torch.Tensor:
    return noise(grid(SIDE, SIDE, checkpoint.vae), 16, seed=3)


def schedule(checkpoint: Checkpoint, steps: int) -> list[float]:
    return flow_sigmas(steps, 64, checkpoint.scheduler, "shifted").tolist()


def render_with_cache(
    checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan, steps: int
) -> tuple[torch.Tensor, CacheReport]:
    """The latents and the report of our own denoising loop."""
    state = begin(
        RenderRequest("", "", None, SIDE, SIDE, steps, Sampler(), 1.0, 3, cache=plan),
        checkpoint,
        noise=start(checkpoint),
        cond=embeds,
        uncond=None,
    )
    assert state.cache is not None
    while state.step < state.total:
        advance([state])
    return state.latents, state.cache.report()


def make_runner(checkpoint: Checkpoint, embeds: torch.Tensor, latents: torch.Tensor, sigma: float) -> BlockRunner:
    shapes = [grid(SIDE, SIDE, checkpoint.vae)]
    return BlockRunner(checkpoint.transformer, latents, torch.tensor([sigma]), embeds, shapes)


def velocity(checkpoint: Checkpoint, embeds: torch.Tensor, latents: torch.Tensor, sigma: float) -> torch.Tensor:
    runner = make_runner(checkpoint, embeds, latents, sigma)
    runner.run_to(runner.depth)
    return runner.output()


def allowed(plan: CachePlan, steps: int, step: int, letters: str) -> bool:
    """Whether the plan's window and run cap allow reuse after the decisions in `letters`."""
    run = len(letters) - len(letters.rstrip("R"))
    return plan.start <= step < min(plan.end, steps - 1) and run < plan.max_run


def l1(tensor: torch.Tensor) -> float:
    return tensor.abs().mean().item()
