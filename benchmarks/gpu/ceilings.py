"""What the device itself can do: the rate of the largest product, of attention, and of copies from the host.

Measured in the run that compares with it, because clocks and power limits differ from card to card. Knows no model.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

from accel.kernels.attention import attention_kernel, choose_attention
from accel.weights.quantized.base import QuantizedRows
from accel.weights.quantized.fp8 import Fp8Linear
from benchmarks.gpu.arithmetic import Work
from benchmarks.runs.synchronize import synchronize

REPEATS = 10
# Calls between two looks at the clock, so that launching them and waiting for the device do not count: a product takes
# less than half a millisecond.
CALLS = {"cuda": 10}


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes that are measured."""

    rows: int
    width: int
    hidden: int
    heads: int
    tokens: int
    copied_mib: int


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Operations a second of the product and of attention, and bytes a second from pinned host memory.

    `product_fp8` is None where the device has no FP8.
    """

    product: float
    attention: float
    copy: float
    product_fp8: float | None

    def least_seconds(self, work: Work) -> float:
        """The seconds of some work if nothing but products and attention took time."""
        return work.products / self.product + work.attention / self.attention


def measure(device: torch.device, dtype: torch.dtype, shapes: Shapes) -> Ceilings:
    """Measure a device. A CPU has no FP8 product that is worth comparing with."""
    rows = torch.randn(shapes.rows, shapes.width, device=device, dtype=dtype)
    weight = torch.randn(shapes.hidden, shapes.width, device=device, dtype=dtype)
    product_work = 2 * shapes.rows * shapes.width * shapes.hidden
    head = shapes.width // shapes.heads
    query = torch.randn(1, shapes.heads, shapes.tokens, head, device=device, dtype=dtype)
    attention_work = 4 * shapes.tokens**2 * shapes.width
    host = torch.empty(shapes.copied_mib * 2**20, dtype=torch.uint8, pin_memory=device.type == "cuda")
    target = torch.empty_like(host, device=device)
    with attention_kernel(choose_attention(device, dtype).kernel):
        attention = _seconds(lambda: scaled_dot_product_attention(query, query, query), device)
    return Ceilings(
        product=product_work / _seconds(lambda: linear(rows, weight), device),
        attention=attention_work / attention,
        copy=host.nbytes / _seconds(lambda: target.copy_(host, non_blocking=True), device),
        product_fp8=_fp8_rate(rows, weight, product_work),
    )


def _fp8_rate(rows: torch.Tensor, weight: torch.Tensor, work: int) -> float | None:
    device = rows.device
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        return None
    left, right = rows.to(torch.float8_e4m3fn), weight.to(torch.float8_e4m3fn)
    layer = Fp8Linear(right, torch.ones(len(weight), device=device), None)
    quantized = QuantizedRows(left, torch.ones(len(rows), 1, device=device))
    return work / _seconds(lambda: layer.multiply(quantized), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The seconds of a call: the median of some runs, after one that warms up."""
    calls = CALLS.get(device.type, 1)
    found = []
    for _ in range(REPEATS + 1):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(calls):
            work()
        synchronize(device)
        found.append((time.perf_counter() - started) / calls)
    return statistics.median(found[1:])
