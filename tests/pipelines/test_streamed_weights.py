"""Whole renders with streamed blocks and tables of the modulation: the same bits as with resident weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from accel.cache.curves import Polynomial
from accel.cache.plan import CachePlan
from accel.cache.strategies.table import STRATEGIES
from accel.weights.placement import HostShare, place_transformer
from accel.weights.quantized.quantize import describe_linears
from benchmarks.step_caches.host_syncs import HostSyncCounter
from pipelines.catalog.catalog import EMBEDDED_FOLDER, ModelEntry
from pipelines.catalog.models_file import load_catalog
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loading.loader import load
from pipelines.models.plan import ComponentPlan, Precision, WeightsPlan, resident_plan
from pipelines.models.residency.options import ModelOptions
from pipelines.render.prepare import prepare
from pipelines.render.steps import advance
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler, SolverName
from pipelines.sampling.solvers.registry import SOLVERS
from tests.adapters import named, random_adapter, write
from tests.control import deeper, save_controlnet
from tests.fakes import picture

CPU = torch.device("cpu")
DEPTH = 3
TEACACHE = CachePlan("teacache", 0.3, 1, 50, 2, curve=Polynomial((1.0, 0.0), max_distance=1e9))
Render = Callable[..., torch.Tensor]


@pytest.fixture(
    scope="module",
    params=[(False, torch.float32), (True, torch.bfloat16)],
    ids=["float32", "zero_cond_t in bfloat16"],
)
def models(request: pytest.FixtureRequest, weights: Path) -> tuple[LoadedModel, LoadedModel]:
    """One model with resident weights, and one whose blocks are streamed and whose modulation comes from tables."""
    zero_cond_t, dtype = request.param
    checkpoint = load(str(weights), CPU, dtype, with_vision=True)
    resident, streamed = (deeper(checkpoint, DEPTH, zero_cond_t=zero_cond_t) for _ in range(2))
    placed = place_transformer(streamed.transformer, CPU, HostShare(DEPTH, tables=True))
    return LoadedModel(resident), LoadedModel(replace(streamed, placed=placed))


@pytest.fixture(scope="module")
def resident(models: tuple[LoadedModel, LoadedModel]) -> Render:
    """Renders with resident weights, each request once."""
    return cache(lambda mode="text_to_image", **changes: rendered(models[0], mode, **changes))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    path = tmp_path_factory.mktemp("reference") / "reference.png"
    path.write_bytes(picture(60, 40))
    return Reference(path, "", 60, 40)


def entry(mode: str) -> ModelEntry:
    found = next(each for each in load_catalog().entries if each.mode == mode)
    return replace(found, reference_area=64 * 64, condition_area=64 * 64)


def rendered(model: LoadedModel, mode: str = "text_to_image", **changes: Any) -> torch.Tensor:
    request = RenderRequest("", "a red circle", None, 64, 48, 4, Sampler(), 1.0, 7)
    state = prepare(replace(request, **changes), 0, model, entry(mode))
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_step_but_the_first_waits_for_the_device(
    models: tuple[LoadedModel, LoadedModel], reference: Reference, solver: SolverName
) -> None:
    """The first one makes the table."""
    request = RenderRequest("", "a red circle", None, 64, 48, 5, Sampler(solver), 1.0, 7)
    request = replace(request, seed_image=reference, mask=reference, strength=0.9)
    state = prepare(request, 0, models[1], entry("text_to_image"))
    advance([state])
    with HostSyncCounter() as syncs:
        while state.step < state.total:
            advance([state])
    assert syncs.count == 0


def test_both_branches(models: tuple[LoadedModel, LoadedModel], resident: Render) -> None:
    assert torch.equal(rendered(models[1], true_cfg_scale=4.0), resident(true_cfg_scale=4.0))


@pytest.mark.parametrize("name", [None, *STRATEGIES])
def test_every_step_cache(models: tuple[LoadedModel, LoadedModel], resident: Render, name: Any) -> None:
    plan = None if name is None else TEACACHE if name == "teacache" else CachePlan(name, 0.4, 1, 50, 2)
    assert torch.equal(rendered(models[1], cache=plan), resident(cache=plan))


@pytest.mark.parametrize("solver", ["heun", "kdpm2", "dpmpp_2s", "dpmpp_sde", "unipc_3"])
def test_solvers_that_evaluate_between_two_sigmas(
    models: tuple[LoadedModel, LoadedModel], resident: Render, solver: Any
) -> None:
    sampler = Sampler(solver)
    assert torch.equal(rendered(models[1], sampler=sampler), resident(sampler=sampler))


@pytest.mark.parametrize("weight", [0.0, 0.7, -1.0])
def test_a_lora_on_the_modulation_layers(
    models: tuple[LoadedModel, LoadedModel], resident: Render, tmp_path: Path, weight: float
) -> None:
    path = tmp_path / "lora.safetensors"
    write(path, named(random_adapter(models[0].checkpoint.transformer)))
    uses = (LoraUse("lora", path, weight),)
    assert torch.equal(rendered(models[1], loras=uses), resident(loras=uses))
    assert torch.equal(rendered(models[1]), resident())
    assert torch.equal(resident(loras=uses), resident()) == (weight == 0)


def test_a_lora_beside_the_modulation_shares_the_table(
    models: tuple[LoadedModel, LoadedModel], resident: Render, tmp_path: Path
) -> None:
    adapter = random_adapter(models[0].checkpoint.transformer)
    beside = {name: pair for name, pair in adapter.items() if "attn" in name or "mlp" in name}
    path = tmp_path / "beside.safetensors"
    write(path, named(beside))
    model = LoadedModel(models[1].checkpoint)
    rendered(model)
    before = model.memory.usage()["modulation"]
    assert torch.equal(rendered(model, loras=(LoraUse("l", path),)), resident(loras=(LoraUse("l", path),)))
    assert model.memory.usage()["modulation"] == before


def test_a_controlnet_with_an_edit(
    models: tuple[LoadedModel, LoadedModel], resident: Render, reference: Reference, tmp_path: Path
) -> None:
    net = save_controlnet(models[0].checkpoint, tmp_path / "net", layers=2, seed=3)
    controls = (ControlUse("c", net, reference, start=1, end=3),)
    changes: dict[str, Any] = {
        "controls": controls,
        "references": (reference,),
        "cache": TEACACHE,
        "true_cfg_scale": 4.0,
    }
    expected = resident("edit", **changes)
    assert torch.equal(rendered(models[1], "edit", **changes), expected)


def test_an_image_after_one_that_was_interrupted(models: tuple[LoadedModel, LoadedModel], resident: Render) -> None:
    transformer: Any = models[1].checkpoint.transformer

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for module in (transformer.transformer_blocks[1].attn, transformer.transformer_blocks[0].img_mod):
        handle = module.register_forward_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            rendered(LoadedModel(models[1].checkpoint))
        handle.remove()
        assert torch.equal(rendered(models[1]), resident())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_the_embedded_model_as_a_plan_says(dtype: torch.dtype) -> None:
    plan = ModelOptions(streamed_blocks=99, tables=True).adjust(
        resident_plan("fp32" if dtype == torch.float32 else "bf16")
    )
    expected, streamed = (
        load(str(EMBEDDED_FOLDER), CPU, dtype, with_vision=False, plan=given) for given in (None, plan)
    )
    assert expected.placed is not None
    assert expected.placed.report.streamed_blocks == 0
    assert streamed.placed is not None
    report = streamed.placed.report
    assert report.streamed_blocks == len(streamed.transformer.transformer_blocks)
    assert report.tables
    images = [rendered(LoadedModel(each), steps=2) for each in (expected, streamed)]
    assert torch.equal(*images)


@pytest.mark.parametrize("precision", ["fp8", "nf4"])
def test_quantized_layers_are_streamed_as_they_are(weights: Path, precision: Precision) -> None:
    part = ComponentPlan("fp32")
    resident = WeightsPlan(ComponentPlan(precision), part, part, tables=True)
    streamed = replace(resident, transformer=ComponentPlan(precision, streamed_blocks=99))
    both = [load(str(weights), CPU, torch.float32, with_vision=False, plan=plan) for plan in (resident, streamed)]
    for each in both:
        forms = describe_linears(each.transformer.transformer_blocks).layers
        assert precision in {form.split("/")[0] for form in forms}
    assert both[1].placed is not None
    assert both[1].placed.report.streamed_blocks == len(both[1].transformer.transformer_blocks)
    images = [rendered(LoadedModel(each), steps=2) for each in both]
    assert torch.equal(*images)
