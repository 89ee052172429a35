"""Pairs quantized weights with their scales, in each of the ways that files name them. Imports no torch.

The scales of activations are left out on purpose: activations are scaled row by row when they are used.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.containers.headers import FormatError, TensorEntry

# What stands beside a weight: `scaled_fp8` files of ComfyUI first, then its present layout.
_WEIGHT_SCALES = (".scale_weight", ".weight_scale")
_LEFT_OUT = (".scale_input", ".input_scale", ".comfy_quant")
_FILE_MARKER = "scaled_fp8"
# The formats of a layer that are understood, and the types that the weights of each may lie in.
_FORMATS = {"float8_e4m3fn": "F8_E4M3", "float8_e4m3fn_rowwise": "F8_E4M3", "float8_e5m2": "F8_E5M2"}
_BITSANDBYTES = re.compile(r"\.(absmax|quant_map|quant_state\..+|SCB)$")
_FLOATS = frozenset(("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"))


@dataclass(frozen=True, slots=True)
class WeightEntry:
    """A tensor, and the scale that its values are multiplied with: one number, or one for each row."""

    tensor: TensorEntry
    scale: TensorEntry | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight."""
        return self.tensor.shape

    @property
    def size(self) -> int:
        """The bytes in the file, without the scale."""
        return self.tensor.size


@dataclass(frozen=True, slots=True)
class JoinedEntry:
    """A weight that a file holds in parts. They follow each other along `axis`, which is a new one if `stacked`."""

    parts: tuple[WeightEntry, ...]
    axis: int = 0
    stacked: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole weight."""
        part = self.parts[0].shape
        before, after = part[: self.axis], part[self.axis :]
        if self.stacked:
            return (*before, len(self.parts), *after)
        return (*before, sum(each.shape[self.axis] for each in self.parts), *after[1:])

    @property
    def size(self) -> int:
        """The bytes of all parts in the file."""
        return sum(part.size for part in self.parts)


AnyEntry = WeightEntry | JoinedEntry


def pair_scales(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> Mapping[str, WeightEntry]:
    """The weights by name, each with its scale. Raises `FormatError` for a quantization that is not understood."""
    scales = {weight: name for name in tensors if (weight := _scaled_weight(name)) is not None and weight in tensors}
    beside = {name for name in tensors if name.endswith(_LEFT_OUT) or name.split(".")[-1] == _FILE_MARKER}
    formats = _layer_formats(tensors, metadata)
    paired: dict[str, WeightEntry] = {}
    for name, tensor in tensors.items():
        if name in beside or _scaled_weight(name) in tensors:
            continue
        if tensor.kind == "U8" and (kind := _FORMATS.get(formats.get(name, ""))) is not None:
            tensor = TensorEntry(tensor.path, kind, tensor.shape, tensor.offset, tensor.size)
        paired[name] = WeightEntry(tensor, _scale(name, tensor, tensors, scales))
    return MappingProxyType(paired)


def _scaled_weight(name: str) -> str | None:
    suffix = next((suffix for suffix in _WEIGHT_SCALES if name.endswith(suffix)), None)
    return None if suffix is None else f"{name.removesuffix(suffix)}.weight"


def _scale(
    name: str, tensor: TensorEntry, tensors: Mapping[str, TensorEntry], scales: Mapping[str, str]
) -> TensorEntry | None:
    if name not in scales:
        return None
    scale = tensors[scales[name]]
    rows = tensor.shape[0] if tensor.shape else 1
    if tensor.kind not in _FLOATS:
        raise FormatError(
            f"its weights are of the type {tensor.kind} with scales, such as {name}, which cannot be read; "
            "use an fp8 or bf16 file"
        )
    if scale.shape not in ((), (1,), (1, 1), (rows,), (rows, 1)):
        raise FormatError(
            f"the scale of {name} has the shape {list(scale.shape)}; only one scale for a weight or for each of its "
            "rows is supported"
        )
    return scale


def _layer_formats(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> dict[str, str]:
    """The format of each weight that says one, from the metadata of the file or the `comfy_quant` beside a weight."""
    if quantized := next(filter(_BITSANDBYTES.search, tensors), None):
        raise FormatError(
            f"it was saved quantized by bitsandbytes, as {quantized} shows, which cannot be read; "
            "use bf16 weights and quantize them while they are loaded"
        )
    layers = dict(_noted_layers(metadata))
    for name, tensor in tensors.items():
        if name.endswith(".comfy_quant"):
            layers[name.removesuffix(".comfy_quant")] = _noted_layer(name, tensor)
    formats = {f"{layer}.weight": str(_format(note)) for layer, note in layers.items()}
    for name, kind in formats.items():
        if kind not in _FORMATS:
            raise FormatError(
                f"{name} is quantized as {kind}, which cannot be read; use an fp8 file, a bf16 file, or a GGUF of "
                "Q2_K to Q8_0"
            )
    return formats


def _noted_layers(metadata: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        layers = json.loads(metadata.get("_quantization_metadata", "{}")).get("layers", {})
    except (ValueError, AttributeError) as error:
        raise FormatError("its _quantization_metadata cannot be read") from error
    if not isinstance(layers, dict):
        raise FormatError("its _quantization_metadata names no layers")
    return layers


def _noted_layer(name: str, tensor: TensorEntry) -> Any:
    """The JSON that the bytes of a tensor spell."""
    with tensor.path.open("rb") as file:
        file.seek(tensor.offset)
        try:
            return json.loads(file.read(min(tensor.size, 4096)))
        except ValueError as error:
            raise FormatError(f"{name} cannot be read") from error


def _format(note: Any) -> object:
    return note.get("format") if isinstance(note, dict) else None
