"""Compiled blocks for tests of what is around them. The compiler takes seconds for a real graph."""

from typing import Any

import torch

from accel.kernels.compiled_block import CompiledBlocks, forward_with_real_rotary


class UntracedBlocks(CompiledBlocks):
    """Computes what compiled blocks compute, without a graph of it. The one that is compiled and counted is small."""

    def __post_init__(self) -> None:
        small = torch.compile(_sum, fullgraph=True, dynamic=True, backend="eager")

        def run(block: Any, image: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor]:
            small(image)
            return forward_with_real_rotary(block, image, *others)

        self._compiled = run


def _sum(image: torch.Tensor) -> torch.Tensor:
    return image.sum()
