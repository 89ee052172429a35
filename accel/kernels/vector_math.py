"""The elementwise functions that torch takes from Intel's MKL on a CPU, each called once before one counts on them.

MKL chooses a function's kernel at its first call. When several threads make that call at once, one of them may compute
its share with a kernel of low accuracy, that one time: in 1 of 24 fresh processes the text encoder's first cosines were
off by 1.5e-4, and the picture was not the one that its receipt promises (pytorch/pytorch#188792). Knows torch; knows no
model.
"""

import torch

# Those of ATen/cpu/vml.h, torch 2.13.
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
    """Call every function on one value, which takes one thread, so that later calls find their kernel chosen."""
    for dtype in (torch.float32, torch.float64):
        value = torch.full((1,), 0.5, dtype=dtype)
        for function in FUNCTIONS:
            function(value)
