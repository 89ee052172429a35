"""Predicts a step cache's decisions from a trace. Needs no model and imports no torch.

A trace is recorded on a render that computed everything. A prediction is therefore exact up to the first reused step.
After that step the real image differs a little, and so do all signals.
"""

import math
from dataclasses import dataclass
from typing import Literal

from accel.cache.curves import Curve
from accel.cache.gate import Gate
from accel.cache.report import Branch, Decision, Reason
from accel.calibration.traces import LAGS, Observation, Trace

# The strategies whose signals a trace records.
TracedStrategy = Literal["fbcache", "teacache", "dbcache"]


@dataclass(slots=True)
class _BranchState:
    """The last computed step of a branch, the steps reused since, and the last score."""

    computed_step: int
    run: int = 0
    accumulated: float = 0.0


def predict_decisions(
    trace: Trace, strategy: TracedStrategy, threshold: float, gate: Gate, curve: Curve | None = None
) -> list[Decision]:
    """The decisions of a strategy, in the order of the trace. Only TeaCache takes a curve, and it needs one.

    Raises `ValueError` for a missing or needless curve, and when the gate allows longer runs than a trace covers.
    """
    if gate.max_run > LAGS:
        raise ValueError(f"max_run: {gate.max_run}; a trace covers runs of at most {LAGS} steps")
    if (strategy == "teacache") != (curve is not None):
        raise ValueError("curve: required for teacache, not allowed for other strategies")
    branches: dict[tuple[int, Branch], _BranchState] = {}
    decisions = []
    for seen in trace.observations:
        key = seen.evaluation, seen.branch
        state = branches.get(key)
        distance = None if state is None else _distance(seen, strategy, seen.step - state.computed_step)
        score: float | None = None
        reason: Reason
        if (required := gate.reason_to_compute(seen.step, state.run if state else 0)) is not None:
            reason = required
        elif state is None or distance is None:
            reason = "no_memory"
        else:
            score = distance if curve is None else state.accumulated + curve.rescale(distance, seen.sigma)
            reason = "reuse" if score < threshold else "threshold"
        if reason == "reuse" and state is not None and score is not None:
            state.run, state.accumulated = state.run + 1, score
        else:
            branches[key] = _BranchState(seen.step)
        reported = score if score is not None and math.isfinite(score) else None
        decisions.append(Decision(seen.step, seen.evaluation, seen.branch, reason, distance, reported))
    return decisions


def _distance(seen: Observation, strategy: TracedStrategy, lag: int) -> float | None:
    """The change since the last step for TeaCache, and since `lag` steps before for the others."""
    if strategy == "teacache":
        return seen.input
    changes = seen.front if strategy == "dbcache" and seen.front else seen.first
    return changes[lag - 1] if lag <= len(changes) else None
