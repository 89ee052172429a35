import pytest
import torch
from torch.nn import functional

from accel.kernels.linear_gelu import linear_gelu

WEIGHT, BIAS = torch.randn(6, 4), torch.randn(6)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 5, 4)])
def test_it_is_a_linear_layer_and_a_gelu(shape: tuple[int, ...]) -> None:
    sample = torch.randn(shape)
    expected = functional.gelu(functional.linear(sample, WEIGHT, BIAS), approximate="tanh")
    assert torch.equal(linear_gelu(sample, WEIGHT, BIAS), expected)


def test_the_compiler_knows_its_shape() -> None:
    torch.library.opcheck(
        linear_gelu, (torch.randn(2, 5, 4), WEIGHT, BIAS), test_utils=("test_schema", "test_faketensor")
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_epilogue_differs_by_rounding_only() -> None:
    sample, weight, bias = (
        each.cuda().bfloat16() for each in (torch.randn(64, 64), torch.randn(256, 64), torch.randn(256))
    )
    expected = functional.gelu(functional.linear(sample.float(), weight.float(), bias.float()), approximate="tanh")
    assert torch.allclose(linear_gelu(sample, weight, bias).float(), expected, rtol=0.02, atol=0.02)
