import gguf
import pytest
import torch
from torch import nn

from accel.weights.quantized.base import QuantizedLinear
from accel.weights.quantized.fp8 import Fp8Linear
from accel.weights.quantized.gguf import GgufLinear
from pipelines.models.formats.place import Placement, place_linear
from pipelines.models.formats.stored_tensors import BlockTensor, PlainTensor, ScaledTensor
from pipelines.models.plan import Precision

FP8 = torch.float8_e4m3fn
CPU = torch.device("cpu")


def test_a_plain_weight_is_cast() -> None:
    stored = {"weight": PlainTensor(torch.full((3, 2), 1.001)), "bias": PlainTensor(torch.ones(3))}
    placed = place_linear("a", nn.Linear(2, 3, device="meta"), stored, Placement(CPU, torch.bfloat16, "bf16"))
    assert isinstance(placed, nn.Linear)
    assert placed.weight.dtype == torch.bfloat16
    assert torch.equal(placed.weight, torch.ones(3, 2, dtype=torch.bfloat16))


def test_a_scaled_weight_becomes_dense_where_the_plan_is_exact() -> None:
    stored = {"weight": ScaledTensor(torch.ones(3, 2).to(torch.float8_e4m3fn), torch.tensor(0.5))}
    placed = place_linear(
        "a", nn.Linear(2, 3, bias=False, device="meta"), stored, Placement(CPU, torch.float32, "fp32")
    )
    assert torch.equal(placed.get_parameter("weight"), torch.full((3, 2), 0.5))


def test_fp8_of_the_file_stays_as_it_is_under_fp8() -> None:
    values, scale = torch.randn(32, 16).to(FP8), torch.rand(32, 1) + 0.1
    stored = {"weight": ScaledTensor(values, scale), "bias": PlainTensor(torch.ones(32))}
    placed = place_linear("a", nn.Linear(16, 32, device="meta"), stored, Placement(CPU, torch.float32, "fp8"))
    assert isinstance(placed, Fp8Linear)
    assert torch.equal(placed.weight.view(torch.uint8), values.view(torch.uint8))
    assert torch.equal(placed.dequantize(), stored["weight"].dense(torch.float32))
    assert placed.bias is not None


def test_blocks_stay_packed_under_packed() -> None:
    kind = gguf.GGMLQuantizationType.Q4_0
    blocks = torch.from_numpy(gguf.quants.quantize(torch.randn(8, 64).numpy(), kind))
    weight = BlockTensor(blocks, kind.name, (8, 64))
    linear = nn.Linear(64, 8, bias=False, device="meta")
    placed = place_linear("a", linear, {"weight": weight}, Placement(CPU, torch.float32, "packed"))
    assert isinstance(placed, GgufLinear)
    assert torch.equal(placed.dequantize(), weight.dense(torch.float32))
    laid_out_anew = BlockTensor(blocks, kind.name, (16, 32))
    linear = nn.Linear(32, 16, bias=False, device="meta")
    placed = place_linear("a", linear, {"weight": laid_out_anew}, Placement(CPU, torch.float32, "packed"))
    assert isinstance(placed, nn.Linear)


@pytest.mark.parametrize("precision", ["fp8", "int8", "nf4"])
def test_other_weights_are_quantized_one_layer_at_a_time(precision: Precision) -> None:
    for weight in (PlainTensor(torch.randn(64, 64)), ScaledTensor(torch.randn(64, 64).to(FP8), torch.tensor(0.5))):
        linear = nn.Linear(64, 64, bias=False, device="meta")
        placed = place_linear("a", linear, {"weight": weight}, Placement(CPU, torch.float32, precision))
        assert isinstance(placed, QuantizedLinear)
        expected = weight.dense(torch.float32)
        assert (placed.dequantize() - expected).abs().max() < 0.2 * expected.abs().max()


def test_layers_that_are_not_chosen_stay_dense() -> None:
    placement = Placement(CPU, torch.float32, "fp8", lambda name: name.startswith("blocks."))
    for name, kind in {"blocks.0": Fp8Linear, "img_in": nn.Linear}.items():
        linear = nn.Linear(64, 64, bias=False, device="meta")
        assert type(place_linear(name, linear, {"weight": PlainTensor(torch.ones(64, 64))}, placement)) is kind
