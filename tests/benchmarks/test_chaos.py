from pathlib import Path

import pytest

from benchmarks.chaos import BEGIN, END, main, with_table
from benchmarks.runs.records import read_lines
from tests.benchmarks.committed_pages import RELIABILITY, rewritten_reliability
from tests.sources import ROOT

RESULTS = ROOT / "benchmarks/results/chaos-cpu.jsonl"
LINES = [
    {"benchmark": "chaos", "test": "worker killed", "kills": 1, "date": "then"},
    {"benchmark": "chaos", "test": "worker killed", "kills": 2, "ready_again_seconds": [3.5, 1.5], "date": "now"},
    {"benchmark": "other", "test": "none"},
]


def test_the_latest_line_of_each_test_is_in_the_table() -> None:
    page = with_table(f"a\n{BEGIN}\nold\n{END}\nb\n", LINES)
    row = "| worker killed | kills 2, ready again seconds 1.5 to 3.5 |"
    assert page == f"a\n{BEGIN}\n| test | figures |\n|---|---|\n{row}\n{END}\nb\n"
    assert with_table(page, LINES) == page


def test_a_page_without_marks() -> None:
    with pytest.raises(ValueError, match="chaos: begin"):
        with_table("a", LINES)


def test_the_page_has_the_committed_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = rewritten_reliability(main, RESULTS, (BEGIN, END), tmp_path, monkeypatch)
    assert page == RELIABILITY.read_text(encoding="utf-8")
    assert all(line["benchmark"] == "chaos" for line in read_lines(RESULTS))
