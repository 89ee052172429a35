"""Runs InstantX's ControlNets of a render, and sums the residuals that they add to the transformer's blocks.

Several nets of different depths can act in one render. Each net runs once for a sample, on the noise tokens and the
positive prompt (as in diffusers' QwenImageControlNetPipeline), for both branches of guidance. Knows latents and nets;
knows no files, and leaves nothing on a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel

from pipelines.request import ControlMode


@dataclass(frozen=True, slots=True)
class Control:
    """A ControlNet of one render, ready to run.

    `control_latents` is the control image, packed as latents [1, tokens, 4z] of the grid of the rendered image. A net
    for inpainting has four channels more, of the packed mask. The net acts in the steps `start` ≤ step < `end`.
    `weight` is not zero.
    """

    net: QwenImageControlNetModel
    control_latents: torch.Tensor
    weight: float
    mode: ControlMode
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ControlResiduals:
    """The residuals for the two branches of guidance, one [1, tokens, width] for each block. None adds nothing."""

    cond: list[torch.Tensor] | None = None
    uncond: list[torch.Tensor] | None = None


def control_residuals(
    controls: Sequence[Control],
    step: int,
    *,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    embeds: torch.Tensor,
    shape: tuple[int, int, int],
    blocks: int,
    appended: int,
) -> ControlResiduals:
    """Run the controls that act in a step, and sum their residuals for each of the transformer's `blocks`.

    `sample` [1, tokens, channels] is the noise tokens of the grid `shape`, `embeds` the positive prompt's. The sums are
    padded with zeros for the `appended` reference tokens that follow the noise tokens in the sequence.
    """
    cond: list[list[torch.Tensor]] = []
    uncond: list[list[torch.Tensor]] = []
    for control in controls:
        if not control.start <= step < control.end:
            continue
        residuals = control.net(
            hidden_states=sample,
            controlnet_cond=control.control_latents,
            conditioning_scale=control.weight,
            timestep=timestep,
            encoder_hidden_states=embeds,
            encoder_hidden_states_mask=None,
            img_shapes=[[shape]],
            return_dict=False,
        )
        if control.mode == "prompt":
            scales = depth_scales(len(residuals))
            residuals = [residual * scale for residual, scale in zip(residuals, scales, strict=True)]
        cond.append(residuals)
        if control.mode != "controlnet":
            uncond.append(residuals)
    summed = _sum_nets(cond, blocks, appended)
    return ControlResiduals(summed, summed if len(uncond) == len(cond) else _sum_nets(uncond, blocks, appended))


def depth_scales(count: int) -> list[float]:
    """The factors of the residuals of a net in the mode `prompt`, from a tenth for the first block to one for the last.

    This is diffusers' `guess_mode` (controlnet.py). The first ControlNet has 0.825^(12 − i) for its 13 residuals, which
    is a tenth at i = 0 as well. Here the curve spans any number of residuals.
    """
    return torch.logspace(-1, 0, count).tolist()


def _sum_nets(nets: Sequence[Sequence[torch.Tensor]], blocks: int, appended: int) -> list[torch.Tensor] | None:
    """One residual for each block. Each net spreads its residuals over the blocks in runs of equal length."""
    if not nets:
        return None
    runs = [-(-blocks // len(residuals)) for residuals in nets]  # rounded up, as the transformer does
    sums: dict[tuple[int, ...], torch.Tensor] = {}  # blocks of one run share a tensor, because there may be 60
    by_block = []
    for block in range(blocks):
        indices = tuple(block // run for run in runs)
        if indices not in sums:
            total = nets[0][indices[0]]
            for residuals, index in zip(nets[1:], indices[1:], strict=True):
                total = total + residuals[index]
            sums[indices] = torch.nn.functional.pad(total, (0, 0, 0, appended)) if appended else total
        by_block.append(sums[indices])
    return by_block
