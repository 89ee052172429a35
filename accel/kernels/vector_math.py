"""Chooses the kernels of torch's elementwise CPU functions before they are needed, so that results are reproducible.

Intel's MKL chooses a function's kernel at its first call. When several threads make this call at once, one of them may
use a kernel of low accuracy, that one time (pytorch/pytorch#188792). In 1 of 24 fresh processes the text encoder's
first cosines were off by 1.5e-4. The image then differed from its receipt. Knows torch; knows no model.
"""

import torch

# The functions of ATen/cpu/vml.h in torch 2.13.
FUNCTIONS = (
    torch.acos,
    torch.asin,
    torch.atan,
    torch.cos,
    torch.erf,
    torch.erfc,
    torch.erfinv,
    torch.exp,
    torch.log,
    torch.log2,
    torch.log10,
    torch.sin,
    torch.sqrt,
    torch.tan,
    torch.tanh,
    torch.trunc,
)


def choose_kernels() -> None:
    """Call every function on one value, which uses one thread. Later calls use the kernel chosen then."""
    for dtype in (torch.float32, torch.float64):
        value = torch.full((1,), 0.5, dtype=dtype)
        for function in FUNCTIONS:
            function(value)
