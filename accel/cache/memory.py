"""The memory of one branch of guidance between steps, and the distance of a new signal from it.

Knows tensors; knows no transformer, no threshold and no gate.
"""

import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from accel.cache.strategies.base import DistanceMetric, PastForward, relative_l1


@dataclass(slots=True)
class BranchMemory:
    """The memory of one branch: its past forwards.

    `signal` is the one that the next signal is compared with. `history` holds past forwards, the newest last.
    `text_residual` is what the skippable blocks added to the text, None where no block follows them. A forward of
    another `layout` or with other `controls` cannot reuse any of it.
    """

    signal: torch.Tensor
    history: deque[PastForward]
    text_residual: torch.Tensor | None
    layout: Hashable
    controls: Hashable
    run: int = 0  # forwards reused since the last computed one
    accumulated: float = 0.0  # score of the last forward if it was reused, else 0

    def distance_to(self, signal: torch.Tensor, metric: DistanceMetric | None) -> torch.Tensor | None:
        """The distance of a signal of the same shape, on the device. None when the history is too short."""
        if metric is None:
            return relative_l1(signal, self.signal)
        return metric.distance(signal, self.signal, tuple(self.history))


def measure_distances(
    signals: Sequence[torch.Tensor],
    memories: Sequence[BranchMemory | None],
    metric: DistanceMetric | None,
    timestep: torch.Tensor,
) -> tuple[list[float | None], float]:
    """The distance of each branch's signal from its memory, and the sigma, which is `timestep` [1] as a number.

    A distance is None where the memory has nothing to compare with. Waits for the device once. When nothing is
    compared, it does not wait, and the sigma is NaN.
    """
    measured: dict[tuple[int, int], torch.Tensor] = {}
    keys: list[tuple[int, int] | None] = []
    for signal, memory in zip(signals, memories, strict=True):
        key = None
        if memory is not None and memory.signal.shape == signal.shape:
            key = id(memory.signal), id(signal)  # branches that share a signal share its distance
            if key not in measured and (distance := memory.distance_to(signal, metric)) is not None:
                measured[key] = distance
        keys.append(key)
    if not measured:
        return [None] * len(signals), math.nan
    *values, sigma = torch.stack([*measured.values(), timestep[0].to(torch.float32)]).tolist()
    by_key = dict(zip(measured, values, strict=True))
    return [None if key is None else by_key.get(key) for key in keys], sigma
