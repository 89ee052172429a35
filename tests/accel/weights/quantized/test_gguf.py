import sys

import gguf
import numpy as np
import pytest
import torch

from accel.weights.quantized.gguf import GgufLinear, block_layout, dequantize_blocks
from tests.accel.weights.quantized.linears import make_linear, make_rows, relative_error

KINDS = ["BF16", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "Q3_K", "Q2_K"]


def random_blocks(kind: str, rows: int, blocks: int) -> np.ndarray:
    """Packed rows of any bits, with every float16 scale finite."""
    size = block_layout(kind)[1]
    generator = np.random.default_rng(0)
    # No byte of 0x60 or more in either sign: as the high byte of a float16, it would make a huge number or none.
    return generator.integers(0, 0x60, (rows, blocks * size), np.uint8) | generator.choice(
        np.array([0, 0x80], np.uint8), (rows, blocks * size)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_equal_those_of_the_gguf_package(kind: str) -> None:
    packed = random_blocks(kind, rows=6, blocks=3)
    expected = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[kind])
    assert np.isfinite(expected).all()
    assert np.array_equal(dequantize_blocks(torch.from_numpy(packed), kind).numpy(), expected)


@pytest.mark.parametrize(("kind", "most"), [("Q8_0", 0.01), ("Q5_1", 0.05), ("Q4_0", 0.12)])
def test_a_packed_layer_computes_what_the_linear_does(kind: str, most: float) -> None:
    linear, rows = make_linear(512, 256), make_rows(40, 512)
    packed = gguf.quants.quantize(linear.weight.numpy(), gguf.GGMLQuantizationType[kind])
    layer = GgufLinear.from_packed(torch.from_numpy(packed), kind, linear.bias)
    assert (layer.in_features, layer.out_features) == (512, 256)
    assert relative_error(layer(rows), linear(rows)) < most
    assert f"kind={kind}" in repr(layer)


@pytest.mark.parametrize("kind", ["IQ2_XS", "Q9", "F32"])
def test_an_unknown_type_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"the GGUF type {kind} is not supported: use a file of type Q2_K to Q8_0"):
        GgufLinear.from_packed(torch.zeros(4, 34, dtype=torch.uint8), kind, None)


def test_a_row_of_a_part_of_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 35 bytes is no whole number of Q8_0 blocks of 34 bytes"):
        GgufLinear.from_packed(torch.zeros(4, 35, dtype=torch.uint8), "Q8_0", None)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match=r"GGUF files need the gguf package: install ownware\[gpu\]"):
        block_layout("Q8_0")
