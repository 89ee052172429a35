"""Recognizes a transformer of Qwen-Image among weights files, by their names alone. Imports no torch.

What is not one, or cannot be drawn with, is refused in a sentence that says what it is and what to use instead.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.components.refusals import CONTROLNET, LORA, TEXT_ENCODER, VAE, Refusal, refuse, some_name
from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.containers.weight_files import WeightFiles, open_weights
from pipelines.models.formats.format_name import format_name
from pipelines.models.formats.scales import WeightEntry, pair_scales

# Prefixes of all names of a single file: those of all-in-one files, and of the transformer alone.
_PREFIXES = ("model.diffusion_model.", "diffusion_model.")
# What all-in-one files hold beside the transformer.
_OTHER_COMPONENTS = ("first_stage_model.", "vae.", "text_encoders.", "cond_stage_model.", "conditioner.")
# The empty tensor with which ComfyUI marks the weights of Qwen-Image-Edit-2511.
_ZERO_COND_T = "__index_timestep_zero__"
_FIRST_BLOCK = "transformer_blocks.0.img_mod.1.weight"
_BLOCK = re.compile(r"^transformer_blocks\.(\d+)\.")
# The architecture that converters write into GGUF files. `pig` stands for every model of one converter.
_ARCHITECTURES = ("qwen_image", "pig")
_LAYERED = "these are weights of Qwen-Image-Layered, which is not supported; use Qwen-Image or Qwen-Image-Edit"
# Switches of a transformer's configuration that need an input which is never given.
_UNSUPPORTED_CONFIG = {
    "use_additional_t_cond": _LAYERED,
    "use_layer3d_rope": _LAYERED,
    "guidance_embeds": "weights with distilled guidance (guidance_embeds) are not supported",
}


@dataclass(frozen=True, slots=True)
class TransformerFile:
    """A transformer on disk. `weights` have the names of diffusers; `config` has what the files say about it."""

    path: Path
    format: str
    weights: Mapping[str, WeightEntry]
    config: Mapping[str, Any]


# The first that shows is said, so that what is special comes before what is general.
REFUSALS = (
    Refusal(
        some_name(r"\.(qweight|wscales|wcscales|smooth_factor(_orig)?|wtscale)$"),
        "it is a nunchaku file (SVDQuant), whose packed int4 and fp4 layers are not supported; "
        "use an fp8 file, or a GGUF of Q4_K_M",
    ),
    Refusal(
        LORA,
        "it is a LoRA, not a transformer; name it under [[loras]], and the transformer that it was made for here",
    ),
    Refusal(
        CONTROLNET,
        "it is a ControlNet, not a transformer; name it under [[controlnets]]",
    ),
    Refusal(some_name(r"^time_text_embed\.addition_t_embedding\."), _LAYERED),
    Refusal(some_name(r"^time_text_embed\.guidance_embedder\."), _UNSUPPORTED_CONFIG["guidance_embeds"]),
    Refusal(
        some_name(r"^(modulation\.1|txt_in\.text_norm)\.weight$"),
        "these are weights of Qwen-Image 2.x, another network, which is not supported; use Qwen-Image-2512",
    ),
    Refusal(
        TEXT_ENCODER,
        "it is a text encoder, not a transformer; name it as `text_encoder`",
    ),
    Refusal(
        VAE,
        "it is a VAE, not a transformer; name it as `vae`",
    ),
)


def open_transformer(path: Path, base_config: Mapping[str, Any] | None = None) -> TransformerFile:
    """Recognize a file or folder. Raises `FormatError`.

    `base_config` is the configuration of the weights that the row names besides: a single file has none of its own.
    """
    files = open_weights(path)
    _check_architecture(files)
    prefix, tensors = _without_prefix(files)
    names = [name.removeprefix(prefix) for name in tensors]
    _refuse(names, files)
    marked = f"{prefix}{_ZERO_COND_T}" in tensors
    tensors = {name: entry for name, entry in tensors.items() if name != f"{prefix}{_ZERO_COND_T}"}
    weights = {name.removeprefix(prefix): entry for name, entry in pair_scales(tensors, files.metadata).items()}
    config = files.config_or(base_config)
    if files.config is None:
        config["num_layers"] = 1 + max(int(found[1]) for name in weights if (found := _BLOCK.match(name)))
    if marked or (files.config is None and "2511" in path.name):
        config["zero_cond_t"] = True
    for key, sentence in _UNSUPPORTED_CONFIG.items():
        if config.get(key):
            raise FormatError(sentence)
    name = format_name(files, weights.values())
    return TransformerFile(path, name, MappingProxyType(weights), MappingProxyType(config))


def _check_architecture(files: WeightFiles) -> None:
    architecture = files.metadata.get("general.architecture") if files.gguf else None
    if architecture is not None and architecture not in _ARCHITECTURES:
        raise FormatError(
            f"'{files.path.name}' is a GGUF of the architecture {architecture}; name a GGUF of qwen_image"
        )


def _without_prefix(files: WeightFiles) -> tuple[str, dict[str, TensorEntry]]:
    """The prefix of the transformer's names, and its tensors. All-in-one files hold others, which are left out."""
    for prefix in _PREFIXES:
        tensors = {name: entry for name, entry in files.tensors.items() if name.startswith(prefix)}
        if tensors:
            others = {
                name: entry
                for name, entry in files.tensors.items()
                if name not in tensors and not name.startswith(_OTHER_COMPONENTS)
            }
            return prefix, tensors | others
    return "", dict(files.tensors)


def _refuse(names: list[str], files: WeightFiles) -> None:
    refuse(names, REFUSALS)
    if files.config is None and _FIRST_BLOCK not in names:
        such = f", such as {min(names)}" if names else ""
        raise FormatError(
            f"'{files.path.name}' is no transformer of Qwen-Image: it has no {_FIRST_BLOCK} among its {len(names)} "
            f"tensors{such}"
        )
