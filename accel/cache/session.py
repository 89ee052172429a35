"""What all step caches share: run the first blocks, decide, then compute or reuse the rest.

One session belongs to one image, and its memory is freed with it. Nothing is left on the transformer, so requests never
affect each other. In doubt a forward is computed. Knows block runners and strategies; names no transformer block, and
knows no request and no wire format.
"""

import math
import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from accel.block_runner import BlockRunner, ControlResiduals, no_control_residuals
from accel.cache.gate import Gate
from accel.cache.memory import BranchMemory, measure_distances
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import Branch, CacheReport, Decision, Reason
from accel.cache.strategies.base import DistanceMetric, FixedSchedule, PastForward, Predictor, Strategy
from accel.cache.strategies.table import STRATEGIES


@dataclass(frozen=True, slots=True)
class Forward:
    """One branch of guidance: its prompt [1, words, width] and the function that computes its ControlNet residuals."""

    branch: Branch
    embeds: torch.Tensor
    control_residuals: ControlResiduals = no_control_residuals


class CacheSession:
    """The step cache of one image."""

    def __init__(self, name: CacheName, strategy: Strategy, gate: Gate, sigmas: Sequence[float] = ()) -> None:
        """`sigmas` are those of the executed steps and the final one, as a `Predictor` takes them."""
        self._name: CacheName = name
        self._strategy = strategy
        self._predictor = strategy if isinstance(strategy, Predictor) else None
        self._metric = strategy if isinstance(strategy, DistanceMetric) else None
        self._measures_distance = not isinstance(strategy, FixedSchedule)
        self._predicts_output = self._predictor is not None and self._predictor.predicts == "output"
        self._gate = gate
        self._sigmas = sigmas
        self._memories: dict[tuple[int, Branch], BranchMemory] = {}
        self._decisions: list[Decision] = []
        self._step, self._evaluation = -1, 0
        self._blocks_run = self._blocks_skipped = 0
        self._seconds = 0.0

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
        """The transformer's outputs for the image's own tokens, one [1, noise tokens, channels] for each forward.

        All forwards have the same `tokens` [1, tokens, channels], `shapes` of the grids, and `timestep` [1]. `step`
        counts the executed steps from 0. A sampler may evaluate several times in a step; each time has its own memory.
        `controls` identifies the active ControlNets. When it changes, nothing is reused.
        """
        started = time.perf_counter()
        self._evaluation = self._evaluation + 1 if step == self._step else 0
        self._step = step
        runners = [
            BlockRunner(transformer, tokens, timestep, each.embeds, shapes, each.control_residuals) for each in forwards
        ]
        signals = self._signals(runners)
        distances, sigma = self._distances(forwards, signals, timestep)
        decisions = [
            self._decide(forward.branch, distance, sigma, runner.layout, controls)
            for forward, distance, runner in zip(forwards, distances, runners, strict=True)
        ]
        if self._strategy.one_decision_for_cfg:  # when one branch must be computed, both are
            common = next((decision for decision in decisions if not decision.reused), decisions[0])
            decisions = [replace(common, branch=forward.branch) for forward in forwards]
        self._decisions += decisions
        outputs = []
        for runner, decision, signal, distance in zip(runners, decisions, signals, distances, strict=True):
            if decision.reused:
                outputs.append(self._reuse(runner, decision, signal))
            else:
                usable = distance is None or math.isfinite(distance)
                outputs.append(self._compute(runner, decision.branch, signal, controls, keep_history=usable))
        if step >= self._gate.total - 1:  # frees the memory for the decoder
            self._memories.clear()
        self._seconds += time.perf_counter() - started
        return outputs

    def report(self) -> CacheReport:
        """The report of all steps so far."""
        return CacheReport(self._name, tuple(self._decisions), self._blocks_run, self._blocks_skipped, self._seconds)

    def _memory(self, branch: Branch) -> BranchMemory | None:
        return self._memories.get((self._evaluation, branch))

    def _signals(self, runners: Sequence[BlockRunner]) -> list[torch.Tensor]:
        if self._strategy.one_decision_for_cfg:
            return [self._strategy.signal(runners[0])] * len(runners)
        for runner in runners:
            runner.run_to(self._strategy.front)
        return [self._strategy.signal(runner) for runner in runners]

    def _distances(
        self, forwards: Sequence[Forward], signals: Sequence[torch.Tensor], timestep: torch.Tensor
    ) -> tuple[list[float | None], float]:
        if not self._measures_distance:
            return [None] * len(forwards), math.nan
        memories = [self._memory(forward.branch) for forward in forwards]
        return measure_distances(signals, memories, self._metric, timestep)

    def _decide(
        self, branch: Branch, distance: float | None, sigma: float, layout: Hashable, controls: Hashable
    ) -> Decision:
        memory = self._memory(branch)
        score = None
        reason: Reason
        if (required := self._gate.reason_to_compute(self._step, memory.run if memory else 0)) is not None:
            reason = required
        elif memory is None:
            reason = "no_memory"
        elif memory.controls != controls:
            reason = "controls"
        elif memory.layout != layout:
            reason = "shape"
        elif distance is None and self._measures_distance:
            reason = "no_memory"
        elif distance is not None and not math.isfinite(distance):
            reason = "not_finite"
        else:
            score = self._strategy.score(distance or 0.0, memory.accumulated, sigma)
            reason = "reuse" if score < self._strategy.threshold else "threshold"
        return Decision(self._step, self._evaluation, branch, reason, _finite(distance), _finite(score))

    def _compute(
        self, runner: BlockRunner, branch: Branch, signal: torch.Tensor, controls: Hashable, *, keep_history: bool
    ) -> torch.Tensor:
        """Run all blocks and remember the forward. The history is dropped when its layout or controls differ."""
        front, end = self._strategy.front, runner.depth - self._strategy.back
        self._blocks_run += runner.depth
        runner.run_to(front)
        image_before, text_before = runner.image, runner.text
        runner.run_to(end)
        image_after, text_after = runner.image, runner.text
        runner.run_to(runner.depth)
        output = runner.output()
        text_residual = None
        if self._predicts_output:
            value = output
        elif self._strategy.back:
            value, text_residual = image_after - image_before, text_after - text_before
        else:  # only the image's own tokens are read after the last block
            own = slice(0, runner.noise_tokens)
            value = image_after[:, own] - image_before[:, own]
        memory = self._memory(branch)
        if memory is not None and keep_history and (memory.layout, memory.controls) == (runner.layout, controls):
            history = memory.history
        else:
            history = deque[PastForward](maxlen=self._predictor.history_length if self._predictor else 1)
        history.append(PastForward(self._step, signal, value))
        self._memories[self._evaluation, branch] = BranchMemory(signal, history, text_residual, runner.layout, controls)
        return output

    def _reuse(self, runner: BlockRunner, decision: Decision, signal: torch.Tensor) -> torch.Tensor:
        """Use the cached or predicted value instead of the skippable blocks."""
        front, end = self._strategy.front, runner.depth - self._strategy.back
        self._blocks_run += front + self._strategy.back
        self._blocks_skipped += end - front
        memory = self._memories[self._evaluation, decision.branch]
        value = memory.history[-1].value
        if self._predictor is not None:
            value = self._predictor.predict(self._step, signal, tuple(memory.history), self._sigmas)
            if self._predictor.keeps_predictions:
                memory.history.append(PastForward(self._step, signal, value))
        memory.run += 1
        memory.accumulated = decision.score or 0.0
        if self._strategy.compares_to == "last":
            memory.signal = signal
        if self._predicts_output:
            return value
        if memory.text_residual is None:
            runner.skip_to(runner.depth, runner.image[:, : runner.noise_tokens] + value)
        else:
            runner.skip_to(end, runner.image + value, runner.text + memory.text_residual)
            runner.run_to(runner.depth)
        return runner.output()


def open_session(plan: CachePlan, *, steps: int, sigmas: Sequence[float], depth: int) -> CacheSession:
    """The session of one image, for a transformer of `depth` blocks.

    `sigmas` are those of the executed steps and the final one. `steps` is the length of the whole schedule. A seed
    image makes the executed steps fewer.
    """
    strategy = STRATEGIES[plan.strategy](plan, steps, depth)
    computed_steps = strategy.computed_steps(sigmas) if isinstance(strategy, FixedSchedule) else frozenset[int]()
    gate = Gate(len(sigmas) - 1, plan.start, plan.end, plan.max_run, computed_steps)
    return CacheSession(plan.strategy, strategy, gate, sigmas)


def _finite(value: float | None) -> float | None:
    """None for NaN and infinity, which JSON cannot express."""
    return value if value is not None and math.isfinite(value) else None
