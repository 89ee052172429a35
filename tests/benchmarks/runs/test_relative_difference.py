import pytest
import torch

from benchmarks.runs.relative_difference import relative_difference

ONES = torch.ones(4)


def test_equal_bits_differ_by_nothing() -> None:
    assert relative_difference(ONES, ONES.clone()) == 0.0


def test_a_difference_is_relative_to_what_is_expected() -> None:
    assert relative_difference(1.1 * ONES, ONES) == pytest.approx(0.1)
    assert relative_difference(ONES, 2 * ONES) == 0.5


def test_the_smallest_difference_is_not_rounded_to_none() -> None:
    assert 0 < relative_difference(ONES + torch.tensor([1e-7, 0, 0, 0]), ONES) < 1e-6
