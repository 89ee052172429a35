"""Additions to compiled blocks against the hooks that they replace."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from accel.kernels.compiled_block import CompiledBlocks
from accel.kernels.low_rank import LAYERS
from pipelines.lora.apply import LoraSet, select_loras
from pipelines.lora.deltas import BiasDiff, LoRA
from pipelines.lora.low_rank import in_graph, low_rank_by_block
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import LoraUse, RenderRequest, Sampler
from tests.adapters import named, random_adapter, write
from tests.compiled import UntracedBlocks

RANKS = ((1, 4), (2, 8))  # a seed and a rank for each file
REQUEST = RenderRequest("a", "", None, 48, 32, 2, Sampler(), 1.0, 7)


@pytest.fixture
def uses(checkpoint: Checkpoint, tmp_path: Path) -> list[LoraUse]:
    transformer = checkpoint.transformer
    files = [
        write(tmp_path / f"{seed}.safetensors", named(random_adapter(transformer, seed, rank))) for seed, rank in RANKS
    ]
    return [LoraUse(str(number), path, 0.7 - number) for number, path in enumerate(files)]


def rendered(checkpoint: Checkpoint, loras: LoraSet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    noise, cond = torch.randn(1, 6, 64, generator=generator), torch.randn(1, 7, 32, generator=generator)
    state = begin(REQUEST, checkpoint, noise=noise, cond=cond, uncond=None, loras=loras)
    while state.step < state.total:
        advance([state])
    return state.latents


@pytest.mark.parametrize(
    ("blocks", "number"),
    [
        (UntracedBlocks(), slice(1, 2)),
        (UntracedBlocks(), slice(2)),
        pytest.param(CompiledBlocks("eager"), slice(2), marks=pytest.mark.slow),
    ],
)
def test_they_do_what_the_hooks_do(
    checkpoint: Checkpoint, uses: list[LoraUse], blocks: CompiledBlocks, number: slice
) -> None:
    compiled = replace(checkpoint, compiled=blocks)
    hooks, added = (select_loras(uses[number], LoadedModel(each)) for each in (checkpoint, compiled))
    assert (hooks.low_rank, added.low_rank is None) == (None, False)
    plain = rendered(checkpoint, LoraSet())
    expected, found = rendered(checkpoint, hooks), rendered(compiled, added)
    assert (expected - plain).abs().max() > 1e-2
    assert torch.allclose(expected, found, atol=1e-5)


def test_hooks_stay_outside_the_blocks_alone(checkpoint: Checkpoint, uses: list[LoraUse]) -> None:
    loras = select_loras(uses, LoadedModel(replace(checkpoint, compiled=CompiledBlocks("eager"))))
    assert loras.low_rank is not None
    names = {module: name for name, module in checkpoint.transformer.named_modules()}
    outside = {names[module] for module, _ in loras.low_rank.hooks}
    assert outside == {names[module] for module, _ in loras.hooks if not in_graph(names[module])}
    assert {"img_in", "transformer_blocks.0.img_mod.1"} <= outside
    assert all(set(added) == set(LAYERS) for added in loras.low_rank.blocks.values())


def test_other_deltas_have_no_place_in_the_graph(checkpoint: Checkpoint) -> None:
    lora, bias = LoRA(torch.ones(2, 32), torch.ones(32, 2)), BiasDiff(torch.ones(32))
    name = "transformer_blocks.0.attn.to_q"
    assert low_rank_by_block({name: [(lora, 1.0), (bias, 1.0)]}, checkpoint.transformer) is None
    assert low_rank_by_block({"transformer_blocks.0.attn.norm_q": [(lora, 1.0)]}, checkpoint.transformer) is None
    assert low_rank_by_block({"img_in": [(bias, 1.0)]}, checkpoint.transformer) == {}
