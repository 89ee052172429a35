"""Computes every forward in full and records how much each signal of the step caches changed.

A recorder belongs to one image and replaces its cache session. The transformer's outputs are the same to the bit.
"""

import math
from collections import deque

import torch

from accel.block_runner import BlockRunner
from accel.cache.evaluation import Evaluation
from accel.cache.plan import CachePlan
from accel.cache.report import Branch
from accel.cache.strategies.base import relative_l1
from accel.cache.strategies.dbcache import from_plan
from accel.calibration.traces import LAGS, Observation

_DIGITS = 7  # the precision of float32


class _BranchHistory:
    """The last tensors of one branch, the newest first, [1, noise tokens, width] each."""

    def __init__(self) -> None:
        self.input: deque[torch.Tensor] = deque(maxlen=1)
        self.first: deque[torch.Tensor] = deque(maxlen=LAGS)
        self.front: deque[torch.Tensor] = deque(maxlen=LAGS)
        self.residual: deque[torch.Tensor] = deque(maxlen=1)
        self.output: deque[torch.Tensor] = deque(maxlen=1)


class Recorder:
    """Records the observations of one image."""

    def __init__(self) -> None:
        self._histories: dict[tuple[int, Branch], _BranchHistory] = {}
        self._observations: list[Observation] = []
        self._step, self._evaluation = -1, 0

    @property
    def observations(self) -> tuple[Observation, ...]:
        """All observations so far, in order."""
        return tuple(self._observations)

    def evaluate(self, evaluation: Evaluation) -> list[torch.Tensor]:
        """As `CacheSession.evaluate`, without reuse. Raises `FloatingPointError` on NaN and infinity."""
        self._evaluation = self._evaluation + 1 if evaluation.step == self._step else 0
        self._step = evaluation.step
        outputs = []
        for forward in evaluation.forwards:
            runner = evaluation.runner(forward)
            self._record(runner, forward.branch, evaluation.timestep)
            outputs.append(runner.output())
        return outputs

    def _record(self, runner: BlockRunner, branch: Branch, timestep: torch.Tensor) -> None:
        """Run all blocks and record the changes. Waits for the device once."""
        history = self._histories.setdefault((self._evaluation, branch), _BranchHistory())
        front = from_plan(CachePlan("dbcache", 0.0, 0, 0, 0), 0, runner.depth).front
        rows = [(history.input, runner.modulated_input())]
        runner.run_to(1)
        rows.append((history.first, runner.block_residual()))
        if front > 1:
            runner.run_to(front)
            rows.append((history.front, runner.block_residual()))
        runner.run_to(runner.depth)
        rows += [(history.residual, runner.block_residual()), (history.output, runner.image[:, : runner.noise_tokens])]
        changes = [[relative_l1(signal, reference) for reference in past] for past, signal in rows]
        values = iter(torch.stack([timestep[0].to(torch.float32), *(c for row in changes for c in row)]).tolist())
        sigma = _round(next(values))
        rounded = [[_round(next(values)) for _ in row] for row in changes]
        for past, signal in rows:
            past.appendleft(signal)
        names = ("input", "first", *(["front"] if front > 1 else []), "residual", "output")
        by_name = dict(zip(names, rounded, strict=True))
        self._observations.append(
            Observation(
                step=self._step,
                evaluation=self._evaluation,
                branch=branch,
                sigma=sigma,
                input=next(iter(by_name["input"]), None),
                residual=next(iter(by_name["residual"]), None),
                output=next(iter(by_name["output"]), None),
                first=tuple(by_name["first"]),
                front=tuple(by_name.get("front", ())),
            )
        )


def _round(value: float) -> float:
    if not math.isfinite(value):
        raise FloatingPointError("the transformer's hidden states contain NaN or infinity")
    return float(f"{value:.{_DIGITS}g}")
