"""A Linear layer and the GELU behind it as one product, whose epilogue computes the GELU.

The GELU sees the sum before it is rounded to the dtype, so results differ from those of two kernels by rounding. It is
an operator of its own, because the compiler would take the library's one apart. Knows tensors; knows no block.
"""

import torch
from torch.nn import functional


@torch.library.custom_op("ownware::linear_gelu", mutates_args=())
def linear_gelu(sample: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """GELU (tanh) of `sample` [..., in] · `weight` [out, in] + `bias` [out].

    A CPU has no such epilogue, and rounds as the two separate kernels do.
    """
    if sample.is_cuda:
        rows = torch._addmm_activation(  # pyright: ignore[reportPrivateImportUsage]
            bias, sample.reshape(-1, sample.shape[-1]), weight.t(), use_gelu=True
        )
        return rows.unflatten(0, sample.shape[:-1])
    return functional.gelu(functional.linear(sample, weight, bias), approximate="tanh")


@linear_gelu.register_fake
def _(sample: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The shape of the result, for the compiler."""
    return sample.new_empty(*sample.shape[:-1], weight.shape[0])
