"""Step caches in the denoising loop: samplers, ControlNets, LoRAs, references and other requests around them."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch

from accel.cache.curves import Polynomial
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import CacheReport
from accel.cache.strategies.table import STRATEGIES
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.receipt import make_receipt, read_receipt
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler, SolverName
from tests.adapters import named, random_adapter, write
from tests.control import deeper, save_blockwise, save_controlnet
from tests.fakes import picture

SPECIAL: dict[CacheName, CachePlan] = {
    "teacache": CachePlan("teacache", 0.3, 1, 50, 2, curve=Polynomial((1.0, 0.0), max_distance=1e9)),
    "meancache": CachePlan("meancache", 0.8, 1, 50, 9),
    "easycache": CachePlan("easycache", 0.1, 1, 50, 2),
}
# A new strategy is tested without a line here.
PLANS = {name: SPECIAL.get(name, CachePlan(name, 0.4, 1, 50, 2)) for name in STRATEGIES}
FB = PLANS["fbcache"]
EACH = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
# What the loop does whatever the strategy: two are fast. The strategies themselves are in the tests of `accel`.
TWO = ("fbcache", "teacache")
TWO_FAST = pytest.mark.parametrize(
    "plan", [pytest.param(plan, id=name, marks=[pytest.mark.slow] * (name not in TWO)) for name, plan in PLANS.items()]
)

STEPS, DEPTH = 6, 3
PATTERN = "CRRCRC"  # of a plan that reuses whatever it may

Uncached = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> LoadedModel:
    return LoadedModel(deeper(checkpoint, DEPTH))


@pytest.fixture(scope="module")
def uncached(model: LoadedModel) -> Uncached:
    """Renders a request without a cache, each one once. Takes what `begun` takes."""

    @cache
    def rendered(mode: str = "text_to_image", **changes: Any) -> torch.Tensor:
        return ended(begun(model, None, mode, **changes))

    return rendered


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("reference") / "reference.png"
    path.write_bytes(picture(60, 40))
    return Reference(path, "", 60, 40)


def entry(mode: str = "text_to_image") -> ModelEntry:
    found = next(e for e in load_catalog().entries if e.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def begun(model: LoadedModel, cache: CachePlan | None, mode: str = "text_to_image", **changes: Any) -> RenderState:
    request = RenderRequest("", "a red circle", None, 64, 48, STEPS, Sampler(), 4.0, 7, cache=cache)
    return prepare(replace(request, **changes), 0, model, entry(mode))


def ended(state: RenderState) -> torch.Tensor:
    while state.step < state.total:
        advance([state])
    return state.latents


def report(state: RenderState) -> CacheReport:
    assert state.cache is not None
    return state.cache.report()


# The random model moves far at every step: what may be reused there is decided by wide thresholds.
def wide(plan: CachePlan) -> CachePlan:
    return replace(plan, threshold=1e9)


@EACH
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_a_threshold_of_zero_is_no_cache_bit_for_bit(
    model: LoadedModel, uncached: Uncached, plan: CachePlan, scale: float
) -> None:
    state = begun(model, replace(plan, threshold=0.0), true_cfg_scale=scale)
    assert torch.equal(ended(state), uncached(true_cfg_scale=scale))
    assert report(state).reused_forwards == 0
    assert len(report(state).decisions) == STEPS * (2 if scale > 1 else 1)


@pytest.mark.parametrize("plan", [PLANS["fbcache"], PLANS["dbcache"]], ids=["fbcache", "dbcache"])
@pytest.mark.parametrize("mode", ["text_to_image", "edit"])
def test_reuse_changes_the_picture_a_little(
    model: LoadedModel, uncached: Uncached, reference: Reference, plan: CachePlan, mode: str
) -> None:
    pictures = () if mode == "text_to_image" else (reference,)
    state = begun(model, wide(plan), mode, references=pictures)
    cached, full = ended(state), uncached(mode, references=pictures)
    assert report(state).patterns == {"cond": PATTERN, "uncond": PATTERN}
    assert not torch.equal(cached, full)
    assert cached.isfinite().all()


@pytest.mark.parametrize("name", get_args(SolverName))
def test_every_sampler_runs_on_a_cache(model: LoadedModel, name: SolverName) -> None:
    state = begun(model, wide(FB), sampler=Sampler(name), true_cfg_scale=1.0)
    assert ended(state).isfinite().all()
    decisions = report(state).decisions
    assert {decision.step for decision in decisions} == set(range(STEPS))
    assert any(decision.reused for decision in decisions)
    assert all(decision.reason in ("first", "last") for decision in decisions if decision.step in (0, STEPS - 1))


def test_the_two_forwards_of_a_heun_step_have_each_a_memory(model: LoadedModel) -> None:
    state = begun(model, wide(FB), sampler=Sampler("heun"), true_cfg_scale=1.0)
    ended(state)
    for evaluation in (0, 1):
        decided = [d for d in report(state).decisions if d.evaluation == evaluation]
        pattern = "".join("R" if decision.reused else "C" for decision in decided)
        assert pattern == PATTERN[: len(pattern)]
        assert len(pattern) == STEPS - evaluation


@TWO_FAST
def test_others_do_not_show(model: LoadedModel, plan: CachePlan) -> None:
    alone = [ended(begun(model, wide(plan), seed=seed, true_cfg_scale=1.0)) for seed in (1, 2)]
    together = [begun(model, wide(plan), seed=seed, true_cfg_scale=1.0) for seed in (1, 2)]
    for _ in range(STEPS):
        advance(together)
    turns = [begun(model, wide(plan), seed=seed, true_cfg_scale=1.0) for seed in (1, 2)]
    for step in range(STEPS):
        for state in turns if step % 2 else turns[::-1]:
            advance([state])
    for number, expected in enumerate(alone):
        assert torch.equal(together[number].latents, expected)
        assert torch.equal(turns[number].latents, expected)


def test_an_aborted_request_leaves_no_trace(model: LoadedModel) -> None:
    expected = ended(begun(model, wide(FB)))
    for steps in (1, 2, STEPS - 1):
        aborted = begun(model, wide(FB), seed=9)
        for _ in range(steps):
            advance([aborted])
        del aborted
        assert torch.equal(ended(begun(model, wide(FB))), expected)
    blocks = model.checkpoint.transformer.modules()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in blocks)


@pytest.fixture(scope="module")
def use(model: LoadedModel, reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> ControlUse:
    return ControlUse("net", save_controlnet(model.checkpoint, tmp_path_factory.mktemp("net"), 2, seed=1), reference)


@pytest.fixture(scope="module")
def two(model: LoadedModel, use: ControlUse, tmp_path_factory: pytest.TempPathFactory) -> tuple[ControlUse, ControlUse]:
    other = save_controlnet(model.checkpoint, tmp_path_factory.mktemp("other"), 1, seed=2)
    return use, replace(use, name="other", weights=other, weight=0.5, mode="controlnet")


@pytest.fixture(scope="module")
def blockwise(model: LoadedModel, use: ControlUse, tmp_path_factory: pytest.TempPathFactory) -> ControlUse:
    path = tmp_path_factory.mktemp("blockwise") / "canny.safetensors"
    return replace(use, name="blockwise", weights=save_blockwise(model.checkpoint, path, seed=3))


class TestControlNets:
    @TWO_FAST
    def test_a_threshold_of_zero_is_no_cache(
        self, model: LoadedModel, uncached: Uncached, two: tuple[ControlUse, ControlUse], plan: CachePlan
    ) -> None:
        cached = ended(begun(model, replace(plan, threshold=0.0), controls=two, true_cfg_scale=1.0))
        assert torch.equal(cached, uncached(controls=two, true_cfg_scale=1.0))

    @TWO_FAST
    def test_a_threshold_of_zero_is_no_cache_for_blockwise_nets(
        self, model: LoadedModel, uncached: Uncached, use: ControlUse, blockwise: ControlUse, plan: CachePlan
    ) -> None:
        both = (replace(blockwise, mode="controlnet"), use)
        cached = ended(begun(model, replace(plan, threshold=0.0), controls=both, true_cfg_scale=1.0))
        assert torch.equal(cached, uncached(controls=both, true_cfg_scale=1.0))
        assert not torch.equal(cached, uncached(controls=(use,), true_cfg_scale=1.0))

    @TWO_FAST
    def test_a_blockwise_net_runs_behind_the_blocks_that_run(
        self, model: LoadedModel, blockwise: ControlUse, plan: CachePlan
    ) -> None:
        state, runs = begun(model, wide(plan), controls=(blockwise,)), 0

        def count(*_: Any) -> None:
            nonlocal runs
            runs += 1

        handles = [block.register_forward_hook(count) for block in state.controls[0].net.controlnet_blocks]  # pyright: ignore
        assert ended(state).isfinite().all()
        for handle in handles:
            handle.remove()
        assert runs == report(state).blocks_run

    @TWO_FAST
    def test_a_net_is_run_where_a_block_is_and_once_for_both_branches(
        self, model: LoadedModel, use: ControlUse, plan: CachePlan
    ) -> None:
        state, runs = begun(model, wide(plan), controls=(use,)), []
        handle = state.controls[0].net.register_forward_hook(lambda *_: runs.append(state.step))
        ended(state)
        handle.remove()
        blocks = {decision.step for decision in report(state).decisions if not decision.reused}
        if STRATEGIES[plan.strategy](plan, STEPS, DEPTH).front:
            blocks = set(range(STEPS))
        assert runs == sorted(blocks)

    @TWO_FAST
    def test_the_first_step_after_a_change_is_computed(
        self, model: LoadedModel, use: ControlUse, plan: CachePlan
    ) -> None:
        use = replace(use, start=2, end=4)
        state = begun(model, wide(plan), controls=(use,), true_cfg_scale=1.0)
        ended(state)
        reasons = {decision.step: decision.reason for decision in report(state).decisions}
        assert {reasons.pop(2), reasons.pop(4)} <= {"controls", "timetable"}
        assert "controls" not in reasons.values()


@pytest.fixture(scope="module")
def lora(model: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> LoraUse:
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    return LoraUse("lora", write(path, named(random_adapter(model.checkpoint.transformer, 1))))


@TWO_FAST
def test_a_lora_is_in_what_is_computed(model: LoadedModel, uncached: Uncached, plan: CachePlan, lora: LoraUse) -> None:
    given: dict[str, Any] = {"loras": (lora,), "true_cfg_scale": 1.0}
    cached = ended(begun(model, replace(plan, threshold=0.0), **given))
    assert torch.equal(cached, uncached(**given))
    plain = ended(begun(model, wide(plan), true_cfg_scale=1.0))
    assert not torch.equal(ended(begun(model, wide(plan), **given)), plain)
    assert not any(module._forward_hooks for module in model.checkpoint.transformer.modules())


@TWO_FAST
@pytest.mark.parametrize("masked", [False, True])
def test_with_a_seed_image_the_executed_steps_count(
    model: LoadedModel, uncached: Uncached, reference: Reference, plan: CachePlan, masked: bool
) -> None:
    mask = reference if masked else None
    given: dict[str, Any] = {"seed_image": reference, "mask": mask, "steps": 8, "strength": 0.75, "true_cfg_scale": 1.0}
    state = begun(model, wide(plan), **given)
    ended(state)
    letters = report(state).patterns["cond"]
    assert len(letters) == state.total == 6
    assert letters[0] == letters[-1] == "C"
    assert "R" in letters
    cached = ended(begun(model, replace(plan, threshold=0.0), **given))
    assert torch.equal(cached, uncached(**given))


def test_blocks_compiled_one_by_one_are_one_graph_each(model: LoadedModel) -> None:
    """Compiled whole without a break; with a backend that changes no number, so that nothing else may change any."""
    expected = ended(begun(model, wide(FB), true_cfg_scale=1.0))
    compiled: Any = deeper(model.checkpoint, DEPTH).transformer
    for block in compiled.transformer_blocks:
        block.compile(backend="eager", fullgraph=True)
    of_blocks = LoadedModel(replace(model.checkpoint, transformer=compiled))
    state = begun(of_blocks, wide(FB), true_cfg_scale=1.0)
    assert torch.equal(ended(state), expected)


def test_the_receipt_holds_the_plan_and_the_decisions_and_no_time(model: LoadedModel) -> None:
    request = RenderRequest("runware:108@1", "a", None, 64, 48, STEPS, Sampler(), 1.0, 7, cache=wide(FB))
    texts = []
    for _ in range(2):
        generated = generate(request, 0, model, entry(), lambda step, total: None)
        receipt = make_receipt(
            request, 7, ("PNG", 95), replace(entry(), weights="embedded"), "cpu", "float32", generated.cache
        )
        texts.append(receipt.to_json())
    assert texts[0] == texts[1]
    found = read_receipt(texts[0])
    assert found.request.cache == wide(FB)
    assert found.cache == {"cond": PATTERN}


def test_a_cache_that_never_acted_says_so(model: LoadedModel) -> None:
    request = RenderRequest("", "a", None, 64, 48, 3, Sampler(), 1.0, 7, cache=replace(FB, threshold=0.0))
    assert generate(request, 0, model, entry(), lambda step, total: None).warnings == (
        "The cache 'fbcache' reused none of the 3 steps.",
    )


def drawn(trained: Checkpoint, cache: CachePlan | None) -> tuple[np.ndarray, CacheReport | None]:
    native = load_catalog().with_embedded_weights().entries[0]
    prompt = "a large red circle at the top left on a blue background"
    request = RenderRequest(native.air, prompt, None, 128, 128, 20, Sampler(), 1.0, 3, cache=cache)
    generated = generate(request, 0, LoadedModel(trained), native, lambda step, total: None)
    return np.asarray(generated.image, dtype=np.float64), generated.cache


@pytest.fixture(scope="module")
def full(trained: Checkpoint) -> np.ndarray:
    return drawn(trained, None)[0]


class TestTrainedCheckpoint:
    """The embedded checkpoint's steps resemble each other as those of real weights do."""

    @TWO_FAST
    def test_images_of_a_batch_are_as_each_alone(self, trained: Checkpoint, plan: CachePlan) -> None:
        native = load_catalog().with_embedded_weights().entries[0]
        request = RenderRequest(native.air, "a red circle", None, 64, 64, 5, Sampler(), 4.0, 5, 2, cache=plan)
        batch = [prepare(request, index, LoadedModel(trained), native) for index in range(2)]
        while batch[0].step < batch[0].total:
            advance(batch)
        for index, state in enumerate(batch):
            single = prepare(replace(request, seed=5 + index, count=1), 0, LoadedModel(trained), native)
            assert torch.equal(ended(single), state.latents)
            assert report(single).decisions == report(state).decisions

    @pytest.mark.parametrize(
        ("name", "thresholds"),
        [
            ("dbcache", (0.11, 0.25, 9)),
            pytest.param("fbcache", (0.11, 0.25, 9), marks=pytest.mark.slow),
            pytest.param("teacache", (0.11, 0.25, 9), marks=pytest.mark.slow),
            pytest.param("easycache", (0.04, 0.08, 9), marks=pytest.mark.slow),
            pytest.param("dicache", (0.11, 0.25, 9), marks=pytest.mark.slow),
        ],
    )
    def test_the_more_reuse_the_further_from_the_full_picture(
        self, trained: Checkpoint, full: np.ndarray, name: CacheName, thresholds: tuple[float, float, float]
    ) -> None:
        profile = "embedded" if name == "teacache" else None
        plans = [
            CachePlan(name, threshold, 3, 18, run, profile)
            for threshold, run in zip(thresholds, (1, 3, 5), strict=True)
        ]
        reused, psnr = [], []
        for plan in plans:
            cached, told = drawn(trained, plan)
            assert told is not None
            reused.append(told.reused_forwards)
            psnr.append(10 * np.log10(255**2 / ((cached - full) ** 2).mean()))
        assert 0 < reused[0] < reused[1] < reused[2], (reused, psnr)
        assert psnr[0] > psnr[1] > psnr[2], (reused, psnr)
        assert reused[1] >= 5, "of 20 forwards, at the wire's default"
        assert psnr[1] > 20
