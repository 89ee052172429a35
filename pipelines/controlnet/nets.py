"""ControlNets: the nets, their guides, and the residuals that they add to the transformer's blocks.

Several can act in one render, of different checkpoints and different depths. Each is run once for a sample, on the
noise tokens and the positive prompt (as in diffusers' QwenImageControlNetPipeline), for both branches of guidance.
Knows models and tokens; knows no wire format, and leaves nothing on a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from PIL import Image

from pipelines.conditioning import encode_picture
from pipelines.editing.canvas import WHOLE, Part
from pipelines.errors import ControlError, LoadError, part_at_fault
from pipelines.images import open_reference
from pipelines.models.loader import Checkpoint, free_memory, load_model
from pipelines.request import ControlMode, ControlUse

# How many stay loaded beside a checkpoint; one of five layers takes 3.3 GiB in bfloat16.
RESIDENT = 2

# What a net and the transformer it steers must agree on, in their configurations.
_SHARED = ("patch_size", "in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim")


@dataclass(frozen=True, slots=True)
class Control:
    """A ControlNet at work in one render. `control_latents` are packed [1, tokens, 4z], of the picture's own grid.

    It acts in the steps `start` ≤ step < `end`; `weight` is not zero.
    """

    net: QwenImageControlNetModel
    control_latents: torch.Tensor
    weight: float
    mode: ControlMode
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Residuals:
    """What is added behind each transformer block, [1, tokens, width] a block, for the two branches of guidance.

    None where nothing is added.
    """

    cond: list[torch.Tensor] | None = None
    uncond: list[torch.Tensor] | None = None


def prepare_controls(
    uses: Sequence[ControlUse], width: int, height: int, steps: int, checkpoint: Checkpoint, part: Part = WHOLE
) -> tuple[Control, ...]:
    """Load the nets and encode their control images, scaled to the size in pixels that is drawn.

    A control image shows the whole picture. Where only a `part` is drawn, the same part of it counts. What can never
    act in a render of `steps` steps is left out. Raises `ControlError` and `PictureError`.
    """
    controls = []
    for number, use in enumerate(uses):
        if not use.weight or use.start >= min(use.end, steps):
            continue
        with part_at_fault(f"controls[{number}]"):
            net = load_controlnet(use, checkpoint)
        with part_at_fault(f"controls[{number}].control_image"):
            latents = _encode_control_image(use, width, height, part, checkpoint)
        controls.append(Control(net, latents, use.weight, use.mode, use.start, use.end))
    return tuple(controls)


def load_controlnet(use: ControlUse, checkpoint: Checkpoint) -> QwenImageControlNetModel:
    """The net of a use, in the checkpoint's dtype and on its device; the `RESIDENT` most recently used stay.

    Raises `ControlError` when it is broken, takes a mask, or was made for another transformer.
    """
    resident = checkpoint.controlnets
    if use.weights not in resident:
        while len(resident) >= RESIDENT:
            resident.popitem(last=False)
            free_memory()
        try:
            resident[use.weights] = load_model(
                QwenImageControlNetModel, use.weights, checkpoint.device, checkpoint.dtype
            )
        except LoadError as error:
            raise ControlError(f"ControlNet '{use.name}': {error}") from error
    resident.move_to_end(use.weights)
    net = resident[use.weights]
    if reason := _unfit(net, checkpoint):
        raise ControlError(f"ControlNet '{use.name}': {reason}.")
    return net


def residuals(
    controls: Sequence[Control],
    step: int,
    *,
    sample: torch.Tensor,
    timestep: torch.Tensor,
    embeds: torch.Tensor,
    shape: tuple[int, int, int],
    blocks: int,
    appended: int,
) -> Residuals:
    """Run the controls that act in a step, and sum what they add for each of the transformer's `blocks`.

    `sample` [1, tokens, channels] is the noise tokens of the grid `shape`, `embeds` the positive prompt's. The sums are
    filled up with zeros for the `appended` reference tokens that follow the sample's in the sequence.
    """
    cond: list[list[torch.Tensor]] = []
    uncond: list[list[torch.Tensor]] = []
    for control in controls:
        if not control.start <= step < control.end:
            continue
        samples = control.net(
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
            samples = softened(samples)
        cond.append(samples)
        if control.mode != "controlnet":
            uncond.append(samples)
    summed = _summed(cond, blocks, appended)
    return Residuals(summed, summed if len(uncond) == len(cond) else _summed(uncond, blocks, appended))


def softened(samples: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The residuals of a net from a tenth for the first blocks to all of them for the last.

    diffusers' `guess_mode` (controlnet.py), and the 0.825^(12 − i) of the first ControlNet's 13 residuals, whose 12th
    power is a tenth as well; here the curve spans any number of residuals.
    """
    scales = torch.logspace(-1, 0, len(samples)).tolist()
    return [sample * scale for sample, scale in zip(samples, scales, strict=True)]


def _summed(nets: Sequence[Sequence[torch.Tensor]], blocks: int, appended: int) -> list[torch.Tensor] | None:
    """One residual for each block, from nets that spread theirs over the blocks in runs of equal length."""
    if not nets:
        return None
    runs = [-(-blocks // len(samples)) for samples in nets]  # rounded up, as the transformer does
    made: dict[tuple[int, ...], torch.Tensor] = {}  # blocks of one run share a tensor, of which there may be 60
    sums = []
    for block in range(blocks):
        places = tuple(block // run for run in runs)
        if places not in made:
            total = nets[0][places[0]]
            for samples, place in zip(nets[1:], places[1:], strict=True):
                total = total + samples[place]
            made[places] = torch.nn.functional.pad(total, (0, 0, 0, appended)) if appended else total
        sums.append(made[places])
    return sums


def _encode_control_image(use: ControlUse, width: int, height: int, part: Part, checkpoint: Checkpoint) -> torch.Tensor:
    image = open_reference(use.control_image)
    left, top, right, bottom = part
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    scaled = image.resize((width, height), Image.Resampling.LANCZOS, box)  # LANCZOS as in diffusers' pipelines
    return encode_picture(scaled, checkpoint)


def _unfit(net: QwenImageControlNetModel, checkpoint: Checkpoint) -> str | None:
    """Why a net cannot steer a transformer, in words."""
    ours, theirs = net.config, checkpoint.transformer.config
    if ours["extra_condition_channels"]:
        return "it is made for inpainting and wants a mask; only those that take a guide alone can be used"
    for name in _SHARED:
        if ours[name] != theirs[name]:
            return f"its {name} is {ours[name]}, the model's is {theirs[name]}"
    return None if ours["num_layers"] else "it has no layers"
