from typing import Any

from benchmarks.gpu.waterfall import FLOOR, bars, plot_waterfall

LINES: list[dict[str, Any]] = [
    {"row": "ours", "seconds": 13.0, "floor_seconds": 10.4},
    {"row": "ours, fp8", "failed": "RuntimeError: no kernel"},
    {"row": "ours, compiled", "seconds": 12.0, "floor_seconds": 10.4},
    {"row": "ControlNet", "seconds": 1.0},
    {"row": "diffusers", "seconds": 18.5},
]


def test_measured_rows_go_down_to_the_floor() -> None:
    assert list(bars(LINES).items()) == [("diffusers", 18.5), ("ours", 13.0), ("ours, compiled", 12.0), (FLOOR, 10.4)]


def test_a_figure_has_a_bar_for_each() -> None:
    figure = plot_waterfall("H100", LINES)
    assert figure is not None
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(bars(LINES))
    assert [bar.get_width() for bar in axes.patches] == [18.5, 13.0, 12.0, 10.4]  # pyright: ignore[reportAttributeAccessIssue]
    assert axes.get_title() == "H100"


def test_nothing_of_ours_makes_no_figure() -> None:
    assert plot_waterfall("H100", LINES[3:]) is None
