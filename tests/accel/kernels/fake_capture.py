"""A capture for a CPU: a replay computes the function again, on the inputs of the capture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from accel.kernels.block_graphs import Captured, Function, Tensors


@dataclass
class FakeCapture:
    """Takes a second for each ordinary run, and `replay_seconds` for a replay. A graph is `bytes` large."""

    replay_seconds: float = 0.5
    bytes: int = 100
    error: str = ""
    off: float = 0.0
    captured: list[Captured] = field(default_factory=list)
    replays: int = 0

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> Captured:
        if self.error:
            raise RuntimeError(self.error)
        own = tuple(tensor.clone() for tensor in inputs)
        outputs = tuple(torch.empty_like(each) for each in function(*own))

        def replay() -> None:
            self.replays += 1
            for target, source in zip(outputs, function(*own), strict=True):
                target.copy_(source + self.off)

        self.captured.append(Captured(replay, own, outputs, self.bytes))
        return self.captured[-1]

    def timed(self, function: Callable[[], Tensors]) -> tuple[Tensors, float]:
        before = self.replays
        found = function()
        return found, self.replay_seconds if self.replays > before else 1.0
