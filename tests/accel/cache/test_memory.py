"""Distances from memories, on tensors of a few numbers."""

import math
from collections import deque
from collections.abc import Sequence

import pytest
import torch

from accel.cache.memory import BranchMemory, measure_distances
from accel.cache.strategies.base import PastForward

TIMESTEP = torch.tensor([0.25])


def memory(*signal: float) -> BranchMemory:
    tensor = torch.tensor(signal)
    return BranchMemory(tensor, deque([PastForward(3, tensor, tensor)]), None, "layout", "controls")


class Metric:
    """Counts its calls, and knows nothing without two past forwards."""

    def __init__(self, needed: int = 1) -> None:
        self.needed, self.calls = needed, 0

    def distance(
        self, signal: torch.Tensor, reference: torch.Tensor, history: Sequence[PastForward]
    ) -> torch.Tensor | None:
        self.calls += 1
        return (signal - reference).max() if len(history) >= self.needed else None


def test_the_distance_is_the_relative_change_and_sigma_is_the_timestep() -> None:
    signals = [torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0])]
    distances, sigma = measure_distances(signals, [memory(1, 1), memory(2, 2)], None, TIMESTEP)
    assert distances == pytest.approx([1.0, 0.5])
    assert sigma == 0.25


def test_nothing_to_compare_with_is_none() -> None:
    signals = [torch.ones(2)] * 3
    distances, sigma = measure_distances(signals, [None, memory(1, 1, 1), memory(2, 2)], None, TIMESTEP)
    assert distances == [None, None, pytest.approx(0.5)]
    assert sigma == 0.25


def test_without_a_distance_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self: pytest.fail("a wait"))
    distances, sigma = measure_distances([torch.ones(2)] * 2, [None, memory(1, 1)], Metric(needed=2), TIMESTEP)
    assert distances == [None, None]
    assert math.isnan(sigma)


def test_branches_that_share_a_signal_are_measured_once() -> None:
    shared, now, metric = memory(1, 2), torch.tensor([4.0, 4.0]), Metric()
    other = BranchMemory(shared.signal, deque(), None, "layout", "controls")
    distances, _ = measure_distances([now, now], [shared, other], metric, TIMESTEP)
    assert distances == [3.0, 3.0]
    assert metric.calls == 1
    separate = Metric()
    measure_distances([now, now.clone()], [shared, other], separate, TIMESTEP)
    assert separate.calls == 2


def test_what_is_not_finite_is_reported_as_it_is() -> None:
    distances, _ = measure_distances([torch.ones(2)], [memory(0, 0)], None, TIMESTEP)
    assert distances == [math.inf]
