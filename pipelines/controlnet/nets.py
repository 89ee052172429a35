"""Loads the ControlNets of a request and encodes their control images.

Knows weights and pictures; knows no wire format and no denoising step.
"""

from collections.abc import Sequence

import torch
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from PIL import Image

from pipelines.conditioning import encode_picture
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import WHOLE, RelativeBox
from pipelines.errors import ControlError, LoadError, part_at_fault
from pipelines.images import open_reference
from pipelines.models.loader import Checkpoint, free_memory, load_model
from pipelines.request import ControlUse

# How many stay loaded beside a checkpoint; one of five layers takes 3.3 GiB in bfloat16.
RESIDENT = 2

# The configuration that a net must share with its transformer.
_SHARED_CONFIG = ("patch_size", "in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim")


def prepare_controls(
    uses: Sequence[ControlUse], width: int, height: int, steps: int, checkpoint: Checkpoint, box: RelativeBox = WHOLE
) -> tuple[Control, ...]:
    """Load the nets and encode their control images, scaled to the size in pixels that is drawn.

    A control image shows the whole picture. Where only a `box` of the picture is drawn, the same box of the control
    image is used. Nets that can never act in a render of `steps` steps are not loaded. Raises `ControlError` and
    `PictureError`.
    """
    controls = []
    for number, use in enumerate(uses):
        if not use.weight or use.start >= min(use.end, steps):
            continue
        with part_at_fault(f"controls[{number}]"):
            net = load_controlnet(use, checkpoint)
        with part_at_fault(f"controls[{number}].control_image"):
            latents = _encode_control_image(use, width, height, box, checkpoint)
        controls.append(Control(net, latents, use.weight, use.mode, use.start, use.end))
    return tuple(controls)


def load_controlnet(use: ControlUse, checkpoint: Checkpoint) -> QwenImageControlNetModel:
    """Return the net of a use, in the checkpoint's dtype and on its device. The `RESIDENT` last used stay loaded.

    Raises `ControlError` if it is broken, takes a mask, or was made for another transformer.
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
    if reason := _mismatch(net, checkpoint):
        raise ControlError(f"ControlNet '{use.name}': {reason}.")
    return net


def _encode_control_image(
    use: ControlUse, width: int, height: int, box: RelativeBox, checkpoint: Checkpoint
) -> torch.Tensor:
    image = open_reference(use.control_image)
    left, top, right, bottom = box
    pixels = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    scaled = image.resize((width, height), Image.Resampling.LANCZOS, pixels)  # LANCZOS as in diffusers' pipelines
    return encode_picture(scaled, checkpoint)


def _mismatch(net: QwenImageControlNetModel, checkpoint: Checkpoint) -> str | None:
    """Why a net cannot be used with a transformer, or None."""
    ours, theirs = net.config, checkpoint.transformer.config
    if ours["extra_condition_channels"]:
        return "it is made for inpainting and needs a mask; only nets that take a control image alone are supported"
    for name in _SHARED_CONFIG:
        if ours[name] != theirs[name]:
            return f"its {name} is {ours[name]}, the model's is {theirs[name]}"
    return None if ours["num_layers"] else "it has no layers"
