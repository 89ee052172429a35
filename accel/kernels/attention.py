"""The kernel of scaled dot-product attention: measured once for a device or named by the user, set around each render.

All candidates compute the same function and round in their own ways. A CPU keeps torch's own choice. Knows torch; knows
no model.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TypeVar

import torch
from torch.nn.attention import (
    SDPBackend,
    activate_flash_attention_impl,
    list_flash_attention_impls,
    restore_flash_attention_impl,
    sdpa_kernel,
)
from torch.nn.functional import scaled_dot_product_attention

T = TypeVar("T")

AUTO = "auto"  # the fastest one by measurement
TORCH = "torch"  # no kernel is named: torch chooses for each call
# One image of 1024 x 1024 pixels and a prompt of 64 tokens, in the order in which the blocks have them in memory.
MEASURED_SHAPE = (1, 4160, 24, 128)
TRIED_SHAPE = (1, 2, 64, 128)  # enough to see whether a kernel runs
REPEATS = 5
_BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
_FAST = ("cudnn", "flash", "efficient")
# How many prefer each kernel now, and what restores the choice before.
_users: dict[str, tuple[int, ExitStack]] = {}
_lock = threading.Lock()


class AttentionUnavailable(RuntimeError):
    """The kernel that was asked for does not run on the device; the message names those that do."""


@dataclass(frozen=True, slots=True)
class AttentionChoice:
    """The kernel of a device, such as `cudnn`, `flash` or `flash FA3`; the milliseconds of each kernel that runs there.

    `warning` says in a sentence why the choice may be worse than the device allows.
    """

    kernel: str = TORCH
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    warning: str | None = None


@lru_cache
def choose_attention(device: torch.device, dtype: torch.dtype, wanted: str = AUTO) -> AttentionChoice:
    """The kernel `wanted`, such as `cudnn` or `flash FA3`, or the fastest one on a CUDA device for `auto`.

    Measuring takes a fraction of a second. Raises `AttentionUnavailable`.
    """
    if wanted == TORCH:
        return AttentionChoice()
    if wanted != AUTO:
        return _forced(wanted, device, dtype)
    if device.type != "cuda":
        return AttentionChoice()
    query, key, value = (torch.randn(MEASURED_SHAPE, device=device, dtype=dtype).transpose(1, 2) for _ in range(3))
    run = partial(_milliseconds, lambda: scaled_dot_product_attention(query, key, value), device)
    return _fastest({kernel: partial(_measured, kernel, run) for kernel in candidates()}, _cudnn_problem(device))


def candidates() -> tuple[str, ...]:
    """The kernels of this torch, and the flash attention packages that it knows. Some may not run on a device."""
    return (*_FAST, *(f"flash {name}" for name in list_flash_attention_impls()))


def _forced(wanted: str, device: torch.device, dtype: torch.dtype) -> AttentionChoice:
    sample = torch.zeros(TRIED_SHAPE, device=device, dtype=dtype)

    def problem(kernel: str) -> str | None:
        try:
            _measured(kernel, lambda: scaled_dot_product_attention(sample, sample, sample))
        except (ImportError, ValueError) as error:  # of a package
            return str(error).partition("\n")[0]
        except RuntimeError:
            return "torch has no such kernel there"
        return None

    if (reason := problem(wanted)) is None:
        return AttentionChoice(wanted)
    there = [kernel for kernel in (*candidates(), "math") if problem(kernel) is None]
    raise AttentionUnavailable(
        f"attention '{wanted}' does not run on {device} in {str(dtype).removeprefix('torch.')} ({reason}); "
        f"these do: {', '.join(there)}"
    )


@contextmanager
def attention_kernel(kernel: str) -> Iterator[None]:
    """Prefer a kernel inside the block. `torch` leaves the choice to torch.

    Torch has one choice for the whole process. Threads that prefer the same kernel share it, and the last one that
    leaves restores what was before. Raises what its package raises when a flash attention package cannot be loaded.
    """
    if kernel == TORCH:
        yield
        return
    with _lock:
        users, stack = _users.get(kernel, (0, ExitStack()))
        if not users:
            _prefer(kernel, stack)
        _users[kernel] = users + 1, stack
    try:
        yield
    finally:
        with _lock:
            users, stack = _users.pop(kernel)
            if users > 1:
                _users[kernel] = users - 1, stack
            else:
                stack.close()


def _prefer(kernel: str, stack: ExitStack) -> None:
    """Prefer a kernel until the stack closes."""
    name, package = _parts(kernel)
    first = _BACKENDS[name]
    # Where the kernel does not take an input, such as the mask of a text encoder, torch goes on in this order.
    order = [first, *(other for other in _BACKENDS.values() if other is not first)]
    stack.enter_context(_flash_package(package))
    stack.enter_context(sdpa_kernel(order, set_priority=True))


def _measured(kernel: str, run: Callable[[], T]) -> T:
    """What `run` returns with this kernel alone, so that no other one can answer for it."""
    name, package = _parts(kernel)
    with _flash_package(package), sdpa_kernel(_BACKENDS[name]):
        return run()


def _parts(kernel: str) -> tuple[str, str]:
    """The backend of torch, and the package that replaces its flash attention; empty for none."""
    name, _, package = kernel.partition(" ")
    return name, package


@contextmanager
def _flash_package(package: str) -> Iterator[None]:
    if not package:
        yield
        return
    activate_flash_attention_impl(package)
    try:
        yield
    finally:
        restore_flash_attention_impl()


def _fastest(kernels: Mapping[str, Callable[[], float]], cudnn_problem: str | None) -> AttentionChoice:
    """The choice among kernels that return their milliseconds, or raise where they cannot run."""
    milliseconds: dict[str, float] = {}
    for kernel, measure in kernels.items():
        try:
            milliseconds[kernel] = measure()
        except (RuntimeError, ImportError, ValueError):  # torch has no kernel for this device, or no such package
            continue
    if not milliseconds:
        return AttentionChoice(warning="No fast attention kernel runs on this device.")
    warning = None if "cudnn" in milliseconds else cudnn_problem
    return AttentionChoice(min(milliseconds, key=milliseconds.__getitem__), milliseconds, warning)


def _cudnn_problem(device: torch.device) -> str | None:
    """Why cuDNN's attention may be missing where it is usually the fastest: Hopper and later. None elsewhere."""
    if torch.cuda.get_device_capability(device) < (9, 0):
        return None
    return (
        f"cuDNN {torch.backends.cudnn.version()} has no attention kernel here. "
        "A cuDNN of the system on LD_LIBRARY_PATH may hide the one that torch brought."
    )


def _milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """The least of some runs, after one that warms up."""
    found = []
    for _ in range(REPEATS + 1):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        found.append(1000 * (time.perf_counter() - started))
    return min(found[1:])
