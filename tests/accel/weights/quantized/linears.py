"""Linear layers and inputs for the tests of quantized weights."""

import torch
from torch import nn


def make_linear(in_features: int, out_features: int, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(in_features, out_features, bias=bias).requires_grad_(False)
    linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * in_features**-0.5)
    if bias:
        linear.bias.copy_(torch.randn(out_features, generator=generator))
    return linear


def make_rows(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    """The root-mean-square error over the root-mean-square value."""
    difference = actual.float() - expected.float()
    return (difference.square().mean() / expected.float().square().mean()).sqrt().item()
