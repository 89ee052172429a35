"""Runs every forward in full and notes how much what step caches watch has changed. One recorder belongs to one image.

Takes the place of a cache session in the denoising loop; what comes out of the transformer is the same to the bit.
"""

import math
from collections import deque
from collections.abc import Hashable, Sequence

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.report import Branch
from accel.cache.session import Forward
from accel.cache.strategies.base import relative_l1
from accel.cache.strategies.dbcache import from_plan
from accel.calibration.traces import LAGS, Observation

_DIGITS = 7  # as many as float32 has


class _Memory:
    """What one branch has seen last, newest first: [1, noise tokens, width] each."""

    def __init__(self) -> None:
        self.input: deque[torch.Tensor] = deque(maxlen=1)
        self.first: deque[torch.Tensor] = deque(maxlen=LAGS)
        self.front: deque[torch.Tensor] = deque(maxlen=LAGS)
        self.remainder: deque[torch.Tensor] = deque(maxlen=1)
        self.output: deque[torch.Tensor] = deque(maxlen=1)


class Recorder:
    """The trace of one image."""

    def __init__(self) -> None:
        self._memories: dict[tuple[int, Branch], _Memory] = {}
        self._observations: list[Observation] = []
        self._step, self._evaluation = -1, 0

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What has been seen so far, in order."""
        return tuple(self._observations)

    def evaluate(
        self,
        transformer: QwenImageTransformer2DModel,
        *,
        tokens: torch.Tensor,
        timestep: torch.Tensor,
        shapes: Sequence[tuple[int, int, int]],
        forwards: Sequence[Forward],
        step: int,
        controls: Hashable = None,
    ) -> list[torch.Tensor]:
        """As `CacheSession.evaluate`, with nothing reused."""
        self._evaluation = self._evaluation + 1 if step == self._step else 0
        self._step = step
        predictions = []
        for forward in forwards:
            runner = BlockRunner(transformer, tokens, timestep, forward.embeds, shapes, forward.control_residuals)
            self._observe(runner, forward.branch, timestep)
            predictions.append(runner.output())
        return predictions

    def _observe(self, runner: BlockRunner, branch: Branch, timestep: torch.Tensor) -> None:
        """Run all blocks and record what has changed. Waits for the device once."""
        memory = self._memories.setdefault((self._evaluation, branch), _Memory())
        front = from_plan(CachePlan("dbcache", 0.0, 0, 0, 0), 0, runner.depth).front
        rows = [(memory.input, runner.modulated_input())]
        runner.run_to(1)
        rows.append((memory.first, runner.block_residual()))
        if front > 1:
            runner.run_to(front)
            rows.append((memory.front, runner.block_residual()))
        runner.run_to(runner.depth)
        rows += [(memory.remainder, runner.block_residual()), (memory.output, runner.image[:, : runner.noise_tokens])]
        changes = [[relative_l1(now, before) for before in seen] for seen, now in rows]
        values = iter(torch.stack([timestep[0].to(torch.float32), *(c for row in changes for c in row)]).tolist())
        sigma = _rounded(next(values))
        found = [[_rounded(next(values)) for _ in row] for row in changes]
        for seen, now in rows:
            seen.appendleft(now)
        of = dict(zip(("input", "first", *(["front"] if front > 1 else []), "remainder", "output"), found, strict=True))
        self._observations.append(
            Observation(
                step=self._step,
                evaluation=self._evaluation,
                branch=branch,
                sigma=sigma,
                input=next(iter(of["input"]), None),
                remainder=next(iter(of["remainder"]), None),
                output=next(iter(of["output"]), None),
                first=tuple(of["first"]),
                front=tuple(of.get("front", ())),
            )
        )


def _rounded(value: float) -> float:
    if not math.isfinite(value):
        raise FloatingPointError("the transformer's streams hold something that is not a number")
    return float(f"{value:.{_DIGITS}g}")
