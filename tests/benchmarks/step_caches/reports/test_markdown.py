import re
from pathlib import Path

import pytest

from benchmarks.step_caches.reports.markdown import BEGIN, END, PageError, insert_table, table
from benchmarks.step_caches.reports.summary import Group, group_measurements
from benchmarks.step_caches.results import PSNR_OF_EQUALS, Similarity
from tests.rows import by_client, measurement


@pytest.fixture
def group() -> Group:
    return group_measurements(
        [
            measurement("again", kind="uncached", speedup=1.01, similarity=Similarity(PSNR_OF_EQUALS, 1.0, 0.0)),
            measurement("fast", speedup=2.345, similarity=Similarity(31.26, 0.9876, 0.0123)),
            measurement("10 steps", kind="fewer_steps", speedup=1.9, executed=10),
        ]
    )[0]


def test_the_numbers(group: Group) -> None:
    lines = table(group).splitlines()
    assert "| **fast** | 2.35× (2.35) | 2.09× (2.09) | 4 of 20 | 0.988 (0.988) | 31.3 (31.3) | 0.012 (0.012) |" in lines
    assert "| *again* | 1.01× (1.01) | 1.01× (1.01) | – | 1.000 (1.000) | equal | 0.000 (0.000) |" in lines
    assert lines[0] == f"<!-- weights: {'f' * 64} -->"
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert lines[-1].startswith("`runware:108@1` (weights ffffffff), 20 steps, 256 × 256 pixels, 1 image")


def test_what_was_not_measured_is_a_dash() -> None:
    (group,) = group_measurements([by_client(measurement("fast", speedup=2.345, ssim=0.9876))])
    assert "| **fast** | – | 2.09× (2.09) | 4 of 20 | 0.988 (0.988) | 40.0 (40.0) | – |" in table(group)


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    for _ in range(2):
        insert_table(page, "| new |")
        assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\n| new |\n{END}\nafter\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}"])
def test_a_page_without_the_markers_is_left_alone(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(PageError, match=re.escape(str(page))):
        insert_table(page, "| new |")
    assert page.read_text(encoding="utf-8") == text


def test_a_table_of_noisy_timings_says_so() -> None:
    noisy = measurement("again", kind="uncached", speedup=1.49)
    (group,) = group_measurements([noisy, measurement("fast")])
    assert "Equal runs differ by up to 49 % in time" in table(group)
    assert "Measure again with --repeats 3" in table(group)
