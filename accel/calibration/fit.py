"""Fits TeaCache's curves to traces, on four of five prompts, and scores them on the fifth. Knows numbers; no model.

The target is the change of the residual of all blocks. Of the two branches of guidance the larger change counts,
because one decision is taken for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel.cache.curves import Curve, Polynomial, Table
from accel.cache.profile import Fit
from accel.calibration.traces import Trace

HOLD_OUT_EVERY = 5  # every fifth prompt is held out
MIN_HELD_OUT = 3  # fewer held-out prompts do not score a curve: one alone gave an R² of 0.998
DEGREE = 4  # of the polynomial without a constant term, as in the published profiles
# Curves that explain less decide like chance: one with 0.09 had a cliff instead of a knee (vllm-omni #5840).
MIN_R2 = 0.6
# Other prompts change a little more than the measured ones. Much larger changes were never measured.
_MARGIN = 1.1
_DIGITS = 5


class CalibrationError(ValueError):
    """No usable curve can be fitted. The message says why."""


@dataclass(frozen=True, slots=True)
class _Changes:
    """Columns with one row for each transition between two steps: step number, sigma, and the two changes."""

    step: np.ndarray
    sigma: np.ndarray
    input: np.ndarray
    residual: np.ndarray


def fit_curves(traces: Sequence[Trace]) -> Fit:
    """Fit both curves to one image of each prompt, in the order of the prompts. All have equal steps and guidance.

    R² is left out where fewer than `MIN_HELD_OUT` prompts score it. Raises `CalibrationError` when there are too few
    prompts, or when neither curve explains enough.
    """
    if len(traces) < HOLD_OUT_EVERY:
        raise CalibrationError(f"{len(traces)} prompts; at least {HOLD_OUT_EVERY} are needed, of which one is held out")
    held_out_count = len(traces) // HOLD_OUT_EVERY
    fitted = _changes([trace for number, trace in enumerate(traces, 1) if number % HOLD_OUT_EVERY])
    held_out = _changes(traces[HOLD_OUT_EVERY - 1 :: HOLD_OUT_EVERY])
    max_distance = _round(_MARGIN * fitted.input.max())
    table, polynomial = _fit_table(fitted, max_distance), _fit_polynomial(fitted, max_distance)
    first = traces[0]
    polynomial_r2, table_r2 = (_r2(curve, held_out) for curve in (Polynomial(*polynomial), Table(*table)))
    if (best := max(polynomial_r2, table_r2)) < MIN_R2:
        raise CalibrationError(
            f"at {first.steps} steps and guidance {first.guidance:g}, the better curve explains only {best} of "
            f"the variance on {held_out_count} held-out prompts; below {MIN_R2} a curve decides like chance"
        )
    scored = held_out_count >= MIN_HELD_OUT
    return Fit(
        steps=first.steps,
        guided=first.guided,
        area=round(sum(trace.area for trace in traces) / len(traces)),
        polynomial=Polynomial(*polynomial, r2=polynomial_r2 if scored else None),
        table=Table(*table, r2=table_r2 if scored else None),
    )


def _r2(curve: Curve, changes: _Changes) -> float:
    """R² of a curve: the explained share of the variance of the residual's changes. Negative if worse than their mean.

    Changes outside the curve's range are ignored, because such steps are always computed.
    """
    pairs = zip(changes.input.tolist(), changes.sigma.tolist(), strict=True)
    predicted = np.array([curve.rescale(distance, sigma) for distance, sigma in pairs])
    inside = np.isfinite(predicted)
    actual = changes.residual[inside]
    spread = ((actual - actual.mean()) ** 2).sum() if inside.any() else 0.0
    return round(float(1 - ((actual - predicted[inside]) ** 2).sum() / spread), 3) if spread else 0.0


def _changes(traces: Sequence[Trace]) -> _Changes:
    rows: dict[tuple[int, int, int], tuple[int, float, float, float]] = {}
    for image, trace in enumerate(traces):
        for seen in trace.observations:
            if seen.input is None or seen.residual is None:
                continue
            key = (image, seen.step, seen.evaluation)
            larger = max(seen.residual, rows[key][3] if key in rows else 0.0)
            rows[key] = (seen.step, seen.sigma, seen.input, larger)
    if not rows:
        raise CalibrationError("the traces contain no two steps to compare")
    step, sigma, change, residual = (np.array(column) for column in zip(*rows.values(), strict=True))
    return _Changes(step, sigma, change, residual)


def _fit_table(changes: _Changes, max_distance: float) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Least squares for each step separately."""
    sigmas, gains = [], []
    for step in np.unique(changes.step):
        here = changes.step == step
        x, y = changes.input[here], changes.residual[here]
        sigmas.append(_round(changes.sigma[here].mean()))
        gains.append(_round((x * y).sum() / (x * x).sum()))
    return tuple(sigmas), tuple(gains), max_distance


def _fit_polynomial(changes: _Changes, max_distance: float) -> tuple[tuple[float, ...], float, float]:
    """Least squares over all steps, on changes scaled to 1 to keep the problem well conditioned."""
    scale = changes.input.max()
    powers = np.arange(DEGREE, 0, -1)
    solution = np.linalg.lstsq((changes.input[:, None] / scale) ** powers, changes.residual, rcond=None)[0]
    coefficients = tuple(_round(value) for value in solution / scale**powers)
    return (*coefficients, 0.0), max_distance, _round(changes.input.min())


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
