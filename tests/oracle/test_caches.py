"""Our step caches against the libraries that they come from: the same decisions and, bit for bit, the same latents.

Only where those are right: text to image without ControlNets, and for cache-dit with guidance.
"""

from typing import Any

import pytest
import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from accel.gate import Gate
from accel.report import CacheReport
from accel.session import CacheSession
from accel.strategies.base import Strategy
from accel.strategies.dbcache import DBCache
from pipelines.catalog import EMBEDDED_FOLDER
from pipelines.latents import grid, noise
from pipelines.loading import Checkpoint, load
from pipelines.render import advance, begin
from pipelines.request import RenderRequest, Sampler

SIDE, STEPS = 128, 14


@pytest.fixture
def trained() -> Checkpoint:
    """Steps of random weights do not resemble each other. Loaded for each test, because the libraries change it."""
    return load(str(EMBEDDED_FOLDER), torch.device("cpu"), torch.float32, with_vision=False)


def embeddings(checkpoint: Checkpoint, seed: int) -> torch.Tensor:
    width = checkpoint.transformer.config["joint_attention_dim"]
    return torch.randn((1, 9, width), generator=torch.Generator().manual_seed(seed))


def ours(checkpoint: Checkpoint, strategy: Strategy, gate: Gate, scale: float) -> tuple[torch.Tensor, CacheReport]:
    state = begin(
        RenderRequest("", "", None, SIDE, SIDE, STEPS, Sampler(), scale, 3),
        checkpoint,
        noise=noise(grid(SIDE, SIDE, checkpoint.vae), 16, seed=3),
        cond=embeddings(checkpoint, 1),
        uncond=embeddings(checkpoint, 2) if scale > 1 else None,
    )
    state.cache = CacheSession("dbcache", strategy, gate)
    while state.step < state.total:
        advance([state])
    return state.latents, state.cache.report()


def pipeline(checkpoint: Checkpoint) -> Any:
    pipe = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(checkpoint.scheduler),  # pyright: ignore
        vae=None,  # pyright: ignore
        text_encoder=None,  # pyright: ignore
        tokenizer=None,  # pyright: ignore
        transformer=checkpoint.transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(pipe: Any, checkpoint: Checkpoint, scale: float) -> torch.Tensor:
    negative = {"negative_prompt_embeds": embeddings(checkpoint, 2)} if scale > 1 else {}
    return pipe(
        prompt_embeds=embeddings(checkpoint, 1),
        width=SIDE,
        height=SIDE,
        num_inference_steps=STEPS,
        true_cfg_scale=scale,
        latents=noise(grid(SIDE, SIDE, checkpoint.vae), 16, seed=3),
        output_type="latent",
        **negative,
    ).images


class Ungated(Gate):
    """The libraries compute the last step only if its distance says so."""

    def bars(self, step: int, run: int) -> Any:
        return super().bars(step, run) if step < self.start else "run_cap" if run >= self.max_run else None


def ungated(warm_up: int = 1, max_run: int = STEPS) -> Ungated:
    return Ungated(total=STEPS, start=warm_up, end=STEPS, max_run=max_run)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.3])
def test_fbcache_is_diffusers(trained: Checkpoint, threshold: float, scale: float) -> None:
    latents, report = ours(trained, DBCache(threshold, front=1), ungated(), scale)
    transformer: Any = trained.transformer
    transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    hook = transformer.transformer_blocks[0]._diffusers_hook.get_hook("fbc_leader_block_hook")
    patterns: dict[str, str] = {}
    decide = hook._should_compute_remaining_blocks

    def recorded(residual: torch.Tensor) -> bool:
        computed = decide(residual)
        branch = hook.state_manager.context.name
        patterns[branch] = patterns.get(branch, "") + ("C" if computed else "R")
        return computed

    hook._should_compute_remaining_blocks = recorded
    expected = theirs(pipeline(trained), trained, scale)
    assert report.patterns == patterns
    assert torch.equal(latents, expected)
    assert report.reused_forwards > 0 or threshold == 0.05


@pytest.mark.parametrize(("front", "back"), [(1, 0), (2, 0), (2, 2)])
@pytest.mark.parametrize(("threshold", "warm_up", "max_run"), [(0.2, 3, 2), (0.3, 2, 3)])
def test_dbcache_is_cache_dit(
    trained: Checkpoint, front: int, back: int, threshold: float, warm_up: int, max_run: int
) -> None:
    cache_dit = pytest.importorskip("cache_dit")
    latents, report = ours(trained, DBCache(threshold, front, back), ungated(warm_up, max_run), 4.0)
    pipe = pipeline(trained)
    config = cache_dit.DBCacheConfig(
        Fn_compute_blocks=front,
        Bn_compute_blocks=back,
        residual_diff_threshold=threshold,
        max_warmup_steps=warm_up,
        max_continuous_cached_steps=max_run,
        enable_separate_cfg=True,
    )
    cache_dit.enable_cache(pipe, cache_config=config)
    expected = theirs(pipe, trained, 4.0)
    summary = cache_dit.summary(pipe, logging=False)[0]
    for branch, reused in (("cond", summary.cached_steps), ("uncond", summary.cfg_cached_steps)):
        assert [step for step, letter in enumerate(report.patterns[branch]) if letter == "R"] == list(reused)
    assert torch.equal(latents, expected)
    assert report.reused_forwards > 0
