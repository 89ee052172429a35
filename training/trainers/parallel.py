"""Data-parallel training: single-threaded processes on a CPU, one process on a GPU.

Threads synchronise after every operation, so on a busy machine they wait for each other. Processes synchronise once a
step and hardly wait. Knows processes and gradients; knows no model.
"""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def launch(work: Callable[..., None], *args: Any, processes: int = 0) -> None:
    """Run `work(device, *args)` in one process per core, or on the GPU if there is one."""
    if torch.cuda.is_available():
        work(torch.device("cuda"), *args)
        return
    count = processes or os.cpu_count() or 1
    if count == 1:
        work(torch.device("cpu"), *args)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    method = start_method(work.__module__)
    mp.start_processes(_start, (work, args, count, port), count, start_method=method)  # pyright: ignore[reportPrivateImportUsage]


def start_method(module: str) -> str:
    """Return how processes are started that work with a module: on Linux, forked from one that has imported it.

    The imports take seconds of a core, and the forks share their memory. The libraries of other systems run threads,
    which no fork survives.
    """
    if sys.platform != "linux":
        return "spawn"
    multiprocessing.set_forkserver_preload([module])
    return "forkserver"


def rank() -> int:
    """Return the number of this process, 0 if it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return how many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes. A process without a gradient counts as zero."""
    if world() == 1:
        return
    gradients = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _start(index: int, work: Callable[..., None], args: tuple[Any, ...], count: int, port: int) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # tiny gradients took a quarter of the time of an edit's step
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=index, world_size=count)
    try:
        work(torch.device("cpu"), *args)
    finally:
        dist.destroy_process_group()
