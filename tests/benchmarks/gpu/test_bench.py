import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch

from accel.kernels.compiled_block import SEPARATE, CompiledBlocks, compiled_graphs
from accel.weights.placement import HostShare
from accel.weights.quantized.quantize import describe_linears
from benchmarks.gpu import bench as gpu_bench
from benchmarks.gpu.bench import Bench, Case
from benchmarks.gpu.ceilings import Ceilings
from benchmarks.random_models import ModelSize
from tests.compiled import UntracedBlocks

CASE = Case(64, 2)


@pytest.fixture(scope="module")
def bench() -> Bench:
    bench = Bench(ModelSize.load("small"), torch.device("cpu"))
    bench.__dict__["ceilings"] = Ceilings(1e12, 1e12, 1e9, None)
    return bench


@pytest.fixture(scope="module")
def figures(bench: Bench) -> dict[str, Any]:
    return bench.render(CASE)


def test_a_render_has_its_figures(bench: Bench, figures: dict[str, Any]) -> None:
    assert figures["finite"]
    assert figures["steps"] == 2
    assert figures["seconds_per_step"] == pytest.approx(figures["seconds"] / 2, rel=0.01)
    floor = bench.ceilings.least_seconds(bench.work(64, guidance=True) * 2)
    assert figures["floor_seconds"] == pytest.approx(floor, abs=1e-4)


def test_quantized_latents_are_compared_with_the_exact_ones(bench: Bench, figures: dict[str, Any]) -> None:
    assert "latents_relative_difference" not in figures
    quantized = bench.render(CASE, "fp8")
    assert 0 < quantized["latents_relative_difference"] < 0.2


def test_a_lora_is_the_same_inside_and_outside_the_compiled_blocks(
    bench: Bench, figures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bench._compiled, SEPARATE, UntracedBlocks())
    adapted = replace(CASE, rank=4)
    bench.render(adapted)
    compiled = bench.render(replace(adapted, kernels=SEPARATE))
    assert compiled["latents_relative_difference"] < 1e-4
    apart = bench._latents[adapted, "unquantized"] - bench._latents[CASE, "unquantized"]
    assert apart.norm() / bench._latents[CASE, "unquantized"].norm() > 1e-3


def test_guidance_is_about_twice_the_work(bench: Bench) -> None:
    guided, plain = bench.work(64, guidance=True), bench.work(64, guidance=False)
    assert plain.total < guided.total < 2 * plain.total


@pytest.mark.parametrize(
    ("switched", "largest"),
    [
        (replace(CASE, batched=True), 1e-4),
        (replace(CASE, share=HostShare(tables=True)), 0.0),
        (replace(CASE, share=HostShare(1)), 0.0),
        (replace(CASE, attention="math"), 1e-4),
    ],
    ids=["one batch", "tables", "streamed", "attention"],
)
def test_a_switch_changes_the_latents_by_rounding_at_most(
    bench: Bench, figures: dict[str, Any], switched: Case, largest: float
) -> None:
    assert bench.render(switched)["latents_relative_difference"] <= largest


def test_a_cached_render_says_how_many_steps_it_reused(bench: Bench) -> None:
    cached = bench.render(Case(64, 12, cached=True))
    assert cached["reused_steps"] == 6  # of steps 3 to 9; every fourth one is computed
    assert cached["finite"]


def test_compiling_again_forgets_what_was_compiled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_bench, "CompiledBlocks", lambda kernels: UntracedBlocks(kernels=kernels))
    monkeypatch.setattr(bench, "_compiled", {})
    bench.render(replace(CASE, kernels=SEPARATE))
    graphs = compiled_graphs()
    figures = bench.compile_again(replace(CASE, kernels=SEPARATE))
    assert compiled_graphs() > graphs
    assert figures["first_seconds"] > 0
    assert figures["read_graphs"] == 0  # this backend writes no files


def test_a_failed_row_leaves_nothing_that_was_compiled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = CompiledBlocks("eager")
    monkeypatch.setattr(bench, "_compiled", {SEPARATE: broken})
    bench.models()
    bench.recover()
    assert bench._models is None
    assert bench.blocks(SEPARATE) is not broken


@pytest.mark.slow
def test_models_that_failed_on_their_way_are_not_taken_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(ModelSize.load("small"), torch.device("cpu"))

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    bench.models()
    with monkeypatch.context() as patched:
        patched.setattr(gpu_bench, "place_transformer", fails)
        with pytest.raises(RuntimeError, match="out of memory"):
            bench.models("fp8", HostShare(1))
    assert set(describe_linears(bench.models().checkpoint.transformer).layers) == {"float32"}


def test_models_leave_before_others_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(ModelSize.load("small"), torch.device("cpu"))
    bench.__dict__["ceilings"] = Ceilings(1e12, 1e12, 1e9, None)
    monkeypatch.setitem(bench._compiled, SEPARATE, UntracedBlocks())
    bench.render(replace(CASE, kernels=SEPARATE, rank=4))
    weight = weakref.ref(bench.models().checkpoint.transformer.proj_out.weight)
    block = weakref.ref(bench.models().checkpoint.transformer.transformer_blocks[0])
    assert weight() is not None
    bench.forget()
    assert (weight(), block()) == (None, None)


@pytest.mark.parametrize("known", [False, True])
def test_an_attention_at_some_lengths_is_timed(bench: Bench, known: bool) -> None:
    assert bench.attention_seconds(known=known)["seconds"] > 0


@pytest.mark.slow
def test_a_profile_of_one_step_has_the_products(bench: Bench) -> None:
    assert bench.profile(CASE, "fp8")["by_class"]["products"] > 0


def test_a_decoded_case_without_guidance(bench: Bench) -> None:
    assert bench.render(Case(64, 1, guidance=False, picture=True))["finite"]
