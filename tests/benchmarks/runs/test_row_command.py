import contextlib
import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.runs import row_command
from benchmarks.runs.budget import Figures, Row
from benchmarks.runs.row_command import RowCommand


def parsed(out: Path, *arguments: str) -> RowCommand:
    options = ["--device", "cpu", "--tiny", "--out", str(out), *arguments]
    return RowCommand.parse("gpu", "what it measures", options, steps=3, steps_help="steps", out=Path("unused"))


def rows() -> list[Row]:
    return [Row(name, lambda: {"seconds": 1}) for name in ("one", "two")]


def test_chosen_rows_are_printed_and_written_with_the_setup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lines.jsonl"
    command = parsed(out, "--only", "two")
    command.run(rows(), {"side": 64}, lambda: None)
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["benchmark"], line["row"], line["seconds"]) == ("gpu", "two", 1)
    assert (line["full_size"], line["side"], line["card"]) == (False, 64, "cpu")
    assert capsys.readouterr().out == 'two: {"seconds": 1}\n'
    assert command.steps == 3


def test_no_minutes_skip_every_row(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    parsed(out, "--minutes", "0").run(rows(), {}, lambda: None)
    assert all("skipped" in json.loads(text) for text in out.read_text().splitlines())


def test_a_run_goes_on_behind_a_row_with_the_commit_that_it_is_told(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    parsed(out, "--after", "one", "--commit", "abc1234").run(rows(), {}, lambda: None)
    (line,) = [json.loads(text) for text in out.read_text().splitlines()]
    assert (line["row"], line["commit"]) == ("two", "abc1234")


def test_a_row_behind_no_row_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(tmp_path / "lines.jsonl", "--after", "three").run(rows(), {}, lambda: None)
    assert "no row is called three" in capsys.readouterr().err


def fails() -> Figures:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


@pytest.mark.parametrize("works", [True, False])
def test_a_new_process_goes_on_where_the_device_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    def replace_process(program: str, arguments: list[str]) -> None:
        started.extend(arguments)
        raise SystemExit

    started, freed = list[str](), list[str]()
    monkeypatch.setattr(row_command, "_works", lambda device: works)
    monkeypatch.setattr(row_command.os, "execv", replace_process)
    out = tmp_path / "lines.jsonl"
    command = parsed(out)
    with contextlib.suppress(SystemExit):
        command.run([Row("broken", fails), *rows()], {}, lambda: freed.append("freed"))
    lines = [json.loads(text)["row"] for text in out.read_text().splitlines()]
    assert freed == ["freed"]
    if works:
        assert (lines, started) == (["broken", "one", "two"], [])
        return
    assert lines == ["broken"]
    assert started[:3] == [sys.executable, "-m", "benchmarks.gpu"]
    again = RowCommand.parse("gpu", None, started[3:], steps=3, steps_help="", out=Path("unused"))
    again.run([Row("broken", fails), *rows()], {}, lambda: None)
    assert [json.loads(text)["row"] for text in out.read_text().splitlines()] == ["broken", "one", "two"]


def test_a_device_that_computes_works() -> None:
    assert row_command._works(torch.device("cpu"))


def test_a_card_without_a_number_is_the_first_one(tmp_path: Path) -> None:
    command = RowCommand.parse("gpu", None, ["--device", "cuda"], steps=3, steps_help="", out=tmp_path / "lines")
    assert command.device == torch.device("cuda:0")


def test_a_refusal_ends_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(tmp_path / "lines.jsonl").refuse("too few steps")
    assert ended.value.code == 2
    assert "python -m benchmarks.gpu: error: too few steps" in " ".join(capsys.readouterr().err.split())
