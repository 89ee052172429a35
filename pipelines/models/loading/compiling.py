"""Compiles the blocks of a loaded transformer before its first request. Knows checkpoints; knows no request."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog
import torch
from torch import nn

from accel.block_batch import run_together
from accel.block_forward import BlockForward
from accel.block_runner import BlockRunner, WeightAccess
from accel.kernels.attention import attention_kernel
from accel.kernels.compiled_block import CompiledBlocks, compiled_graphs, read_graphs
from accel.kernels.low_rank import LAYERS, BlockLowRank, zero_low_rank
from accel.weights.modulation_tables import StepModulation
from pipelines.errors import first_line
from pipelines.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from accel.weights.quantized.base import AnyLinear

log = structlog.get_logger()

FOLDER_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

# Sizes that are neither 0 nor 1, which the compiler would take for constants. They are no size of a layer or of half a
# head either, because it takes equal sizes for the same size. The image is a square of tokens.
# Few words take another graph where a format pads few rows, and most negative prompts are that short.
SIDE, WORDS = 12, (24, 6)
FEW_WORDS = (6, 7)  # of a batch
LEAST_RANK = 40  # above the words and below the tokens, for the ranks of all layers


@torch.inference_mode()
def compile_blocks(
    checkpoint: Checkpoint, folder: Path, make: Callable[[], CompiledBlocks] = CompiledBlocks
) -> Checkpoint:
    """The checkpoint with compiled blocks; with the blocks that it had, and a line in the log, where that fails.

    The compiler keeps its files in `folder`. It takes minutes without the files, and seconds with them. One graph has
    additions of LoRAs, and one has none.
    """
    os.environ.setdefault(FOLDER_VARIABLE, str(folder))
    compiled, transformer = make(), checkpoint.transformer
    started, graphs, read = time.monotonic(), compiled_graphs(), read_graphs()
    log.info("compiling the blocks", device=str(checkpoint.device))
    new = partial(torch.ones, device=checkpoint.device, dtype=checkpoint.dtype)
    stream = None if checkpoint.placed is None else checkpoint.placed.blocks
    modulated = 6 * transformer.inner_dim  # shift, scale and gate, for the attention and for the feed-forward layer
    # Two rows where reference images count as clean. The modulation layers may wait in host memory.
    depth, rows = len(transformer.transformer_blocks), 2 if transformer.zero_cond_t else 1
    modulation = StepModulation(
        new(1, rows, modulated).expand(depth, -1, -1), new(1, 1, modulated).expand(depth, -1, -1)
    )
    added: dict[nn.Module, BlockLowRank] = {block: _low_rank(block, new(1)) for block in transformer.transformer_blocks}

    def runners(run: BlockForward, lengths: Sequence[int], *, batched: bool) -> list[BlockRunner]:
        timestep = new(1)  # the branches of an image share it
        return [
            BlockRunner(
                transformer,
                new(1, SIDE * SIDE, transformer.config["in_channels"]),
                timestep,
                new(1, words, transformer.config["joint_attention_dim"]),
                [(1, SIDE, SIDE)],
                weights=WeightAccess(stream, lambda: modulation, run, batch_branches=batched),
            )
            for words in lengths
        ]

    runs = (compiled, compiled.with_low_rank(added))
    together = [[runner for run in runs for runner in runners(run, WORDS, batched=False)]]
    # A branch may also run alone: without guidance, or under a ControlNet.
    if checkpoint.batch_branches or checkpoint.branch_gains is not None:
        together += [runners(run, lengths, batched=True) for run in runs for lengths in (WORDS, FEW_WORDS)]
    try:
        # The compiler fixes the attention kernel, so it must see the one that renders prefer.
        with attention_kernel(checkpoint.attention.kernel):
            for each in together:
                run_together(each, depth)  # blocks whose layers have other formats need other graphs
    except (RuntimeError, ImportError, OSError) as error:  # torch's own errors of compilation are RuntimeErrors
        log.warning("blocks are not compiled", reason=first_line(error))
        return checkpoint
    counts = {"graphs": compiled_graphs() - graphs, "read_from_files": read_graphs() - read}
    log.info("blocks are compiled", seconds=round(time.monotonic() - started, 1), **counts)
    return replace(checkpoint, compiled=compiled)


def _low_rank(block: nn.Module, like: torch.Tensor) -> BlockLowRank:
    """Additions of a rank for each layer that no other layer has: the compiler takes equal sizes for the same size."""
    layers = {name: cast("AnyLinear", block.get_submodule(name)) for name in LAYERS}
    return {
        name: zero_low_rank(layer.in_features, layer.out_features, LEAST_RANK + number, like)
        for number, (name, layer) in enumerate(layers.items())
    }


@contextmanager
def count_graphs(checkpoint: Checkpoint) -> Iterator[Callable[[], int]]:
    """Count the graphs that are compiled inside the `with`, and log a warning if there are any.

    `compile_blocks` has compiled all that requests need, so there should be none.
    """
    if checkpoint.compiled is None:
        yield lambda: 0
        return
    before = compiled_graphs()

    def count() -> int:
        return compiled_graphs() - before

    try:
        yield count
    finally:
        if graphs := count():
            log.warning("a render compiled blocks again", device=str(checkpoint.device), graphs=graphs)
