"""Our step caches against the libraries that they come from: the same decisions and, bit for bit, the same latents.

Only where those are right: text to image without ControlNets, and for cache-dit with guidance. Where they are not, a
test shows it.
"""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import cache_dit
import pytest
import torch
from diffusers.hooks.first_block_cache import FirstBlockCacheConfig
from diffusers.pipelines.qwenimage.pipeline_qwenimage import QwenImagePipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from accel.cache.evaluation import Evaluation, Forward
from accel.cache.gate import Gate
from accel.cache.report import CacheReport
from accel.cache.session import CacheSession
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler
from tests.control import deeper

SIDE, STEPS = 64, 10


@pytest.fixture
def trained(trained: Checkpoint) -> Checkpoint:
    """Trained weights, because steps of random ones are not similar. A copy for each test: the libraries change it."""
    return replace(trained, transformer=deepcopy(trained.transformer))


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
        scheduler=FlowMatchEulerDiscreteScheduler.from_config(dict(checkpoint.scheduler)),  # pyright: ignore
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
    """The libraries decide on the last step by its distance too."""

    def reason_to_compute(self, step: int, run: int) -> Any:
        return super().reason_to_compute(step, run) if step < self.start else "run_cap" if run >= self.max_run else None


def ungated(warm_up: int = 1, max_run: int = STEPS) -> Ungated:
    return Ungated(total=STEPS, start=warm_up, end=STEPS, max_run=max_run)


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("threshold", [pytest.param(0.05, marks=pytest.mark.slow), 0.2])
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


@pytest.mark.parametrize(
    ("front", "back", "threshold", "warm_up", "max_run"),
    [
        (1, 0, 0.2, 3, 2),
        (2, 2, 0.2, 3, 2),
        pytest.param(4, 0, 0.2, 3, 2, marks=pytest.mark.slow),
        pytest.param(2, 2, 0.3, 2, 3, marks=pytest.mark.slow),
    ],
)
def test_dbcache_is_cache_dit(
    trained: Checkpoint, front: int, back: int, threshold: float, warm_up: int, max_run: int
) -> None:
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


class TestWhereTheLibrariesAreWrong:
    """The reasons for our own block runner: each fault is shown in the library, and not here."""

    SHAPE = (1, 4, 4)
    TOKENS = 16

    @pytest.fixture
    def model(self, checkpoint: Checkpoint) -> Any:
        return deeper(checkpoint, 4).transformer

    def asked(self, moved: float, seed: int = 1) -> torch.Tensor:
        drawn = [torch.randn((1, self.TOKENS, 64), generator=torch.Generator().manual_seed(each)) for each in (seed, 9)]
        return drawn[0] + moved * drawn[1]

    def answered(self, model: Any, tokens: torch.Tensor, added: Any = None) -> torch.Tensor:
        rows = tokens.shape[0]
        with torch.inference_mode(), model.cache_context("cond"):
            return model(
                hidden_states=tokens,
                timestep=torch.full((rows,), 0.5),
                encoder_hidden_states=embeddings_of(model).expand(rows, -1, -1),
                encoder_hidden_states_mask=None,
                img_shapes=[[self.SHAPE]] * rows,
                controlnet_block_samples=added,
                return_dict=False,
            )[0]

    def ours(self, session: CacheSession, model: Any, tokens: torch.Tensor, step: int, added: Any = None) -> Any:
        with torch.inference_mode():
            forwards = [Forward("cond", embeddings_of(model), lambda: added)]
            return session.evaluate(Evaluation(model, tokens, torch.tensor([0.5]), [self.SHAPE], forwards, step))[0]

    def session(self, threshold: float) -> CacheSession:
        return CacheSession("fbcache", DBCache(threshold, front=1), Gate(9, 0, 9, 9))

    def test_diffusers_adds_controlnets_twice_to_a_reused_step(self, model: Any) -> None:
        added = [0.5 * torch.randn((1, self.TOKENS, 32), generator=torch.Generator().manual_seed(7))] * 2
        session, tokens = self.session(1e9), self.asked(0)
        computed = self.ours(session, model, tokens, 0, added)
        reused = self.ours(session, model, tokens, 1, added)
        assert session.report().patterns == {"cond": "CR"}
        assert torch.allclose(reused, computed, rtol=1e-4, atol=1e-4)
        model.enable_cache(FirstBlockCacheConfig(threshold=1e9))
        first, second = self.answered(model, tokens, added), self.answered(model, tokens, added)
        assert torch.equal(first, computed)
        assert (second - first).abs().mean() > 0.05 * first.abs().mean()

    def test_diffusers_keeps_what_an_aborted_request_left(self, model: Any) -> None:
        other = self.asked(0, seed=2)
        expected = self.answered(model, other)
        aborted = self.session(1e9)
        self.ours(aborted, model, self.asked(0), 0)
        assert torch.equal(self.ours(self.session(1e9), model, other, 0), expected)
        model.enable_cache(FirstBlockCacheConfig(threshold=1e9))
        self.answered(model, self.asked(0))  # the first step of a request that never ends
        assert not torch.allclose(self.answered(model, other), expected, atol=1e-2)

    def test_diffusers_takes_one_decision_for_all_rows_of_a_batch(self, model: Any) -> None:
        near, far = [self.asked(0), self.asked(0.01)], [self.asked(0, seed=2), self.asked(3, seed=2)]
        alone = []
        for row in (near, far):
            session = self.session(0.3)
            alone.append([self.ours(session, model, tokens, step) for step, tokens in enumerate(row)])
            assert session.report().patterns["cond"] == ("CR" if row is near else "CC")
        model.enable_cache(FirstBlockCacheConfig(threshold=0.3))
        self.answered(model, torch.cat([near[0], far[0]]))
        both = self.answered(model, torch.cat([near[1], far[1]]))
        reused = [torch.allclose(both[row], alone[row][1][0], atol=1e-4) for row in range(2)]
        assert reused in ([True, False], [False, True]), "one of the rows got the other's decision"

    def test_cache_dit_takes_steps_for_branches_where_there_is_no_guidance(self, trained: Checkpoint) -> None:
        _, report = ours(trained, DBCache(0.3, front=1), ungated(2, 2), 1.0)
        pipe = pipeline(trained)
        config = cache_dit.DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            residual_diff_threshold=0.3,
            max_warmup_steps=2,
            max_continuous_cached_steps=2,
            enable_separate_cfg=True,  # its default for Qwen-Image
        )
        cache_dit.enable_cache(pipe, cache_config=config)
        theirs(pipe, trained, 1.0)
        summary = cache_dit.summary(pipe, logging=False)[0]
        assert max([0, *summary.cached_steps, *summary.cfg_cached_steps]) < STEPS // 2
        assert report.reused_steps > len(summary.cached_steps)


def embeddings_of(model: Any) -> torch.Tensor:
    return torch.randn((1, 5, model.config["joint_attention_dim"]), generator=torch.Generator().manual_seed(4))
