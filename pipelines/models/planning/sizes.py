"""The sizes of a model's components, counted in parameters from its configuration.

Reads configurations, and no weights. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import read_json
from pipelines.models.plan import Precision

# Bytes of a weight. NF4 has a scale of a byte for 64 weights besides, and a second one for those. The scales of FP8 and
# int8 are one number a row, under 0.1 %.
WEIGHT_BYTES: dict[Precision, float] = {"fp32": 4, "bf16": 2, "fp8": 1, "int8": 1, "nf4": 0.5625}

# What the configurations of Qwen-Image and of its text encoder, a Qwen2.5-VL-7B, say.
_TRANSFORMER = {"num_layers": 60, "num_attention_heads": 24, "attention_head_dim": 128, "joint_attention_dim": 3584}
_LANGUAGE = {
    "num_hidden_layers": 28,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152_064,
}
_VISION_PARAMETERS = 676_550_144
_VAE_BYTES = 250_000_000
_TIME_CHANNELS = 256
# Measured by others on Qwen2.5-VL: without these layers, int8 keeps a cosine of 0.997 (Unsloth).
_PRECISE_ENDS = 6


@dataclass(frozen=True, slots=True)
class Packed:
    """What a quantized file holds: FP8 or GGUF, and the bytes of a weight on average."""

    kind: Literal["fp8", "gguf"]
    weight_bytes: float


@dataclass(frozen=True, slots=True)
class TransformerSizes:
    """Parameters of one block without its modulation layers, of these, and of what is outside the blocks.

    `width` is that of the hidden states. `packed` is None unless the weights are quantized in their file.
    """

    blocks: int
    block: int
    modulation: int
    rest: int
    width: int
    packed: Packed | None = None


@dataclass(frozen=True, slots=True)
class EncoderSizes:
    """Parameters of one layer of the text encoder, of its table of embeddings, and of its vision tower."""

    layers: int
    layer: int
    embeddings: int
    vision: int
    packed: Packed | None = None


def precise_ends(precision: Precision, layers: int) -> int:
    """The number of layers that are not quantized at each end of a text encoder with this number of layers."""
    return _PRECISE_ENDS if precision == "int8" and layers > 2 * _PRECISE_ENDS else 0


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """The sizes of all components. `vae_bytes` are in bfloat16."""

    transformer: TransformerSizes
    text_encoder: EncoderSizes
    vae_bytes: int = _VAE_BYTES


def transformer_sizes(config: Mapping[str, Any], packed: Packed | None = None) -> TransformerSizes:
    """The sizes of a transformer with this configuration."""
    config = {**_TRANSFORMER, **config}
    width = config["num_attention_heads"] * config["attention_head_dim"]
    attention = 8 * _linear(width, width)  # query, key, value and output, for the image and for the text
    mlp = 2 * (_linear(width, 4 * width) + _linear(4 * width, width))
    channels = config.get("in_channels", 64)
    rest = (
        _linear(channels, width)
        + _linear(config["joint_attention_dim"], width)
        + _linear(width, channels)
        + _linear(width, 2 * width)
        + _linear(_TIME_CHANNELS, width)
        + _linear(width, width)
    )
    modulation = 2 * _linear(width, 6 * width)
    return TransformerSizes(config["num_layers"], attention + mlp, modulation, rest, width, packed)


def encoder_sizes(config: Mapping[str, Any], packed: Packed | None = None) -> EncoderSizes:
    """The sizes of a text encoder with this configuration, whose language model may stand in `text_config`."""
    language = {**_LANGUAGE, **config.get("text_config", config)}
    width = language["hidden_size"]
    keys = width // language["num_attention_heads"] * language["num_key_value_heads"]
    layer = 2 * width * width + 2 * width * keys + 3 * width * language["intermediate_size"]
    vision = config.get("vision_config", {})
    tower = _VISION_PARAMETERS
    if "hidden_size" in vision:
        inner, outer = vision["hidden_size"], vision.get("intermediate_size", 4 * vision["hidden_size"])
        patches, merger = 3 * 2 * 14 * 14 * inner, (4 * inner) ** 2 + 4 * inner * width
        tower = patches + vision["depth"] * (4 * inner * inner + 3 * inner * outer) + merger
    embeddings = language["vocab_size"] * width
    return EncoderSizes(language["num_hidden_layers"], layer, embeddings, tower, packed)


def folder_sizes(folder: Path) -> ModelSizes:
    """The sizes of a folder in the diffusers layout. What it does not say is as in Qwen-Image."""
    vae = sum(file.stat().st_size for file in (folder / "vae").glob("*.safetensors"))
    return ModelSizes(
        transformer_sizes(_config(folder / "transformer")),
        encoder_sizes(_config(folder / "text_encoder")),
        vae or _VAE_BYTES,
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / "config.json")
    except FormatError:
        return {}


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


QWEN_IMAGE = ModelSizes(transformer_sizes({}), encoder_sizes({}))
