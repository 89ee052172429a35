"""What a loaded model really runs with: the layers, the places of the weights, and the attention kernel.

The log, /readyz, the metrics and the receipts tell it. Plain values, which travel between processes. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipelines.models.formats.format_name import FOLDER


@dataclass(frozen=True, slots=True)
class Engaged:
    """What engaged when a model was loaded.

    `layers` and `encoder_layers` count the Linear layers by format and kernel, such as `fp8/scaled_mm`. `resident_gib`
    of the transformer stay on the device, `streamed_gib` are copied in each step, and `host_gib` wait in host memory.
    `attention` is the kernel that was chosen; `torch` means that torch chooses. `attention_warning` says why it may be
    slow. `compiled` is for the blocks; requests with adapters that are not of low rank run without. With `relaxed` the
    compiled blocks round less often. While they are `compiling`, requests run without. With `batched_cfg` both
    branches of guidance run as one batch; `auto` means those of the renders where it was measured as a gain, and is in
    no receipt. `graphs` counts the captured graphs of blocks; None where none is captured.
    `formats` are those of the files, by component, such as `safetensors F8_E4M3 with scales`.
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
    attention_warning: str | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    relaxed: bool = False
    fused_heads: bool = False
    compiling: bool = False
    batched_cfg: bool | Literal["auto"] = False
    graphs: int | None = None

    @property
    def plain(self) -> bool:
        """Whether everything is a folder, resident and calculates in `dtype`, as without a plan."""
        dense = set(self.layers) | set(self.encoder_layers) <= {self.dtype}
        folders = all(name.startswith(FOLDER) for name in self.formats.values())
        resident = self.encoder_place == "card" and not (self.host_gib or self.tables)
        return dense and folders and resident and not (self.compiled or self.batched_cfg)

    def __str__(self) -> str:
        parts = [
            f"transformer {_count(self.layers)}{self._source('transformer')}, {_size(self.resident_gib)} resident",
            *([f"{_size(self.streamed_gib)} streamed a step"] if self.streamed_gib else []),
            *(["modulation from tables"] if self.tables else []),
            f"text encoder {_count(self.encoder_layers)}{self._source('text_encoder')}"
            + (" in host memory" if self.encoder_place == "host" else ""),
            *([f"VAE{self._source('vae')}"] if self._source("vae") else []),
            f"attention {self.attention}",
            *(["blocks compiled"] if self.compiled else []),
            *(["blocks are being compiled"] if self.compiling else []),
            *(["relaxed"] if self.relaxed else []),
            *(["fused heads"] if self.fused_heads else []),
            *(["branches as one batch"] if self.batched_cfg is True else []),
            *(["branches as one batch where it gains"] if self.batched_cfg == "auto" else []),
            *(["graphs of small images"] if self.graphs is not None else []),
        ]
        return ", ".join(parts)

    def _source(self, component: str) -> str:
        """Where a component comes from, unless it is a folder: the usual case."""
        name = self.formats.get(component, FOLDER)
        return "" if name.startswith(FOLDER) else f" from {name}"


def _count(layers: Mapping[str, int]) -> str:
    """The formats, the most frequent one first."""
    return " and ".join(sorted(layers, key=lambda form: -layers[form])) or "without layers"


def _size(gib: float) -> str:
    return f"{gib:.2f} GiB" if gib >= 1 else f"{gib * 1024:.1f} MiB"
