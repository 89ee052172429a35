from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile_inputs import BEGIN, END, with_table
from benchmarks.runs.records import read_lines
from tests.docs.pages import ROOT

LINE = {"input": "a", "stall_ms": 1, "peak_mb": 2, "decoders_mb": 3}


def test_the_table_has_the_latest_line_of_each_input() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter"
    new = with_table(page, [LINE, LINE | {"input": "b"}, LINE | {"stall_ms": 9}])
    rows = [line for line in new.splitlines() if line.endswith("MB |")]
    assert rows == ["| a | 9 ms | +2 MB | 3 MB |", "| b | 1 ms | +2 MB | 3 MB |"]
    assert with_table(page, [{"input": "a", "stall_ms": 1, "peak_mb": 2}]).count("| not measured |") == 1
    assert (new.splitlines()[0], new.splitlines()[-1]) == ("before", "after")
    assert with_table(new, [LINE]).count(BEGIN) == 1


def test_the_page_has_the_committed_figures() -> None:
    page = (ROOT / "docs" / "reference" / "reliability.md").read_text(encoding="utf-8")
    lines = read_lines(ROOT / "benchmarks" / "results" / "hostile-cpu.jsonl")
    assert with_table(page, lines) == page, "run python -m benchmarks.hostile_inputs with --page"
    assert {line["input"] for line in lines} == set(ATTACKS)
