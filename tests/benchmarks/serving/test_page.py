from pathlib import Path

import pytest

from benchmarks.serving.page import BEGIN, END, main, with_table
from tests.benchmarks.committed_pages import RELIABILITY, rewritten_reliability
from tests.sources import ROOT

RESULTS = ROOT / "benchmarks/results/server-cpu.jsonl"
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
    page = rewritten_reliability(main, RESULTS, (BEGIN, END), tmp_path, monkeypatch)
    assert page == RELIABILITY.read_text(encoding="utf-8")
