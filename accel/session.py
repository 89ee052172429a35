"""The machine that all step caches share: walk, decide, run or reuse. One session belongs to one image.

What it remembers dies with it, and nothing is left on the transformer, so requests never touch each other and an
aborted one leaves no trace. In doubt a forward is computed. Knows walks and strategies; knows no request and no wire
format, and names no block.
"""

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from accel.adapter import Walk
from accel.gate import Gate
from accel.plan import CacheName, CachePlan
from accel.report import Branch, CacheReport, Decision, Reason
from accel.strategies.base import Strategy
from accel.strategies.table import STRATEGIES


@dataclass(frozen=True, slots=True)
class Forward:
    """One branch of guidance: its prompt [1, words, width], and what ControlNets add behind its blocks."""

    branch: Branch
    embeds: torch.Tensor
    added: Sequence[torch.Tensor] | None


@dataclass(slots=True)
class _Memory:
    """What one branch remembers between the steps.

    `remainder` is what the blocks between front and back added to the image and, where blocks follow, to the text.
    """

    signal: torch.Tensor
    remainder: tuple[torch.Tensor, torch.Tensor | None]
    shapes: tuple[torch.Size, torch.Size]
    controls: Hashable
    run: int = 0
    carried: float = 0.0


class CacheSession:
    """The step cache of one image."""

    def __init__(self, name: CacheName, strategy: Strategy, gate: Gate) -> None:
        self._name: CacheName = name
        self._strategy = strategy
        self._gate = gate
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
        walks = [Walk(transformer, tokens, timestep, each.embeds, shapes, each.added) for each in forwards]
        branches: list[Branch] = [forward.branch for forward in forwards]
        signals = self._signals(walks)
        distances, sigma = self._distances(branches, signals, timestep)
        decisions = [
            self._decide(branch, distance, sigma, walk, controls)
            for branch, distance, walk in zip(branches, distances, walks, strict=True)
        ]
        if self._strategy.shared:  # in doubt about one of them, both are computed
            telling = next((decision for decision in decisions if not decision.reused), decisions[0])
            decisions = [replace(telling, branch=branch) for branch in branches]
        self._decisions += decisions
        predictions = [
            self._predict(walk, decision, signal, controls)
            for walk, decision, signal in zip(walks, decisions, signals, strict=True)
        ]
        if step >= self._gate.total - 1:  # nothing comes after it, and decoding wants the room
            self._memories.clear()
        self._seconds += time.perf_counter() - started
        return predictions

    def report(self) -> CacheReport:
        """What has been decided so far."""
        return CacheReport(self._name, tuple(self._decisions), self._run, self._left_out, self._seconds)

    def _signals(self, walks: Sequence[Walk]) -> list[torch.Tensor]:
        if self._strategy.shared:
            return [self._strategy.signal(walks[0])] * len(walks)
        for walk in walks:
            walk.run(self._strategy.front)
        return [self._strategy.signal(walk) for walk in walks]

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
            if memory is None or memory.signal.shape != signal.shape:
                places.append(None)
                continue
            pair = (id(memory.signal), id(signal))  # both branches share one where the strategy does
            if pair not in measured:
                measured[pair] = len(means)
                before, now = memory.signal.to(torch.float32), signal.to(torch.float32)
                means.append((now - before).abs().mean() / before.abs().mean())
            places.append(measured[pair])
        if not means:
            return [None] * len(places), math.nan
        *values, sigma = torch.stack([*means, timestep[0].to(torch.float32)]).tolist()
        return [None if place is None else values[place] for place in places], sigma

    def _decide(self, branch: Branch, distance: float | None, sigma: float, walk: Walk, controls: Hashable) -> Decision:
        memory = self._memories.get((self._evaluation, branch))
        score = None
        reason: Reason
        if (barred := self._gate.bars(self._step, memory.run if memory else 0)) is not None:
            reason = barred
        elif memory is None:
            reason = "no_memory"
        elif memory.controls != controls:
            reason = "controls"
        elif distance is None or memory.shapes != (walk.image.shape, walk.text.shape):
            reason = "shape"
        elif not math.isfinite(distance):
            reason = "not_finite"
        else:
            score = self._strategy.score(distance, memory.carried, sigma)
            reason = "reuse" if score < self._strategy.threshold else "threshold"
        return Decision(self._step, self._evaluation, branch, reason, _finite(distance), _finite(score))

    def _predict(self, walk: Walk, decision: Decision, signal: torch.Tensor, controls: Hashable) -> torch.Tensor:
        front, end = self._strategy.front, walk.depth - self._strategy.back
        key = decision.evaluation, decision.branch
        self._run += walk.depth - (end - front if decision.reused else 0)
        if decision.reused:
            self._left_out += end - front
            self._reuse(walk, self._memories[key], signal, decision.score or 0.0)
        else:
            walk.run(front)
            image, text, shapes = walk.image, walk.text, (walk.image.shape, walk.text.shape)
            walk.run(end)
            if self._strategy.back:
                remainder = (walk.image - image, walk.text - text)
            else:
                own = slice(0, walk.noise_tokens)
                remainder = (walk.image[:, own] - image[:, own], None)
            self._memories[key] = _Memory(signal, remainder, shapes, controls)
        walk.run(walk.depth)
        return walk.output()

    def _reuse(self, walk: Walk, memory: _Memory, signal: torch.Tensor, score: float) -> None:
        memory.run += 1
        memory.carried = score
        if self._strategy.follows:
            memory.signal = signal
        image, text = memory.remainder
        if text is None:  # only the image's own tokens matter behind the last block
            walk.leap(walk.depth, walk.image[:, : walk.noise_tokens] + image, walk.text)
        else:
            walk.leap(walk.depth - self._strategy.back, walk.image + image, walk.text + text)


def open_session(plan: CachePlan, *, steps: int, executed: int, depth: int) -> CacheSession:
    """The session of an image of which `executed` of `steps` steps are run, by a transformer of `depth` blocks."""
    gate = Gate(total=executed, start=plan.start, end=plan.end, max_run=plan.max_run)
    return CacheSession(plan.strategy, STRATEGIES[plan.strategy](plan, steps, depth), gate)


def _finite(value: float | None) -> float | None:
    """None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None
