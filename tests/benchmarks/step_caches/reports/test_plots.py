from typing import get_args

import numpy as np

from accel.cache.report import Decision, Reason
from benchmarks.step_caches.reports.plots import _REASONS, curves_of, front_figure, option_figure, timeline_figure
from benchmarks.step_caches.reports.summary import group_measurements
from tests.rows import measurement


def at(threshold: float, **options: float) -> dict[str, bool | float]:
    return {"fbCache": True, "fbCacheThreshold": threshold, **options}


def test_a_curve_is_settings_that_differ_in_one_knob() -> None:
    settings = [at(0.5), at(0.1), at(0.25), at(0.25, run=1), at(0.25, run=2), at(0.25, run=5), at(0.9, run=5)]
    results = [measurement(str(number), options=options) for number, options in enumerate(settings)]
    curves = {
        curve.option: [value for value, _ in curve.points] for curve in curves_of(group_measurements(results)[0].rows)
    }
    assert curves == {"fbCacheThreshold": [0.1, 0.25, 0.5], "run": [1, 2, 5]}


def test_the_front_labels_the_curve_of_fewer_steps() -> None:
    results = [
        measurement(speedup=2.0, ssim=0.9, prompt="a"),
        measurement(speedup=3.0, ssim=0.8, prompt="b"),
        *(measurement("10 steps", kind="fewer_steps", executed=10, prompt=prompt) for prompt in "ab"),
        measurement("late", speedup=4.0, prompt="a"),
    ]
    mean, worst = front_figure(group_measurements(results)[0]).axes
    assert [text.get_text() for text in mean.texts] == ["10"]
    marks = [np.asarray(axes.collections[-1].get_offsets()) for axes in (mean, worst)]
    assert np.allclose(marks, [[[2.5, 0.85]], [[2.5, 0.8]]])


def test_a_cell_has_the_most_common_reason_and_its_share_where_it_varies() -> None:
    patterns = ["CRRC", "CRCC", "CRRC", "CRRC"]
    results = [measurement(pattern=pattern, prompt=str(n), steps=4) for n, pattern in enumerate(patterns)]
    axes = timeline_figure(group_measurements(results)[0]).axes[0]
    assert np.asarray(axes.images[0].get_array()).tolist() == [[1, 0, 0, 1]]  # reuse, threshold
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [((2, 0), "75")]


def test_reasons_that_nobody_expects_are_drawn_too() -> None:
    odd = tuple(Decision(step, 0, "cond", "not_finite") for step in range(20))
    assert timeline_figure(group_measurements([measurement(decisions=odd)])[0]).axes


def test_without_curves_there_are_no_knobs() -> None:
    assert option_figure(group_measurements([measurement()])[0]) is None
    assert timeline_figure(group_measurements([measurement("again", kind="uncached")])[0]).axes


def test_every_reason_of_a_healthy_run_has_a_colour() -> None:
    faults = {"no_memory", "controls", "shape", "not_finite"}
    reasons = {name for part in get_args(Reason) for name in (get_args(part) or (part,))}
    assert reasons - faults == set(_REASONS)
