import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from structlog.testing import capture_logs
from torch import nn

from accel.block_batch import run_together
from accel.block_forward import BlockForward, block_forward
from accel.block_runner import BlockRunner, WeightAccess
from accel.kernels.compiled_block import CompiledBlocks, compiled_graphs
from accel.kernels.low_rank import BlockLowRank
from accel.weights.placement import HostShare, place_transformer
from pipelines.batching import BatchGains
from pipelines.generate import generate
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loading.compiling import SIDE, compile_blocks, count_graphs
from tests.compiled import UntracedBlocks
from tests.control import deeper
from tests.pipelines.render.renders import asked, entry

FEW = 17  # int8 pads fewer rows


class WithoutLoras(CompiledBlocks):
    """Has no graph with additions, which no render of these tests needs."""

    def with_low_rank(self, added: Mapping[nn.Module, BlockLowRank]) -> BlockForward:
        return self


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")  # so that the end of the test restores it
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def unused(step: int, total: int) -> None:
    """Nothing is reported."""


def test_a_picture_of_compiled_blocks_is_the_same_within_a_level(checkpoint: Checkpoint, tmp_path: Path) -> None:
    torch.compiler.reset()
    compiled = compile_blocks(checkpoint, tmp_path, UntracedBlocks)
    graphs = compiled_graphs()
    plain = generate(asked(steps=4), 0, LoadedModel(checkpoint), entry("text_to_image"), unused)
    found = generate(asked(steps=4), 0, LoadedModel(compiled), entry("text_to_image"), unused)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path)
    difference = np.abs(np.asarray(plain.image, np.int16) - np.asarray(found.image, np.int16))
    assert difference.max() <= 1
    assert compiled_graphs() == graphs  # the render compiled nothing again


def test_a_render_that_compiles_is_in_the_log(checkpoint: Checkpoint) -> None:
    compiled = replace(checkpoint, compiled=UntracedBlocks())
    torch.compiler.reset()
    with capture_logs() as lines, count_graphs(compiled) as graphs:
        generate(asked(steps=1), 0, LoadedModel(compiled), entry("text_to_image"), unused)
    assert graphs() == 1
    expected = {"event": "a render compiled blocks again", "device": "cpu", "graphs": 1, "log_level": "warning"}
    assert lines == [expected, expected]  # of the render itself, and of this test


@pytest.mark.slow
def test_heads_of_real_width_do_not_fix_the_number_of_tokens_or_words(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Half a head is 64 numbers. An image of as many tokens made the compiler take the two for one size."""
    torch.compiler.reset()
    wide = QwenImageTransformer2DModel(
        num_layers=1, attention_head_dim=128, num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(16, 56, 56)
    )
    used = replace(checkpoint, transformer=wide.eval(), batch_branches=True)
    compiled, graphs = compile_blocks(used, tmp_path, lambda: WithoutLoras("eager")), compiled_graphs()
    timestep = torch.ones(1)  # the branches of an image share it

    def runner(side: int, words: int, weights: WeightAccess) -> BlockRunner:
        image, text = torch.ones(1, side**2, 64), torch.ones(1, words, 32)
        return BlockRunner(wide, image, timestep, text, [(1, side, side)], weights=weights)

    with torch.inference_mode():
        for batched in (False, True):  # a branch may also run alone
            weights = WeightAccess(run=compiled.compiled or block_forward, batch_branches=batched)
            for side, lengths in ((8, (20, 6)), (10, (6, 7)), (16, (33, 33)), (16, (128, 64))):
                run_together([runner(side, words, weights) for words in lengths], 1)
    assert (compiled.compiled is None, compiled_graphs()) == (False, graphs)


@pytest.mark.parametrize(
    ("changes", "batched"),
    [
        ({}, {False}),
        ({"batch_branches": True}, {False, True}),
        ({"branch_gains": BatchGains("", "", ())}, {False, True}),
    ],
    ids=str,
)
def test_both_ways_of_the_branches_are_compiled_where_both_may_run(
    checkpoint: Checkpoint, tmp_path: Path, changes: dict[str, Any], batched: set[bool]
) -> None:
    """With few words too: int8 has graphs of its own for them, alone and in a batch."""
    seen = set[tuple[bool, bool]]()

    class SeenBlocks(UntracedBlocks):
        def __call__(self, block: Any, image: torch.Tensor, text: torch.Tensor, *others: Any, **added: Any) -> Any:
            seen.add((image.shape[1] > SIDE * SIDE, text.shape[1] < FEW))
            return super().__call__(block, image, text, *others, **added)

    compile_blocks(replace(checkpoint, **changes), tmp_path, SeenBlocks)
    assert seen == {(each, few) for each in batched for few in (False, True)}


def test_a_device_that_cannot_compile_renders_as_before(checkpoint: Checkpoint, tmp_path: Path) -> None:
    class Broken(CompiledBlocks):
        def __call__(self, *arguments: object) -> tuple[torch.Tensor, torch.Tensor]:
            raise RuntimeError("no compiler\nat length")

    with capture_logs() as lines:
        assert compile_blocks(checkpoint, tmp_path, Broken) is checkpoint
    assert lines[-1] == {"event": "blocks are not compiled", "reason": "no compiler", "log_level": "warning"}


def test_tables_in_host_memory_can_be_compiled_too(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Requests through streamed blocks, with tables and without, are in tests/pipelines/test_compiled_requests.py."""
    used = deeper(checkpoint, 2)
    placed = place_transformer(used.transformer, torch.device("cpu"), HostShare(0, tables=True))
    assert compile_blocks(replace(used, placed=placed), tmp_path, UntracedBlocks).compiled is not None
