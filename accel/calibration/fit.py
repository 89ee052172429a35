"""Fits TeaCache's curves to traces: on four prompts of five, judged on the fifth. Knows numbers; knows no model.

What is fitted is how much the remainder of all blocks changes, of the two branches of guidance the one that changes
more: one decision holds for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel.cache.curves import Curve, Polynomial, Table
from accel.cache.profile import Fit
from accel.calibration.traces import Trace

HELD_OUT = 5  # every fifth prompt
DEGREE = 4  # of the polynomial, through the origin: what the published profiles have
# Figures that explain less decide like chance: one with 0.09 had a cliff instead of a knee (vllm-omni #5840).
LEAST_R2 = 0.6
# Other prompts move a little further than those measured; what moves much further was never seen.
_MARGIN = 1.1
_DIGITS = 5


class CalibrationError(ValueError):
    """Nothing that can be used can be fitted; the message says why."""


@dataclass(frozen=True, slots=True)
class _Changes:
    """One row a transition: the number of its step, its sigma, the input's change and the remainder's."""

    step: np.ndarray
    sigma: np.ndarray
    input: np.ndarray
    remainder: np.ndarray


def fit(traces: Sequence[Trace]) -> Fit:
    """The curves of images of one number of steps and one guidance, one a prompt, in the order of the prompts.

    Raises `CalibrationError` when there are too few, or when neither curve explains enough.
    """
    if len(traces) < HELD_OUT:
        raise CalibrationError(f"{len(traces)} prompts; at least {HELD_OUT} are needed, of which one is held out")
    fitted = _changes([trace for number, trace in enumerate(traces, 1) if number % HELD_OUT])
    held_out = _changes(traces[HELD_OUT - 1 :: HELD_OUT])
    largest = _short(_MARGIN * fitted.input.max())
    table, polynomial = _table(fitted, largest), _polynomial(fitted, largest)
    first = traces[0]
    found = Fit(
        steps=first.steps,
        guided=first.guided,
        area=round(sum(trace.area for trace in traces) / len(traces)),
        polynomial=Polynomial(*polynomial, r2=explained(Polynomial(*polynomial), held_out)),
        table=Table(*table, r2=explained(Table(*table), held_out)),
    )
    if (found.curve.r2 or 0.0) < LEAST_R2:
        raise CalibrationError(
            f"at {first.steps} steps, guidance {first.guidance:g}, the better of both curves explains only "
            f"{found.curve.r2} of the variance on held-out prompts, and less than {LEAST_R2} decides like chance"
        )
    return found


def explained(curve: Curve, changes: _Changes) -> float:
    """R², the share of the variance of the remainder's changes that a curve foretells; below 0, worse than their mean.

    A change beyond the curve's range, which is not foretold but computed, is left out.
    """
    pairs = zip(changes.input.tolist(), changes.sigma.tolist(), strict=True)
    foretold = np.array([curve.rescaled(distance, sigma) for distance, sigma in pairs])
    inside = np.isfinite(foretold)
    true = changes.remainder[inside]
    spread = ((true - true.mean()) ** 2).sum() if inside.any() else 0.0
    return round(float(1 - ((true - foretold[inside]) ** 2).sum() / spread), 3) if spread else 0.0


def _changes(traces: Sequence[Trace]) -> _Changes:
    rows: dict[tuple[int, int, int], tuple[int, float, float, float]] = {}
    for image, trace in enumerate(traces):
        for seen in trace.observations:
            if seen.input is None or seen.remainder is None:
                continue
            key = (image, seen.step, seen.evaluation)
            worse = max(seen.remainder, rows[key][3] if key in rows else 0.0)
            rows[key] = (seen.step, seen.sigma, seen.input, worse)
    if not rows:
        raise CalibrationError("the traces have no two steps to compare")
    step, sigma, change, remainder = (np.array(column) for column in zip(*rows.values(), strict=True))
    return _Changes(step, sigma, change, remainder)


def _table(changes: _Changes, largest: float) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Least squares at each step for itself."""
    sigmas, gains = [], []
    for step in np.unique(changes.step):
        here = changes.step == step
        x, y = changes.input[here], changes.remainder[here]
        sigmas.append(_short(changes.sigma[here].mean()))
        gains.append(_short((x * y).sum() / (x * x).sum()))
    return tuple(sigmas), tuple(gains), largest


def _polynomial(changes: _Changes, largest: float) -> tuple[tuple[float, ...], float, float]:
    """Least squares over all steps together, on changes scaled to 1, which keeps the powers apart."""
    scale = changes.input.max()
    powers = np.arange(DEGREE, 0, -1)
    solved = np.linalg.lstsq((changes.input[:, None] / scale) ** powers, changes.remainder, rcond=None)[0]
    coefficients = tuple(_short(value) for value in solved / scale**powers)
    return (*coefficients, 0.0), largest, _short(changes.input.min())


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
