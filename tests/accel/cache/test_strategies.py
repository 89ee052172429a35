"""The strategies beyond the wire, against plain loops that follow their papers' formulas on the same trained model."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accel.block_runner import BlockRunner
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import CacheReport
from accel.cache.strategies.base import FixedSchedule, PastForward, Predictor, Strategy
from accel.cache.strategies.dicache import DiCache
from accel.cache.strategies.easycache import EasyCache
from accel.cache.strategies.meancache import MeanCache
from accel.cache.strategies.table import STRATEGIES
from pipelines.latents import grid, noise
from pipelines.models.loader import Checkpoint
from pipelines.render import advance, begin
from pipelines.request import RenderRequest, Sampler
from pipelines.sampling.sigmas import flow_sigmas

SIDE = 128
Model = Callable[[torch.Tensor, float], torch.Tensor]


@pytest.fixture(scope="module")
def embeds(trained: Checkpoint) -> torch.Tensor:
    width = trained.transformer.config["joint_attention_dim"]
    return torch.randn((1, 9, width), generator=torch.Generator().manual_seed(1))


def start(checkpoint: Checkpoint) -> torch.Tensor:
    return noise(grid(SIDE, SIDE, checkpoint.vae), 16, seed=3)


def schedule(checkpoint: Checkpoint, steps: int) -> list[float]:
    return flow_sigmas(steps, 64, checkpoint.scheduler, "shifted").tolist()


def ours(checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan, steps: int) -> tuple[torch.Tensor, CacheReport]:
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


def runner(checkpoint: Checkpoint, embeds: torch.Tensor, latents: torch.Tensor, sigma: float) -> BlockRunner:
    return BlockRunner(
        checkpoint.transformer, latents, torch.tensor([sigma]), embeds, [grid(SIDE, SIDE, checkpoint.vae)]
    )


def velocity(checkpoint: Checkpoint, embeds: torch.Tensor, latents: torch.Tensor, sigma: float) -> torch.Tensor:
    whole = runner(checkpoint, embeds, latents, sigma)
    whole.run_to(whole.depth)
    return whole.output()


def allowed(plan: CachePlan, steps: int, step: int, letters: str) -> bool:
    run = len(letters) - len(letters.rstrip("R"))
    return plan.start <= step < min(plan.end, steps - 1) and run < plan.max_run


def l1(tensor: torch.Tensor) -> float:
    return tensor.abs().mean().item()


@torch.inference_mode()
def easycache(checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan, steps: int) -> tuple[torch.Tensor, str]:
    """ε = k·|x_t − x_(t−1)| / |v_a| adds up, k = |v_a − v_b| / |x_a − x_b|; v ≈ x + v_a − x_a; a and b are computed."""
    x, letters, total = start(checkpoint), "", 0.0
    computed: list[tuple[torch.Tensor, torch.Tensor]] = []
    last = x
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule(checkpoint, steps))):
        if len(computed) > 1:
            (xb, vb), (xa, va) = computed[-2:]
            total += l1(va - vb) / l1(xa - xb) * l1(x - last) / l1(va)
        if len(computed) > 1 and allowed(plan, steps, step, letters) and total < plan.threshold:
            v, letters = x + computed[-1][1] - computed[-1][0], letters + "R"
        else:
            v, letters, total = velocity(checkpoint, embeds, x, sigma), letters + "C", 0.0
            computed.append((x, v))
        last, x = x, x + v * (sigma_next - sigma)
    return x, letters


@torch.inference_mode()
def dicache(checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan, steps: int) -> tuple[torch.Tensor, str]:
    """The relative change of h_1 adds up; h_N ≈ h_0 + R_b + γ (R_a − R_b), γ = |p − p_b| / |p_a − p_b| in 1 to 1.5."""
    x, letters, total = start(checkpoint), "", 0.0
    computed: list[tuple[torch.Tensor, torch.Tensor]] = []
    last: torch.Tensor | None = None
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule(checkpoint, steps))):
        probed = runner(checkpoint, embeds, x, sigma)
        before = probed.image
        probed.run_to(1)
        first = probed.image
        total += l1(first - last) / l1(last) if last is not None else 0.0
        if last is not None and allowed(plan, steps, step, letters) and total < plan.threshold:
            residual, letters = computed[-1][1], letters + "R"
            if len(computed) > 1:
                (pb, rb), (pa, ra) = computed[-2:]
                gamma = min(max(l1(first - before - pb) / l1(pa - pb), 1.0), 1.5)
                residual = rb + gamma * (ra - rb)
            probed.skip_to(probed.depth, before + residual)
        else:
            probed.run_to(probed.depth)
            letters, total = letters + "C", 0.0
            computed.append((first - before, probed.image - before))
        last, x = first, x + probed.output() * (sigma_next - sigma)
    return x, letters


@torch.inference_mode()
def meancache(
    checkpoint: Checkpoint, embeds: torch.Tensor, computed: Sequence[int], windows: Sequence[int], steps: int
) -> tuple[torch.Tensor, str]:
    """v̄ = v_(t−1) − J·(σ_(t+1) − σ_t), J = (v_i − (x_t − x_i) / (σ_t − σ_i)) / (σ_t − σ_i), with i = t − window."""
    sigmas, letters = schedule(checkpoint, steps), ""
    x, vs = [start(checkpoint)], list[torch.Tensor]()
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if step in computed:
            v, letters = velocity(checkpoint, embeds, x[step], sigma), letters + "C"
        else:
            since = step - min(windows[step], step)
            mean = (x[step] - x[since]) / (sigma - sigmas[since])
            slope = (vs[since] - mean) / (sigma - sigmas[since])
            v, letters = vs[-1] - slope * (sigma_next - sigma), letters + "R"
        vs.append(v)
        x.append(x[step] + v * (sigma_next - sigma))
    return x[-1], letters


Loop = Callable[[Checkpoint, torch.Tensor, CachePlan, int], tuple[torch.Tensor, str]]


@pytest.mark.parametrize(
    ("loop", "plan"),
    [
        (easycache, CachePlan("easycache", 0.15, 2, 14, 3)),
        (easycache, CachePlan("easycache", 0.2, 0, 16, 2)),
        (dicache, CachePlan("dicache", 0.2, 2, 14, 3)),
        (dicache, CachePlan("dicache", 0.3, 0, 16, 2)),
    ],
)
def test_it_is_the_loop_of_its_paper(trained: Checkpoint, embeds: torch.Tensor, loop: Loop, plan: CachePlan) -> None:
    latents, report = ours(trained, embeds, plan, 16)
    expected, letters = loop(trained, embeds, plan, 16)
    assert report.patterns["cond"] == letters
    assert 3 <= letters.count("R") <= 11
    assert torch.allclose(latents, expected, atol=2e-4)


# of 50 steps, as UnicomAI/MeanCache lists them for Qwen-Image-2512
PUBLISHED = {
    0.5: [*range(16), 23, 31, 37, *range(44, 50)],
    0.66: [*range(10), 11, 19, 27, 35, 43, 47, 49],
    0.8: [0, 2, 4, 7, 14, 21, 28, 35, 42, 49],
}


def published_sigmas() -> list[float]:
    scheduler = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
    return flow_sigmas(50, 104 * 58, scheduler | {"shift_terminal": 0.02}, "shifted").tolist()


class TestMeanCache:
    @pytest.mark.parametrize("share", PUBLISHED)
    def test_at_the_published_steps_and_size_it_is_the_published_schedule(self, share: float) -> None:
        assert sorted(MeanCache(share).computed_steps(published_sigmas())) == PUBLISHED[share]
        assert len(PUBLISHED[share]) == round(50 * (1 - share))

    @pytest.mark.parametrize("window", [1, 2, 5])
    def test_it_is_the_loop_of_its_paper(
        self, trained: Checkpoint, embeds: torch.Tensor, monkeypatch: pytest.MonkeyPatch, window: int
    ) -> None:
        computed = MeanCache(0.66).computed_steps(schedule(trained, 16))
        monkeypatch.setattr(MeanCache, "_windows", lambda self, sigmas: dict.fromkeys(computed, window))
        latents, report = ours(trained, embeds, CachePlan("meancache", 0.66, 0, 16, 16), 16)
        expected, letters = meancache(trained, embeds, sorted(computed), [window] * 16, 16)
        assert report.patterns["cond"] == letters
        assert 5 <= letters.count("R") <= 11
        assert torch.allclose(latents, expected, atol=2e-3)

    def test_each_gap_has_its_own_window(self) -> None:
        windows = MeanCache(0.66)._windows(published_sigmas())
        assert {step: window for step, window in windows.items() if window > 1} == {9: 2, 43: 5, 47: 5}

    @given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
    def test_a_higher_threshold_never_computes_more(self, one: float, other: float, steps: int) -> None:
        sigmas = published_sigmas()[50 - steps :]
        found = [MeanCache(threshold).computed_steps(sigmas) for threshold in sorted((one, other))]
        assert len(found[0]) >= len(found[1])
        assert found[0] <= set(range(steps))
        assert steps == 0 or 0 in found[1]
        assert MeanCache(0.49).computed_steps(sigmas) == set(range(steps))

    def test_nothing_waits_for_the_device(
        self, trained: Checkpoint, embeds: torch.Tensor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = begin(
            RenderRequest("", "", None, SIDE, SIDE, 12, Sampler(), 4.0, 3, cache=CachePlan("meancache", 0.8, 0, 12, 9)),
            trained,
            noise=start(trained),
            cond=embeds,
            uncond=embeds[:, :4],
        )
        for name in ("tolist", "item", "cpu", "__bool__", "__float__"):
            monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(name))
        while state.step < 9:
            advance([state])
        monkeypatch.undo()
        assert state.cache is not None
        assert state.cache.report().reused_steps >= 3


class TestDoubt:
    """What a predictor makes of numbers that tell nothing."""

    def test_easycache_cannot_tell_from_one_forward(self) -> None:
        once = PastForward(0, torch.ones(1, 2, 3), torch.ones(1, 2, 3))
        assert EasyCache(1.0).distance(once.signal, once.signal, [once]) is None

    def test_easycache_of_two_equal_forwards_is_not_a_number(self) -> None:
        once = PastForward(0, torch.ones(1, 2, 3), torch.ones(1, 2, 3))
        change = EasyCache(1.0).distance(once.signal, once.signal, [once, once])
        assert change is not None
        assert change.isnan()

    def test_dicache_of_two_equal_forwards_stays_where_they_are(self) -> None:
        signal = torch.cat([torch.full((1, 2, 3), 5.0), torch.full((1, 2, 3), 2.0)])
        once = PastForward(0, signal, torch.full((1, 2, 3), 7.0))
        assert torch.equal(DiCache(1.0).predict(1, signal, [once, once], ()), once.value)

    @given(st.floats(-100, 100))
    def test_dicache_goes_no_further_than_its_limits(self, probe: float) -> None:
        def past(probe: float, value: float) -> PastForward:
            return PastForward(
                0, torch.cat([torch.zeros(1, 2, 3), torch.full((1, 2, 3), probe)]), torch.full((1, 2, 3), value)
            )

        foretold = DiCache(1.0).predict(2, past(probe, 0).signal, [past(1, 9), past(2, 18)], ()) + probe
        assert ((foretold >= 20 - 1e-4) & (foretold <= 25 + 1e-4)).all()  # R_b = 10 and R_a = 20, γ from 1 to 1.5


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_table_keeps_to_the_protocol(name: CacheName) -> None:
    made: Any = STRATEGIES[name](CachePlan(name, 0.5, 1, 50, 3, profile="embedded"), 20, 6)
    strategy: Strategy = made
    assert strategy.threshold == pytest.approx(0.5)
    assert not (strategy.one_decision_for_cfg and strategy.front), "a shared decision is taken before any block"
    assert not isinstance(made, FixedSchedule) or isinstance(made, Predictor)
    if isinstance(made, Predictor):
        assert made.history_length > 0
