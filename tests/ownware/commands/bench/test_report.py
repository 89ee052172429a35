"""`ownware bench report`: what it writes, and what it says of mistakes."""

import sys
from pathlib import Path

import pytest
from typer.testing import Result

from benchmarks.step_caches.reports.markdown import BEGIN, END
from benchmarks.step_caches.results import to_line
from tests.ownware.commands.bench.common import run_bench
from tests.rows import by_client, measurement


@pytest.fixture(autouse=True)
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.jsonl"
    path.write_text(to_line(measurement("fb 0.4", speedup=1.8)) + "\n", encoding="utf-8")
    return path


def report(*arguments: str | Path) -> Result:
    return run_bench("report", *arguments)


@pytest.mark.slow
def test_it_writes_the_page_the_table_and_the_plot(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    done = report("--out", tmp_path, "--readme", readme, "--plot", tmp_path / "plot.png")
    assert done.exit_code == 0
    assert "| **fb 0.4** | 1.80× (1.80) |" in readme.read_text(encoding="utf-8")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_the_results_of_the_web_page_are_read(tmp_path: Path, results: Path) -> None:
    results.write_text(to_line(by_client(measurement("fb 0.4", speedup=1.8))) + "\n", encoding="utf-8")
    done = report("--out", tmp_path)
    assert done.exit_code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>fb 0.4<td>–<td>1.68× (1.68)" in page
    assert "<td>–<td>–<td>1.31<td>1.31" in page
    assert "the loop was not timed alone" in page


def test_a_page_without_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("no markers", encoding="utf-8")
    done = report("--out", tmp_path, "--readme", readme)
    assert done.exit_code == 2
    assert f"ownware: --readme: {readme}: there is no place for the table" in done.stderr


def test_results_that_are_not_there(tmp_path: Path) -> None:
    done = report("--out", tmp_path, "--results", "/nowhere/r.jsonl")
    assert done.exit_code == 2
    assert "/nowhere/r.jsonl: " in done.stderr


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownware.cache_benchmark._PACKAGES", ("no_such_library",))
    done = report("--out", tmp_path)
    assert done.exit_code == 2
    assert f"no_such_library is not installed: {sys.executable} -m pip install " in done.stderr
