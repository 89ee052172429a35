import json
from pathlib import Path

import pytest

from benchmarks.runs.budget import Row
from benchmarks.runs.row_command import RowCommand


def parsed(out: Path, *arguments: str) -> RowCommand:
    options = ["--device", "cpu", "--tiny", "--out", str(out), *arguments]
    return RowCommand.parse("gpu", "what it measures", options, steps=3, steps_help="steps", out=Path("unused"))


def rows() -> list[Row]:
    return [Row(name, lambda: {"seconds": 1}) for name in ("one", "two")]


def test_chosen_rows_are_printed_and_written_with_the_setup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lines.jsonl"
    command = parsed(out, "--only", "two")
    command.run(rows(), {"side": 64})
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["benchmark"], line["row"], line["seconds"]) == ("gpu", "two", 1)
    assert (line["full_size"], line["side"], line["card"]) == (False, 64, "cpu")
    assert capsys.readouterr().out == 'two: {"seconds": 1}\n'
    assert command.steps == 3


def test_no_minutes_skip_every_row(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    parsed(out, "--minutes", "0").run(rows(), {})
    assert all("skipped" in json.loads(text) for text in out.read_text().splitlines())


def test_a_refusal_ends_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(tmp_path / "lines.jsonl").refuse("too few steps")
    assert ended.value.code == 2
    assert "python -m benchmarks.gpu: error: too few steps" in " ".join(capsys.readouterr().err.split())
