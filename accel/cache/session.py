"""The machine of all step caches: runs the first blocks, decides, then computes or reuses the rest.

One session belongs to one image, and its memory is freed with it. Nothing is left on the transformer, so requests never
affect each other. In doubt a forward is computed. Knows block runners and strategies; names no transformer block, and
knows no request and no wire format.
"""

import math
import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch

from accel.block_batch import run_together
from accel.block_runner import BlockRunner
from accel.cache.evaluation import Evaluation, Forward
from accel.cache.gate import Gate
from accel.cache.memory import BranchMemory, measure_distances
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import Branch, CacheReport, Decision, Reason
from accel.cache.strategies.base import DistanceMetric, FixedSchedule, PastForward, Predictor, Strategy
from accel.cache.strategies.table import STRATEGIES

_Hidden = tuple[torch.Tensor, torch.Tensor]  # of the image and of the text


@dataclass(slots=True)
class _Pass:
    """One branch during an evaluation, with its hidden states around the blocks that a reused forward skips."""

    runner: BlockRunner
    decision: Decision
    signal: torch.Tensor
    keep_history: bool
    before: _Hidden = field(init=False)
    after: _Hidden = field(init=False)
    output: torch.Tensor | None = None


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

    def evaluate(self, evaluation: Evaluation) -> list[torch.Tensor]:
        """The transformer's outputs for the image's own tokens, one [1, noise tokens, channels] for each forward.

        Each evaluation of a step has its own memory. When the active ControlNets change, nothing is reused.
        """
        started = time.perf_counter()
        forwards, controls = evaluation.forwards, evaluation.controls
        self._evaluation = self._evaluation + 1 if evaluation.step == self._step else 0
        self._step = evaluation.step
        runners = [evaluation.runner(forward) for forward in forwards]
        signals = self._signals(runners)
        distances, sigma = self._distances(forwards, signals, evaluation.timestep)
        decisions = [
            self._decide(forward.branch, distance, sigma, runner.layout, controls)
            for forward, distance, runner in zip(forwards, distances, runners, strict=True)
        ]
        if self._strategy.one_decision_for_cfg:  # when one branch must be computed, both are
            common = next((decision for decision in decisions if not decision.reused), decisions[0])
            decisions = [replace(common, branch=forward.branch) for forward in forwards]
        self._decisions += decisions
        passes = [
            _Pass(runner, decision, signal, keep_history=distance is None or math.isfinite(distance))
            for runner, decision, signal, distance in zip(runners, decisions, signals, distances, strict=True)
        ]
        outputs = self._run(passes, controls)
        if self._step >= self._gate.total - 1:  # frees the memory for the decoder
            self._memories.clear()
        self._seconds += time.perf_counter() - started
        return outputs

    @property
    def step_reused(self) -> bool:
        """Whether every forward of the last step was reused."""
        last = [decision.reused for decision in self._decisions if decision.step == self._step]
        return bool(last) and all(last)

    def report(self) -> CacheReport:
        """The report of all steps so far."""
        return CacheReport(self._name, tuple(self._decisions), self._blocks_run, self._blocks_skipped, self._seconds)

    def _memory(self, branch: Branch) -> BranchMemory | None:
        return self._memories.get((self._evaluation, branch))

    def _signals(self, runners: Sequence[BlockRunner]) -> list[torch.Tensor]:
        if self._strategy.one_decision_for_cfg:
            return [self._strategy.signal(runners[0])] * len(runners)
        run_together(runners, self._strategy.front)
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

    def _run(self, passes: Sequence[_Pass], controls: Hashable) -> list[torch.Tensor]:
        """Compute or reuse each branch. All branches go through a block before the next one runs."""
        computed = [each for each in passes if not each.decision.reused]
        depth = passes[0].runner.depth
        front, end = self._strategy.front, depth - self._strategy.back
        run_together([each.runner for each in computed], front)
        for each in computed:
            each.before = each.runner.image, each.runner.text
        run_together([each.runner for each in computed], end)
        for each in computed:
            each.after = each.runner.image, each.runner.text
        for each in passes:
            if each.decision.reused:
                each.output = self._reuse(each, end)
        run_together([each.runner for each in passes if each.output is None], depth)
        outputs = [each.runner.output() if each.output is None else each.output for each in passes]
        for each, output in zip(passes, outputs, strict=True):
            if not each.decision.reused:
                self._remember(each, output, controls)
            blocks_run = front + self._strategy.back if each.decision.reused else depth
            self._blocks_run += blocks_run
            self._blocks_skipped += depth - blocks_run
        return outputs

    def _remember(self, done: _Pass, output: torch.Tensor, controls: Hashable) -> None:
        """Remember a computed forward. The history is dropped when its layout or controls differ."""
        runner, branch = done.runner, done.decision.branch
        (image_before, text_before), (image_after, text_after) = done.before, done.after
        text_residual = None
        if self._predicts_output:
            value = output
        elif self._strategy.back:
            value, text_residual = image_after - image_before, text_after - text_before
        else:  # only the image's own tokens are read after the last block
            own = slice(0, runner.noise_tokens)
            value = image_after[:, own] - image_before[:, own]
        memory = self._memory(branch)
        fits = memory is not None and (memory.layout, memory.controls) == (runner.layout, controls)
        if memory is not None and fits and done.keep_history:
            history = memory.history
        else:
            history = deque[PastForward](maxlen=self._predictor.history_length if self._predictor else 1)
        history.append(PastForward(self._step, done.signal, value))
        self._memories[self._evaluation, branch] = BranchMemory(
            done.signal, history, text_residual, runner.layout, controls
        )

    def _reuse(self, reused: _Pass, end: int) -> torch.Tensor | None:
        """Use the cached or predicted value instead of the skippable blocks.

        Returns the output if that is what is predicted. Otherwise the runner is behind the skipped blocks.
        """
        runner, signal = reused.runner, reused.signal
        memory = self._memories[self._evaluation, reused.decision.branch]
        value = memory.history[-1].value
        if self._predictor is not None:
            value = self._predictor.predict(self._step, signal, tuple(memory.history), self._sigmas)
            if self._predictor.keeps_predictions:
                memory.history.append(PastForward(self._step, signal, value))
        memory.run += 1
        memory.accumulated = reused.decision.score or 0.0
        if self._strategy.compares_to == "last":
            memory.signal = signal
        if self._predicts_output:
            return value
        if memory.text_residual is None:
            runner.skip_to(runner.depth, runner.image[:, : runner.noise_tokens] + value)
        else:
            runner.skip_to(end, runner.image + value, runner.text + memory.text_residual)
        return None


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
