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
from pipelines.images import PictureReader
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.models.loader import load_network
from pipelines.request import ControlUse

# The configuration that a net must share with its transformer.
_SHARED_CONFIG = ("patch_size", "in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim")


def prepare_controls(
    uses: Sequence[ControlUse],
    width: int,
    height: int,
    steps: int,
    model: LoadedModel,
    reader: PictureReader,
    box: RelativeBox = WHOLE,
) -> tuple[Control, ...]:
    """Load the nets and encode their control images, scaled to the rendered size in pixels.

    A control image shows the whole picture. Where only a `box` of the picture is rendered, the same box of the control
    image is used. Nets that can never act in a render of `steps` steps are not loaded. Raises `ControlError` and
    `PictureError`.
    """
    controls = []
    for number, use in enumerate(uses):
        if not use.weight or use.start >= min(use.end, steps):
            continue
        with part_at_fault(f"controls[{number}]"):
            net = load_controlnet(use, model)
        with part_at_fault(f"controls[{number}].control_image"):
            image = reader.image(use.control_image, f"control image {number + 1}")
            latents = _encode_control_image(image, width, height, box, model)
        controls.append(Control(net, latents, use.weight, use.mode, use.start, use.end))
    return tuple(controls)


def load_controlnet(use: ControlUse, model: LoadedModel) -> QwenImageControlNetModel:
    """Return the net of a use, in the checkpoint's dtype and on its device.

    Raises `ControlError` if it is broken, takes a mask, or was made for another transformer.
    """
    checkpoint = model.checkpoint

    def load() -> QwenImageControlNetModel:
        return load_network(QwenImageControlNetModel, use.weights, checkpoint.device, checkpoint.dtype)

    try:
        net = model.memory.get("controlnet", use.weights, load)
    except LoadError as error:
        raise ControlError(f"ControlNet '{use.name}': {error}") from error
    if reason := _mismatch(net, checkpoint):
        raise ControlError(f"ControlNet '{use.name}': {reason}.")
    return net


def _encode_control_image(
    image: Image.Image, width: int, height: int, box: RelativeBox, model: LoadedModel
) -> torch.Tensor:
    left, top, right, bottom = box
    pixels = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    scaled = image.resize((width, height), Image.Resampling.LANCZOS, pixels)  # LANCZOS as in diffusers' pipelines
    return encode_picture(scaled, model)


def _mismatch(net: QwenImageControlNetModel, checkpoint: Checkpoint) -> str | None:
    """Why a net cannot be used with a transformer, or None."""
    ours, theirs = net.config, checkpoint.transformer.config
    if ours["extra_condition_channels"]:
        return "it is made for inpainting and needs a mask; only nets that take a control image alone are supported"
    for name in _SHARED_CONFIG:
        if ours[name] != theirs[name]:
            return f"its {name} is {ours[name]}, the model's is {theirs[name]}"
    return None if ours["num_layers"] else "it has no layers"
