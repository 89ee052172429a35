"""The mathematics of adapters: what LoRA, LoKr, DoRA and full differences add to the output of a module.

A delta is a function of the input and the output of a module, and never writes to the module. Knows tensors; knows no
files, no names, and no weight of a request.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional


class Delta(Protocol):
    """The effect of an adapter on one module, at weight 1."""

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return what to add to `output` [..., out], the module's own output for the input `sample` [..., in]."""
        ...


@dataclass(frozen=True, slots=True)
class LoRA:
    """LoRA (Hu et al. 2021, arXiv:2106.09685): `up` [out, rank] @ `down` [rank, in], with alpha / rank folded in."""

    down: torch.Tensor
    up: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.linear(functional.linear(sample, self.down), self.up)

    def delta_weight(self) -> torch.Tensor:
        """Return ΔW [out, in]."""
        return self.up @ self.down


@dataclass(frozen=True, slots=True)
class LoKr:
    """LoKr (LyCORIS, arXiv:2309.14859): `left` [a, b] ⊗ `right` [c, d], with in = b·d and out = a·c.

    `right` is one matrix, or two matrices to be multiplied.
    """

    left: torch.Tensor
    right: tuple[torch.Tensor, ...]

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        rows = sample.unflatten(-1, (self.left.shape[1], -1))
        for matrix in reversed(self.right):
            rows = functional.linear(rows, matrix)
        return torch.matmul(self.left, rows).flatten(-2)

    def delta_weight(self) -> torch.Tensor:
        """Return ΔW [out, in]."""
        return torch.kron(self.left, multiply(*self.right))


@dataclass(frozen=True, slots=True)
class DoRA:
    """DoRA (Liu et al. 2024, arXiv:2402.09353): the rows of W + ΔW are rescaled to a learned magnitude.

    `gain` [out] is the magnitude over the norm of the row, and `gain_minus_one` is gain − 1. The addition is therefore
    (gain − 1)·W x + gain·ΔW x. LyCORIS can rescale columns instead: then both are [in] and scale the input, and
    `by_input` is true. The weight of a request multiplies the whole addition, so that 0 is the model itself. ComfyUI
    does the same; PEFT scales ΔW before it computes norms.
    """

    delta: LoRA | LoKr
    gain: torch.Tensor
    gain_minus_one: torch.Tensor  # kept beside `gain`: a rounded gain near 1 has lost most of its difference from 1
    by_input: bool

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        if self.by_input:
            base = functional.linear(sample * self.gain_minus_one, _linear(module).weight)
            return base + self.delta(module, sample * self.gain, output)
        bias = _linear(module).bias
        base = output if bias is None else output - bias
        return self.gain_minus_one * base + self.gain * self.delta(module, sample, output)


@dataclass(frozen=True, slots=True)
class WeightDiff:
    """The difference of two weights [out, in], as extraction tools write it."""

    diff: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.linear(sample, self.diff)


@dataclass(frozen=True, slots=True)
class BiasDiff:
    """The difference of two biases [out]."""

    diff: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return self.diff


@dataclass(frozen=True, slots=True)
class NormDiff:
    """The difference of two weights [width] of an RMS norm, which is linear in its weight."""

    diff: torch.Tensor
    eps: float

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.rms_norm(sample, self.diff.shape, self.diff, self.eps)


def multiply(*matrices: torch.Tensor) -> torch.Tensor:
    """Return a single matrix as it is, or the product of two."""
    return matrices[0] if len(matrices) == 1 else matrices[0] @ matrices[1]


def cast_delta(value: Any, dtype: torch.dtype) -> Any:
    """Return a delta, or a sequence of deltas, with all tensors in a dtype."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: cast_delta(getattr(value, f.name), dtype) for f in fields(value)})
    return tuple(cast_delta(item, dtype) for item in value) if isinstance(value, list | tuple) else value


def _linear(module: nn.Module) -> nn.Linear:
    return cast("nn.Linear", module)
