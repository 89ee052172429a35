"""One evaluation of the transformer, as a cache session or a recorder takes it. Knows no strategy."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from accel.block_runner import RESIDENT, AfterBlock, BlockRunner, ControlResiduals, WeightAccess, no_control_residuals
from accel.cache.report import Branch


@dataclass(frozen=True, slots=True)
class Forward:
    """One branch of guidance: its prompt [1, words, width] and the functions that compute what ControlNets add."""

    branch: Branch
    embeds: torch.Tensor
    control_residuals: ControlResiduals = no_control_residuals
    after_block: AfterBlock | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The inputs of one evaluation: all forwards share `tokens` [1, tokens, channels], `timestep` [1] and `shapes`.

    `shapes` are the token grids of the image and of its references. `step` counts the executed steps from 0. A sampler
    may evaluate several times in a step. `controls` identifies the active ControlNets. `weights` is where the blocks
    have theirs from.
    """

    transformer: QwenImageTransformer2DModel
    tokens: torch.Tensor
    timestep: torch.Tensor
    shapes: Sequence[tuple[int, int, int]]
    forwards: Sequence[Forward]
    step: int
    controls: Hashable = None
    weights: WeightAccess = RESIDENT

    def runner(self, forward: Forward) -> BlockRunner:
        """A block runner at the start of one forward."""
        return BlockRunner(
            self.transformer,
            self.tokens,
            self.timestep,
            forward.embeds,
            self.shapes,
            forward.control_residuals,
            self.weights,
            forward.after_block,
        )
