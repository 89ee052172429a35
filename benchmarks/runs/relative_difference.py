"""How far one tensor is from another one. Knows no model."""

import torch


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference over that of `expected`, to four digits. 0 only if no bit differs."""
    if torch.equal(found, expected):
        return 0.0
    difference = (found.float() - expected.float()).norm() / expected.float().norm()
    return float(f"{difference.item():.4g}")
