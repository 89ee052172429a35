"""Device time of one forward by class of kernel: what is left to gain besides products and attention.

Knows names of kernels; knows no model.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.runs.synchronize import synchronize

# Parts of kernel names, in the order in which they are looked for.
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "attention": ("flash", "fmha", "attention", "sdpa", "cudnn_generated_fort_native_sdpa"),
    "products": ("gemm", "matmul", "nvjet", "cutlass", "sgemm", "splitk", "addmm", "aten::mm", "scaled_mm"),
    # Names of the compiler's kernels list all that was fused: "copy" and "cat" among it are no copies.
    "compiled, with a reduction": ("triton_red", "triton_per"),
    "compiled, elementwise": ("triton_",),
    "copies": ("memcpy", "copy", "cat", "memset"),
    "norms": ("norm", "heads_kernel"),
    "reductions": ("reduce",),
    "elementwise": ("elementwise", "vectorized", "mul", "add", "gelu", "silu"),
}


def kernel_class(name: str) -> str:
    """The class of a kernel by its name; `other` for an unknown one."""
    lowered = name.lower()
    return next((known for known, parts in _CLASSES.items() if any(part in lowered for part in parts)), "other")


def by_class(kernels: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Seconds by class, the largest first, from names and microseconds."""
    seconds: dict[str, float] = {}
    for name, microseconds in kernels:
        seconds[kernel_class(name)] = seconds.get(kernel_class(name), 0.0) + microseconds / 1e6
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def profile_by_class(work: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Run some work under torch's profiler: device seconds by class, and the ten longest kernels with their seconds."""
    cuda = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as found:
        work()
        synchronize(device)
    kernels = [
        (event.key, event.self_device_time_total if cuda else event.self_cpu_time_total)
        for event in found.key_averages()
    ]
    kernels = sorted((each for each in kernels if each[1]), key=lambda each: -each[1])
    longest = {name[:80]: round(microseconds / 1e6, 5) for name, microseconds in kernels[:10]}
    return {"by_class": {name: round(s, 5) for name, s in by_class(kernels).items()}, "longest": longest}
