import sys
from typing import Any

import bitsandbytes
import bitsandbytes.functional
import pytest
import torch

from accel.weights.quantized.nf4 import Nf4Linear
from tests.accel.weights.quantized.linears import make_linear, make_rows, relative_error


def test_the_error_is_that_of_four_bits() -> None:
    linear, rows = make_linear(512, 256), make_rows(40, 512)
    assert 0.05 < relative_error(Nf4Linear.from_linear(linear)(rows), linear(rows)) < 0.12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitsandbytes_multiplies_alike(dtype: torch.dtype) -> None:
    linear, rows = make_linear(96, 64).to(dtype), make_rows(5, 96).to(dtype)
    layer = Nf4Linear.from_linear(linear)
    library: Any = bitsandbytes
    packed, state = library.functional.quantize_4bit(linear.weight, blocksize=64, quant_type="nf4")
    expected = library.matmul_4bit(rows, packed.t(), quant_state=state, bias=linear.bias)
    torch.testing.assert_close(layer(rows), expected)


def test_a_weight_takes_a_half_byte_and_its_share_of_a_scale() -> None:
    layer = Nf4Linear.from_linear(make_linear(512, 256, bias=False))
    assert layer.packed.nbytes + layer.absmax.nbytes == 512 * 256 * (1 / 2 + 4 / 64)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    with pytest.raises(ValueError, match=r"NF4 needs bitsandbytes: install ownware\[gpu\]"):
        Nf4Linear.from_linear(make_linear(64, 32))
