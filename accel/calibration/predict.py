"""What a step cache would decide, from a trace alone: no model, no torch.

A trace is of a render that computed everything, so a prediction is exact up to the first reused step. Behind it the
real picture has moved a little, and with it all that is watched.
"""

import math
from dataclasses import dataclass
from typing import Literal

from accel.cache.curves import Curve
from accel.cache.gate import Gate
from accel.cache.report import Branch, Decision, Reason
from accel.calibration.traces import LAGS, Observation, Trace

Replayed = Literal["fbcache", "teacache", "dbcache"]


@dataclass(slots=True)
class _Memory:
    """Of one branch: the last computed step, the steps reused since, and the last score."""

    anchor: int
    run: int = 0
    carried: float = 0.0


def predicted(
    trace: Trace, strategy: Replayed, threshold: float, gate: Gate, curve: Curve | None = None
) -> list[Decision]:
    """The decisions in the order of the trace. TeaCache needs a curve.

    Raises `ValueError` when the gate lets pass longer runs than a trace has changes for.
    """
    if gate.max_run > LAGS:
        raise ValueError(f"a trace compares with {LAGS} steps before, so max_run cannot be {gate.max_run}")
    if (strategy == "teacache") != (curve is not None):
        raise ValueError("TeaCache needs a curve, and no other does")
    memories: dict[tuple[int, Branch], _Memory] = {}
    decisions = []
    for seen in trace.observations:
        key = seen.evaluation, seen.branch
        memory = memories.get(key)
        distance = None if memory is None else _distance(seen, strategy, seen.step - memory.anchor)
        score: float | None = None
        reason: Reason
        if (required := gate.reason_to_compute(seen.step, memory.run if memory else 0)) is not None:
            reason = required
        elif memory is None or distance is None:
            reason = "no_memory"
        else:
            score = distance if curve is None else memory.carried + curve.rescaled(distance, seen.sigma)
            reason = "reuse" if score < threshold else "threshold"
        if reason == "reuse" and memory is not None and score is not None:
            memory.run, memory.carried = memory.run + 1, score
        else:
            memories[key] = _Memory(seen.step)
        told = score if score is not None and math.isfinite(score) else None
        decisions.append(Decision(seen.step, seen.evaluation, seen.branch, reason, distance, told))
    return decisions


def _distance(seen: Observation, strategy: Replayed, lag: int) -> float | None:
    """How far the signal is from the remembered one: TeaCache's of the last step, the others' of the last computed."""
    if strategy == "teacache":
        return seen.input
    changes = seen.front if strategy == "dbcache" and seen.front else seen.first
    return changes[lag - 1] if lag <= len(changes) else None
