"""What adapters add to a module's output: the mathematics of LoRA, LoKr, DoRA and whole differences.

A delta is a function of a module's input and output; it never writes to the module. Knows tensors; knows no files, no
names, and not how strongly a request wants it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.nn import functional


class Delta(Protocol):
    """What an adapter adds to one module at weight 1."""

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The addition to `output` [..., out], which `module` alone made of `sample` [..., in]."""
        ...


@dataclass(frozen=True, slots=True)
class LowRank:
    """LoRA (Hu et al. 2021, arXiv:2106.09685): `up` [out, rank] @ `down` [rank, in], alpha / rank folded in."""

    down: torch.Tensor
    up: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.linear(functional.linear(sample, self.down), self.up)

    def matrix(self) -> torch.Tensor:
        """Multiplied out, [out, in]."""
        return self.up @ self.down


@dataclass(frozen=True, slots=True)
class Kronecker:
    """LoKr (LyCORIS, arXiv:2309.14859): `left` [a, b] ⊗ `right` [c, d], with in = b·d and out = a·c.

    `right` is one matrix, or two whose product it is.
    """

    left: torch.Tensor
    right: tuple[torch.Tensor, ...]

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        rows = sample.unflatten(-1, (self.left.shape[1], -1))
        for matrix in reversed(self.right):
            rows = functional.linear(rows, matrix)
        return torch.matmul(self.left, rows).flatten(-2)

    def matrix(self) -> torch.Tensor:
        """Multiplied out, [out, in]."""
        return torch.kron(self.left, product(*self.right))


@dataclass(frozen=True, slots=True)
class Rescaled:
    """DoRA (Liu et al. 2024, arXiv:2402.09353): the adapted matrix W + Δ, its rows brought to a learned length.

    `gain` [out] is that length over the row's own and `change` is gain - 1, so the addition is change·W x + gain·Δ x.
    LyCORIS can bring columns to a length instead: then both are [in] and scale the input, and `by_input` is true. The
    weight of a request multiplies the whole addition, so that 0 is the model itself; ComfyUI does the same, PEFT
    scales Δ before it measures lengths.
    """

    delta: LowRank | Kronecker
    gain: torch.Tensor
    change: torch.Tensor  # kept beside `gain`, because near 1 a rounded gain has lost most of its difference from 1
    by_input: bool

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        if self.by_input:
            base = functional.linear(sample * self.change, _linear(module).weight)
            return base + self.delta(module, sample * self.gain, output)
        bias = _linear(module).bias
        base = output if bias is None else output - bias
        return self.change * base + self.gain * self.delta(module, sample, output)


@dataclass(frozen=True, slots=True)
class Full:
    """The difference of two matrices [out, in], as extractors write it."""

    weight: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.linear(sample, self.weight)


@dataclass(frozen=True, slots=True)
class FullBias:
    """The difference of two biases [out]."""

    bias: torch.Tensor

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return self.bias


@dataclass(frozen=True, slots=True)
class FullScale:
    """The difference of two scales [width] of a root-mean-square norm, which is linear in its scale."""

    scale: torch.Tensor
    eps: float

    def __call__(self, module: nn.Module, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """See `Delta`."""
        return functional.rms_norm(sample, self.scale.shape, self.scale, self.eps)


def product(*matrices: torch.Tensor) -> torch.Tensor:
    """A matrix, or the product of two."""
    return matrices[0] if len(matrices) == 1 else matrices[0] @ matrices[1]


def _linear(module: nn.Module) -> nn.Linear:
    return cast("nn.Linear", module)


def converted(value: Any, dtype: torch.dtype) -> Any:
    """A delta, or a sequence of them, with all its tensors in a dtype."""
    if isinstance(value, torch.Tensor):
        return value.to(dtype)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: converted(getattr(value, f.name), dtype) for f in fields(value)})
    return tuple(converted(item, dtype) for item in value) if isinstance(value, list | tuple) else value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in a delta, or in a sequence of them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors(getattr(value, field.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from tensors(item)
