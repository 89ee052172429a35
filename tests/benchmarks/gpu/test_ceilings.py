import pytest
import torch

from benchmarks.gpu.arithmetic import Work
from benchmarks.gpu.ceilings import Ceilings, Shapes, measure


def test_the_least_time_is_that_of_products_and_attention() -> None:
    ceilings = Ceilings(product=100, attention=50, copy=1, product_fp8=None)
    assert ceilings.least_seconds(Work(200, 50)) == pytest.approx(3)


def test_a_device_is_measured() -> None:
    shapes = Shapes(rows=16, width=32, hidden=64, heads=2, tokens=16, copied_mib=1)
    found = measure(torch.device("cpu"), torch.float32, shapes)
    assert min(found.product, found.attention, found.copy) > 0
    assert found.product_fp8 is None
