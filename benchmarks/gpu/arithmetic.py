"""The floating-point operations of one forward of the transformer. Pure arithmetic; knows no device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DEFAULTS = {
    "num_layers": 60,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "in_channels": 64,
    "joint_attention_dim": 3584,
}  # of QwenImageTransformer2DModel, which are Qwen-Image's own
_FEED_FORWARD = 4  # the width of the hidden layer, in widths of the model
_MODULATION = 6  # shift, scale and gate for the attention and for the feed-forward layer


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of the matrix products, and of attention's two products. A multiplication and an addition are two."""

    products: float
    attention: float

    @property
    def total(self) -> float:
        """All operations."""
        return self.products + self.attention

    def __add__(self, other: "Work") -> "Work":
        return Work(self.products + other.products, self.attention + other.attention)

    def __mul__(self, times: float) -> "Work":
        return Work(self.products * times, self.attention * times)


def forward_work(transformer: Mapping[str, Any], image_tokens: int, words: int) -> Work:
    """The work of one forward of one prompt. `transformer` is its configuration; what it lacks is diffusers' default.

    `image_tokens` are those of the image and of its references.
    """
    config = _DEFAULTS | dict(transformer)
    layers = config["num_layers"]
    width = config["attention_head_dim"] * config["num_attention_heads"]
    tokens = image_tokens + words
    # query, key, value and output are four products; the feed-forward layer has two of four widths each
    block = 2 * tokens * width * width * (4 + 2 * _FEED_FORWARD)
    modulation = 2 * width * _MODULATION * width * 2  # one row, for the image's stream and the text's
    ends = 2 * width * (image_tokens * config["in_channels"] * 2 + words * config["joint_attention_dim"])
    attention = layers * 4 * tokens * tokens * width
    return Work(layers * (block + modulation) + ends, attention)
