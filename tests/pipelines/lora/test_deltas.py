"""Each delta against the module whose weight is changed by the definition in the paper."""

import copy

import pytest
import torch
from torch import nn

from pipelines.lora.deltas import (
    OFT,
    BiasDiff,
    Delta,
    DoRA,
    LoHa,
    LoKr,
    LoRA,
    NormDiff,
    WeightDiff,
    cast_delta,
    cayley,
    cayley_neumann,
)
from pipelines.models.memory import storage_bytes

LORA = LoRA(torch.randn(3, 8), torch.randn(12, 3))
LOHA = LoHa((torch.randn(12, 2), torch.randn(2, 8)), (torch.randn(12, 2), torch.randn(2, 8)))
LOKR = LoKr(torch.randn(3, 2), (torch.randn(4, 2), torch.randn(2, 4)))
SAMPLE = torch.randn(5, 8)


def changed(linear: nn.Linear, weight: torch.Tensor) -> torch.Tensor:
    """The output of a Linear with another weight."""
    other = copy.deepcopy(linear)
    other.weight = nn.Parameter(weight)
    return other(SAMPLE)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("delta", [LORA, LOHA, LOKR], ids=["LoRA", "LoHa", "LoKr"])
class TestFactored:
    def test_it_adds_its_delta_weight(self, delta: LoRA | LoHa | LoKr, bias: bool) -> None:
        linear = nn.Linear(8, 12, bias=bias)
        output = linear(SAMPLE)
        expected = changed(linear, linear.weight + delta.delta_weight())
        torch.testing.assert_close(output + delta(linear, SAMPLE, output), expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("by_input", [False, True])
    def test_dora_rescales_the_adapted_weight(self, delta: LoRA | LoHa | LoKr, bias: bool, by_input: bool) -> None:
        linear, gain = nn.Linear(8, 12, bias=bias), torch.rand(8 if by_input else 12) + 0.5
        output = linear(SAMPLE)
        adapted = linear.weight + delta.delta_weight()
        expected = changed(linear, adapted * (gain if by_input else gain[:, None]))
        added = DoRA(delta, gain, gain - 1, by_input)(linear, SAMPLE, output)
        torch.testing.assert_close(output + added, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("number", [2, 1])
@pytest.mark.parametrize("by_input", [True, False])
def test_oft_rotates_the_input_or_the_output(by_input: bool, number: int, bias: bool) -> None:
    linear = nn.Linear(8, 12, bias=bias)
    output, width = linear(SAMPLE), 8 if by_input else 12
    blocks = torch.randn(number, width // 2, width // 2)
    difference = torch.block_diag(*blocks.expand(2, -1, -1)).T
    change = linear.weight @ difference if by_input else difference @ linear.weight
    added = OFT(blocks, by_input)(linear, SAMPLE, output)
    torch.testing.assert_close(output + added, changed(linear, linear.weight + change), atol=1e-4, rtol=1e-4)


def test_the_series_is_near_the_rotation() -> None:
    skew = torch.rand(3, 4, 4) * 0.02
    skew = skew - skew.mT
    rotation = cayley(skew)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(4).expand(3, -1, -1))
    torch.testing.assert_close(cayley_neumann(skew), rotation, atol=1e-5, rtol=0)


def test_lokr_of_a_single_right_factor() -> None:
    whole = LoKr(LOKR.left, (LOKR.right[0] @ LOKR.right[1],))
    torch.testing.assert_close(whole.delta_weight(), LOKR.delta_weight())


def test_differences_of_weight_and_bias() -> None:
    linear, weight, bias = nn.Linear(8, 12), torch.randn(12, 8), torch.randn(12)
    output = linear(SAMPLE)
    added = WeightDiff(weight)(linear, SAMPLE, output) + BiasDiff(bias)(linear, SAMPLE, output)
    torch.testing.assert_close(output + added, changed(linear, linear.weight + weight) + bias, atol=1e-5, rtol=1e-5)


def test_a_difference_of_a_norm() -> None:
    norm, diff = nn.RMSNorm(8, eps=1e-6), torch.randn(8)
    output = norm(SAMPLE)
    other = nn.RMSNorm(8, eps=1e-6)
    other.weight = nn.Parameter(norm.weight + diff)
    torch.testing.assert_close(output + NormDiff(diff, 1e-6)(norm, SAMPLE, output), other(SAMPLE))


def test_cast_delta_casts_all_tensors() -> None:
    deltas: list[Delta] = [DoRA(LOKR, torch.ones(12), torch.zeros(12), by_input=False), NormDiff(torch.ones(8), 1e-6)]
    cast = cast_delta(deltas, torch.bfloat16)
    assert storage_bytes(cast) * 2 == storage_bytes(tuple(deltas)) == 4 * (3 * 2 + 4 * 2 + 2 * 4 + 12 + 12 + 8)
    assert cast[1].eps == 1e-6
