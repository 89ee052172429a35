"""Recognizes the ControlNets of Qwen-Image among weights files, by their names alone. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pipelines.models.formats.components.refusals import (
    LORA,
    TEXT_ENCODER,
    TRANSFORMER,
    VAE,
    Refusal,
    refuse,
    some_name,
)
from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import open_weights

_BLOCKWISE = "controlnet_blocks.0.y_rms.weight"
_INSTANTX = "controlnet_x_embedder.weight"
_REFUSALS = (
    Refusal(LORA, "it is a LoRA, not a ControlNet; name it under [[loras]]"),
    Refusal(
        some_name(r"^control_(img_in|blocks)\."),
        "it is a ControlNet of Qwen-Image 2.1, another network; use one of 1.0",
    ),
    Refusal(TRANSFORMER, "it is a transformer, not a ControlNet; name it as `transformer` of a model"),
    Refusal(TEXT_ENCODER, "it is a text encoder, not a ControlNet; name it as `text_encoder` of a model"),
    Refusal(VAE, "it is a VAE, not a ControlNet; name it as `vae` of a model"),
)


def controlnet_kind(names: Iterable[str]) -> Literal["instantx", "blockwise"]:
    """Tell from the names of its tensors what kind of net a file holds. Raises `FormatError` if it holds none."""
    listed = sorted(names)
    if _BLOCKWISE in listed:
        return "blockwise"
    if _INSTANTX in listed:
        return "instantx"
    refuse(listed, _REFUSALS)
    raise FormatError(f"it is no ControlNet of Qwen-Image: it holds {', '.join(listed[:2]) or 'nothing'}")


def check_controlnet(path: Path) -> None:
    """Raise `FormatError` for a single file that is no ControlNet of Qwen-Image."""
    controlnet_kind(open_weights(path).tensors)
