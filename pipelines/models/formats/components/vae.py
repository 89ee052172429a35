"""Recognizes the VAE of Qwen-Image among weights files, by their names alone. Imports no torch.

The VAE has the architecture of Wan 2.1's. Files outside diffusers' folders have the names of Wan's own code.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.components.refusals import LORA, TEXT_ENCODER, TRANSFORMER, Refusal, refuse, some_name
from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import WeightFiles, open_weights
from pipelines.models.formats.format_name import format_name
from pipelines.models.formats.scales import WeightEntry, pair_scales

# Prefixes of the VAE in all-in-one files.
_PREFIXES = ("vae.", "first_stage_model.")
_WAN_MARK = "decoder.middle.0.residual.0.gamma"
_DIFFUSERS_MARK = "decoder.mid_block.resnets.0.norm1.gamma"
_REFUSALS = (
    Refusal(LORA, "it is a LoRA, not a VAE; name it under [[loras]]"),
    Refusal(TRANSFORMER, "it is a transformer, not a VAE; name it as `transformer`"),
    Refusal(TEXT_ENCODER, "it is a text encoder, not a VAE; name it as `text_encoder`"),
    Refusal(
        some_name(r"^decoder\.(mid\.block_1|up\.0|mid_block\.resnets\.0\.norm1\.weight)"),
        "it is the VAE of another model, such as Stable Diffusion or FLUX; use qwen_image_vae.safetensors",
    ),
)
_LAYERED_CHANNELS = 4  # of a picture, with its transparency
# The parts of Wan's residual blocks, by their positions in it.
_RESIDUAL = {"0": "norm1", "2": "conv1", "3": "norm2", "6": "conv2"}
_OUTSIDE = {
    "conv1.": "quant_conv.",
    "conv2.": "post_quant_conv.",
    "encoder.conv1.": "encoder.conv_in.",
    "decoder.conv1.": "decoder.conv_in.",
    "encoder.head.0.": "encoder.norm_out.",
    "encoder.head.2.": "encoder.conv_out.",
    "decoder.head.0.": "decoder.norm_out.",
    "decoder.head.2.": "decoder.conv_out.",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_RESIDUAL_NAME = re.compile(r"\.residual\.(\d)\.")
_MIDDLE_NAME = re.compile(r"^(encoder|decoder)\.middle\.(\d)\.")
_DOWN_NAME = re.compile(r"^encoder\.downsamples\.")
_UP_NAME = re.compile(r"^decoder\.upsamples\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class VaeFile:
    """A VAE on disk. `weights` have the names of diffusers; `config` is the folder's or that of the base."""

    path: Path
    format: str
    weights: Mapping[str, WeightEntry]
    config: Mapping[str, Any]


def open_vae(path: Path, base_config: Mapping[str, Any] | None = None) -> VaeFile:
    """Recognize a file or folder. Raises `FormatError`.

    `base_config` is the configuration of the weights that the row names besides: a single file has none of its own.
    """
    files = open_weights(path)
    config = files.config_or(base_config)
    tensors = _without_prefix(files)
    weights = pair_scales(tensors, files.metadata)
    if _WAN_MARK in weights:
        layers = int(config.get("num_res_blocks", 2))
        weights = {diffusers_name(name, layers): entry for name, entry in weights.items()}
    elif _DIFFUSERS_MARK not in weights:
        refuse(weights, _REFUSALS)
        raise FormatError(
            f"'{path.name}' is no VAE of Qwen-Image: it has no {_WAN_MARK}; use qwen_image_vae.safetensors"
        )
    first = weights.get("encoder.conv_in.weight")
    if first is not None and first.shape[1] == _LAYERED_CHANNELS:
        raise FormatError("it is the VAE of Qwen-Image-Layered, which is not supported; use that of Qwen-Image")
    name = format_name(files, weights.values())
    return VaeFile(path, name, MappingProxyType(weights), MappingProxyType(config))


def diffusers_name(name: str, layers: int) -> str:
    """The name of one of Wan's tensors in diffusers, for a decoder of `layers` + 1 residual blocks in each level."""
    for wan, diffusers in _OUTSIDE.items():
        if name.startswith(wan):
            return diffusers + name.removeprefix(wan)
    name = _RESIDUAL_NAME.sub(lambda found: f".{_RESIDUAL.get(found[1], found[0])}.", name)
    name = name.replace(".shortcut.", ".conv_shortcut.")
    name = _MIDDLE_NAME.sub(lambda found: f"{found[1]}.mid_block.{_MIDDLE.get(found[2], found[2])}.", name)
    name = _DOWN_NAME.sub("encoder.down_blocks.", name)  # numbered alike in both
    return _UP_NAME.sub(lambda found: _up_block(int(found[1]), layers), name)


def _up_block(number: int, layers: int) -> str:
    """Wan numbers residual blocks and upsamplers in one list; diffusers numbers them within each level."""
    level, position = divmod(number, layers + 2)
    part = "upsamplers.0" if position == layers + 1 else f"resnets.{position}"
    return f"decoder.up_blocks.{level}.{part}."


def _without_prefix(files: WeightFiles) -> Mapping[str, Any]:
    for prefix in _PREFIXES:
        tensors = {name.removeprefix(prefix): each for name, each in files.tensors.items() if name.startswith(prefix)}
        if tensors:
            return tensors
    return files.tensors
