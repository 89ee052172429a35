import sys
from pathlib import Path

import pytest

from benchmarks.serving import page as page_module
from benchmarks.serving.page import BEGIN, END, with_table
from tests.sources import ROOT

RESULTS, PAGE = ROOT / "benchmarks/results/server-cpu.jsonl", ROOT / "docs/reference/reliability.md"
LINES = [
    {"benchmark": "server", "figure": "ping in ms", "p50": 1, "p99": 2, "max": 3, "n": 4},
    {"benchmark": "server", "figure": "ping in ms", "p50": 5, "p99": 6, "max": 7, "n": 8},
    {"benchmark": "server", "figure": "seconds to ready", "seconds": 1},
    {"benchmark": "other", "test": "none"},
]


def test_the_latest_line_of_each_figure_is_in_the_table() -> None:
    page = with_table(f"a\n{BEGIN}\nold\n{END}\nb\n", LINES)
    head = "| figure | median | 99 % | longest | number |\n|---|---|---|---|---|"
    assert page == f"a\n{BEGIN}\n{head}\n| ping in ms | 5 | 6 | 7 | 8 |\n{END}\nb\n"
    assert with_table(page, LINES) == page


def test_the_page_has_the_committed_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["page", "--results", str(RESULTS), "--page", str(page)])
    page_module.main()
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
