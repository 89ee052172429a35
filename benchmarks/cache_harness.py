"""The harness that times step caches: one model, one request with guidance, and one schedule of reused steps.

Every library gets the same loop around its transformer. The schedule forces the decisions: a cache still takes its
signal, measures its distance and waits for it, and only its answer is ignored.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from accel.block_batch import run_together
from accel.block_runner import RESIDENT, WeightAccess
from accel.cache.evaluation import Evaluation, Forward
from accel.cache.gate import Gate
from accel.cache.plan import CacheName
from accel.cache.report import Branch
from accel.cache.session import CacheSession
from accel.cache.strategies.base import Strategy
from accel.cache.strategies.dbcache import DBCache
from benchmarks.random_models import TRUE_CFG_SCALE, RandomModels
from pipelines.latents import grid
from pipelines.sampling.guidance import apply_cfg
from server.tasks.plain.cache_choice import default_window

SCHEDULE = "CCCRRCRRCRCC"  # computed and reused steps: about what the wire's defaults make of a good image
STEPS = len(SCHEDULE)
COMPUTED = frozenset(step for step, letter in enumerate(SCHEDULE) if letter == "C")
FORCED_RUN = 3  # reused steps in a row
# So near to each other that the distances of random weights stay below 1, above which cache-dit reuses nothing.
SIGMAS = [0.5 - 1e-4 * step for step in range(STEPS + 1)]

# The velocity of a sample at a sigma, in a step.
Velocity = Callable[[torch.Tensor, float, int], torch.Tensor]
Samples = tuple[torch.Tensor, torch.Tensor]  # of two sides


@dataclass(frozen=True)
class Harness:
    """Runs the loop of one request on one model."""

    models: RandomModels

    @property
    def transformer(self) -> Any:
        """The transformer that all sides run."""
        return self.models.checkpoint.transformer

    @property
    def depth(self) -> int:
        """The number of its blocks."""
        return len(self.transformer.transformer_blocks)

    @property
    def front(self) -> int:
        """The first blocks that caches of several blocks always compute: 8 of 60, and at least 2."""
        return max(2, round(8 / 60 * self.depth))

    @cached_property
    def prompts(self) -> dict[Branch, torch.Tensor]:
        """The embeddings of both branches of guidance."""
        return {"cond": self.models.prompt(), "uncond": self.models.negative_prompt()}

    def noise(self) -> torch.Tensor:
        """The sample that each run starts from."""
        return self.models.noise(self.models.size.side)

    def velocity(self, sample: torch.Tensor, sigma: float, step: int, *, named: bool = False) -> torch.Tensor:
        """The velocity by the transformer itself, or as a library has changed it.

        `named` tells diffusers' caches the branch of each forward.
        """
        velocities = []
        for branch, embeds in self.prompts.items():
            forward = partial(
                self.transformer,
                hidden_states=sample,
                timestep=self._timestep(sample, sigma),
                encoder_hidden_states=embeds,
                encoder_hidden_states_mask=None,
                img_shapes=[[self._shape]],
                return_dict=False,
            )
            if named:
                with self.transformer.cache_context(branch):
                    velocities.append(forward()[0])
            else:
                velocities.append(forward()[0])
        return apply_cfg(velocities[0], velocities[1], TRUE_CFG_SCALE)

    def cached_velocity(self, session: CacheSession, weights: WeightAccess = RESIDENT) -> Velocity:
        """The velocity through a session of ours. `weights` says what runs the blocks."""

        def velocity(sample: torch.Tensor, sigma: float, step: int) -> torch.Tensor:
            cond, uncond = session.evaluate(self._evaluation(sample, sigma, step, weights))
            return apply_cfg(cond, uncond, TRUE_CFG_SCALE)

        return velocity

    def block_velocity(self, weights: WeightAccess) -> Velocity:
        """The velocity through all blocks, without a session. `weights` says what runs them."""

        def velocity(sample: torch.Tensor, sigma: float, step: int) -> torch.Tensor:
            evaluation = self._evaluation(sample, sigma, step, weights)
            runners = [evaluation.runner(forward) for forward in evaluation.forwards]
            run_together(runners, self.depth)
            return apply_cfg(runners[0].output(), runners[1].output(), TRUE_CFG_SCALE)

        return velocity

    def time_step(self, velocity: Velocity, sample: torch.Tensor, step: int) -> tuple[float, torch.Tensor]:
        """Seconds of one step with the device's queue, and the sample after it."""
        sigma, sigma_next = SIGMAS[step], SIGMAS[step + 1]
        clock = time.perf_counter if sample.device.type == "cuda" else time.process_time
        started = clock()
        with torch.inference_mode():
            sample_next = sample + velocity(sample, sigma, step) * (sigma_next - sigma)
        self.models.synchronize()
        return clock() - started, sample_next

    def time_loop(self, velocity: Velocity) -> list[float]:
        """Seconds of each step of a whole loop."""
        sample, seconds = self.noise(), []
        for step in range(STEPS):
            taken, sample = self.time_step(velocity, sample, step)
            seconds.append(taken)
        return seconds

    def time_pairs(self, sides: tuple[Velocity, Velocity], turn: int = 0) -> tuple[list[tuple[float, float]], Samples]:
        """Seconds of each step of two sides, and their last samples. They are timed back to back and begin in turns."""
        samples, pairs = [self.noise(), self.noise()], list[tuple[float, float]]()
        for step in range(STEPS):
            seconds = [0.0, 0.0]
            for side in (0, 1) if (turn + step) % 2 else (1, 0):
                seconds[side], samples[side] = self.time_step(sides[side], samples[side], step)
            pairs.append((seconds[0], seconds[1]))
        return pairs, (samples[0], samples[1])

    def _evaluation(self, sample: torch.Tensor, sigma: float, step: int, weights: WeightAccess) -> Evaluation:
        forwards = [Forward(branch, embeds) for branch, embeds in self.prompts.items()]
        timestep = self._timestep(sample, sigma)
        return Evaluation(self.transformer, sample, timestep, [self._shape], forwards, step, weights=weights)

    def _timestep(self, sample: torch.Tensor, sigma: float) -> torch.Tensor:
        return torch.full((1,), sigma, device=sample.device, dtype=sample.dtype)

    @property
    def _shape(self) -> tuple[int, int, int]:
        side = self.models.size.side
        return grid(side, side, self.models.checkpoint.vae)


def scheduled_session(name: CacheName, strategy: Strategy, *, reuse: bool = True) -> CacheSession:
    """A session that reuses the steps of the schedule, or none."""
    gate = Gate(STEPS, 0, STEPS if reuse else 0, STEPS, COMPUTED if reuse else frozenset())
    return CacheSession(name, strategy, gate, SIGMAS)


def forced_session(sigmas: Sequence[float]) -> CacheSession:
    """A first block cache that reuses whatever the gate allows: three steps of four, but for both ends of a render."""
    steps = len(sigmas) - 1
    start, end = default_window(steps)
    return CacheSession("fbcache", DBCache(math.inf, front=1), Gate(steps, start, end, FORCED_RUN), sigmas)


def expect_schedule(patterns: dict[str, str]) -> None:
    """End the program when a side did not follow the schedule: its times would mean something else."""
    if set(patterns.values()) != {SCHEDULE}:
        raise SystemExit(f"decisions {patterns} instead of {SCHEDULE}")
