"""Recognizes Qwen-Image's text encoder, a Qwen2.5-VL, among weights files, by their names alone. Imports no torch.

The names of its tensors depend on the program that wrote the file: transformers 4 and ComfyUI, transformers 5, or
llama.cpp. A GGUF file of llama.cpp holds the language model; the vision tower is in an mmproj file beside it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.components.gguf_names import TEXT_ARCHITECTURE, language_names, vision_weights
from pipelines.models.formats.components.refusals import CONTROLNET, LORA, TRANSFORMER, VAE, Refusal, refuse, some_name
from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import WeightFiles, open_weights
from pipelines.models.formats.format_name import format_name
from pipelines.models.formats.scales import AnyEntry, pair_scales

# The prefix of the text encoder in all-in-one files of ComfyUI.
_PREFIX = "text_encoders.qwen25_7b.transformer."
_MARK = "model.language_model.layers.0.self_attn.q_proj.bias"
_EMBEDDING = "model.language_model.embed_tokens.weight"
_VISION = "model.visual."
# Logits are never computed, and the library calculates the frequencies of its position embeddings.
_UNUSED = re.compile(r"^lm_head\.|(^|\.)rotary(_pos)?_emb\.inv_freq$")
_PROJECTOR = "qwen2.5vl_merger"  # what the mmproj file of a Qwen2.5-VL calls itself
NO_VISION = (
    "it is a language model without a vision tower, so it draws from text but cannot edit; put its mmproj file beside "
    "it, or name it as `text_encoder_mmproj`, such as Qwen2.5-VL-7B-Instruct-mmproj-F16.gguf"
)
_WANTED = "Qwen-Image reads a Qwen2.5-VL-7B"
_REFUSALS = (
    Refusal(LORA, "it is a LoRA, not a text encoder; name it under [[loras]]"),
    Refusal(CONTROLNET, "it is a ControlNet, not a text encoder; name it under [[controlnets]]"),
    Refusal(TRANSFORMER, "it is a transformer, not a text encoder; name it as `transformer`"),
    Refusal(VAE, "it is a VAE, not a text encoder; name it as `vae`"),
    Refusal(some_name(r"^(encoder|enc|decoder)\.(block|blk)\.|^shared\."), f"it is a T5 text encoder; {_WANTED}"),
    Refusal(some_name(r"^text_model\.|^(text_projection|logit_scale)$"), f"it is a CLIP text encoder; {_WANTED}"),
    Refusal(some_name(r"self_attn\.q_norm\.|attn_q_norm\."), f"it is a Qwen3 or another text encoder; {_WANTED}"),
    Refusal(some_name(r"^(model\.)?visual\.blocks\.0\.mlp\.fc1\."), f"it is a Qwen2-VL, the former version; {_WANTED}"),
    Refusal(some_name(r"^(v|mm)\."), "it is a vision tower (mmproj); name the GGUF of the language model beside it"),
)


@dataclass(frozen=True, slots=True)
class TextEncoderFile:
    """A text encoder on disk. `weights` have the names of transformers 5; `config` is the folder's or the base's.

    `sees` is false for a language model without a vision tower, which can draw from text but cannot edit.
    """

    path: Path
    format: str
    weights: Mapping[str, AnyEntry]
    config: Mapping[str, Any]
    sees: bool


def open_text_encoder(
    path: Path, base_config: Mapping[str, Any] | None = None, mmproj: Path | None = None
) -> TextEncoderFile:
    """Recognize a file or folder. Raises `FormatError`.

    `base_config` is the configuration of the weights that the row names besides: a single file has none of its own.
    `mmproj` is the vision tower of a GGUF file; without one, that beside it counts.
    """
    files = open_weights(path)
    if files.gguf:
        weights, source = _open_gguf(files, find_mmproj(path) if mmproj is None else _open_mmproj(mmproj))
    elif mmproj is not None:
        raise FormatError(f"'{path.name}' is no GGUF, so it has no mmproj file; leave out `text_encoder_mmproj`")
    else:
        named = {_new_name(name.removeprefix(_PREFIX)): tensor for name, tensor in _own_tensors(files)}
        weights = dict[str, AnyEntry](pair_scales(named, files.metadata))
        source = format_name(files, weights.values())
    weights = {name: entry for name, entry in weights.items() if not _UNUSED.search(name)}
    if _MARK not in weights:
        refuse(files.tensors, _REFUSALS)
        raise FormatError(f"'{path.name}' is no Qwen2.5-VL: it has no {_MARK}; {_WANTED}")
    config = files.config_or(base_config)
    _check_width(weights, config)
    sees = any(name.startswith(_VISION) for name in weights)
    return TextEncoderFile(path, source, MappingProxyType(weights), MappingProxyType(config), sees)


def _own_tensors(files: WeightFiles) -> Iterator[tuple[str, Any]]:
    """The tensors of the text encoder; an all-in-one file has others."""
    own = [(name, tensor) for name, tensor in files.tensors.items() if name.startswith(_PREFIX)]
    yield from own or files.tensors.items()


def _new_name(name: str) -> str:
    """The name that transformers 5 gives to a tensor of transformers 4 and ComfyUI."""
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(("model.visual.", "model.language_model.")):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def _open_gguf(files: WeightFiles, vision: WeightFiles | None) -> tuple[dict[str, AnyEntry], str]:
    architecture = files.metadata.get("general.architecture")
    if architecture != TEXT_ARCHITECTURE:
        refuse(files.tensors, _REFUSALS)
        raise FormatError(
            f"'{files.path.name}' is a GGUF of the architecture {architecture}; a Qwen2.5-VL has {TEXT_ARCHITECTURE}"
        )
    weights: dict[str, AnyEntry] = dict(pair_scales(language_names(files.tensors), files.metadata))
    name = format_name(files, weights.values())
    if vision is None:
        return weights, name
    return weights | vision_weights(vision.tensors), f"{name}, vision tower {vision.path.name}"


def find_mmproj(path: Path) -> WeightFiles | None:
    """The vision tower beside a language model: of several, that whose name begins most alike. Raises `FormatError`."""
    beside = [each for each in path.parent.glob("*.gguf") if "mmproj" in each.name.lower() and each != path]
    towers = [files for files in map(open_weights, sorted(beside)) if _is_tower(files)]
    return max(towers, key=lambda files: _alike(files.path.name, path.name), default=None)


def _open_mmproj(path: Path) -> WeightFiles:
    files = open_weights(path)
    if not _is_tower(files):
        raise FormatError(f"'{path.name}' is no vision tower of Qwen2.5-VL; name its mmproj file")
    return files


def _is_tower(files: WeightFiles) -> bool:
    return _PROJECTOR in files.metadata.values()


def _alike(one: str, other: str) -> int:
    """The number of letters that two names begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _check_width(weights: Mapping[str, AnyEntry], config: Mapping[str, Any]) -> None:
    """Raise `FormatError` for a Qwen2.5-VL of another size than the one that the transformer was trained with."""
    text = config.get("text_config") or config
    expected, embedding = text.get("hidden_size"), weights.get(_EMBEDDING)
    if embedding is not None and expected is not None and embedding.shape[1] != expected:
        raise FormatError(
            f"it is a Qwen2.5-VL of the width {embedding.shape[1]}, and the model needs one of {expected}; {_WANTED}"
        )
