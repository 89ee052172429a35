"""Reads a LoRA file of any trainer into the deltas of a transformer's modules.

Checks that every weight fits its module. Knows modules and tensors. The names are in `keys`, the mathematics in
`deltas`, the requests in `apply`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from accel.weights.quantized.base import AnyLinear, dense_weight
from pipelines.errors import LoraError
from pipelines.lora.alphas import Alphas, read_alphas
from pipelines.lora.deltas import (
    OFT,
    BiasDiff,
    Delta,
    DoRA,
    LoHa,
    LoKr,
    LoRA,
    NormDiff,
    WeightDiff,
    cast_delta,
    cayley,
    cayley_neumann,
    multiply,
)
from pipelines.lora.keys import is_norm, sort_names

Weights = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class LoraFile:
    """A file read for one transformer: its deltas by module name, and warnings about skipped weights."""

    deltas: Mapping[str, tuple[Delta, ...]]
    warnings: tuple[str, ...]


def read_lora(path: Path, transformer: nn.Module, device: torch.device, dtype: torch.dtype) -> LoraFile:
    """Read a file for a transformer.

    Raises `LoraError` if the file is missing, is no safetensors file, is no LoRA or belongs to another model, or if any
    weight does not fit its module. A LoRA is applied whole or not at all.
    """
    deltas: dict[str, tuple[Delta, ...]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            names = sort_names(file.keys())
            alphas = read_alphas(file.metadata() or {})
            for name, parts in names.modules.items():
                weights = {part: file.get_tensor(key).to(device, torch.float32) for part, key in parts.items()}
                deltas[name] = cast_delta(_make_deltas(name, transformer, weights, alphas), dtype)
    except FileNotFoundError as error:
        raise LoraError(f"there is no file '{path}'") from error
    except (OSError, SafetensorError) as error:
        raise LoraError(f"'{path.name}' is no safetensors file ({error})") from error
    if not names.text_encoder:
        return LoraFile(deltas, ())
    ignored = f"{len(names.text_encoder)} of its weights are for a text encoder and are ignored"
    return LoraFile(deltas, (ignored,))


def _make_deltas(name: str, transformer: nn.Module, weights: Weights, alphas: Alphas) -> list[Delta]:
    """Make the deltas of one module from its weights, in float32."""
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise LoraError(f"its weights of {name} are not all finite numbers")
    try:
        module = transformer.get_submodule(name)
    except AttributeError as error:
        raise LoraError(f"it was made for another model: this one has no {name}") from error
    fits = _fits_norm if is_norm(name) else _fits_linear
    if not fits(module, weights):
        shapes = ", ".join(f"{part} {list(weight.shape)}" for part, weight in weights.items())
        raise LoraError(f"its weights of {name} do not fit this model: {shapes} on {module}")
    if is_norm(name):
        return [NormDiff(weights["diff"], float(getattr(module, "eps")))]  # noqa: B009  a Module's attribute
    return _linear_deltas(name, cast("AnyLinear", module), weights, alphas)


def _fits_norm(module: nn.Module, weights: Weights) -> bool:
    return weights["diff"].shape == module.get_parameter("weight").shape


def _fits_linear(module: nn.Module, weights: Weights) -> bool:
    if not isinstance(module, AnyLinear):
        return False
    size = (module.out_features, module.in_features)
    legal = {"alpha": [(), (1,)], "magnitude": [size[:1], (size[0], 1), (1, size[1])], "diff": [size]}
    legal |= {"diff_b": [size[:1]], "up_b": [size[:1]], "rescale": [size[:1], (size[0], 1)]}
    if not all(tuple(weights[part].shape) in shapes for part, shapes in legal.items() if part in weights):
        return False
    if "down" in weights:
        return _product_shape(weights["up"], weights["down"]) == size
    if "hada_w1_a" in weights:
        return all(_product_shape(*_factors(weights, name)) == size for name in ("hada_w1", "hada_w2"))
    if (vectors := weights.get("oft_vectors")) is not None:
        return vectors.ndim == 2 and _fits_blocks(len(vectors), _block_size(vectors.shape[1]), module.in_features)
    if (blocks := weights.get("oft_blocks")) is not None:
        number, rows, columns = blocks.shape if blocks.ndim == 3 else (0, 0, 1)
        return rows == columns and number * rows == module.out_features
    if left := _factors(weights, "w1"):
        (rows, columns), (more_rows, more_columns) = _product_shape(*left), _product_shape(*_factors(weights, "w2"))
        return (rows * more_rows, columns * more_columns) == size
    return True


def _fits_blocks(number: int, size: int, width: int) -> bool:
    """Whether `number` blocks of `size` cover a width, or one repeated block does."""
    return size > 0 and (number * size == width or (number == 1 and width % size == 0))


def _block_size(elements: int) -> int:
    """The size of a skew-symmetric matrix with `elements` above its diagonal. 0 if no matrix fits."""
    size = (1 + math.isqrt(1 + 8 * elements)) // 2
    return size if elements and size * (size - 1) // 2 == elements else 0


def _linear_deltas(name: str, linear: AnyLinear, weights: Weights, alphas: Alphas) -> list[Delta]:
    made: list[Delta] = []
    if "diff" in weights:
        made.append(WeightDiff(weights["diff"]))
    if "diff_b" in weights:
        made.append(BiasDiff(weights["diff_b"]))
    if "up_b" in weights:
        made.append(BiasDiff(weights["up_b"] * alphas.scale(name, len(weights["down"]), _own_alpha(weights))))
    if (rotation := _make_oft(weights)) is not None:
        made.append(rotation)
    inner = _make_factored(name, weights, alphas)
    if inner is not None:
        made.append(_make_dora(linear, inner, weights["magnitude"]) if "magnitude" in weights else inner)
    return made


def _make_factored(name: str, weights: Weights, alphas: Alphas) -> LoRA | LoHa | LoKr | None:
    """Make the low-rank, Hadamard or Kronecker delta, scaled by alpha, or return None if the module has neither."""
    alpha = _own_alpha(weights)
    if "down" in weights:
        scale = alphas.scale(name, len(weights["down"]), alpha)
        return LoRA(weights["down"], weights["up"] * scale)
    if "hada_w1_a" in weights:
        scale = alphas.scale(name, len(weights["hada_w1_b"]), alpha)
        first = weights["hada_w1_a"] * scale, weights["hada_w1_b"]
        return LoHa(first, (weights["hada_w2_a"], weights["hada_w2_b"]))
    left, right = _factors(weights, "w1"), _factors(weights, "w2")
    if not left:
        return None
    # LyCORIS scales only a factor that has a rank, and looks at the right factor first.
    ranked = right if len(right) == 2 else left
    scale = alphas.scale(name, len(ranked[1]), alpha) if len(ranked) == 2 else 1.0
    return LoKr(multiply(*left) * scale, right)


def _own_alpha(weights: Weights) -> float | None:
    """The alpha of the module's tensor, if it has one."""
    return weights["alpha"].item() if "alpha" in weights else None


def _make_oft(weights: Weights) -> OFT | None:
    """Make the rotation, or return None if the module has none."""
    if (vectors := weights.get("oft_vectors")) is not None:
        size = _block_size(vectors.shape[1])
        skew = vectors.new_zeros(len(vectors), size, size)
        rows, columns = torch.triu_indices(size, size, 1)
        skew[:, rows, columns] = vectors
        return OFT(_minus_identity(cayley_neumann(skew - skew.mT)), by_input=True)
    if (blocks := weights.get("oft_blocks")) is None:
        return None
    skew, width = blocks - blocks.mT, blocks.shape[0] * blocks.shape[1]
    # LyCORIS and kohya keep the constraint per output as alpha.
    constraint = width * weights["alpha"].item() if "alpha" in weights else 0.0
    norm = torch.linalg.vector_norm(skew)
    if 0 < constraint < norm:
        skew = skew * (constraint / norm)
    rotations = cayley(skew)
    if "rescale" in weights:
        rotations = rotations * weights["rescale"].reshape(len(blocks), 1, -1)
    return OFT(_minus_identity(rotations), by_input=False)


def _minus_identity(matrices: torch.Tensor) -> torch.Tensor:
    return matrices - torch.eye(matrices.shape[-1], device=matrices.device)


def _make_dora(linear: AnyLinear, inner: LoRA | LoHa | LoKr, magnitude: torch.Tensor) -> DoRA:
    adapted = dense_weight(linear).to(magnitude.device, torch.float32) + inner.delta_weight()
    by_input = magnitude.ndim == 2 and magnitude.shape[1] != 1
    lengths = torch.linalg.vector_norm(adapted, dim=0 if by_input else 1)
    gain = magnitude.flatten() / lengths.clamp_min(torch.finfo(torch.float32).eps)
    return DoRA(inner, gain, gain - 1, by_input)


def _factors(weights: Weights, name: str) -> tuple[torch.Tensor, ...]:
    """One factor of a Kronecker or Hadamard product: a matrix, or two matrices to be multiplied."""
    if name in weights:
        return (weights[name],)
    return tuple(weights[part] for part in (f"{name}_a", f"{name}_b") if part in weights)


def _product_shape(*matrices: torch.Tensor) -> tuple[int, int]:
    """Rows and columns of a product, (0, 0) if the matrices do not fit together."""
    fitting = all(matrix.ndim == 2 for matrix in matrices) and all(
        first.shape[1] == second.shape[0] > 0 for first, second in pairwise(matrices)
    )
    return (matrices[0].shape[0], matrices[-1].shape[1]) if fitting else (0, 0)
