"""Whole renders whose branches of guidance run as one batch, against those whose branches run alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.weights.placement import HostShare, place_transformer
from pipelines.batching import BatchGains, BranchGain
from pipelines.image_render import ImageRender
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.plan import resident_plan
from pipelines.models.planning.admission import Admission, LearntPeaks
from pipelines.models.planning.entries import workload_of
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, evaluate_next
from pipelines.request import LoraUse, Reference
from tests.adapters import named, random_adapter, write
from tests.control import deeper
from tests.fakes import picture
from tests.pipelines.render.renders import asked, entry


def drawn(model: LoadedModel, mode: Any = "text_to_image", **changes: Any) -> torch.Tensor:
    state = prepare(asked(**changes), 0, model, entry(mode))
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "zero_cond_t"])
def models(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> tuple[LoadedModel, LoadedModel]:
    """A model whose branches run alone, and the same one whose branches run as a batch."""
    alone = deeper(checkpoint, 3, zero_cond_t=request.param)
    return LoadedModel(alone), LoadedModel(replace(alone, batch_branches=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"true_cfg_scale": 1.0},
        {"negative_prompt": "a green square that is long"},
        {"cache": CachePlan("fbcache", 1e9, 1, 50, 1)},
        {"cache": CachePlan("dbcache", 0.3, 1, 50, 1)},
    ],
    ids=str,
)
def test_the_latents_are_the_same_up_to_rounding(
    models: tuple[LoadedModel, LoadedModel], changes: dict[str, Any]
) -> None:
    alone, batch = (drawn(model, **changes) for model in models)
    torch.testing.assert_close(batch, alone, atol=2e-4, rtol=2e-4)


def test_an_edit_and_a_lora(models: tuple[LoadedModel, LoadedModel], tmp_path: Path) -> None:
    path = tmp_path / "reference.png"
    path.write_bytes(picture(60, 40))
    write(tmp_path / "a.safetensors", named(random_adapter(models[0].checkpoint.transformer)))
    loras = (LoraUse("a", tmp_path / "a.safetensors", 1.0),)
    changes = {"references": (Reference(path, "", 60, 40),), "loras": loras}
    alone, batch = (drawn(model, "edit", **changes) for model in models)
    torch.testing.assert_close(batch, alone, atol=2e-4, rtol=2e-4)


def test_streamed_weights_are_read_once_for_both(checkpoint: Checkpoint) -> None:
    streamed = deeper(checkpoint, 2)
    expected = drawn(LoadedModel(streamed))
    placed = place_transformer(streamed.transformer, torch.device("cpu"), HostShare(2, tables=True))
    found = drawn(LoadedModel(replace(streamed, placed=placed, batch_branches=True)))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=2e-4)


def measured(gain: float = 1.4, side: int = 64) -> BatchGains:
    return BatchGains("cpu", "2.13", (), branches=(BranchGain(asked().model, side, side, gain, 0.0),))


@pytest.mark.parametrize(
    ("gains", "changes", "batched"),
    [
        (measured(), {}, True),
        (measured(1.0), {}, False),
        (measured(side=32), {}, False),
        (measured(), {"true_cfg_scale": 1.0}, False),
        (measured(), {"cache": CachePlan("fbcache", 0.1, 1, 50, 1)}, False),
    ],
    ids=["gains", "does not gain", "too large", "without guidance", "a step cache"],
)
def test_a_measurement_decides_for_each_render(
    models: tuple[LoadedModel, LoadedModel], gains: BatchGains, changes: dict[str, Any], batched: bool
) -> None:
    model = replace(models[0], checkpoint=replace(models[0].checkpoint, branch_gains=gains))
    render = ImageRender(asked(**changes), 0, model, entry("text_to_image"))
    render.prepare()
    while not render.ready:
        render.advance()
    assert torch.equal(render.state.latents, drawn(models[batched], **changes))
    assert render.decode(lambda: None).batched_branches is batched
    assert model.engaged("a").batched_cfg == "auto"


@pytest.mark.parametrize(("scale", "batched"), [(4.0, True), (1.0, False)])
def test_an_image_without_guidance_has_no_branches_to_batch(
    models: tuple[LoadedModel, LoadedModel], scale: float, batched: bool
) -> None:
    render = ImageRender(asked(true_cfg_scale=scale), 0, models[1], entry("text_to_image"))
    render.prepare()
    while not render.ready:
        render.advance()
    assert render.decode(lambda: None).batched_branches is batched


def test_two_branches_need_the_memory_for_both(checkpoint: Checkpoint) -> None:
    plan, work, learnt = resident_plan("fp32"), workload_of(asked(), entry("text_to_image")), LearntPeaks()
    memory = Admission(plan, work, 0).expected_peak(work) + work.denoise_bytes
    admission = Admission(plan, work, memory, learnt)
    model = LoadedModel(replace(checkpoint, branch_gains=measured()), admission=admission)
    renders = []
    for factor in (1.0, 1.1):
        learnt.factor = factor
        renders.append(ImageRender(asked(), 0, model, entry("text_to_image")))
        renders[-1].prepare()
    assert [render.state.batch_branches for render in renders] == [True, False]
    assert renders[0].weights != renders[1].weights  # they have no step together


@torch.inference_mode()
def test_the_images_beside_change_no_bit_of_measured_branches(models: tuple[LoadedModel, LoadedModel]) -> None:
    def prepared() -> list[RenderState]:
        states = [prepare(asked(seed=seed), 0, models[0], entry("text_to_image")) for seed in range(3)]
        for state in states:
            state.batch_branches = True
        return states

    alone, together = prepared(), prepared()
    advance(together[:1])  # they are at different steps
    advance(alone[:1])
    for _ in range(2):
        advance(alone)
        evaluate_next(together)
        advance(together)
    assert all(torch.equal(one.latents, other.latents) for one, other in zip(alone, together, strict=True))
