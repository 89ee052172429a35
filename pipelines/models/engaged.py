"""What a loaded model really runs with: the layers, the places of the weights, and the attention kernel.

The log, /readyz, the metrics and the receipts tell it. Plain values, which travel between processes. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class Engaged:
    """What engaged when a model was loaded.

    `layers` and `encoder_layers` count the Linear layers by format and kernel, such as `fp8/scaled_mm`. `resident_gib`
    of the transformer stay on the device, `streamed_gib` are copied in each step, and `host_gib` wait in host memory.
    `attention` is the kernel that was chosen; `torch` means that torch chooses. `compiled` is for the blocks; requests
    with adapters that are not of low rank run without.
    """

    model: str
    dtype: str
    layers: Mapping[str, int]
    encoder_layers: Mapping[str, int]
    encoder_place: Literal["card", "host"]
    resident_gib: float
    streamed_gib: float
    host_gib: float
    tables: bool
    attention: str
    compiled: bool = False

    @property
    def plain(self) -> bool:
        """Whether everything is resident and calculates in `dtype`, as without a plan."""
        dense = set(self.layers) | set(self.encoder_layers) <= {self.dtype}
        return dense and self.encoder_place == "card" and not (self.host_gib or self.tables or self.compiled)

    def __str__(self) -> str:
        parts = [
            f"transformer {_count(self.layers)}, {_size(self.resident_gib)} resident",
            *([f"{_size(self.streamed_gib)} streamed a step"] if self.streamed_gib else []),
            *(["modulation from tables"] if self.tables else []),
            f"text encoder {_count(self.encoder_layers)}" + (" in host memory" if self.encoder_place == "host" else ""),
            f"attention {self.attention}",
            *(["blocks compiled"] if self.compiled else []),
        ]
        return ", ".join(parts)


_JSON = TypeAdapter(Engaged)


def engaged_json(engaged: Engaged) -> dict[str, object]:
    """As JSON values, with the names of the fields."""
    return _JSON.dump_python(engaged, mode="json")


def _count(layers: Mapping[str, int]) -> str:
    """The formats, the most frequent one first."""
    return " and ".join(sorted(layers, key=lambda form: -layers[form])) or "without layers"


def _size(gib: float) -> str:
    return f"{gib:.2f} GiB" if gib >= 1 else f"{gib * 1024:.1f} MiB"
