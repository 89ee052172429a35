"""Fits on made-up traces, whose truth is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from accel.cache.curves import Polynomial, Table
from accel.calibration.fit import MIN_R2, CalibrationError, fit_curves
from accel.calibration.traces import Observation, Trace

SIGMAS = np.linspace(1.0, 0.05, 12)
Truth = Callable[[float, float], float]  # of the input's change and sigma


def traces(truth: Truth, count: int = 15, noise: float = 0.0, guidance: float = 1.0) -> list[Trace]:
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        seen = [Observation(0, 0, "cond", 1.0, None, None, None, ())]
        for step, sigma in enumerate(SIGMAS[1:], start=1):
            x = 0.1 + 0.05 * np.cos(step) + 0.02 * rng.random()
            y = truth(x, sigma) + noise * rng.standard_normal()
            seen.append(Observation(step, 0, "cond", sigma, x, y, y, (x,)))
            if guidance > 1:  # the branch that changes less
                seen.append(Observation(step, 0, "uncond", sigma, x, y / 2, y, (x,)))
        made.append(Trace(f"prompt {number}", number, len(SIGMAS), guidance, 64, 128, tuple(seen)))
    return made


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_a_truth_over_sigma_is_found_by_the_table(guidance: float) -> None:
    found = fit_curves(traces(lambda x, sigma: x * (1 + 2 * sigma), guidance=guidance))
    assert isinstance(found.curve, Table)
    assert found.curve.r2 == pytest.approx(1.0, abs=1e-3)
    for sigma in (0.9, 0.5, 0.07):
        assert found.curve.gain(sigma) == pytest.approx(1 + 2 * sigma, rel=1e-2)
    assert (found.steps, found.guided, found.area) == (12, guidance > 1, 64 * 128)


def test_a_truth_of_the_change_alone_is_found_by_the_polynomial() -> None:
    found = fit_curves(traces(lambda x, sigma: 5 * x**2 - x**3))
    assert isinstance(found.polynomial, Polynomial)
    assert found.polynomial.r2 == pytest.approx(1.0, abs=1e-3)
    for x in (0.06, 0.1, 0.15):
        assert found.polynomial.rescale(x, 0.5) == pytest.approx(5 * x**2 - x**3, rel=1e-2)
    assert found.curve is found.polynomial


def test_what_moves_further_than_measured_is_computed() -> None:
    made = traces(lambda x, sigma: x)
    largest = max(seen.input or 0.0 for trace in made for seen in trace.observations)
    curve = fit_curves(made).curve
    assert curve.rescale(largest, 0.5) < float("inf")
    assert curve.rescale(1.2 * largest, 0.5) == float("inf")


def test_prompts_that_are_held_out_are_not_fitted() -> None:
    same, other = traces(lambda x, sigma: x * (1 + sigma)), traces(lambda x, sigma: x * (3 + sigma))
    mixed = [other[number] if number % 5 == 4 else trace for number, trace in enumerate(same)]
    with pytest.raises(CalibrationError, match="explains only"):
        fit_curves(mixed)
    near = traces(lambda x, sigma: x * (1.1 + sigma))
    mixed = [near[number] if number % 5 == 4 else trace for number, trace in enumerate(same)]
    one, two = fit_curves(same), fit_curves(mixed)
    assert one.table is not None
    assert two.table is not None
    assert one.table.gains == two.table.gains
    assert (two.table.r2 or 0) < (one.table.r2 or 0)


def test_figures_that_explain_nothing_are_refused() -> None:
    with pytest.raises(CalibrationError, match=str(MIN_R2)):
        fit_curves(traces(lambda x, sigma: 0.3, noise=0.1))


@pytest.mark.parametrize("count", [0, 4])
def test_too_few_prompts(count: int) -> None:
    with pytest.raises(CalibrationError, match=f"{count} prompts; at least 5"):
        fit_curves(traces(lambda x, sigma: x, count))


def test_traces_of_one_step_have_no_changes() -> None:
    first_steps = [replace(trace, observations=trace.observations[:1]) for trace in traces(lambda x, sigma: x)]
    with pytest.raises(CalibrationError, match="no two steps"):
        fit_curves(first_steps)


@pytest.mark.parametrize(("prompts", "scored"), [(5, False), (14, False), (15, True), (20, True)])
def test_r2_needs_several_held_out_prompts(prompts: int, scored: bool) -> None:
    found = fit_curves(traces(lambda x, sigma: x * (1 + 2 * sigma), count=prompts))
    assert found.table is not None
    assert found.polynomial is not None
    assert [curve.r2 is not None for curve in (found.table, found.polynomial)] == [scored, scored]
    assert found.curve is found.table
