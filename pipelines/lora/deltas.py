"""The mathematics of adapters: what LoRA, LoHa, LoKr, DoRA, OFT and full differences add to the output of a module.

A delta is a function of the input and the output of a module, and never writes to the module. So it acts on quantized
layers too, and stays in the dtype of their input. Knows tensors; knows no files, no names, and no weight of a request.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from accel.weights.quantized.base import AnyLinear, dense_weight


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
class LoHa:
    """LoHa (LyCORIS, arXiv:2309.14859): the elementwise product of two products, each [out, rank] @ [rank, in].

    alpha / rank is folded into `first`. The product has the size of the weight, so it is made again in each forward.
    """

    first: tuple[torch.Tensor, torch.Tensor]
    second: tuple[torch.Tensor, torch.Tensor]

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.linear(sample, self.delta_weight())

    def delta_weight(self) -> torch.Tensor:
        """Return ΔW [out, in]."""
        return multiply(*self.first) * multiply(*self.second)


@dataclass(frozen=True, slots=True)
class OFT:
    """OFT (Qiu et al. 2023, arXiv:2306.07280): the input or the output is rotated in blocks.

    `blocks` [number, size, size] are the rotations minus the identity, to be multiplied from the right. One block is
    used for all. PEFT rotates the input, and `by_input` is true. LyCORIS and kohya rotate the output without its bias.
    The weight of a request multiplies the difference, as in LyCORIS.
    """

    blocks: torch.Tensor
    by_input: bool

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        if self.by_input:
            return _without_bias(module, module.forward(self._rotate(sample)))  # `forward` runs no hook
        return self._rotate(_without_bias(module, output))

    def _rotate(self, rows: torch.Tensor) -> torch.Tensor:
        blocks = rows.unflatten(-1, (-1, self.blocks.shape[-1]))
        return torch.einsum("...kn,knm->...km", blocks, self.blocks.expand(blocks.shape[-2], -1, -1)).flatten(-2)


@dataclass(frozen=True, slots=True)
class DoRA:
    """DoRA (Liu et al. 2024, arXiv:2402.09353): the rows of W + ΔW are rescaled to a learned magnitude.

    `gain` [out] is the magnitude over the norm of the row, and `gain_minus_one` is gain − 1. The addition is therefore
    (gain − 1)·W x + gain·ΔW x. LyCORIS can rescale columns instead: then both are [in] and scale the input, and
    `by_input` is true. The weight of a request multiplies the whole addition, so that 0 is the model itself. ComfyUI
    does the same; PEFT scales ΔW before it computes norms.
    """

    delta: LoRA | LoHa | LoKr
    gain: torch.Tensor
    gain_minus_one: torch.Tensor  # kept beside `gain`: a rounded gain near 1 has lost most of its difference from 1
    by_input: bool

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        if self.by_input:
            base = functional.linear(sample * self.gain_minus_one, dense_weight(_linear(module)).to(sample.dtype))
            return base + self.delta(module, sample * self.gain, output)
        base = _without_bias(module, output)
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


def cayley(skew: torch.Tensor) -> torch.Tensor:
    """Return the rotations (I + Q)(I − Q)⁻¹ of skew-symmetric matrices Q [number, size, size]."""
    identity = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype)
    return (identity + skew) @ torch.linalg.inv(identity - skew)


def cayley_neumann(skew: torch.Tensor) -> torch.Tensor:
    """Return I + 2Q + 2Q² + 2Q³ + Q⁴, which PEFT uses in place of `cayley` unless told otherwise."""
    identity = torch.eye(skew.shape[-1], device=skew.device, dtype=skew.dtype)
    square = skew @ skew
    return identity + 2 * (skew + square + square @ skew) + square @ square


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


def _without_bias(module: nn.Module, output: torch.Tensor) -> torch.Tensor:
    bias = _linear(module).bias
    return output if bias is None else output - bias


def _linear(module: nn.Module) -> AnyLinear:
    return cast("AnyLinear", module)
