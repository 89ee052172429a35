"""The number of CPU threads that compute an image. Knows torch and the size of a model; knows no model."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

# Products of a model below this size take microseconds. A second thread saves less than its waiting costs: threads spin
# for each other, and beside other busy programs they do so for long. `benchmarks.costs` measures it.
SMALL_MODEL = 100_000_000
# Whoever sets one of these has chosen the number of threads.
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def compute_threads(
    parameters: int, device: torch.device, environment: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Compute with one thread inside the block if a model on the CPU is small, else with as many as before.

    `parameters` counts the model's weights. Changes nothing where the user has chosen the number of threads.
    """
    before = torch.get_num_threads()
    small = device.type == "cpu" and parameters < SMALL_MODEL
    if not small or before == 1 or not environment.keys().isdisjoint(VARIABLES):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
