from typing import Any

from benchmarks.gpu.waterfall import BARS, FLOOR, bars, plot_waterfall

LINES: list[dict[str, Any]] = [
    {"row": "ours", "seconds": 13.0, "floor_seconds": 10.4},
    {"row": "ours, fp8", "failed": "RuntimeError: no kernel"},
    {"row": "ours, compiled", "seconds": 12.0, "floor_seconds": 10.4},
    {"row": "ControlNet", "seconds": 1.0},
    {"row": "diffusers", "seconds": 18.5, "floor_seconds": 10.4},
]


MEASURED = {"diffusers": 18.5, "ours": 13.0, "ours, compiled": 12.0, FLOOR: 10.4}


def test_rows_go_down_to_the_floor_and_those_without_a_line_say_so() -> None:
    found = bars(LINES)
    assert list(found) == [*BARS, FLOOR]
    assert {row: seconds for row, seconds in found.items() if seconds is not None} == MEASURED


def test_a_figure_has_a_bar_for_each() -> None:
    figure = plot_waterfall("H100", LINES)
    assert figure is not None
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list(bars(LINES))
    assert [bar.get_width() for bar in axes.patches] == [MEASURED.get(row, 0.0) for row in (*BARS, FLOOR)]  # pyright: ignore[reportAttributeAccessIssue]
    labels = [text.get_text() for text in axes.texts]
    assert (labels.count("not measured"), labels[0], labels[-1]) == (len(BARS) - 3, "18.50 s", "10.40 s")
    assert axes.get_title() == "H100"


def test_none_of_the_rows_makes_no_figure() -> None:
    assert plot_waterfall("H100", LINES[3:4]) is None
