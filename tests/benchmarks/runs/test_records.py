from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.runs.records import append_line, installed_version, read_lines

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


def test_lines_are_appended_with_their_date(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    for number in range(2):
        append_line(path, {"figure": "1024²", "number": number})
    lines = read_lines(path)
    assert [line["number"] for line in lines] == [0, 1]
    assert all(datetime.fromisoformat(line["date"]).tzinfo for line in lines)


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    append_line(None, {"figure": 1})
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert installed_version("torch")
    assert installed_version("no-such-package") is None


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.jsonl")), ids=lambda path: path.name)
def test_committed_lines_name_their_benchmark_or_case(path: Path) -> None:
    lines = read_lines(path)
    assert all("date" in line and ({"benchmark", "case"} & line.keys()) for line in lines)
