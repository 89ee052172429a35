"""Loads the ControlNets of a request and encodes their control images.

Knows weights and pictures; knows no wire format and no denoising step.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from pipelines.conditioning import encode_picture, resize_box
from pipelines.controlnet.blockwise import BlockwiseControl, BlockwiseControlNet
from pipelines.controlnet.files import ControlNet, load_net
from pipelines.controlnet.residuals import Control
from pipelines.editing.canvas import WHOLE, RelativeBox
from pipelines.editing.inpainting import pack_mask
from pipelines.errors import ControlError, LoadError, part_at_fault
from pipelines.latents import PATCH
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.pictures.reader import PictureReader
from pipelines.request import ControlUse

# The configuration that a net of InstantX must share with its transformer.
_SHARED_CONFIG = ("patch_size", "in_channels", "num_attention_heads", "attention_head_dim", "joint_attention_dim")
_MASK_CHANNELS = PATCH * PATCH  # of a token: one for each of its latent pixels


def prepare_controls(
    uses: Sequence[ControlUse],
    width: int,
    height: int,
    steps: int,
    model: LoadedModel,
    reader: PictureReader,
    box: RelativeBox = WHOLE,
    mask: np.ndarray | None = None,
) -> tuple[Control | BlockwiseControl, ...]:
    """Load the nets and encode their control images, scaled to the rendered size in pixels.

    A control image shows the whole picture. Where only a `box` of the picture is rendered, the same box of the control
    image is used. The `mask` [height, width] in 0…1 is that of the rendered part, for the nets that are made for
    inpainting. Nets that can never act in a render of `steps` steps are not loaded. Raises `ControlError` and
    `PictureError`.
    """
    controls = []
    for number, use in enumerate(uses):
        if not use.weight or use.start >= min(use.end, steps):
            continue
        with part_at_fault(f"controls[{number}]"):
            net = load_controlnet(use, model)
            masked = _mask_channels(net, model.checkpoint) > 0
            if masked and mask is None:
                raise ControlError(
                    f"ControlNet '{use.name}': it is made for inpainting and needs a mask: give a seed image with one."
                )
        with part_at_fault(f"controls[{number}].control_image"):
            image = reader.image(use.control_image, f"control image {number + 1}")
            latents = _encode_control_image(image, width, height, box, mask if masked else None, model)
        with torch.inference_mode():
            controls.append(_make_control(net, latents, use))
    return tuple(controls)


def load_controlnet(use: ControlUse, model: LoadedModel) -> ControlNet:
    """Return the net of a use, in the checkpoint's dtype and on its device.

    Raises `ControlError` if it is broken, or was made for another transformer.
    """
    try:
        net = model.memory.get("controlnet", use.weights, lambda: load_net(use.weights, model.checkpoint))
    except LoadError as error:
        raise ControlError(f"ControlNet '{use.name}': {error}") from error
    if reason := _mismatch(net, model.checkpoint):
        raise ControlError(f"ControlNet '{use.name}': {reason}.")
    return net


def _make_control(net: ControlNet, latents: torch.Tensor, use: ControlUse) -> Control | BlockwiseControl:
    if isinstance(net, BlockwiseControlNet):
        return BlockwiseControl(net, net.img_in(latents), use.weight, use.mode, use.start, use.end)
    return Control(net, latents, use.weight, use.mode, use.start, use.end)


def _encode_control_image(
    image: Image.Image, width: int, height: int, box: RelativeBox, mask: np.ndarray | None, model: LoadedModel
) -> torch.Tensor:
    """The packed latents of a control image. With a mask, that part of it is black, and the mask is appended."""
    scaled = resize_box(image, width, height, box)
    if mask is None:
        return encode_picture(scaled, model)
    drawn = mask >= 0.5  # nets are trained on masks without grey
    latents = encode_picture(Image.fromarray(np.where(drawn[..., None], np.uint8(0), np.asarray(scaled))), model)
    side = model.checkpoint.vae.spatial_compression_ratio
    kept = 1 - drawn[::side, ::side].astype(np.float32)  # of each latent pixel its first one, as in diffusers
    return torch.cat([latents, pack_mask(kept, channels=1).to(latents)], dim=-1)


def _mask_channels(net: ControlNet, checkpoint: Checkpoint) -> int:
    """The channels that a net reads beyond those of the latents."""
    if isinstance(net, BlockwiseControlNet):
        return net.channels - checkpoint.transformer.config["in_channels"]
    return net.config["extra_condition_channels"]


def _mismatch(net: ControlNet, checkpoint: Checkpoint) -> str | None:
    """Why a net cannot be used with a transformer, or None."""
    theirs = checkpoint.transformer.config
    extra = _mask_channels(net, checkpoint)
    if isinstance(net, BlockwiseControlNet):
        if net.width != (width := theirs["num_attention_heads"] * theirs["attention_head_dim"]):
            return f"its width is {net.width}, the model's is {width}"
        if net.depth != theirs["num_layers"]:
            return f"it has {net.depth} blocks, the model has {theirs['num_layers']}"
    else:
        for name in _SHARED_CONFIG:
            if net.config[name] != theirs[name]:
                return f"its {name} is {net.config[name]}, the model's is {theirs[name]}"
        if not net.config["num_layers"]:
            return "it has no layers"
    if extra not in (0, _MASK_CHANNELS):
        return f"it reads {extra} channels beside the image's; a mask has {_MASK_CHANNELS}"
    return None
