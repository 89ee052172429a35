"""Captures functions as CUDA graphs. Knows CUDA; knows no block and no key."""

import time
from collections.abc import Callable, Sequence

import torch

from accel.kernels.block_graphs import Captured, Function, Tensors


class CudaCapture:
    """Captures on one device. All graphs share a pool of memory, because they never run at the same time.

    Their inputs lie outside of the pool, and their outputs are held. So no graph overwrites what another one still
    needs.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> Captured:
        """See `Capture`. Other threads may use the device meanwhile."""
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._device)
        before = torch.cuda.memory_reserved(self._device)
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"),
        ):
            outputs = function(*own)
        grown = max(0, torch.cuda.memory_reserved(self._device) - before)
        held = sum(tensor.nbytes for tensor in (*own, *outputs))
        return Captured(graph.replay, own, outputs, max(grown, held))

    def timed(self, function: Callable[[], Tensors]) -> tuple[Tensors, float]:
        """See `Capture`."""
        torch.cuda.synchronize(self._device)
        started = time.perf_counter()
        found = function()
        torch.cuda.synchronize(self._device)
        return found, time.perf_counter() - started
