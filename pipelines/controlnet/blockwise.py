"""Blockwise ControlNets of DiffSynth-Studio, which ComfyUI calls model patches.

Such a net has one small block for each transformer block. It reads the hidden states behind that block and the control
image, and adds to the image's own tokens. Unlike InstantX's nets it has no attention, sees no prompt and no timestep,
and runs for each branch of guidance. Knows tensors; knows no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import nn

from accel.block_runner import AfterBlock
from pipelines.controlnet.residuals import depth_scales
from pipelines.request import ControlMode


class BlockwiseControlBlock(nn.Module):
    """What the net adds after one transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.x_rms = nn.RMSNorm(width, eps=1e-6)
        self.y_rms = nn.RMSNorm(width, eps=1e-6)
        self.input_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)

    def forward(self, image: torch.Tensor, control: torch.Tensor) -> torch.Tensor:
        """The residual [1, tokens, width] for hidden states and embedded control tokens of that shape."""
        mixed = self.input_proj(self.x_rms(image) + self.y_rms(control))
        return self.output_proj(nn.functional.gelu(mixed))


class BlockwiseControlNet(nn.Module):
    """A net of `depth` blocks of a `width`. Its modules have the names of DiffSynth's files.

    `channels` are those of a control token: 64 of the packed latents, and 4 of the packed mask where there is one.
    """

    def __init__(self, depth: int, channels: int, width: int) -> None:
        super().__init__()
        self.depth, self.channels, self.width = depth, channels, width
        self.img_in = nn.Linear(channels, width)
        self.controlnet_blocks = nn.ModuleList(BlockwiseControlBlock(width) for _ in range(depth))


@dataclass(frozen=True, slots=True)
class BlockwiseControl:
    """A blockwise ControlNet of one render, ready to run.

    `control` is the embedded control image [1, tokens, width], on the grid of the rendered image. The net acts in the
    steps `start` ≤ step < `end`. `weight` is not zero.
    """

    net: BlockwiseControlNet
    control: torch.Tensor
    weight: float
    mode: ControlMode
    start: int
    end: int


def blockwise_residuals(controls: Sequence[BlockwiseControl], step: int, *, conditional: bool) -> AfterBlock | None:
    """The function that computes the sum of the nets that act in a step; None where none does.

    `conditional` says whether the forward has the prompt. Nets in the mode `controlnet` act in no other.
    """
    acting = [each for each in controls if each.start <= step < each.end and (conditional or each.mode != "controlnet")]
    if not acting:
        return None

    scales = [
        [each.weight * scale for scale in depth_scales(each.net.depth)]
        if each.mode == "prompt"
        else [each.weight] * each.net.depth
        for each in acting
    ]

    def after_block(number: int, image: torch.Tensor) -> torch.Tensor:
        added = [
            each.net.controlnet_blocks[number](image, each.control) * scale[number]
            for each, scale in zip(acting, scales, strict=True)
        ]
        return reduce(torch.add, added)

    return after_block
