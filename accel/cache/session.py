"""The steps that all step caches share: run the first blocks, decide, run or reuse the rest.

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
from accel.cache.plan import CacheName, CachePlan
from accel.cache.report import Branch, CacheReport, Decision, Reason
from accel.cache.strategies.base import Gauge, Past, Predictor, Strategy, Timetable, relative_change
from accel.cache.strategies.table import STRATEGIES


@dataclass(frozen=True, slots=True)
class Forward:
    """One branch of guidance: its prompt [1, words, width], and what gets the ControlNets' residuals for its blocks."""

    branch: Branch
    embeds: torch.Tensor
    control_residuals: ControlResiduals = no_control_residuals


@dataclass(slots=True)
class _Memory:
    """What one branch remembers between the steps.

    `past` holds what the blocks between front and back added to the image, or the predictions; `text` is what they
    added to the text, where blocks follow.
    """

    signal: torch.Tensor
    past: deque[Past]
    text: torch.Tensor | None
    layout: Hashable
    controls: Hashable
    run: int = 0
    carried: float = 0.0


class CacheSession:
    """The step cache of one image."""

    def __init__(self, name: CacheName, strategy: Strategy, gate: Gate, sigmas: Sequence[float] = ()) -> None:
        """`sigmas` are those of the executed steps and the one after, for a strategy that asks for them."""
        self._name: CacheName = name
        self._strategy = strategy
        self._predictor = strategy if isinstance(strategy, Predictor) else None
        self._gauge = strategy if isinstance(strategy, Gauge) else None
        self._measures = not isinstance(strategy, Timetable)
        self._gate = gate
        self._sigmas = sigmas
        self._memories: dict[tuple[int, Branch], _Memory] = {}
        self._decisions: list[Decision] = []
        self._step, self._evaluation = -1, 0
        self._run = self._left_out = 0
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
        """The transformer's predictions for the image's own tokens, [1, noise tokens, channels], one a branch.

        Both branches see `tokens` [1, tokens, channels] on the grids `shapes` at `timestep` [1]. `step` counts the
        executed steps from 0; a sampler that asks more than once in a step has a memory for each of its questions.
        `controls` says which ControlNets act: where they change, nothing is reused.
        """
        started = time.perf_counter()
        self._evaluation = self._evaluation + 1 if step == self._step else 0
        self._step = step
        runners = [
            BlockRunner(transformer, tokens, timestep, each.embeds, shapes, each.control_residuals) for each in forwards
        ]
        branches: list[Branch] = [forward.branch for forward in forwards]
        signals = self._signals(runners)
        distances, sigma = self._distances(branches, signals, timestep)
        decisions = [
            self._decide(branch, distance, sigma, runner.layout, controls)
            for branch, distance, runner in zip(branches, distances, runners, strict=True)
        ]
        if self._strategy.shared:  # in doubt about one of them, both are computed
            telling = next((decision for decision in decisions if not decision.reused), decisions[0])
            decisions = [replace(telling, branch=branch) for branch in branches]
        self._decisions += decisions
        predictions = [
            self._reuse(runner, decision, signal)
            if decision.reused
            else self._compute(
                runner, decision, signal, controls, broken=distance is not None and decision.distance is None
            )
            for runner, decision, signal, distance in zip(runners, decisions, signals, distances, strict=True)
        ]
        if step >= self._gate.total - 1:  # nothing comes after it, and decoding wants the room
            self._memories.clear()
        self._seconds += time.perf_counter() - started
        return predictions

    def report(self) -> CacheReport:
        """What has been decided so far."""
        return CacheReport(self._name, tuple(self._decisions), self._run, self._left_out, self._seconds)

    def _signals(self, runners: Sequence[BlockRunner]) -> list[torch.Tensor]:
        if self._strategy.shared:
            return [self._strategy.signal(runners[0])] * len(runners)
        for runner in runners:
            runner.run_to(self._strategy.front)
        return [self._strategy.signal(runner) for runner in runners]

    def _distances(
        self, branches: Sequence[Branch], signals: Sequence[torch.Tensor], timestep: torch.Tensor
    ) -> tuple[list[float | None], float]:
        """How far each signal is from the remembered one, None where there is none like it, and the sigma.

        One wait for the device. Where nothing is compared, the sigma is not asked for.
        """
        means: list[torch.Tensor] = []
        places: list[int | None] = []
        measured: dict[tuple[int, int], int] = {}
        for branch, signal in zip(branches, signals, strict=True):
            memory = self._memories.get((self._evaluation, branch))
            if memory is None or not self._measures or memory.signal.shape != signal.shape:
                places.append(None)
                continue
            pair = (id(memory.signal), id(signal))  # both branches share one where the strategy does
            if pair not in measured:
                change = self._change(signal, memory)
                if change is None:
                    places.append(None)
                    continue
                measured[pair] = len(means)
                means.append(change)
            places.append(measured[pair])
        if not means:
            return [None] * len(places), math.nan
        *values, sigma = torch.stack([*means, timestep[0].to(torch.float32)]).tolist()
        return [None if place is None else values[place] for place in places], sigma

    def _change(self, signal: torch.Tensor, memory: _Memory) -> torch.Tensor | None:
        if self._gauge is None:
            return relative_change(signal, memory.signal)
        return self._gauge.change(signal, memory.signal, tuple(memory.past))

    def _decide(
        self, branch: Branch, distance: float | None, sigma: float, layout: Hashable, controls: Hashable
    ) -> Decision:
        memory = self._memories.get((self._evaluation, branch))
        score = None
        reason: Reason
        if (barred := self._gate.bars(self._step, memory.run if memory else 0)) is not None:
            reason = barred
        elif memory is None:
            reason = "no_memory"
        elif memory.controls != controls:
            reason = "controls"
        elif memory.layout != layout:
            reason = "shape"
        elif distance is None and self._measures:
            reason = "no_memory"
        elif distance is not None and not math.isfinite(distance):
            reason = "not_finite"
        else:
            score = self._strategy.score(distance or 0.0, memory.carried, sigma)
            reason = "reuse" if score < self._strategy.threshold else "threshold"
        return Decision(self._step, self._evaluation, branch, reason, _finite(distance), _finite(score))

    def _compute(
        self, runner: BlockRunner, decision: Decision, signal: torch.Tensor, controls: Hashable, *, broken: bool
    ) -> torch.Tensor:
        """Run all blocks, and remember; what was remembered before is forgotten where it does not go with this."""
        front, end = self._strategy.front, runner.depth - self._strategy.back
        self._run += runner.depth
        runner.run_to(front)
        before = runner.image, runner.text
        runner.run_to(end)
        after = runner.image, runner.text
        runner.run_to(runner.depth)
        prediction = runner.output()
        text = None
        if self._predictor is not None and self._predictor.foretells == "prediction":
            value = prediction
        elif self._strategy.back:
            value, text = after[0] - before[0], after[1] - before[1]
        else:  # only the image's own tokens matter behind the last block
            own = slice(0, runner.noise_tokens)
            value = after[0][:, own] - before[0][:, own]
        memory = self._memories.get((self._evaluation, decision.branch))
        if memory is None or broken or (memory.layout, memory.controls) != (runner.layout, controls):
            past = deque[Past](maxlen=self._predictor.keeps if self._predictor else 1)
        else:
            past = memory.past
        past.append(Past(self._step, signal, value))
        self._memories[self._evaluation, decision.branch] = _Memory(signal, past, text, runner.layout, controls)
        return prediction

    def _reuse(self, runner: BlockRunner, decision: Decision, signal: torch.Tensor) -> torch.Tensor:
        """Put what is remembered, or foretold from it, in the blocks' place."""
        front, end = self._strategy.front, runner.depth - self._strategy.back
        self._run += front + self._strategy.back
        self._left_out += end - front
        memory = self._memories[self._evaluation, decision.branch]
        value = memory.past[-1].value
        if self._predictor is not None:
            value = self._predictor.predict(self._step, signal, tuple(memory.past), self._sigmas)
            if self._predictor.chained:
                memory.past.append(Past(self._step, signal, value))
        memory.run += 1
        memory.carried = decision.score or 0.0
        if self._strategy.follows:
            memory.signal = signal
        if self._predictor is not None and self._predictor.foretells == "prediction":
            return value
        if memory.text is None:
            runner.skip_to(runner.depth, runner.image[:, : runner.noise_tokens] + value)
        else:
            runner.skip_to(end, runner.image + value, runner.text + memory.text)
            runner.run_to(runner.depth)
        return runner.output()


def open_session(plan: CachePlan, *, steps: int, sigmas: Sequence[float], depth: int) -> CacheSession:
    """The session of an image, run by a transformer of `depth` blocks.

    `sigmas` are those of the executed steps and the one after; without a seed image, there are `steps` executed ones.
    """
    strategy = STRATEGIES[plan.strategy](plan, steps, depth)
    computed = strategy.computed(sigmas) if isinstance(strategy, Timetable) else frozenset[int]()
    gate = Gate(len(sigmas) - 1, plan.start, plan.end, plan.max_run, computed)
    return CacheSession(plan.strategy, strategy, gate, sigmas)


def _finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
